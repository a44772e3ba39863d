"""Compute every number of a model's card from its weights and the data.

    python benchmarks/quality.py DATA MODEL -o quality.json [--cache FOLDER]

The script runs ``retrieval.py`` (with 2,000 crystals, and with all of the validation folds), ``concepts.py``,
``sites.py``, ``materials.py`` and ``embedding_speed.py`` on one model. Each can also be run alone, and says what it
measures. All together take an hour on two cores.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import concepts
import embedding_speed
import materials
import retrieval
import sites


def main() -> None:
    """Run all, and write what they say after each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("model")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--cache", default="quality_cache")
    parser.add_argument("--only", nargs="+", help="measures to run; those written before are kept")
    options = parser.parse_args()
    both, label = [options.data, options.model], Path(options.model).name
    measures = {
        "retrieval": lambda: retrieval.main(both)[label],
        "retrieval, all validation crystals": lambda: retrieval.main([*both, "--full"])[label],
        "concepts and neighbours": lambda: concepts.main([*both, "--cache", options.cache]),
        "sites": lambda: sites.main([*both, "--by-layer"]),
        "materials": lambda: materials.main([*both, "--cache", options.cache]),
        "speed": lambda: embedding_speed.main(both),
    }
    numbers = json.loads(options.output.read_text()) if options.only and options.output.exists() else {}
    for name, measure in measures.items():
        if options.only and name not in options.only:
            continue
        started = time.perf_counter()
        numbers[name] = measure()
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
        options.output.write_text(json.dumps(numbers, indent=2))


if __name__ == "__main__":
    main()
