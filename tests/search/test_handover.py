"""What is handed over of the answer of a measured pattern: R factors, reflections, CIF files, figure, report, files."""

import csv
import re
import shutil
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifParser

import deepchem_crystalssl as dcs
from deepchem_crystalssl.cli import main
from deepchem_crystalssl.crystals.cif.reading import read_cif
from deepchem_crystalssl.crystals.cif.writing import cell_angles, write_cif_text
from deepchem_crystalssl.crystals.formats.convert import to_crystal
from deepchem_crystalssl.crystals.symmetry import StandardSetting, space_group
from deepchem_crystalssl.diffraction.conditions import HARD, measure_patterns
from deepchem_crystalssl.diffraction.fitting import Texture, allowed_strains, fit
from deepchem_crystalssl.diffraction.measurement import Measurement
from deepchem_crystalssl.diffraction.measured import Scan
from deepchem_crystalssl.diffraction.radiation import Radiation
from deepchem_crystalssl.errors import QueryError
from deepchem_crystalssl.search import PatternAnswer, Phase, PhaseMatch
from deepchem_crystalssl.search.agreement import Agreement, are_counts
from deepchem_crystalssl.search.mixtures import Part, Proposal, refitted, weight_fractions

ANGLES = np.arange(15.0, 100.0, 0.02)
WAVELENGTH = 1.54056
STRUCTURES = {
    "Si": Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.431), ["Si"], [[0, 0, 0]]),
    "NaCl": Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "rutile": Structure.from_spacegroup(
        "P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
    ),
    "quartz": Structure.from_spacegroup(
        "P3_221", Lattice.hexagonal(4.913, 5.405), ["Si", "O"], [[0.4697, 0, 0], [0.4135, 0.2669, 0.1191]]
    ),
    "baddeleyite": Structure.from_spacegroup(
        "P2_1/c", Lattice.monoclinic(5.145, 5.207, 5.311, 99.2), ["Zr", "O", "O"],
        [[0.275, 0.040, 0.208], [0.070, 0.332, 0.345], [0.450, 0.757, 0.479]],
    ),
    "alloy": Structure.from_spacegroup(
        "P6_3/mmc", Lattice.hexagonal(2.66, 4.3), [{"Ti": 0.6, "V": 0.3}], [[1 / 3, 2 / 3, 0.25]]
    ),
}  # fmt: skip
STRAIN = 1.003
SHIFT = 0.03


def lines_of(structure):
    return XRDCalculator(WAVELENGTH).get_pattern(structure, scaled=False, two_theta_range=(10, 105))


def counts_of(shares, seed=0, height=20_000.0):
    """Counts of a mixture with stretched cells and a zero shift, from the intensities that pymatgen gives."""
    counts = np.zeros(len(ANGLES))
    for name, share in shares.items():
        structure = STRUCTURES[name].copy()
        structure.scale_lattice(STRAIN**3 * structure.volume)
        pattern = lines_of(structure)
        for two_theta, intensity in zip(pattern.x, pattern.y, strict=True):
            x = (ANGLES - two_theta - SHIFT) / 0.12
            counts += share * intensity / max(pattern.y) * np.exp(-4 * np.log(2) * x**2)
    counts = height * counts / counts.max() + 200 + 300 * np.exp(-ANGLES / 20)
    return np.random.default_rng(seed).poisson(counts).astype(float)


