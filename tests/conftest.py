"""Real crystals for every test: the 288 prototypes of the AFLOW library that pymatgen brings along."""

import warnings

import pytest

import deepchem_crystalssl as dcs
from deepchem_crystalssl.demo import bundled_prototypes


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the slow tests too")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow; run with --slow"))


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
