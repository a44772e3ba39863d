"""Files that announce or hold too much, and crystals that are none: read in linear time, or refused by type."""

import subprocess
import sys

import numpy as np
import pytest
from test_mutated_files import attempt, time_limit

from deepchem_crystalssl import Crystal, read_structures, simulate_xrd, structures_to_graphs
from deepchem_crystalssl.crystals.limits import ReadingLimits
from deepchem_crystalssl.crystals.records import Occupancies
from deepchem_crystalssl.crystals.validation import closest_pair, make_crystal
from deepchem_crystalssl.diffraction.measured import prepare_measured_pattern
from deepchem_crystalssl.diffraction.pattern_files import read_pattern_bytes
from deepchem_crystalssl.errors import CountsError, CrystalInputError, LatticeError, LimitError, OverlappingAtomsError

CUBE = 4.0 * np.eye(3)
DISORDERED = ("fract_x", "fract_y", "fract_z", "label", "occupancy")
OPERATIONS = [f"{a}x,{b}y,{c}z+{k}/9" for a in "+-" for b in "+-" for c in "+-" for k in range(9)]


def cif(rows, length=150.0, operations=(), columns=("label", "fract_x", "fract_y", "fract_z")):
    """A CIF file with these rows of atoms, in a cube."""
    cell = "".join(f"_cell_length_{axis} {length}\n" for axis in "abc")
    angles = "".join(f"_cell_angle_{angle} 90\n" for angle in ("alpha", "beta", "gamma"))
    symmetry = "loop_\n_symmetry_equiv_pos_as_xyz\n" + "".join(f"'{x}'\n" for x in operations) if operations else ""
    return f"data_a\n{cell}{angles}{symmetry}loop_\n" + "".join(f"_atom_site_{x}\n" for x in columns) + "".join(rows)


def places(n):
    """Fractional coordinates of n sites on a grid."""
    width = int(np.ceil(n ** (1 / 3)))
    grid = np.stack(np.unravel_index(np.arange(n), (width,) * 3), 1)
    return (grid + 0.1) / width


def rows_of(n, form="C {:.5f} {:.5f} {:.5f}\n"):
    return [form.format(*place) for place in places(n)]


TOO_MUCH = {
    "sites": (cif(rows_of(150_000)), "at most 100,000 sites"),
    "operations": (cif(rows_of(1), operations=["x,y,z"] * 3_000), "at most 2,000 symmetry operations"),
    "images": (
        cif(rows_of(20_000), operations=[f"x,y,z+{k}/24" for k in range(24)]), "at most 100,000 sites of one crystal"
    ),
    "poscar": ("c\n1.0\n5 0 0\n0 5 0\n0 0 5\nNa\n1000000000\nDirect\n0 0 0\n", "at most 100,000 sites"),
    "announced": ("c\n1.0\n5 0 0\n0 5 0\n0 0 5\nNa\n90000\nDirect\n0 0 0\n", "ends early"),
    "deep": ('{"a": ' * 100_000, "many levels"),
    "path": ("[" * 100_000, "File name too long"),
    "values": ('{"lattice": [' + "0," * 3_500_000 + "0]}", "at most 3,000,000 numbers and words"),
    "digits": ('{"lattice": ' + "1" * 10_000 + "}", "4300 digits"),
    "operation": (cif(rows_of(1), operations=["x,y,z" + "1" * 5_000]), "operation"),
}  # fmt: skip


@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_is_too_much_is_refused(name):
    text, told = TOO_MUCH[name]
    with time_limit(5), pytest.raises(CrystalInputError, match=told) as caught:
        list(read_structures(text))
    assert len(str(caught.value)) < 3_000


def test_limits_are_arguments():
    text = cif(rows_of(20))
    with pytest.raises(LimitError, match=r"limits=ReadingLimits\(sites=...\)"):
        list(read_structures(text, limits=ReadingLimits(sites=19)))
    assert len(list(read_structures(text, limits=ReadingLimits(sites=20)))[0].atomic_numbers) == 20


@pytest.mark.parametrize(
    "text, sites",
    [
        (cif(rows_of(30_000)), 30_000),
        (cif(rows_of(400), 400, OPERATIONS), 400 * 72),
        (cif(rows_of(20_000, "{:.5f} {:.5f} {:.5f} C 0.5\n"), columns=DISORDERED), 20_000),
    ],
    ids=["rows", "operations", "disordered"],
)  # fmt: skip
def test_large_cells_are_read_in_linear_time(text, sites):
    with time_limit(10):
        (crystal,) = read_structures(text)
        assert crystal.num_nodes == sites


