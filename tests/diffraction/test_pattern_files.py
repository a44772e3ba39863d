"""Texts with a measured pattern as they come: which column, which unit, which mark, which end of line."""

import dataclasses

import numpy as np
import pattern_samples as samples
import pytest

from deepchem_crystalssl import prepare_measured_pattern, read_pattern
from deepchem_crystalssl.diffraction import MeasuredPattern, read_pattern_bytes
from deepchem_crystalssl.diffraction.column_names import role_of, stated_wavelength
from deepchem_crystalssl.diffraction.patterns import NEUTRONS
from deepchem_crystalssl.errors import (
    AngleError,
    CountsError,
    CrystalInputError,
    EmptyFileError,
    GridError,
    PatternError,
    UnsupportedFileError,
)

ANGLES, COUNTS = samples.ANGLES, samples.COUNTS
ROWS = samples.rows()


def read(text, suffix=".xy", **options):
    return read_pattern_bytes(text if isinstance(text, bytes) else text.encode(), f"p{suffix}", suffix, **options)


def table(*columns, separator=" ", header=""):
    lines = (separator.join(f"{value:.10g}" for value in row) for row in zip(*columns, strict=True))
    return header + "\n".join(lines) + "\n"


def same(pattern, atol=1e-3):
    return np.allclose(pattern.two_theta, ANGLES, atol=atol) and np.allclose(pattern.counts, COUNTS)


NUMBERS = np.arange(len(ANGLES))


@pytest.mark.parametrize(
    "text",
    [
        ROWS.replace("\n", "\r\n"),
        ROWS.replace("\n", "\r"),
        ROWS + "\x1a",
        ROWS + "\x1a\0\0\0",
        "\ufeff" + ROWS,
        ROWS.encode("utf-16"),
        ROWS.encode("utf-16-le"),
        ROWS.encode("utf-16-be"),
        "# gemessen von Frau Müller, 2θ\n".encode("latin-1", "replace") + ROWS.encode(),
        "/* a comment\n1 2\n3 4 */\n" + ROWS,
        '\'Id: "x" Operator: "y"\n' + ROWS,
        ROWS.replace("\n", " # one\n", 3).replace(" ", "\t"),
        ROWS + "\nend of the measurement\n  thank you very much\n",
        ROWS.replace(" ", ";"),
        ROWS.replace(" ", " ; ").replace(".", ","),
        ROWS.replace(".", ",").replace(" ", "   "),
        ROWS.replace(" ", ", "),
        "\n".join(f"{x:.6E} {y:.6E}".replace("E", "D") for x, y in zip(ANGLES, COUNTS, strict=True)),
        samples.rows('","', end='"\n').replace("\n", '\n"')[:-1].join(['"', ""]),
        table(ANGLES[::-1], COUNTS[::-1]),
        table(NUMBERS, ANGLES, COUNTS),
        table(NUMBERS + 1, ANGLES, COUNTS, COUNTS**0.5),
        table(ANGLES, COUNTS, COUNTS**0.5, 0 * COUNTS),
        table(COUNTS, ANGLES, header="counts 2theta\n"),
        table(NUMBERS, ANGLES, COUNTS, separator=",", header=",2theta,counts\n"),
        table(NUMBERS, ANGLES, COUNTS, header="# 2theta counts\n"),
        table(0.5 * NUMBERS, ANGLES, COUNTS, separator="\t", header="Time (s)\t2-Theta (deg)\tIntensity (a.u.)\n"),
        table(0.5 * NUMBERS, ANGLES, COUNTS, header="time  2 Theta  counts\n"),
        table(ANGLES, COUNTS**0.5, COUNTS, separator=",", header="2theta,esd,I\n"),
        table(ANGLES, 2 * COUNTS, COUNTS, header="2theta Ycalc Yobs\n"),
        table(ANGLES, COUNTS, separator=",", header="[Scan points]\nAngle,Intensity\n"),
        table(ANGLES, COUNTS, header="some words about the sample\n2 scans of powder\n"),
        f"{len(ANGLES)}\n{ROWS}",
    ],
)
def test_columns_as_they_come(text):
    assert same(read(text))


def test_the_record_says_what_was_read():
    pattern = read(table(COUNTS, ANGLES, separator=",", header="counts,2theta\n"), ".csv")
    assert pattern.columns == ("2theta", "counts") and pattern.item == "p.csv" and "columns" in pattern.format
    assert read(ROWS).columns == ("column 1", "column 2")
    assert "turned round" in read(table(ANGLES[::-1], COUNTS[::-1])).notes[0]
    assert "1,500 points" not in str(pattern) and "1500 points" in str(pattern)
    with pytest.raises(dataclasses.FrozenInstanceError):
        pattern.item = "x"


