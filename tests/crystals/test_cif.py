"""CIF files as people write them, against pymatgen where pymatgen reads them."""

import gzip
import warnings

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifParser, CifWriter

from deepchem_crystalssl import read_structures
from deepchem_crystalssl.crystals.cif.reading import read_cif
from deepchem_crystalssl.crystals.cif.species import element_of_label
from deepchem_crystalssl.errors import (
    CIFSyntaxError,
    CoordinateError,
    CrystalInputError,
    CrystalWarning,
    EmptyStructureError,
    LatticeError,
    NoCrystalsError,
    OccupancyError,
    SymmetryError,
    UnknownElementError,
    UnsupportedFileError,
)

HEAD = """data_{name}
_cell_length_a {a}
_cell_length_b {b}
_cell_length_c {c}
_cell_angle_alpha {alpha}
_cell_angle_beta {beta}
_cell_angle_gamma {gamma}
{symmetry}
loop_
{tags}
{rows}
"""
DEFAULT = dict(name="x", a=5, b=5, c=5, alpha=90, beta=90, gamma=90, symmetry="", rows="Si Si 0 0 0")
TAGS = "_atom_site_label _atom_site_type_symbol _atom_site_fract_x _atom_site_fract_y _atom_site_fract_z"


def cif(extra_tags="", **changes):
    tags = f"{TAGS} {extra_tags}".split()
    return HEAD.format(**{**DEFAULT, **changes, "tags": "\n".join(tags)})


def read_one(text):
    (item,) = read_cif(text, "file")
    if isinstance(item, CrystalInputError):
        raise item
    return item


