import os
import subprocess
import sys

import deepchem as dc

from deepchem_crystalssl import CrystalGraphFeaturizer, CrystalSSLModel, XRDFeaturizer, register
from deepchem_crystalssl.registry import OPT_OUT


def test_import_makes_everything_visible():
    assert dc.feat.CrystalGraphFeaturizer is CrystalGraphFeaturizer
    assert dc.feat.XRDFeaturizer is XRDFeaturizer
    assert dc.models.CrystalSSLModel is CrystalSSLModel
    assert isinstance(dc.molnet.featurizers["crystalgraphfeaturizer"], CrystalGraphFeaturizer)
    assert isinstance(dc.molnet.featurizers["xrdfeaturizer"], XRDFeaturizer)


def test_register_is_idempotent():
    before = dict(dc.molnet.featurizers)
    register()
    assert dict(dc.molnet.featurizers) == before


def test_register_replaces_nothing(monkeypatch):
    monkeypatch.setattr(dc.feat, "XRDFeaturizer", "theirs")
    monkeypatch.setitem(dc.molnet.featurizers, "xrdfeaturizer", "theirs")
    register()
    assert dc.feat.XRDFeaturizer == dc.molnet.featurizers["xrdfeaturizer"] == "theirs"


def test_opt_out():
    code = "import deepchem_crystalssl, deepchem as dc; print(hasattr(dc.feat, 'CrystalGraphFeaturizer'))"
    for value, expected in (("1", "False"), ("", "True")):
        environment = {**os.environ, OPT_OUT: value}
        run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert run.stdout.strip() == expected
        assert "Skipped loading" not in run.stderr
