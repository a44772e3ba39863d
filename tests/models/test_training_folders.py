"""A training is not mixed with what else lies in a folder."""

import pytest

from deepchem_crystalssl import CrystalGraphFeaturizer, CrystalSSLModel, CrystalStore, load_pretrained, save_pretrained
from deepchem_crystalssl.cli import main
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.errors import CheckpointError
from deepchem_crystalssl.search import build_index

dc = pytest.importorskip("deepchem")
TINY = {"encoder": {"width": 8, "n_layers": 1}, "batch_size": 4}


@pytest.fixture(scope="module")
def crystals():
    return list({crystal.material_id: crystal for crystal in bundled_prototypes()[:30]}.values())[:16]


@pytest.fixture(scope="module")
def dataset(crystals):
    return dc.data.NumpyDataset(CrystalGraphFeaturizer().featurize(crystals))


@pytest.fixture(scope="module")
def store(crystals, tmp_path_factory):
    folder = tmp_path_factory.mktemp("input") / "store"
    CrystalStore.write(crystals, folder)
    return folder


@pytest.fixture(scope="module")
def index(crystals, tmp_path_factory):
    folder = tmp_path_factory.mktemp("input") / "index"
    build_index(crystals, folder, "small", progress=False)
    return folder


def others(folder, name, content=""):
    folder.mkdir(parents=True)
    (folder / name).write_text(content)
    return folder


def places(tmp_path, store, index):
    """Folders, and what is said of each by fit and by the command; None where it trains."""
    building = others(tmp_path / "x.building", "building.json", "{}")
    saved = save_pretrained(CrystalSSLModel("kong2024", **TINY), tmp_path / "saved")
    crystals = others(tmp_path / "cifs", "salt.cif.gz")
    foreign = others(tmp_path / "foreign", "config.json", '{"model_type": "bert"}')
    notes = others(tmp_path / "notes", "notes.md")
    hidden = others(tmp_path / "hidden", ".gitignore")
    return [
        (store, "holds a store", "holds a store"),
        (index, "holds an index", "holds an index"),
        (building, "holds unfinished work", "holds unfinished work"),
        (saved, "holds a saved model", "holds a saved model"),
        (crystals, "holds salt.cif.gz", "holds salt.cif.gz"),
        (foreign, "holds config.json", "holds config.json"),
        (notes, None, "holds notes.md"),
        (hidden, None, None),
    ]


def train(dataset, folder, **options):
    return CrystalSSLModel("kong2024", **TINY, model_dir=str(folder)).fit(dataset, 1, progress=False, **options)


def test_fit_refuses_what_it_would_be_mixed_with(dataset, store, index, tmp_path):
    for folder, said, _ in places(tmp_path, store, index):
        before = sorted(folder.iterdir())
        if said is None:
            train(dataset, folder)
            train(dataset, folder, restore=True)
            continue
        with pytest.raises(CheckpointError, match=f"{said}; .* folder of its own. Name a new or empty folder"):
            train(dataset, folder)
        assert sorted(folder.iterdir()) == before


def test_the_command_trains_in_a_folder_of_its_own(store, index, tmp_path, capsys):
    options = ["--preset", "kong2024", "--epochs", "1", "--batch-size", "4", "--validation", "0", "-q"]
    for folder, _, said in places(tmp_path, store, index):
        status = main(["pretrain", str(store), "-o", str(folder), *options])
        told = capsys.readouterr().err
        assert (status == 0) if said is None else (status == 2 and f"{folder}: {said}; " in told), told
    assert main(["pretrain", str(store), "-o", str(folder), *options]) == 0  # it goes on in its own


def test_a_training_is_known_before_its_first_checkpoint(dataset, tmp_path):
    model = CrystalSSLModel("kong2024", **TINY, model_dir=str(tmp_path))
    model.save_checkpoint()
    for path in tmp_path.glob("checkpoint*.pt"):
        path.unlink()
    train(dataset, tmp_path)


def test_an_index_is_no_model_whatever_lies_beside_it(dataset, index, tmp_path):
    train(dataset, tmp_path)
    (tmp_path / "index.json").write_bytes((index / "index.json").read_bytes())
    for folder in (index, tmp_path):
        with pytest.raises(CheckpointError, match="an index; a model is opened from the folder"):
            load_pretrained(folder)
