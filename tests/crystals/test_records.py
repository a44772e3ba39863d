import pickle

import deepchem as dc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Lattice

from deepchem_crystalssl import Crystal, CrystalGraph, structures_to_graphs
from deepchem_crystalssl.errors import (
    CoordinateError,
    EmptyStructureError,
    LatticeError,
    OccupancyError,
    OverlappingAtomsError,
    UnknownElementError,
)
from deepchem_crystalssl.crystals.validation import lattice_from_parameters, make_crystal

CUBE = 4 * np.eye(3)


def test_record_is_immutable(graphs):
    graph = graphs[0]
    with pytest.raises(AttributeError):
        graph.lattice = CUBE
    for name in ("atomic_numbers", "frac_coords", "lattice", "neighbor", "image", "distance", "first_edge"):
        with pytest.raises(ValueError):
            getattr(graph, name)[0] = 0


def test_reloaded_record_is_equal_and_immutable(graphs):
    again = pickle.loads(pickle.dumps(graphs[3]))
    assert repr(again) == repr(graphs[3])
    for name in ("atomic_numbers", "frac_coords", "lattice", "neighbor", "image", "distance", "first_edge"):
        assert np.array_equal(getattr(again, name), getattr(graphs[3], name))
        assert not getattr(again, name).flags.writeable


def test_records_of_before_load_without_their_options(graphs):
    """A graph of an older version was pickled, or built by position, without the options of its making."""
    graph = graphs[3]
    assert (graph.cutoff, graph.max_neighbors) == (8.0, 12)
    older = CrystalGraph(*list(vars(graph).values())[:9])
    assert older.num_edges == graph.num_edges and np.isnan(older.cutoff) and older.max_neighbors == 0
    again = pickle.loads(pickle.dumps(graph))
    assert (again.cutoff, again.max_neighbors) == (8.0, 12)


def test_record_keeps_no_hold_of_the_callers_arrays():
    numbers, frac, lattice = np.array([11, 17]), np.array([[0, 0, 0], [0.5, 0.5, 0.5]]), CUBE.copy()
    crystal = make_crystal(numbers, frac, lattice)
    numbers[0], frac[0], lattice[0] = 1, 0.3, 9.0
    assert crystal.atomic_numbers[0] == 11 and crystal.frac_coords[0, 0] == 0 and crystal.lattice[0, 0] == 4


def test_eleven_bytes_per_edge(graphs):
    size = sum(g.neighbor.nbytes + g.image.nbytes + g.distance.nbytes for g in graphs)
    assert size == 11 * sum(g.num_edges for g in graphs)


def test_record_is_no_sequence(graphs):
    for name in ("__len__", "__iter__", "__array__"):  # np.asarray on a list of records must not look inside
        assert not hasattr(graphs[0], name)


@given(st.tuples(*[st.floats(2, 20)] * 3, *[st.floats(70, 110)] * 3))
def test_lattice_from_parameters_agrees_with_pymatgen(parameters):
    assert np.allclose(lattice_from_parameters(*parameters), Lattice.from_parameters(*parameters).matrix, atol=1e-9)


@given(st.lists(st.floats(-50, 50), min_size=3, max_size=3))
def test_coordinates_are_wrapped_into_the_cell(frac):
    wrapped = make_crystal([6], [frac], CUBE).frac_coords
    assert (wrapped >= 0).all() and (wrapped < 1).all()
    off = wrapped - np.array(frac)
    assert np.allclose(off, np.round(off), atol=1e-9)


def test_symbols_are_species():
    places = [[0, 0, 0], [0.5, 0.5, 0.5]]
    assert make_crystal(np.array(["Fe", "O"]), places, CUBE).atomic_numbers.tolist() == [26, 8]
    assert make_crystal(["D", 8], places, CUBE).atomic_numbers.tolist() == [1, 8]
    assert make_crystal([{"D": 0.5, "H": 0.5}, "T"], places, CUBE).atomic_numbers.tolist() == [1, 1]
    with pytest.raises(UnknownElementError, match="species 'Fe,Co' on site 1"):
        make_crystal(np.array(["Fe", "Fe,Co"]), places, CUBE)


def test_tiny_negative_coordinate_wraps_to_zero():
    assert make_crystal([6], [[-1e-17, 0, 0]], CUBE).frac_coords[0, 0] == 0.0