def answer_of(shares, counts=None, names=None, item="pattern", source="given"):
    """The answer of a search that knows which crystals there are."""
    scan = Scan(ANGLES, counts_of(shares) if counts is None else counts, Radiation(WAVELENGTH, source), item)
    measurement = Measurement.of(scan.angles, scan.counts, WAVELENGTH)
    crystals = [to_crystal(STRUCTURES[name], name) for name in shares]
    parts = [Part(Proposal(k, c, 0.5, 0.003), fit(measurement, c, 0.003)) for k, c in enumerate(crystals)]
    parts = refitted(measurement, parts)
    fractions, errors = weight_fractions(measurement, parts)
    names = list(shares) if names is None else names
    phases, matches = [], []
    for rank, (name, part, fraction, error) in enumerate(zip(names, parts, fractions, errors, strict=True), start=1):
        crystal, one = part.proposal.crystal, part.fit
        formula, group = crystal.reduced_formula, space_group(crystal)
        phases.append(Phase(name, formula, group, fraction, error, 0.95, (name,), 0.9, one.cell_scale, crystal, one))
        matches.append(
            PhaseMatch(name, rank, 0.9, one.cosine, 0.9, 0.95, "high", formula, group, one.r_wp, one.cell_scale,
                       one.zero_shift, one.fwhm, (), crystal, one)
        )  # fmt: skip
    return PatternAnswer(matches, measurement, scan, phases)


@pytest.fixture(scope="module")
def silicon():
    return answer_of({"Si": 1.0})


@pytest.fixture(scope="module")
def mixture():
    return answer_of({"rutile": 1.0, "NaCl": 0.6, "alloy": 0.4})


# --- R factors ------------------------------------------------------------------------------------


def perfect(counts, lines, background):
    """The R factors of silicon if its calculated pattern is what was measured, but for the noise."""
    scan = Scan(ANGLES, counts, Radiation(WAVELENGTH, "given"), "pattern")
    measurement = Measurement.of(ANGLES, counts, WAVELENGTH)
    crystal = to_crystal(STRUCTURES["Si"], "Si")
    bins = measurement.grid.two_theta
    known = replace(measurement, background=np.interp(bins, ANGLES, background))
    found = replace(fit(measurement, crystal, 0.0), calculated=np.interp(bins, ANGLES, lines))
    return Agreement.of(scan, known, [(crystal, found)])


def test_a_true_model_of_counts_has_a_goodness_of_fit_of_one():
    background = np.full(len(ANGLES), 150.0)
    lines = 5000 * np.exp(-(((ANGLES - 28.4) / 0.1) ** 2)) + 2000 * np.exp(-(((ANGLES - 47.3) / 0.1) ** 2))
    counts = np.random.default_rng(1).poisson(lines + background).astype(float)
    agreement = perfect(counts, lines, background)
    assert agreement.goodness_of_fit == pytest.approx(1.0, abs=0.04)
    wrong = perfect(counts, 0.6 * lines, background)
    assert wrong.goodness_of_fit > 1.2 and wrong.r_wp > agreement.r_wp and wrong.r_exp == agreement.r_exp
    too_low = perfect(counts, lines, background - 40.0)
    assert too_low.goodness_of_fit == pytest.approx(1.0, abs=0.04)  # the background is refined


def test_r_factors_are_those_of_the_formula(silicon):
    inside = (ANGLES >= silicon.two_theta[0]) & (ANGLES <= silicon.two_theta[-1])
    y, x = silicon.scan.counts[inside], ANGLES[inside]
    background = np.interp(x, silicon.two_theta, silicon.measurement.background) + silicon.agreement.background(x)
    model = background + np.interp(x, silicon.two_theta, silicon.calculated)
    squares = sum((a - b) ** 2 / a for a, b in zip(y, model, strict=True))
    assert silicon.r_wp == pytest.approx(np.sqrt(squares / y.sum()))
    assert silicon.r_wp_above_background == pytest.approx(np.sqrt(squares / ((y - background) ** 2 / y).sum()))
    assert silicon.r_exp == pytest.approx(np.sqrt((len(y) - (6 + 4 + 1)) / y.sum()))
    assert silicon.goodness_of_fit == pytest.approx(silicon.r_wp / silicon.r_exp)
    assert silicon.r_wp_above_background > silicon.r_wp


