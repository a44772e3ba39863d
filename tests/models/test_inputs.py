"""A model keeps to the graphs it was trained on, uses the edges it is given, and has a vector for every crystal."""

import warnings

import deepchem as dc
import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from deepchem_crystalssl import (
    CrystalSSLModel,
    CrystalStore,
    NEGNNModel,
    load_pretrained,
    save_pretrained,
    structures_to_graphs,
)
from deepchem_crystalssl.crystals import neighbors
from deepchem_crystalssl.errors import GraphMismatchError, Report, UnsupportedObjectError
from deepchem_crystalssl.models.inputs import GraphOptions

SMALL = dict(encoder=dict(width=8, n_layers=1, hidden=8, embedding_size=8), batch_size=8)
OTHER = dict(cutoff=4.0, max_neighbors=4)


def numpy_dataset(graphs, *labels):
    X = np.empty(len(graphs), object)
    X[:] = graphs
    return dc.data.NumpyDataset(X, *labels)


@pytest.fixture(scope="module")
def few(prototypes):
    return [crystal for crystal in prototypes if crystal.num_nodes <= 12][:16]


@pytest.fixture(scope="module")
def usual(few):
    return structures_to_graphs(few, progress=False)


@pytest.fixture(scope="module")
def other(few):
    return structures_to_graphs(few, **OTHER, progress=False)


def pretrained(graphs, folder=None, **options):
    model = CrystalSSLModel("kong2024", **SMALL, model_dir=folder and str(folder), **options)
    model.fit(numpy_dataset(graphs), nb_epoch=1)
    return model


def test_finished_graphs_enter_with_their_edges(few, usual, other):
    untrained = CrystalSSLModel("kong2024", **SMALL)
    assert not np.allclose(untrained.embed(usual), untrained.embed(other), atol=1e-4)
    for graphs in (usual, other):
        by_hand = untrained.predict(numpy_dataset(graphs))  # the graphs themselves, batched
        assert np.allclose(untrained.embed(graphs), by_hand, atol=1e-6)
        assert np.allclose(untrained.embed(iter(graphs)), by_hand, atol=1e-6)
        assert np.allclose(untrained.embed(numpy_dataset(graphs)), by_hand, atol=1e-6)
        assert np.allclose(untrained.embed(np.array([*graphs, None])[:-1]), by_hand, atol=1e-6)
        assert np.allclose(untrained.embed(graphs[3]), by_hand[3:4], atol=1e-6)


def test_no_neighbour_is_searched_for_a_finished_graph(usual, monkeypatch):
    searched = []
    search = neighbors._find_compiled
    monkeypatch.setattr(neighbors, "_find_compiled", lambda *a, **k: (searched.append(1), search(*a, **k))[1])
    model = load_pretrained("small")
    model.embed(usual, progress=False)
    model.embed(usual[:2], space="pattern", progress=False)
    assert not searched
    model.embed(usual[0].to_structure(), progress=False)
    assert searched


def test_structures_get_the_graphs_of_the_training(few, other):
    model = pretrained(other)
    assert model.graph_options == GraphOptions(4.0, 4)
    assert np.allclose(model.embed(few), model.embed(other), atol=1e-6)


def test_graphs_made_otherwise_are_refused(few, usual, other, tmp_path):
    model = pretrained(other)
    for use in (model.fit, model.predict, model.validate, model.embed, model.predict_embedding):
        with pytest.raises(GraphMismatchError, match="cutoff=8 Å.*cutoff=4 Å, max_neighbors=4.*Make the graphs with"):
            use(numpy_dataset(usual))
    store = CrystalStore.write(few, tmp_path / "store")
    with pytest.raises(GraphMismatchError):
        model.fit(store, nb_epoch=1)
    model.fit(CrystalStore(tmp_path / "store", **OTHER), nb_epoch=1)
    report = Report()
    mixed = [other[0], usual[1], few[2], other[3], None, few[5]]
    vectors = model.embed(mixed, on_error="skip", report=report)
    assert [error.index for error in report] == [1, 4]
    assert np.allclose(vectors, model.embed([other[k] for k in (0, 2, 3, 5)]), atol=1e-6)


def test_the_positions_of_bad_items_are_those_in_the_source(few, usual):
    model = CrystalSSLModel("kong2024", **SMALL)
    for source in ([usual[0], few[1], None, few[3]], [few[0], usual[1], None], [usual[0], usual[1], None]):
        for items in (source, iter(source)):
            with pytest.raises(ValueError) as caught:
                model.embed(items)
            assert caught.value.index == 2


def test_the_options_travel_with_the_model(few, usual, other, tmp_path):
    model = pretrained(other, tmp_path / "run")
    saved = save_pretrained(model, tmp_path / "saved")
    resumed = CrystalSSLModel("kong2024", **SMALL, model_dir=str(tmp_path / "run"))
    resumed.restore()
    taken = CrystalSSLModel("kong2024", **SMALL)
    taken.load_from_pretrained(model, components=["crystal_encoder"])
    copies = [load_pretrained(saved), CrystalSSLModel.from_folder(tmp_path / "run"), resumed, taken, model.untrained()]
    for copy in copies:
        assert copy.graph_options == GraphOptions(4.0, 4)
        with pytest.raises(GraphMismatchError):
            copy.embed(usual)
    for copy in copies[:-1]:
        assert np.allclose(copy.embed(few), model.embed(other), atol=2e-3)