def test_near_sites_are_found_alike_in_small_and_large_cells():
    """Beyond 300 sites the boxes decide; they find the pair that the comparison of all pairs finds."""
    random = np.random.default_rng(0)
    lattice = np.array([[40.0, 0, 0], [11, 38, 0], [-7, 9, 41]])
    frac = places(700) + random.uniform(0, 0.02, (700, 3))
    assert make_crystal([6] * 700, frac, lattice, "a").num_nodes == 700
    for site in random.integers(0, 700, 20):
        other = int((site + 350) % 700)
        moved = frac.copy()
        moved[other] = frac[site] + random.uniform(-1, 1, 3) * 0.05 / 60 + random.integers(-1, 2, 3)
        assert closest_pair(moved, lattice)[2] < 0.1
        with pytest.raises(OverlappingAtomsError):
            make_crystal([6] * 700, moved, lattice, "a")


def test_neighbours_in_large_cells_are_those_of_the_small_cell(prototypes):
    for crystal in prototypes[::40]:
        if not crystal.is_ordered:
            continue
        times = int(np.ceil((400 / crystal.num_nodes) ** (1 / 3)))
        shifts = np.stack(np.unravel_index(np.arange(times**3), (times,) * 3), 1)
        frac = ((crystal.frac_coords[:, None] + shifts) / times).reshape(-1, 3)
        large = make_crystal(np.repeat(crystal.atomic_numbers, times**3), frac, times * crystal.lattice, "large")
        assert large.num_nodes > 300
        small, of_large = structures_to_graphs([crystal, large], progress=False)
        for site in range(crystal.num_nodes):
            own = small.distance[small.first_edge[site] : small.first_edge[site + 1]]
            for copy in (site * times**3, (site + 1) * times**3 - 1):
                other = of_large.distance[of_large.first_edge[copy] : of_large.first_edge[copy + 1]]
                np.testing.assert_allclose(np.sort(other), np.sort(own), atol=2e-5)


@pytest.mark.parametrize("length", [200.0, 400.0, 9_000.0])
def test_huge_cells_have_neighbours_and_no_patterns(length):
    crystal = make_crystal([11, 17], [[0, 0, 0], [2.5 / length, 0, 0]], length * np.eye(3), "huge")
    iron = make_crystal([26], [[0, 0, 0]], 2.5 * np.eye(3), "iron")
    structures_to_graphs(iron, progress=False), simulate_xrd(iron)  # compiled before the clock starts
    with time_limit(5):
        (graph,) = structures_to_graphs(crystal, progress=False)
        assert graph.num_edges == 2
        with pytest.raises(LimitError, match="huge.*reflections"):
            simulate_xrd(crystal, progress=False)
        patterns = simulate_xrd([iron, crystal, iron], on_error="skip", progress=False)
        assert np.array_equal(patterns[0], patterns[1]) and np.array_equal(patterns[0], simulate_xrd(iron)[0])


def test_cells_longer_than_any_crystal_are_refused():
    with pytest.raises(LatticeError, match="at most 10,000 Å"):
        make_crystal([11], [[0, 0, 0]], 1e5 * np.eye(3), "huge")


NO_CRYSTALS = [
    ([11], [["0", "0", "0"]], CUBE), ([11], [[1j, 0, 0]], CUBE), ([11, 11], [[0, 0, 0], [0]], CUBE),
    ([11], "abc", CUBE),
    ([11], np.ma.masked_array(np.zeros((1, 3)), True), CUBE), ([11], [[None, 0, 0]], CUBE),
    ([[11, 17]], [[0, 0, 0]], CUBE), ([[11], [11, 17]], np.zeros((2, 3)), CUBE), ({"Na": 1}, [[0, 0, 0]], CUBE),
    ("Na", [[0, 0, 0]], CUBE), ([{"Na": {"Na": 1}}], [[0, 0, 0]], CUBE), ([{"Na": None}], [[0, 0, 0]], CUBE),
    ([{"Na": "1"}], [[0, 0, 0]], CUBE), ([{"Na": 1j}], [[0, 0, 0]], CUBE), ([{1.5: 1}], [[0, 0, 0]], CUBE),
    ([None], [[0, 0, 0]], CUBE), ([11.0], [[0, 0, 0]], CUBE), ([11], [[0, 0, 0]], "abc"),
    ([11], [[0, 0, 0]], CUBE * 1j),
    ([11], [[0, 0, 0]], CUBE.astype(str)), ([11], [[0, 0, 0]], [[4, 0, 0], [0, 4]]),
]  # fmt: skip