def test_every_phase_has_its_parameters(mixture):
    strains = sum(len(allowed_strains(phase.crystal)) for phase in mixture.phases)
    assert strains == 2 + 1 + 2 and mixture.agreement.n_parameters == 6 + 3 * 4 + strains


@pytest.mark.parametrize("change", ["to one", "to a hundred", "per second", "smoothed", "averaged", "times three"])
def test_what_is_no_count_has_no_expected_r_factor(change):
    counts = counts_of({"Si": 1.0})
    changed = {
        "to one": counts / counts.max(),
        "to a hundred": 100 * counts / counts.max(),
        "per second": np.round(counts / 7.5, 1),
        "smoothed": np.round(np.convolve(counts, np.ones(5) / 5, "same")),
        "averaged": (counts + counts_of({"Si": 1.0}, seed=1)) / 2,
        "times three": 3 * counts,
    }[change]
    assert are_counts(counts) and not are_counts(changed)
    answer = answer_of({"Si": 1.0}, changed)
    assert answer.r_exp is None and answer.goodness_of_fit is None and 0 < answer.r_wp < 1
    assert "no counts" in report_of(answer)


def test_the_r_factor_does_not_depend_on_the_unit():
    counts = counts_of({"Si": 1.0})
    assert answer_of({"Si": 1.0}, counts / 1000).r_wp == pytest.approx(answer_of({"Si": 1.0}, counts).r_wp, rel=1e-3)


@pytest.mark.parametrize("mean", [3.0, 50.0, 100_000.0])
def test_counts_are_known_by_their_scatter(mean):
    lines = 1.0 + 5 * np.exp(-(((ANGLES - 50) / 0.1) ** 2))
    counts = np.random.default_rng(0).poisson(mean * lines).astype(float)
    assert are_counts(counts)
    assert not are_counts(np.round(counts / 4)) or mean == 3.0  # of very few counts the rounding is seen only
    assert not are_counts(np.round(mean * lines))  # a calculated pattern


# --- Reflections ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STRUCTURES)
def test_reflections_are_those_of_pymatgen(name):
    answer = answer_of({name: 1.0})
    (phase,) = answer.phases
    refined = phase.setting.crystal.to_structure()
    theirs = lines_of(refined)
    ours = answer.reflections()
    assert set(ours["material_id"]) == {name} and ours["phase"].eq(1).all()
    angle = ours["two_theta"] - phase.refined.zero_shift
    strongest = 0.0
    for two_theta, intensity, hkls, d in zip(theirs.x, theirs.y, theirs.hkls, theirs.d_hkls, strict=True):
        if not 15.5 < two_theta < 99.5 or intensity < 1e-3 * max(theirs.y):
            continue
        own = ours[np.abs(angle - two_theta) < 1e-4]  # reflections of equal spacing are one line there
        absent = 6 if name == "quartz" and hkls[0]["hkl"] == (2, 0, -2, 2) else 0  # 2 0 2 is too weak, 0 2 2 is not
        assert own["multiplicity"].sum() == sum(one["multiplicity"] for one in hkls) - absent
        assert own["d"].mean() == pytest.approx(d, abs=1e-5)
        sin2 = np.sin(np.radians(two_theta / 2)) ** 2
        factor = (1 + np.cos(np.radians(two_theta)) ** 2) / (sin2 * np.sqrt(1 - sin2))
        assert (own["multiplicity"] * own["f_squared"]).sum() * factor == pytest.approx(intensity, rel=2e-3)
        if not strongest:
            strongest = own["intensity_calculated"].sum() / intensity
        assert own["intensity_calculated"].sum() / intensity == pytest.approx(strongest, rel=2e-3)
    assert strongest


