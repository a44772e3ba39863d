"""Springs and tight binding against independent implementations, and against experiment."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from deepchem_crystalssl.crystals.symmetry import primitive_cell
from deepchem_crystalssl.physics.bonds import Bonds, single_bond_lengths
from deepchem_crystalssl.physics.columns import bonded, column_names, model_physics
from deepchem_crystalssl.physics.electron_columns import Hamiltonian
from deepchem_crystalssl.physics.hopping import hopping_blocks
from deepchem_crystalssl.physics.parameters import SiteParameters
from deepchem_crystalssl.physics.springs import PER_CM, Springs, spring_tensors
from deepchem_crystalssl.testing import random_rotation

PER_CM_OF_THZ = 33.35640952


@pytest.mark.once
@pytest.mark.parametrize("k", [0, 5, 17, 40])
def test_frequencies_are_those_of_phonopy(prototypes, k):
    """phonopy, given the same springs as force constants of a supercell."""
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    graph = bonded(primitive_cell(prototypes[k])[0])
    own = SiteParameters.of(graph)
    springs = Springs(graph, own)
    bonds, tensors = springs.bonds, spring_tensors(springs.constants, springs.bonds.direction)
    n = 2 * int(np.abs(bonds.image).max()) + 3
    atoms = PhonopyAtoms(
        numbers=graph.atomic_numbers, cell=graph.lattice, scaled_positions=graph.frac_coords, masses=own.mass
    )
    phonopy = Phonopy(atoms, np.diag([n] * 3), primitive_matrix=np.eye(3), is_symmetry=False, log_level=0)
    of_unit, cells = place_in_supercell(phonopy, graph, n)
    find = {(a, *cell): index for index, (a, cell) in enumerate(zip(of_unit, map(tuple, cells), strict=True))}
    constants = np.zeros((len(of_unit), len(of_unit), 3, 3))
    edges = list(zip(bonds.center, bonds.neighbor, bonds.image, tensors, strict=True))
    for center, neighbor, image, tensor in edges:
        for cell in np.ndindex(n, n, n):
            i, j = find[center, *cell], find[neighbor, *((np.array(cell) + image) % n)]
            for a, b in ((i, j), (j, i)):
                constants[a, b] -= tensor / 2
                constants[a, a] += tensor / 2
    phonopy.force_constants = constants
    q = np.array([[0, 0, 0], [0.5, 0, 0], [1 / n, 2 / n, 0], [0.13, 0.41, 0.29]])
    phonopy.run_qpoints(q)
    theirs = phonopy.get_qpoints_dict()["frequencies"] * PER_CM_OF_THZ
    squared = np.linalg.eigvalsh(springs.at(q))
    ours = PER_CM * np.sqrt(np.abs(squared)) * np.sign(squared)
    assert np.abs(ours - theirs).max() < 1e-6 * theirs.max() + 1e-3  # the square root of rounding at zero


def place_in_supercell(phonopy, graph, n):
    """For each atom of the supercell its atom in the unit cell, and its cell."""
    positions = phonopy.supercell.scaled_positions * n
    of_unit = np.array([phonopy.supercell.u2u_map[k] for k in phonopy.supercell.s2u_map])
    return of_unit, np.round(positions - graph.frac_coords[of_unit]).astype(int) % n


def rotation_of_orbitals(turn):
    """How s, p and d orbitals turn: 1, the matrix itself, and its action on xy, yz, xz, x2-y2, z2 (9, 9)."""
    s3 = np.sqrt(3.0)

    def d_values(points):
        x, y, z = points.T
        return np.stack(
            [s3 * x * y, s3 * y * z, s3 * x * z, s3 / 2 * (x * x - y * y), (2 * z * z - x * x - y * y) / 2], 1
        )

    points = np.random.default_rng(1).normal(size=(40, 3))
    d = np.linalg.lstsq(d_values(points), d_values(points @ turn), rcond=None)[0].T
    full = np.zeros((9, 9))
    full[0, 0], full[1:4, 1:4], full[4:, 4:] = 1.0, turn, d.T
    return full


@pytest.mark.parametrize("seed", range(5))
def test_hopping_is_that_along_z_turned(seed):
    """Slater and Koster's table for a bond along z, and orbitals rotated by their values in space."""
    rng = np.random.default_rng(seed)
    turn, length, single = random_rotation(rng), rng.uniform(1.8, 3.5), rng.uniform(1.5, 2.5)
    radii = rng.uniform(0.7, 1.5, 2)
    ends = np.array([0]), np.array([1]), np.zeros((1, 3), int)
    z_axis = hopping_blocks(Bonds(*ends, np.array([[0, 0, 1.0]]), np.array([length])), np.array([single]), radii)[0]
    decay, unit = np.exp(-(length - single) / 0.5), 7.6199642
    sp, own, other = unit / single**2 * decay, *(unit * radii**1.5 / single**3.5 * decay**1.5)
    dd = unit * (radii[0] * radii[1]) ** 1.5 / single**5 * decay**2
    expected = np.zeros((9, 9))
    expected[0, 0], expected[0, 3], expected[3, 0] = -1.32 * sp, 1.42 * sp, -1.42 * sp
    expected[3, 3], expected[1, 1], expected[2, 2] = 2.22 * sp, -0.63 * sp, -0.63 * sp
    expected[0, 8], expected[8, 0] = -3.16 * other, -3.16 * own
    expected[3, 8], expected[8, 3] = -2.95 * other, 2.95 * own
    for p, d in ((1, 6), (2, 5)):
        expected[p, d], expected[d, p] = 1.36 * other, -1.36 * own
    expected[8, 8], expected[5, 5], expected[6, 6] = -16.2 * dd, 8.75 * dd, 8.75 * dd
    assert np.allclose(z_axis, expected, atol=1e-8)
    turned = hopping_blocks(Bonds(*ends, turn[None, :, 2], np.array([length])), np.array([single]), radii)[0]
    orbitals = rotation_of_orbitals(turn)
    assert np.allclose(turned, orbitals @ expected @ orbitals.T, atol=1e-8)


