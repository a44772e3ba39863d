"""What the page is told of a measured pattern, and what the server keeps of it."""

import io
import json
import zipfile

import httpx
import numpy as np
import pandas as pd
import pytest
import test_server
from hypothesis import given, settings, strategies
from pymatgen.io.cif import CifParser

import deepchem_crystalssl as dcs
from deepchem_crystalssl.diffraction.conditions import HARD, measure_patterns
from deepchem_crystalssl.errors import QueryError
from deepchem_crystalssl.explorer import powder_answers
from deepchem_crystalssl.explorer.kept_answers import AnswerGone, KeptAnswer, KeptAnswers, file_of
from deepchem_crystalssl.explorer.application import make_app
from deepchem_crystalssl.search import EmbeddingIndex

pytestmark = pytest.mark.once

folder, pyrite, app, address = test_server.folder, test_server.pyrite, test_server.app, test_server.address
ask, refused, running = test_server.ask, test_server.refused, test_server.running
GRID, PYRITE, RUTILE = test_server.GRID, "AB2_cP12_205_a_c", "A2B_tP6_136_f_a"


def text_of(counts):
    return "\n".join(f"{x:.3f} {y}" for x, y in zip(GRID.two_theta, counts, strict=True))


@pytest.fixture(scope="module")
def mixture(prototypes):
    """Counts of pyrite with rutile."""
    both = [next(crystal for crystal in prototypes if crystal.material_id == name) for name in (PYRITE, RUTILE)]
    patterns = np.asarray(dcs.simulate_xrd(both, dcs.XRDGrid(wavelength="CuKa1", fwhm=0.15)), float)
    return np.random.default_rng(0).poisson(6000 * patterns[0] + 4000 * patterns[1] + 80).astype(float)


@pytest.fixture(scope="module")
def searched(folder):
    index = EmbeddingIndex.load(folder)
    _ = index.map
    return index


@pytest.fixture(scope="module")
def found(searched, mixture):
    return searched.query_pattern(GRID.two_theta, mixture, "CuKa1")


@settings(deadline=None)
@given(strategies.integers(0, 2**32 - 1), strategies.integers(1, 4000), strategies.sampled_from([20, 200, 3000]))
def test_what_is_highest_and_lowest_is_drawn(seed, n, most):
    curves = np.random.default_rng(seed).normal(size=(2, n))
    kept = powder_answers.thinned(list(curves), most)
    assert len(kept) <= most and (np.diff(kept) > 0).all() and kept[-1] == n - 1
    assert (curves[:, kept].max(axis=1) == curves.max(axis=1)).all()
    assert (curves[:, kept].min(axis=1) == curves.min(axis=1)).all()


def test_an_answer_is_told_in_full_and_small(searched, found):
    told = powder_answers.describe(found, searched.gallery.row_of)
    text = json.dumps(told, allow_nan=False)
    assert len(text) < 600_000
    curve = told["curve"]
    assert all(len(curve[name]) == len(curve["two_theta"]) for name in ("measured", "calculated"))
    assert len(curve["two_theta"]) <= 3_000 and len(curve["parts"]) == len(found.phases) == 2
    assert max(curve["measured"]) == 1.0 and curve["top"] == found.net.max()
    assert np.abs(np.sum(curve["parts"], axis=0) - curve["calculated"]).max() < 2e-4
    assert [one["material_id"] for one in told["phases"]] == [one.material_id for one in found.phases]
    assert {one["material_id"] for one in told["phases"]} == {PYRITE, RUTILE}
    assert sum(one["weight_fraction"] for one in told["phases"]) == pytest.approx(1, abs=1e-3)
    listed, phase = found.reflections(), told["phases"][1]
    listed = listed[listed["phase"] == 2]
    assert phase["reflections"]["hkl"] == listed[["h", "k", "l"]].to_numpy().tolist()
    assert np.abs(phase["reflections"]["d"] - listed["d"].to_numpy()).max() < 1e-4
    assert phase["cell"]["lengths"] == pytest.approx(
        np.linalg.norm(found.phases[1].setting.crystal.lattice, axis=1), 1e-4
    )
    assert [one["material_id"] for one in told["matches"]] == [one.material_id for one in found]
    assert [one["r_wp"] for one in told["hypotheses"]] == [one.r_wp for one in found.hypotheses]
    assert told["radiation"]["source"] == "given" and told["verdict"] == found.verdict


