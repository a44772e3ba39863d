"""Put a trained model into the package, with its card.

    python tools/ship_models.py RUNS general --quality quality.json

RUNS is what ``tools/train_models.py`` wrote, quality.json what ``benchmarks/quality.py`` says of RUNS/general_final.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

import deepchem_crystalssl as dcs
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.models.log import TrainingLog

ROOT = Path(dcs.__file__).parent / "weights"
DESCRIPTIONS = {
    "general": "crystals, sites and powder patterns in one space; the model to begin with",
    "small": "crystals, sites and powder patterns in one space; a quarter of the parameters, a little less accurate",
}
FIXED = {
    "licence": "CC-BY-4.0",
    "attribution": (
        "Trained on structures of the Materials Project (materialsproject.org), version v2025.02.12, "
        "CC-BY-4.0; A. Jain et al., APL Materials 1, 011002 (2013), doi 10.1063/1.4812323."
    ),
    "data": (
        "121,687 structures of 1 to 688 sites, all whose chemical system has md5(chemsys) % 100 >= 20; no labels. "
        "Patterns simulated from them under the instruments of crystals.instrument.TRAINING."
    ),
    "units": "lengths in angstrom, two-theta in degrees; embeddings have none: see docs/embeddings.md",
    "limits": [
        "No pattern for elements beyond Z = 98 and for crystals without a reflection in 10-110 degrees of Cu K-alpha.",
        "Found least surely by their patterns: triclinic crystals, and oxides.",
        "Distances cannot tell the hands of a chiral crystal apart.",
        "Trained on relaxed, ordered structures: distorted, disordered and molecular crystals are seen less well.",
        "Magnetic order, charge state, temperature and pressure are not in the vectors.",
    ],
}


HISTORY = {
    "general": "the first stage, after 1,200 steps of a cosine of 1,000,000 samples, went on with one of 800,000",
    "small": "after 1,450 steps of a cosine of 1,000,000 samples, went on with one of 800,000; no second stage",
}
"""Where the shipped weights were not trained in one run."""


def training(runs: Path, name: str) -> dict[str, Any]:
    """What the logs of the two stages tell."""
    stages = {"together, at 3e-3": name, "patterns alone, crystal encoder frozen, at 2e-3": f"{name}_patterns"}
    return {
        "script": "tools/train_models.py",
        "batch_size": 256,
        "schedule": "AdamW, 5 % warm-up, half a cosine; first four fifths on cells of at most 52 sites, then all",
        "history": HISTORY[name],
        **{stage: log_of(runs / folder) for stage, folder in stages.items() if (runs / folder).is_dir()},
    }


def log_of(folder: Path) -> dict[str, Any]:
    """Steps, and losses on the way."""
    log = TrainingLog(folder / "training_log.jsonl").to_frame().reset_index()
    shown = log.iloc[:: max(1, len(log) // 25)]
    losses = {name: [round(float(x), 5) for x in shown[name]] for name in log.columns if name != "index"}
    return {"steps": int(log["step"].max()), "log": losses}


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=Path)
    parser.add_argument("name", choices=list(DESCRIPTIONS))
    parser.add_argument("--quality", type=Path, required=True)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    card = {
        "description": DESCRIPTIONS[options.name],
        **FIXED,
        "training": training(options.runs, options.name),
        "metrics": json.loads(options.quality.read_text().replace(f"{options.name}_final", options.name)),
    }
    model = dcs.load_pretrained(options.runs / f"{options.name}_final")
    folder = dcs.save_pretrained(model, ROOT / options.name, card)
    shipped, crystals = dcs.load_pretrained(folder), bundled_prototypes()
    for space in ("shared", "pattern", "similarity"):
        change = np.abs(model.embed(crystals, space=space) - shipped.embed(crystals, space=space)).max()
        print(f"{folder}: {space} vectors change by at most {change:.1e} in half precision")
        if change > 1e-3:
            raise SystemExit("more than 1e-3: ship single precision")


if __name__ == "__main__":
    main()
