"""What the name of a file, and its first bytes, say about the crystals in it."""

from __future__ import annotations

from functools import lru_cache
from os.path import splitext
from typing import Any

COMPRESSIONS = (".gz", ".bz2", ".xz")
"""Suffixes of a compressed file; what it holds is said by the suffix before."""

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
"""Suffixes of archives."""

HEAD = 4096
"""Bytes at the beginning of a file by which it is recognized."""

_SUFFIXES = {
    ".cif": "cif",
    ".mcif": "cif",
    ".json": "json",
    ".jsonl": "json",
    ".vasp": "poscar",
    ".poscar": "poscar",
    ".csv": "table",
    ".parquet": "table",
    ".arrow": "shard",
    ".extxyz": "xyz",
    ".xyz": "xyz",
    ".xsf": "xsf",
    ".traj": "trajectory",
    ".db": "sqlite",
    ".aselmdb": "lmdb",
}
_CODE = {".pkl", ".pickle", ".joblib", ".dill", ".pt", ".pth", ".ckpt", ".npy", ".npz"}
_OTHERS = {"xyz": "Lattice=", "trajectory": "- of Ulm", "sqlite": "SQLite format 3\0"}


@lru_cache(maxsize=1024)  # asked four times on the way of a file
def crystal_kind(name: str) -> str | None:
    """What a file of this name holds.

    Returns
    -------
    str or None
        "cif", "json", "poscar", "table", "xyz", "xsf", "trajectory", "sqlite", "lmdb", "vasprun", "shard" or "archive";
        None if it holds no crystals.

    Examples
    --------
    >>> crystal_kind("quartz.cif.gz"), crystal_kind("CONTCAR_relaxed"), crystal_kind("thesis.tex")
    ('cif', 'poscar', None)
    >>> crystal_kind("alexandria_000.json.bz2"), crystal_kind("vasprun.xml.gz"), crystal_kind("relaxed.tar.gz")
    ('json', 'vasprun', 'archive')
    """
    if name.lower().endswith(ARCHIVES):
        return "archive"
    name = without_compression(name)
    suffix = splitext(name)[1].lower()
    if name.lower().startswith("vasprun") and suffix == ".xml":
        return "vasprun"
    if says_nothing(name) and suffix not in _CODE:
        return _SUFFIXES.get(suffix, "poscar")  # POSCAR_relaxed.cif is a CIF
    return _SUFFIXES.get(suffix)


def says_nothing(name: str) -> bool:
    """Whether a file is called by what VASP calls every structure."""
    return name.upper().startswith(("POSCAR", "CONTCAR", "VASPRUN.XML"))


def without_compression(name: str) -> str:
    """The name of what a compressed file holds.

    Examples
    --------
    >>> without_compression("quartz.cif.gz"), without_compression("quartz.cif")
    ('quartz.cif', 'quartz.cif')
    """
    suffix = splitext(name)[1]
    return name[: -len(suffix)] if suffix.lower() in COMPRESSIONS else name


def is_code(name: str) -> bool:
    """Whether a file of this name is a pickle, or may contain one, so that reading it would run what it says."""
    return splitext(without_compression(name))[1].lower() in _CODE


def is_unlike(kind: str, head: bytes) -> bool:
    """Whether a file of a kind whose suffix others use too begins with something else.

    Examples
    --------
    >>> is_unlike("xyz", b"3\\nwater\\nO 0 0 0"), is_unlike("cif", b"data_water")
    (True, False)
    """
    return kind in _OTHERS and _OTHERS[kind].lower().encode() not in head.lower()


def is_url(source: Any) -> bool:
    """Whether a source is the address of something on a server.

    Examples
    --------
    >>> is_url("https://example.org/optimade/v1/structures"), is_url("quartz.cif"), is_url("file:///etc/passwd")
    (True, False, True)
    """
    return isinstance(source, str) and "\n" not in source and "://" in source[:20] and source[:1].isalpha()