def test_no_reflection_is_missing_and_none_is_listed_twice(mixture):
    table = mixture.reflections()
    for number, phase in enumerate(mixture.phases, start=1):
        own = table[table["phase"] == number]
        indices = [tuple(row) for row in own[["h", "k", "l"]].to_numpy()]
        assert len(set(indices)) == len(indices)
        rotations = np.unique(phase.setting.rotations, axis=0)
        for hkl, multiplicity in zip(indices, own["multiplicity"], strict=True):
            turned = {tuple(sign * np.array(hkl) @ rotation) for rotation in rotations for sign in (1, -1)}
            assert len(turned) == multiplicity and len(turned & set(indices)) == 1
        assert own["two_theta"].is_monotonic_increasing
        assert own["two_theta"].between(mixture.two_theta[0] - 0.02, mixture.two_theta[-1] + 0.02).all()


def test_indices_are_those_that_books_list(silicon):
    table = silicon.reflections()
    known = [(1, 1, 1, 8), (2, 2, 0, 12), (3, 1, 1, 24), (4, 0, 0, 6), (3, 3, 1, 24), (4, 2, 2, 24)]
    assert [tuple(row) for row in table[["h", "k", "l", "multiplicity"]].to_numpy()[:6]] == known
    cell = 5.431 * STRAIN
    assert table["d"][0] == pytest.approx(cell / np.sqrt(3), rel=2e-4)
    true = 2 * np.degrees(np.arcsin(WAVELENGTH / 2 / (cell / np.sqrt(3)))) + SHIFT
    assert table["two_theta"][0] == pytest.approx(true, abs=0.01)


def test_measured_areas_are_those_under_the_lines(silicon):
    """Lines that stand alone, whose area can be summed."""
    table = silicon.reflections()
    for row in table[table["two_theta"] < 60].itertuples():
        near = np.abs(ANGLES - row.two_theta) < 0.4
        background = np.median(silicon.scan.counts[(np.abs(ANGLES - row.two_theta) < 1.5) & ~near])
        area = (silicon.scan.counts[near] - background).sum() * 0.02
        assert row.intensity_observed == pytest.approx(area, rel=0.05)


def test_a_perfect_fit_measures_what_it_calculates(mixture):
    """Counts are divided without loss, and a phase with more counts than calculated gets them."""
    same = replace(mixture.measurement, counts=mixture.calculated)
    answer = PatternAnswer(list(mixture), same, mixture.scan, mixture.phases)
    answer.__dict__["agreement"] = replace(mixture.agreement, background=lambda x: 0.0 * x)
    table = answer.reflections()
    assert np.allclose(table["intensity_observed"], table["intensity_calculated"], rtol=1e-6)
    inside = table[table["two_theta"].between(20, 95)]
    assert inside["intensity_calculated"].sum() == pytest.approx(
        mixture.calculated.sum() * mixture.measurement.grid.step, rel=0.1
    )
    answer.measurement = replace(mixture.measurement, counts=2 * mixture.calculated)
    assert np.allclose(answer.reflections()["intensity_observed"], 2 * table["intensity_calculated"], rtol=1e-6)


def test_overlapping_lines_share_what_was_measured():
    answer = answer_of({"Si": 1.0, "NaCl": 1.0})
    first, second = answer.phases
    twin = replace(
        second, refined=replace(first.refined, calculated=first.refined.calculated / 3), crystal=first.crystal
    )
    half = replace(first, refined=replace(first.refined, calculated=first.refined.calculated * 2 / 3))
    shared = PatternAnswer(list(answer), answer.measurement, answer.scan, (half, twin)).reflections()
    one, two = (shared[shared["phase"] == number].reset_index() for number in (1, 2))
    assert np.allclose(one["intensity_observed"], 2 * two["intensity_observed"])
    alone = PatternAnswer(list(answer), answer.measurement, answer.scan, (first,)).reflections()
    total = one["intensity_observed"] + two["intensity_observed"]
    assert np.allclose(total, alone["intensity_observed"], rtol=1e-6)


