"""The coordination of sites in words, and how much of it the site vectors of each layer explain."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from matminer.featurizers.site import CrystalNNFingerprint

from ..errors import DisorderError, LabelError, counted
from ..crystals.records import Crystal, CrystalGraph
from ..crystals.neighbors import structures_to_graphs
from ..crystals.symmetry import UNKNOWN, orbits
from ..evaluation.metrics import variance_explained
from ..models.pretraining import CrystalSSLModel

SHAPE_THRESHOLD = 0.5
"""Smallest order parameter for which the neighbours are said to form a polyhedron."""


def local_environments(crystal: Crystal, sites: Sequence[int] | None = None, symprec: float = 0.01) -> np.ndarray:
    """Name the coordination of sites: ``"octahedral"``, ``"tetrahedral"``, ..., or ``"7-fold"``.

    The neighbours are those of pymatgen's ``CrystalNN``. The most probable coordination number is used, and among its
    polyhedra the one with the largest order parameter (Zimmermann and Jain 2020, doi:10.1039/C9RA07755C), if that is
    at least 0.5. Symmetry-equivalent sites are computed once.

    Parameters
    ----------
    crystal : Crystal
        A crystal or a crystal graph.
    sites : sequence of int, optional
        Indices of the sites; by default all.
    symprec : float
        Tolerance of the symmetry search, Å.

    Returns
    -------
    numpy.ndarray
        str (n,); ``"unknown"`` where CrystalNN finds no neighbours, for example for an element without a radius.

    Raises
    ------
    DisorderError
        If a site is partially occupied.

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
            "partially occupied sites",
            "a coordination number counts whole atoms",
            "Order the crystal, or read it with disorder='dominant'.",
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
        warnings.simplefilter("ignore")  # CrystalNN warns about missing oxidation states at every site
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
    """Return the featurizer and, for each coordination number, the column of its weight and those of its polyhedra."""
    fingerprint = CrystalNNFingerprint.from_preset("ops")
    shapes: dict[int, tuple[int, dict[str, int]]] = {}
    for column, label in enumerate(fingerprint.feature_labels()):
        name, number = label.rsplit(" CN_", 1)
        if name == "wt":
            shapes[int(number)] = column, {}
        elif not name.startswith("q"):  # Steinhardt parameters belong to no single polyhedron
            shapes[int(number)][1]["single bond" if name == "sgl_bd" else name] = column
    return fingerprint, shapes


def compare_layers(
    model: CrystalSSLModel, crystals: Any, labels: Mapping[str, Sequence | np.ndarray] | None = None
) -> pd.DataFrame:
    """Compute how much of the variance of site vectors is explained by crystal, element and other labels, by layer.

    The vectors of layer k depend on atoms up to k bonds away. If the crystal explains nearly all of the variance, the
    vectors of the sites of a crystal have become equal (over-smoothing, Li et al. 2018, arXiv:1801.07606). If the
    element explains nearly all of it, the vectors contain little else.

    Parameters
    ----------
    model : CrystalSSLModel
    crystals
        Anything :meth:`CrystalSSLModel.embed <deepchem_crystalssl.CrystalSSLModel.embed>` takes, ordered.
    labels : dict from str to sequence, optional
        Further labels, one for each site, crystal after crystal, such as those of :func:`local_environments`. Sites
        whose label is None are left out.

    Returns
    -------
    pandas.DataFrame
        One row for each layer and one column for each label: the fraction of the variance explained, corrected for
        chance (:func:`~deepchem_crystalssl.evaluation.metrics.variance_explained`).

    Raises
    ------
    LabelError
        If there is not one label for each site.

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
    for name, values in every.items():
        if len(values) != sum(numbers):
            raise LabelError(
                f"labels[{name!r}]",
                f"{counted(len(values), 'label')} for {counted(sum(numbers), 'site')}",
                "there must be one label for each site, crystal after crystal",
                "Concatenate the labels of all crystals in order.",
            )
    rows = []
    for layer in range(len(model.descriptor_encoder.convolutions) + 1):
        vectors = model.embed(graphs, "site", [layer], progress=False)
        rows.append({name: variance_explained(vectors, values) for name, values in every.items()})
    return pd.DataFrame(rows).rename_axis("layer")
