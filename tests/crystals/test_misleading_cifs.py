"""CIF files that mislead: whatever they say, the crystal is the right one, or there is an error or a warning."""

import warnings

import numpy as np
import pytest

from deepchem_crystalssl import read_structures
from deepchem_crystalssl.crystals.cif.reading import read_cif
from deepchem_crystalssl.crystals.cif.groups import settings_of_symbol
from deepchem_crystalssl.crystals.formats.texts import read_structure_text
from deepchem_crystalssl.crystals.validation import closest_pair
from deepchem_crystalssl.errors import (
    CoordinateError,
    CrystalInputError,
    CrystalWarning,
    EmptyStructureError,
    LatticeError,
    LimitError,
    OverlappingAtomsError,
    SymmetryError,
    UnknownElementError,
    UnsupportedFileError,
)

CUBIC = (5, 5, 5, 90, 90, 90)
TYPED = "label type_symbol"


def cif(rows, cell=CUBIC, columns=TYPED, extra="", more=""):
    """A CIF text; ``columns`` come before the coordinates and ``more`` behind them."""
    tags = [f"_atom_site_{tag}" for tag in f"{columns} fract_x fract_y fract_z {more}".split()]
    names = [f"length_{axis}" for axis in "abc"] + [f"angle_{angle}" for angle in ("alpha", "beta", "gamma")]
    sizes = [f"_cell_{name} {size}" for name, size in zip(names, cell, strict=True)]
    if "_symmetry" not in extra and "_space_group" not in extra:
        extra += group("P 1")
    return "\n".join(["data_x", *sizes, extra, "loop_", *tags, *rows]) + "\n"


def formula(text):
    return "" if text is None else f"_chemical_formula_sum '{text}'\n"


def group(symbol):
    return f"_symmetry_space_group_name_H-M '{symbol}'\n"


def listed(*operations):
    return "\n".join(["loop_", "_symmetry_equiv_pos_as_xyz", *(f"'{operation}'" for operation in operations)]) + "\n"