def test_both_lines_of_a_doublet_count(silicon):
    doublet = silicon.measurement.with_doublet()
    phase = replace(silicon.phases[0], refined=fit(doublet, silicon.phases[0].crystal, 0.003))
    both = PatternAnswer(list(silicon), doublet, silicon.scan, (phase,)).reflections()
    assert both["f_squared"].to_numpy() == pytest.approx(silicon.reflections()["f_squared"].to_numpy(), rel=0.02)
    weight = phase.refined.calculated.sum() * doublet.grid.step
    assert both["intensity_calculated"].sum() == pytest.approx(weight, rel=0.05)
    ratio = doublet.second_line
    last = both[both["two_theta"] < 98].iloc[-1]  # where the two lines are apart
    second = (
        2 * np.degrees(np.arcsin(ratio * doublet.grid.wavelength_angstrom / 2 / last["d"])) + phase.refined.zero_shift
    )
    first_only = np.where(silicon.two_theta < (last["two_theta"] + second) / 2, phase.refined.calculated, 0.0)
    answer = PatternAnswer(list(silicon), replace(doublet, counts=first_only), silicon.scan, (phase,))
    answer.__dict__["agreement"] = replace(silicon.agreement, background=lambda x: 0.0 * x)
    again = answer.reflections().loc[last.name]
    assert again["intensity_observed"] / again["intensity_calculated"] == pytest.approx(2 / 3, abs=0.03)


# --- CIF ------------------------------------------------------------------------------------------


def same_structure(one, other):
    matcher = StructureMatcher(ltol=1e-3, stol=5e-3, angle_tol=0.02, scale=False, primitive_cell=True)
    return one.volume / len(one) == pytest.approx(other.volume / len(other), rel=1e-4) and matcher.fit(one, other)


def deformed(phase):
    crystal = phase.crystal.to_structure()
    return Structure(phase.lattice, [site.species for site in crystal], crystal.frac_coords)


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_written_phase_is_read_again(name, tmp_path):
    answer = answer_of({name: 1.0})
    answer.write_cif(tmp_path / "phase.cif")
    (ours,) = dcs.read_structures(tmp_path / "phase.cif", progress=False)
    theirs = CifParser(tmp_path / "phase.cif").parse_structures(primitive=False)[0]
    assert same_structure(ours.to_structure(), deformed(answer.phases[0]))
    assert same_structure(theirs, deformed(answer.phases[0]))
    assert theirs.composition.almost_equals(ours.to_structure().composition)
    assert theirs.lattice.abc[0] == pytest.approx(STRAIN * answer.phases[0].crystal.to_structure().lattice.abc[0], 1e-3)
    text = (tmp_path / "phase.cif").read_text()
    symbol = {"Si": "F d -3 m", "baddeleyite": "P 1 21/c 1", "alloy": "P 63/m m c"}.get(name, "")
    assert symbol in text and "deepchem_crystalssl" in text


@pytest.mark.once
def test_prototypes_are_read_again(prototypes):
    for crystal in prototypes[::6]:
        text = write_cif_text([(crystal.material_id, StandardSetting.of(crystal))])
        (ours,) = read_cif(text, "one")
        theirs = CifParser.from_str(text).parse_structures(primitive=False)[0]
        assert same_structure(ours.to_structure(), crystal.to_structure()), crystal.material_id
        assert same_structure(theirs, crystal.to_structure()), crystal.material_id


def test_the_standard_setting_is_the_same_crystal(prototypes):
    """Its lattice obeys the symmetry, its volume for each atom is kept, and orbits have the sizes of their loops."""
    for crystal in prototypes[::20]:
        setting = StandardSetting.of(crystal)
        cell = setting.crystal.lattice
        metric = cell @ cell.T
        for rotation in setting.rotations:
            assert np.allclose(rotation.T @ metric @ rotation, metric, atol=1e-8 * metric.max())
        assert setting.number == space_group(crystal) == space_group(setting.crystal)
        assert setting.crystal.volume / setting.crystal.num_nodes == pytest.approx(
            crystal.volume / crystal.num_nodes, rel=1e-3
        )
        sizes = np.unique(setting.orbits(), return_counts=True)[1]
        assert (len(setting.rotations) % sizes == 0).all() and sizes.sum() == setting.crystal.num_nodes


