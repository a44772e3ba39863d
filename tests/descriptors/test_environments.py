"""What surrounds a site, in words; what the layers tell of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from deepchem_crystalssl import compare_layers, load_pretrained, local_environments, structures_to_graphs
from deepchem_crystalssl.errors import DisorderError, LabelError
from deepchem_crystalssl.crystals.symmetry import orbits
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.evaluation.metrics import variance_explained

HALF, QUARTER = [0.5] * 3, [0.25] * 3
SPINEL = Structure.from_spacegroup("Fd-3m:2", Lattice.cubic(8.08), ["Mg", "Al", "O"], [[0.125] * 3, HALF, [0.263] * 3])
KNOWN = {
    "rock salt": ("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0] * 3, HALF],
                  {"Na": "octahedral", "Cl": "octahedral"}),
    "zinc blende": ("F-43m", Lattice.cubic(5.41), ["Zn", "S"], [[0] * 3, QUARTER], {"Zn": "tetrahedral"}),
    "CsCl": ("Pm-3m", Lattice.cubic(4.12), ["Cs", "Cl"], [[0] * 3, HALF], {"Cs": "body-centered cubic"}),
    "perovskite": ("Pm-3m", Lattice.cubic(3.905), ["Sr", "Ti", "O"], [HALF, [0] * 3, [0.5, 0, 0]],
                   {"Sr": "cuboctahedral", "Ti": "octahedral", "O": "linear"}),
    "PtO": ("P4_2/mmc", Lattice.tetragonal(3.04, 5.34), ["Pt", "O"], [[0, 0.5, 0], [0, 0, 0.25]],
            {"Pt": "square co-planar"}),
}  # fmt: skip


def words(structure):
    graph = structures_to_graphs(structure, progress=False)[0]
    return dict(zip([site.specie.symbol for site in graph.to_structure()], local_environments(graph), strict=True))


@pytest.mark.parametrize("name", KNOWN)
def test_textbook_structures(name):
    group, lattice, species, places, expected = KNOWN[name]
    found = words(Structure.from_spacegroup(group, lattice, species, places))
    assert {symbol: found[symbol] for symbol in expected} == expected


@settings(max_examples=6, deadline=None)
@given(st.permutations(range(14)), st.lists(st.integers(1, 2), min_size=3, max_size=3), st.floats(-0.4, 0.4))
def test_environments_belong_to_the_site(order, scaling, shift):
    primitive = SPINEL.get_primitive_structure()
    moved = Structure.from_sites([primitive[k] for k in order])
    moved.translate_sites(range(len(moved)), [shift, 0.1, 0.2])
    expected = {"Mg": "tetrahedral", "Al": "octahedral"}
    found = words(moved * scaling)
    assert {symbol: found[symbol] for symbol in expected} == expected


def test_chosen_sites_answer_in_their_order():
    graph = structures_to_graphs(SPINEL, progress=False)[0]
    every = local_environments(graph)
    chosen = [30, 0, 12]
    assert local_environments(graph, chosen).tolist() == every[chosen].tolist()
    assert set(every) > {"octahedral", "tetrahedral"}


def test_no_symmetry_is_needed():
    """A site of a shaken crystal is alone in its orbit, and still has its shape."""
    shaken = SPINEL.get_primitive_structure().perturb(0.03, seed=0)
    graph = structures_to_graphs(shaken, progress=False)[0]
    found = local_environments(graph)
    assert len(set(orbits(graph))) == graph.num_nodes
    assert set(found[graph.atomic_numbers == 12]) == {"tetrahedral"}
    assert set(found[graph.atomic_numbers == 13]) == {"octahedral"}


def test_a_partly_occupied_site_has_no_environment():
    mixed = Structure(Lattice.cubic(3.9), [{"Sr": 0.5, "Ba": 0.5}, "Ti"], [[0] * 3, HALF])
    graph = structures_to_graphs(mixed, disorder="average", progress=False)[0]
    with pytest.raises(DisorderError):
        local_environments(graph)


def test_an_element_without_radius_is_unknown():
    graph = structures_to_graphs(Structure(Lattice.cubic(4), ["Og", "Og"], [[0] * 3, HALF]), progress=False)
    assert set(local_environments(graph[0])) <= {"unknown", "body-centered cubic"}


def test_layers_compared():
    model, crystals = load_pretrained("small"), bundled_prototypes()[:60]
    graphs = structures_to_graphs(crystals, progress=False)
    sites = sum(graph.num_nodes for graph in graphs)
    chance = np.random.default_rng(0).integers(0, 5, sites)
    some = np.where(np.arange(sites) % 3 == 0, "a", None)
    some[::2] = "b"
    table = compare_layers(model, graphs, {"chance": chance, "some": some})
    assert list(table.columns) == ["crystal", "element", "chance", "some"]
    assert len(table) == len(model.descriptor_encoder.convolutions) + 1
    assert (table["chance"].abs() < 0.02).all()
    assert table["element"].is_monotonic_decreasing and (table[["crystal", "element"]] > 0.2).all(axis=None)


def test_labels_must_be_of_all_sites():
    with pytest.raises(LabelError, match="labels\\['word'\\]: 3 labels for"):
        compare_layers(load_pretrained("small"), bundled_prototypes()[:3], {"word": ["a", "b", "a"]})


def test_vectors_smoothed_away_are_told():
    """Sites that all have become their crystal's mean: it explains everything, the element less than before."""
    rng = np.random.default_rng(0)
    crystal, element = np.repeat(np.arange(20), 6), np.tile([0, 0, 1, 1, 2, 2], 20)
    vectors = rng.normal(size=(3, 8))[element] + rng.normal(size=(20, 8))[crystal] + 0.1 * rng.normal(size=(120, 8))
    smooth = np.repeat(vectors.reshape(20, 6, 8).mean(1), 6, axis=0)
    assert variance_explained(vectors, crystal) < 0.8 < variance_explained(vectors, crystal * 3 + element)
    assert variance_explained(smooth, crystal) == pytest.approx(1.0)
    assert variance_explained(smooth, element) < 0.0 < 0.2 < variance_explained(vectors, element)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 100.0))
def test_variance_explained_ignores_order_scale_and_names(seed, factor):
    rng = np.random.default_rng(seed)
    x, labels = rng.normal(size=(40, 3)), rng.integers(0, 4, 40)
    x += labels[:, None]
    share, order = variance_explained(x, labels), rng.permutation(40)
    assert variance_explained(x[order], labels[order]) == pytest.approx(share)
    assert variance_explained(factor * x + 3.0, [f"name {k}" for k in labels]) == pytest.approx(share)


def test_variance_explained_agrees_with_analysis_of_variance():
    """One column: the F statistic of scipy says the same."""
    from scipy.stats import f_oneway

    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 60)
    x = rng.normal(size=60) + 0.7 * labels
    f = f_oneway(*(x[labels == k] for k in range(4))).statistic
    assert variance_explained(x[:, None], labels) == pytest.approx((f - 1) / (f + (60 - 4) / 3))


@pytest.mark.parametrize("labels", [["a"] * 5, list("abcde"), list("abcd")])
def test_labels_that_say_nothing_are_refused(labels):
    with pytest.raises(ValueError, match="labels"):
        variance_explained(np.eye(5), labels)
