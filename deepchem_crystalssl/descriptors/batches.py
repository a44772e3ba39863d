"""The common base of the descriptors: a matminer featurizer that computes all entries together, in this process."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import pandas as pd
from matminer.featurizers.base import BaseFeaturizer

from ..errors import OnError, Report, UnsupportedObjectError, an_object

CITATIONS = (
    "@article{suzuki2022, title={Self-supervised learning of materials concepts from crystal structures via deep "
    "neural networks}, author={Suzuki, Yuta and Taniai, Tatsunori and Saito, Kotaro and Ushiku, Yoshitaka and Ono, "
    "Kanta}, "
    "journal={Machine Learning: Science and Technology}, volume={3}, pages={045034}, year={2022}, "
    "doi={10.1088/2632-2153/aca23d}}",
    "@article{kong2024, title={Self-supervised representations and node embedding graph neural networks for accurate "
    "and multi-scale analysis of materials}, author={Kong, Jian-Gang and others}, "
    "journal={Machine Learning: Science and Technology}, volume={5}, pages={035018}, year={2024}, "
    "doi={10.1088/2632-2153/ad612b}}",
    "@article{jain2013, title={Commentary: The Materials Project}, author={Jain, Anubhav and others}, "
    "journal={APL Materials}, volume={1}, pages={011002}, year={2013}, doi={10.1063/1.4812323}}",
)
"""BibTeX entries of the two methods and of the structures on which the shipped models were trained."""


class BatchFeaturizer(BaseFeaturizer):
    """A matminer featurizer and scikit-learn transformer that computes its entries in batches.

    matminer computes one entry at a time, in forked worker processes. That would be about a hundred times slower here,
    and a forked process would wait forever for the threads that torch has started in its parent. A subclass defines
    :meth:`compute` and :meth:`feature_labels`; this class serves the interfaces of matminer and scikit-learn with them.
    """

    n_jobs: int = 1  # hides matminer's property, so that n_jobs can be a constructor argument, kept by sklearn.clone

    @abstractmethod
    def compute(self, entries: list, on_error: OnError, report: Report) -> np.ndarray:
        """Compute the vectors of many entries.

        Parameters
        ----------
        entries : list
            One item per entry; entries with several arguments are tuples.
        on_error : {"raise", "warn", "skip"}
            What an entry that cannot be used does: raise its error, or be left out. With "skip" a summary is logged.
        report : Report
            Receives the error of every entry that was left out, with its position as ``index``.

        Returns
        -------
        numpy.ndarray
            float32 (n_good, n_features), in the order of the entries.
        """

    def set_n_jobs(self, n_jobs: int) -> None:
        """Set the number of threads; matminer's own featurizers have this method too."""
        self.n_jobs = n_jobs

    def featurize(self, *x: Any) -> list[float]:
        """Return the vector of one entry."""
        return self.compute([x if len(x) > 1 else x[0]], "raise", Report())[0].tolist()

    def featurize_many(
        self, entries: Any, ignore_errors: bool = False, return_errors: bool = False, pbar: bool | dict = True
    ) -> list[list]:
        """Return the vectors of many entries.

        Parameters
        ----------
        entries : list, tuple, numpy.ndarray, pandas.Series or pandas.DataFrame
            What :meth:`featurize` takes, one item per entry; several arguments are given as a tuple.
        ignore_errors : bool
            If True, the row of an entry that cannot be used is NaN. If False, such an entry raises its typed error.
        return_errors : bool
            If True, each row has one more column, which holds the text of the error, or NaN for a good entry.
        pbar : bool
            Accepted because matminer passes it; no progress bar is shown.

        Returns
        -------
        list of list
        """
        if return_errors and not ignore_errors:
            raise ValueError("return_errors=True needs ignore_errors=True: otherwise the first error is raised")
        rows = separate_entries(entries)
        vectors, report = self._vectors(rows, "skip" if ignore_errors else "raise")
        features: list[list] = vectors.tolist()
        if return_errors:
            texts = {error.index: str(error) for error in report}
            for index, row in enumerate(features):
                row.append(texts.get(index, float("nan")))
        return features

    def transform(self, X: Any) -> np.ndarray:
        """Return the vectors as float32 (n, n_features) for scikit-learn.

        The row of an entry that cannot be used is NaN; the reasons are written to the log.
        """
        return self._vectors(separate_entries(X), "skip")[0]

    def _vectors(self, entries: list, on_error: OnError) -> tuple[np.ndarray, Report]:
        report = Report()
        vectors = np.full((len(entries), len(self.feature_labels())), np.nan, np.float32)
        if entries:
            computed = self.compute(entries, on_error, report)
            left_out = set(report.indices)
            vectors[[k for k in range(len(entries)) if k not in left_out]] = computed
        return vectors, report

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the labels of the columns, which scikit-learn's ``set_output(transform="pandas")`` asks for."""
        return np.array(self.feature_labels(), object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.requires_fit = False
        tags.no_validation = True
        return tags

    def citations(self) -> list[str]:
        """Return BibTeX entries of both methods and of the structures the models were trained on."""
        return list(CITATIONS)

    def implementors(self) -> list[str]:
        """Return the names of the authors."""
        return ["the deepchem_crystalssl developers"]


def separate_entries(entries: Any) -> list:
    """Return a list with one item per entry.

    matminer passes the arguments of each entry as a tuple, and a DataFrame holds them as a row; a tuple or row of one
    argument is replaced by the argument itself.
    """
    if isinstance(entries, pd.DataFrame):
        entries = entries.to_numpy()
    if not isinstance(entries, list | tuple | np.ndarray | pd.Series):
        raise UnsupportedObjectError(
            "entries",
            an_object(entries),
            "entries must be a list, an array, a Series or a DataFrame",
            "Put a single structure into a list, or pass it to featurize.",
        )
    return [_unpacked(entry) for entry in entries]


def _unpacked(entry: Any) -> Any:
    is_row = isinstance(entry, tuple | list) or (isinstance(entry, np.ndarray) and entry.dtype == object)
    return entry[0] if is_row and len(entry) == 1 else entry
