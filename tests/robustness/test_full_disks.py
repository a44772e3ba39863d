"""Real file systems that are full or only read: a typed error, nothing half-written taken for whole, and the way on."""

import subprocess

import pytest

from deepchem_crystalssl import CrystalSSLModel, load_pretrained, save_pretrained
from deepchem_crystalssl.bulk import Featurize, ShardedOutput, map_shards
from deepchem_crystalssl.cli import main
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.crystals.store import RecordStore, write_records
from deepchem_crystalssl.errors import CrystalInputError
from deepchem_crystalssl.explorer import write_map
from deepchem_crystalssl.recipes import physics_table, pretrain
from deepchem_crystalssl.search import EmbeddingIndex, ShardedIndex, build_index

SMALL = {"encoder": {"width": 16}, "xrd_encoder": {"channels": 4}, "batch_size": 16, "validation": 0.3, "epochs": 1}


def mount(*arguments):
    return subprocess.run(["mount", *map(str, arguments)], capture_output=True).returncode == 0


@pytest.fixture
def disk(tmp_path):
    """A file system of its own, of a size that can be changed."""
    place = tmp_path / "disk"
    place.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=4k", "tmpfs", place):
        pytest.skip("file systems are mounted by the superuser alone")
    yield lambda options: mount("-o", f"remount,{options}", place) and place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture(scope="module")
def crystals():
    return list({crystal.material_id: crystal for crystal in bundled_prototypes()}.values())[:120]


@pytest.fixture(scope="module")
def made(crystals, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    write_records(crystals, folder / "store", progress=False)
    index = build_index(crystals[:40], folder / "index", "small", progress=False)
    index.make_map(progress=False)
    index.keep_map(folder / "index")
    return folder


def search(made, path):
    name = RecordStore(made / "store")[2].material_id
    status = main(["search", name, "--index", str(made / "index"), "-o", str(path), "-k", "30", "-q"])
    if status:
        raise CrystalInputError("search", "cannot be written (see above)")


WORKS = {  # the work, whether what is there is whole, and the bytes that are too few
    "store": (lambda made, crystals, at: write_records(crystals, at, progress=False), RecordStore, 8_192),
    "featurize": (
        lambda made, crystals, at: map_shards(made / "store", Featurize(), at, engine="serial", progress=False),
        ShardedOutput,
        28_000,
    ),
    "index": (lambda made, crystals, at: EmbeddingIndex.load(made / "index").save(at), EmbeddingIndex.load, 40_000),
    "sharded": (
        lambda made, crystals, at: ShardedIndex.build(made / "store", at, "small", engine="serial", progress=False),
        ShardedIndex.load,
        500_000,
    ),
    "model": (
        lambda made, crystals, at: save_pretrained(CrystalSSLModel("joint"), at),
        load_pretrained,
        500_000,
    ),
    "training": (
        lambda made, crystals, at: pretrain(made / "store", at, False, preset="kong2024-contrastive", **SMALL),
        load_pretrained,
        60_000,
    ),
    "physics.csv": (lambda made, crystals, at: physics_table(crystals[:10], at, progress=False), open, 12_000),
    "map": (
        lambda made, crystals, at: write_map(EmbeddingIndex.load(made / "index"), at, progress=False),
        None,
        90_000,
    ),
    "search.csv": (lambda made, crystals, at: search(made, at), open, 0),
}


@pytest.mark.filterwarnings("ignore:xrd_encoder and conditions")
@pytest.mark.parametrize("name", WORKS)
def test_a_disk_that_refuses(name, disk, made, crystals, capsys):
    work, is_whole, too_few = WORKS[name]
    place = disk("ro")
    with pytest.raises((CrystalInputError, SystemExit)) as raised:
        work(made, crystals, place / name)
    if isinstance(raised.value, CrystalInputError) and name != "search.csv":
        assert "Read-only file system" in str(raised.value) and "Name another folder" in str(raised.value)
    assert list(place.iterdir()) == []
    disk("rw")
    for size in sorted({4096, too_few} - {0}):
        if name == "search.csv":
            (place / "filling").write_bytes(bytes(4096))
        disk(f"size={size}")
        with pytest.raises(CrystalInputError, match="cannot be written") as raised:
            work(made, crystals, place / name)
        assert "room" in str(raised.value) or name == "search.csv" and "Make room" in capsys.readouterr().err
        if is_whole is not None:
            with pytest.raises((CrystalInputError, OSError)):
                is_whole(place / name)
    disk("size=200m")
    work(made, crystals, place / name)
    if is_whole is not None:
        is_whole(place / name)
    left = [path for path in place.rglob("*") if path.name.endswith(".part") or path.name.startswith(".saving")]
    assert not left
