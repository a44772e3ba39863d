"""A store of crystals as a DeepChem dataset, with and without labels."""

import deepchem as dc
import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure

import deepchem_crystalssl as dcs
from deepchem_crystalssl import CrystalSSLModel, CrystalStore, XRDGrid
from deepchem_crystalssl.cli import main
from deepchem_crystalssl.data.datasets import iterate_unread
from deepchem_crystalssl.errors import LabelError


@pytest.fixture(scope="module")
def store(prototypes, tmp_path_factory):
    return CrystalStore.write(prototypes[:60], tmp_path_factory.mktemp("store"))


def test_is_a_deepchem_dataset(store):
    assert isinstance(store, dc.data.Dataset) and len(store) == 60
    assert store.get_shape() == ((60,), (60, 0), (60, 0), (60,)) and store.X.shape == (60,)


def test_batches_cover_everything_once(store):
    np.random.seed(0)
    ids = np.concatenate([ids for _, _, _, ids in store.iterbatches(16)])
    assert sorted(ids) == sorted(store.ids) and ids.tolist() != store.ids.tolist()
    ordered = [ids for _, _, _, ids in store.iterbatches(16, deterministic=True)]
    assert np.concatenate(ordered).tolist() == store.ids.tolist() and len(ordered[-1]) == 60 % 16
    padded = [X for X, _, _, _ in store.iterbatches(16, deterministic=True, pad_batches=True)]
    assert [len(X) for X in padded] == [16] * 4


@pytest.mark.parametrize("in_memory", [False, True])
def test_unread_batches_are_those_of_the_dataset(store, in_memory):
    dataset = dc.data.NumpyDataset(store.X, store.y, store.w, store.ids) if in_memory else store
    np.random.seed(4)
    expected = list(dataset.iterbatches(16))
    np.random.seed(4)
    for (X, y, w, ids), batch in zip(expected, iterate_unread(dataset, 16), strict=True):
        assert batch.size == len(X)
        part = batch.read(slice(1, None, 3))
        assert [x.material_id for x in part[0]] == [x.material_id for x in X[1::3]] == part[3].tolist()
        assert len(part[1]) == len(part[2]) == len(X[1::3])


def test_a_store_builds_only_the_graphs_that_are_read(store, monkeypatch):
    from deepchem_crystalssl.data import datasets

    built, build = [], datasets.structures_to_graphs
    monkeypatch.setattr(
        datasets, "structures_to_graphs", lambda records, *a, **k: built.append(len(records)) or build(records, *a, **k)
    )
    batches = list(iterate_unread(store, 16, deterministic=True))
    assert not built
    batches[2].read(slice(0, None, 4))
    assert built == [4]


def test_samples_are_those_of_the_batches(store):
    for (x, y, w, name), expected in zip(store.itersamples(), store.ids, strict=True):
        assert name == expected == x.material_id and y.shape == w.shape == (0,)


def test_splits_by_chemical_system(store):
    train, test = dc.splits.RandomGroupSplitter(store.groups.tolist()).train_test_split(store, seed=0)
    assert isinstance(train, CrystalStore) and len(train) + len(test) == 60
    assert not set(train.groups) & set(test.groups)
    assert train.select([0, 2]).ids.tolist() == train.ids[[0, 2]].tolist()


def test_labels_by_material_id(store, prototypes):
    labels = pd.DataFrame({"density": [1.0, 2.0]}, index=[c.material_id for c in prototypes[1:3]])
    labelled = CrystalStore(store.path, labels=labels)
    assert labelled.get_task_names().tolist() == ["density"]
    assert labelled.y[:4, 0].tolist() == [0, 1, 2, 0] and labelled.w[:4, 0].tolist() == [0, 1, 1, 0]
    assert labelled.to_dataframe()["density"][2] == 2.0


def test_pretraining_from_the_store(store):
    model = CrystalSSLModel(
        "suzuki2022",
        encoder=dict(width=8, n_layers=1, hidden=16, embedding_size=8),
        xrd_encoder=dict(channels=4, hidden=16),
        grid=XRDGrid(n_bins=500, fwhm=1.0),
        batch_size=16,
    )
    assert np.isfinite(model.fit(store, nb_epoch=1)) and model.embed(store.select(range(5))).shape == (5, 8)


