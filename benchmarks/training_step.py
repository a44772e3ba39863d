"""Measure a pretraining step, a view and an embedding against the published way of writing them, on one thread.

    python benchmarks/training_step.py DATA/mp_structures.parquet

The published way (Suzuki et al. 2022, written anew here) has one graph object for each structure, 12 neighbours
padded with fake edges, the concatenation [x_i, x_j, e_ij] of every edge multiplied by one linear map, BatchNorm, and
clean patterns that are read from memory. Our code renders the patterns within the step. Both see the same crystals
of at most 52 sites in batches of 256, and both run the forward pass, the backward pass and the optimizer; the preset
"suzuki2022" has 6.4 million parameters.
"""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Any

import deepchem as dc
import numpy as np
import pandas as pd
import torch
from timing import compare
from torch import Tensor, nn
from torch.nn import functional as F

import deepchem_crystalssl as dcs
from deepchem_crystalssl.diffraction.conditions import REALISTIC
from deepchem_crystalssl.nn.graph_batch import GraphBatch
from deepchem_crystalssl.pretext.views import choose_sites, edges_at, masked, random_view

BATCH = 256


class PublishedConvolution(nn.Module):
    """One linear map of the concatenated ends and edge, dense in the 12 neighbours."""

    def __init__(self, width: int = 64, edge: int = 41):
        super().__init__()
        self.full = nn.Linear(2 * width + edge, 2 * width)
        self.norm_edges, self.norm_sites = nn.BatchNorm1d(2 * width), nn.BatchNorm1d(width)

    def forward(self, sites: Tensor, edges: Tensor, neighbors: Tensor) -> Tensor:
        """(A, F), (A, 12, 41), (A, 12) to (A, F)."""
        n, k = neighbors.shape
        z = self.full(torch.cat([sites[:, None].expand(n, k, -1), sites[neighbors], edges], dim=2))
        gate, core = self.norm_edges(z.view(n * k, -1)).view(n, k, -1).chunk(2, dim=2)
        return F.softplus(sites + self.norm_sites((torch.sigmoid(gate) * F.softplus(core)).sum(1)))


