"""Files that mislead, made of well-known crystals: the right crystal, with a remark where it is due, or a typed error.

What is right is computed beside the readers: gemmi expands the atoms in the setting that the file means.
"""

import re
import warnings

import gemmi
import numpy as np
import pytest

from deepchem_crystalssl import errors
from deepchem_crystalssl.crystals.elements import atomic_number_of
from deepchem_crystalssl.crystals.formats.encodings import decode_text
from deepchem_crystalssl.crystals.formats.texts import read_structure_text
from deepchem_crystalssl.crystals.validation import lattice_from_parameters
from deepchem_crystalssl.diffraction.pattern_files import read_pattern_bytes

CRYSTALS = {  # setting, cell, atoms, formula sum, Z
    "halite": ("F m -3 m", "5.64 5.64 5.64 90 90 90", "Na 0 0 0, Cl .5 .5 .5", "Cl Na", 4),
    "cesium": ("P m -3 m", "4.12 4.12 4.12 90 90 90", "Cs 0 0 0, Cl .5 .5 .5", "Cl Cs", 1),
    "diamond": ("F d -3 m:2", "3.567 3.567 3.567 90 90 90", "C .125 .125 .125", "C", 8),
    "spinel": ("F d -3 m:2", "8.0836 8.0836 8.0836 90 90 90",
               "Mg .125 .125 .125, Al .5 .5 .5, O .2624 .2624 .2624", "Al2 Mg O4", 8),
    "zircon": ("I 41/a m d:2", "6.607 6.607 5.982 90 90 90",
               "Zr 0 .75 .125, Si 0 .25 .375, O 0 .0661 .1953", "O4 Si Zr", 4),
    "scheelite": ("I 41/a:2", "5.243 5.243 11.376 90 90 90",
                  "Ca 0 .25 .625, W 0 .25 .125, O .1507 .0086 .2106", "Ca O4 W", 4),
    "anatase": ("I 41/a m d:1", "3.785 3.785 9.514 90 90 90", "Ti 0 0 0, O 0 0 .2081", "O2 Ti", 4),
    "calcite": ("R -3 c:H", "4.99 4.99 17.06 90 90 120", "Ca 0 0 0, C 0 0 .25, O .257 0 .25", "C Ca O3", 6),
    "bismuth": ("R -3 m:H", "4.546 4.546 11.862 90 90 120", "Bi 0 0 .234", "Bi", 6),
    "millerite": ("R 3 m:H", "9.607 9.607 3.143 90 90 120", "Ni -.0878 .0878 .088, S .1124 -.1124 .596", "Ni S", 9),
    "dolomite": ("R -3:H", "4.8069 4.8069 16.0034 90 90 120",
                 "Ca 0 0 0, Mg 0 0 .5, C 0 0 .24288, O .2477 -.0347 .244", "C2 Ca Mg O6", 3),
    "heazlewoodite": ("R 3 2:H", "5.7305 5.7305 7.118 90 90 120", "S 0 0 .2521, Ni 0 .2449 .5", "Ni3 S2", 3),
    "baddeleyite": ("P 1 21/c 1", "5.1505 5.2116 5.3173 90 99.23 90",
                    "Zr .2754 .0395 .2083, O .07 .3317 .3447, O .4496 .7569 .4792", "O2 Zr", 4),
    "aragonite": ("P m c n", "4.9614 7.9671 5.7404 90 90 90",
                  "Ca .25 .415 .7597, C .25 .7622 -.0862, O .25 .9222 -.0957, O .4736 .681 -.0873", "C Ca O3", 4),
    "quartz": ("P 32 2 1", "4.913 4.913 5.405 90 90 120", "Si .4697 0 .66667, O .4135 .2669 .7858", "O2 Si", 3),
    "zincite": ("P 63 m c", "3.25 3.25 5.207 90 90 120", "Zn .33333 .66667 0, O .33333 .66667 .3821", "O Zn", 2),
    "urea": ("P -4 21 m", "5.565 5.565 4.684 90 90 90",
             "C 0 .5 .326, O 0 .5 .5953, N .1459 .6459 .1766, H .2575 .7575 .2827, H .1441 .6441 -.038",
             "C H4 N2 O", 2),
    "methanol": ("P 1", "6.4 7.2 4.65 90 90 90",
                 "C .4 .4 .4, O .55 .5 .55, H .66 .43 .6, H .27 .47 .35, H .35 .3 .55, H .47 .36 .22", "C H4 O", 1),
}  # fmt: skip
FULL = "type_symbol fract_x fract_y fract_z occupancy"
OBVERSE = np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3  # rhombohedral cell vectors in hexagonal ones


