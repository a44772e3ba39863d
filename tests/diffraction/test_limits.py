"""Limits of files of measured patterns: each is an argument, and an error names it."""

import io
import zipfile

import numpy as np
import pytest

from deepchem_crystalssl import XRDGrid, prepare_measured_pattern, read_pattern
from deepchem_crystalssl.diffraction.limits import PatternLimits, limits_in_force
from deepchem_crystalssl.diffraction.pattern_files import read_pattern_bytes, read_pattern_file, read_pattern_text
from deepchem_crystalssl.errors import CrystalInputError

COLUMNS = "".join(f"{20 + 0.02 * k:.2f} {100 + k % 7}\n" for k in range(400))
SCAN = (
    '<scan><dataPoints><positions axis="2Theta" unit="deg"><startPosition>20</startPosition>'
    "<endPosition>21</endPosition></positions><intensities>1 2 3 4 5</intensities></dataPoints></scan>"
)
XRDML = f"<xrdMeasurements><xrdMeasurement>{SCAN * 3}</xrdMeasurement></xrdMeasurements>"


def archive(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for number in range(members):
            file.writestr(f"Other{number}.txt", "x" * 1000)
        rows = "".join(f"<Datum>1,1,{20 + 0.02 * k},{9 + k % 5}</Datum>" for k in range(9))
        route = (
            '<DataRoute><DataViews><RawDataView Start="0" Length="2" LogicName="MeasuredTime"/></DataViews>'
            f"{rows}</DataRoute>"
        )
        file.writestr("Experiment0/RawData0.xml", f"<RawData>{route}</RawData>")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "name, number, data, suffix",
    [
        ("file_bytes", 1000, COLUMNS.encode(), ".xy"),
        ("points", 399, COLUMNS.encode(), ".xy"),
        ("points", 4, XRDML.encode(), ".xrdml"),
        ("scans", 2, XRDML.encode(), ".xrdml"),
        ("elements", 15, XRDML.encode(), ".xrdml"),
        ("depth", 4, XRDML.encode(), ".xrdml"),
        ("members", 5, archive(5), ".brml"),
        ("unpacked_bytes", 100, archive(5), ".brml"),
    ],
)
def test_each_limit_is_an_argument_and_the_error_names_it(name, number, data, suffix):
    with pytest.raises(CrystalInputError, match=rf"(?s)quartz: .*pass\s+limits=PatternLimits\({name}=\.\.\.\)"):
        read_pattern_bytes(data, "quartz", suffix, limits=PatternLimits(**{name: number}))
    assert limits_in_force() == PatternLimits()
    if suffix != ".brml":
        assert len(read_pattern_bytes(data, "quartz", suffix)) in (400, 5)


def test_larger_limits_read_what_is_refused_by_default(tmp_path):
    path = tmp_path / "long.xy"
    number = PatternLimits().points + 1
    angles = np.linspace(5, 175, number)
    path.write_text("\n".join(f"{angle:.6f} 7" for angle in angles))
    with pytest.raises(CrystalInputError, match="500,001 points"):
        read_pattern(path)
    assert len(read_pattern(path, limits=PatternLimits(points=number))) == number


def test_all_readers_take_limits(tmp_path):
    path, few = tmp_path / "quartz.xy", PatternLimits(points=10)
    path.write_text(COLUMNS)
    for read in (read_pattern, read_pattern_file):
        with pytest.raises(CrystalInputError, match="at most 10 points"):
            read(path, limits=few)
    with pytest.raises(CrystalInputError, match="at most 10 points"):
        read_pattern_text(COLUMNS, "quartz", limits=few)
    with pytest.raises(CrystalInputError, match="at most 10 points"):
        prepare_measured_pattern(path, grid=XRDGrid(n_bins=500), limits=few)
    assert prepare_measured_pattern(path, grid=XRDGrid(n_bins=500)).shape == (500,)
