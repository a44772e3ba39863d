"""Splits that keep what is alike on one side: the error on new chemistry, not on copies of what was learned."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Any, Literal, get_args

import numpy as np
from deepchem.data import Dataset
from deepchem.splits import Splitter
from sklearn.model_selection import GroupKFold

from ..errors import LabelError
from ..crystals.records import Crystal
from ..crystals.symmetry import prototype, space_group

Kind = Literal["chemical_system", "formula", "space_group", "prototype"]


class CrystalSplitter(Splitter):
    """Splits crystals by what they are made of, or how they are built, never through a group.

    Parameters
    ----------
    by : {"chemical_system", "formula", "space_group", "prototype"}
        What two crystals of one group share: the set of elements; the reduced formula; the space group; or formula
        type, space group and multiplicities of the sites, which is what isostructural crystals share.
    symprec : float
        Tolerance of the symmetry, Å.

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
            raise ValueError(f"by: {by!r}; must be one of {', '.join(get_args(Kind))}")
        self.by = by
        self.symprec = symprec

    def groups(self, dataset: Dataset) -> np.ndarray:
        """The group of every crystal, (n,) of str."""
        labels = []
        for X, _, _, _ in dataset.iterbatches(1024, deterministic=True, pad_batches=False):
            labels += [self._label(crystal) for crystal in X]
        return np.array(labels)

    def _label(self, crystal: Any) -> str:
        if not isinstance(crystal, Crystal):
            raise LabelError(
                "X",
                type(crystal).__name__,
                "a split by crystals needs crystals",
                "Featurize by CrystalGraphFeaturizer.",
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
        """Indices of train, valid and test: groups in random order, each to the part that lacks most.

        Parameters
        ----------
        dataset : dc.data.Dataset
            Of crystal graphs.
        frac_train, frac_valid, frac_test : float
        seed : int, optional
        log_every_n : int
            Part of DeepChem's signature.

        Returns
        -------
        (list of int, list of int, list of int)
        """
        fractions = np.array([frac_train, frac_valid, frac_test])
        if not np.isclose(fractions.sum(), 1.0) or (fractions < 0).any():
            raise ValueError(f"frac_train, frac_valid, frac_test: {fractions.tolist()}; they must add up to 1")
        groups = self.groups(dataset)
        parts: tuple[list[int], list[int], list[int]] = ([], [], [])
        wanted = fractions * len(groups)
        for label in np.random.default_rng(seed).permutation(np.unique(groups)):
            lacking = wanted - [len(part) for part in parts]
            parts[int(lacking.argmax())].extend(np.flatnonzero(groups == label).tolist())
        return parts

    def k_fold_split(  # DeepChem's own forgets the groups after the first fold
        self, dataset: Dataset, k: int, directories: list[str] | None = None, seed: int | None = None, **kwargs: Any
    ) -> list[tuple[Dataset, Dataset]]:
        """(train, valid) for each of k folds.

        Parameters
        ----------
        dataset : dc.data.Dataset
        k : int
        directories : list of str, optional
            2k folders for parts of a DiskDataset.
        seed : int, optional

        Returns
        -------
        list of (Dataset, Dataset)
        """
        groups = self.groups(dataset)
        n_groups = len(set(groups))
        if n_groups < k:
            raise ValueError(f"k: {k}; there are {n_groups} groups by {self.by}")
        folders: Iterator[str | None] = iter(directories if directories is not None else repeat(None))
        folds = GroupKFold(k, shuffle=True, random_state=seed).split(groups, groups=groups)
        return [(dataset.select(train, next(folders)), dataset.select(valid, next(folders))) for train, valid in folds]

    def leave_one_out(self, dataset: Dataset, at_least: int = 1) -> Iterator[tuple[str, Dataset, Dataset]]:
        """Every group in turn: its name, all others, and itself.

        Parameters
        ----------
        dataset : dc.data.Dataset
        at_least : int
            Smaller groups are never left out, only trained on.

        Yields
        ------
        (str, Dataset, Dataset)
        """
        groups = self.groups(dataset)
        for label, count in zip(*np.unique(groups, return_counts=True), strict=True):
            if count >= at_least:
                yield str(label), dataset.select(np.flatnonzero(groups != label)), dataset.select(
                    np.flatnonzero(groups == label)
                )
