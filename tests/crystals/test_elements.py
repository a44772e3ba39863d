import numpy as np
import pytest
from pymatgen.analysis.diffraction.xrd import ATOMIC_SCATTERING_PARAMS
from pymatgen.core import Element

from deepchem_crystalssl.crystals.elements import (
    atomic_number_of,
    element_features,
    element_table,
    scattering_parameters,
    symbols,
)


def test_every_element_has_a_feature_vector_of_its_own():
    features = element_features()[1:]
    assert features.shape == (118, 92)
    assert np.isfinite(features).all() and (np.abs(features).sum(1) > 0).all()
    distance = np.linalg.norm(features[:, None] - features[None], axis=-1) + 10 * np.eye(118)
    assert distance.min() > 0.05


def test_features_are_read_only():
    with pytest.raises(ValueError):
        element_features()[6, 0] = 1.0


@pytest.mark.parametrize("z", range(1, 119))
def test_table_agrees_with_pymatgen(z):
    row = {name: column[z - 1] for name, column in element_table().items()}
    element = Element.from_Z(z)
    assert row["symbol"] == symbols()[z] == element.symbol
    assert row["period"] == element.row
    assert row["mass_u"] == pytest.approx(float(element.atomic_mass), rel=0.02)
    if np.isfinite(row["group"]):
        assert row["group"] == element.group
    if np.isfinite(row["electronegativity_pauling"]):
        assert row["electronegativity_pauling"] == pytest.approx(element.X)


def test_scattering_parameters_are_pymatgens():
    for symbol, parameters in ATOMIC_SCATTERING_PARAMS.items():
        assert np.array_equal(scattering_parameters()[Element(symbol).Z], parameters)
    assert np.isnan(scattering_parameters()[99:]).all()


def test_isotopes_of_hydrogen_are_hydrogen():
    assert atomic_number_of()["D"] == atomic_number_of()["T"] == atomic_number_of()["H"] == 1