def test_origins_are_at_centres_of_inversion(prototypes):
    """GSAS-II and others know no other origin; 24 groups have two."""
    seen = 0
    for crystal in [to_crystal(STRUCTURES["Si"], "Si"), *prototypes[::3]]:
        setting = StandardSetting.of(crystal)
        inverse = (setting.rotations == -np.eye(3, dtype=int)).all(axis=(1, 2))
        if inverse.any():
            assert any(np.allclose(shift % 1.0, 0.0) for shift in setting.translations[inverse])
            seen += 1
    assert seen > 20


def test_phases_have_blocks_of_their_own(mixture, tmp_path):
    mixture.write_cif(tmp_path / "all.cif")
    found = list(dcs.read_structures(tmp_path / "all.cif", progress=False))
    assert [crystal.reduced_formula for crystal in found] == [phase.formula for phase in mixture.phases]
    assert len(CifParser(tmp_path / "all.cif").parse_structures(primitive=False)) == 3
    for wanted in (2, "NaCl"):
        mixture.write_cif(tmp_path / "one.cif", wanted)
        assert [c.reduced_formula for c in dcs.read_structures(tmp_path / "one.cif", progress=False)] == ["NaCl"]


def test_names_of_blocks_are_words(tmp_path):
    setting = StandardSetting.of(to_crystal(STRUCTURES["Si"], "Si"))
    names = ["mp-1", "MP-1", "two words\nloop_", "", "Ångström'"]
    text = write_cif_text([(name, setting) for name in names])
    blocks = re.findall(r"^data_(\S+)$", text, re.MULTILINE)
    assert len(blocks) == len({block.lower() for block in blocks}) == 5 and blocks[0] == "mp-1"
    assert len(list(read_cif(text, "file"))) == 5


@pytest.mark.parametrize("phase", [0, 4, -1, True, 1.0, "nobody"])
def test_a_phase_that_is_not_there(mixture, phase, tmp_path):
    with pytest.raises(QueryError, match="phase: .*the answer has 3 phases: rutile, NaCl, alloy"):
        mixture.write_cif(tmp_path / "no.cif", phase)
    assert not list(tmp_path.iterdir())


def test_a_path_that_cannot_be_written(silicon, tmp_path):
    (tmp_path / "file").write_text("")
    for write in (silicon.write_cif, silicon.report):
        for path in (tmp_path / "nowhere" / "x.cif", tmp_path):
            with pytest.raises(QueryError, match=f"{re.escape(str(path))}: (no folder|a folder)"):
                write(path)
    with pytest.raises(QueryError, match="cannot be written"):
        silicon.export(tmp_path / "file")


# --- Figure ---------------------------------------------------------------------------------------