def expanded(symbols, frac, setting, lattice):
    """Atomic numbers and coordinates of all atoms of the cell."""
    z, found = [], []
    for symbol, position in zip(symbols, frac, strict=True):
        images = []
        for operation in gemmi.find_spacegroup_by_name(setting).operations():
            image = np.array(operation.apply_to_xyz(position.tolist()))
            if all(distance(image, other, lattice) > 0.1 for other in images):
                images.append(image)
        z += [atomic_number_of()[symbol]] * len(images)
        found += images
    return np.array(z), np.array(found)


def distance(one, other, lattice):
    shift = one - other
    return np.linalg.norm((shift - np.round(shift)) @ lattice, axis=-1)


def assert_same(crystal, z, frac, lattice):
    """The crystal has these atoms, in any order, to 0.1 Å."""
    assert np.allclose(crystal.lattice, lattice, atol=2e-3)
    assert sorted(crystal.atomic_numbers) == sorted(z), crystal
    for number, position in zip(z, frac, strict=True):
        assert distance(crystal.frac_coords[crystal.atomic_numbers == number], position, lattice).min() < 0.1


class File:
    """A CIF of a known crystal, and what it means."""

    def __init__(self, crystal, setting=None, transformation=None, shift=(0.0, 0.0, 0.0)):
        standard, cell, atoms, self.formula, self.units = CRYSTALS[crystal]
        words = [atom.split() for atom in atoms.split(",")]
        self.symbols, frac = [word[0] for word in words], np.array([word[1:] for word in words], float)
        self.setting, change = setting or standard, np.eye(3) if transformation is None else np.array(transformation)
        cell = gemmi.UnitCell(*map(float, cell.split()))
        vectors = change @ np.array(cell.orth.mat.tolist()).T
        lengths = np.linalg.norm(vectors, axis=1)
        cosines = (vectors @ vectors.T / np.outer(lengths, lengths))[[1, 0, 0], [2, 2, 1]]
        self.cell = [*lengths.round(5), *np.degrees(np.arccos(cosines)).round(5)]
        self.lattice = lattice_from_parameters(*self.cell)
        self.frac = frac @ np.linalg.inv(change) + shift
        self.z, self.all = expanded(self.symbols, self.frac, self.setting, self.lattice)

    def text(self, *head, labels=None, rows=None, columns="type_symbol fract_x fract_y fract_z"):
        names = [f"length_{axis}" for axis in "abc"] + [f"angle_{angle}" for angle in ("alpha", "beta", "gamma")]
        lines = ["data_x", *(f"_cell_{name} {size}" for name, size in zip(names, self.cell, strict=True)), *head]
        if labels is not None:
            columns = columns.replace("type_symbol", "label")
        if rows is None:
            words = labels or self.symbols
            rows = [f"{word} {x:.5f} {y:.5f} {w:.5f}" for word, (x, y, w) in zip(words, self.frac, strict=True)]
        return "\n".join([*lines, "loop_", *(f"_atom_site_{column}" for column in columns.split()), *rows]) + "\n"

    def listed(self):
        """The rows of all atoms of the cell."""
        symbols = [gemmi.Element(int(z)).name for z in self.z]
        return [f"{symbol} {x:.4f} {y:.4f} {w:.4f}" for symbol, (x, y, w) in zip(symbols, self.all % 1, strict=True)]

    @property
    def stated(self):
        return f"_chemical_formula_sum '{self.formula}'\n_cell_formula_units_Z {self.units}"

    @property
    def operations(self):
        return [operation.triplet() for operation in gemmi.find_spacegroup_by_name(self.setting).operations()]


def named(symbol):
    return f"_space_group_name_H-M_alt '{symbol}'"


def number(n, code=None):
    return f"_space_group_IT_number {n}" + (f"\n_space_group_IT_coordinate_system_code {code}" if code else "")


def operations(texts):
    return "loop_ _space_group_symop_operation_xyz\n" + "\n".join(f"'{text}'" for text in texts)


