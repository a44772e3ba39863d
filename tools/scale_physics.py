"""Write mean and standard deviation of the columns of model physics, ``deepchem_crystalssl/physics/data/scales.csv``.

    python tools/scale_physics.py DATA/mp_structures.parquet

Run once by a developer, never by a user: over 4,000 crystals of at most 60 sites in the chemical systems of training.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from deepchem_crystalssl.physics.columns import MODELS, column_names, iterate_physics

FILE = Path(__file__).parents[1] / "deepchem_crystalssl" / "physics" / "data" / "scales.csv"


def main(source: str) -> None:
    """Compute and write."""
    table = pd.read_parquet(source).set_index("material_id", drop=False)
    table = table[(table["fold100"] >= 20) & (table["n_sites"] <= 60)].sample(4_000, random_state=0)
    found = [(numbers, sites) for _, _, numbers, sites in iterate_physics(table, on_error="skip")]
    rows = []
    for level, values in zip(("crystal", "site"), zip(*found, strict=True), strict=True):
        values = np.vstack(values)
        statistics = zip(column_names(MODELS, level), values.mean(0), values.std(0), strict=True)
        rows += [(level, name, f"{mean:.5g}", f"{std:.5g}") for name, mean, std in statistics]
    pd.DataFrame(rows, columns=["level", "column", "mean", "std"]).to_csv(FILE, index=False)


if __name__ == "__main__":
    main(sys.argv[1])
