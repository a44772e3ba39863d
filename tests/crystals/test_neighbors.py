import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pymatgen.core import Lattice, Structure

from deepchem_crystalssl import CrystalGraphFeaturizer, structures_to_graphs
from deepchem_crystalssl.errors import (
    CrystalInputError,
    DisorderError,
    IsolatedAtomError,
    LatticeError,
    OptionError,
    OverlappingAtomsError,
    Report,
)
from deepchem_crystalssl.crystals.validation import make_crystal
from deepchem_crystalssl.crystals.neighbors import SHELL_GAP, enumerate_graphs, iterate_graphs
from deepchem_crystalssl.testing import (
    edge_table,
    edge_vectors,
    permuted,
    recelled,
    rotated,
    supercell,
    translated,
)


def exact_edges(graph):
    return sorted(zip(*graph.edge_index.tolist(), map(tuple, graph.image.tolist()), strict=True))


@st.composite
def crystals(draw):
    """Any cell that can exist: skewed, flat or needle-like, with atoms anywhere."""
    n = draw(st.integers(1, 8))
    angles = draw(st.tuples(*[st.floats(50, 130)] * 3).filter(lambda x: sum(x) < 350 and 2 * max(x) < sum(x) - 5))
    lengths = draw(st.tuples(*[st.floats(2.0, 15.0)] * 3))
    frac = draw(arrays(float, (n, 3), elements=st.floats(0, 1, exclude_max=True, width=32)))
    species = draw(st.lists(st.integers(1, 118), min_size=n, max_size=n))
    try:
        crystal = make_crystal(species, frac, Lattice.from_parameters(*lengths, *angles).matrix, "drawn")
        structures_to_graphs(crystal, isolated_atoms="keep")
    except CrystalInputError:  # overlapping atoms, flat cell: the subject of other tests
        assume(False)
    return crystal


COMMON = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@COMMON
@given(crystals(), st.integers(1, 20), st.floats(2, 9))
def test_kernel_equals_pymatgen(crystal, max_neighbors, cutoff):
    ours, theirs = (
        structures_to_graphs(crystal, cutoff, max_neighbors, isolated_atoms="keep", engine=engine)[0]
        for engine in ("numba", "pymatgen")
    )
    assert exact_edges(ours) == exact_edges(theirs)
    assert np.allclose(np.sort(ours.distance), np.sort(theirs.distance), atol=1e-6)


@COMMON
@given(crystals(), st.integers(0, 2**32 - 1))
def test_graph_does_not_depend_on_how_the_crystal_is_written(crystal, seed):
    rng = np.random.default_rng(seed)
    keep = dict(isolated_atoms="keep")
    table = edge_table(structures_to_graphs(crystal, **keep)[0], decimals=3)
    for other in (rotated(crystal, rng), translated(crystal, rng), recelled(crystal, rng)):
        assert_same_edges(table, edge_table(structures_to_graphs(other, **keep)[0], decimals=3))
    other, order = permuted(crystal, rng)
    assert_same_edges(table, edge_table(structures_to_graphs(other, **keep)[0], order, decimals=3))


def assert_same_edges(first, second):
    """Equal up to the last digit of rounding."""
    assert [row[:2] for row in first] == [row[:2] for row in second]
    assert np.allclose([row[2] for row in first], [row[2] for row in second], atol=2e-3)


def test_prototypes_equal_pymatgen_edge_by_edge(prototypes, graphs):
    for ours, theirs in zip(graphs, structures_to_graphs(prototypes, engine="pymatgen"), strict=True):
        assert exact_edges(ours) == exact_edges(theirs)


def test_distances_are_those_of_coordinates_and_images(graphs):
    for graph in graphs:
        assert np.allclose(np.linalg.norm(edge_vectors(graph), axis=1), graph.distance, atol=1e-6)
        assert graph.distance.min() > 0.1 and graph.distance.max() <= 8.0 + 1e-5


def test_distances_equal_pymatgens(prototypes, graphs):
    for crystal, graph in list(zip(prototypes, graphs, strict=True))[:60]:
        near = crystal.to_structure().get_all_neighbors(graph.distance.max() + 1e-4)
        for atom, neighbors in enumerate(near):
            ours = graph.distance[graph.first_edge[atom] : graph.first_edge[atom + 1]]
            assert np.allclose(ours, np.sort([x.nn_distance for x in neighbors])[: len(ours)], atol=1e-6)


def test_whole_shells(graphs):
    """At least 12 neighbours, ended by a gap, and never a shell more than needed."""
    for graph in graphs:
        for start, stop in zip(graph.first_edge[:-1], graph.first_edge[1:], strict=True):
            d = graph.distance[start:stop].astype(float)
            assert (np.diff(d) >= 0).all()
            assert len(d) >= 12 or d[-1] < 8
            shells = np.split(d, np.flatnonzero(np.diff(d) > SHELL_GAP) + 1)
            assert sum(map(len, shells[:-1])) < 12