@pytest.mark.needs_dgl
def test_cgcnn_model_trains_from_the_store(store):
    names = np.unique(store.ids)
    labels = pd.DataFrame({"y": np.linspace(-1, 1, len(names))}, index=names)
    model = dc.models.CGCNNModel(mode="regression", batch_size=20)
    assert np.isfinite(model.fit(CrystalStore(store.path, labels=labels), nb_epoch=1))


def test_featurize_command(structures, tmp_path, capsys):
    for k, structure in enumerate(structures[:4]):
        structure.to(filename=str(tmp_path / f"c{k}.cif"))
    (tmp_path / "bad.cif").write_text("broken")
    assert main(["featurize", str(tmp_path), "-o", str(tmp_path / "store")]) == 0
    assert "4 crystals" in capsys.readouterr().out
    assert CrystalStore(tmp_path / "store").ids.tolist() == ["c0", "c1", "c2", "c3"]
    assert "bad" in (tmp_path / "store" / "skipped.csv").read_text()


def test_shuffling_neither_changes_nor_is_changed_by_the_global_generator(store):
    model = CrystalSSLModel("kong2024", encoder=dict(width=8, n_layers=1), batch_size=16, seed=3)
    orders = []
    for global_seed in (0, 1):
        np.random.seed(global_seed)
        expected = np.random.RandomState(global_seed).rand(5)
        drawn, ids = [], []
        for batch, _, _ in model.default_generator(store, deterministic=False):
            ids += [graph.material_id for graph in batch[0]]
            drawn.append(np.random.rand())
        assert drawn == expected[: len(drawn)].tolist()
        orders.append(ids)
    assert orders[0] == orders[1] != store.ids.tolist()


# Labels are matched by id


@pytest.fixture(scope="module")
def numbered(prototypes, tmp_path_factory):
    """Crystals called '007', '8' and '9', as a CSV or an SQL table would name them."""
    frame = pd.DataFrame({"material_id": ["007", 8, 9.0], "structure": [c.to_structure() for c in prototypes[:3]]})
    return CrystalStore.write(frame, tmp_path_factory.mktemp("numbered")).path


GAPS = [[0.0], [3.0], [1.0]]


@pytest.mark.parametrize("kind", ["index", "named index", "material_id", "id", "series", "csv", "parquet"])
def test_labels_are_matched_by_id_wherever_the_ids_are(numbered, tmp_path, kind):
    frame = pd.DataFrame({"material_id": [9.0, 8.0, 7.0, 100.0], "gap": [1.0, 3.0, 5.0, 4.0]})
    labels = {
        "index": frame.set_axis(frame.pop("material_id"), axis=0).rename_axis(None) if kind == "index" else None,
        "named index": frame.set_index("material_id") if kind == "named index" else None,
        "id": frame.rename(columns={"material_id": "id"}),
        "series": frame.set_index("material_id")["gap"] if kind == "series" else None,
    }.get(kind, frame)
    if kind in ("csv", "parquet"):
        labels = tmp_path / f"labels.{kind}"
        getattr(frame.astype({"material_id": int}), f"to_{kind}")(labels, index=False)
    store = CrystalStore(numbered, labels=labels)
    assert store.get_task_names().tolist() == ["gap"]
    assert store.y.tolist() == GAPS and store.w.tolist() == [[0.0], [1.0], [1.0]]


def test_leading_zeros_are_part_of_an_id(numbered, tmp_path):
    (tmp_path / "labels.csv").write_text("material_id,gap\n007,5\n7,6\n")
    assert CrystalStore(numbered, labels=tmp_path / "labels.csv").y.ravel().tolist() == [5.0, 0.0, 0.0]