def test_the_shipped_models_have_the_usual_graphs(other):
    for name in ("general", "small"):
        model = load_pretrained(name)
        assert model.graph_options == GraphOptions(8.0, 12)
        with pytest.raises(GraphMismatchError):
            model.embed(other, progress=False)


def test_labels_are_learned_from_the_graphs_of_the_encoder(usual, other, tmp_path):
    y = np.arange(16.0)
    for options in ({}, {"fine_tune": 1e-4}):
        with pytest.raises(GraphMismatchError):
            NEGNNModel(pretrained="small", batch_size=8, **options).fit(numpy_dataset(other, y), nb_epoch=1)
    alone = NEGNNModel(pretrained=None, batch_size=8, hidden=8, model_dir=str(tmp_path))
    alone.fit(numpy_dataset(other, y), nb_epoch=1)
    assert alone.graph_options == GraphOptions(4.0, 4)
    for model in (alone, NEGNNModel.from_folder(tmp_path)):
        with pytest.raises(GraphMismatchError):
            model.predict(numpy_dataset(usual))
        assert model.predict(numpy_dataset(other)).shape == (16, 1)


def lonely():
    """Two atoms without a neighbour within 8 Å, and one of two that are far from a pair."""
    return [
        Structure(Lattice.cubic(20.0), ["He"], [[0, 0, 0]]),
        Structure(Lattice.cubic(25.0), ["Na", "Cl", "Xe"], [[0, 0, 0], [0.1, 0, 0], [0.5, 0.5, 0.5]]),
    ]


@pytest.mark.parametrize("name", ["general", "small"])
def test_an_atom_without_neighbours_has_a_vector_in_every_space(name):
    model = load_pretrained(name)
    for space in ("shared", "pattern", "descriptor", "similarity"):
        vectors = model.embed(lonely(), space=space, progress=False)
        assert len(vectors) == 2 and np.isfinite(vectors).all()
    for space in ("shared", "descriptor"):
        assert np.isfinite(model.embed(lonely(), level="site", space=space, progress=False)).all()
    assert np.isfinite(model.embed(lonely(), layers=[0, 1, -1], progress=False)).all()
    with pytest.raises(ValueError, match="no neighbour"):
        model.embed(lonely(), isolated_atoms="raise", progress=False)


@pytest.mark.parametrize("options", [{}, {"backbone": "megnet"}, {"backbone": "alignn"}, {"fine_tune": 1e-4}])
def test_an_atom_without_neighbours_has_a_prediction(usual, options):
    graphs = [*usual[:6], *structures_to_graphs(lonely(), progress=False)]
    model = NEGNNModel(pretrained="small", batch_size=4, **options)
    model.fit(numpy_dataset(graphs, np.arange(8.0)), nb_epoch=2)
    assert np.isfinite(model.predict(numpy_dataset(graphs))).all()
    assert all(torch.isfinite(value).all() for value in model.model.state_dict().values())


@pytest.mark.parametrize("bad", [np.array([]), None, "junk"], ids=["empty", "None", "text"])
@pytest.mark.parametrize("space", ["shared", "pattern"])
def test_a_datapoint_that_is_no_graph_is_named_by_embed(usual, bad, space):
    X = np.empty(8, object)
    X[:] = usual[:8]
    X[5] = bad
    model, dataset = load_pretrained("small"), dc.data.NumpyDataset(X)
    with pytest.raises(UnsupportedObjectError, match="^datapoint 5") as caught:
        model.embed(dataset, space=space, progress=False)
    assert caught.value.index == 5
    report = Report()
    assert len(model.embed(dataset, space=space, on_error="skip", report=report, progress=False)) == 7
    assert report.indices == [5]


@pytest.mark.parametrize("given", [{"cutoff": 5.0}, {"max_neighbors": 8}, {"cutoff": 5.0, "max_neighbors": 12}])
def test_other_graphs_than_those_of_the_training_cause_a_warning(given):
    for make in (lambda: load_pretrained("small", **given), lambda: NEGNNModel(pretrained="small", **given)):
        with pytest.warns(UserWarning, match="trained on graphs with cutoff=8, max_neighbors=12") as caught:
            model = make()
        assert model.graph_options == GraphOptions(**{"cutoff": 8.0, "max_neighbors": 12, **given})
        assert [warning.filename for warning in caught if "trained on graphs" in str(warning.message)] == [__file__]


@pytest.mark.parametrize("given", [{}, {"cutoff": 8.0}, {"cutoff": 8, "max_neighbors": 12}])
def test_the_graphs_of_the_training_cause_no_warning(given):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        load_pretrained("small", **given)
        NEGNNModel(pretrained="small", **given)
        NEGNNModel(pretrained=None, cutoff=5.0)
