"""A few numbers of model physics for tables of crystals."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

import deepchem_crystalssl as dcs
from deepchem_crystalssl.errors import DisorderError, ModelPhysicsError, Report
from deepchem_crystalssl.physics import column_names, model_values


def test_the_values_are_those_of_the_columns_and_of_the_records(prototypes):
    chosen = prototypes[:20]
    values = model_values(chosen, progress=False)
    columns = dict(zip(column_names(), dcs.model_physics(chosen, progress=False).T, strict=True))
    assert values["model_gap_eV"].to_numpy() == pytest.approx(columns["band gap (eV)"], abs=1e-5)
    frequencies = values["model_highest_frequency_per_cm"].to_numpy()
    assert frequencies == pytest.approx(columns["highest frequency (1/cm)"], rel=1e-5)
    elastic = [dcs.vibrations(crystal, waves_per_axis=1).elasticity for crystal in chosen]
    firm = np.array([one.shear_modulus > 5 for one in elastic])
    assert firm.sum() > 5
    for name in ("bulk_modulus_GPa", "shear_modulus_GPa", "debye_temperature_K"):
        expected = np.array([getattr(one, name.rpartition("_")[0]) for one in elastic])
        assert values[f"model_{name}"].to_numpy()[firm] == pytest.approx(expected[firm], rel=0.02)


def test_a_crystal_without_numbers_has_a_row_without_numbers(prototypes):
    heavy = Structure(Lattice.cubic(3), ["Rf"], [[0, 0, 0]])
    mixed = Structure(Lattice.cubic(3), [{"Fe": 0.5, "Co": 0.5}], [[0, 0, 0]])
    source, report = [{"not": "a crystal"}, prototypes[0], heavy, prototypes[1], mixed], Report()
    values = model_values(source, report=report, progress=False)
    assert values.index.tolist() == [0, 1, 2, 3, 4] and report.indices == [0, 2, 4]
    assert isinstance(report[1], ModelPhysicsError) and isinstance(report[2], DisorderError)
    assert values.isna().all(axis=1).tolist() == [True, False, True, False, True]
    alone = model_values(prototypes[:2], n_threads=1, progress=False).to_numpy()
    assert np.array_equal(values.dropna().to_numpy(), alone)
    assert model_values(mixed, disorder="average", progress=False).notna().all(axis=None)
    with pytest.raises(ModelPhysicsError, match="Rf"):
        model_values(heavy, on_error="raise", progress=False)
    assert model_values([], progress=False).shape == (0, 5)


def test_what_nothing_holds_is_not_stiff_at_all():
    pairs = np.array([[0, 0, 0], [0.74, 0, 0], [10, 10, 10], [10, 10.74, 10]]) / 20
    molecules = Structure(Lattice.cubic(20), ["H"] * 4, pairs)
    atoms = Structure(Lattice.cubic(20), ["Ne"], [[0, 0, 0]])
    values = model_values([molecules, atoms], progress=False)
    assert not values.filter(regex="modulus|debye").to_numpy().any()
    assert values["model_highest_frequency_per_cm"][0] > 1000 and values["model_highest_frequency_per_cm"][1] == 0