@pytest.mark.parametrize("parts", NO_CRYSTALS, ids=range(len(NO_CRYSTALS)))
def test_crystals_that_are_none_are_refused_when_made(parts):
    with pytest.raises(CrystalInputError, match="bad"):
        make_crystal(*parts, "bad")
    with pytest.raises(CrystalInputError):
        Crystal(*parts, "bad")


@pytest.mark.parametrize(
    "change",
    [
        lambda z, x, a: (z + 300, x, a), lambda z, x, a: (z, x * np.nan, a), lambda z, x, a: (z, x, a * 0),
        lambda z, x, a: (z[:0], x[:0], a), lambda z, x, a: (z, x, a * np.inf),
        lambda z, x, a: (z, x, a, "a", Occupancies(np.array([0], np.int32), z, np.array([-1.0]))),
    ],
)  # fmt: skip
def test_values_of_the_constructor_are_checked_when_used(change):
    with np.errstate(invalid="ignore"):
        crystal = Crystal(*change(np.array([11], np.int16), np.zeros((1, 3)) + 0.5, CUBE))
    for use in (structures_to_graphs, simulate_xrd):
        with pytest.raises(CrystalInputError):
            use([crystal], disorder="average", progress=False)


@pytest.mark.parametrize(
    "name, text",
    [
        ("a.xy", "1 2\n2 1e308\n3 4\n"), ("a.xy", "1 2\n2 nan\n3 4\n"), ("a.xy", "1 2\n2 word\n3 4\n"),
        ("a.xye", "1 2 3\n2 inf 3\n3 4 3\n"), ("a.xrdml", "<a>" * 100_000), ("a.xrdml", "<a " + "b" * 200_000 + ">"),
        ("a.xy", "1 2\n" * 600_000), ("a.uxd", "_START=1\n_STEPSIZE=1e-300\n_COUNTS\n1 2 3\n"),
    ],
)  # fmt: skip
def test_patterns_are_finite_or_refused(name, text):
    with time_limit(5):
        pattern = attempt(lambda: read_pattern_bytes(text.encode(), name, "." + name.split(".")[1]))
        assert pattern is None or np.isfinite(pattern.counts).all()
        assert pattern is None


def test_arrays_of_patterns_are_numbers():
    angles = np.linspace(10, 60, 500)
    for counts in (angles * 1e306, angles * 1j, angles.astype(str), np.where(angles > 30, np.inf, 1)):
        with pytest.raises(CrystalInputError):
            prepare_measured_pattern(angles, counts)
    with pytest.raises(CountsError):
        prepare_measured_pattern(angles, np.full(500, 1e35))


def test_a_pattern_of_fine_steps_takes_seconds():
    angles = np.linspace(10, 60, 400_000)
    with time_limit(10):
        pattern = prepare_measured_pattern(angles, 50 + 1000 * np.exp(-(((angles - 38.2) / 0.1) ** 2)))
    assert np.isfinite(pattern).all() and pattern.max() == 1.0


def test_a_temporary_folder_that_is_gone_leaves_no_traceback(tmp_path):
    code = f"""
import gzip, shutil, tempfile
from pathlib import Path
tempfile.tempdir = {str(tmp_path)!r}
import sys
sys.path.insert(0, {str(__file__).rsplit("/", 1)[0]!r})
from mutations import crystal_files
from deepchem_crystalssl import read_structures
path = Path({str(tmp_path)!r}, "a.traj.gz")
path.write_bytes(crystal_files()["packed.traj.gz"])
reader = iter(read_structures(path))
print(next(reader).num_nodes)
for folder in Path({str(tmp_path)!r}).glob("crystals-*"):
    shutil.rmtree(folder)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "8" and "Traceback" not in done.stderr and "Exception" not in done.stderr
