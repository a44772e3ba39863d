"""Measure how often crystals are found by their powder patterns, and for which crystals this fails.

    python benchmarks/retrieval.py DATA MODEL [MODEL ...] [--full]

The gallery consists of 2,000 random validation crystals (fold100 15-19) of at most 52 sites, which were never
trained on; with --full, of all validation crystals of any size. There are three kinds of patterns: clean sticks; R1,
with strain up to 1 %, peaks of 0.28 degrees and 1 % noise; and R2, with pseudo-Voigt peaks of 0.1-0.4 degrees, zero
shift, 2 % noise, background, and intensities that are off by 30 %. Every pattern is looked up among the vectors of
the crystals and among those of their simulated patterns. The table gives exact recall with 95 % intervals (Wilson).
The control has random weights; chance is 1 / gallery. A second table gives recall@1 of R1 by crystal system, size
and chemistry.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

import deepchem_crystalssl as dcs
from deepchem_crystalssl.diffraction.conditions import REALISTIC, measure_patterns
from deepchem_crystalssl.crystals.symmetry import system_of_group
from deepchem_crystalssl.search.coloring import anion_class
from deepchem_crystalssl.models.pretrained import open_model
from deepchem_crystalssl.recipes import xrd_retrieval

from controls import random_control


def gallery(folder: Path, full: bool) -> tuple[pd.DataFrame, list]:
    """Validation crystals, and their graphs."""
    table = pd.read_parquet(folder / "mp_structures.parquet")
    table = table[table["fold100"].between(15, 19)]
    if not full:
        table = table[table["n_sites"] <= 52].sample(2040, random_state=0)
    report = dcs.Report()
    graphs = dcs.structures_to_graphs(table, on_error="skip", report=report, progress=False)
    table = table.drop(index=[table.index[error.index] for error in report])
    return (table, graphs) if full else (table[:2000], graphs[:2000])


def found_first(model: dcs.CrystalSSLModel, graphs: list) -> dict[str, np.ndarray]:
    """Whether each crystal is the first answer to its R1 pattern, by index."""
    report = dcs.Report()
    simulated = model.embed(graphs, space="pattern", on_error="skip", report=report, progress=False)
    kept = ~np.isin(np.arange(len(graphs)), [error.index for error in report])
    graphs = [graph for graph, good in zip(graphs, kept, strict=True) if good]
    queries = model.embed_xrd(measure_patterns(graphs, REALISTIC, model.xrd_grid, 0), progress=False)
    galleries = {"crystal": model.embed(graphs, progress=False), "simulated pattern": simulated}
    answers = {}
    for name, vectors in galleries.items():
        hits = np.full(len(kept), np.nan)
        hits[kept] = (queries @ vectors.T).argmax(1) == np.arange(len(graphs))
        answers[name] = hits
    return answers


def main(arguments: list[str] | None = None) -> dict:
    """Print the tables, and return their numbers by model."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    table, graphs = gallery(options.data, options.full)
    numbers: dict = {}
    for name in options.models:
        model, label = open_model(name), Path(name).name
        print(f"{label}: gallery of {len(graphs)}")
        found = xrd_retrieval(model, graphs).round(4)
        print(found.to_string(index=False), flush=True)
        control = xrd_retrieval(random_control(model, graphs), graphs).round(4)
        print(f"control, random weights\n{control.to_string(index=False)}", flush=True)
        numbers[label] = {
            "gallery": len(graphs),
            "found": found.to_dict("records"),
            "random": control.to_dict("records"),
        }
        seen = pd.DataFrame(found_first(model, graphs))
        sizes = pd.cut([graph.num_nodes for graph in graphs], [0, 8, 16, 32, 52, 10_000])
        for kind, groups in {
            "crystal system": table["spacegroup"].map(system_of_group).to_numpy(),
            "sites": np.asarray(sizes.astype(str)),
            "chemistry": np.array([anion_class(graph.chemical_system) for graph in graphs]),
        }.items():
            part = seen.groupby(groups).mean().round(3)
            part["crystals"] = seen.groupby(groups).size()
            print(f"R1 recall@1 by {kind}\n{part.to_string()}", flush=True)
            numbers[label][f"R1 recall@1 by {kind}"] = part.to_dict("index")
    return numbers


if __name__ == "__main__":
    main()
