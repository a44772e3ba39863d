import pickle
import warnings

import pandas as pd
import pytest

from deepchem_crystalssl import errors
from deepchem_crystalssl.errors import CrystalInputError, EmptyStructureError, Report

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