@pytest.mark.parametrize(
    "spacegroup, a, species, expected",
    [("Fm-3m", 3.6, ["Cu"], 12), ("Im-3m", 2.87, ["Fe"], 14), ("Pm-3m", 3.35, ["Po"], 18)],
)
def test_coordination_of_simple_metals(spacegroup, a, species, expected):
    metal = Structure.from_spacegroup(spacegroup, Lattice.cubic(a), species, [[0, 0, 0]])
    assert set(np.diff(structures_to_graphs(metal)[0].first_edge)) == {expected}


def test_supercell_and_primitive_cell_have_the_same_shells(prototypes):
    for crystal in prototypes[:60]:
        small = structures_to_graphs(crystal)[0]
        large_crystal, parent = supercell(crystal)
        large = structures_to_graphs(large_crystal)[0]
        one_copy = edge_table(small, decimals=3) * 4
        assert_same_edges(sorted(one_copy), edge_table(large, parent, decimals=3))


def test_reciprocity(graphs):
    """j near i at +image means i near j at -image, wherever both shells reach that far."""
    graph = graphs[0]
    edges = set(exact_edges(graph))
    reach = {i: graph.distance[graph.first_edge[i + 1] - 1] for i in range(graph.num_nodes)}
    for (j, i, image), d in zip(exact_edges(graph), graph.distance[np.lexsort(graph.edge_index)], strict=True):
        if d < reach[j] - 1e-3:
            assert (i, j, tuple(-x for x in image)) in edges


@pytest.mark.parametrize(
    "options",
    [{"cutoff": value} for value in (np.nan, np.inf, -3.0, 0, "8", None)]
    + [{"max_neighbors": value} for value in (0, -1, 2.5, np.inf, "12", None)],
    ids=str,
)
@pytest.mark.parametrize("engine", ["numba", "pymatgen"])
def test_options_with_which_no_graph_can_be_made(options, engine):
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    with pytest.raises(OptionError, match=f"^{next(iter(options))}: "):
        structures_to_graphs(salt, engine=engine, **options)
    with pytest.raises(OptionError):  # of all crystals, so that no policy for bad ones leaves it out
        CrystalGraphFeaturizer(on_error="skip", **options).featurize([salt])


def test_numbers_of_other_types_are_options_too():
    silicon = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]])
    graph = structures_to_graphs(silicon, cutoff=np.float32(8), max_neighbors=np.float64(12))[0]
    assert graph.num_edges == structures_to_graphs(silicon)[0].num_edges
    assert (type(graph.cutoff), type(graph.max_neighbors)) == (float, int)


def test_isolated_atoms_policy():
    lonely = Structure(Lattice.cubic(20), ["Ar"], [[0, 0, 0]])
    with pytest.raises(IsolatedAtomError, match="8 Å"):
        structures_to_graphs(lonely, isolated_atoms="raise")
    with pytest.raises(OptionError, match="isolated_atoms: 'drop'; isolated_atoms must be one of keep, raise"):
        structures_to_graphs(lonely, isolated_atoms="drop")
    graph = structures_to_graphs(lonely)[0]
    assert graph.num_edges == 0 and graph.edge_index.shape == (2, 0) and graph.edge_features.shape == (0, 41)
    assert structures_to_graphs(lonely, cutoff=20.0)[0].num_edges == 6


def test_shell_exactly_at_the_cutoff_is_kept_whole():
    cube = Structure(Lattice.cubic(8.0), ["Xe"], [[0.3, 0.1, 0.7]])
    assert structures_to_graphs(cube)[0].num_edges == 6
    rng = np.random.default_rng(0)
    crystal = make_crystal([54], [[0.3, 0.1, 0.7]], 8.0 * np.eye(3))
    for _ in range(20):
        assert structures_to_graphs(rotated(crystal, rng))[0].num_edges == 6


def test_overlapping_atoms():
    double = Structure(Lattice.cubic(5), ["Si", "Si"], [[0, 0, 0], [0.01, 0, 0]])
    with pytest.raises(OverlappingAtomsError, match="sites 0 and 1, 0.050 Å"):
        structures_to_graphs(double)


def test_overlap_across_the_cell_boundary():
    with pytest.raises(OverlappingAtomsError):
        structures_to_graphs(Structure(Lattice.cubic(5), ["Si", "Si"], [[0, 0, 0], [0.999, 0, 0]]))


def test_cell_too_thin_for_the_cutoff():
    with pytest.raises(LatticeError):
        structures_to_graphs(make_crystal([1], [[0, 0, 0]], np.diag([0.11, 5, 5])), cutoff=40.0)


