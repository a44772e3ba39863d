"""Archives and compressed files: read member by member, within limits, and nothing is extracted."""

import bz2
import gzip
import io
import json
import lzma
import os
import struct
import subprocess
import sys
import tarfile
import warnings
import zipfile
import zlib

import numpy as np
import pandas as pd
import pytest
from pymatgen.io.cif import CifWriter
from pymatgen.io.vasp import Poscar

from deepchem_crystalssl import read_structures
from deepchem_crystalssl.crystals.formats import contents
from deepchem_crystalssl.crystals.formats.contents import Content
from deepchem_crystalssl.crystals.formats.files import find_files
from deepchem_crystalssl.crystals.limits import ReadingLimits
from deepchem_crystalssl.crystals.formats.tables import read_table
from deepchem_crystalssl.errors import (
    CrystalInputError,
    LimitError,
    NoCrystalsError,
    OptionError,
    UnsupportedFileError,
)

KINDS = ("zip", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz")
PACK = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def pack(path, members):
    """An archive of (name, content) pairs, as the standard library writes it."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members:
                archive.writestr(name, content)
        return path
    mode = {"tar": "w", "tgz": "w:gz"}.get(path.name.split(".", 1)[1], f"w:{path.suffix[1:]}")
    with tarfile.open(path, mode) as archive:
        for name, content in members:
            data = content if isinstance(content, bytes) else content.encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture(scope="module")
def members(structures):
    """Files of several kinds as a database would pack them, with others among them."""
    frame = pd.DataFrame({"id": ["r1", "r2"], "structure": [s.to(fmt="json") for s in structures[6:8]]})
    frame.to_parquet(parquet := io.BytesIO())
    return [
        ("README.txt", "not a crystal"),
        ("cifs/quartz.cif", str(CifWriter(structures[0]))),
        ("cifs/salt.cif.gz", gzip.compress(str(CifWriter(structures[1])).encode())),
        ("runs/mp-1/POSCAR", Poscar(structures[2]).get_str()),
        ("runs/mp-2/POSCAR", Poscar(structures[3]).get_str()),
        ("__MACOSX/._quartz.cif", b"\0\5\26\7"),
        (
            "entries.json.bz2",
            bz2.compress(json.dumps({"e1": structures[4].as_dict(), "e2": structures[5].as_dict()}).encode()),
        ),
        ("table.csv", frame.to_csv(index=False)),
        ("table.parquet", parquet.getvalue()),
        ("water.xyz", "3\nwater\nO 0 0 0\nH 0 0 1\nH 0 1 0\n"),
    ]


NAMES = ["quartz", "salt", "mp-1/POSCAR", "mp-2/POSCAR", "e1", "e2", "r1", "r2", "r1", "r2"]
ORDER = [0, 1, 2, 3, 4, 5, 6, 7, 6, 7]


@pytest.mark.parametrize("kind", KINDS)
def test_archives_hold_what_the_files_hold(structures, members, tmp_path, kind):
    path = pack(tmp_path / f"data.{kind}", members)
    before = sorted(os.listdir(tmp_path))
    crystals = list(read_structures(path))
    assert [c.material_id for c in crystals] == NAMES
    for crystal, k in zip(crystals, ORDER, strict=True):
        assert np.isclose(crystal.volume, structures[k].volume) and crystal.num_nodes == len(structures[k])
    assert [position for position, _ in read_structures(path).enumerate()] == [0, 1, 2, 3, 4, 4, 5, 5, 6, 6]
    assert sorted(os.listdir(tmp_path)) == before
    folder = tmp_path / "folder"
    folder.mkdir()
    path.rename(folder / path.name)
    pack(folder / "other.zip", [("a.txt", "no crystal")])
    assert find_files(folder) == [folder / path.name] and len(list(read_structures(folder))) == len(NAMES)


def test_two_archives_give_different_names(members, tmp_path):
    for name in ("a.zip", "b.tar.gz"):
        pack(tmp_path / name, members[1:5])
    names = [c.material_id for c in read_structures(tmp_path)]
    assert names[:2] == ["quartz", "salt"] and names[4:6] == ["cifs/quartz", "cifs/salt"] and len(set(names)) == 8


@pytest.mark.parametrize("suffix", PACK)
def test_compressed_files(structures, tmp_path, suffix):
    contents_of = {
        "a.cif": str(CifWriter(structures[0])),
        "POSCAR": Poscar(structures[0]).get_str(),
        "a.json": structures[0].to(fmt="json"),
        "t.csv": pd.DataFrame({"id": ["007"], "cif": [str(CifWriter(structures[0]))]}).to_csv(index=False),
    }
    for name, text in contents_of.items():
        path = tmp_path / (name + suffix)
        path.write_bytes(PACK[suffix](text.encode()))
        (crystal,) = read_structures(path)
        assert np.isclose(crystal.volume, structures[0].volume)
        assert crystal.material_id == {"POSCAR": "POSCAR", "t.csv": "007"}.get(name, "a")
        path.write_bytes(PACK[suffix](text.encode())[:-15])
        with pytest.raises(CrystalInputError, match=name):
            list(read_structures(path))
        path.write_bytes(b"another content")
        with pytest.raises(UnsupportedFileError, match=name):
            list(read_structures(path))


@pytest.mark.parametrize("kind", KINDS)
def test_bad_members_cost_themselves_alone(members, tmp_path, kind):
    bad = [
        ("broken.cif", "data_x\n_cell_length_a 'open"),
        ("../outside.cif", members[1][1]),
        ("/absolute.cif", members[1][1]),
        ("inner.zip", b"PK\5\6" + b"\0" * 18),
        ("inner.tar.gz", b"nothing"),
        ("cut.cif.gz", members[2][1][:-20]),
    ]
    path = pack(tmp_path / f"data.{kind}", [members[1], *bad, members[3]])
    reader = read_structures(path, on_error="skip")
    names = [c.material_id for c in reader]
    assert names == ["quartz", "mp-1/POSCAR"] and len(reader.report) == len(bad)
    assert reader.report.indices == list(range(1, 1 + len(bad)))
    told = [str(error) for error in reader.report]
    assert all(str(path) in text and name in text for text, (name, _) in zip(told, bad, strict=True))
    assert sum("leads out of the archive" in text for text in told) == 2
    assert sum("an archive in an archive" in text for text in told) == 2
    assert not (tmp_path.parent / "outside.cif").exists()


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
def test_links_are_not_followed(members, tmp_path, kind):
    (tmp_path / "secret.cif").write_text(members[1][1])
    path = tmp_path / f"data.{kind}"
    with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as archive:
        for name, what, target in (
            ("soft.cif", tarfile.SYMTYPE, str(tmp_path / "secret.cif")),
            ("hard.cif", tarfile.LNKTYPE, "soft.cif"),
            ("pipe.cif", tarfile.FIFOTYPE, ""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = what, target
            archive.addfile(info)
    reader = read_structures(path, on_error="skip")
    assert not list(reader) and len(reader.report) == 3
    assert [error.value for error in reader.report] == ["a link", "a link", "no plain file"]
    linked = zipfile.ZipInfo("soft.cif")
    linked.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr(linked, str(tmp_path / "secret.cif"))
    with pytest.raises(UnsupportedFileError, match="a link"):
        list(read_structures(tmp_path / "data.zip"))


@pytest.mark.parametrize("encoding, has_field", [("utf-8", True), ("utf-8", False), ("cp437", True), ("cp437", False)])
def test_names_without_the_flag_of_utf8(structures, tmp_path, encoding, has_field):
    path, written = tmp_path / "a.zip", "süß.cif".encode(encoding)
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("x" * len(written))
        field = struct.pack("<BL", 1, zlib.crc32(written)) + "süß.cif".encode()
        info.extra = struct.pack("<HH", 0x7075, len(field)) + field if has_field else b""
        archive.writestr(info, str(CifWriter(structures[0])))
    path.write_bytes(path.read_bytes().replace(info.filename.encode(), written))
    assert [crystal.material_id for crystal in read_structures(path)] == ["süß"]


def test_encrypted_members_are_named(members, tmp_path):
    path = pack(tmp_path / "a.zip", members[1:2])
    content = bytearray(path.read_bytes())
    for signature, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(signature) + place] |= 1
    path.write_bytes(bytes(content))
    with pytest.raises(UnsupportedFileError, match="encrypted"):
        list(read_structures(path))


@pytest.mark.parametrize("kind", KINDS)
def test_broken_archives(members, tmp_path, kind):
    whole = pack(tmp_path / f"data.{kind}", members).read_bytes()
    path = tmp_path / f"broken.{kind}"
    for content in (whole[: len(whole) // 2], b"another content" * 50, whole[:100] + b"\xff" * 300 + whole[400:], b""):
        path.write_bytes(content)
        reader = read_structures(path, on_error="skip")
        list(reader)
        assert reader.report and str(path) in reader.report[-1].item
    pack(path, [("a.txt", "nothing")])
    with pytest.raises(NoCrystalsError, match="without files of crystals"):
        list(read_structures(path))


def read_damaged(data, tmp_path, kind):
    """The crystals of the bytes of a tar archive, what is reported, and what is warned of."""
    path = tmp_path / f"damaged.{kind}"
    path.write_bytes(PACK.get(path.suffix, bytes)(data))
    reader = read_structures(path, on_error="skip")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        crystals = list(reader)
    return crystals, [error for error in reader.report if error.item == str(path)], warned


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
def test_tar_archives_that_lost_members_say_so(structures, tmp_path, kind):
    members = [(f"{k}.cif", str(CifWriter(s))) for k, s in enumerate(structures[:3])]
    data = pack(tmp_path / "whole.tar", members).read_bytes()
    with tarfile.open(tmp_path / "whole.tar") as archive:
        header, end = archive.getmembers()[2].offset, archive.offset
    flipped, lost = bytearray(data), bytearray(data)
    flipped[header + 3] ^= 1
    lost[header : header + 512] = bytes(512)
    for damaged in (flipped, lost, data[: header + 100], data[:header] + b"garbage", data[:end] + b"\0" * 512 + b"a"):
        crystals, errors, _ = read_damaged(bytes(damaged), tmp_path, kind)
        assert len(crystals) == (3 if damaged[:end] == data[:end] else 2)
        assert "damaged or cut" in errors[0].value and len(errors) == 1
    cut, errors, _ = read_damaged(data[: header - 600], tmp_path, kind)  # within a member
    assert len(cut) == 1 and "unexpected end of data" in errors[0].value
    for whole, told in ((data, 0), (data[:end], 1), (data + bytes(20_480), 0)):
        crystals, errors, warned = read_damaged(whole, tmp_path, kind)
        assert len(crystals) == 3 and not errors and len(warned) == told


def test_a_table_in_an_archive_names_no_files(members, tmp_path):
    (tmp_path / "secret.cif").write_text(members[1][1])
    table = f"id,path\n1,{tmp_path / 'secret.cif'}\n2,nothing\n"
    path = pack(tmp_path / "a.tar.gz", [("t.csv", table)])
    reader = read_structures(path, on_error="skip")
    assert not list(reader) and len(reader.report) == 2 and "in an archive" in str(reader.report[0])
    (tmp_path / "t.csv").write_text(table)
    assert len(list(read_structures(tmp_path / "t.csv", on_error="skip"))) == 1


def test_reading_an_archive_is_lazy(members, tmp_path, monkeypatch):
    """The first crystal comes before the others are unpacked."""
    noise = np.random.default_rng(0).bytes(3_000_000)
    path = pack(tmp_path / "a.tar.gz", [members[1], *((f"{k}.cif", noise) for k in range(5))])
    read, taken = [], contents.Budget.take
    monkeypatch.setattr(contents.Budget, "take", lambda self, n: (read.append(n), taken(self, n)))
    assert next(iter(read_structures(path))).material_id == "quartz"
    assert sum(read) < 1_000_000
    pack(tmp_path / "a.zip", [members[1], *((f"{k}.cif", noise) for k in range(5))])
    read.clear()
    assert next(iter(read_structures(tmp_path / "a.zip"))).material_id == "quartz" and sum(read) < 100_000


def test_limits_say_their_number(members, tmp_path):
    path = pack(tmp_path / "a.zip", members[1:5])
    reader = read_structures(path, on_error="skip", limits=ReadingLimits(members=2))
    assert (
        len(list(reader)) == 2 and type(reader.report[0]) is LimitError and "at most 2 members" in str(reader.report[0])
    )
    small = ReadingLimits(free_bytes=10, unpacked_bytes=100)
    for name in ("a.zip", "b.tar.xz"):
        with pytest.raises(LimitError, match="100 bytes"):
            list(read_structures(pack(tmp_path / name, members[1:5]), limits=small))
    (tmp_path / "a.cif").write_text("x" * 51)
    with pytest.raises(LimitError, match="50 bytes"):
        list(read_structures(tmp_path / "a.cif", limits=ReadingLimits(text_bytes=50)))


PIECE, TIMES = 2**22, 512
BOMB = PIECE * TIMES


@pytest.mark.parametrize("limit", [{"sites": -1}, {"rows": "many"}, {"ratio": float("nan")}, {"words": None}])
def test_limits_are_checked_when_they_are_made(limit):
    with pytest.raises(OptionError, match=f"{next(iter(limit))} must be a whole number"):
        ReadingLimits(**limit)
    with pytest.raises(OptionError, match="Pass limits=ReadingLimits"):
        read_structures([], limits=limit)


@pytest.fixture(scope="module")
def bombs(tmp_path_factory):
    """Files of a few MB or kB that unpack to gigabytes: the same stream many times over."""
    folder = tmp_path_factory.mktemp("bombs")
    spaces = b" " * PIECE
    for name in ("a.cif.gz", "a.json.bz2", "a.csv.xz", "a.extxyz.gz", "POSCAR.xz"):
        (folder / name).write_bytes(PACK[name[name.rindex(".") :]](spaces) * TIMES)
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.cif", spaces * 64)
    data = (folder / "a.cif.gz").read_bytes()
    with tarfile.open(folder / "inner.tar.gz", "w:gz", compresslevel=1) as archive:  # a member that is itself a bomb
        info = tarfile.TarInfo("a.cif.gz")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    info = tarfile.TarInfo("a.txt")  # a member that is not even looked at
    info.size = BOMB
    (folder / "skipped.tar.xz").write_bytes(
        lzma.compress(info.tobuf(tarfile.GNU_FORMAT)) + lzma.compress(spaces) * TIMES
    )
    sparse = tarfile.TarInfo("a.cif")
    sparse.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(sparse.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"%011o\0" % BOMB
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:512]))
    (folder / "sparse.tar").write_bytes(bytes(header) + b"\0" * 1024)
    return folder


@pytest.mark.once
def test_bombs_are_refused_quickly_and_in_little_memory(bombs):
    code = """
import resource, sys, time
from deepchem_crystalssl import read_structures
from deepchem_crystalssl.errors import CrystalInputError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    start = time.process_time()
    reader = read_structures(path, on_error="skip")
    found = list(reader)
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    print(path, len(found), type(reader.report[0]).__name__, round(time.process_time() - start, 1), more, sep="|")
"""
    paths = [str(path) for path in sorted(bombs.iterdir())]
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code, *paths], capture_output=True, text=True)
    rows = [line.split("|") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == paths, done.stderr[-2000:]
    for path, found, kind, seconds, megabytes in rows:
        assert found == "0" and kind == ("UnsupportedFileError" if path.endswith("sparse.tar") else "LimitError"), path
        assert float(seconds) < 20 and int(megabytes) < 300, (path, seconds, megabytes)


def test_a_text_that_is_a_bomb(bombs):
    with pytest.raises(LimitError, match="at most 100 times its size"):
        Content.of(bombs / "a.cif.gz", ReadingLimits(text_bytes=2**30)).text()
    with pytest.raises(LimitError):
        read_table(bombs / "a.csv.xz")


def test_temporary_copies_are_removed(structures, tmp_path, monkeypatch):
    monkeypatch.setattr(contents.tempfile, "tempdir", str(tmp_path))
    frame = pd.DataFrame({"id": ["1", "2"], "structure": [structures[0].to(fmt="json")] * 2})
    frame.to_parquet(tmp_path / "t.parquet")
    path = pack(tmp_path / "a.tar.gz", [("t.parquet", (tmp_path / "t.parquet").read_bytes())])
    reader = iter(read_structures(path))
    next(reader)
    assert any(entry.name.startswith("crystals-") for entry in tmp_path.iterdir())
    list(reader)
    abandoned = iter(read_structures(path))
    next(abandoned)
    abandoned.close()
    assert not any(entry.name.startswith("crystals-") for entry in tmp_path.iterdir())
