import os
import subprocess
import sys

import deepchem as dc
import pytest

from deepchem_crystalssl import CrystalGraphFeaturizer, CrystalSSLModel, XRDFeaturizer, register
from deepchem_crystalssl.registry import OPT_OUT


def test_import_makes_everything_visible():
    assert dc.feat.CrystalGraphFeaturizer is CrystalGraphFeaturizer
    assert dc.feat.XRDFeaturizer is XRDFeaturizer
    assert dc.feat.ModelPhysicsFeaturizer().featurize([]).size == 0
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


ORDERS = {
    "DeepChem first": "import deepchem as dc, deepchem_crystalssl",
    "DeepChem last": "import deepchem_crystalssl, deepchem as dc",
    "DeepChem by way of a public name": "from deepchem_crystalssl import NEGNNModel; import deepchem as dc",
}


@pytest.mark.parametrize("order, opt_out", [*((order, "") for order in ORDERS), ("DeepChem last", "1")])
def test_registration_in_any_order_of_imports_unless_opted_out(order, opt_out):
    code = f"{ORDERS[order]}; print([hasattr(dc.feat, 'XRDFeaturizer'), hasattr(dc.models, 'NEGNNModel')])"
    environment = {**os.environ, OPT_OUT: opt_out}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str([not opt_out] * 2)
    if "public name" in order:  # what DeepChem says when this package imports it is of no use to its users
        assert "Skipped loading" not in run.stderr