def test_energies_are_those_of_a_finite_crystal(prototypes):
    """A ring of n cells in real space has the energies of n wave vectors."""
    crystal = next(c for c in prototypes if c.num_nodes == 2 and c.material_id.startswith("AB_"))
    graph, n = bonded(crystal), 5
    own, bonds = SiteParameters.of(graph), Bonds.of(graph)
    q = np.array([[k / n, 0, 0] for k in range(n)])
    waves = np.sort(np.linalg.eigvalsh(Hamiltonian(graph, own).at(q)).ravel())
    onsite = np.zeros((9 * graph.num_nodes,) * 2)[: len(waves) // n, : len(waves) // n]
    blocks = hopping_blocks(bonds, single_bond_lengths(bonds, own.radius, own.c), own.d_radius)
    sizes = np.where(own.d_radius > 0, 9, 4)
    start = np.concatenate([[0], np.cumsum(sizes)])
    ring = np.zeros((n * start[-1], n * start[-1]))
    for site, size in enumerate(sizes):
        kinds = np.repeat([0, 1, 2], [1, 3, 5])[:size]
        onsite[range(start[site], start[site + 1]), range(start[site], start[site + 1])] = own.orbital_energies[
            site, kinds
        ]
    for cell in range(n):
        here = cell * start[-1]
        ring[here : here + start[-1], here : here + start[-1]] += onsite
        for i, j, image, block in zip(bonds.center, bonds.neighbor, bonds.image, blocks, strict=True):
            a, b = here + start[i], (cell + image[0]) % n * start[-1] + start[j]
            part = block[: sizes[i], : sizes[j]] / 2
            ring[a : a + sizes[i], b : b + sizes[j]] += part
            ring[b : b + sizes[j], a : a + sizes[i]] += part.T
    assert np.allclose(np.linalg.eigvalsh(ring), waves, atol=1e-8)


CUBIC = {
    # space group, a, elements, positions; highest frequency (1/cm) and bulk modulus (GPa) by experiment
    "diamond": ("Fd-3m", 3.567, ["C"], [[0, 0, 0]], 1332, 443),
    "Si": ("Fd-3m", 5.431, ["Si"], [[0, 0, 0]], 520, 98),
    "MgO": ("Fm-3m", 4.212, ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]], 720, 160),
    "NaCl": ("Fm-3m", 5.640, ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]], 264, 25),
    "GaAs": ("F-43m", 5.653, ["Ga", "As"], [[0, 0, 0], [0.25, 0.25, 0.25]], 292, 75),
    "Cu": ("Fm-3m", 3.615, ["Cu"], [[0, 0, 0]], 240, 140),
}


@pytest.mark.parametrize("name", CUBIC)
def test_the_order_of_magnitude_is_that_of_experiment(name):
    group, a, elements, positions, frequency, bulk = CUBIC[name]
    crystal = Structure.from_spacegroup(group, Lattice.cubic(a), elements, positions)
    found = dict(zip(column_names(), model_physics(crystal, progress=False)[0], strict=True))
    assert 0.6 < found["highest frequency (1/cm)"] / frequency < 1.6
    assert 1 / 3 < 10 ** found["log10 bulk modulus Reuss relaxed (log10 GPa)"] / bulk < 2.5
    assert (found["band gap (eV)"] > 0.05) == (name not in ("Cu", "GaAs"))
