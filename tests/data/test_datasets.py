import deepchem as dc
import numpy as np
import pandas as pd
import pytest

from deepchem_crystalssl import CrystalSSLModel, CrystalStore, XRDGrid
from deepchem_crystalssl.cli import main


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
