"""Probabilities and rivals of phases, other ways to describe a pattern, elements of the sample, standards."""

from dataclasses import replace

import numpy as np
import pytest

from deepchem_crystalssl import XRDGrid
from deepchem_crystalssl.cli import main
from deepchem_crystalssl.crystals.validation import make_crystal
from deepchem_crystalssl.diffraction.conditions import MeasurementConditions, measure_patterns
from deepchem_crystalssl.errors import QueryError
from deepchem_crystalssl.search import EmbeddingIndex
from deepchem_crystalssl.search.confidence import GROUP, phase_probability

GRID = XRDGrid(wavelength="CuKa1")
FINE = MeasurementConditions(fwhm=(0.12, 0.12), mixing=(0.5, 0.5))


@pytest.fixture(scope="module")
def index(prototypes):
    return EmbeddingIndex.from_structures(prototypes, "small", patterns=True, progress=False)


@pytest.fixture(scope="module")
def counts(prototypes):
    """Pyrite, and half as high silicon carbide."""
    named = {crystal.material_id: crystal for crystal in prototypes}
    parts = [
        measure_patterns([named[name]], FINE, GRID, 0)[0].astype(float)
        for name in ("AB2_cP12_205_a_c", "AB_hP12_186_a2b_a2b")
    ]
    return np.random.default_rng(0).poisson(8000 * (parts[0] + 0.5 * parts[1]) + 60)


@pytest.fixture(scope="module")
def mixture(index, counts):
    return index.query_pattern(GRID.two_theta, counts, "CuKa1")


def test_phases_of_a_mixture_are_probable_and_among_the_answers(mixture):
    assert {phase.formula for phase in mixture.phases} == {"FeS2", "SiC"}
    for phase in mixture.phases:
        assert 0.5 < phase.probability <= 1.0 and phase.probability == pytest.approx(
            phase_probability(phase.score), abs=1e-3
        )
        assert phase.group[0] == phase.material_id
    heaviest = mixture.phases[0].material_id
    assert mixture[0].material_id in {phase.material_id for phase in mixture.phases}
    assert heaviest in {match.material_id for match in mixture}


def test_a_notebook_shows_the_phases_and_their_weight(mixture):
    phases = mixture._repr_html_().split("<p>Answers to the strongest phase</p>")[0].split("<p>Phases</p>")[1]
    shares = [f"{100 * phase.weight_fraction:.0f} ± " for phase in mixture.phases]
    assert "FeS<sub>2</sub>" in phases and len(shares) == 2 and all(share in phases for share in shares)


def test_other_ways_to_describe_the_pattern(mixture):
    """One phase alone describes it worse; a rival in its place may do as well, if it has more freedom."""
    first, *others = mixture.hypotheses
    assert first.material_ids == tuple(phase.material_id for phase in mixture.phases)
    assert sum(first.weight_fractions) == pytest.approx(1.0, abs=1e-3)
    assert others and all(other.r_wp > 0.95 * first.r_wp for other in others)
    assert all(other.r_wp > 1.1 * first.r_wp for other in others if len(other.formulas) < len(first.formulas))
    assert len({other.material_ids for other in mixture.hypotheses}) == len(mixture.hypotheses)


def test_the_group_ends_where_the_score_says(index, counts):
    found = index.query_pattern(GRID.two_theta, counts, "CuKa1", k=30, phases=1)
    inside = [match.material_id for match in found.group]
    assert inside and inside[0] == found[0].material_id
    for match in found:
        assert (match.material_id in inside) == (match.score >= found[0].score - GROUP - 1e-9)
    assert found.phases[0].probability == found[0].probability


def test_the_verdict_names_rivals_and_the_elements_that_decide(index, prototypes):
    """Rock salts of one cell length: the structure type is certain, the elements are not."""
    salts = [
        make_crystal([z, 8], [[0, 0, 0], [0.5, 0.5, 0.5]], length / 2 * (np.ones((3, 3)) - np.eye(3)), name)
        for z, length, name in ((25, 4.44, "manganese"), (26, 4.43, "iron"), (27, 4.45, "cobalt"))
    ]
    few = EmbeddingIndex.from_structures(salts, "small", patterns=True, progress=False)
    counts = np.random.default_rng(0).poisson(5000 * measure_patterns(salts[:1], FINE, GRID, 0)[0].astype(float) + 60)
    found = few.query_pattern(GRID.two_theta, counts, "CuKa1", phases=1)
    assert len(found.group) == 3 and found[0].confidence != "high"
    assert "The structure type is certain, the elements are not." in found.verdict
    assert "2 others fit nearly as well" in found.verdict
    [element] = found.deciding_elements
    assert element in found[0].formula and f"known to contain {element}, confidence is high" in found.verdict
    told = few.query_pattern(GRID.two_theta, counts, "CuKa1", phases=1, elements=[element, "O"])
    assert told[0].confidence == "high" and told.deciding_elements == () and len(told.group) == 1