def read(text):
    """The crystal, and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (item,) = read_cif(text, "file")
    if isinstance(item, CrystalInputError):
        raise item
    return item, " ".join(str(one.message) for one in caught if one.category is CrystalWarning)


def read_silent(text):
    crystal, told = read(text)
    assert not told
    return crystal


# Symbols of elements


@pytest.mark.parametrize(
    "symbol", ["Va", "Bq", "Cg", "Cent", "X", "Q", "M", "Lp", "Hal", "Me", "H2O", "SO4", "R", "Ln"]
)
def test_a_type_symbol_is_an_element_or_an_error(symbol):
    with pytest.raises(UnknownElementError, match=f"'{symbol}' on site 1"):
        read(cif(["K1 K 0 0 0", f"A1 {symbol} .5 .5 .5"]))


@pytest.mark.parametrize("symbol", ["Fe3+", "FE", "Fe+3", "Fe2.5+", "Fe1", "Fe_pv", "57Fe", "Fe(1)"])
def test_decorations_of_an_element(symbol):
    assert read_silent(cif([f"A1 {symbol} .5 .5 .5"])).formula == "Fe1"


@pytest.mark.parametrize("symbol, sum_", [("T", "Al O2"), ("CO3", "Ca C O3"), ("HO", "H2 O2")])
def test_a_type_symbol_that_may_mean_something_else_is_compared_with_the_formula(symbol, sum_):
    with pytest.raises(UnknownElementError, match="formula sum"):
        read(cif([f"A1 {symbol} .5 .5 .5"], extra=formula(sum_)))


@pytest.mark.parametrize(
    "label, sum_, z",
    [
        ("HO2", "C H4 O", 1),
        ("HG3", "C H3 N", 1),
        ("CD1", "C6 H6 N", 6),
        ("CN", "C N K", 6),
        ("NB2", "C N2", 7),
        ("OS1", "S O4 K2", 8),
        ("WatO", "Mg O H2", 8),
        ("Np1", "C5 H5 N", 7),
        ("HO1", "Ho2 O3", 67),
        ("CO1", "Co O", 27),
        ("SN1", "Sn O2", 50),
    ],
)
def test_a_label_is_compared_with_the_formula_sum(label, sum_, z):
    assert read(cif([f"{label} 0 0 0"], columns="label", extra=formula(sum_)))[0].atomic_numbers.tolist() == [z]


@pytest.mark.parametrize("label, sum_", [("T2", "Al P O4"), ("T1", "Si O2 H2"), ("W1", "Ca H2 O"), ("M1", "Fe O")])
def test_a_label_without_an_element_of_the_formula_sum(label, sum_):
    with pytest.raises(UnknownElementError, match=label):
        read(cif([f"{label} 0 0 0"], columns="label", extra=formula(sum_)))


def test_labels_that_stay_open_are_decided_by_the_amounts():
    """SI1 is silicon or sulfur: the formula sum has both."""
    rows = ["SI1 0 0 0", "S1 .5 .5 .5", "S2 .2 .5 .1"]
    assert read_silent(cif(rows, columns="label", extra=formula("S2 Si"))).formula == "Si1S2"
    rows = ["SI1 0 0 0", "S1 .5 .5 .5", "Si2 .2 .5 .1"]
    assert read_silent(cif(rows, columns="label", extra=formula("S2 Si"))).formula == "Si1S2"
    with pytest.raises(UnknownElementError, match="leave the element open"):
        read(cif(rows, columns="label", extra=formula("S7 Si")))


@pytest.mark.parametrize(
    "labels, expected", [(["HO1", "O1", "H2"], "H2O1"), (["HO1", "O1"], "O1Ho1"), (["CL1", "K1"], "Cl1K1")]
)
def test_labels_without_a_formula_sum_are_said(labels, expected):
    rows = [f"{label} {k / 10 + .1} 0 0" for k, label in enumerate(labels)]
    crystal, told = read(cif(rows, (9, 9, 9, 90, 90, 90), columns="label"))
    assert crystal.formula == expected and f"{labels[0]} is read as" in told


@pytest.mark.parametrize("label", ["Va1", "Bq2", "Cent1", "Du1", "Cg1", "T3"])
def test_labels_of_no_atom(label):
    with pytest.raises(UnknownElementError, match=label):
        read(cif([f"{label} 0 0 0"], columns="label"))


def test_a_missing_type_symbol_is_that_of_the_label():
    assert read_silent(cif(["Na1 ? 0 0 0", "Cl1 Cl .5 .5 .5", "K1 . .5 0 0"])).formula == "Na1Cl1K1"


@pytest.mark.parametrize("symbol", ["Wat", "OH", "NH4"])
def test_groups_of_atoms_are_said(symbol):
    assert "hydrogen" in read(cif([f"A1 {symbol} 0 0 0"]))[1]


# Rows that are no atoms, and coordinates that are not given


def test_dummies_are_no_atoms():
    rows = ["K1 K 0 0 0 d", "Cg1 Cg .1 .1 .1 dum", "X1 O . . . dum", "Br1 Br .5 .5 .5 calc"]
    assert read_silent(cif(rows, more="calc_flag")).formula == "K1Br1"
    with pytest.raises(EmptyStructureError):
        read(cif(["Cg1 Cg .1 .1 .1 dum"], more="calc_flag"))


@pytest.mark.parametrize("rows", [["K1 K 0 0 .1", "H1 H . . ."], ["K1 K . . .", "F1 F . . ."], ["F1 F 0 ? 0"]])
def test_atoms_without_coordinates(rows):
    with pytest.raises(CoordinateError):
        read(cif(rows))


def test_a_dot_that_is_zero_is_said():
    crystal, told = read(cif(["Na1 Na . . .", "F1 F .5 .5 ."]))
    assert crystal.frac_coords.tolist() == [[0, 0, 0], [0.5, 0.5, 0]] and "read as zero" in told


def test_hydrogen_that_is_not_listed_is_said():
    rows = ["O1 O 0 0 0 2", "Na1 Na .5 .5 .5 0"]
    assert "2 hydrogen atoms" in read(cif(rows, more="attached_hydrogens"))[1]
    assert "fewer hydrogen" in read(cif(rows, more="attached_hydrogens").replace("0 2\n", "0 ?\n", 1).replace(
        "data_x", "data_x\n_chemical_formula_sum 'H2 Na O'"))[1]  # fmt: skip
    assert not read(cif([row[:-1] + "0" for row in rows], more="attached_hydrogens"))[1]


# Tags and cells


@pytest.mark.parametrize(
    "categories", ["_cell_", "_atom_site_", "_cell_ _atom_site_ _symmetry_equiv_", "_symmetry_equiv_"]
)
def test_dotted_tags(categories):
    text = cif(["K1 K .1 .2 .3"], extra=listed("x,y,z", "-x,-y,-z"))
    for category in categories.split():
        text = text.replace(category, category[:-1] + ".")
    assert read_silent(text).formula == "K2"


def test_angles_are_right_angles_by_default():
    text = cif(["K1 K 0 0 0", "Br1 Br .5 .5 .5"], extra=group("F m -3 m"))
    without = "\n".join(line for line in text.splitlines() if "_cell_angle" not in line)
    assert read_silent(without).formula == read_silent(text).formula == "K4Br4"
    with pytest.raises(LatticeError, match="volume"):
        read(without.replace("data_x", "data_x\n_cell_volume 108.3"))
    with pytest.raises(SymmetryError, match="cell"):
        read(without.replace("F m -3 m", "P 63/m m c"))


# Space groups and their settings

ANATASE = (3.785, 3.785, 9.514, 90, 90, 90)
SPINEL = ["Mg1 Mg .125 .125 .125", "Al1 Al .5 .5 .5", "O1 O .2624 .2624 .2624"]
HEMATITE = (5.427, 5.427, 5.427, 55.28, 55.28, 55.28)


@pytest.mark.parametrize(
    "symbol, meant",
    [
        ("F 4/m -3 2/m", "F m -3 m"),
        ("F m 3 m", "F m -3 m"),
        ("I 41/a m d Z", "I 41/a m d:2"),
        ("I41/amdS", "I 41/a m d:1"),
        ("P 4/n 21/m 2/m (origin choice 2)", "P 4/n m m:2"),
        ("R -3 c R", "R -3 c:R"),
        ("R-3cH", "R -3 c:H"),
        ("R 3 2 (rhombohedral axes)", "R 3 2:R"),
        ("P 42/n c m, origin 1", "P 42/n c m:1"),
        ("F D D D :2", "F d d d:2"),
        ("P2(1)/n", "P 1 21/n 1"),
        ("P 1 21/c 1 (No. 14)", "P 1 21/c 1"),
        ("C 2/m 2/c 21/a", "C m c a"),
        ("C m c e", "C m c a"),
        ("P_63/m_m_c", "P 63/m m c"),
    ],
)
def test_symbols_of_space_groups(symbol, meant):
    assert settings_of_symbol(symbol)[0][0].symbol == meant


@pytest.mark.parametrize("named", ["_space_group_IT_number 227\n", group("F d -3 m")])
@pytest.mark.parametrize("code, origin", [("2", 0.0), ("1", -0.125)])
def test_the_code_of_the_coordinate_system(named, code, origin):
    rows = [" ".join([*row.split()[:2], *(str(float(x) - origin) for x in row.split()[2:])]) for row in SPINEL]
    extra = named + f"_space_group_IT_coordinate_system_code {code}\n"
    crystal = read_silent(cif(rows, (8.08, 8.08, 8.08, 90, 90, 90), extra=extra))
    assert crystal.formula == "O32Mg8Al16"
    assert closest_pair(crystal.frac_coords, crystal.lattice)[2] == pytest.approx(1.93, abs=0.03)


def test_the_code_1_beside_a_group_with_one_setting():
    code = "_space_group_IT_coordinate_system_code 1\n"
    crystal, said = read(cif(["Na Na 0 0 0", "Cl Cl .5 .5 .5"], extra=group("P m -3 m") + code))
    assert crystal.formula == "Na1Cl1" and not said
    with pytest.raises(SymmetryError, match="without a setting '1'"):  # axes
        read(cif(["Na Na 0 0 0"], extra=group("R -3 m") + code))


def test_an_unknown_code_is_an_error():
    with pytest.raises(SymmetryError, match="setting"):
        read(cif(SPINEL, extra=group("F d -3 m") + "_space_group_IT_coordinate_system_code cab\n"))


@pytest.mark.parametrize(
    "claim", ["_cell_formula_units_Z 8\n" + formula("Mg Al2 O4"), "_exptl_crystal_density_diffrn 3.58\n"]
)
@pytest.mark.parametrize("name", [group("F d -3 m"), "_space_group_IT_number 227\n"])
def test_the_origin_that_agrees_with_the_file(claim, name):
    crystal, told = read(cif(SPINEL, (8.08, 8.08, 8.08, 90, 90, 90), extra=name + claim))
    assert crystal.formula == "O32Mg8Al16" and "F d -3 m:2" in told


def test_an_origin_that_nothing_tells_is_said():
    rows = ["Ti1 Ti 0 .75 .125"]
    assert "origin" in read(cif(rows, (9, 9, 20, 90, 90, 90), extra=group("I 41/a m d")))[1]
    crystal, told = read(cif(rows, ANATASE, extra=group("I 41/a m d")))  # with the other origin Ti is 1.9 Å from Ti
    assert crystal.num_nodes == 4 and "I 41/a m d:2" in told
    assert not read(cif(rows, ANATASE, extra=group("I 41/a m d :2")))[1]


@pytest.mark.parametrize("name", ["_space_group_IT_number 167\n", group("R -3 c"), group("R -3 2/c R")])
def test_rhombohedral_axes(name):
    rows = ["Fe1 Fe .3553 .3553 .3553", "O1 O .5559 -.0559 .25"]
    crystal = read_silent(cif(rows, HEMATITE, extra=name))
    assert crystal.formula == "O6Fe4" and closest_pair(crystal.frac_coords, crystal.lattice)[2] > 1.9


@pytest.mark.parametrize(
    "symbol, cell",
    [
        ("R -3 c :H", HEMATITE),
        ("R -3 c :R", (5.03, 5.03, 13.75, 90, 90, 120)),
        ("P 63 m c", (3.2, 3.2, 5.2, 90, 90, 90)),
        ("I a -3 d", (12, 12, 13, 90, 90, 90)),
        ("P 1 21/c 1", (5, 6, 7, 90, 90, 103)),
        ("P 4/m m m", (4, 5, 4, 90, 90, 90)),
        ("P n m a", (5, 6, 7, 90, 95, 90)),
    ],
)
def test_a_group_that_does_not_leave_the_cell_unchanged(symbol, cell):
    with pytest.raises(SymmetryError, match="lengths and angles|does not fit"):
        read(cif(["K1 K .1 .2 .3"], cell, extra=group(symbol)))


def test_the_cell_tells_the_unique_axis():
    rows = ["K1 K .1 .2 .3"]
    crystal = read_silent(cif(rows, (5, 6, 7, 90, 90, 103), extra="_space_group_IT_number 10\n"))
    assert {tuple(x) for x in crystal.frac_coords.round(6)} == {
        (0.1, 0.2, 0.3),
        (0.9, 0.8, 0.3),
        (0.9, 0.8, 0.7),
        (0.1, 0.2, 0.7),
    }
    with pytest.raises(SymmetryError, match="P 1 1 21/a, P 1 1 21/n, P 1 1 21/b"):  # three choices of the cell
        read(cif(rows, (5, 6, 7, 90, 90, 103), extra="_space_group_IT_number 14\n"))


# Lists of operations

P4 = ("x,y,z", "-y,x,z", "-x,-y,z", "y,-x,z")


@pytest.mark.parametrize(
    "operations",
    [("x,y,z", "-y,x,z", "-x,-y,z"), (*P4[:3], "y,-x,z+1/2"), ("x,y,z", "-x,-y,z+1/3"), ("x,y,z", "x+1/3,y,z")],
)
def test_operations_that_are_no_group(operations):
    with pytest.raises(SymmetryError, match="no group"):
        read(cif(["K1 K .1 .2 .3"], extra=listed(*operations)))


def test_an_incomplete_list_of_the_group_that_is_named():
    crystal, told = read(cif(["K1 K .1 .2 .3"], extra=listed(*P4[:3]) + group("P 4")))
    assert crystal.num_nodes == 4 and "P 4" in told
    assert read_silent(cif(["K1 K .1 .2 .3"], extra=listed(*P4[1:]))).num_nodes == 4  # the identity is left out


def test_operations_that_do_not_fit_the_cell():
    with pytest.raises(SymmetryError, match="lengths and angles"):
        read(cif(["K1 K .1 .2 .3"], (4, 5, 6, 90, 90, 90), extra=listed(*P4)))
    crystal, told = read(cif(["K1 K .1 .2 .3"], (5, 5.05, 6, 90, 90, 90), extra=listed(*P4)))
    assert crystal.num_nodes == 4 and "does not quite obey" in told
    assert read_silent(cif(["K1 K .1 .2 .3"], (5, 5.004, 6, 90, 90, 90), extra=listed(*P4))).num_nodes == 4


@pytest.mark.parametrize(
    "claim", ["_cell_formula_units_Z 4\n" + formula("Cs I"), "_exptl_crystal_density_diffrn 13.8\n"]
)
def test_operations_that_are_fewer_than_the_atoms_need(claim):
    rows = ["Cs1 Cs 0 0 0", "I1 I .5 .5 .5"]
    crystal, told = read(cif(rows, extra=claim + listed("x,y,z") + group("F m -3 m")))
    assert crystal.formula == "I4Cs4" and "F m -3 m" in told
    crystal, told = read(cif(rows, extra=listed("x,y,z") + group("F m -3 m")))
    assert crystal.formula == "I1Cs1" and "fewer" in told


def test_a_file_that_contradicts_itself_is_told():
    rows = ["Cs1 Cs 0 0 0", "I1 I .5 .5 .5"]
    assert "formula sum" in read(cif(rows, extra=formula("Cs I2")))[1]
    assert "units" in read(cif(rows, extra=formula("Cs I") + "_cell_formula_units_Z 2\n"))[1]
    assert "g/cm3" in read(cif(rows, extra="_exptl_crystal_density_diffrn 1.7\n"))[1]
    assert not read(cif(rows, extra=formula("Cs I") + "_cell_formula_units_Z 1\n"))[1]


# Atoms that are listed beside the operations that make them


@pytest.mark.parametrize("shift", [0.0, 0.012])
@pytest.mark.parametrize("occupancy", ["1", "0.5"])
def test_an_image_in_the_list_is_no_further_atom(shift, occupancy):
    if shift and occupancy != "1":
        return  # partial occupancies are added unless the coordinates are the same
    rows = [f"C1 C .11 .22 .31 {occupancy}", f"C2 C -.11 -.22 {-0.31 + shift:.3f} {occupancy}"]
    crystal, _ = read(cif(rows, (9, 9, 9, 90, 90, 90), extra=listed("x,y,z", "-x,-y,-z"), more="occupancy"))
    assert crystal.formula == ("C2" if occupancy == "1" else "C1")


def test_all_atoms_of_the_cell_beside_the_name_of_the_group():
    rows = [
        f"Cu{k} Cu {x} {y} {z}" for k, (x, y, z) in enumerate([(0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)])
    ]
    assert read_silent(cif(rows, (3.6, 3.6, 3.6, 90, 90, 90), extra=group("F m -3 m"))).formula == "Cu4"


def test_a_large_molecule_with_every_atom_listed():
    """480 atoms, four times 120, which are all listed."""
    grid = np.stack(np.meshgrid(*[np.arange(5)] * 3), -1).reshape(-1, 3)[:120]
    x, y, z = ((grid + 0.5) * 0.09 + [0.02, 0.015, 0.02]).T
    images = [(x, y, z), (-x, y + 0.5, 0.5 - z), (-x, -y, -z), (x, 0.5 - y, z + 0.5)]
    rows = [f"C{k} C {u:.4f} {v:.4f} {w:.4f}" for k, (u, v, w) in enumerate(np.hstack(images).T)]
    assert read_silent(cif(rows, (20, 22, 24, 90, 95, 90), extra=group("P 1 21/c 1"))).num_nodes == 480


def test_atoms_that_symmetry_makes_too_close():
    with pytest.raises(OverlappingAtomsError, match="0.6.. Å apart by the symmetry operations"):
        read(cif(["K1 K .06 0 .3"], extra=listed("x,y,z", "-x,-y,z")))
    assert read_silent(cif(["K1 K .06 0 .3 .5"], extra=listed("x,y,z", "-x,-y,z"), more="occupancy")).formula == "K1"
    assert read_silent(cif(["H1 H .07 0 .3"], extra=listed("x,y,z", "-x,-y,z"))).formula == "H2"
    assert "0.600 Å apart" in read(cif(["K1 K 0 0 0", "Na1 Na .12 0 0"]))[1]  # as listed


def test_rows_that_crowd_on_a_point_are_refused_at_once():
    rows = [f"C{k} C 0 0 0 .00001" for k in range(5000)]
    with pytest.raises(LimitError, match="5000 sites"):
        read(cif(rows, more="occupancy"))


# POSCAR


@pytest.mark.parametrize(
    "mode, rows", [("Direct", "0 0 0\n.5 .5 .5"), ("Cartesian", "0 0 0\n1 1 1 T T T"), ("S\nK", "0 0 0\n1 1 1")]
)
def test_three_scales_of_a_poscar(mode, rows):
    text = f"salt\n3 4 2.5\n2 0 0\n0 2 0\n0 0 2\nK Br\n1 1\n{mode}\n{rows}\n"
    (crystal,) = read_structure_text(text, "salt")
    assert np.allclose(crystal.lattice, np.diag([6, 8, 5])) and np.allclose(crystal.frac_coords, [[0] * 3, [0.5] * 3])


@pytest.mark.parametrize("scale", ["3 4", "3 -4 5", "0 1 1"])
def test_scales_that_mean_nothing(scale):
    with pytest.raises(UnsupportedFileError, match="one scale, or three positive ones"):
        list(read_structure_text(f"salt\n{scale}\n2 0 0\n0 2 0\n0 0 2\nK\n1\nDirect\n0 0 0\n", "salt"))


@pytest.mark.parametrize(
    "line",
    [
        "_symmetry_space_group_name_H-M P 1",
        "_symmetry_space_group_name_H-M P 1  \t\r",
        "_pd_phase_name Na0.8CoO2 supercell",
        "_citation_author_name 'M. O'Keeffe, O.M. Yaghi',",
        '_publ_section_title "A title" of 1999',
        '_publ_section_title an "odd" title',
    ],
)
def test_a_value_of_several_words_without_quotes_is_the_rest_of_its_line(line):
    cell = "".join(f"_cell_length_{axis} 5.64 # by eye\n_cell_angle_{angle} 90\n" for axis, angle in
                   zip("abc", ("alpha", "beta", "gamma"), strict=True))  # fmt: skip
    sites = "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
    text = f"data_x\n{line}\n{cell}{sites}Na1 0 0 0\nCl1 .5 .5 .5 # the anion\n"
    [crystal] = read_structures(text)
    assert crystal.reduced_formula == "NaCl" and crystal.num_nodes == 2 and round(crystal.volume, 2) == 179.41


@pytest.mark.parametrize("line", ["_cell_length_a 5.64 or so", "_cell_length_a 'five point six',"])
def test_a_number_of_several_words_is_no_number(line):
    with pytest.raises(CrystalInputError):
        list(read_structures(f"data_x\n{line}\n_cell_length_b 5\n_cell_length_c 5\nloop_\n_atom_site_label\n"
                             "_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\nNa 0 0 0\n"))  # fmt: skip
