"""Sites followed by what their crystal is made of."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from deepchem_crystalssl import SiteEmbedding


@pytest.fixture(scope="module")
def quartz() -> Structure:
    return Structure.from_spacegroup(
        "P3_221", Lattice.hexagonal(4.91, 5.40), ["Si", "O"], [[0.47, 0.0, 2 / 3], [0.414, 0.268, 0.786]]
    )


@pytest.mark.parametrize("arguments", [{}, {"layers": [0, 2]}, {"physics": True}])
def test_means_and_composition_of_the_crystal_follow(quartz, arguments):
    plain, wide = SiteEmbedding("small", **arguments), SiteEmbedding("small", **arguments, surroundings=True)
    pairs = [(quartz, k) for k in range(len(quartz))]
    own, both = plain.transform(pairs), wide.transform(pairs)
    n = own.shape[1]
    assert both.dtype == np.float32 and np.array_equal(both[:, :n], own)
    assert np.allclose(both[:, n:-118], own.mean(0), atol=1e-5)
    assert np.allclose(both[:, -118 + 13], 1 / 3) and np.allclose(both[:, -118 + 7], 2 / 3)
    labels = wide.feature_labels()
    assert labels[:n] == plain.feature_labels() and len(set(labels)) == len(labels) == both.shape[1]
    assert labels[n] == f"{labels[0]}, mean of the crystal" and labels[-118 + 13] == "fraction of Si"


def test_a_supercell_has_the_same_surroundings(quartz):
    wide = SiteEmbedding("small", surroundings=True)
    assert np.allclose(wide.featurize(quartz, 0), wide.featurize(quartz * (2, 1, 1), 0), atol=1e-4)


def test_sites_that_are_left_out_are_not_counted():
    """With "dominant", the site that is 40 % full is left out: its neighbour is as if it were not there."""
    cell = Lattice.cubic(4.2)
    mixed = Structure(cell, ["Mg", "O", {"Na": 0.4}], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0]])
    wide = SiteEmbedding("small", disorder="dominant", surroundings=True)
    assert np.allclose(wide.featurize(mixed, 0), wide.featurize(Structure(cell, mixed.species_and_occu[:2],
                       mixed.frac_coords[:2]), 0), atol=1e-5)  # fmt: skip


def test_a_mixed_site_counts_by_its_occupancies():
    alloy = Structure(Lattice.cubic(2.9), [{"Cu": 0.75, "Au": 0.25}], [[0, 0, 0]])
    wide = SiteEmbedding("small", disorder="average", surroundings=True)
    fractions = dict(zip(wide.feature_labels(), wide.featurize(alloy, 0), strict=True))
    assert (fractions["fraction of Cu"], fractions["fraction of Au"], fractions["fraction of Ag"]) == (0.75, 0.25, 0)
