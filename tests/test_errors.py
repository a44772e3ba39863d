import pickle
import warnings

import pandas as pd
import pytest

import deepchem_crystalssl as dcs
from deepchem_crystalssl import errors
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.errors import CrystalInputError, EmptyStructureError, OptionError, Report

ALL_ERRORS = [x for x in vars(errors).values() if isinstance(x, type) and issubclass(x, CrystalInputError)]


@pytest.mark.parametrize("kind", ALL_ERRORS)
def test_every_error_says_item_value_rule_and_remedy(kind):
    error = kind("mp-1", "the value")
    for part in ("mp-1", "the value", error.rule, error.remedy):
        assert part and part in str(error)
    assert kind is CrystalInputError or error.rule != CrystalInputError.rule
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) and type(again) is kind


def test_rule_and_remedy_can_be_given():
    assert str(CrystalInputError("a", 1, "a rule", "A remedy.")) == "a: 1; a rule. A remedy."


def test_report_policies():
    report = Report()
    error = EmptyStructureError("b", "0 sites")
    with pytest.raises(EmptyStructureError):
        report.handle(error, "raise")
    assert not report
    report.handle(error, "skip", index=4)
    with pytest.warns(UserWarning, match="b: 0 sites"):
        report.handle(error, "warn", index=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report.handle(error, "skip", index=6)
    assert len(report) == 3 and report.to_frame()["item"].tolist() == ["b"] * 3
    with pytest.raises(ValueError, match="on_error"):
        report.handle(error, "ignore")


def test_report_logs_a_summary(caplog):
    report = Report()
    report.log()
    assert not caplog.records
    report.handle(EmptyStructureError("b", "0 sites"), "skip")
    report.log()
    assert "EmptyStructureError: 1" in caplog.text


def test_a_report_survives_its_table(tmp_path):
    report = Report([EmptyStructureError("NA", "0 sites"), CrystalInputError("007", "a, b", "a rule", "A remedy.")])
    report[1].index = 3
    report.to_frame().to_csv(tmp_path / "skipped.csv", index=False)
    again = Report.from_frame(pd.read_csv(tmp_path / "skipped.csv", keep_default_na=False, dtype=str))
    for ours, theirs in zip(again, report, strict=True):
        assert (type(ours), str(ours), ours.index) == (type(theirs), str(theirs), theirs.index)
    assert [error.index for error in Report.from_frame(report.to_frame())] == [None, 3]


def test_a_job_warns_of_five_items_and_counts_the_others():
    report = Report()
    with pytest.warns(UserWarning) as caught, report.job(), report.job():  # a job may be a part of another
        for k in range(9):
            report.handle(EmptyStructureError(f"c{k}", "0 sites"), "warn", k)
    texts = [str(warning.message) for warning in caught]
    assert [text[:2] for text in texts[:5]] == ["c0", "c1", "c2", "c3", "c4"] and len(report) == 9
    assert texts[5:] == ["4 more items were left out; the report lists all 9 of them"]
    with pytest.warns(UserWarning, match="^again: "), report.job():
        report.handle(EmptyStructureError("again", "0 sites"), "warn")


def test_warnings_of_items_outside_a_job_end_too():
    report = Report()
    with pytest.warns(UserWarning) as caught:
        for k in range(9):
            report.handle(EmptyStructureError(f"c{k}", "0 sites"), "warn", k)
    assert len(caught) == 6 and "the report lists all" in str(caught[-1].message)


@pytest.mark.parametrize("job", ["read", "graphs", "patterns", "load", "featurize", "embed"])
def test_every_job_counts_its_warnings(job):
    bad = [{"not": "a structure"}] * 12
    good = bundled_prototypes()[0]
    table = pd.DataFrame({"structure": [*bad, good], "gap": 1.0})
    source = [*bad, good]
    jobs = {
        "read": lambda: list(dcs.read_structures(source, "warn")),
        "graphs": lambda: dcs.structures_to_graphs(source, on_error="warn"),
        "patterns": lambda: dcs.simulate_xrd(source, on_error="warn"),
        "load": lambda: dcs.CrystalLoader(["gap"]).create_dataset(table),
        "featurize": lambda: dcs.CrystalGraphFeaturizer().featurize(source),
        "embed": lambda: dcs.load_pretrained("small").embed(source, on_error="warn"),
    }
    with pytest.warns(UserWarning) as caught:
        jobs[job]()
    texts = [str(w.message) for w in caught if "left out" in str(w.message) or "dict without" in str(w.message)]
    assert len(texts) == 6 and texts[5] == "7 more items were left out; the report lists all 12 of them"


GOOD = bundled_prototypes()[:1]
TABLE = pd.DataFrame({"structure": [GOOD[0].to_structure()], "gap": 1.0})


@pytest.mark.parametrize(
    "job",
    [
        lambda **policy: list(dcs.read_structures(GOOD, **policy)),
        lambda **policy: dcs.structures_to_graphs(GOOD, **policy),
        lambda **policy: dcs.simulate_xrd(GOOD, **policy),
        lambda **policy: dcs.CrystalGraphFeaturizer(**policy).featurize(GOOD),
        lambda **policy: dcs.CrystalLoader(["gap"], **policy).create_dataset(TABLE),
        lambda **policy: dcs.load_pretrained("small").embed(GOOD, **policy),
        lambda **policy: dcs.load_pretrained("small").embed(dcs.structures_to_graphs(GOOD), **policy),
        lambda **policy: dcs.CrystalStore.write(GOOD, "never written", **policy),
        lambda **policy: dcs.EmbeddingIndex.from_structures(GOOD, "small", **policy),
    ],
    ids=["read", "graphs", "patterns", "featurize", "load", "embed", "embed graphs", "store", "index"],
)
@pytest.mark.parametrize(
    "policy",
    [{"on_error": "skp"}, {"disorder": "avrage"}, {"isolated_atoms": "kep"}],
    ids=["error", "disorder", "atoms"],
)
def test_a_misspelt_policy_is_noticed_before_an_item_fails(job, policy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, value = next(iter(policy.items()))
    near = {"skp": "skip", "avrage": "average", "kep": "keep"}[value]
    try:
        job(**policy)
    except TypeError as error:
        assert f"argument '{name}'" in str(error)  # this job has no such policy
    except OptionError as error:
        assert str(error).startswith(f"{name}: '{value}'; ") and near in error.remedy
    else:
        pytest.fail("the policy was taken")
    assert not list(tmp_path.iterdir())
