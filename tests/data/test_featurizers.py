"""The featurizers under every trap of DeepChem that is known."""

import json
import logging
import pickle
import subprocess
import sys
import warnings

import deepchem as dc
import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure
from sklearn.ensemble import RandomForestRegressor

from deepchem_crystalssl import (
    CrystalGraph,
    CrystalGraphFeaturizer,
    ModelPhysicsFeaturizer,
    XRDFeaturizer,
    model_physics,
    simulate_xrd,
)
from deepchem_crystalssl.errors import (
    DisorderError,
    IsolatedAtomError,
    OptionError,
    OverlappingAtomsError,
    UnsupportedObjectError,
)

BAD = Structure(Lattice.cubic(4), ["Si", "Si"], [[0, 0, 0], [0.001, 0, 0]])
FEATURIZERS = [CrystalGraphFeaturizer, XRDFeaturizer, ModelPhysicsFeaturizer]


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("featurizer", FEATURIZERS)
def test_is_a_deepchem_featurizer(featurizer, structures):
    assert isinstance(featurizer(), dc.feat.MaterialStructureFeaturizer)
    assert len(featurizer()(structures[:3])) == 3


@pytest.mark.parametrize("featurizer", FEATURIZERS)
def test_a_single_structure_is_one_datapoint(featurizer, structures):
    """A Structure is iterable; the base class would walk its sites."""
    for single in (structures[0], structures[0].as_dict(), structures[0].to_ase_atoms()):
        assert len(featurizer().featurize(single)) == 1


@pytest.mark.parametrize("featurizer", FEATURIZERS)
def test_iterables_of_every_kind(featurizer, structures):
    three = structures[:3]
    column = np.empty(3, object)
    column[:] = three
    for points in (three, tuple(three), (s for s in three), pd.Series(three), column, [s.as_dict() for s in three]):
        assert len(featurizer().featurize(points)) == 3


def test_equal_structures_stay_one_dimensional(structures):
    """np.asarray on a list of equal records would look inside them."""
    features = CrystalGraphFeaturizer().featurize([structures[0]] * 3)
    assert features.shape == (3,) and features.dtype == object
    assert CrystalGraphFeaturizer().featurize([]).shape == (0,)


def test_bad_rows_cost_themselves_alone(structures, caplog):
    featurizer = CrystalGraphFeaturizer()
    with pytest.warns(UserWarning, match="datapoint 1: sites 0 and 1"):
        features = featurizer.featurize([structures[0], BAD, structures[1], None])
    assert [isinstance(f, CrystalGraph) for f in features] == [True, False, True, False]
    assert features[1].size == 0 and [e.index for e in featurizer.report] == [1, 3]
    assert "2 items left out" in caplog.text
    assert features[2].num_nodes == len(structures[1])


def test_all_bad_rows(structures):
    features = CrystalGraphFeaturizer(on_error="skip").featurize([BAD, BAD])
    assert features.shape == (2,) and all(f.size == 0 for f in features)
    patterns = XRDFeaturizer(on_error="skip").featurize([None, None])
    assert patterns.shape == (2,) and all(f.size == 0 for f in patterns)


def test_on_error_raise(structures):
    with pytest.raises(OverlappingAtomsError, match="datapoint 1"):
        CrystalGraphFeaturizer(on_error="raise").featurize([structures[0], BAD])


