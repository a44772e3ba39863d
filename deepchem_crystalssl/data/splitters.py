"""Splitting datasets so that similar crystals stay together.

A model is then tested on crystals unlike those it was trained on, not on near copies of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Any, Literal, get_args

import numpy as np
from deepchem.data import Dataset
from deepchem.splits import Splitter
from sklearn.model_selection import GroupKFold

from ..errors import UnsupportedObjectError, an_object
from ..crystals.records import Crystal
from ..crystals.symmetry import prototype, space_group

Kind = Literal["chemical_system", "formula", "space_group", "prototype"]


class CrystalSplitter(Splitter):
    """A DeepChem splitter that never divides a group of similar crystals.

    Parameters
    ----------
    by : {"chemical_system", "formula", "space_group", "prototype"}
        What the crystals of one group have in common: the set of elements; the reduced formula; the space group; or
        the formula type, the space group and the multiplicities of the sites, as isostructural crystals have.
    symprec : float
        Tolerance of the symmetry search, Å.

    Raises
    ------
    ValueError
        If ``by`` is not one of these.

    Examples
    --------
    >>> import deepchem as dc
    >>> from deepchem_crystalssl import CrystalGraphFeaturizer
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> dataset = dc.data.NumpyDataset(CrystalGraphFeaturizer().featurize(bundled_prototypes()[:40]))
    >>> train, test = CrystalSplitter("formula").train_test_split(dataset, frac_train=0.7, seed=0)
    >>> len(train) + len(test)
    40
    """

    def __init__(self, by: Kind = "chemical_system", symprec: float = 0.01):
        if by not in get_args(Kind):
            raise ValueError(f"by={by!r}: must be one of {', '.join(get_args(Kind))}")
        self.by = by
        self.symprec = symprec

    def groups(self, dataset: Dataset) -> np.ndarray:
        """Return the group of every crystal.

        Parameters
        ----------
        dataset : dc.data.Dataset
            X must be crystals or crystal graphs.

        Returns
        -------
        numpy.ndarray
            str (n,).

        Raises
        ------
        UnsupportedObjectError
            If X holds anything else.
        """
        labels: list[str] = []
        for X, _, _, _ in dataset.iterbatches(1024, deterministic=True, pad_batches=False):
            labels += [self._label(crystal, f"X[{len(labels) + k}]") for k, crystal in enumerate(X)]
        return np.array(labels)

    def _label(self, crystal: Any, name: str) -> str:
        if not isinstance(crystal, Crystal):
            raise UnsupportedObjectError(
                name,
                an_object(crystal),
                "CrystalSplitter needs a dataset of crystals",
                "Featurize the structures with CrystalGraphFeaturizer, and leave out those that failed.",
            )
        if self.by == "chemical_system":
            return crystal.chemical_system
        if self.by == "formula":
            return crystal.reduced_formula
        return prototype(crystal, self.symprec) if self.by == "prototype" else str(space_group(crystal, self.symprec))

    def split(
        self,
        dataset: Dataset,
        frac_train: float = 0.8,
        frac_valid: float = 0.1,
        frac_test: float = 0.1,
        seed: int | None = None,
        log_every_n: int | None = None,
    ) -> tuple[list[int], list[int], list[int]]:
        """Divide a dataset into three parts.

        The groups are taken in random order, and each is given to the part that lacks most crystals.

        Parameters
        ----------
        dataset : dc.data.Dataset
            X must be crystals or crystal graphs.
        frac_train, frac_valid, frac_test : float
            Sizes of the parts as fractions of the dataset; they must add up to 1.
        seed : int, optional
            Seed of the order of the groups.
        log_every_n : int
            Accepted because DeepChem passes it; nothing is logged.

        Returns
        -------
        (list of int, list of int, list of int)
            Positions of the crystals for training, validation and test.

        Raises
        ------
        ValueError
            If the fractions do not add up to 1.
        """
        fractions = np.array([frac_train, frac_valid, frac_test])
        if not np.isclose(fractions.sum(), 1.0) or (fractions < 0).any():
            raise ValueError(f"frac_train, frac_valid, frac_test are {fractions.tolist()}: they must add up to 1")
        groups = self.groups(dataset)
        parts: tuple[list[int], list[int], list[int]] = ([], [], [])
        wanted = fractions * len(groups)
        for label in np.random.default_rng(seed).permutation(np.unique(groups)):
            lacking = wanted - [len(part) for part in parts]
            parts[int(lacking.argmax())].extend(np.flatnonzero(groups == label).tolist())
        return parts

    def k_fold_split(
        self, dataset: Dataset, k: int, directories: list[str] | None = None, seed: int | None = None
    ) -> list[tuple[Dataset, Dataset]]:
        """Divide a dataset into k folds for cross-validation.

        DeepChem's own method would divide groups from the second fold on.

        Parameters
        ----------
        dataset : dc.data.Dataset
            X must be crystals or crystal graphs.
        k : int
            Number of folds.
        directories : list of str, optional
            2k folders for the training and validation parts of a DiskDataset.
        seed : int, optional
            Seed of the order of the groups.

        Returns
        -------
        list of (Dataset, Dataset)
            The training and the validation part of each fold.

        Raises
        ------
        ValueError
            If there are fewer groups than folds.
        """
        groups = self.groups(dataset)
        n_groups = len(set(groups))
        if n_groups < k:
            raise ValueError(f"k={k}: there are only {n_groups} groups by {self.by}")
        folders: Iterator[str | None] = iter(directories if directories is not None else repeat(None))
        folds = GroupKFold(k, shuffle=True, random_state=seed).split(groups, groups=groups)
        return [(dataset.select(train, next(folders)), dataset.select(valid, next(folders))) for train, valid in folds]

    def leave_one_out(self, dataset: Dataset, at_least: int = 1) -> Iterator[tuple[str, Dataset, Dataset]]:
        """Leave out each group in turn.

        Parameters
        ----------
        dataset : dc.data.Dataset
            X must be crystals or crystal graphs.
        at_least : int
            Groups with fewer crystals are never left out; they belong to the training part every time.

        Yields
        ------
        (str, Dataset, Dataset)
            The name of the group, all other crystals, and the crystals of the group.
        """
        groups = self.groups(dataset)
        for label, count in zip(*np.unique(groups, return_counts=True), strict=True):
            if count >= at_least:
                others, group = (np.flatnonzero(chosen) for chosen in (groups != label, groups == label))
                yield str(label), dataset.select(others), dataset.select(group)
