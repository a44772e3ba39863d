"""Files that disks, editors and strangers have changed: the same crystal or pattern, or a typed error, quickly."""

import resource
import signal
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
from mutations import crystal_files, is_text, mutated, neutral_rewritings, pattern_files

from deepchem_crystalssl import read_pattern, read_structures
from deepchem_crystalssl.crystals.formats.tables import read_table
from deepchem_crystalssl.errors import CrystalInputError

CRYSTALS, PATTERNS = crystal_files(), pattern_files()
TEXT_PATTERNS = [name for name in PATTERNS if not name.endswith((".raw", ".brml", ".rasx"))]
MUTANTS, SECONDS, MEGABYTES = 25, 10, 1000


class TooLong(BaseException):
    """Passes every handler of exceptions."""


@contextmanager
def time_limit(seconds):
    """Stop what takes longer."""

    def stop(*args):
        raise TooLong

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)  # of the processor, so that others' work does not count
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def attempt(read):
    """What a reader gives, None for a typed error that says what, why, and what to do."""
    try:
        return read()
    except CrystalInputError as error:
        assert error.item and error.rule and error.remedy and str(error)
        return None


def assert_same(crystals, others):
    assert len(crystals) == len(others) > 0
    for crystal, other in zip(crystals, others, strict=True):
        assert crystal.material_id == other.material_id
        for field in ("atomic_numbers", "frac_coords", "lattice"):
            assert np.array_equal(getattr(crystal, field), getattr(other, field)), field
        assert np.array_equal(crystal.species.occupancy, other.species.occupancy)


@pytest.mark.parametrize("name", [name for name in CRYSTALS if is_text(name)])
def test_encodings_and_line_ends_change_no_crystal(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(CRYSTALS[name])
    expected = list(read_structures(path))
    for what, data in neutral_rewritings(CRYSTALS[name]):
        path.write_bytes(data)
        assert_same(list(read_structures(path)), expected), what


@pytest.mark.parametrize("name", ["plain.cif", "POSCAR", "structure.json", "list.json"])
def test_texts_in_memory_may_have_a_mark_and_any_line_ends(name):
    text = CRYSTALS[name].decode()
    expected = list(read_structures(text))
    for changed in ("\ufeff" + text, text.replace("\n", "\r"), text.replace("\n", "\r\n") + "\x1a"):
        assert_same(list(read_structures(changed)), expected)


def test_letters_of_latin_1_change_no_crystal(tmp_path):
    for name, comment in (("plain.cif", "# Müller, Å\n"), ("table.csv", ""), ("list.json", ""), ("POSCAR", "é ")):
        data = (comment + CRYSTALS[name].decode()).encode("latin-1")
        if name == "table.csv":
            data = data.replace(b"gap", b"gap (\xb5eV)")
        if name == "list.json":
            data = data.replace(b'"properties": {}', b'"properties": {"\xe9": 1}')
        (tmp_path / name).write_bytes(CRYSTALS[name])
        expected = list(read_structures(tmp_path / name))
        (tmp_path / name).write_bytes(data)
        assert_same(list(read_structures(tmp_path / name)), expected)


@pytest.mark.parametrize("name", TEXT_PATTERNS)
def test_encodings_and_line_ends_change_no_pattern(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(PATTERNS[name])
    expected = read_pattern(path)
    for what, data in neutral_rewritings(PATTERNS[name]):
        path.write_bytes(data)
        pattern = read_pattern(path)
        assert np.array_equal(pattern.two_theta, expected.two_theta), what
        assert np.array_equal(pattern.counts, expected.counts), what
        assert pattern.wavelength == expected.wavelength, what


@pytest.mark.parametrize("name", CRYSTALS)
def test_mutants_of_crystals_are_crystals_or_typed_errors(name, tmp_path, fuzz):
    random = np.random.default_rng(sorted(CRYSTALS).index(name))
    path, most = tmp_path / name, megabytes() + MEGABYTES
    for _ in range(MUTANTS * fuzz):
        path.write_bytes(mutated(CRYSTALS[name], random))
        with time_limit(SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader = read_structures(path, on_error="skip")
            crystals = attempt(lambda: list(reader)) or []  # noqa: B023
            if name.endswith((".csv", ".parquet", ".xz")):
                attempt(lambda: read_table(path))
        assert megabytes() < most
        for crystal in crystals:
            assert np.isfinite(crystal.frac_coords).all() and np.isfinite(crystal.lattice).all()
            assert 1 <= crystal.species.atomic_numbers.min() <= crystal.species.atomic_numbers.max() <= 118
        assert all(isinstance(error, CrystalInputError) and str(error) for error in reader.report)


@pytest.mark.parametrize("name", PATTERNS)
def test_mutants_of_patterns_are_patterns_or_typed_errors(name, tmp_path, fuzz):
    random = np.random.default_rng(sorted(PATTERNS).index(name))
    path, most = tmp_path / name, megabytes() + MEGABYTES
    for _ in range(MUTANTS * fuzz):
        path.write_bytes(mutated(PATTERNS[name], random))
        with time_limit(SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pattern = attempt(lambda: read_pattern(path))
        assert megabytes() < most
        if pattern is not None:
            assert np.isfinite(pattern.two_theta).all() and np.isfinite(pattern.counts).all()
            assert pattern.counts.max() > 0 and (np.diff(pattern.two_theta) > 0).all()
