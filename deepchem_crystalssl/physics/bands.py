"""Bands along a path through the points of high symmetry, of vibrations and of electrons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .columns import bonded
from ..crystals.formats.convert import to_crystal
from ..crystals.options import check_count
from ..crystals.records import Crystal, CrystalGraph
from .density import new_axes
from ..errors import ModelPhysicsError
from .parameters import SiteParameters

if TYPE_CHECKING:
    from pymatgen.symmetry.bandstructure import HighSymmKpath

    from .density import Axes

_WAVES_AT_ONCE = 16


class BlochModel(Protocol):
    """A model with a Hermitian matrix for each wave vector."""

    def at(self, q: np.ndarray) -> np.ndarray:
        """The matrices at wave vectors (Q, 3), (Q, M, M)."""


@dataclass(frozen=True, eq=False, repr=False)
class Bands:
    """Levels along a path in the Brillouin zone.

    Attributes
    ----------
    wave_vectors : numpy.ndarray
        (K, 3), in reciprocal lattice vectors of the standard primitive cell.
    distance : numpy.ndarray
        (K,), length of the path up to each point, 1/Å; where the path jumps, two points have the same.
    levels : numpy.ndarray
        (K, M), ascending; frequencies in 1/cm, or energies in eV against the Fermi level.
    ticks : list of (float, str)
        Distances and names of the points of high symmetry.
    label : str
        What the levels are, with their unit.
    """

    wave_vectors: np.ndarray
    distance: np.ndarray
    levels: np.ndarray
    ticks: list[tuple[float, str]]
    label: str

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the bands.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; by default in a new figure.
        """
        ax = new_axes() if ax is None else ax
        pieces = np.split(np.arange(len(self.distance)), np.flatnonzero(np.diff(self.distance) == 0) + 1)
        for piece in pieces:
            ax.plot(self.distance[piece], self.levels[piece], color="C0", lw=1)
        places, names = zip(*self.ticks, strict=True)
        ax.set_xticks(places, names)
        for place in places[1:-1]:
            ax.axvline(place, color="0.7", lw=0.8)
        ax.set(ylabel=self.label, xlim=(self.distance[0], self.distance[-1]))
        ax.spines[["top", "right"]].set_visible(False)
        return ax


def bands_of(
    crystal: Crystal,
    model: Callable[[CrystalGraph, SiteParameters], BlochModel],
    scaled: Callable[[np.ndarray], np.ndarray],
    label: str,
    n_points: int,
) -> Bands:
    """The bands of a model of a crystal, along the path of Setyawan and Curtarolo (2010) as pymatgen knows it.

    The crystal is brought into its standard cell first, with the symmetry that spglib finds within .01 Å.

    Parameters
    ----------
    crystal : Crystal
    model : callable
        Makes the model from a graph and the parameters of its sites.
    scaled : callable
        Makes levels from eigenvalues.
    label : str
    n_points : int
        Number of points on each piece of the path.
    """
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
    from pymatgen.symmetry.bandstructure import HighSymmKpath

    check_count("n_points", n_points, 2)
    standard = SpacegroupAnalyzer(crystal.to_structure()).get_primitive_standard_structure(False)
    path = HighSymmKpath(standard)
    if path.kpath is None:
        rule, remedy = "pymatgen knows no path for this lattice", "Compute chosen wave vectors instead."
        raise ModelPhysicsError(crystal.material_id, "a triclinic cell with right angles", rule, remedy)
    graph = bonded(to_crystal(path.prim, crystal.material_id))
    matrices = model(graph, SiteParameters.of(graph))
    q, distance, ticks = _points(path, np.linalg.inv(graph.lattice).T, int(n_points))
    parts = [q[k : k + _WAVES_AT_ONCE] for k in range(0, len(q), _WAVES_AT_ONCE)]
    levels = np.concatenate([np.linalg.eigvalsh(matrices.at(part)) for part in parts])
    return Bands(q, distance, scaled(levels), ticks, label)


def _points(
    path: HighSymmKpath, reciprocal: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray, list[tuple[float, str]]]:
    """Points of a path, their distances from its start, and its ticks."""
    places = path.kpath["kpoints"]
    q: list[np.ndarray] = []
    distance: list[np.ndarray] = []
    ticks: list[tuple[float, str]] = []
    travelled = 0.0
    for branch in path.kpath["path"]:
        jump = f"{ticks.pop()[1]}|" if ticks else ""
        ticks.append((travelled, jump + _name(branch[0])))
        for start, end in zip(branch, branch[1:], strict=False):
            steps = np.linspace(0, 1, n)
            q.append(places[start] + steps[:, None] * (places[end] - places[start]))
            length = 2 * np.pi * float(np.linalg.norm((places[end] - places[start]) @ reciprocal))
            distance.append(travelled + steps * length)
            travelled += length
            ticks.append((travelled, _name(end)))
    return np.concatenate(q), np.concatenate(distance), ticks


def _name(point: str) -> str:
    """Gamma as a letter, and X_1 as a subscript."""
    letter, _, index = point.replace("\\Gamma", "Γ").partition("_")
    return f"{letter}$_{{{index}}}$" if index else letter