def read(text, kind="cif"):
    """The crystal, and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (item,) = read_structure_text(text, "file", kind)
    if isinstance(item, errors.CrystalInputError):
        raise item
    return item, "; ".join(str(one.message) for one in caught if one.category is errors.CrystalWarning)


def check(file, text, told=""):
    """The right crystal; a remark with certain words, or none."""
    crystal, said = read(text)
    assert_same(crystal, file.z, file.all, file.lattice)
    assert re.search(told, said) if told else not said, said


# Labels and symbols

METHANOL_LABELS = (
    "C1 O1 HO1 H1A H1B H1C", "CM OM HM HM1 HM2 HM3", "CA1 OA1 HE1 HF1 HG1 HO1", "c1 o1 ho1 h1a h1b h1c",
    "C(1) O(1N) H(O1) H(1A) H(1B) H(1C)", "CD1 OD1 HD1 HD2 HD3 HD4", "CS1 OS1 HS1 HS2 HS3 HS4",
    "CO1 OC1 HO HC1 HC2 HC3", "Cm1 Os1 Hf1 He1 Hg1 Ho1", "C1' O1'' HO1'' H1' H1* H1#",
    "C1_a O(1W) DO1 D1A D1B D1C",
)  # fmt: skip


@pytest.mark.parametrize("labels", METHANOL_LABELS)
def test_labels_that_begin_like_other_elements(labels):
    file = File("methanol")
    check(file, file.text(named("P 1"), file.stated, labels=labels.split()))


def test_the_loop_of_atom_types_tells_the_elements():
    file = File("methanol")
    types = "loop_\n_atom_type_symbol\nC\nH\nO"
    check(file, file.text(named("P 1"), types, labels="CO1 OH1 HO1 HF1 HG1 HE1".split()))
    labels = "C1 OH1 HO1 HO2 HO3 HO4".split()  # without a formula sum HO1 is hydrogen beside OH1
    check(file, file.text(named("P 1"), labels=labels), "HO1 is read as H, .*heavy atom of a group$")


@pytest.mark.parametrize("symbol", "Va Vac Du Bq Cg X Q M1 Lp Cent Ph CN NO NO2 BH4 Cu2+0.5 Fe(III) H2O".split())
def test_symbols_of_no_element(symbol):
    file = File("cesium")
    with pytest.raises(errors.UnknownElementError, match=re.escape(symbol)):
        read(file.text(named("P m -3 m"), rows=[f"{symbol} 0 0 0", "Cl .5 .5 .5"]))


@pytest.mark.parametrize("symbol", "Cs1+ CS CS+1 'Cs+1' Cs(1) 133Cs Cs0.5+ Cs+2.67".split())
def test_symbols_of_an_element(symbol):
    file = File("cesium")
    check(file, file.text(named("P m -3 m"), rows=[f"{symbol} 0 0 0", "Cl .5 .5 .5"]))


@pytest.mark.parametrize("symbol, z", [("NH3", 7), ("NH", 7), ("NO3", 7), ("OH-", 8), ("Wat", 8)])
def test_groups_of_atoms_are_told(symbol, z):
    crystal, said = read(File("cesium").text(named("P m -3 m"), rows=[f"{symbol} 0 0 0", "Cl .5 .5 .5"]))
    assert crystal.atomic_numbers.tolist() == [z, 17] and "group" in said


# Settings

RHOMBOHEDRAL = {"calcite": 167, "bismuth": 166, "millerite": 160, "dolomite": 148, "heazlewoodite": 155}


@pytest.mark.parametrize("crystal", RHOMBOHEDRAL)
def test_rhombohedral_and_hexagonal_axes(crystal):
    symbol, n = CRYSTALS[crystal][0][:-2], RHOMBOHEDRAL[crystal]
    hexagonal, rhombohedral = File(crystal), File(crystal, f"{symbol}:R", OBVERSE)
    for file, code in ((hexagonal, "H"), (rhombohedral, "R")):
        for said in (number(n), number(n, code.lower()), named(f"{symbol} {code}"), named(symbol.lower())):
            check(file, file.text(said))
        other = rhombohedral if file is hexagonal else hexagonal
        for wrong in (named(f"{symbol}:{other.setting[-1]}"), operations(other.operations)):
            with pytest.raises(errors.SymmetryError, match="lengths and angles"):
                read(file.text(wrong))


ORIGINS = {
    "diamond": ("1", 227, (0.125, 0.125, 0.125)),
    "spinel": ("1", 227, (0.125, 0.125, 0.125)),
    "zircon": ("1", 141, (0, -0.25, 0.125)),
    "anatase": ("2", 141, (0, 0.25, -0.125)),
    "scheelite": ("1", 88, (0, 0.25, 0.125)),
}


@pytest.mark.parametrize("crystal", ORIGINS)
def test_choices_of_origin(crystal):
    code, n, shift = ORIGINS[crystal]
    first = File(crystal)
    symbol, standard = first.setting.split(":")
    for file in (first, File(crystal, f"{symbol}:{code}", shift=shift)):
        own = file.setting[-1]
        suffix = {"1": "S", "2": "Z"}[own]
        for said in (named(file.setting), named(f"{symbol} {suffix}"), named(symbol.replace(" ", "") + f":{own}"),
                     number(n, own), f"_symmetry.space_group_name_Hall '{gemmi.SpaceGroup(file.setting).hall}'",
                     operations(file.operations)):  # fmt: skip
            check(file, file.text(said))
        for said in (named(symbol), number(n)):
            check(file, file.text(said, file.stated), "" if own == "1" else "read with the operations|which origin")


@pytest.mark.parametrize("crystal", ["diamond", "zircon", "scheelite"])
def test_an_origin_that_distances_tell(crystal):
    file = File(crystal)
    check(file, file.text(named(file.setting[:-2])), "apart")


def test_an_origin_that_multiplicities_tell():
    file = File("diamond")
    for scale in (1, 3):  # in a larger cell no distance is odd
        file.cell[:3] = [scale * 3.567] * 3
        file.lattice = lattice_from_parameters(*file.cell)
        columns = FULL.replace("occupancy", "symmetry_multiplicity")
        check(file, file.text(named("F d -3 m"), rows=["C .125 .125 .125 8"], columns=columns), "multiplicities")


CELL_CHOICES = {
    "P 1 21/c 1": np.eye(3),
    "P 1 21/n 1": [[-1, 0, -1], [0, 1, 0], [1, 0, 0]],
    "P 1 21/a 1": [[0, 0, -1], [0, 1, 0], [1, 0, 0]],
    "P 1 1 21/b": [[1, 0, 0], [0, 0, -1], [0, 1, 0]],
    "P 21/b 1 1": [[0, 1, 0], [0, 0, 1], [1, 0, 0]],
}


@pytest.mark.parametrize("setting", CELL_CHOICES)
def test_choices_of_a_monoclinic_cell(setting):
    file = File("baddeleyite", setting, CELL_CHOICES[setting])
    words = setting.split()
    short = " ".join([words[0], *(word for word in words[1:] if word != "1")])
    marked = re.sub("21", "2~1~", setting)
    for said in (named(setting), named(marked), named(f"{setting} (14)"), operations(file.operations)):
        check(file, file.text(said))
    if words[1] == "1" and words[-1] == "1":
        check(file, file.text(named(short)))
        check(file, file.text(number(14)), "which setting|read with the operations of")  # distances tell
    else:
        with pytest.raises(errors.SymmetryError, match="does not fit the cell"):
            read(file.text(number(14)))


def test_orthorhombic_settings():
    file = File("aragonite")
    for said in ("P m c n", "Pmcn", "pmcn", "P_m_c_n", "P 21/m 21/c 21/n"):
        check(file, file.text(named(said)))
    check(file, file.text(number(62, "bca")))
    check(file, file.text(number(62)), "P m c n")


def test_a_number_that_is_none_is_no_group():
    file = File("halite")
    with pytest.raises(errors.SymmetryError):
        read(file.text(number("1.5")))
    assert "no space group" in read(file.text())[1]
    assert "no space group" in read(file.text("_symmetry_unheard_of 'F m -3 m'"))[1]


# Operations, and atoms that are listed beside them

LISTED = "halite diamond calcite spinel baddeleyite urea quartz zincite aragonite scheelite".split()


@pytest.mark.parametrize("crystal", LISTED)
def test_all_atoms_are_listed_beside_the_group(crystal):
    file = File(crystal)
    for head in ((named(file.setting),), (named(file.setting), file.stated), (operations(file.operations),),
                 (named(file.setting), operations(["x,y,z"]), file.stated)):  # fmt: skip
        for occupancy in ("1", "0.75"):
            rows = [f"{row} {occupancy}" for row in file.listed()]
            crystal, _ = read(file.text(*head, rows=rows, columns=FULL))
            assert_same(crystal, file.z, file.all, file.lattice)
            assert np.allclose(crystal.species.occupancy, float(occupancy))


@pytest.mark.parametrize("crystal", ["quartz", "zincite", "urea"])
def test_lists_of_operations(crystal):
    file = File(crystal)
    listed = file.operations
    for odd in (listed[::-1], listed[1:], listed * 2, [text.upper().replace(",", " , ") for text in listed]):
        check(file, file.text(operations(odd)))
    check(file, file.text(named(file.setting), operations(listed[:-1])), "no group")
    check(file, file.text(named(file.setting), file.stated, operations(["x,y,z"])), "read with the operations")
    for broken in ([*listed[:-1], "x,y"], [*listed[:-1], "0,y,z"], [*listed[:-1], "x,y,z+1/5"], listed[:-1]):
        with pytest.raises(errors.SymmetryError):
            read(file.text(operations(broken)))


@pytest.mark.parametrize("apart", [0.12, 0.3, 0.7])
def test_atoms_that_are_too_close_are_told_or_refused(apart):
    file = File("cesium")
    rows = ["Cs .25 .25 .25", f"Cl {0.5 + apart / 4.12:.5f} .5 .5", "Cl .5 .5 .5"]
    assert f"lists Cl on site 1 and Cl on site 2, {apart:.3f} Å apart" in read(file.text(named("P 1"), rows=rows))[1]
    rows = ["Cs .25 .25 .25", f"Cl {0.5 + apart / 8.24:.5f} .5 .5"]
    with pytest.raises(errors.OverlappingAtomsError, match="by the symmetry operations"):
        read(file.text(named("P -1"), rows=rows))


# Numbers, tags and grammar


@pytest.mark.parametrize("occupancy", ["half", "50%", "0,5", "nan", "inf", "-", "0.5+-0.1", "-0.5", "1.2", "100"])
def test_occupancies_that_are_no_numbers(occupancy):
    with pytest.raises(errors.OccupancyError, match=re.escape(occupancy)):
        read(File("cesium").text(named("P m -3 m"), rows=["Cs 0 0 0 1", f"Cl .5 .5 .5 {occupancy}"], columns=FULL))


@pytest.mark.parametrize("half", ["0.5", "'0.5'", '"0.5"', "0.5(1)", "1/2", "5d-1"])
def test_one_half(half):
    rows = ["Cs '0' '0' 0. '1'", f"Cl {half} {half} {half} {half}"]
    crystal, said = read(File("cesium").text(named("P m -3 m"), rows=rows, columns=FULL))
    assert crystal.frac_coords.tolist() == [[0] * 3, [0.5] * 3] and crystal.species.occupancy.tolist() == [1, 0.5]
    assert not said


@pytest.mark.parametrize("missing", ["'?'", "'.'", "?", "."])
def test_what_is_not_given(missing):
    file = File("cesium")
    check(file, file.text(named("P m -3 m"), rows=[f"Cs 0 0 0 {missing}", "Cl .5 .5 .5 1"], columns=FULL))
    with pytest.raises(errors.CoordinateError):
        read(file.text(named("P m -3 m"), rows=["Cs 0 0 0 1", f"H {missing} {missing} {missing} 1"], columns=FULL))


@pytest.mark.parametrize("flag", ["dum", "DUM", "'dum'", '"dum"'])
def test_dummies(flag):
    file = File("cesium")
    rows = ["Cs 0 0 0 d", "Cl .5 .5 .5 d", f"C .25 .25 .25 {flag}"]
    check(file, file.text(named("P m -3 m"), rows=rows, columns=FULL.replace("occupancy", "calc_flag")))


@pytest.mark.parametrize("doubled", ["_cell_length_a 6.64", "_CELL_ANGLE_ALPHA 80", "loop_\n_atom_site_fract_x\n0\n.5"])
def test_tags_that_are_stated_twice(doubled):
    file = File("halite")
    with pytest.raises(errors.CIFSyntaxError, match="twice"):
        read(file.text(named("F m -3 m")) + doubled + "\n")
    same = f"_cell_length_a 5.64\n{named('F m -3 m')}\n_journal_name_full a\n_journal_name_full b\n"
    check(file, file.text(named("F m -3 m")) + same.replace("5.64", str(file.cell[0])))


@pytest.mark.parametrize("scale", [100, 1.02])
def test_a_cell_that_contradicts_its_volume(scale):
    file = File("halite")
    file.cell[:3] = [scale * 5.64] * 3
    file.lattice = lattice_from_parameters(*file.cell)
    check(file, file.text(named("F m -3 m"), "_cell_volume 179.4(2)", file.stated), "volume")


def test_a_mark_of_utf8_before_latin1():
    file = File("halite")
    data = b"\xef\xbb\xbf" + file.text(named("F m -3 m"), "_publ_author_name Mühl").encode("latin-1")
    check(file, decode_text(data, "file"))


# POSCAR

POSCAR = "x\n{scale}\n4.2 0 0\n0 4.2 0\n0 0 4.2\n{elements}\n{numbers}\nDirect\n{rows}\n"


def poscar(scale="1.0", elements="Mg O", numbers="1 1", rows="0 0 0\n.5 .5 .5"):
    return read(POSCAR.format(scale=scale, elements=elements, numbers=numbers, rows=rows), "poscar")


@pytest.mark.parametrize("elements, numbers", [("Mg O H", "1 1"), ("Mg O", "2"), ("Va O", "1 1"), ("", "1 1")])
def test_elements_of_a_poscar(elements, numbers):
    with pytest.raises((errors.UnsupportedFileError, errors.UnknownElementError)):
        poscar(elements=elements, numbers=numbers)
    for fine in ("Mg_pv O_s", "Mg O # by hand", "Mg/1a2b3c O/4d5e6f"):
        crystal, said = poscar(elements=fine)
        assert crystal.formula == "O1Mg1" and not said


@pytest.mark.parametrize(
    "rows, told",
    [
        ("0 0 0\n.1 0 0", "0.420 Å apart"),
        ("0 0 0\n.5 .5 .5\n.2 .2 .2", "counts 2 atoms"),
        ("0 0 0 O\n.5 .5 .5 Mg", "Mg has O in its row"),
        ("0 0 0 Mg\n.5 .5 .5 O\n\n0 0 0", ""),
    ],
)
def test_rows_of_a_poscar(rows, told):
    crystal, said = poscar(rows=rows)
    assert crystal.formula == "O1Mg1" and (told in said if told else not said)


# Patterns

ANGLES = np.arange(20, 40, 0.1)
COUNTS = 50 + (1000 * np.exp(-(((ANGLES - 30) / 0.2) ** 2))).round()
ROWS = [f"{angle:.2f} {count:.0f}" for angle, count in zip(ANGLES, COUNTS, strict=True)]


@pytest.mark.parametrize("header", ["2theta(rad) I", "2th_mrad I", "E(keV) counts", "s(1/A) I", "sinT/L I", "TOF I"])
def test_axes_that_are_not_two_theta(header):
    with pytest.raises(errors.PatternError, match="not two-theta"):
        read_pattern_bytes("\n".join([header, *ROWS]).encode(), "pattern")


@pytest.mark.parametrize("header", ["2theta log(I)", "2theta sqrt(I)", "2theta Icalc"])
def test_counts_that_are_none(header):
    with pytest.raises(errors.PatternError, match="counts"):
        read_pattern_bytes("\n".join([header, *ROWS]).encode(), "pattern")


def test_the_axis_of_fit2d():
    text = "\n".join(["title", "2-Theta Angle (Degrees)", "Intensity", f"  {len(ROWS)}", *ROWS])
    pattern = read_pattern_bytes(text.encode(), "pattern", ".chi")
    assert pattern.two_theta[pattern.counts.argmax()] == pytest.approx(30)
    with pytest.raises(errors.PatternError, match="Radius"):
        read_pattern_bytes(text.replace("2-Theta Angle (Degrees)", "Radius (mm)").encode(), "pattern", ".chi")


@pytest.mark.parametrize("row", ["25 nan", "25 1e400", "25 1e308", "nan 50", "25 abc", "25.0", "-5 50", "20.0 50"])
def test_rows_that_are_no_points(row):
    with pytest.raises(errors.PatternError, match="line 51"):
        read_pattern_bytes("\n".join([*ROWS[:50], row, *ROWS[51:]]).encode(), "pattern")
