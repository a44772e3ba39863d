"""Write the element tables bundled in ``deepchem_crystalssl/crystals/data``.

Run once by a developer, never by a user::

    pip install mendeleev
    python tools/build_element_tables.py attributes   # needs mendeleev
    python tools/build_element_tables.py pymatgen     # needs pymatgen
    python tools/build_element_tables.py orbitals     # needs pymatgen

The attributes are facts compiled by mendeleev (Pyykko single-bond covalent radii, NIST first ionisation energies,
electron affinities, dipole polarisabilities, ground-state configurations) and, more complete there, by pymatgen
(Pauling electronegativities, melting points, molar volumes, Mendeleev numbers). The scattering parameters are the
four-Gaussian fits of De Graef and McHenry, *Structure of Materials*, the bond-valence parameters those of O'Keeffe and
Brese, *J. Am. Chem. Soc.* 113 (1991) 3226, both in the form pymatgen distributes them. The energies of orbitals are
those of free atoms in the local-density approximation (Kotochigova et al., *Phys. Rev. A* 55 (1997) 191, the NIST data
of pymatgen), the radii of d orbitals those of Harrison's solid-state table (*Electronic Structure and the Properties of
Solids*, 1980).
"""

import csv
import sys
from pathlib import Path

DATA = Path(__file__).parents[1] / "deepchem_crystalssl" / "crystals" / "data"


def write_rows(name, header, rows):
    with open(DATA / name, "w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def attributes():
    from mendeleev import element

    def row(z):
        e = element(z)
        conf, n = e.ec.conf, e.period
        electrons = [conf.get(key, 0) for key in ((n, "s"), (n, "p"), (n - 1, "d"), (n - 2, "f"))]
        numbers = [
            None,  # electronegativity: the other command fills it in
            e.covalent_radius_pyykko / 100,
            e.ionenergies.get(1),
            e.electron_affinity if e.electron_affinity is None or e.electron_affinity > -5 else None,
            e.dipole_polarizability,
            e.mass,
        ]
        return [
            z,
            e.symbol,
            e.group_id or "",
            n,
            e.block,
            *electrons,
            *("" if x is None else f"{x:.5g}" for x in numbers),
        ]

    header = [
        "atomic_number",
        "symbol",
        "group",
        "period",
        "block",
        "s_electrons",
        "p_electrons",
        "d_electrons",
        "f_electrons",
        "electronegativity_pauling",
        "covalent_radius_angstrom",
        "ionization_energy_ev",
        "electron_affinity_ev",
        "polarizability_au",
        "mass_u",
    ]
    write_rows("elements.csv", header, [row(z) for z in range(1, 119)])


def from_pymatgen():
    import math
    import warnings

    from pymatgen.analysis.bond_valence import BV_PARAMS
    from pymatgen.analysis.diffraction.xrd import ATOMIC_SCATTERING_PARAMS
    from pymatgen.core import Element

    rows = [
        [z, *(x for pair in ATOMIC_SCATTERING_PARAMS[Element.from_Z(z).symbol] for x in pair)] for z in range(1, 99)
    ]
    warnings.simplefilter("ignore")  # pymatgen warns where it has no value
    with open(DATA / "elements.csv", newline="") as handle:
        header, *attributes = csv.reader(handle)
    columns = {
        "electronegativity_pauling": "X",
        "melting_point_k": "melting_point",
        "molar_volume_cm3": "molar_volume",
        "mendeleev_number": "mendeleev_no",
    }
    header += [name for name in columns if name not in header]
    for row in attributes:
        row += [""] * (len(header) - len(row))
        for name, attribute in columns.items():
            x = getattr(Element(row[1]), attribute)
            row[header.index(name)] = "" if x is None or math.isnan(x) else f"{float(x):.5g}"
    write_rows("elements.csv", header, attributes)
    valence = sorted([element.Z, p["r"], p["c"]] for element, p in BV_PARAMS.items())
    write_rows("bond_valence.csv", ["atomic_number", "r_angstrom", "c"], valence)
    write_rows("scattering_factors.csv", ["atomic_number", "a1", "b1", "a2", "b2", "a3", "b3", "a4", "b4"], rows)


D_RADII = dict(
    Sc=1.24, Ti=1.08, V=0.98, Cr=0.90, Mn=0.86, Fe=0.80, Co=0.76, Ni=0.71, Cu=0.67,
    Y=1.58, Zr=1.41, Nb=1.28, Mo=1.20, Tc=1.11, Ru=1.05, Rh=0.99, Pd=0.94, Ag=0.89,
    Hf=1.44, Ta=1.34, W=1.27, Re=1.20, Os=1.13, Ir=1.08, Pt=1.04, Au=1.01,
)  # fmt: skip


def orbitals():
    """Valence orbitals of Z = 1-103: energies in eV, r_d in Å, electrons.

    Where the table of atoms has no value: p orbitals of s-, d- and f-block metals and of H and He lie at .3 of the s
    energy; s and d orbitals of f-block atoms without a value at -3.6 and -3.3 or -3.6 eV, as in their neighbours, and
    the empty 5s orbital of Pd at -4.2 eV, as in Rh and Ag. The f electrons belong to the core, so that two s and one d
    electron are left (two of Th, Pa and U). The d radii of lanthanides and actinides are taken as 1.7 and 1.8 Å. The
    full d shell of Zn, Cd and Hg is core too.
    """
    import warnings

    from pymatgen.core import Element

    warnings.simplefilter("ignore")
    rows = []
    for z in range(1, 104):
        element = Element.from_Z(z)
        energies = {shell: 27.211386 * x for shell, x in (element.atomic_orbitals or {}).items()}
        filling = {(n, shell): count for n, shell, count in element.full_electronic_structure}
        period, lanthanide, actinide = element.row % 10, 57 <= z <= 71, 89 <= z <= 103
        period = 6 if lanthanide else 7 if actinide else period
        s = energies.get(f"{period}s", -4.2 if z == 46 else -3.6)
        p = energies.get(f"{period}p", 0.3 * s)
        d, radius, electrons = "", 0.0, [filling.get((period, "s"), 0), filling.get((period, "p"), 0), 0]
        if lanthanide or actinide:
            d, radius = energies.get(f"{period - 1}d", -3.3 if lanthanide else -3.6), 1.7 if lanthanide else 1.8
            electrons = [2, 0, 2 if z in (90, 91, 92) else 1]
        elif element.symbol in D_RADII:
            d, radius = energies[f"{period - 1}d"], D_RADII[element.symbol]
            electrons[2] = filling[period - 1, "d"]
        rows.append([z, f"{s:.3f}", f"{p:.3f}", d and f"{d:.3f}", radius, *electrons])
    header = ["atomic_number", "s_energy_ev", "p_energy_ev", "d_energy_ev", "d_radius_angstrom"]
    write_rows("orbitals.csv", [*header, "s_electrons", "p_electrons", "d_electrons"], rows)


if __name__ == "__main__":
    {"attributes": attributes, "pymatgen": from_pymatgen, "orbitals": orbitals}[sys.argv[1]]()