@pytest.mark.parametrize("featurizer", FEATURIZERS)
def test_keyboard_interrupt_gets_through(featurizer, structures):
    def interrupted():
        yield structures[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        featurizer().featurize(interrupted())


def test_paths_are_datapoints(structures, tmp_path):
    structures[0].to(filename=str(tmp_path / "a.cif"))
    features = CrystalGraphFeaturizer().featurize([tmp_path / "a.cif", str(tmp_path / "a.cif"), "missing.cif"])
    assert features[0].material_id == "a" and features[2].size == 0
    assert CrystalGraphFeaturizer().featurize(str(tmp_path / "a.cif"))[0].num_nodes == len(structures[0])


@pytest.mark.parametrize("featurizer", FEATURIZERS)
def test_json_loader_drops_bad_rows_with_their_labels(featurizer, structures, tmp_path):
    rows = [s.as_dict() for s in (structures[0], BAD, structures[1])]
    pd.DataFrame({"structure": rows, "y": [1.0, 2.0, 3.0], "id": ["a", "b", "c"]}).to_json(
        tmp_path / "data.json", orient="records", lines=True
    )
    loader = dc.data.JsonLoader(["y"], "structure", featurizer(), id_field="id")
    dataset = loader.create_dataset(str(tmp_path / "data.json"))
    assert dataset.y.ravel().tolist() == [1.0, 3.0] and dataset.ids.tolist() == ["a", "c"]
    assert len(dataset.X) == 2 and json.loads((tmp_path / "data.json").read_text().splitlines()[0])


@pytest.mark.parametrize("featurizer", FEATURIZERS)
@pytest.mark.parametrize("labelled", [True, False])
def test_in_memory_loader(featurizer, structures, labelled):
    entries = [(s, np.array([1.0])) if labelled else s for s in structures[:3]]
    dataset = dc.data.InMemoryLoader(["y"], featurizer()).create_dataset(entries)
    assert len(dataset.X) == 3
    if featurizer is XRDFeaturizer:
        assert dataset.X.shape == (3, 5000)


def test_in_memory_loader_with_a_bad_row(structures):
    entries = [(s, np.array([1.0])) for s in (structures[0], BAD)]
    dataset = dc.data.InMemoryLoader(["y"], CrystalGraphFeaturizer()).create_dataset(entries)
    assert len(dataset.X) == 2 and dataset.X[1].size == 0


def test_datasets_in_memory_and_on_disk(structures, tmp_path):
    features = CrystalGraphFeaturizer().featurize(structures)
    y = np.arange(len(structures))[:, None].astype(float)
    disk = dc.data.DiskDataset.from_numpy(features, y, data_dir=str(tmp_path))
    for dataset in (dc.data.NumpyDataset(features, y), disk):
        train, test = dc.splits.RandomSplitter().train_test_split(dataset, seed=0)
        assert len(train) + len(test) == len(structures)
    for original, stored in zip(features, disk.X, strict=True):
        assert np.array_equal(original.edge_index, stored.edge_index) and not stored.distance.flags.writeable


@pytest.mark.needs_dgl
def test_cgcnn_model_trains_as_is_from_disk(structures, tmp_path):
    """DeepChem's own graph model, its default arguments, through a DiskDataset."""
    chosen = structures[:16]
    features = CrystalGraphFeaturizer().featurize(chosen)
    y = np.array([[s.density] for s in chosen])
    dataset = dc.data.DiskDataset.from_numpy(features, (y - y.mean()) / y.std(), data_dir=str(tmp_path / "data"))
    model = dc.models.CGCNNModel(mode="regression", batch_size=8, learning_rate=0.003, model_dir=str(tmp_path / "m"))
    first = model.evaluate(dataset, [dc.metrics.Metric(dc.metrics.mae_score)])["mae_score"]
    model.fit(dataset, nb_epoch=60)
    assert model.evaluate(dataset, [dc.metrics.Metric(dc.metrics.mae_score)])["mae_score"] < 0.7 * first


@pytest.mark.needs_dgl
def test_cgcnn_model_takes_the_plain_records(graphs):
    X = np.empty(4, object)
    X[:] = graphs[:4]
    model = dc.models.CGCNNModel(mode="regression", batch_size=4)
    assert np.isfinite(model.predict(dc.data.NumpyDataset(X))).all()


def test_repr_and_str_are_cache_keys():
    assert str(CrystalGraphFeaturizer()) == "CrystalGraphFeaturizer"
    assert str(CrystalGraphFeaturizer(cutoff=6.0, disorder="average")) == (
        "CrystalGraphFeaturizer_cutoff_6.0_disorder_average"
    )
    assert str(XRDFeaturizer(fwhm=0.1)) != str(XRDFeaturizer(fwhm=0.2)) != str(XRDFeaturizer())
    assert "cutoff=8.0" in repr(CrystalGraphFeaturizer()) and "n_bins=5000" in repr(XRDFeaturizer())


def test_xrd_featurizer_is_simulate_xrd(structures):
    featurizer = XRDFeaturizer(5, 90, 1000, "MoKa", "pseudo-voigt", 0.2)
    patterns = featurizer.featurize(structures)
    assert np.array_equal(patterns, simulate_xrd(structures, featurizer.grid)) and patterns.grid == featurizer.grid


def test_xrd_rows_around_a_bad_one(structures):
    features = XRDFeaturizer(on_error="skip").featurize([structures[0], None])
    assert features.dtype == object and features[0].shape == (5000,) and features[1].size == 0
    assert features[0].grid == XRDFeaturizer().grid


def test_parameters_reach_the_graphs(structures):
    wide = CrystalGraphFeaturizer(max_neighbors=20).featurize(structures[:3])
    near = CrystalGraphFeaturizer(cutoff=3.0, isolated_atoms="keep").featurize(structures[:3])
    assert all(w.num_edges > n.num_edges for w, n in zip(wide, near, strict=True))
    assert max(n.distance.max() for n in near if n.num_edges) <= 3.0 + 1e-5


def test_structures_are_not_touched(structures):
    before = structures[3].as_dict()
    for featurizer in FEATURIZERS:
        featurizer().featurize([structures[3]])
    assert structures[3].as_dict() == before


@pytest.mark.once
def test_construction_is_cheap_and_offline():
    """A constructor that tries the network fails here."""
    code = (
        "import socket, deepchem_crystalssl as d\n"
        "def no(*a, **k): raise RuntimeError('network')\n"
        "socket.socket.connect = no\n"
        "from pymatgen.core import Lattice, Structure\n"
        "s = Structure(Lattice.cubic(3.6), ['Cu'], [[0, 0, 0]])\n"
        "print(len(d.CrystalGraphFeaturizer().featurize(s)), d.XRDFeaturizer().featurize(s).shape)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "1 (1, 5000)"


def test_nothing_is_logged_when_all_is_well(structures, caplog):
    with caplog.at_level(logging.WARNING):
        CrystalGraphFeaturizer().featurize(structures[:3])
    assert not caplog.records


@pytest.mark.parametrize("featurizer", FEATURIZERS)
def test_misspelt_keywords_are_refused(featurizer, structures):
    for call in (lambda: featurizer(cuttoff=5.0), lambda: featurizer().featurize(structures[:1], on_eror="skip")):
        with pytest.raises(TypeError):
            call()


@pytest.mark.parametrize("featurizer", FEATURIZERS)
def test_disorder_is_a_choice(featurizer, tmp_path):
    mixed = Structure(Lattice.cubic(3.0), [{"Fe": 0.7, "Ni": 0.3}], [[0, 0, 0]])
    mixed.to(filename=str(tmp_path / "mixed.cif"))
    found = {}
    for point in (mixed, tmp_path / "mixed.cif"):
        with pytest.raises(DisorderError, match="disorder="):
            featurizer(on_error="raise").featurize(point)
        for policy in ("average", "dominant"):
            feature = featurizer(disorder=policy, on_error="raise").featurize(point)[0]
            is_graph = isinstance(feature, CrystalGraph)
            found.setdefault(policy, []).append(feature.formula if is_graph else feature.round(4).tolist())
    assert found["average"][0] == found["average"][1] != found["dominant"][0] == found["dominant"][1]


def test_isolated_atoms_are_kept_by_default():
    alone = Structure(Lattice.cubic(9.0), ["Xe"], [[0, 0, 0]])
    graph = CrystalGraphFeaturizer(on_error="raise").featurize(alone)[0]
    assert graph.num_nodes == 1 and graph.num_edges == 0
    with pytest.raises(IsolatedAtomError):
        CrystalGraphFeaturizer(isolated_atoms="raise", on_error="raise").featurize(alone)


@pytest.mark.parametrize("featurizer", FEATURIZERS)
def test_a_file_of_several_crystals_is_no_datapoint(featurizer, structures, tmp_path):
    (tmp_path / "two.json").write_text(json.dumps([s.as_dict() for s in structures[:2]]))
    shell = featurizer(on_error="skip")
    features = shell.featurize([structures[0], tmp_path / "two.json", None])
    assert [len(f) > 0 if featurizer is XRDFeaturizer else f is not None for f in features][0]
    assert features[1].size == features[2].size == 0 and shell.report.indices == [1, 2]
    assert "2 crystals" in str(shell.report[0]) and "two.json" in str(shell.report[0])


@pytest.mark.parametrize("featurizer", FEATURIZERS)
def test_featurizers_are_pickled(featurizer, structures):
    copy = pickle.loads(pickle.dumps(featurizer(disorder="average")))
    assert repr(copy) == repr(featurizer(disorder="average")) and len(copy.featurize(structures[:2])) == 2


@pytest.mark.parametrize("featurizer", FEATURIZERS)
def test_a_table_is_no_list_of_datapoints(featurizer, structures):
    with pytest.raises(UnsupportedObjectError, match="CrystalLoader"):
        featurizer().featurize(pd.DataFrame({"structure": structures[:2]}))
    for nothing in (None, 3):
        assert featurizer(on_error="skip").featurize(nothing)[0].size == 0


def test_a_text_of_several_crystals_is_named_by_its_first_line():
    text = "# two of them\n" + 2 * Structure(Lattice.cubic(3), ["Po"], [[0, 0, 0]]).to(fmt="cif")
    text = text.replace("data_Po", "data_a", 1)
    featurizer = CrystalGraphFeaturizer(on_error="skip")
    featurizer.featurize([text])
    assert featurizer.report[0].value == "2 crystals in # two of them..."


def test_numbers_of_physics_are_a_matrix_that_a_model_of_deepchem_learns_from(structures):
    featurizer = ModelPhysicsFeaturizer()
    X = featurizer.featurize(structures)
    assert np.array_equal(X, model_physics(structures, progress=False)) and X.shape[1] == len(featurizer.columns)
    y = np.array([structure.density for structure in structures])
    dataset = dc.data.NumpyDataset(X, y)
    model = dc.models.SklearnModel(RandomForestRegressor(30, random_state=0))
    model.fit(dataset)
    score = model.evaluate(dataset, [dc.metrics.Metric(dc.metrics.pearson_r2_score)])
    assert score["pearson_r2_score"] > 0.7
    some = ModelPhysicsFeaturizer(["springs"], on_error="skip").featurize([structures[0], BAD])
    assert some.dtype == object and some[0].shape == (49,) and some[1].size == 0
    with pytest.raises(OptionError, match="models"):
        ModelPhysicsFeaturizer(["magnets"]).featurize(structures[:1])