@pytest.mark.parametrize("suffix", [".xy", ".dat", ".txt", ".csv", ".chi"])
@pytest.mark.parametrize(
    ("name", "axis"),
    [
        ("Q", "q"), ("q (1/A)", "q"), ("q [Å^-1]", "q"), ("q_A^-1", "q"), ("q_nm^-1", "qn"), ("Q (1/nm)", "qn"),
        ("d", "d"), ("d (A)", "d"), ("d-spacing", "d"), ("d [nm]", "dn"),
    ],
)  # fmt: skip
def test_an_axis_of_q_or_d_is_never_read_as_degrees(name, axis, suffix):
    sines = np.sin(np.radians(ANGLES) / 2)
    q = 4 * np.pi * sines / 1.54184
    values = {"q": q, "qn": 10 * q, "d": 2 * np.pi / q, "dn": 0.2 * np.pi / q}[axis]
    header = f"title\n{name}\nIntensity\n   1500\n" if suffix == ".chi" else f"# {name}, counts\n"
    text = table(values, COUNTS, header=header, separator="," if suffix == ".csv" else " ")
    with pytest.raises(PatternError, match="not two-theta.*wavelength="):
        read(text, suffix)
    pattern = read(text, suffix, wavelength="CuKa")
    assert same(pattern) and pattern.wavelength == 1.54184 and "converted" in " ".join(pattern.notes)
    assert same(read("# Wavelength: 1.54184e-10 m\n" + text, suffix)) or suffix == ".chi"


def test_a_header_that_speaks_of_q_without_naming_columns_is_refused():
    with pytest.raises(PatternError, match="header.*Q"):
        read("# Q in 1/nm from the detector, and counts\n" + ROWS)


def test_q_beyond_reach_names_the_line_and_the_limit():
    with pytest.raises(AngleError, match=r"line 4: q 9; Q is at most 4 pi / wavelength, 8.15"):
        read("q counts\n1 5\n2 5\n9 5\n", wavelength="CuKa")


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("20 1\n20.1 2\nthirty 3\n", PatternError, "line 3: 'thirty 3'.*Correct or remove"),
        ("20 1\n20.1 2\n20.2\n", PatternError, "line 3: '20.2'"),
        ("20 1\n20.1 2 3\n20.2 4\n", PatternError, "line 2.*3 numbers after rows of 2"),
        ("20 1\n20.1 2\nsecond scan\n20 1\n", PatternError, "line 3.*again in line 4"),
        ("20 1\n20.1 5\n20.1 3\n", AngleError, "line 3: duplicate angle 20.1"),
        ("20 1\n20.2 5\n20.1 3\n", AngleError, "line 3: unsorted angle 20.1"),
        ("20 1\n20.1 nan\n20.2 3\n", CountsError, "line 2: count nan"),
        ("20 1\n20.1 -inf\n20.2 3\n", CountsError, "line 2: count -inf"),
        ("20 1\nnan 2\n20.2 3\n", AngleError, "line 2: angle nan"),
        ("20 1\n20.1 1e308\n20.2 3\n", CountsError, "line 2: count 1e.308; counts must be below"),
        ("20 1\n20.1 -2\n20.2 3\n", CountsError, "line 2: count -2"),
        ("100 1\n200 2\n300 3\n", AngleError, "line 2: angle 200; two-theta lies between"),
        ("20 0\n20.1 0\n20.2 0\n", CountsError, "all counts are 0"),
        ("20 1\n20.1 2\n", PatternError, "2 points; a pattern has at least 3"),
        ("20 1_0\n20.1 2_0\n20.2 3\n20.3 4\n", PatternError, "2 points|numbers"),
        ("20,02,50\n20,04,51\n20,06,52\n", PatternError, "line 1.*decimal mark"),
        ("20,02 50.5\n20,04 51.5\n20,06 52.5\n", PatternError, "line 1.*decimal mark"),
        ("1.020,5;50\n1.020,6;50\n1.020,7;50\n", PatternError, "line 1.*decimal mark"),
        ("50 20.0\n60 20.1\n40 20.2\n", AngleError, "line 3: angle 40 after 60.*name the columns"),
        ("0.5 20.0 50\n1.0 20.1 40\n1.5 20.2 50\n", PatternError, "both increase.*Name the columns"),
        ("theta counts\n10 5\n11 6\n12 5\n", PatternError, "'theta' is not two-theta"),
        ("energy (keV),counts\n10,5\n11,6\n12,5\n", PatternError, "not two-theta"),
        ("2theta,I1,I2\n10,5,1\n11,6,2\n12,5,3\n", PatternError, "2 may hold the counts"),
        ("2theta,counts,counts\n10,5,1\n11,6,2\n12,5,3\n", PatternError, "2 may hold the counts"),
        ("no numbers\n", PatternError, "no line holds two numbers"),
        ("\0\1\2", UnsupportedFileError, "binary"),
        (" \n\n", EmptyFileError, "0 characters"),
        ("", EmptyFileError, "0 bytes"),
        ("wavelength = 0\nq counts\n1 5\n2 5\n3 6\n", PatternError, "wavelength="),
        ("wavelength = 1e9\nq counts\n1 5\n2 5\n3 6\n", PatternError, "wavelength 1e.09"),
    ],
)  # fmt: skip
def test_what_is_ambiguous_is_an_error_with_line_value_rule_and_remedy(text, error, words):
    with pytest.raises(error, match=words) as caught:
        read(text)
    assert caught.value.item == "p.xy" and caught.value.value and caught.value.rule and caught.value.remedy


