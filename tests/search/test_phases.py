"""Patterns of real crystals, disturbed as measurements are, and what they are taken for."""

import numpy as np
import pytest

import deepchem_crystalssl as dcs
from deepchem_crystalssl.errors import CountsError, QueryError
from deepchem_crystalssl.diffraction.grid import resolve_wavelength
from deepchem_crystalssl.diffraction.conditions import HARD, MeasurementConditions, measure_patterns
from deepchem_crystalssl.search import EmbeddingIndex, Filter

GRID = dcs.XRDGrid(wavelength="CuKa1")


@pytest.fixture(scope="module")
def index(prototypes):
    return EmbeddingIndex.from_structures(prototypes, "small", patterns=True, progress=False)


def crystal_of(prototypes, name):
    return next(crystal for crystal in prototypes if crystal.material_id == name)


def counts_of(crystal, conditions=HARD, seed=0, height=5000.0, background=80.0):
    """Counts with Poisson noise over a background, every 0.02 degrees."""
    ideal = measure_patterns([crystal], conditions, GRID, seed)[0].astype(float)
    return np.random.default_rng(seed).poisson(height * ideal + background + 100 * np.exp(-GRID.two_theta / 30))


@pytest.mark.parametrize("wavelength", ["CuKa1", "CoKa1", "MoKa1"])
def test_a_measured_pattern_is_known_again(index, prototypes, wavelength):
    crystal = crystal_of(prototypes, "AB_hP12_186_a2b_a2b")
    length = resolve_wavelength(wavelength)
    sines = np.sin(np.radians(GRID.two_theta / 2)) * length / 1.54056
    reached = sines < 0.98
    angles = 2 * np.degrees(np.arcsin(sines[reached]))
    found = index.query_pattern(angles, counts_of(crystal)[reached], wavelength, k=3)
    assert found[0].material_id == crystal.material_id and found[0].confidence in ("high", "fair")
    assert found[0].formula == "SiC" and found[0].space_group == 186
    assert abs(found[0].cell_scale - 1) < 0.012 and crystal.material_id in found.verdict
    assert [match.score for match in found] == sorted((match.score for match in found), reverse=True)
    assert found.to_frame()["score"].tolist() == [match["score"] for match in found]


@pytest.mark.once
def test_most_patterns_of_a_poor_day_are_known_again(index, prototypes):
    first = [
        index.query_pattern(GRID.two_theta, counts_of(prototypes[n], seed=n), "CuKa1", k=1)[0].formula
        == prototypes[n].reduced_formula
        for n in range(5, 285, 28)
    ]
    assert sum(first) >= 8  # of ten


def test_elements_and_filters(index, prototypes):
    counts = counts_of(crystal_of(prototypes, "AB_hP12_186_a2b_a2b"))
    found = index.query_pattern(GRID.two_theta, counts, "CuKa1", k=5, elements=["Si", "O", "C"])
    assert found[0].formula == "SiC"
    assert all(set(match.crystal.chemical_system.split("-")) <= {"Si", "O", "C"} for match in found)
    alone = index.query_pattern(GRID.two_theta, counts, "CuKa1", k=5, elements=["Fe", "S"])
    assert {match.confidence for match in alone} == {"none"}  # the only compound left is not a sure one for that
    no_carbon = index.query_pattern(GRID.two_theta, counts, "CuKa1", k=5, filter=Filter(without=["C"]))
    assert all("C" not in match.crystal.chemical_system.split("-") for match in no_carbon)
    with pytest.raises(QueryError, match="no crystal is left"):
        index.query_pattern(GRID.two_theta, counts, elements=["Og"])


def test_a_mixture_gives_its_phases(index, prototypes):
    main, rest = (crystal_of(prototypes, name) for name in ("AB2_cP12_205_a_c", "AB_hP12_186_a2b_a2b"))
    counts = counts_of(main) + counts_of(rest, height=2500.0)
    found = index.query_pattern(GRID.two_theta, counts, "CuKa1", k=3)
    assert found[0].formula == "FeS2"
    assert {phase.formula for phase in found.phases} == {"FeS2", "SiC"}
    assert sum(phase.weight_fraction for phase in found.phases) == pytest.approx(1.0, abs=1e-3)
    assert found.verdict.startswith("It may be a mixture of ") and "FeS2" in found.verdict and "SiC" in found.verdict
    assert found.unexplained < 0.05 and "another phase" not in found.verdict
    one = index.query_pattern(GRID.two_theta, counts, "CuKa1", k=3, phases=1)
    assert len(one.phases) == 1 and one.unexplained > 0.1 and "another phase" in one.verdict
    assert found.calculated.sum() > 1.2 * one.calculated.sum()
    alone = index.query_pattern(GRID.two_theta, counts_of(main), "CuKa1", k=3)
    assert [phase.material_id for phase in alone.phases] == [alone[0].material_id]
    assert alone.phases[0].weight_fraction == 1.0
    assert alone.unexplained < 0.05 and "another phase" not in alone.verdict


@pytest.mark.parametrize("phases", [0, -1, 1.5, True, "two"])
def test_a_number_of_phases_that_is_none(index, prototypes, phases):
    counts = counts_of(crystal_of(prototypes, "AB2_cP12_205_a_c"))
    with pytest.raises(QueryError, match="phases"):
        index.query_pattern(GRID.two_theta, counts, phases=phases)