def test_the_figure_names_phases_and_radiation(mixture, tmp_path):
    figure = mixture.plot()
    texts = [text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text"))]
    assert any(text.startswith("TiO$_{2}$ $P4_{2}/mnm$, ") and text.endswith(" %") for text in texts)
    assert any(text.startswith(r"NaCl $Fm\bar{3}m$, ") for text in texts)
    assert any("Cu Kα₁, λ = 1.5406 Å" in text for text in texts)
    assert any("R_{wp}" in text and f"{mixture.goodness_of_fit:.2f}" in text for text in texts)
    places = [set(np.round(lines.get_segments(), 6)[:, 0, 0]) for lines in figure.axes[1].collections]
    table = mixture.reflections()
    assert places == [set(table.loc[table["phase"] == n, "two_theta"].round(6)) for n in (1, 2, 3)]
    figure.savefig(tmp_path / "figure.svg")
    svg = figure.as_bytes("svg").decode()
    assert "<text" in svg and "Difference" in svg and figure.as_bytes("pdf").startswith(b"%PDF")


def test_nothing_in_the_figure_is_cut_off(mixture):
    figure = mixture.plot()
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    width, height = figure.bbox.size
    for axes in figure.axes:
        for text in [*axes.texts, axes.title, axes.xaxis.label, axes.yaxis.label]:
            box = text.get_window_extent(renderer)
            assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1, text.get_text()
    boxes = [text.get_window_extent(renderer) for text in figure.axes[1].texts]
    assert not any(one.overlaps(other) for k, one in enumerate(boxes) for other in boxes[:k])


def test_an_answer_of_a_rank_is_drawn_alone(mixture):
    texts = [text.get_text() for text in mixture.plot(2).axes[1].texts]
    assert len(texts) == 1 and texts[0].startswith("NaCl")


# --- Report and folder ----------------------------------------------------------------------------


def report_of(answer):
    from deepchem_crystalssl.search.reports import render_report

    return render_report(answer)


class Elements(HTMLParser):
    """Tags that are open, tags seen and their addresses."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.addresses = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href")]
        assert not [name for name, _ in attributes if name.startswith("on")]
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_report_is_whole_and_needs_nothing_else(mixture):
    page = report_of(mixture)
    elements = Elements(page)
    assert not elements.open and not {"script", "link", "iframe"} & set(elements.seen)
    assert elements.addresses and all(address.startswith("data:image/png;base64,") for address in elements.addresses)
    assert "url(" not in page and "@import" not in page
    text = unescape(re.sub(r"<[^>]+>", "", page))
    assert mixture.verdict in text and dcs.__version__ in text and "1.54056 Å (given)" in text
    for phase in mixture.phases:
        lengths = np.linalg.norm(phase.setting.crystal.lattice, axis=1)
        assert f"{lengths[2]:.4f}" in text and f"{phase.setting.crystal.volume:.2f}" in text
        assert f"{100 * phase.weight_fraction:.0f} ± " in text
    assert text.count("+0.3") >= 3  # the stretched cells, against the database
    assert "TiO<sub>2</sub>" in page and '<i>Fm</i><span style="text-decoration:overline">3</span><i>m</i>' in page
    assert "<i>P</i>4<sub>2</sub>/<i>mnm</i>" in page
    for number in (mixture.r_wp, mixture.r_wp_above_background, mixture.r_exp):
        assert f"{100 * number:.1f} %" in text
    for word in ("microabsorption", "no preferred orientation.", "crystalline"):
        assert word in text


def test_the_report_names_preferred_orientation(silicon):
    [phase] = silicon.phases
    plates = replace(phase, refined=replace(phase.refined, texture=Texture((1, 1, 1), 0.6)))
    answer = PatternAnswer(list(silicon), silicon.measurement, silicon.scan, [plates])
    assert "except Si along (1 1 1) of the database's cell, March coefficient 0.6" in unescape(report_of(answer))


def test_names_cannot_write_into_the_report():
    hostile = "<script>alert(1)</script>"
    answer = answer_of({"Si": 1.0}, names=[hostile], item='<img src=x onerror="alert(2)">.xy')
    page = report_of(answer)
    assert "script" not in Elements(page).seen and page.count("<img") == 1 and "&lt;script&gt;" in page


def test_the_report_says_when_the_wavelength_was_assumed():
    assert "assumed because no wavelength is given" in report_of(answer_of({"Si": 1.0}, source="assumed"))


def test_the_folder_holds_what_it_says(mixture, tmp_path):
    files = mixture.export(tmp_path / "deep" / "folder")
    names = {path.name for path in files}
    assert names == {path.name for path in (tmp_path / "deep" / "folder").iterdir()}
    readme = (tmp_path / "deep" / "folder" / "README.txt").read_text()
    assert all(name in readme for name in names - {"README.txt"})
    folder = tmp_path / "deep" / "folder"
    again = dcs.read_pattern(folder / "measured.xye")
    assert np.allclose(again.two_theta, ANGLES, atol=1e-5) and np.array_equal(again.counts, mixture.scan.counts)
    columns = np.loadtxt(folder / "measured.xye")
    assert np.allclose(columns[:, 2], np.sqrt(mixture.scan.counts), rtol=1e-5)
    for number, phase in enumerate(mixture.phases, start=1):
        (crystal,) = dcs.read_structures(folder / f"phase_{number}.cif", progress=False)
        assert crystal.reduced_formula == phase.formula
    pd.testing.assert_frame_equal(pd.read_csv(folder / "reflections.csv"), mixture.reflections(), rtol=1e-5)
    with (folder / "candidates.csv").open() as file:
        assert [row["material_id"] for row in csv.DictReader(file)] == mixture.material_ids
    assert (folder / "figure.pdf").read_bytes().startswith(b"%PDF")
    assert (folder / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_files_of_others_are_not_replaced_and_those_of_an_earlier_answer_are(mixture, silicon, tmp_path):
    (tmp_path / "README.txt").write_text("my notes")
    with pytest.raises(QueryError, match="a folder that holds README.txt"):
        mixture.export(tmp_path)
    assert (tmp_path / "README.txt").read_text() == "my notes" and len(list(tmp_path.iterdir())) == 1
    (tmp_path / "README.txt").rename(tmp_path / "notes.txt")
    mixture.export(tmp_path)
    assert (tmp_path / "phase_2.cif").exists()
    silicon.export(tmp_path)
    assert (tmp_path / "phase_1.cif").exists() and not (tmp_path / "phase_2.cif").exists()
    assert (tmp_path / "notes.txt").read_text() == "my notes"


def test_errors_of_what_is_no_count_come_from_its_scatter(tmp_path):
    counts = counts_of({"Si": 1.0})
    answer = answer_of({"Si": 1.0}, counts / counts.max())
    answer.export(tmp_path)
    _, intensity, error = np.loadtxt(tmp_path / "measured.xye").T
    assert np.allclose(intensity, counts / counts.max(), rtol=1e-9)
    assert np.allclose(error, np.sqrt(counts) / counts.max(), rtol=0.1)
    assert "no counts" in (tmp_path / "README.txt").read_text()


# --- Command --------------------------------------------------------------------------------------


def test_the_command_writes_report_and_folder(prototypes, tmp_path, capsys):
    index = dcs.EmbeddingIndex.from_structures(prototypes[:40], "small", patterns=True, progress=False)
    index.save(tmp_path / "index")
    crystal = prototypes[0]
    grid = dcs.XRDGrid(wavelength="CuKa1")
    counts = np.random.default_rng(0).poisson(50 + 4000 * measure_patterns([crystal], HARD, grid, 1)[0])
    np.savetxt(tmp_path / "scan.xy", np.stack([grid.two_theta, counts], axis=1))
    options = [
        "--index",
        str(tmp_path / "index"),
        "--report",
        str(tmp_path / "r.html"),
        "--export",
        str(tmp_path / "out"),
    ]
    assert main(["search", str(tmp_path / "scan.xy"), *options]) == 0
    assert "scan.xy" in (tmp_path / "r.html").read_text() and (tmp_path / "out" / "phase_1.cif").exists()
    shutil.rmtree(tmp_path / "out")
    capsys.readouterr()
    assert main(["search", crystal.material_id, *options]) == 2
    assert "--report and --export" in capsys.readouterr().err and not (tmp_path / "out").exists()
    with pytest.raises(SystemExit):
        main(["search", "a.xy", "--index", "i", "--report", str(tmp_path / "r.txt")])
    assert ".html" in capsys.readouterr().err


def test_angles_of_a_cell():
    lattice = Lattice.from_parameters(3, 4, 5, 70, 80, 110)
    assert cell_angles(lattice.matrix) == pytest.approx(lattice.angles)