@pytest.mark.parametrize(
    "error, species, frac, lattice",
    [
        (EmptyStructureError, [], np.zeros((0, 3)), CUBE),
        (CoordinateError, [6], [[np.nan, 0, 0]], CUBE),
        (CoordinateError, [6], [[np.inf, 0, 0]], CUBE),
        (CoordinateError, [6, 6], [[0, 0, 0]], CUBE),
        (LatticeError, [6], [[0, 0, 0]], np.zeros((3, 3))),
        (LatticeError, [6], [[0, 0, 0]], [[1, 0, 0], [0, 1, 0], [1, 1, 0]]),
        (LatticeError, [6], [[0, 0, 0]], np.full((3, 3), np.nan)),
        (LatticeError, [6], [[0, 0, 0]], [[4, 0, 0], [0, 4, 0]]),
        (UnknownElementError, [0], [[0, 0, 0]], CUBE),
        (UnknownElementError, [119], [[0, 0, 0]], CUBE),
        (UnknownElementError, ["Fe,Co"], [[0, 0, 0]], CUBE),
        (UnknownElementError, [{"Xx": 1.0}], [[0, 0, 0]], CUBE),
        (OccupancyError, [{"C": 1.2}], [[0, 0, 0]], CUBE),
        (OccupancyError, [{"C": -0.2}], [[0, 0, 0]], CUBE),
        (OccupancyError, [{"C": 0.7, "N": 0.7}], [[0, 0, 0]], CUBE),
        (OccupancyError, [{"C": float("nan")}], [[0, 0, 0]], CUBE),
        (OverlappingAtomsError, [6, 6], [[0, 0, 0], [0.01, 0, 0]], CUBE),
        (OverlappingAtomsError, [6, 6], [[0.001, 0, 0.999], [0.999, 0, 0.001]], CUBE),
    ],
)
def test_bad_quantities_have_typed_errors(error, species, frac, lattice):
    with pytest.raises(error, match="bad one"):
        make_crystal(species, frac, lattice, "bad one")


def test_occupancies():
    crystal = make_crystal([{"Cu": 0.25, "Au": 0.5}, {"O": 1.0}], [[0, 0, 0], [0.5, 0.5, 0.5]], CUBE)
    assert not crystal.is_ordered and crystal.atomic_numbers.tolist() == [79, 8]
    assert crystal.species.site.tolist() == [0, 0, 1]
    assert crystal.formula == "O1Cu0.25Au0.5" and crystal.chemical_system == "Au-Cu-O"
    gold, copper = (make_crystal([z], [[0, 0, 0]], CUBE).node_features[0] for z in (79, 29))
    assert np.allclose(crystal.node_features[0], 0.5 * gold + 0.25 * copper, atol=1e-6)


def test_full_occupancy_in_a_dict_is_an_ordered_crystal():
    assert make_crystal([{"Na": 1.0}, 17], [[0, 0, 0], [0.5, 0.5, 0.5]], CUBE).is_ordered


def test_rounded_occupancies_are_scaled_to_one():
    assert make_crystal([{"Cu": 0.3334, "Au": 0.6667}], [[0, 0, 0]], CUBE).species.occupancy.sum() == pytest.approx(1)


def test_to_structure_and_back(prototypes):
    for crystal in prototypes[:20]:
        structure = crystal.to_structure()
        assert structure.composition.reduced_formula == crystal.reduced_formula
        assert np.allclose(structure.frac_coords, crystal.frac_coords)


@pytest.mark.needs_dgl
def test_graph_data_interface(graphs):
    """What DeepChem's GraphData offers, with our edge direction."""
    graph = graphs[0]
    reference = dc.feat.GraphData(graph.node_features, graph.edge_index, graph.edge_features)
    for name in ("num_nodes", "num_edges", "num_node_features", "num_edge_features"):
        assert getattr(graph, name) == getattr(reference, name)
    assert graph.num_node_features == 92 and graph.num_edge_features == 41
    ours, theirs = graph.to_dgl_graph(), reference.to_dgl_graph()
    assert (ours.ndata["x"] == theirs.ndata["x"]).all()
    assert (ours.edata["edge_attr"] == theirs.edata["edge_attr"]).all()
    assert (ours.in_degrees().numpy() == np.diff(graph.first_edge)).all()
    assert graph.to_dgl_graph(self_loop=True).num_edges() == graph.num_edges + graph.num_nodes


def test_graph_is_a_crystal(graphs):
    assert isinstance(graphs[0], Crystal) and isinstance(graphs[0], CrystalGraph)
    assert structures_to_graphs([graphs[0]])[0].num_edges == graphs[0].num_edges
