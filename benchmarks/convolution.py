"""Measure one crystal convolution, forward and backward, on one thread: our three engines against DeepChem's layer.

python benchmarks/convolution.py DATA/mp_structures.parquet
"""

from __future__ import annotations

import sys
import warnings

import dgl
import torch
from deepchem.models.torch_models.cgcnn import CGCNNLayer
from graphs import sample
from timing import compare

import deepchem_crystalssl as dcs
from deepchem_crystalssl.nn.layers import CrystalConvolution
from deepchem_crystalssl.nn.graph_batch import GraphBatch

WIDTH = 64


def main() -> None:
    """Print the table."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    graphs = dcs.structures_to_graphs(sample(sys.argv[1], 256), progress=False)
    sites = torch.randn(sum(graph.num_nodes for graph in graphs), WIDTH, requires_grad=True)
    ours, theirs = CrystalConvolution(WIDTH), CGCNNLayer(WIDTH, 41)

    def convolve(engine: str):
        def run(items: list) -> None:
            batch = GraphBatch.from_graphs(items, engine)
            ours(batch, sites[: batch.total_sites]).sum().backward()

        return run

    # DeepChem's layer is given the batched graph ready-made; ours builds its batch from the records.
    whole = dgl.batch([graph.to_dgl_graph() for graph in graphs])

    def deepchem(items: list) -> None:
        if len(items) == len(graphs):
            theirs(whole, sites, whole.edata["edge_attr"]).sum().backward()

    compare(
        {
            "fused": (convolve("fused"), graphs),
            "DGL built-ins": (convolve("dgl"), graphs),
            "plain torch": (convolve("torch"), graphs),
            "DeepChem CGCNNLayer": (deepchem, graphs),
        },
        "fused",
        rounds=7,
    )


if __name__ == "__main__":
    main()