class PublishedCrystalEncoder(nn.Module):
    """92 -> 64, three convolutions, mean, three blocks of 1024, 1024."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(92, 64)
        self.convolutions = nn.ModuleList(PublishedConvolution() for _ in range(3))
        blocks: list[nn.Module] = []
        for n_in in (64, 1024, 1024):
            blocks += [nn.Linear(n_in, 1024), nn.BatchNorm1d(1024), nn.ReLU()]
        self.head = nn.Sequential(*blocks, nn.Linear(1024, 1024))

    def forward(self, atoms: Tensor, edges: Tensor, neighbors: Tensor, owners: list[Tensor]) -> Tensor:
        """Collated graphs to (B, 1024)."""
        sites = self.embed(atoms)
        for convolution in self.convolutions:
            sites = convolution(sites, edges, neighbors)
        return self.head(torch.stack([sites[rows].mean(0) for rows in owners]))


def published_xrd_encoder() -> nn.Module:
    """The published layers with BatchNorm."""

    def block(n_in: int, n_out: int, kernel: int, stride: int, padding: int) -> list[nn.Module]:
        return [nn.Conv1d(n_in, n_out, kernel, stride, padding), nn.BatchNorm1d(n_out), nn.ReLU()]

    head: list[nn.Module] = []
    for n_in in (880, 1024):
        head += [nn.Linear(n_in, 1024), nn.BatchNorm1d(1024), nn.ReLU()]
    return nn.Sequential(
        *block(1, 80, 50, 5, 10),
        *block(80, 80, 10, 5, 5),
        nn.AvgPool1d(4, 2),
        *block(80, 80, 3, 3, 0),
        nn.AvgPool1d(3),
        nn.Flatten(),
        *head,
        nn.Linear(1024, 1024),
    )


def published_graph(graph: dcs.CrystalGraph) -> tuple[Tensor, Tensor, Tensor]:
    """Element features, expanded edges and neighbours of exactly 12 per atom, padded with a fake one."""
    n = graph.num_nodes
    neighbors, distances = np.zeros((n, 12), np.int64), np.full((n, 12), 9.0)
    for i in range(n):
        first, last = graph.first_edge[i], min(graph.first_edge[i + 1], graph.first_edge[i] + 12)
        neighbors[i, : last - first] = graph.neighbor[first:last]
        distances[i, : last - first] = graph.distance[first:last]
    edges = np.exp(-(((distances[:, :, None] - np.linspace(0, 8, 41)) / 0.2) ** 2)).astype(np.float32)
    return torch.tensor(graph.node_features), torch.from_numpy(edges), torch.from_numpy(neighbors)


class PublishedTraining:
    """Collation, encoders, triplet loss and Adam as published."""

    def __init__(self, graphs: list, patterns: np.ndarray):
        self.items = [
            (*published_graph(g), torch.from_numpy(pattern)) for g, pattern in zip(graphs, patterns, strict=True)
        ]
        self.crystal, self.xrd = PublishedCrystalEncoder(), published_xrd_encoder()
        parameters = [*self.crystal.parameters(), *self.xrd.parameters()]
        self.n_parameters = sum(p.numel() for p in parameters)
        self.optimizer = torch.optim.Adam(parameters, 1e-3)

    def collate(self, chosen: list[int]) -> tuple[Any, ...]:
        """Structures to one batch, one after the other."""
        atoms, edges, neighbors, owners, patterns, start = [], [], [], [], [], 0
        for k in chosen:
            a, e, j, pattern = self.items[k]
            atoms.append(a)
            edges.append(e)
            neighbors.append(j + start)
            owners.append(torch.arange(start, start + len(a)))
            patterns.append(pattern)
            start += len(a)
        return torch.cat(atoms), torch.cat(edges), torch.cat(neighbors), owners, torch.stack(patterns)

    def step(self, chosen: list[int]) -> None:
        """One step on some structures."""
        atoms, edges, neighbors, owners, patterns = self.collate(chosen)
        x = self.crystal(atoms, edges, neighbors, owners)
        y = self.xrd(patterns[:, None])
        distance = torch.cdist(x, y)
        losses = []
        for d in (distance, distance.T):
            positive = d.diagonal()[:, None]
            allowed = (d < positive + 1.0) & ~torch.eye(len(d), dtype=torch.bool)
            rows = allowed.any(1)
            negative = torch.multinomial(allowed[rows].float(), 1)
            losses.append((d.diagonal()[rows] - d[rows].gather(1, negative)[:, 0] + 1.0).clamp(min=0).mean())
        self.optimizer.zero_grad()
        (sum(losses) / 2).backward()
        self.optimizer.step()


def trainer(preset: str, graphs: list, **options: Any) -> Any:
    """A function that trains on the first items of a list, in batches."""
    model = dcs.CrystalSSLModel(preset, batch_size=BATCH, log_frequency=10**9, **options)
    X = np.empty(len(graphs), object)
    X[:] = graphs
    dataset = dc.data.NumpyDataset(X)

    def train(items: list) -> None:
        model.fit(dataset.select(range(len(items))), nb_epoch=1, checkpoint_interval=0, progress=False)

    return train


def main() -> None:
    """Print the tables."""
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    table = pd.read_parquet(sys.argv[1])
    table = table[table["n_sites"] <= 52].sample(4 * BATCH, random_state=0)
    graphs = dcs.structures_to_graphs(table, on_error="skip", progress=False)
    graphs = graphs[: len(graphs) // BATCH * BATCH]
    published = PublishedTraining(graphs, dcs.simulate_xrd(graphs, progress=False))
    print(f"{len(graphs)} structures, {np.mean([g.num_nodes for g in graphs]):.1f} sites on average")
    print(f"published way: {published.n_parameters:,} parameters\n")

    def published_training(items: list) -> None:
        for start in range(0, len(items), BATCH):
            published.step(list(range(start, min(start + BATCH, len(items)))))

    one = graphs[:BATCH]
    compare(
        {
            "suzuki2022, float32": (trainer("suzuki2022", graphs), one),
            "suzuki2022, bfloat16": (trainer("suzuki2022", graphs, mixed_precision=True), one),
            "joint, float32": (trainer("joint", graphs, conditions=REALISTIC), one),
            "joint, bfloat16": (trainer("joint", graphs, conditions=REALISTIC, mixed_precision=True), one),
            "kong2024, float32": (trainer("kong2024", graphs), one),
            "published way": (published_training, one),
        },
        "joint, bfloat16",
        rounds=5,
    )

    generator = torch.Generator().manual_seed(0)

    def hidden_views(items: list) -> None:
        batch = GraphBatch.from_graphs(items)
        chosen = choose_sites(batch, 0.15, generator)
        masked(batch, chosen, edges_at(batch, chosen))

    def random_views(items: list) -> None:
        random_view(GraphBatch.from_graphs(items), 0.2, generator)

    compare({"hidden": (hidden_views, graphs), "random": (random_views, graphs)}, "random", rounds=5, unit="views")
    published.crystal.eval()

    def embed_published(items: list) -> None:
        with torch.no_grad():
            for start in range(0, len(items), BATCH):
                published.crystal(*published.collate(list(range(start, min(start + BATCH, len(items)))))[:4])

    contenders: dict[str, Any] = {"published way": (embed_published, graphs)}
    for preset in ("suzuki2022", "joint"):
        model = dcs.CrystalSSLModel(preset)
        contenders[f"{preset}, from graphs"] = (lambda items, m=model: m.embed(items, progress=False), graphs)
    structures = table.iloc[: len(graphs)]
    joint = dcs.CrystalSSLModel("joint")
    contenders["joint, from structures"] = (
        lambda items: joint.embed(structures.iloc[: len(items)], on_error="skip", progress=False),
        graphs,
    )
    compare(contenders, "joint, from graphs", rounds=5)


if __name__ == "__main__":
    main()