def test_labels_that_belong_to_no_crystal_are_refused(numbered):
    frame = pd.DataFrame({"gap": [1.0, 2.0, 3.0]})  # as many rows as crystals, but nothing says whose they are
    with pytest.raises(LabelError, match="matched by material_id"):
        CrystalStore(numbered, labels=frame)
    some = CrystalStore(numbered, labels=pd.DataFrame({"material_id": ["9", "x"], "gap": [1.0, 2.0]}))
    assert some.w.ravel().tolist() == [0.0, 0.0, 1.0]
    assert some.select([0]).w.tolist() == [[0.0]]  # a part without any label is no error
    empty = CrystalStore(numbered, labels=pd.DataFrame({"material_id": [], "gap": []}))
    assert empty.w.tolist() == [[0.0]] * 3


def test_labels_without_an_id_belong_to_no_crystal(numbered, tmp_path):
    (tmp_path / "labels.csv").write_text("material_id,gap\n8,3\n,5\n,6\n9,1\n")
    store = CrystalStore(numbered, labels=tmp_path / "labels.csv")
    assert store.y.tolist() == GAPS and store.w.tolist() == [[0.0], [1.0], [1.0]]
    nowhere = CrystalStore(numbered, labels=pd.DataFrame({"material_id": [None, None], "gap": [5.0, 6.0]}))
    assert nowhere.w.tolist() == [[0.0]] * 3


def test_labels_that_are_doubled_or_no_numbers_are_refused(numbered):
    with pytest.raises(LabelError, match="material_id 9: .*one row"):
        CrystalStore(numbered, labels=pd.DataFrame({"material_id": [9, "9"], "gap": [1.0, 2.0]}))
    with pytest.raises(LabelError, match="column 'gap': 'wide' in row 1"):
        CrystalStore(numbered, labels=pd.DataFrame({"material_id": [8, 9], "gap": [1.0, "wide"]}))
    with pytest.raises(LabelError, match="DataFrame"):
        CrystalStore(numbered, labels=[1.0, 2.0, 3.0])


