"""Densities of states, of vibrations and of electrons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..crystals.elements import symbols
from ..crystals.records import Crystal
from ..errors import OptionError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False, repr=False)
class DensityOfStates:
    """A density of states per site and its parts.

    Attributes
    ----------
    x : numpy.ndarray
        (F,), frequencies in 1/cm, or energies in eV against the Fermi level.
    by_site : numpy.ndarray
        (N, F), number of states of each site per unit of x.
    elements : numpy.ndarray
        (N,), symbols; of a mixed site, those of its species, as Co:Fe.
    x_label, y_label : str
    by_orbital : mapping from str to numpy.ndarray
        The parts of the s, p and d orbitals of all sites, (F,) each; empty for vibrations.
    """

    x: np.ndarray
    by_site: np.ndarray
    elements: np.ndarray
    x_label: str
    y_label: str
    by_orbital: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def total(self) -> np.ndarray:
        """Mean over the sites, (F,)."""
        return self.by_site.mean(0)

    @property
    def by_element(self) -> dict[str, np.ndarray]:
        """The part of each element, (F,) each; they add up to the total."""
        n_sites = len(self.elements)
        names = dict.fromkeys(self.elements.tolist())
        return {name: self.by_site[self.elements == name].sum(0) / n_sites for name in names}

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the density and the part of each element.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; by default in a new figure.
        """
        ax = new_axes() if ax is None else ax
        ax.fill_between(self.x, self.total, color="0.9", label="total")
        for name, part in self.by_element.items():
            ax.plot(self.x, part, lw=1.3, label=name)
        ax.set(xlabel=self.x_label, ylabel=self.y_label, xlim=(self.x[0], self.x[-1]), ylim=(0, None))
        ax.legend(frameon=False)
        ax.spines[["top", "right"]].set_visible(False)
        return ax


def new_axes() -> Axes:
    """Axes in a new figure."""
    from matplotlib import pyplot as plt

    return plt.figure(figsize=(6, 3), layout="constrained").add_subplot()


def places(start: float, stop: float, least: int, width: float) -> np.ndarray:
    """At least so many places in equal steps of less than half a width, so that no line falls between two of them."""
    return np.linspace(start, stop, max(least, int(np.ceil(2.5 * (stop - start) / width))))


def checked_places(name: str, values: Any) -> np.ndarray:
    """Places as floats, (F,).

    Raises
    ------
    OptionError
        If they are not at least two finite numbers in a row.
    """
    try:
        found = np.asarray(values, float)
    except (TypeError, ValueError) as error:
        raise OptionError(name, str(error), f"{name} are numbers") from error
    if found.ndim != 1 or len(found) < 2 or not np.isfinite(found).all():
        raise OptionError(name, f"an array {found.shape}", f"{name} are at least two finite numbers in one row")
    return found


def site_names(crystal: Crystal) -> np.ndarray:
    """Symbol of each site, (N,); of a mixed site, those of its species, as Co:Fe."""
    species = crystal.species
    names: list[list[str]] = [[] for _ in range(crystal.num_nodes)]
    for site, z in zip(species.site.tolist(), species.atomic_numbers.tolist(), strict=True):
        names[site].append(symbols()[z])
    return np.array([":".join(sorted(of_site)) for of_site in names])


def lines(x: np.ndarray, levels: np.ndarray, weight: np.ndarray, width: float) -> np.ndarray:
    """Gaussians at x (F,) of levels (Q, M) with weights (Q,), (F, Q, M)."""
    apart = (x[:, None, None] - levels) / width
    return np.exp(-(apart**2) / 2) / (width * np.sqrt(2 * np.pi)) * weight[:, None]