def test_announced_numbers_of_points_are_held():
    with pytest.raises(PatternError, match="line 4: 1500 points are announced, the file holds 1,499"):
        rows = samples.rows(angles=ANGLES[:-1], counts=COUNTS[:-1])
        read(f"title\n2-Theta Angle (Degrees)\nIntensity\n  1500\n{rows}", ".chi")
    with pytest.raises(PatternError, match="announces 1,501 counts, the lines up to 188 hold 1,496"):
        read("20.0 0.02 50.0 title\n" + samples.in_lines(COUNTS[:-4], 8), ".dat")


def test_a_read_file(tmp_path):
    path = tmp_path / "scan.XY"
    path.write_text(ROWS)
    pattern = read_pattern(path)
    assert isinstance(pattern, MeasuredPattern) and same(pattern) and pattern.item == str(path)
    assert np.allclose(prepare_measured_pattern(path), prepare_measured_pattern(ANGLES, COUNTS), atol=1e-6)
    for bad in ("none.xy", "a.png"):
        with pytest.raises(UnsupportedFileError, match=bad):
            read_pattern(tmp_path / bad)
    with pytest.raises(UnsupportedFileError):
        read_pattern(tmp_path)
    with pytest.raises(GridError, match="NoKa"):
        read_pattern(path, "NoKa")
    path = tmp_path / "q.dat"
    path.write_text(table(4 * np.pi * np.sin(np.radians(ANGLES) / 2) / 0.7, COUNTS, header="# Q I\n"))
    expected = prepare_measured_pattern(ANGLES, COUNTS, wavelength=0.7)
    assert np.allclose(prepare_measured_pattern(path, wavelength=0.7), expected, atol=0.02)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["# Wavelength: 1.0332e-10 m"], 1.0332),
        (["lambda=  1.49400, T=   0.000"], 1.494),
        (["Wavelength (nm) = 0.07"], 0.7),
        (["K-Alpha1 wavelength,1.5405980", "K-Alpha2 wavelength,1.5444260", "K-Beta wavelength,1.39"], 1.541874),
        (['\'Id: "x" Anode: "Co" Scantype: "Coupled"'], 1.79026),
        (["Detector: Lambda 750K"], None),
        (["nothing"], None),
    ],
)
def test_wavelengths_in_headers(lines, expected):
    assert stated_wavelength(lines, "x") == (expected if expected is None else pytest.approx(expected, abs=1e-6))


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("2θ", "angle"), ("°2Th.", "angle"), ("Pos. [°2Th.]", "angle"), ("TwoTheta", "angle"), ("tth_deg", "angle"),
        ("Omega-2Theta", "angle"), ("I(2theta)", "counts 2"), ("I(Q)", "counts 2"),
        ("Intensity (counts/s)", "counts 2"),
        ("counts", "counts 0"), ("Iobs", "counts 1"), ("cps", "counts 3"), ("q", "q"), ("Q_A^-1", "q"), ("q/nm-1", "q"),
        ("d-value", "d"), ("d [Å]", "d"), ("date", "unknown"), ("delta", "unknown"), ("quartz", "unknown"),
        ("sigma", "error"), ("Ycalc", "calculated"), ("time", "time"), ("theta", "theta"), ("Energy", "other axis"),
    ],
)  # fmt: skip
def test_roles_of_names(name, role):
    assert role_of(name) == role


def xrdml(*scans, **options):
    return read(samples.xrdml(*scans, **options), ".xrdml")


def seconds(time):
    return f"<commonCountingTime>{time}</commonCountingTime>"