def test_many_tied_neighbors_need_no_more_room_than_there_is():
    grid = np.stack(np.meshgrid(*[np.arange(4) / 4] * 3), -1).reshape(-1, 3)
    crystal = make_crystal([29] * 64, grid, 10 * np.eye(3))
    wanted = structures_to_graphs(crystal, 8.0, 100, engine="pymatgen")[0]
    assert exact_edges(structures_to_graphs(crystal, 8.0, 100)[0]) == exact_edges(wanted)


def bad_structures():
    """Ten bad ones, each for its own reason."""
    cubic = Lattice.cubic(4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            Structure(cubic, ["Si", "Si"], [[0, 0, 0], [0.001, 0, 0]]),
            Structure(cubic, ["Si"], [[np.nan, 0, 0]]),
            Structure(cubic, ["Si"], [[np.inf, 0, 0]]),
            Structure(cubic, ["X0+"], [[0, 0, 0]]),
            Structure(cubic, [{"Fe": 0.5, "Co": 0.5}], [[0, 0, 0]]),
            Structure(Lattice.cubic(30), ["He"], [[0, 0, 0]]),
            Structure(Lattice(np.zeros((3, 3))), ["Si"], [[0, 0, 0]]),
            Structure(cubic, [], []),
            {"lattice": {"a": 3}, "sites": []},
            "data_broken\n_cell_length_a 'oh",
        ]


def test_a_thousand_with_ten_bad_ones_costs_ten(prototypes):
    good = (prototypes * 4)[:990]
    places = np.random.default_rng(1).choice(1000, 10, replace=False)
    batch = list(good)
    for place, bad in zip(sorted(places), bad_structures(), strict=True):
        batch.insert(place, bad)
    report = Report()
    graphs = structures_to_graphs(batch, isolated_atoms="raise", on_error="skip", report=report)
    assert len(graphs) == 990 and [g.material_id for g in graphs] == [c.material_id for c in good]
    assert [e.index for e in sorted(report, key=lambda e: e.index)] == sorted(places)
    assert len({type(e) for e in report}) >= 7 and all(type(e) is not CrystalInputError for e in report)


@pytest.mark.parametrize("bad", bad_structures(), ids=lambda x: type(x).__name__)
def test_each_bad_one_raises_its_typed_error(bad):
    with pytest.raises(CrystalInputError) as caught:
        structures_to_graphs([bad], isolated_atoms="raise")
    assert type(caught.value) is not CrystalInputError and "structure 0" in str(caught.value)


def test_disorder_policies():
    alloy = Structure(Lattice.cubic(3.8), [{"Cu": 0.75, "Au": 0.25}], [[0, 0, 0]])
    with pytest.raises(DisorderError, match="disorder='average'"):
        structures_to_graphs(alloy)
    assert structures_to_graphs(alloy, disorder="dominant")[0].formula == "Cu1"
    assert structures_to_graphs(alloy, disorder="average")[0].formula == "Cu0.75Au0.25"
    with pytest.raises(ValueError, match="disorder"):
        structures_to_graphs(alloy, disorder="guess")


def test_the_callers_structure_is_not_touched(structures):
    before = structures[0].as_dict()
    structures_to_graphs(structures[0])
    assert structures[0].as_dict() == before


def test_lazy_and_flat(prototypes):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield prototypes[0]

    iterator = iterate_graphs(endless(), n_threads=2)
    assert next(iterator).num_nodes == prototypes[0].num_nodes
    assert len(taken) <= 512 * 4
    iterator.close()


def test_keyboard_interrupt_gets_through(prototypes):
    def interrupted():
        yield prototypes[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        structures_to_graphs(interrupted(), on_error="skip")


def test_threads_give_the_same_as_one(prototypes, graphs):
    for one, many in zip(structures_to_graphs(prototypes, n_threads=1), graphs, strict=True):
        assert exact_edges(one) == exact_edges(many)


def test_graphs_know_how_they_were_made(prototypes):
    for engine in ("numba", "pymatgen"):
        (graph,) = structures_to_graphs(prototypes[0], 5, max_neighbors=6, engine=engine)
        assert (graph.cutoff, graph.max_neighbors) == (5.0, 6)


def test_graphs_come_with_the_positions_of_their_items(prototypes):
    found = list(enumerate_graphs([prototypes[0], None, prototypes[1]], on_error="skip"))
    assert [position for position, _ in found] == [0, 2]
    assert [graph.material_id for _, graph in found] == [crystal.material_id for crystal in prototypes[:2]]


@pytest.mark.parametrize("function", [structures_to_graphs, iterate_graphs, enumerate_graphs])
def test_unknown_options_are_errors_at_once(prototypes, function):
    with pytest.raises(TypeError, match=f"{function.__name__}.*max_neighbours"):
        function(prototypes[0], max_neighbours=6)