def test_elements_that_are_in_the_sample_may_be_or_are_not(index, counts):
    def asked(**elements):
        return index.query_pattern(GRID.two_theta, counts, "CuKa1", phases=1, **elements)

    def systems(found):
        return [set(match.crystal.chemical_system.split("-")) for match in found]

    assert asked(elements=["Fe", "S"])[0].formula == "FeS2"
    assert all(system <= {"Fe", "S", "Si", "C"} for system in systems(asked(elements=["Fe", "S"], allowed=["Si", "C"])))
    assert all(system <= {"Si", "C"} for system in systems(asked(allowed=["Si", "C"])))
    assert all("S" not in system for system in systems(asked(excluded=["S"])))
    assert all("Fe" not in system for system in systems(asked(excluded="Fe")))
    with pytest.raises(QueryError, match="not excluded"):
        asked(elements=["Fe", "S"], excluded=["S"])
    with pytest.raises(QueryError, match="named by its symbol"):
        asked(allowed=["iron"])


def test_a_single_phase_should_contain_all_elements(index, counts, monkeypatch):
    """Chalcopyrite alone contains copper, iron and sulphur; but pyrite fits far better."""

    def first():
        return index.query_pattern(GRID.two_theta, counts, "CuKa1", elements=["Cu", "Fe", "S"], phases=1)[0].formula

    assert first() == "FeS2"
    monkeypatch.setattr("deepchem_crystalssl.search.phases.LACKING", 1.0)
    assert first() == "FeCuS2"


def test_a_weighed_standard_gives_absolute_amounts(mixture):
    """Half of the sample is glass: the ratio of the phases is that of the fit, and the rest is amorphous."""
    standard, other = mixture.phases
    ratio = other.weight_fraction / standard.weight_fraction
    weighed = 0.25
    found = mixture.with_standard(1, weighed)
    assert found.index.tolist() == [other.material_id, "amorphous"] and found.sum() == pytest.approx(1.0)
    assert found[other.material_id] * 0.75 / weighed == pytest.approx(ratio)
    assert mixture.with_standard(standard.material_id, weighed).equals(found)
    crystalline = standard.weight_fraction  # as weighed if nothing is amorphous
    assert mixture.with_standard(1, crystalline)["amorphous"] == pytest.approx(0.0, abs=1e-9)
    for wrong in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(QueryError, match="weight_fraction"):
            mixture.with_standard(1, wrong)
    with pytest.raises(QueryError):
        mixture.with_standard("mp-none", 0.2)


def test_what_is_said_of_an_answer_does_not_depend_on_how_many_are_asked_for(index, counts):
    one, many = (index.query_pattern(GRID.two_theta, counts, "CuKa1", k=k, phases=1) for k in (1, 20))
    assert len(one) == 1 and len(many.candidates) == len(one.candidates) > 1
    assert [match.material_id for match in one.group] == [match.material_id for match in many.group]
    assert one.deciding_elements == many.deciding_elements and one.verdict == many.verdict


def test_an_element_that_no_phase_contains_is_named(index, counts):
    found = index.query_pattern(GRID.two_theta, counts, "CuKa1", elements=["Fe", "S", "Si", "C", "Mo"])
    assert found.missing_elements == ("Mo",)
    assert "No phase contains Mo, which the sample was said to contain." in found.verdict
    assert index.query_pattern(GRID.two_theta, counts, "CuKa1").missing_elements == ()


def test_crystals_of_unknown_symmetry_are_no_prototype(index):
    known = set(index.prototypes_of(range(len(index))))
    assert ("AB", 225) in known and len(known) < len(index)
    bare = EmbeddingIndex.build(np.eye(5, 8), list("abcde"))
    assert bare.prototypes_of(range(5)) == list(range(5))


def test_neutrons_are_named_before_any_phase(index, counts, tmp_path, capsys):
    angles, step = GRID.two_theta, GRID.two_theta[1] - GRID.two_theta[0]
    rows = "\n".join(" ".join(map(str, counts[place : place + 8])) for place in range(0, len(counts), 8))
    path = tmp_path / "a.dat"
    path.write_text(f"HRPT, pyrite\nlambda= 1.54056, T= 0.0, dT= 0.0\n {angles[0]} {step} {angles[-1]} 1., a\n{rows}\n")
    found = index.query_pattern(path, k=3)
    assert found.verdict.startswith("The file says that the intensities are those of neutrons")
    assert (
        index.query_pattern(angles, counts, "CuKa1", k=3).verdict
        == found.verdict.split(": the phases may be wrong. ")[1]
    )
    index.save(tmp_path / "index")
    assert main(["search", str(path), "--index", str(tmp_path / "index"), "-q"]) == 0
    said = capsys.readouterr().out
    assert -1 < said.find("neutrons") < said.find(found[0].formula)


def test_a_mixture_names_the_probabilities_of_its_phases_and_no_others(mixture, monkeypatch):
    for phase in mixture.phases:
        assert f"({phase.material_id}, space group {phase.space_group}, probability {phase.probability:.2f})" in (
            mixture.verdict
        )
    assert not {"probability", "confidence"} & set(mixture.to_frame()) and "score" in mixture.to_frame()
    assert not mixture.nothing_fits and mixture.verdict.startswith("It may be a mixture of")
    unlikely = tuple(replace(phase, probability=0.04) for phase in mixture.phases)
    monkeypatch.setattr(mixture, "phases", (*unlikely[:-1], replace(unlikely[-1], probability=0.2)))
    assert not mixture.nothing_fits
    monkeypatch.setattr(mixture, "phases", unlikely)
    assert mixture.nothing_fits and mixture.verdict.startswith("Nothing fits: the nearest mixture has the phases FeS2")
    assert mixture.verdict.count("probability 0.04") == len(unlikely)