def test_of_many_reflections_the_strongest_are_told(searched, found, monkeypatch):
    monkeypatch.setattr(powder_answers, "REFLECTIONS", 5)
    told = powder_answers.describe(found, searched.gallery.row_of)["phases"][0]["reflections"]
    listed = found.reflections()
    strongest = listed[listed["phase"] == 1].nlargest(5, "intensity_calculated")
    assert told["two_theta"] == sorted(strongest["two_theta"].round(4)) and max(told["intensity"]) == 1.0


def test_a_candidate_has_its_own_curve(searched, found):
    told = powder_answers.describe(found, searched.gallery.row_of)
    for place, one in enumerate(told["matches"]):
        calculated = np.interp(told["curve"]["two_theta"], found.two_theta, found[place].calculated) / found.net.max()
        assert np.abs(one["calculated"] - calculated).max() < 3e-3  # angles are rounded
        assert max(one["calculated"]) == pytest.approx(found[place].calculated.max() / found.net.max(), abs=0.02)
        assert 0 < len(one["reflections"]["d"]) <= 200


def test_what_is_left_is_the_other_phase(searched, mixture, found):
    alone = searched.query_pattern(GRID.two_theta, mixture, "CuKa1", phases=1)
    assert len(alone.phases) == 1
    [other] = {PYRITE, RUTILE} - {alone[0].material_id}
    rest = searched.query_pattern(*powder_answers.rest_of(alone), alone.measurement.grid.wavelength_angstrom)
    assert rest[0].material_id == other


def test_where_nothing_is_left_it_is_said(searched, pyrite):
    clean = 5000 * measure_patterns([pyrite], HARD, GRID, 0)[0].astype(float) + 80
    single = searched.query_pattern(GRID.two_theta, clean, "CuKa1", phases=1)
    single.phases[0].refined.calculated[:] = single.measured  # a fit that is perfect
    with pytest.raises(QueryError, match="no line rises above the noise"):
        powder_answers.rest_of(single)


def test_only_the_last_answers_are_kept(found):
    kept = KeptAnswers(most=3)
    keys = [kept.keep(KeptAnswer(found, str(number))) for number in range(3)]
    assert len(set(keys)) == 3 and min(map(len, keys)) >= 24
    assert kept.get(keys[0]).name == "0"  # so that it is not the oldest any more
    kept.keep(KeptAnswer(found, "3"))
    assert len(kept) == 3 and kept.get(keys[0]).name == "0"
    for key in (keys[1], "", "0"):
        with pytest.raises(AnswerGone, match="must be asked again"):
            kept.get(key)


def test_files_are_those_of_the_answer(found):
    parsed = CifParser(io.StringIO(file_of(found, "phases.cif").decode())).parse_structures(primitive=False)
    assert [one.composition.reduced_formula for one in parsed] == [one.formula for one in found.phases]
    table = pd.read_csv(io.BytesIO(file_of(found, "reflections.csv")))
    assert len(table) == len(found.reflections()) and set(table["material_id"]) == {PYRITE, RUTILE}
    assert file_of(found, "report.html").startswith(b"<!DOCTYPE html>")
    names = zipfile.ZipFile(io.BytesIO(file_of(found, "export.zip"))).namelist()
    assert {"measured.xye", "phase_1.cif", "phase_2.cif", "README.txt", "report.html"} <= set(names)
    with pytest.raises(KeyError):
        file_of(found, "../secret")


# The server


@pytest.fixture(scope="module")
def answered(address, mixture):
    return ask(address, text_of(mixture), "mixture.xy", wavelength="CuKa1").json()


def test_an_answer_has_a_key_that_gives_its_files(address, answered):
    types = {"phases.cif": "chemical/x-cif", "reflections.csv": "text/csv", "report.html": "text/html",
             "export.zip": "application/zip"}  # fmt: skip
    for name, kind in types.items():
        response = httpx.get(f"{address}/answers/{answered['key']}/{name}", timeout=60)
        assert response.status_code == 200 and response.headers["content-type"].startswith(kind), name
        assert response.headers["content-disposition"] == f'attachment; filename="{name}"'
        assert response.headers["x-content-type-options"] == "nosniff" and len(response.content) > 500
    assert b"mixture.xy" in httpx.get(f"{address}/answers/{answered['key']}/report.html", timeout=60).content


