"""The batch record: its fields, its parts, and that no view keeps what was computed for another."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from deepchem_crystalssl.nn.bonds import bond_valences, single_bond_lengths
from deepchem_crystalssl.nn.graph_batch import MASKED_ROW, GraphBatch, once_per_batch
from deepchem_crystalssl.nn.site_attributes import site_attributes
from deepchem_crystalssl.pretext.views import displaced, edges_at, masked


def test_batch_is_the_concatenation(graphs):
    batch = GraphBatch.from_graphs(graphs[:5])
    assert len(batch) == 5 and batch.total_sites == sum(g.num_nodes for g in graphs[:5])
    start = sum(g.num_nodes for g in graphs[:3])
    inside = batch.crystal[batch.center] == 3
    assert np.array_equal(batch.neighbor[inside].numpy() - start, graphs[3].edge_index[0])
    assert np.array_equal(batch.center[inside].numpy() - start, graphs[3].edge_index[1])
    assert np.array_equal(batch.distance[inside].numpy(), graphs[3].distance)
    assert (batch.crystal[batch.neighbor] == batch.crystal[batch.center]).all()


def test_a_batch_moves_between_devices(graphs):
    batch = GraphBatch.from_graphs(graphs[:2]).to("meta")
    assert batch.center.device.type == batch.occupancy.device.type == "meta" and not batch.uses_dgl


def test_head_is_a_batch_of_the_first(graphs):
    whole, first = GraphBatch.from_graphs(graphs[:12]), GraphBatch.from_graphs(graphs[:5])
    head = whole.head(5)
    assert len(head) == 5
    for name, value in vars(first).items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(getattr(head, name), value), name


# Views


DERIVED = {
    "direction": lambda batch: batch.direction,
    "harmonics": lambda batch: batch.harmonics(4),
    "low harmonics": lambda batch: batch.harmonics(2),
    "table row": lambda batch: batch.table_position[0],
    "table fraction": lambda batch: batch.table_position[1],
    "compressed rows": lambda batch: torch.from_numpy(batch.compressed_edges[3]),
    "lengths": single_bond_lengths,
    "bond valences": bond_valences,
    "attributes": site_attributes,
}


def every(batch):
    return {name: function(batch) for name, function in DERIVED.items()}


@pytest.fixture
def changes(graphs):
    """A batch, and ways to make another of it."""
    batch = GraphBatch.from_graphs(graphs[:6])
    sites = torch.rand(batch.total_sites, generator=torch.Generator().manual_seed(0)) < 0.3
    ways = {
        "masked": lambda b: masked(b, sites, edges_at(b, sites)),
        "displaced": lambda b: displaced(b, 0.1, torch.Generator().manual_seed(0))[0],
        "head": lambda b: b.head(3),
        "other cells": lambda b: replace(b, lattice=b.lattice * torch.tensor([1.0, 1.2, 0.9])[:, None]),
        "other sites": lambda b: replace(b, frac_coords=b.frac_coords.roll(1, 0)),
        "other elements": lambda b: replace(b, atomic_numbers=b.atomic_numbers.roll(1)),
        "unmasked again": lambda b: replace(masked(b, sites, edges_at(b, sites)), masked_sites=None, masked_edges=None),
    }
    return batch, ways


WAYS = ["masked", "displaced", "head", "other cells", "other sites", "other elements", "unmasked again"]


@pytest.mark.parametrize("way", WAYS)
def test_what_follows_from_a_view_is_its_own(graphs, changes, way):
    """Whatever was computed before of the batch that a view is made of, or of the view itself."""
    batch, ways = changes
    untouched = GraphBatch.from_graphs(graphs[:6])
    before = every(batch)
    views = ways[way](batch), ways[way](untouched)
    ours, expected = every(views[0]), every(views[1])
    for name, value in expected.items():
        assert torch.allclose(ours[name], value, atol=1e-6), name
    for name, value in every(batch).items():
        assert value is before[name] or torch.equal(value, before[name]), name
    if way not in ("head", "unmasked again"):
        assert any(not torch.equal(ours[name], before[name]) for name in DERIVED)


def test_views_share_directions_only_as_long_as_positions_are_the_same(changes):
    batch, ways = changes
    shared = {way: ways[way](batch).directions is batch.directions for way in WAYS}
    assert shared == dict.fromkeys(WAYS, True) | dict.fromkeys(("head", "other cells", "other sites"), False)


def test_masked_edges_have_a_row_and_harmonics_of_their_own(changes):
    batch, ways = changes
    view = ways["masked"](batch)
    row, part = view.table_position
    assert (row[view.masked_edges] == MASKED_ROW).all() and (part[view.masked_edges] == 0).all()
    assert (row[~view.masked_edges] < MASKED_ROW).all()
    assert (view.harmonics(4)[view.masked_edges] == 0).all() and batch.harmonics(4)[view.masked_edges].any()


def test_a_result_is_computed_once_and_goes_with_its_batch(graphs):
    calls = []

    @once_per_batch
    def volume(batch):
        calls.append(batch)
        return batch.volume * 2

    batch = GraphBatch.from_graphs(graphs[:2])
    assert volume(batch) is volume(batch) and len(calls) == 1
    volume(replace(batch, volume=batch.volume + 1))
    assert len(calls) == 2
    kept = weakref.ref(volume(batch))
    calls.clear()
    del batch
    gc.collect()
    assert kept() is None
