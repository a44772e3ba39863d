"""Put a trained model into the package, with its card.

    python tools/ship_models.py RUNS general --quality quality.json

RUNS is what ``tools/train_models.py`` wrote, quality.json what ``benchmarks/quality.py`` says of RUNS/general_final.
The logs of stages that RUNS does not hold, because an encoder was kept, are those of the card that is replaced.
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

from train_models import PRESET

ROOT = Path(dcs.__file__).parent / "models" / "weights"
DESCRIPTIONS = {
    "general": "crystals, sites and powder patterns in one space; the model to begin with",
    "small": (
        "crystals, sites and powder patterns in one space; less than a third of the parameters, a little less accurate"
    ),
    "general-labels": "SUPERVISED: general, its descriptors tuned on calculated formation energies and band gaps",
}
STRUCTURES = (
    "121,687 structures of 1 to 688 sites, all whose chemical system has md5(chemsys) % 100 >= 20. Patterns simulated "
    "from them under the measurement conditions of diffraction.conditions.TRAINING. For the encoder of descriptors "
    "60,000 of them, drawn at random among those of at most 28 sites, and their numbers of springs and tight binding. "
)
LABELS = (
    "LABELS: formation energies and PBE band gaps of the Materials Project for those of the 60,000 structures that "
    "have them, as collected for Suzuki et al. 2022 and MEGNet 2019."
)
FIXED = {
    "licence": "CC-BY-4.0",
    "attribution": (
        "Trained on structures of the Materials Project (materialsproject.org), version v2025.02.12, "
        "CC-BY-4.0; A. Jain et al., APL Materials 1, 011002 (2013), doi 10.1063/1.4812323."
    ),
    "units": (
        "lengths in angstrom, two-theta in degrees; predicted numbers of model physics in standard deviations; "
        "embeddings have none: see docs/embeddings.md"
    ),
    "limits": [
        "No pattern for elements beyond Z = 98 and for crystals without a reflection in 10-110 degrees of Cu K-alpha.",
        "Found least surely by their patterns: triclinic crystals, and oxides.",
        "Distances cannot tell the hands of a chiral crystal apart.",
        "Trained on relaxed, ordered structures: distorted, disordered and molecular crystals are seen less well.",
        "Magnetic order, charge state, temperature and pressure are not in the vectors.",
        "The predicted numbers of model physics are those of a crude model, and less exact than computing them.",
    ],
}
OPTIMIZER = "AdamW, 5 % warm-up, half a cosine"


def training(runs: Path, name: str) -> dict[str, Any]:
    """What the logs of the stages tell."""
    base = name.removesuffix("-labels")
    comparing, describing = PRESET[base]
    stages = {
        "crystals and patterns together, at 3e-3": comparing,
        "patterns alone, crystal encoder frozen, at 2e-3": f"{comparing}_patterns",
        "descriptors, at 2e-3": describing,
    }
    if name != base:
        stages["descriptors tuned on labels, at 1e-3"] = f"{describing}_labels"
    before = dcs.load_pretrained(base).card["training"]
    found = {
        "script": "tools/train_models.py",
        "batch_size": "256; of descriptors 96",
        "schedule": f"{OPTIMIZER}; patterns: first four fifths on cells of at most 52 sites, then all",
        "history": before["history"],
    }
    for stage, folder in stages.items():
        old = stage.removeprefix("crystals and patterns ")
        if (runs / folder).is_dir():
            found[stage] = log_of(runs / folder)
        elif stage in before or old in before:
            found[stage] = before[stage] if stage in before else before[old]
    return found


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
        "data": STRUCTURES + (LABELS if options.name.endswith("-labels") else "No labels."),
        **FIXED,
        "training": training(options.runs, options.name),
        "metrics": json.loads(options.quality.read_text().replace(f"{options.name}_final", options.name)),
    }
    model = dcs.load_pretrained(options.runs / f"{options.name}_final")
    folder = dcs.save_pretrained(model, ROOT / options.name, card)
    shipped, crystals = dcs.load_pretrained(folder), bundled_prototypes()
    for space in ("shared", "pattern", "similarity", "descriptor"):
        one, other = (m.embed(crystals, space=space, progress=False) for m in (model, shipped))
        change = np.abs(one - other).max() / np.abs(one).max()
        print(f"{folder}: {space} vectors change by at most {change:.1e} of the largest in half precision")
        if change > 1e-3:
            raise SystemExit("more than 1e-3: ship single precision")


if __name__ == "__main__":
    main()
