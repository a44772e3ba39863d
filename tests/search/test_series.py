"""Many measured patterns: their table, their picture, and bad files among them."""

import numpy as np
import pandas as pd
import pytest

from deepchem_crystalssl import XRDGrid
from deepchem_crystalssl.cli import main
from deepchem_crystalssl.diffraction.conditions import HARD, measure_patterns
from deepchem_crystalssl.errors import CountsError, Report
from deepchem_crystalssl.search import EmbeddingIndex

GRID = XRDGrid(wavelength="CuKa1")
PYRITE, CARBIDE = "AB2_cP12_205_a_c", "AB_hP12_186_a2b_a2b"


@pytest.fixture(scope="module")
def index(prototypes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("series") / "index"
    made = EmbeddingIndex.from_structures(prototypes, "small", patterns=True, progress=False)
    made.save(folder)
    made.folder = folder
    return made


@pytest.fixture(scope="module")
def scans(index, prototypes, tmp_path_factory):
    """Pyrite that becomes silicon carbide: frames 1, 2 and 10, and a file that holds nothing."""
    folder = tmp_path_factory.mktemp("scans")
    parts = [
        measure_patterns([next(c for c in prototypes if c.material_id == name)], HARD, GRID, 0)[0].astype(float)
        for name in (PYRITE, CARBIDE)
    ]
    for frame, share in ((1, 1.0), (2, 0.5), (10, 0.0)):
        counts = np.random.default_rng(frame).poisson(6000 * (share * parts[0] + (1 - share) * parts[1]) + 80)
        np.savetxt(folder / f"frame_{frame}.xy", np.stack([GRID.two_theta, counts], axis=1))
    (folder / "frame_3.xy").write_text("no numbers\n")
    return folder


def test_a_series_becomes_a_table_and_a_picture(index, scans, tmp_path):
    files = [scans / f"frame_{frame}.xy" for frame in (1, 2, 3, 10)]
    report = Report()
    series = index.query_patterns(files, "CuKa1", on_error="skip", report=report, progress=False)
    assert len(series) == 4 and series[2] is None and report.indices == [2]
    shares = series.weight_fractions()
    assert shares.index.tolist() == [file.name for file in files] and set(shares) == {"FeS2, 205", "SiC, 186"}
    pyrite = shares["FeS2, 205"].to_numpy()
    assert pyrite[0] == 1.0 and 0.1 < pyrite[1] < 0.95 and np.isnan(pyrite[2]) and pyrite[3] == 0.0
    assert np.allclose(shares.sum(axis=1)[[True, True, False, True]], 1.0, atol=1e-3)
    table = series.to_frame()
    assert table["pattern"].tolist() == ["frame_1.xy", "frame_2.xy", "frame_2.xy", "frame_3.xy", "frame_10.xy"]
    assert table["phase"].isna().tolist() == [False, False, False, True, False]
    assert table["probability"].dropna().between(0, 1).all()
    series.plot().savefig(tmp_path / "series.png", dpi=50)
    assert (tmp_path / "series.png").stat().st_size > 10_000
    assert "frame_10.xy" in repr(series) and "<table" in series._repr_html_()


def test_a_bad_pattern_is_an_error_unless_it_is_skipped(index):
    counts = np.zeros(GRID.n_bins)
    with pytest.raises(CountsError):
        index.query_patterns([(GRID.two_theta, counts)], progress=False)
    with pytest.warns(UserWarning, match="all counts are 0"):
        series = index.query_patterns([(GRID.two_theta, counts)], on_error="warn", progress=False)
    assert list(series) == [None] and series.names == ("pattern 1",)


def test_options_hold_for_every_pattern_of_a_series(index, scans):
    series = index.query_patterns([scans / "frame_2.xy"], "CuKa1", elements=["Fe", "S"], phases=1, progress=False)
    assert [phase.formula for phase in series[0].phases] == ["FeS2"]


def test_a_batch_on_the_command_line(index, scans, capsys):
    files = [str(file) for file in sorted(scans.glob("*.xy"))]  # frame_10 comes second
    common = ["--index", str(index.folder), "--wavelength", "CuKa1", "-q"]
    assert main(["search", *files, *common, "-o", str(scans / "all.csv"), "--picture", str(scans / "all.png")]) == 0
    printed = capsys.readouterr().out
    assert printed.index("frame_2.xy") < printed.index("frame_10.xy")
    assert "left out: " in printed and "frame_3.xy" in printed.split("left out: ")[1]
    table = pd.read_csv(scans / "all.csv")
    assert table.groupby("pattern", sort=False).size().to_dict() == {
        "frame_1.xy": 1, "frame_2.xy": 2, "frame_3.xy": 1, "frame_10.xy": 1,
    }  # fmt: skip
    assert (scans / "all.png").stat().st_size > 10_000
    assert main(["search", str(scans / "frame_3.xy"), str(scans / "frame_3.xy"), *common]) == 1
    assert main(["search", files[0], "mp-1", *common]) == 2
    assert "without crystals" in capsys.readouterr().err


def test_a_pattern_that_nothing_fits_has_no_phases_in_the_picture(index, scans):
    rng = np.random.default_rng(0)
    lines = sum(
        h * np.exp(-((GRID.two_theta - x) ** 2) / 0.02)
        for x, h in zip(rng.uniform(12, 100, 40), rng.uniform(200, 999, 40), strict=True)
    )
    series = index.query_patterns(
        [scans / "frame_1.xy", (GRID.two_theta, 50 + lines)], "CuKa1", phases=1, progress=False
    )
    assert series[1].nothing_fits and not series[0].nothing_fits
    assert series.weight_fractions().isna().all(axis=1).tolist() == [False, True]
    assert series.to_frame()["verdict"][1].startswith("Nothing fits")
