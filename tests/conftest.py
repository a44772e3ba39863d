"""Real crystals for every test: the 288 prototypes of the AFLOW library that pymatgen brings along."""

import warnings

import pytest

import deepchem_crystalssl as dcs
from deepchem_crystalssl.nn import links
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes

collect_ignore = ["without_dgl"]


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the slow tests too")
    parser.addoption("--fuzz", type=int, default=1, help="times as many damaged and changed inputs as by default")


def pytest_collection_modifyitems(config, items):
    skipped = {} if config.getoption("--slow") else {"slow": "slow; run with --slow"}
    if links.dgl is None:  # the tests run once more with tests/without_dgl first on the path
        skipped["needs_dgl"] = "dgl is not importable"
    for item in items:
        for keyword in skipped.keys() & item.keywords.keys():
            item.add_marker(pytest.mark.skip(reason=skipped[keyword]))


@pytest.fixture(scope="session")
def fuzz(request):
    """Factor of the number of damaged and changed inputs; the default takes a minute for all suites together."""
    return request.config.getoption("--fuzz")


@pytest.fixture(scope="session")
def prototypes():
    """288 real crystals."""
    return bundled_prototypes()


@pytest.fixture(scope="session")
def graphs(prototypes):
    """Their graphs."""
    return dcs.structures_to_graphs(prototypes, progress=False)


@pytest.fixture(scope="session")
def structures(prototypes):
    """The first 40 as pymatgen structures."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [crystal.to_structure() for crystal in prototypes[:40]]
