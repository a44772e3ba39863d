"""Attributes of the elements by atomic number, from tables that are part of the package.

The table has a row for each element of Z = 1-118, and no two elements have the same features. A quantity that is not
known (the electronegativity of a noble gas, the ionization energy of the heaviest elements) is NaN, and all bins of its
expansion are zero. ``tools/build_element_tables.py`` writes the table and names the sources.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files

import numpy as np

N_ELEMENTS = 118
N_ELEMENT_FEATURES = 92

# Quantity, number of Gaussian bins, transform. The bins span the range that the quantity has in the table.
_BINNED = (
    ("electronegativity_pauling", 12, np.asarray),
    ("covalent_radius_angstrom", 12, np.asarray),
    ("ionization_energy_ev", 12, np.log),
    ("electron_affinity_ev", 11, np.asarray),
    ("polarizability_au", 12, np.log),
)
_SUBSHELL_CAPACITY = {"s_electrons": 2, "p_electrons": 6, "d_electrons": 10, "f_electrons": 14}


@cache
def element_table() -> dict[str, np.ndarray]:
    """Attributes of the elements by column; row k belongs to atomic number k + 1.

    Returns
    -------
    dict from str to numpy.ndarray
        Arrays with 118 rows. The names of the columns end with the unit. Symbol and block are text; the other columns
        are float64, with NaN for unknown values.

    Examples
    --------
    >>> element_table()["symbol"][25:28].tolist()
    ['Fe', 'Co', 'Ni']
    """
    return {
        name: column if name in ("symbol", "block") else np.where(column == "", "nan", column).astype(float)
        for name, column in _read_csv("elements.csv").items()
    }


def _read_csv(name: str) -> dict[str, np.ndarray]:
    """Read a table that is part of the package, and return its columns as text."""
    with files(__package__).joinpath("data", name).open() as handle:
        header, *rows = csv.reader(handle)
    return dict(zip(header, np.array(rows).T, strict=True))


@cache
def symbols() -> tuple[str, ...]:
    """Return the element symbols by atomic number; ``symbols()[0]`` is ``"X"``, which stands for no element.

    Examples
    --------
    >>> symbols()[26]
    'Fe'
    """
    return ("X", *element_table()["symbol"].tolist())


@cache
def atomic_number_of() -> dict[str, int]:
    """Return the atomic numbers by symbol. Deuterium (D) and tritium (T) count as hydrogen.

    Examples
    --------
    >>> atomic_number_of()["Fe"], atomic_number_of()["D"]
    (26, 1)
    """
    return {symbol: z for z, symbol in enumerate(symbols()) if z} | {"D": 1, "T": 1}


@cache
def element_features() -> np.ndarray:
    """Return the feature vectors of the elements.

    A vector holds the group (18), the period (7) and the block (4) as one-hot codes, the filling of the valence s, p, d
    and f subshells (4), and Gaussian bins of electronegativity (12), covalent radius (12), ionisation energy (12),
    electron affinity (11) and polarisability (12).

    Returns
    -------
    numpy.ndarray
        float32 of shape (119, 92), read-only. Row Z belongs to the atomic number Z; row 0 is zero.

    Examples
    --------
    >>> element_features().shape
    (119, 92)
    """
    table = element_table()
    one_hots = [
        table["group"][:, None] == np.arange(1, 19),
        table["period"][:, None] == np.arange(1, 8),
        table["block"][:, None] == np.array(list("spdf")),
    ]
    filling = [table[name][:, None] / n for name, n in _SUBSHELL_CAPACITY.items()]
    binned = []
    for name, n_bins, transform in _BINNED:
        x = transform(table[name])
        centers = np.linspace(np.nanmin(x), np.nanmax(x), n_bins)
        binned.append(np.nan_to_num(np.exp(-(((x[:, None] - centers) / (centers[1] - centers[0])) ** 2))))
    features = np.zeros((N_ELEMENTS + 1, N_ELEMENT_FEATURES), np.float32)
    features[1:] = np.hstack([*one_hots, *filling, *binned])
    features.flags.writeable = False
    return features


@cache
def element_groups_and_periods() -> tuple[np.ndarray, np.ndarray]:
    """Return the groups and the periods by atomic number, int64 (119,) each; the f block and row 0 have group 0.

    Examples
    --------
    >>> group, period = element_groups_and_periods()
    >>> int(group[26]), int(period[26])
    (8, 4)
    """
    table = element_table()
    group = np.concatenate([[0], np.nan_to_num(table["group"])]).astype(np.int64)
    period = np.concatenate([[0], table["period"]]).astype(np.int64)
    return group, period


@cache
def bond_valence_parameters() -> np.ndarray:
    r"""Return the radius r and the parameter c of the elements, from which bond valences are calculated.

    The length of a bond of valence one between the elements i and j is

    .. math:: R_{ij} = r_i + r_j - \frac{r_i r_j (\sqrt{c_i} - \sqrt{c_j})^2}{c_i r_i + c_j r_j}

    (O'Keeffe and Brese, *J. Am. Chem. Soc.* 113 (1991) 3226). For elements that are not in this paper, r is estimated
    from the covalent radius and c from the electronegativity, by straight lines fitted to the elements of the paper.

    Returns
    -------
    numpy.ndarray
        float32 of shape (119, 2): r (Å) and c, which resembles an electronegativity. Row 0 is zero.

    Examples
    --------
    >>> bond_valence_parameters().shape
    (119, 2)
    """
    z, *columns = _read_csv("bond_valence.csv").values()
    known = np.array(columns, float).T
    rows, table = z.astype(int) - 1, element_table()
    electronegativity = np.nan_to_num(table["electronegativity_pauling"], nan=1.8)
    parameters = np.zeros((N_ELEMENTS + 1, 2), np.float32)
    for k, guide in enumerate((table["covalent_radius_angstrom"], electronegativity)):
        parameters[1:, k] = np.polyval(np.polyfit(guide[rows], known[:, k], 1), guide)
    parameters[rows + 1] = known
    parameters.flags.writeable = False
    return parameters


@cache
def orbital_parameters() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the valence orbitals of the free atoms of Z = 1-103, for tight binding.

    The energies are those of the local-density approximation (Kotochigova et al., *Phys. Rev. A* 55 (1997) 191); the
    radii are those of W. A. Harrison, *Electronic Structure and the Properties of Solids* (1980). f electrons and the
    full d shells of Zn, Cd and Hg belong to the core. ``tools/build_element_tables.py`` says what stands for missing
    values.

    Returns
    -------
    energies : numpy.ndarray
        float64 (119, 3), of the s, p and d orbitals, eV; NaN for d orbitals that an element does not use, and in the
        rows of Z = 0 and Z > 103.
    electrons : numpy.ndarray
        float64 (119, 3), number in the s, p and d orbitals.
    d_radius : numpy.ndarray
        float64 (119,), Å; 0 for elements without d orbitals.

    Examples
    --------
    >>> energies, electrons, d_radius = orbital_parameters()
    >>> energies[26].round(1).tolist(), electrons[26].tolist(), float(d_radius[26])
    ([-5.4, -1.6, -8.0], [2.0, 0.0, 6.0], 0.8)
    """
    z, *columns = _read_csv("orbitals.csv").values()
    known = np.array([np.where(column == "", "nan", column).astype(float) for column in columns]).T
    table = np.full((N_ELEMENTS + 1, 7), np.nan)
    table[z.astype(int)] = known
    table.flags.writeable = False
    return table[:, :3], table[:, 4:], table[:, 3]


@cache
def scattering_parameters() -> np.ndarray:
    r"""Return the parameters of the X-ray atomic scattering factors.

    .. math:: f_Z(s) = Z - 41.78214\, s^2 \sum_{k=1}^{4} a_k e^{-b_k s^2}, \quad s = \sin\theta/\lambda

    This is the parametrisation of De Graef and McHenry (*Structure of Materials*), which pymatgen uses too.

    Returns
    -------
    numpy.ndarray
        float64 of shape (119, 4, 2): a_k (Å^2) and b_k (Å^2). NaN for elements that are not tabulated (Z > 98).

    Examples
    --------
    >>> scattering_parameters().shape
    (119, 4, 2)
    """
    z, *columns = (column.astype(float) for column in _read_csv("scattering_factors.csv").values())
    parameters = np.full((N_ELEMENTS + 1, 4, 2), np.nan)
    parameters[z.astype(int)] = np.stack(columns, axis=1).reshape(-1, 4, 2)
    parameters.flags.writeable = False
    return parameters
