"""Where machine code is kept, and that nothing depends on its being kept."""

import logging
import os
import stat

import numba
import pytest
from numba.core.caching import CacheImpl, InTreeCacheLocator, UserProvidedCacheLocator, UserWideCacheLocator

from deepchem_crystalssl.crystals import compilation
from deepchem_crystalssl.crystals.compilation import njit


def double(x):
    return 2 * x


@pytest.fixture
def read_only(monkeypatch, tmp_path):
    """Neither the folder of the package nor a home can be written to; the temporary folder."""
    monkeypatch.setattr(CacheImpl, "_locator_classes", [UserProvidedCacheLocator])
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(compilation, "_said", set())
    monkeypatch.setattr(compilation.tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path


def kept_files(folder):
    return sorted(path.suffix for path in folder.rglob("*.nb?"))


def test_numba_itself_refuses_to_compile_without_a_folder(read_only):
    with pytest.raises(RuntimeError, match="no locator available"):
        numba.njit(cache=True)(double)


def test_without_a_folder_machine_code_goes_to_one_of_this_user(read_only, caplog):
    assert njit(nogil=True)(double)(2.5) == 5.0
    (folder,) = read_only.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and kept_files(folder) == [".nbc", ".nbi"]
    assert f"machine code is kept in {folder}" in caplog.text
    again = njit(nogil=True)(double)
    assert again(2.5) == 5.0 and sum(again.stats.cache_hits.values()) == 1


@pytest.mark.parametrize("case", ["open to others", "a link", "a file", "no temporary folder"])
def test_a_folder_that_is_not_safe_is_not_used(case, read_only, caplog, monkeypatch):
    folder = read_only / f"deepchem_crystalssl-{os.getuid()}"
    elsewhere = read_only / "elsewhere"
    elsewhere.mkdir()
    if case == "open to others":
        folder.mkdir()
        folder.chmod(0o777)
    elif case == "a link":
        folder.symlink_to(elsewhere)
    elif case == "a file":
        folder.write_text("")
    else:
        monkeypatch.setattr(compilation.tempfile, "gettempdir", lambda: str(read_only / "missing"))
    assert njit(nogil=True)(double)(2.5) == 5.0
    assert not kept_files(read_only) and "every process compiles again" in caplog.text


def test_machine_code_that_cannot_be_read_or_written_is_made_again(read_only, caplog, monkeypatch):
    njit(nogil=True)(double)(2.5)
    for path in read_only.rglob("*.nb?"):
        path.write_bytes(path.read_bytes()[:20])
    caplog.set_level(logging.WARNING)
    assert njit(nogil=True)(double)(2.5) == 5.0
    assert "cannot be read" in caplog.text
    healed = njit(nogil=True)(double)
    assert healed(2.5) == 5.0 and sum(healed.stats.cache_hits.values()) == 1
    full = njit(nogil=True)(double)

    def refuse(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(full._cache._cache_file, "save", refuse)
    assert full(3) == 6 and "No space left" in caplog.text


def test_the_loops_of_the_package_are_kept_beside_it():
    from deepchem_crystalssl.crystals.neighbor_search import __file__ as place
    from deepchem_crystalssl.crystals.validation import closest_pair as loop

    assert type(loop._cache) is compilation._MachineCode
    assert CacheImpl._locator_classes[:3] == [UserProvidedCacheLocator, InTreeCacheLocator, UserWideCacheLocator]
    assert os.path.dirname(place) in loop._cache.cache_path or "NUMBA_CACHE_DIR" in os.environ