def pymatgen(text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return CifParser.from_str(text).parse_structures(primitive=False)[0]


def assert_as_pymatgen(text):
    ours, theirs = read_one(text).to_structure(), pymatgen(text)
    theirs.remove_oxidation_states()
    assert len(ours) == len(theirs)
    assert ours.composition.almost_equals(theirs.composition, rtol=1e-3)
    assert StructureMatcher(primitive_cell=False, scale=False).fit(ours, theirs)
    assert np.allclose(ours.lattice.matrix, theirs.lattice.matrix, atol=1e-6)


@pytest.mark.parametrize("symprec", [None, 0.01])
def test_prototypes_written_by_pymatgen(prototypes, symprec):
    for crystal in prototypes[::12]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text = str(CifWriter(crystal.to_structure(), symprec=symprec))
        assert_as_pymatgen(text)


@pytest.mark.parametrize(
    "name, number, prototype",
    [
        ("F m -3 m", 225, [(0, 0, 0)]),
        ("F d -3 m :1", 227, [(0, 0, 0)]),
        ("P 63/m m c", 194, [(1 / 3, 2 / 3, 0.25)]),
        ("R -3 m :H", 166, [(0, 0, 0.2)]),
        ("P n m a", 62, [(0.1, 0.25, 0.3)]),
        ("I 41/a :2", 88, [(0.1, 0.2, 0.3)]),
    ],
)
def test_space_group_by_name_or_number(name, number, prototype):
    gamma = 120 if number in (166, 194) else 90
    c = 8.0 if gamma == 120 else 5.0
    rows = "\n".join(f"Si Si {x:.6f} {y:.6f} {z:.6f}" for x, y, z in prototype)
    by_name = read_one(cif(symmetry=f"_space_group_name_H-M_alt '{name}'", gamma=gamma, c=c, rows=rows))
    lattice = Lattice.from_parameters(5, 5, c, 90, 90, gamma)
    if ":" not in name:
        by_number = read_one(cif(symmetry=f"_space_group_IT_number {number}", gamma=gamma, c=c, rows=rows))
        expected = Structure.from_spacegroup(name, lattice, ["Si"] * len(prototype), prototype)
        assert by_name.num_nodes == by_number.num_nodes == len(expected)
        assert StructureMatcher(primitive_cell=False).fit(by_name.to_structure(), expected)
    assert by_name.num_nodes > 1


@pytest.mark.parametrize(
    "text",
    [
        cif(a="5.43(1)", b="5.43(12)", c="5.430", rows="Si Si 0.1234(5) .25 -0.5(1)"),
        cif(rows="O1 O2- 0 0 0\nFe1 Fe3+ .5 .5 .5"),
        cif(rows="D1 D 0 0 0\nO1 O .5 .5 .5"),
        cif("_atom_site_occupancy", rows="Fe1 Fe 0 0 0 0.5\nCo1 Co 0 0 0 0.5\nO1 O .5 .5 .5 ?"),
        cif("_atom_site_occupancy", rows="Fe1 Fe 0 0 0 0.5(1)\nO1 O .5 .5 .5 1"),
        cif(symmetry="loop_\n_symmetry_equiv_pos_as_xyz\n'x, y, z'\n'-x, -y, -z'", rows="C C 0.1 0.2 0.3\nO O 0 0 0"),
        cif(
            gamma=120,
            c=8,
            symmetry="loop_\n_space_group_symop_operation_xyz\nx,y,z\n-y,x-y,z\n-x+y,-x,z",
            rows="C C 0.3333 0.6667 0.1\nN N 0.1 0.2 0.3",
        ),
        cif(symmetry="_symmetry_space_group_name_H-M 'P 1'"),
        cif(symmetry="loop_\n_symmetry_equiv_pos_as_xyz\nx,y,z\n-x+5/17,-y+4/17,-z+10/17", rows="C C 0.1 0.2 0.3"),
        cif(
            symmetry="loop_\n_symmetry_equiv_pos_as_xyz\n'x, y, z'\n'-x+5/17, -y+4/17, -z+10/17'",
            rows="C C 0.1 0.2 0.3",
        ),
        cif(rows="Si Si 1.5 -0.25 7"),
    ],
)
def test_as_people_write_them(text):
    assert_as_pymatgen(text)


def test_special_position_printed_with_three_digits():
    """0.333 is meant to lie on the threefold axis: one atom, not three."""
    symmetry = "loop_\n_space_group_symop_operation_xyz\nx,y,z\n-y,x-y,z\n-x+y,-x,z"
    crystal = read_one(cif(gamma=120, c=8, symmetry=symmetry, rows="C C 0.333 0.667 0.1"))
    assert crystal.num_nodes == 1 and crystal.frac_coords[0] == pytest.approx([1 / 3, 2 / 3, 0.1], abs=1e-9)


def test_occupancy_not_given_is_one():
    """The dictionary's default; pymatgen takes the dot for zero and drops the site."""
    assert read_one(cif("_atom_site_occupancy", rows="Fe1 Fe 0 0 0 .\nO1 O .5 .5 .5 ?")).formula == "O1Fe1"


def test_tritium_and_deuterium_are_hydrogen():
    assert read_one(cif(rows="T1 T 0 0 0\nD1 D .5 .5 .5")).atomic_numbers.tolist() == [1, 1]


@pytest.mark.parametrize(
    "text, z",
    [
        ("Fe", 26),
        ("Fe3+", 26),
        ("FE1", 26),
        ("O2-", 8),
        ("O-2", 8),
        ("Cu1+", 29),
        ("D", 1),
        ("Wat", 8),
        ("OW1", 8),
        ("Hw", 1),
        ("OH", 8),
        ("Ho", 67),
        ("C12", 6),
        ("Cl1A", 17),
        ("'Na1+'", 11),
        ("X", 0),
        ("Vac", 0),
        ("", 0),
        ("?", 0),
    ],
)
def test_species_labels(text, z):
    assert element_of_label(text) == z


def test_mixture_in_the_type_symbol():
    crystal = read_one(cif(rows="M1 '0.8(1)Nb + 0.2Zr' 0 0 0"))
    assert crystal.formula == "Zr0.2Nb0.8"


@pytest.mark.parametrize(
    "text, formula",
    [
        ("0.8Nb + 0.2Zr", "Zr0.2Nb0.8"),
        ("Fe0.5 + Co0.5", "Fe0.5Co0.5"),
        ("Fe0.5Co0.5", "Fe0.5Co0.5"),
        ("Fe0.5,Co0.25", "Fe0.5Co0.25"),
        ("Fe2+0.5 Co3+0.5", "Fe0.5Co0.5"),
        ("Fe3+0.5 + Fe2+0.3", "Fe0.8"),
        ("0.6Fe3+ + 0.4Co2+", "Fe0.6Co0.4"),
        ("Fe(0.5)/Co(0.5)", "Fe0.5Co0.5"),
        ("(Fe0.5,Co0.5)", "Fe0.5Co0.5"),
        ("Fe0.5", "Fe0.5"),
        ("Fe2+,Fe3+", "Fe1"),
        ("OH", "O1"),
        ("O-H", "O1"),
        ("O2-(H2O)", "O1"),
        ("CO", "Co1"),
        ("FE", "Fe1"),
    ],
)
def test_mixtures_with_shares_are_read(text, formula):
    assert read_one(cif(rows=f"M1 '{text}' 0 0 0")).formula == formula


@pytest.mark.parametrize(
    "text",
    [
        "Fe,Co",
        "Nb + Zr",
        "Fe/Co",
        "Fe Co",
        "Fe;Co",
        "Fe|Co",
        "Fe+Co",
        "Fe-Co",
        "(Fe,Co)",
        "Fe3+,Co2+",
        "FeCo",
        "Fe50Co50",
    ]
    + ["Fe0.5Co", "0.5Fe+Co", "Fe_Co", "Fe:Co", "Fe & Co", "Na,Ca,Sr", "FeO", "Fe0.5,X0.5", "Li,H"],
)
def test_mixtures_without_shares_are_refused(text):
    with pytest.raises(UnknownElementError, match="mixture|species"):
        read_one(cif("_atom_site_occupancy", rows=f"M1 '{text}' 0 0 0 1"))
    with pytest.raises(UnknownElementError):
        read_one(cif(rows=f"M1 '{text}' 0 0 0"))


@pytest.mark.parametrize("label", ["Fe,Co", "Fe/Co1", "Fe1 + Co1", "Fe+Co", "FeCo1", "SiAl2", "Fe Co"])
def test_labels_that_name_a_mixture_are_refused(label):
    with pytest.raises(UnknownElementError, match="share of each element"):
        read_one(cif(rows=f"'{label}' 0 0 0").replace("_atom_site_type_symbol\n", ""))


@pytest.mark.parametrize(
    "label, z",
    [("O2B", 8), ("C1A", 6), ("O-H(2)", 8), ("CL1", 17), ("C(13)", 6), ("H2'A", 1), ("Na1+", 11), ("Fe1.2", 26)],
)
def test_labels_of_one_element(label, z):
    text = cif(rows=f'"{label}" 0 0 0').replace("_atom_site_type_symbol\n", "")
    assert read_one(text).atomic_numbers.tolist() == [z] and read_one(text).is_ordered


def test_a_share_and_an_occupancy_are_not_multiplied():
    assert read_one(cif("_atom_site_occupancy", rows="M1 Fe0.5 0 0 0 0.5")).formula == "Fe0.5"
    mixed = read_one(cif("_atom_site_occupancy", rows="M1 'Fe0.5 + Co0.5' 0 0 0 0.8"))
    assert mixed.formula == "Fe0.4Co0.4"


CUBIC = "_space_group_name_H-M_alt 'F m -3 m'"
TETRAGONAL = "_space_group_name_H-M_alt 'P 4/m m m'"
MULTIPLICITY = ("_atom_site_site_symmetry_multiplicity", "_atom_site_symmetry_multiplicity")


def split_site(occupancy, x="0.0040", extra="", value="", a=10):
    """Six positions at (x, 0, 0) and its images, 0.04 Å around the origin, in a cell with four origins."""
    rows = f"Li1 Li {x} 0.0000 0.0000 {occupancy} {value}\nO1 O .5 .5 .5 1 {4 if value else ''}"
    return cif(f"_atom_site_occupancy {extra}", symmetry=CUBIC, a=a, b=a, c=a, rows=rows)


def lithium(crystal):
    species = crystal.species
    return species.occupancy[species.atomic_numbers == 3].sum()


@pytest.mark.parametrize("tag", MULTIPLICITY)
def test_split_sites_keep_their_occupancy(tag):
    """Six positions of occupancy 0.15 become one site of 0.9: as much lithium as pymatgen counts."""
    for text in (split_site(0.15), split_site(0.15, extra=tag, value=24)):
        crystal = read_one(text)
        assert crystal.num_nodes == 8 and lithium(crystal) == pytest.approx(24 * 0.15)
        assert lithium(crystal) == pytest.approx(pymatgen(text).composition["Li"])


@pytest.mark.parametrize("tag", MULTIPLICITY)
def test_the_multiplicity_decides(tag):
    assert lithium(read_one(split_site(0.15, extra=tag, value=4))) == pytest.approx(4 * 0.15)
    with pytest.raises(OccupancyError, match="6 positions of occupancy 0.5"):
        read_one(split_site(0.5, extra=tag, value=24))


def test_special_positions_keep_their_occupancy():
    assert lithium(read_one(split_site(0.15, x="0.0000"))) == pytest.approx(4 * 0.15)
    assert lithium(read_one(split_site(0.5))) == pytest.approx(4 * 0.5)  # six halves are more than one atom
    three_digits = split_site(0.15).replace("0.0040 0.0000 0.0000", "0.002 0 0")
    assert lithium(read_one(three_digits)) == pytest.approx(4 * 0.15)
    assert lithium(read_one(split_site(1, x="0.0040"))) == pytest.approx(4)


@pytest.mark.parametrize("tag", MULTIPLICITY)
@pytest.mark.parametrize(
    "a, row, expected",
    [
        (12.95, "0 0 0.002 0.5 2", 1.0),
        (12.95, "0 0 0.0020 0.5 2", 1.0),
        (4.0, "0.01 0 0 .25 4", 1.0),
        (4.0, "0.01 0 0 .25 1", 0.25),
        (4.0, "0.01 0 0 .25 ?", 0.25),
        (4.0, "0 0 0 .25 16", 0.25),  # a multiplicity that the position cannot have
    ],
)
def test_the_multiplicity_decides_whatever_the_digits(tag, a, row, expected):
    text = cif(f"_atom_site_occupancy {tag}", symmetry=TETRAGONAL, a=a, b=a, c=a, rows=f"Li1 Li {row}")
    assert lithium(read_one(text)) == pytest.approx(expected)


def test_occupancy_of_split_mixtures():
    text = split_site(0.1).replace("Li1 Li", "Li1 'Li0.5 + Na0.5'")
    assert read_one(text).formula == "Li1.2O4Na1.2"


def test_the_vacancy_of_a_mixture_counts_when_images_are_merged():
    for tag, value in ((MULTIPLICITY[0], 2), ("", "")):
        row = f"Fe1 'Fe0.25Co0.25' 0 0 0.0100 1 {value}"
        text = cif(f"_atom_site_occupancy {tag}", symmetry=TETRAGONAL, a=4, b=4, c=4, rows=row)
        assert read_one(text).formula == "Fe0.5Co0.5"


def test_several_data_blocks():
    text = cif(name="first") + cif(name="second", rows="Ge Ge 0 0 0") + "data_third\n_audit_creation_date 2020\n"
    assert [c.material_id for c in read_cif(text, "f")] == ["f:first", "f:second"]


def test_bad_block_costs_itself_alone():
    text = cif(name="good") + cif(name="bad", a="?") + cif(name="also")
    items = list(read_cif(text, "f"))
    assert [type(x).__name__ for x in items] == ["Crystal", "LatticeError", "Crystal"]
    assert items[1].item == "f:bad"


def test_magnetic_cif_gives_the_nuclear_structure():
    operations = (
        "loop_\n_space_group_symop_magn_operation.id\n_space_group_symop_magn_operation.xyz\n1 x,y,z,+1\n"
        "2 -x,-y,-z,-1\nloop_\n_space_group_symop_magn_centering.id\n_space_group_symop_magn_centering.xyz\n"
        "1 x,y,z,+1\n2 x+1/2,y+1/2,z+1/2,-1"
    )
    assert read_one(cif(symmetry=operations, rows="Mn Mn 0 0 0\nO O 0.1 0.2 0.3")).formula == "O4Mn2"


def test_magnetic_group_by_name():
    crystal = read_one(cif(symmetry="_space_group_magn.name_BNS 'P -1'", rows="Mn Mn 0.1 0.2 0.3"))
    assert crystal.num_nodes == 2


def test_accents_and_broken_quotes_do_no_harm():
    text = "data_x\n_publ_author_name Müller\n_comment 'runs over\n\n two lines\n'\n" + cif().split("\n", 1)[1]
    assert read_one(text).formula == "Si1"


@pytest.mark.parametrize(
    "error, text",
    [
        (CIFSyntaxError, "this is no CIF"),
        (CIFSyntaxError, cif() + "loop_\n_a\n_b\n1 2 3\n"),
        (CIFSyntaxError, "\x89PNG\r\n\x1a\n\x00"),
        (NoCrystalsError, "data_empty\n_audit_creation_date 2020\n"),
        (EmptyStructureError, cif().split("loop_")[0]),
        (LatticeError, cif(a="?")),
        (LatticeError, cif(gamma=".")),
        (LatticeError, cif(a=0)),
        (LatticeError, cif(a=-5)),
        (LatticeError, cif(gamma=180)),
        (LatticeError, cif(alpha=30, beta=30, gamma=90)),
        (LatticeError, cif().replace("_cell_length_c 5\n", "")),
        (CoordinateError, cif(rows="Si Si 0 ? 0")),
        (CoordinateError, cif(rows="Si Si nan 0 0")),
        (CoordinateError, cif(rows="Si Si ? ? ?")),
        (UnknownElementError, cif(rows="X1 X 0 0 0")),
        (UnknownElementError, cif(rows="Q1 ? 0 0 0")),
        (OccupancyError, cif("_atom_site_occupancy", rows="Si Si 0 0 0 1.5")),
        (OccupancyError, cif("_atom_site_occupancy", rows="Si Si 0 0 0 -0.5")),
        (OccupancyError, cif("_atom_site_occupancy", rows="Si Si 0 0 0 0.7\nGe Ge 0 0 0 0.7")),
        (EmptyStructureError, cif("_atom_site_occupancy", rows="Si Si 0 0 0 0")),
        (SymmetryError, cif(symmetry="_space_group_name_H-M_alt 'P nonsense'")),
        (SymmetryError, cif(symmetry="loop_\n_symmetry_equiv_pos_as_xyz\n'x, y, q'")),
        (SymmetryError, cif(symmetry="loop_\n_symmetry_equiv_pos_as_xyz\n'2*x, y, z'")),
        (SymmetryError, cif(symmetry="_space_group_magn.name_BNS 'nonsense'")),
        (SymmetryError, cif(symmetry="_cell_modulation_dimension 1")),
        (UnsupportedFileError, "data_1ABC\nloop_\n_atom_site.id\n_atom_site.Cartn_x\n1 0.0\n"),
    ],
)
def test_bad_files_have_typed_errors(error, text):
    with pytest.raises(error, match="file"):
        read_one(text)


def test_files_plain_and_compressed(tmp_path):
    (tmp_path / "a.cif").write_text(cif())
    (tmp_path / "b.cif.gz").write_bytes(gzip.compress(cif(rows="Ge Ge 0 0 0").encode()))
    (tmp_path / "c.mcif").write_text(cif(rows="Sn Sn 0 0 0"))
    assert [(c.material_id, c.formula) for c in read_structures(tmp_path)] == [("a", "Si1"), ("b", "Ge1"), ("c", "Sn1")]


@pytest.mark.parametrize("occupancies", [("1.02",), ("0.603", "0.4"), ("0.334", "0.334", "0.334")])
def test_occupancies_that_exceed_one_by_rounding(occupancies):
    rows = [f"{symbol} {symbol} 0 0 0 {n}" for symbol, n in zip(("Fe", "Co", "Ni"), occupancies, strict=False)]
    with pytest.warns(CrystalWarning, match="taken as 1"):
        (crystal,) = read_cif(cif("_atom_site_occupancy", rows="\n".join(rows)), "f")
    assert crystal.num_nodes == 1 and crystal.species.occupancy.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    "names, formula",
    [
        ({"name_H-M_alt": "F m -3 m", "IT_number": "225", "name_Hall": "-F 4 2 3"}, "Na4Cl4"),
        ({"name_H-M_alt": "F m -3 m", "IT_number": "221"}, "Na4Cl4"),
        ({"name_H-M_alt": "F m -3 m", "name_Hall": "-P 4 2 3"}, "Na1Cl1"),
        ({"name_H-M_alt": "P 1", "IT_number": "225"}, "Na1Cl1"),
    ],
)
def test_names_of_a_group_that_contradict_each_other(names, formula):
    extra = "".join(f"_space_group_{tag} '{value}'\n" for tag, value in names.items())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (crystal,) = read_cif(cif(rows="Na Na 0 0 0\nCl Cl .5 .5 .5", symmetry=extra), "f")
        told = any("contradict each other" in str(one.message) for one in caught)
        assert crystal.formula == formula and told == (len(names) == 2)
    if formula == "Na1Cl1":  # what the file says of its content decides
        extra += "_chemical_formula_sum 'Cl Na'\n_cell_formula_units_Z 4\n"
        with pytest.warns(CrystalWarning, match="read with the operations of F m -3 m"):
            (crystal,) = read_cif(cif(rows="Na Na 0 0 0\nCl Cl .5 .5 .5", symmetry=extra), "f")
        assert crystal.formula == "Na4Cl4"
