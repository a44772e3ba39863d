import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from scipy.integrate import trapezoid

from deepchem_crystalssl import XRDGrid, prepare_measured_pattern, simulate_xrd
from deepchem_crystalssl.errors import (
    AngleError,
    CountsError,
    EmptyFileError,
    GridError,
    PatternError,
    PatternRangeError,
    UnsupportedFileError,
)
from deepchem_crystalssl.diffraction.measured import Scan
from deepchem_crystalssl.diffraction.pattern_files import read_pattern_file

SILICON = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.431), ["Si"], [[0, 0, 0]])


def measure(wavelength="CuKa", step=0.013, span=(15, 95), fwhm=0.15, seed=0):
    """An instrument: its own steps, background, counting noise."""
    angles = np.arange(*span, step)
    fine = XRDGrid(span[0], span[1], 8000, wavelength, fwhm=fwhm)
    peaks = np.interp(angles, fine.two_theta, simulate_xrd(SILICON, fine)[0])
    background = 300 + 900 * np.exp(-(angles - 15) / 20)
    return angles, np.random.default_rng(seed).poisson(background + 20000 * peaks).astype(float)


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("wavelength", ["CuKa", "CoKa", "MoKa"])
@pytest.mark.parametrize("step", [0.007, 0.05])
def test_measurement_meets_simulation(wavelength, step):
    span = {"CuKa": (15, 95), "CoKa": (20, 120), "MoKa": (7, 45)}[wavelength]
    grid = XRDGrid(20, 90, 3500, fwhm=0.15)
    angles, counts = measure(wavelength, step, span)
    pattern = prepare_measured_pattern(angles, counts, grid, wavelength=wavelength)
    assert pattern.shape == (3500,) and pattern.max() == 1 and pattern.min() >= 0
    expected = simulate_xrd(SILICON, grid)[0]
    # Peaks move with Bragg's law; their width is that of the instrument, so compare with room for it.
    smooth = np.ones(25) / 25
    assert cosine(np.convolve(pattern, smooth), np.convolve(expected, smooth)) > 0.97


def test_background_is_removed():
    angles, counts = measure()
    grid = XRDGrid(16, 94, 3900)
    empty = (grid.two_theta > 60) & (grid.two_theta < 67)  # no silicon line here
    assert prepare_measured_pattern(angles, counts, grid)[empty].max() < 0.02
    assert prepare_measured_pattern(angles, counts, grid, background="none")[empty].min() > 0.01


def test_resampling_keeps_the_area():
    angles, counts = measure()
    grid = XRDGrid(15.5, 94.5, 700)
    pattern = prepare_measured_pattern(angles, counts, grid, background="none", normalize=False)
    inside = (angles >= 15.5) & (angles <= 94.5)
    assert pattern.sum() * grid.step == pytest.approx(trapezoid(counts[inside], angles[inside]), rel=1e-3)


def test_outside_the_measured_range_is_zero():
    angles, counts = measure(span=(30, 60))
    pattern = prepare_measured_pattern(angles, counts)
    two_theta = XRDGrid().two_theta
    assert (pattern[(two_theta < 29.9) | (two_theta > 60.1)] == 0).all() and pattern.max() == 1


def test_input_is_not_touched():
    angles, counts = measure()
    before = counts.copy()
    prepare_measured_pattern(angles, counts)
    assert np.array_equal(counts, before)


ANGLES = np.arange(20.0, 80.0, 0.1)
COUNTS = 10 + 100 * np.exp(-((ANGLES - 40) ** 2) * 20)


def changed(values, index, value):
    values = values.copy()
    values[index] = value
    return values


@pytest.mark.parametrize(
    "error, angles, counts",
    [
        (AngleError, ANGLES[::-1], COUNTS),
        (AngleError, changed(ANGLES, 5, ANGLES[4]), COUNTS),
        (AngleError, changed(ANGLES, 5, np.nan), COUNTS),
        (AngleError, ANGLES + 150, COUNTS),
        (CountsError, ANGLES, changed(COUNTS, 7, -1)),
        (CountsError, ANGLES, changed(COUNTS, 7, np.nan)),
        (CountsError, ANGLES, np.zeros_like(COUNTS)),
        (PatternError, ANGLES[:-1], COUNTS),
        (PatternError, ANGLES[:2], COUNTS[:2]),
        (PatternError, ["a", "b", "c"], [1, 2, 3]),
        (PatternError, ANGLES, None),
        (PatternRangeError, ANGLES / 100 + 0.1, COUNTS),
        (PatternRangeError, np.linspace(120, 150, len(COUNTS)), COUNTS),
    ],
)
def test_bad_patterns_have_typed_errors(error, angles, counts):
    with pytest.raises(error, match="pattern"):
        prepare_measured_pattern(angles, counts)


def test_unknown_radiation_and_background():
    with pytest.raises(GridError, match="NoKa"):
        prepare_measured_pattern(ANGLES, COUNTS, wavelength="NoKa")
    with pytest.raises(ValueError, match="background"):
        prepare_measured_pattern(ANGLES, COUNTS, background="rolling")


@pytest.mark.parametrize(
    "name, separator, header",
    [("p.xy", " ", ""), ("p.csv", ",", "two_theta,counts\n"), ("p.txt", "\t", "# made by hand\n"), ("p.dat", ";", "")],
)
def test_columns_of_text(tmp_path, name, separator, header):
    rows = "".join(f"{x:.4f}{separator}{y:.4f}\n" for x, y in zip(ANGLES, COUNTS, strict=True))
    (tmp_path / name).write_text(header + rows)
    angles, counts, wavelength = read_pattern_file(tmp_path / name)
    assert np.allclose(angles, ANGLES) and np.allclose(counts, COUNTS, atol=1e-4) and wavelength is None
    assert np.allclose(prepare_measured_pattern(tmp_path / name), prepare_measured_pattern(angles, counts))


