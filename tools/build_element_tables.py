"""Write the element tables bundled in ``deepchem_crystalssl/crystals/data``.

Run once by a developer, never by a user::

    pip install mendeleev
    python tools/build_element_tables.py attributes   # needs mendeleev
    python tools/build_element_tables.py pymatgen     # needs pymatgen

The attributes are facts compiled by mendeleev (Pyykko single-bond covalent radii, NIST first ionisation energies,
electron affinities, dipole polarisabilities, ground-state configurations) and, more complete there, by pymatgen
(Pauling electronegativities, melting points, molar volumes, Mendeleev numbers). The scattering parameters are the
four-Gaussian fits of De Graef and McHenry, *Structure of Materials*, the bond-valence parameters those of O'Keeffe and
Brese, *J. Am. Chem. Soc.* 113 (1991) 3226, both in the form pymatgen distributes them.
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


if __name__ == "__main__":
    {"attributes": attributes, "pymatgen": from_pymatgen}[sys.argv[1]]()