@pytest.mark.parametrize("file", ["secret", "rest", "phases.cif.bak", "..%2fx"])
def test_an_answer_has_no_other_files(address, answered, file):
    assert httpx.get(f"{address}/answers/{answered['key']}/{file}").status_code == 404


@pytest.mark.parametrize("key", ["x", "%00", "A" * 5000, "..", "<script>"])
def test_what_is_not_kept_must_be_asked_again(address, key):
    for response in (
        httpx.get(f"{address}/answers/{key}/phases.cif"),
        httpx.post(f"{address}/answers/{key}/rest"),
    ):
        assert response.status_code in (410, 404) and "error" in response.json()
        if key in ("x", "<script>"):
            assert "asked again" in refused(response, 410)


def test_a_worker_that_was_replaced_has_forgotten(folder, mixture):
    app = make_app(folder, "page", {}, test_server.LIMITS)
    with running(app) as own:
        key = ask(own, text_of(mixture), "a.xy").json()["key"]
        assert httpx.get(f"{own}/answers/{key}/phases.cif", timeout=60).status_code == 200
        app.state.worker.start()
        assert "asked again" in refused(httpx.get(f"{own}/answers/{key}/phases.cif", timeout=60), 410)


def test_files_are_for_the_own_page_alone(address, answered):
    refused(httpx.get(f"{address}/answers/{answered['key']}/phases.cif", headers={"Host": "evil.example"}), 403)
    refused(httpx.post(f"{address}/answers/{answered['key']}/rest", headers={"Origin": "https://evil.example"}), 403)


def test_what_is_known_of_the_sample_is_used(address, mixture, answered):
    text = text_of(mixture)
    assert len(answered["phases"]) == 2 and answered["radiation"]["source"] == "given"
    one = ask(address, text, "a.xy", phases="1").json()
    assert len(one["phases"]) == 1 and one["radiation"]["source"] == "assumed"
    without = ask(address, text, "a.xy", excluded="Fe").json()
    assert without["matches"] and not any("Fe" in one["formula"] for one in without["matches"])
    only = ask(address, text, "a.xy", elements="Fe,S", allowed="Ti,O").json()
    assert {one["material_id"] for one in only["phases"]} == {PYRITE, RUTILE}
    for wrong, word in (({"phases": "0"}, "phases"), ({"phases": "two"}, "two"), ({"allowed": "Xx"}, "Xx"),
                        ({"elements": "Fe", "excluded": "Fe"}, "Fe")):  # fmt: skip
        assert word in refused(ask(address, text, "a.xy", **wrong), 422)


def test_the_radiation_that_a_file_states_is_said(address, mixture):
    stated = ask(address, f"# wavelength = 1.54056\n{text_of(mixture)}", "a.xy").json()["radiation"]
    assert stated["source"] == "file" and stated["wavelength"] == 1.54056
    given = ask(address, f"# wavelength = 0.7093\n{text_of(mixture)}", "a.xy", wavelength="CuKa1").json()["radiation"]
    assert given["source"] == "given" and given["wavelength"] == 1.54056 and given["stated"] == 0.7093
    same = ask(address, f"# wavelength = 1.54056\n{text_of(mixture)}", "a.xy", wavelength="CuKa1").json()["radiation"]
    assert same["source"] == "given" and same["stated"] is None


def test_what_is_left_is_asked_for_with_its_own_elements(address, mixture):
    before = ask(address, text_of(mixture), "a.xy", wavelength="CuKa1", phases="1").json()
    [other] = {PYRITE, RUTILE} - {before["matches"][0]["material_id"]}
    rest = httpx.post(f"{address}/answers/{before['key']}/rest", timeout=60).json()
    assert rest["name"] == "What is left of a.xy" and rest["matches"][0]["material_id"] == other
    assert rest["key"] != before["key"] and rest["radiation"]["source"] == "given"
    # A phase of the rest need not have the elements that the first phase has.
    query = {"elements": "Fe,S", "allowed": "Ti,O"}
    rest = httpx.post(f"{address}/answers/{before['key']}/rest", params=query, timeout=60).json()
    assert rest["matches"][0]["material_id"] == other
    query = {"excluded": "O,S"}
    rest = httpx.post(f"{address}/answers/{before['key']}/rest", params=query, timeout=60).json()
    assert rest["matches"][0]["material_id"] != other