XRDML = """<?xml version="1.0"?>
<xrdMeasurements xmlns="http://www.xrdml.com/XRDMeasurement/1.5"><xrdMeasurement>
<usedWavelength intended="K-Alpha"><kAlpha1 unit="Angstrom">1.5405980</kAlpha1>
<kAlpha2 unit="Angstrom">1.5444260</kAlpha2></usedWavelength>
<scan><dataPoints><positions axis="2Theta" unit="deg"><startPosition>20.0</startPosition>
<endPosition>79.9</endPosition></positions><counts unit="counts">{counts}</counts></dataPoints></scan>
</xrdMeasurement></xrdMeasurements>"""


def test_xrdml(tmp_path):
    path = tmp_path / "scan.xrdml"
    path.write_text(XRDML.format(counts=" ".join(f"{y:.3f}" for y in COUNTS)))
    angles, counts, wavelength = read_pattern_file(path)
    assert np.allclose(angles, ANGLES) and np.allclose(counts, COUNTS, atol=1e-3)
    assert wavelength == pytest.approx(1.54187, abs=1e-4)
    expected = prepare_measured_pattern(angles, counts, wavelength=wavelength)
    assert np.array_equal(prepare_measured_pattern(path), expected)


XRDML_LINES = "<kAlpha1>1.540598</kAlpha1><kAlpha2>1.544426</kAlpha2><kBeta>1.39225</kBeta>"


@pytest.mark.parametrize(
    "intended, lines, expected",
    [
        ("K-Alpha", XRDML_LINES, (2 * 1.540598 + 1.544426) / 3),
        ("K-Alpha", XRDML_LINES + "<ratioKAlpha2KAlpha1>0.25</ratioKAlpha2KAlpha1>", (4 * 1.540598 + 1.544426) / 5),
        ("K-Alpha", "<kAlpha1>1.540598</kAlpha1>", 1.540598),
        ("K-Alpha 1", XRDML_LINES, 1.540598),
        ("K-Alpha 2", XRDML_LINES, 1.544426),
        ("K-Beta", XRDML_LINES, 1.39225),
        ("K-Alpha", "", None),
    ],
)
def test_the_wavelength_of_an_xrdml_is_the_intended_one(tmp_path, intended, lines, expected):
    text = XRDML.format(counts=" ".join(f"{y:.3f}" for y in COUNTS))
    head, tail = text.split("<usedWavelength")[0], text.split("</usedWavelength>")[1]
    (tmp_path / "scan.xrdml").write_text(f'{head}<usedWavelength intended="{intended}">{lines}</usedWavelength>{tail}')
    found = read_pattern_file(tmp_path / "scan.xrdml")[2]
    assert found == (expected if expected is None else pytest.approx(expected, abs=1e-7))


def test_the_wavelength_given_counts_then_that_of_the_file_then_copper(tmp_path):
    (tmp_path / "scan.xrdml").write_text(XRDML.format(counts=" ".join(f"{y:.3f}" for y in COUNTS)))
    np.savetxt(tmp_path / "scan.xy", np.stack([ANGLES, COUNTS], axis=1))
    grid = XRDGrid(wavelength="MoKa")

    def line(path, **options):
        return grid.two_theta[prepare_measured_pattern(path, grid=grid, **options).argmax()]

    def expected(wavelength):
        return 2 * np.degrees(np.arcsin(np.sin(np.radians(20)) * grid.wavelength_angstrom / wavelength))

    assert line(tmp_path / "scan.xrdml", wavelength="CoKa") == pytest.approx(expected(1.79026), abs=0.03)
    assert "the file states 1.54187" in str(Scan.of(tmp_path / "scan.xrdml", wavelength="CoKa").radiation)
    assert "states" not in str(Scan.of(tmp_path / "scan.xrdml", wavelength="CuKa").radiation)
    assert line(tmp_path / "scan.xrdml") == pytest.approx(expected(1.541874), abs=0.03)
    assert line(tmp_path / "scan.xy", wavelength="MoKa") == pytest.approx(40, abs=0.06)
    with pytest.warns(UserWarning, match="scan.xy: the wavelength is 1.54184 Å .Cu K-alpha, assumed.*wavelength="):
        assert line(tmp_path / "scan.xy") == pytest.approx(expected(1.54184), abs=0.03)


@pytest.mark.parametrize(
    "name, content, error",
    [
        ("p.png", "x", UnsupportedFileError),
        ("p.xy", "", EmptyFileError),
        ("p.xy", "no numbers here\n", PatternError),
        ("p.xy", "10 1\n20 2\nthirty 3\n", PatternError),
        ("p.xrdml", "<broken", UnsupportedFileError),
        ("p.xrdml", "<a/>", PatternError),
        ("p.xrdml", '<!DOCTYPE x [<!ENTITY a "b">]><a/>', UnsupportedFileError),
    ],
)
def test_bad_files_have_typed_errors(tmp_path, name, content, error):
    (tmp_path / name).write_text(content)
    with pytest.raises(error, match=name):
        prepare_measured_pattern(tmp_path / name)


def test_missing_file(tmp_path):
    with pytest.raises(UnsupportedFileError, match="no such file"):
        prepare_measured_pattern(tmp_path / "none.xy")
