"""What surrounds a site, in words, and how much of it the site vectors of every layer tell."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from matminer.featurizers.site import CrystalNNFingerprint

from ..errors import DisorderError
from ..crystals.records import Crystal, CrystalGraph
from ..crystals.neighbors import structures_to_graphs
from ..crystals.symmetry import UNKNOWN, orbits
from ..evaluation.metrics import variance_explained
from ..models.pretraining import CrystalSSLModel

SHAPE_THRESHOLD = 0.5
"""Order parameter from which on neighbours are said to have a shape."""


def local_environments(crystal: Crystal, sites: Sequence[int] | None = None, symprec: float = 0.01) -> np.ndarray:
    """The coordination of sites, in words: ``"octahedral"``, ``"tetrahedral"``, ..., or ``"7-fold"``.

    Neighbours are those of pymatgen's ``CrystalNN``; the likeliest coordination number counts, and of its shapes the
    one whose order parameter is greatest (Zimmermann and Jain 2020), if that is at least 0.5. Sites that symmetry
    makes equal are looked at once.

    Parameters
    ----------
    crystal : Crystal
        Or a crystal graph.
    sites : sequence of int, optional
        By default all.
    symprec : float
        Tolerance of symmetry, Å.

    Returns
    -------
    numpy.ndarray
        (n,) of str; ``"unknown"`` where CrystalNN finds none, such as for elements without a radius.

    Raises
    ------
    DisorderError
        If a site is partly occupied.

    Examples
    --------
    >>> from deepchem_crystalssl import structures_to_graphs
    >>> from pymatgen.core import Lattice, Structure
    >>> zinc_blende = Structure.from_spacegroup("F-43m", Lattice.cubic(5.41), ["Zn", "S"], [[0, 0, 0], [.25] * 3])
    >>> set(local_environments(structures_to_graphs(zinc_blende)[0]).tolist())
    {'tetrahedral'}
    """
    if not crystal.is_ordered:
        raise DisorderError(
            crystal.material_id or "crystal",
            "partly occupied sites",
            "neighbors are counted whole",
            "Order it, or read it with disorder='dominant'.",
        )
    chosen = np.arange(crystal.num_nodes) if sites is None else np.asarray(sites, int)
    structure = crystal.to_structure()
    orbit = orbits(crystal, symprec)
    of_orbit = {}
    for site in chosen:
        if orbit[site] not in of_orbit:
            of_orbit[orbit[site]] = _environment(structure, int(site))
    return np.array([of_orbit[orbit[site]] for site in chosen], dtype="U32")


def _environment(structure: Any, site: int) -> str:
    fingerprint, shapes = _fingerprint()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CrystalNN misses oxidation states, at every site
        try:
            values = fingerprint.featurize(structure, site)
        except (TypeError, ValueError, ZeroDivisionError, RuntimeError):  # no radius, no Voronoi cell
            return UNKNOWN
    weights = {number: values[column] for number, (column, _) in shapes.items()}
    number = max(weights, key=lambda n: weights[n])
    if weights[number] <= 0:
        return UNKNOWN
    orders = {name: values[column] / weights[number] for name, column in shapes[number][1].items()}
    shape = max(orders, key=lambda name: orders[name], default=None)
    return shape if shape is not None and orders[shape] >= SHAPE_THRESHOLD else f"{number}-fold"


@cache
def _fingerprint() -> tuple[CrystalNNFingerprint, dict[int, tuple[int, dict[str, int]]]]:
    """The featurizer; and by coordination number the column of its weight, and those of its shapes."""
    fingerprint = CrystalNNFingerprint.from_preset("ops")
    shapes: dict[int, tuple[int, dict[str, int]]] = {}
    for column, label in enumerate(fingerprint.feature_labels()):
        name, number = label.rsplit(" CN_", 1)
        if name == "wt":
            shapes[int(number)] = column, {}
        elif not name.startswith("q"):  # Steinhardt's, of no one shape
            shapes[int(number)][1]["single bond" if name == "sgl_bd" else name] = column
    return fingerprint, shapes


def compare_layers(
    model: CrystalSSLModel, crystals: Any, labels: Mapping[str, Sequence | np.ndarray] | None = None
) -> pd.DataFrame:
    """How much of the variance of site vectors is explained by crystal, element and other labels, layer by layer.

    A layer's range is its number. Where the crystal a site belongs to explains nearly all, the sites of a crystal
    have become alike (over-smoothing, Li et al. 2018); where the element explains nearly all, the vectors know little
    else.

    Parameters
    ----------
    model : CrystalSSLModel
    crystals
        As :meth:`CrystalSSLModel.embed <deepchem_crystalssl.CrystalSSLModel.embed>` takes them.
    labels : dict from str to sequence, optional
        Further labels, one per site, crystal after crystal, such as :func:`local_environments`; missing ones are None,
        and those sites are left out.

    Returns
    -------
    pandas.DataFrame
        A row for each layer, a column for each label: the share explained, beyond what chance would
        (:func:`~deepchem_crystalssl.evaluation.metrics.variance_explained`).

    Examples
    --------
    >>> from deepchem_crystalssl import load_pretrained
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> table = compare_layers(load_pretrained("small"), bundled_prototypes()[:40])
    >>> bool(table.loc[0, "element"] > table.loc[3, "element"])
    True
    """
    graphs: list[CrystalGraph] = structures_to_graphs(crystals, progress=False)
    numbers = [graph.num_nodes for graph in graphs]
    every = {
        "crystal": np.repeat(np.arange(len(graphs)), numbers),
        "element": np.concatenate([graph.atomic_numbers for graph in graphs]),
        **(labels or {}),
    }
    rows = []
    for layer in range(len(model.crystal_encoder.convolutions) + 1):
        vectors = model.embed(graphs, "site", [layer], progress=False)
        rows.append({name: variance_explained(vectors, values) for name, values in every.items()})
    return pd.DataFrame(rows).rename_axis("layer")
