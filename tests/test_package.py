"""What importing the package costs and gives: public names, modules, old module paths, registration in DeepChem."""

import importlib
import json
import os
import subprocess
import sys
import warnings

import pytest

import deepchem_crystalssl
from deepchem_crystalssl._names import MOVED, MOVED_NAMES

LIGHT = {"deepchem_crystalssl", "lazy_loader", "wrapt"}
"""All that may come from outside the standard library when the package is imported."""


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a new Python has loaded after running some code, without the standard library's."""
    code = f"import sys, json; before = set(sys.modules); {code}; print(json.dumps(sorted(set(sys.modules) - before)))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    modules = {name.partition(".")[0] for name in json.loads(run.stdout.splitlines()[-1])}
    return {name for name in modules if name not in sys.stdlib_module_names and not name.startswith("_")}


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by("import deepchem_crystalssl") == LIGHT
    assert loaded_by("from deepchem_crystalssl import *") > {*LIGHT, "torch", "deepchem"}  # the test can fail


def test_building_the_command_loads_nothing_heavy():
    assert loaded_by("from deepchem_crystalssl.cli import build_parser; build_parser().format_help()") == LIGHT


def test_public_names():
    names = deepchem_crystalssl.__all__
    assert len(names) == len(set(names)) > 20 and set(names) <= set(dir(deepchem_crystalssl))
    assert all(getattr(deepchem_crystalssl, name) is not None for name in names)


def test_modules_are_attributes_once_used():
    assert deepchem_crystalssl.search.EmbeddingIndex is deepchem_crystalssl.EmbeddingIndex
    with pytest.raises(AttributeError, match="'deepchem_crystalssl' has no attribute 'serach'"):
        deepchem_crystalssl.serach
    with pytest.raises(ImportError, match="cannot import name 'Crystals'"):
        from deepchem_crystalssl import Crystals  # noqa: F401


@pytest.mark.parametrize("old", MOVED)
def test_old_module_paths_warn_and_give_the_new_module(old):
    name, new = f"deepchem_crystalssl.{old}", f"deepchem_crystalssl.{MOVED[old]}"
    sys.modules.pop(name, None)
    with pytest.warns(FutureWarning, match=f"{name} is now {new};") as caught:
        assert importlib.import_module(name) is importlib.import_module(new)
    assert len(caught) == 1
    assert importlib.import_module(new).__spec__.name == new  # the new module is left as it was
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importlib.import_module(name)  # it warns once


def test_old_names_within_old_modules():
    with pytest.warns(FutureWarning):
        sys.modules.pop("deepchem_crystalssl.metrics", None)
        vars(deepchem_crystalssl).pop("metrics", None)
        from deepchem_crystalssl import metrics
    assert metrics.retrieval_recall is deepchem_crystalssl.evaluation.metrics.retrieval_recall


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("old", MOVED_NAMES)
def test_old_places_of_names(old):
    module, _, name = f"deepchem_crystalssl.{old}".rpartition(".")
    new, _, new_name = f"deepchem_crystalssl.{MOVED_NAMES[old]}".rpartition(".")
    assert getattr(importlib.import_module(module), name) is getattr(importlib.import_module(new), new_name)


def test_a_name_that_has_moved_warns():
    with pytest.warns(FutureWarning, match="recipes.open_model is now .*models.pretrained.open_model;"):
        from deepchem_crystalssl.recipes import open_model  # noqa: F401
    with pytest.raises(ImportError):
        from deepchem_crystalssl.recipes import open_models  # noqa: F401


def test_old_modules_are_not_offered():
    code = "import deepchem_crystalssl as d, deepchem_crystalssl.crystals as c; print(dir(d) + dir(c))"
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    offered = set(json.loads(run.stdout.replace("'", '"')))
    assert not offered & {path.split(".")[-1] for path in MOVED} - {"measured"}


def test_the_module_is_the_command():
    command = [sys.executable, "-m", "deepchem_crystalssl", "--version"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout == f"crystalssl {deepchem_crystalssl.__version__}\n"
