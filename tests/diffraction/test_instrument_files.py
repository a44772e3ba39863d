"""Files of diffractometers: the same scan in every format, real files where they are, and files made to do harm."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from deepchem_crystalssl.diffraction import read_pattern_bytes
from deepchem_crystalssl.diffraction.measured import check_pattern
from deepchem_crystalssl.errors import CrystalInputError, PatternError, UnsupportedFileError, UploadError
from deepchem_crystalssl.explorer.uploads import Limits, Pattern, read_upload

import pattern_samples as samples

OWN, REAL = samples.own_files(), samples.real_files()
needs_real = pytest.mark.skipif(not REAL, reason="the real files of instruments are not on this machine")
STATED = {".raw", ".brml", ".rasx", ".ras", ".uxd", ".udf", ".xrdml"}


def suffix(name):
    return "." + name.rsplit(".")[-1].lower()


def read(name, data=None, **options):
    return read_pattern_bytes((OWN | REAL)[name] if data is None else data, name, suffix(name), **options)


@pytest.mark.parametrize("name", OWN)
def test_the_same_scan_in_every_format(name):
    pattern = read(name)
    assert np.allclose(pattern.two_theta, samples.ANGLES, atol=2e-4)
    assert np.allclose(pattern.counts, samples.COUNTS, rtol=1e-5)
    assert pattern.item == name and pattern.format and len(pattern) == len(samples.ANGLES)
    if suffix(name) in STATED:
        assert pattern.wavelength == pytest.approx(1.54186, abs=2e-5)
    else:
        assert pattern.wavelength == (1.494 if name == "psi.dat" else None)
    with pytest.raises(ValueError):
        pattern.counts[0] = 1
    assert read(name, wavelength="MoKa").wavelength == 0.71073


@needs_real
@pytest.mark.parametrize(
    ("name", "other", "distance"),
    [("SbI3.raw", "SbI3.xye", 6e-5), ("BaZrS3.raw", "BaZrS3.brml", 6e-5), ("BT86.raw", "BT86_.UXD", 6e-4)],
)
def test_a_real_scan_is_the_same_in_two_formats(name, other, distance):
    one, two = read(name), read(other)
    assert np.allclose(one.two_theta, two.two_theta, rtol=0, atol=distance) and np.array_equal(one.counts, two.counts)
    assert two.wavelength in (None, pytest.approx(one.wavelength, abs=1e-5))


@needs_real
@pytest.mark.parametrize(
    ("name", "points", "first", "last", "top", "wavelength"),
    [
        ("PBSO4.XRA", 6001, 10, 160, 29.65, None),
        ("PSI_DMC.dat", 3200, 2.948, 162.898, 39.498, 1.494),
        ("D1A5.dat", 1580, 0, 157.9, 36.6, 1.9114),
        ("Cu3Au-1.raw", 3901, 22, 100, 41.5, 1.54186),
        ("format1.raw", 178, 10, 45, 41.7, 1.54186),
        ("empyrean.xrdml", 196, 30.05, 41.75, 39.17, 1.540598),
    ],
)
def test_real_files(name, points, first, last, top, wavelength):
    pattern = read(name)
    angles = pattern.two_theta
    assert (len(pattern), angles[0], angles[-1]) == (points, pytest.approx(first), pytest.approx(last))
    assert angles[pattern.counts.argmax()] == pytest.approx(top)
    assert pattern.wavelength == (wavelength if wavelength is None else pytest.approx(wavelength, abs=1e-5))


@needs_real
@pytest.mark.parametrize("name", ["att.xrdml", "two.xrdml", "comma.txt", "idx.csv", "fit2d.chi", "dbws.dat"])
def test_reported_cases(name):
    pattern = read(name)
    assert np.average(pattern.two_theta, weights=(pattern.counts > 0.9 * pattern.counts.max())) == pytest.approx(30)
    second = pattern.counts * (pattern.two_theta > 40)
    assert np.average(pattern.two_theta, weights=second > 0.9 * second.max()) == pytest.approx(45.3, abs=0.03)


@needs_real
@pytest.mark.parametrize("name", ["q.dat", "qnm.dat"])
def test_reported_cases_over_q(name):
    with pytest.raises(PatternError, match="not two-theta.*wavelength="):
        read(name)
    pattern = read(name, wavelength="CuKa")
    assert pattern.two_theta[pattern.counts.argmax()] == pytest.approx(30, abs=0.01)


@pytest.mark.parametrize("name", ["bruker3.raw", "archive.brml", "archive.rasx", "rigaku.ras", "columns.xy"])
def test_uploads_may_be_binary(name):
    pattern = read_upload(OWN[name], name.upper(), Limits())
    assert isinstance(pattern, Pattern) and np.allclose(pattern.counts, samples.COUNTS)
    with pytest.raises(UploadError, match="1,500 points"):
        read_upload(OWN[name], name, Limits(points=100))


def test_an_upload_over_q_needs_the_wavelength():
    text = "Q counts\n" + "".join(f"{1 + k / 100} {5 + k % 7}\n" for k in range(50))
    with pytest.raises(PatternError, match="wavelength="):
        read_upload(text.encode(), "q.xy", Limits())
    found = read_upload(text.encode("utf-16"), "q.xy", Limits(), "CuKa")
    assert found.two_theta[0] == pytest.approx(2 * np.degrees(np.arcsin(1.54184 / (4 * np.pi))))  # where Q is 1/Å
    assert found.wavelength is None  # the file states none


def test_factors_of_attenuation_are_undone():
    for data, name in ((samples.rasx(5), "a.rasx"), (samples.brml(counts=samples.COUNTS / 4, factor=4), "a.brml")):
        pattern = read(name, data)
        assert np.allclose(pattern.counts, samples.COUNTS, atol=0.01) and "multiplied" in " ".join(pattern.notes)


def test_scans_of_other_axes_are_no_pattern():
    data = OWN["bruker4.raw"].replace(b"Locked Coupled", b"Rocking Curve ")
    with pytest.raises(PatternError, match="Rocking Curve"):
        read("r.raw", data)
    with pytest.raises(PatternError, match="time|CONST"):
        read("t.gsa", b"title\nBANK 1 100 10 SLOG 1000 2000 0.001 0 FXYE\n" + b"1000 5 2\n" * 100)
    with pytest.raises(UnsupportedFileError, match="another layout"):
        read("r.raw", OWN["rigaku.raw"].replace(b"DA", b"XX"))


@pytest.mark.parametrize(
    "name", [name for name in OWN if not name.startswith(("columns", "errors", "comma", "decimal", "range"))]
)
def test_a_file_cut_in_the_middle_is_refused(name):
    with pytest.raises(CrystalInputError) as error:
        read(name, OWN[name][: len(OWN[name]) // 2])
    assert error.value.item == name and error.value.rule and error.value.remedy


def mutated(data, rng):
    """A file with some changed bytes, cut, or with a piece doubled."""
    data = bytearray(data)
    kind = rng.integers(4)
    if kind == 0:
        return bytes(data[: rng.integers(len(data))])
    if kind == 1:
        place, length = rng.integers(len(data)), rng.integers(1, 200)
        return bytes(data[:place] + data[place : place + length] * 2 + data[place + length :])
    within = len(data) if kind == 2 else min(len(data), 600)
    for place in rng.integers(within, size=rng.integers(1, 9)):
        data[place] = rng.choice([0, 10, 32, 45, 57, 255, rng.integers(256)])
    return bytes(data)


@pytest.mark.parametrize("name", {**OWN, **REAL})
def test_changed_files_give_a_pattern_or_an_error_of_the_package(name):
    rng = np.random.default_rng(sum(name.encode()))
    data = (OWN | REAL)[name]
    for _ in range(25 if len(data) > 100_000 else 150):
        try:
            pattern = read(name, mutated(data, rng), wavelength="CuKa")
        except CrystalInputError as error:
            assert error.value and error.rule and error.remedy
        else:
            check_pattern(pattern.two_theta, pattern.counts)
            assert 0.01 < pattern.wavelength < 20


def bomb(name):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        with file.open(name, "w") as member:
            for _ in range(130):
                member.write(bytes(1_000_000))
    return buffer.getvalue()


def many_members():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for number in range(5_001):
            file.writestr(f"Data{number}/Profile{number}.txt", "")
    return buffer.getvalue()


def announcing(version, place, number=10**9):
    data = bytearray(OWN[f"bruker{version}.raw"])
    data[place : place + 4] = number.to_bytes(4, "little")
    return bytes(data)


HOSTILE = {
    "zip.brml": lambda: bomb("Experiment0/RawData0.xml"),
    "zip.rasx": lambda: bomb("Data0/Profile0.txt"),
    "members.rasx": many_members,
    "outside.brml": lambda: samples.archive(**{"../../RawData0_DOT_xml": "<a/>"}),
    "deep.xrdml": lambda: b"<a>" * 900_000 + b"</a>" * 900_000,
    "broken_deep.xrdml": lambda: b"<a>" * 1_500_000,
    "entity.xrdml": lambda: b'<!DOCTYPE x [<!ENTITY a "b">]><a>&a;</a>',
    "entity16.xrdml": lambda: '<!DOCTYPE x [<!ENTITY a "b">]><a>&a;</a>'.encode("utf-16"),
    "entity.brml": lambda: samples.archive(RawData0_DOT_xml='<!DOCTYPE x [<!ENTITY a "b">]><a>&a;</a>'),
    "points.raw": lambda: announcing(1, 4),
    "points3.raw": lambda: announcing(3, 716),
    "points4.raw": lambda: announcing(4, 181 + 88),
    "ranges.raw": lambda: announcing(3, 12),
    "points.gsa": lambda: b"t\nBANK 1 1000000000 100 CONST 1000 0.000001 0 0 STD\n1 2 3\n",
    "points.dat": lambda: b"0 0.0000001 100 t\n1 2 3 4 5 6 7 8\n",
    "points.xrdml": lambda: samples.xrdml(samples.scan_of_xrdml(counts=[1]))
    .replace(">1</counts>", ">" + "1 " * 10**6 + "</counts>")
    .encode(),
    "lines.xy": lambda: b"20.0 1\n" * 1_000_000,
    "header.xy": lambda: b"word\n" * 500_000,
    "long.xy": lambda: b"1" * 3_000_000,
    "long.csv": lambda: b"1," * 1_500_000 + b"\n2,3\n",
    "comments.xy": lambda: b"/*" * 1_000_000,
    "digits.xy": lambda: b"20 " + b"9" * 1_000_000 + b"\n",
    "brackets.xy": lambda: b"(" * 19_000 + b"\n" + b"[a " * 6_000 + b"\n20 1\n20 1\n",
    "random.raw": lambda: np.random.default_rng(0).bytes(500_000),
    "random4.raw": lambda: b"RAW4.00\0" + np.random.default_rng(1).bytes(500_000),
    "zeros4.raw": lambda: b"RAW4.00\0" + bytes(5_000_000),
    "zeros1.raw": lambda: b"RAW " + bytes(500_000),
    "random.brml": lambda: b"PK\3\4" + np.random.default_rng(2).bytes(500_000),
    "random.xy": lambda: np.random.default_rng(3).bytes(500_000),
    "random.xrdml": lambda: np.random.default_rng(4).bytes(500_000),
    "large.xy": lambda: b"20 1e308\n21 1\n22 1\n",
    "nan.xy": lambda: b"20 1\n21 nan\n22 1\n",
    "pickle.xy": lambda: b"\x80\x04\x95cos\nsystem\n(S'echo'\ntR.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_in_little_memory(name):
    data = HOSTILE[name]()
    with pytest.raises(CrystalInputError) as error:
        read(name, data)
    assert error.value.item == name and len(str(error.value)) < 600
    if len(data) < 1_000_000:
        tracemalloc.start()
        with pytest.raises(CrystalInputError):
            read(name, data)
        assert tracemalloc.get_traced_memory()[1] < 250e6
        tracemalloc.stop()