def test_missing_and_infinite_labels_have_weight_zero(numbered):
    frame = pd.DataFrame({"material_id": ["007", "8", "9"], "gap": [np.nan, np.inf, 2.0], "metal": [True, False, None]})
    store = CrystalStore(numbered, labels=frame)
    assert store.y.tolist() == [[0.0, 1.0], [0.0, 0.0], [2.0, 0.0]]
    assert store.w.tolist() == [[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]
    assert store.to_dataframe()["gap"].isna().tolist() == [True, True, False]


# What DeepChem asks of a dataset


@pytest.fixture(scope="module")
def labelled(store):
    names = pd.unique(store.ids)
    values = np.random.default_rng(0).normal(3.0, 2.0, size=(len(names), 2))
    values[::4, 1] = np.nan
    return CrystalStore(store.path, labels=pd.DataFrame(values, index=names, columns=["a", "b"]))


def test_labels_are_normalized_without_the_graphs(labelled, monkeypatch):
    monkeypatch.setattr(CrystalStore, "_graphs", lambda *_: pytest.fail("graphs were built"))
    transformer = dc.trans.NormalizationTransformer(transform_y=True, dataset=labelled)
    known = np.where(labelled.w > 0, labelled.y, np.nan)
    assert np.allclose(transformer.y_means, np.nanmean(known, axis=0))
    scaled = transformer.transform(labelled)
    assert isinstance(scaled, CrystalStore) and scaled.ids.tolist() == labelled.ids.tolist()
    z = np.where(scaled.w > 0, scaled.y, np.nan)
    assert np.allclose(np.nanmean(z, axis=0), 0.0) and np.allclose(np.nanstd(z, axis=0), 1.0)
    assert np.allclose(transformer.untransform(scaled.y)[labelled.w > 0], labelled.y[labelled.w > 0])
    assert np.array_equal(scaled.select([5, 2]).y, scaled.y[[5, 2]])
    assert not np.allclose(labelled.y, scaled.y)  # the original is as before


def test_transformed_labels_reach_the_batches(labelled):
    part = dc.trans.NormalizationTransformer(transform_y=True, dataset=labelled).transform(labelled).select(range(10))
    for X, y, w, ids in part.iterbatches(4, pad_batches=True):
        assert len(X) == len(y) == len(w) == len(ids) == 4
        where = [part.ids.tolist().index(name) for name in ids]
        assert np.allclose(y, part.y[where]) and [graph.material_id for graph in X] == ids.tolist()
    assert w.sum(axis=1).tolist()[2:] == [0.0, 0.0]


def test_weights_are_balanced(store):
    names = pd.unique(store.ids)
    classes = pd.DataFrame({"metal": np.arange(len(names)) % 5 == 0}, index=names)
    dataset = CrystalStore(store.path, labels=classes)
    balanced = dc.trans.BalancingTransformer(dataset=dataset).transform(dataset)
    sums = [balanced.w[balanced.y == label].sum() for label in (0, 1)]
    assert isinstance(balanced, CrystalStore) and sums[0] == pytest.approx(sums[1])
    doubled = dc.trans.DuplicateBalancingTransformer(dataset=dataset).transform(dataset)
    assert len(doubled) > len(dataset) and all(g.material_id == name for g, name in zip(doubled.X, doubled.ids))


def test_metrics_splits_and_searches_of_deepchem(labelled):
    one = CrystalStore(
        labelled.path, labels=labelled.to_dataframe().drop_duplicates("material_id")[["material_id", "a"]]
    )
    parts = dc.splits.RandomStratifiedSplitter().train_valid_test_split(one, seed=0)
    assert sum(map(len, parts)) == len(one) and all(isinstance(part, CrystalStore) for part in parts)
    folds = dc.splits.RandomSplitter().k_fold_split(one, 3)
    assert sorted(np.concatenate([valid.ids for _, valid in folds])) == sorted(
        one.ids
    )  # DiskDatasets, as DeepChem does
    assert len(one.select(one.y.ravel() > 3.0)) == (one.y > 3.0).sum()
    assert "CrystalStore X.shape: (60,)" in repr(one)

    class Mean(dc.models.Model):
        def __init__(self, shift, model_dir=None, **kwargs):
            super().__init__(model_dir=model_dir)
            self.shift = shift

        def fit(self, dataset):
            self.mean = dataset.y.mean() + self.shift

        def predict(self, dataset, transformers=()):
            batches = dataset.iterbatches(16, deterministic=True)
            return np.concatenate([np.full((len(X), 1), self.mean) for X, _, _, _ in batches])

    metric = dc.metrics.Metric(dc.metrics.mean_absolute_error)
    search = dc.hyper.GridHyperparamOpt(lambda **kwargs: Mean(**kwargs))
    best, chosen, _ = search.hyperparam_search({"shift": [5.0, 0.0]}, one, one, metric, use_max=False)
    assert chosen["shift"] == 0.0 and len(best.predict(one)) == len(one)


def test_statistics_and_tables(labelled, tmp_path):
    with pytest.raises(dcs.CrystalInputError, match="X_stats"):
        labelled.get_statistics()
    assert labelled.get_statistics(X_stats=False, y_stats=False) == ()
    labelled.to_csv(tmp_path / "table.csv")
    assert pd.read_csv(tmp_path / "table.csv")["b"].isna().sum() == (labelled.w[:, 1] == 0).sum()
    with pytest.raises(ValueError, match="batch_size"):
        next(labelled.iterbatches(0))
    for misspelt in ({"cuttoff": 5.0}, {"label": None}):
        with pytest.raises(TypeError):
            CrystalStore(labelled.path, **misspelt)


def test_graphs_are_built_with_the_options_of_the_dataset(store, tmp_path):
    near = CrystalStore(store.path, cutoff=3.0, max_neighbors=4)
    wide, narrow = store.select(range(8)).X, near.select(range(8)).select(range(8)).X
    assert all(n.num_edges < w.num_edges and n.distance.max(initial=0.0) <= 3.0 + 1e-5 for n, w in zip(narrow, wide))
    alone = Structure(Lattice.cubic(9.0), ["Xe"], [[0, 0, 0]])
    graph = CrystalStore.write(alone, tmp_path / "alone").X[0]
    assert graph.num_nodes == 1 and graph.num_edges == 0
