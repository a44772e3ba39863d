"""Measure what embeddings cost as matminer columns, and as input of NEGNN.

    python benchmarks/descriptors.py [DATA] [--crystals 1000]

The first table gives crystals per CPU second of ``featurize_dataframe`` from pymatgen structures, on one thread,
with the small and the general model. The peers are matminer's ``OrbitalFieldMatrix`` and
``SiteStatsFingerprint(CrystalNNFingerprint)``; they run on fewer of the same crystals, because they take seconds for
each. The second table gives CPU seconds per epoch of ``NEGNNModel`` with and without pretrained vectors; the first
epoch, which computes the vectors, is listed apart. Without DATA the crystals are the 288 prototypes that come with
pymatgen.
"""

from __future__ import annotations

import argparse
import logging
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import deepchem as dc
import numpy as np
import pandas as pd
import torch
from matminer.featurizers.site import CrystalNNFingerprint
from matminer.featurizers.structure import OrbitalFieldMatrix, SiteStatsFingerprint

import deepchem_crystalssl as dcs
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes


def seconds(function: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    started = time.process_time()
    function()
    return time.process_time() - started


def graphs_of(data: Path | None, n: int) -> list:
    """Random crystals of at most 52 sites."""
    if data is None:
        return dcs.structures_to_graphs(bundled_prototypes(), on_error="skip", progress=False)[:n]
    table = pd.read_parquet(data / "mp_structures.parquet")
    table = table[table["n_sites"] <= 52].sample(n + 20, random_state=0)
    return dcs.structures_to_graphs(table, on_error="skip", progress=False)[:n]


def epochs(model: dcs.NEGNNModel, dataset: dc.data.Dataset) -> tuple[float, float]:
    """CPU seconds of the first epoch, and the mean of the three after."""
    first = seconds(lambda: model.fit(dataset, nb_epoch=1, checkpoint_interval=0, progress=False))
    return first, seconds(lambda: model.fit(dataset, nb_epoch=3, checkpoint_interval=0, progress=False)) / 3


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--crystals", type=int, default=1000)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    graphs = graphs_of(options.data, options.crystals)
    structures = [graph.to_structure() for graph in graphs]
    print(f"{len(graphs)} crystals of {np.mean([graph.num_nodes for graph in graphs]):.0f} sites")
    others = {
        "OrbitalFieldMatrix": (OrbitalFieldMatrix(flatten=True), 30),
        "SiteStatsFingerprint(CrystalNNFingerprint)": (
            SiteStatsFingerprint(CrystalNNFingerprint.from_preset("ops")),
            10,
        ),
    }
    rates = {}
    for name in ("small", "general"):
        embedding = dcs.CrystalEmbedding(name)
        embedding.featurize(structures[0])
        frame = pd.DataFrame({"structure": structures})
        rates[f"CrystalEmbedding({name!r})"] = len(graphs) / seconds(
            lambda e=embedding, f=frame: e.featurize_dataframe(f, "structure", pbar=False)
        )
    for name, (featurizer, n) in others.items():
        featurizer.set_n_jobs(1)
        few = pd.DataFrame({"structure": structures[:n]})
        rates[name] = len(few) / seconds(
            lambda e=featurizer, f=few: e.featurize_dataframe(f, "structure", ignore_errors=True, pbar=False)
        )
    table = pd.Series(rates, name="crystals per CPU second").to_frame()
    table["CrystalEmbedding('small') / it"] = table.iloc[0, 0] / table.iloc[:, 0]
    print(table.round(1).to_string())
    X = np.empty(len(graphs), object)
    X[:] = graphs
    dataset = dc.data.NumpyDataset(X, np.log([graph.volume for graph in graphs]))
    rows = {}
    for backbone in ("cgcnn", "megnet", "alignn"):
        with_vectors, scratch = (
            epochs(dcs.NEGNNModel(backbone=backbone, pretrained=source), dataset) for source in ("default", None)
        )
        rows[backbone] = [*with_vectors, scratch[1], with_vectors[1] / scratch[1]]
    columns = ["first epoch, s", "epoch, s", "from scratch, s", "ratio"]
    print(pd.DataFrame(rows, columns).T.round(2).to_string())


if __name__ == "__main__":
    main()