HALVES = [(ANGLES[:750], COUNTS[:750]), (ANGLES[750:], COUNTS[750:])]


def test_scans_of_adjacent_ranges_are_joined_in_any_order():
    for order in (HALVES, HALVES[::-1]):
        pattern = xrdml(*(samples.scan_of_xrdml(*half) for half in order))
        assert same(pattern) and pattern.counting_time == 1 and "2 ranges were joined" in pattern.notes[0]


def test_ranges_that_share_points_average_them():
    shared = (ANGLES[:800], COUNTS[:800]), (ANGLES[700:], COUNTS[700:])
    pattern = xrdml(*(samples.scan_of_xrdml(*part) for part in shared))
    assert same(pattern) and "averaged" in " ".join(pattern.notes)


def test_repeated_scans_are_summed():
    pattern = xrdml(*[samples.scan_of_xrdml()] * 3)
    assert np.allclose(pattern.counts, 3 * COUNTS) and pattern.counting_time == 3 and "summed" in pattern.notes[0]


def test_counting_times_are_brought_to_one_rate():
    (low, few), (high, many) = HALVES
    pattern = xrdml(samples.scan_of_xrdml(low, few), samples.scan_of_xrdml(high, 4 * many, seconds(4)))
    assert np.allclose(pattern.counts / pattern.counting_time, COUNTS) and "same counting time" in pattern.notes[-1]
    times = np.where(ANGLES > 40, 3.0, 1.0)
    listed = f"<countingTimes>{' '.join(map(str, times))}</countingTimes>"
    pattern = xrdml(samples.scan_of_xrdml(ANGLES, COUNTS * times, listed))
    assert np.allclose(pattern.counts / pattern.counting_time, COUNTS)
    with pytest.raises(PatternError, match="counting time"):
        xrdml(samples.scan_of_xrdml(time=seconds(0)))


def test_attenuation_is_undone_for_counts_alone():
    factors = np.where(COUNTS > 500, 10.0, 1.0)
    extra = f"<beamAttenuationFactors>{' '.join(map(str, factors))}</beamAttenuationFactors>"
    scan = samples.scan_of_xrdml(ANGLES, COUNTS / factors, extra=extra)
    assert same(xrdml(scan)) and "beamAttenuationFactors" in xrdml(scan).notes[0]
    stored = scan.replace("<counts>", "<intensities>").replace("</counts>", "</intensities>")
    assert np.allclose(xrdml(stored).counts, COUNTS / factors)  # the schema says: multiplied already
    with pytest.raises(PatternError, match="2 beamAttenuationFactors and 1,500 counts"):
        xrdml(samples.scan_of_xrdml(extra="<beamAttenuationFactors>1 2</beamAttenuationFactors>"))


def test_other_scans_of_an_xrdml():
    fixed = samples.scan_of_xrdml().replace(
        "<startPosition>20.0</startPosition>", "<commonPosition>30</commonPosition>"
    )
    pattern = xrdml(fixed, samples.scan_of_xrdml())
    assert same(pattern) and "left out: 1" in pattern.notes[0]
    with pytest.raises(PatternError, match="axis 2Theta"):
        xrdml(fixed)
    with pytest.raises(PatternError, match="axis 2Theta"):
        xrdml(samples.scan_of_xrdml(axis="Omega"))
    with pytest.raises(CrystalInputError, match="wavelength 99 Å"):
        xrdml(samples.scan_of_xrdml(), wavelength="<kAlpha1>99</kAlpha1>")


ILL = "D1A5 Title: 1.9114 A LaNi5\n  20.0 0.1 20.7\n" + "".join("  70. 80. 90. 100.\n" for _ in range(2))
PSI = 'powder\nlambda= 1.49400, T= 0.0, dT= 0.0, Date=2001-06-16\n 20.0 0.1 20.7 100., sample="a"\n'
PSI += " 70. 80. 90. 100. 90.\n 70. 80. 90.\n"


@pytest.mark.parametrize(
    ("text", "neutrons"),
    [
        (ILL, True),
        (PSI, True),
        ("# Neutron diffraction\n20.0 15\n20.1 17\n20.2 14\n", True),
        (ILL.replace("D1A5", "DBWS"), False),
        ("# sample D1A5, X-rays\n20.0 15\n20.1 17\n20.2 14\n", False),
    ],
)
def test_intensities_of_neutrons_are_noted(text, neutrons):
    pattern = read_pattern_bytes(text.encode(), "a", ".dat")
    assert (NEUTRONS in pattern.notes) == neutrons == (NEUTRONS in repr(pattern))