def test_nothing_fits(index):
    rng = np.random.default_rng(0)
    lines = rng.uniform(12, 100, 40)
    counts = 50 + sum(h * np.exp(-((GRID.two_theta - x) ** 2) / 0.02) for x, h in zip(lines, rng.uniform(200, 999, 40)))
    found = index.query_pattern(GRID.two_theta, counts, "CuKa1", k=3)
    assert found[0].confidence == "none" and found.verdict.startswith("Nothing fits")


def test_a_coarse_and_short_measurement(index, prototypes):
    crystal = crystal_of(prototypes, "AB2_cP12_205_a_c")
    counts = counts_of(crystal, MeasurementConditions(fwhm=(0.25, 0.25), strain=0.005))
    part = slice(500, 3000, 4)  # 20-70 degrees, every 0.08
    found = index.query_pattern(GRID.two_theta[part], counts[part], "CuKa1", k=3)
    assert "FeS2" in [match.formula for match in found]


def test_a_file_and_a_picture(index, prototypes, tmp_path):
    from PIL import Image

    counts = counts_of(crystal_of(prototypes, "AB2_cP12_205_a_c"))
    np.savetxt(tmp_path / "pyrite.xy", np.stack([GRID.two_theta, counts], axis=1))
    found = index.query_pattern(tmp_path / "pyrite.xy", wavelength="CuKa1", k=2)
    assert found[0].formula == "FeS2"
    found.plot().savefig(tmp_path / "pyrite.png", dpi=60)
    pixels = np.asarray(Image.open(tmp_path / "pyrite.png").convert("RGB"))
    red = (pixels[..., 0] > 150) & (pixels[..., 1] < 90)
    assert red.sum() > 100  # the calculated curve is drawn
    only = index.query_pattern(tmp_path / "pyrite.xy", k=1)
    for rank in (2, 0, -1, 1.0):
        with pytest.raises(QueryError, match="^rank: .*there is 1 answer, ranked from 1"):
            only.plot(rank)
    html = found._repr_html_()
    assert "data:image/png" in html and "FeS<sub>2</sub>" in html and "<i>Pa</i>" in html and "zero shift" not in html
    with pytest.raises(CountsError):
        index.query_pattern(GRID.two_theta, np.zeros(len(counts)))


def write_scan(folder, suffix, angles, counts):
    """A file that states the wavelengths of copper (xrdml), or none (xy)."""
    path = folder / f"scan{suffix}"
    rows = "\n".join(f"{x:.4f} {y:.2f}" for x, y in zip(angles, counts, strict=True))
    numbers = " ".join(f"{y:.2f}" for y in counts)
    xrdml = (
        "<xrdMeasurements><xrdMeasurement><usedWavelength intended='K-Alpha'><kAlpha1>1.540598</kAlpha1>"
        "<kAlpha2>1.544426</kAlpha2></usedWavelength><scan><dataPoints><positions axis='2Theta'>"
        f"<startPosition>{angles[0]:.4f}</startPosition><endPosition>{angles[-1]:.4f}</endPosition></positions>"
        f"<counts>{numbers}</counts></dataPoints></scan></xrdMeasurement></xrdMeasurements>"
    )
    path.write_text(xrdml if suffix == ".xrdml" else rows)
    return path


@pytest.fixture(scope="module")
def pyrite_doublet(prototypes):
    """Angles and counts of pyrite with both lines of copper, and a cell .4 % larger."""
    crystal = crystal_of(prototypes, "AB2_cP12_205_a_c")
    larger = dcs.Crystal(crystal.atomic_numbers, crystal.frac_coords, 1.004 * crystal.lattice, "larger")
    first, second = (
        dcs.simulate_xrd(larger, dcs.XRDGrid(15, 100, 8500, f"CuKa{n}", fwhm=0.1), normalize=False)[0] for n in (1, 2)
    )
    counts = np.asarray(first + second / 2, float)
    return dcs.XRDGrid(15, 100, 8500).two_theta, 20 + 5000 * counts / counts.max()


@pytest.mark.parametrize("wavelength", ["CuKa", "CuKa1", 1.5406, 1.5418, None, "file"])
def test_the_cell_is_that_of_k_alpha_1(index, pyrite_doublet, tmp_path, wavelength):
    suffix, given = (".xrdml", None) if wavelength == "file" else (".xy", wavelength)
    found = index.query_pattern(write_scan(tmp_path, suffix, *pyrite_doublet), None, given, k=1)
    assert found[0].formula == "FeS2" and found[0].cell_scale == pytest.approx(1.004, rel=1e-4)
    source = {"file": "file", None: "assumed"}.get(wavelength, "given")
    assert found.radiation.source == source
    assert ("Cu K-alpha, assumed" in found.verdict) == (source == "assumed")


def test_one_file_gives_one_answer(index, pyrite_doublet, tmp_path):
    """The wavelength in a file counts, and one that is given counts more."""
    file = write_scan(tmp_path, ".xrdml", *pyrite_doublet)
    mean = (2 * 1.540598 + 1.544426) / 3
    by_file, given = index.query_pattern(file, k=1), index.query_pattern(file, None, mean, k=1)
    assert by_file[0].cell_scale == given[0].cell_scale and by_file[0].score == given[0].score
    other = index.query_pattern(file, None, "CoKa", k=1)
    assert other.radiation.wavelength == 1.79026 and other.radiation.source == "given"
