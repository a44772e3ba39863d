"""Measure how long it takes to open a model, and to embed every crystal of a table.

    python benchmarks/embedding_speed.py DATA MODEL [MODEL ...]

All 131,019 structures of the table are embedded, one vector each in the space shared with patterns, and their graphs
are built on the way. The number of cores is the number that torch is given.
"""

from __future__ import annotations

import argparse
import logging
import resource
import time
from pathlib import Path

import pandas as pd
import torch

import deepchem_crystalssl as dcs
from deepchem_crystalssl.models.pretrained import open_model


def main(arguments: list[str] | None = None) -> dict[str, dict[str, float]]:
    """Print seconds, and return them by model."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="+")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    table = pd.read_parquet(options.data / "mp_structures.parquet")
    open_model(options.models[0]).embed(table[:64], progress=False)  # compiled code is loaded
    numbers = {}
    for name in options.models:
        started = time.perf_counter()
        model = open_model(name)
        opened = time.perf_counter() - started
        report = dcs.Report()
        vectors = model.embed(table, on_error="skip", report=report, progress=False)
        seconds = time.perf_counter() - started - opened
        numbers[Path(name).name] = {
            "seconds to open": round(opened, 3),
            "seconds to embed": round(seconds, 1),
            "crystals": len(vectors),
            "crystals per second": round(len(vectors) / seconds),
            "threads": torch.get_num_threads(),
            "peak GB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        }
        print(name, numbers[Path(name).name], flush=True)
    return numbers


if __name__ == "__main__":
    main()
