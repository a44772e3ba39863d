"""Laws that the numbers of springs and tight binding obey, over real crystals and all ways to write them down."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import deepchem_crystalssl as dcs
from deepchem_crystalssl.crystals.symmetry import primitive_cell
from deepchem_crystalssl.physics.bloch import wave_vectors
from deepchem_crystalssl.physics.columns import bonded, column_names, iterate_physics, model_physics, site_physics
from deepchem_crystalssl.physics.parameters import SiteParameters
from deepchem_crystalssl.physics.springs import Springs
from deepchem_crystalssl.testing import permuted, recelled, rotated, supercell, translated

often = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def numbers(crystal):
    """All numbers of a crystal in double precision, and those of its sites."""
    ((_, _, of_crystal, of_sites),) = iterate_physics([crystal], disorder="average", n_threads=1, progress=False)
    return of_crystal, of_sites


def same(found, expected):
    scale = np.maximum(np.abs(expected), 1.0)
    assert np.allclose(found / scale, expected / scale, rtol=0, atol=1e-6), np.abs(
        found / scale - expected / scale
    ).max()


@often
@given(k=st.integers(0, 287), repeats=st.sampled_from([(1, 1, 1), (2, 1, 1), (1, 2, 2)]), seed=st.integers(0, 999))
def test_one_crystal_has_one_set_of_numbers(prototypes, k, repeats, seed):
    """In any cell, orientation, origin and order of sites."""
    crystal, rng = prototypes[k], np.random.default_rng(seed)
    if crystal.num_nodes > 24:
        return
    (expected, sites), (other, parent) = numbers(crystal), supercell(crystal, repeats)
    other, order = permuted(translated(rotated(recelled(other, rng), rng), rng), rng)
    found, found_sites = numbers(other)
    same(found, expected)
    same(found_sites, sites[parent[order]])


def test_a_conventional_cell_is_a_primitive_one(structures):
    for structure in structures[:12]:
        primitive = structure.get_primitive_structure()
        both = [numbers(s)[0] for s in (structure, primitive)]
        same(*both)


def test_the_graph_a_crystal_comes_with_does_not_matter(prototypes):
    crystal = prototypes[20]
    for cutoff, max_neighbors in ((8.0, 12), (8.0, 20), (5.0, 6)):
        graph = dcs.structures_to_graphs([crystal], cutoff=cutoff, max_neighbors=max_neighbors, progress=False)[0]
        assert np.allclose(numbers(graph)[0], numbers(crystal)[0], rtol=1e-12)


def springs_of(crystal):
    graph = bonded(primitive_cell(crystal)[0])
    return Springs(graph, SiteParameters.of(graph))


@often
@given(k=st.integers(0, 287), seed=st.integers(0, 999))
def test_springs_are_stable_and_know_no_position(prototypes, k, seed):
    springs = springs_of(prototypes[k])
    q = np.concatenate([np.zeros((1, 3)), np.random.default_rng(seed).random((2, 3))])
    gamma, *others = springs.at(q)
    top = springs.constants.max() / springs.mass.min()
    together = np.kron(np.sqrt(springs.mass), np.eye(3)) / np.sqrt(springs.mass.sum())
    assert np.abs(gamma @ together.T).max() < 1e-12 * top  # acoustic sum rule
    squared = np.linalg.eigvalsh(gamma)
    assert np.abs(squared[:3]).max() < 1e-10 * top
    for matrix in (gamma, *others):
        assert np.allclose(matrix, matrix.conj().T, atol=1e-12 * top)
        assert np.linalg.eigvalsh(matrix).min() > -1e-10 * top


@often
@given(k=st.integers(0, 287))
def test_relaxation_softens_a_symmetric_elastic_tensor(prototypes, k):
    springs = springs_of(prototypes[k])
    unrelaxed, relaxed = springs.elasticity(*np.linalg.eigh(springs.at(np.zeros((1, 3)), real=True)[0]))
    for tensor in (unrelaxed, relaxed):
        assert np.allclose(tensor, tensor.T, atol=1e-9 * np.abs(unrelaxed).max())
    assert np.linalg.eigvalsh(unrelaxed - relaxed).min() > -1e-8 * np.abs(unrelaxed).max()
    assert np.linalg.eigvalsh(relaxed).min() > -1e-6 * np.abs(unrelaxed).max()


def test_wave_vectors_add_up_to_the_whole_grid():
    for n in (1, 2, 3, 4, 5):
        q, weight, n_real = wave_vectors(n)
        assert (
            not q[0].any()
            and (2 * q[:n_real] % 1 == 0).all()
            and weight.sum() == pytest.approx(1)
            and len(q) == (n**3 + (8 if n % 2 == 0 else 1)) / 2
        )


def test_charges_add_up_to_zero(prototypes):
    report = dcs.Report()
    table = site_physics(prototypes, ["electrons"], report=report, progress=False)
    assert not report and len(table) == sum(c.num_nodes for c in prototypes)
    first = np.cumsum([0, *(c.num_nodes for c in prototypes)])
    charges = np.add.reduceat(table[:, 0], first[:-1])
    assert np.abs(charges).max() < 1e-3


def test_threads_and_batches_change_nothing(prototypes):
    one = model_physics(prototypes[:60], n_threads=1, progress=False)
    assert np.array_equal(model_physics(prototypes[:60], n_threads=2, progress=False), one)
    assert np.array_equal(model_physics(prototypes[:1], progress=False)[0], one[0])
    assert one.shape == (60, len(column_names())) and np.isfinite(one).all()


def test_the_crystals_given_stay_as_they_are(prototypes):
    before = [(c.frac_coords.tobytes(), c.lattice.tobytes()) for c in prototypes[:5]]
    model_physics(prototypes[:5], progress=False)
    assert before == [(c.frac_coords.tobytes(), c.lattice.tobytes()) for c in prototypes[:5]]
