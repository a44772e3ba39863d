"""Measures of the quality of embeddings: retrieval, neighbours, collapse, and relation to labels."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from ..crystals.duplicates import duplicate_groups as duplicate_groups  # noqa: F401, public here
from ..errors import counted


@dataclass(frozen=True)
class RetrievalRecall(Mapping[int, float]):
    """Recall of a retrieval: a mapping from k to the fraction of queries whose answer is among the first k.

    Attributes
    ----------
    recall : dict from int to float
        Recall for each k.
    interval : dict from int to (float, float)
        95 % confidence interval of each recall (Wilson 1927).
    n_queries, n_gallery : int
        Number of queries and of gallery rows. Random vectors have a recall of k / n_gallery.
    n_duplicates : int
        Number of rows that are the same crystal as an earlier row of the gallery.

    Examples
    --------
    >>> print(retrieval_recall(np.eye(4), np.eye(4)[[0, 1, 3, 2]], k=(1, 4)))
    recall@1/@4 0.500/1.000 (@1 95 %: 0.150-0.850; 4 queries, gallery of 4, 0 duplicates)
    """

    recall: dict[int, float]
    interval: dict[int, tuple[float, float]]
    n_queries: int
    n_gallery: int
    n_duplicates: int

    def __getitem__(self, k: int) -> float:
        return self.recall[k]

    def __iter__(self) -> Iterator[int]:
        return iter(self.recall)

    def __len__(self) -> int:
        return len(self.recall)

    def __str__(self) -> str:
        first = min(self.recall)
        low, high = self.interval[first]
        return (
            f"recall@{'/@'.join(map(str, self.recall))} {'/'.join(f'{r:.3f}' for r in self.recall.values())} "
            f"(@{first} 95 %: {low:.3f}-{high:.3f}; {self.n_queries} queries, gallery of {self.n_gallery}, "
            f"{self.n_duplicates} duplicates)"
        )


def retrieval_recall(
    queries: np.ndarray,
    gallery: np.ndarray,
    k: Sequence[int] = (1, 5, 10),
    groups: Sequence[int] | np.ndarray | None = None,
    block: int = 1024,
) -> RetrievalRecall:
    """Fraction of queries whose partner is among the k nearest rows of the gallery.

    A query has rank r if r - 1 other crystals are nearer to it than the nearest row of its own crystal. Crystals at the
    same distance count as nearer, so that constant vectors have a recall of 0. No approximation is made. Exchange the
    first two arguments for the opposite direction.

    Parameters
    ----------
    queries, gallery : numpy.ndarray
        Vectors, (n, F) each. Row i of both belongs to the same crystal. Distances are Euclidean.
    k : sequence of int
        Ranks for which recall is computed.
    groups : sequence of int, optional
        Group of each row, (n,). The rows of a group are the same crystal, as found by :func:`duplicate_groups`. Each is
        a right answer for the others, and copies of a wrong answer count once. By default each row is a crystal of its
        own.
    block : int
        Number of queries that are compared at a time.

    Returns
    -------
    RetrievalRecall

    Examples
    --------
    >>> points = np.eye(4)
    >>> found = retrieval_recall(points, points[[0, 1, 3, 2]], k=(1, 4))
    >>> found[1], found[4]
    (0.5, 1.0)
    >>> retrieval_recall(points, points[[0, 1, 3, 2]], groups=[0, 1, 2, 2])[1]
    1.0
    """
    queries, gallery = np.asarray(queries, float), np.asarray(gallery, float)
    if queries.shape != gallery.shape or not len(queries):
        raise ValueError(f"{queries.shape} queries and {gallery.shape} gallery rows; they must be partners, row by row")
    n = len(queries)
    labels = np.unique(np.arange(n) if groups is None else np.asarray(groups), return_inverse=True)[1]
    if labels.shape != (n,):
        raise ValueError(f"groups: shape {labels.shape}; one label per row, ({n},)")
    by_group = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[by_group], np.arange(labels.max() + 1))
    gallery, norms = gallery[by_group], (gallery[by_group] ** 2).sum(1)
    ranks = np.empty(n, int)
    for start in range(0, n, block):
        rows = np.arange(start, min(start + block, n))
        nearest = np.minimum.reduceat(norms - 2 * queries[rows] @ gallery.T, starts, axis=1)
        ranks[rows] = (nearest <= nearest[np.arange(len(rows)), labels[rows]][:, None]).sum(1)
    found = {int(r): int((ranks <= r).sum()) for r in k}
    intervals = {r: binomtest(hits, n).proportion_ci(method="wilson") for r, hits in found.items()}
    return RetrievalRecall(
        recall={r: hits / n for r, hits in found.items()},
        interval={r: (float(interval.low), float(interval.high)) for r, interval in intervals.items()},
        n_queries=n,
        n_gallery=n,
        n_duplicates=n - len(starts),
    )


def neighbor_overlap(ours: Sequence, theirs: Sequence, k: int = 100, known: Collection | None = None) -> float:
    """Fraction of the first k entries that two ranked lists have in common.

    Parameters
    ----------
    ours, theirs : sequence
        Names in the order of the lists, nearest first.
    k : int
        Number of entries that are compared.
    known : collection, optional
        Names that both lists could contain. Other names are removed before the first k are taken.

    Examples
    --------
    >>> neighbor_overlap(["a", "b", "x"], ["b", "c", "a"], k=2)
    0.5
    >>> neighbor_overlap(["a", "b", "x"], ["b", "c", "a"], k=2, known={"a", "b", "x"})
    1.0
    """
    allowed = None if known is None else set(known)
    first, second = ([name for name in names if allowed is None or name in allowed][:k] for names in (ours, theirs))
    length = min(k, max(len(first), len(second)))
    return len(set(first) & set(second)) / length if length else 0.0


def spread(vectors: np.ndarray) -> float:
    """Return the root mean square distance of vectors from their mean, divided by that from the origin.

    It is 0 if all vectors are the same (collapse), and 1 if their mean is 0.

    Examples
    --------
    >>> spread(np.ones((5, 3))), spread(np.array([[1.0, 0.0], [-1.0, 0.0]]))
    (0.0, 1.0)
    """
    vectors = np.asarray(vectors, float)
    total = (vectors**2).sum(1).mean()
    return float(np.sqrt(((vectors - vectors.mean(0)) ** 2).sum(1).mean() / total)) if total > 0 else 0.0


def variance_explained(vectors: np.ndarray, labels: Sequence | np.ndarray) -> float:
    r"""Fraction of the variance of vectors that lies between groups of equal label, corrected for chance.

    For n rows in k groups it is :math:`1 - \frac{SS_\text{within} / (n - k)}{SS_\text{total} / (n - 1)}` (Kelley
    1935), where the sums of squares run over all columns, each divided by its standard deviation. It is about
    0 (or slightly negative) for labels without relation to the vectors, and 1 for labels that determine them.

    Parameters
    ----------
    vectors : numpy.ndarray
        Vectors, (n, F).
    labels : sequence
        Label of each row, (n,). Rows with the label None are left out.

    Examples
    --------
    >>> x = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 3.0], [1.0, 3.0]])
    >>> variance_explained(x, ["a", "a", "b", "b"]), round(variance_explained(x, ["a", "b", "a", "b"]), 3)
    (1.0, -0.5)
    """
    vectors, labels = np.asarray(vectors, float), np.asarray(labels, object)
    if len(vectors) != len(labels):
        raise ValueError(f"{counted(len(vectors), 'vector')}, {counted(len(labels), 'label')}; one of each per row")
    known = np.array([label is not None for label in labels], bool)
    groups, codes = np.unique(labels[known].astype(str), return_inverse=True)
    n, k = int(known.sum()), len(groups)
    if not 1 < k < n:
        raise ValueError(
            f"labels: {counted(k, 'group')} of {counted(n, 'row')}; there must be at least 2, and fewer than rows"
        )
    x = vectors[known] - vectors[known].mean(0)
    x = x[:, x.std(0) > 1e-9] / x.std(0)[x.std(0) > 1e-9]
    sums = np.zeros((k, x.shape[1]))
    np.add.at(sums, codes, x)
    within = x - (sums / np.bincount(codes)[:, None])[codes]
    return float(1.0 - ((within**2).sum() / (n - k)) / ((x**2).sum() / (n - 1)))


def alignment(x: np.ndarray, y: np.ndarray) -> float:
    r"""Mean squared distance of partners, scaled to length 1.

    It is :math:`\langle |x_i - y_i|^2 \rangle` (Wang and Isola 2020).

    Examples
    --------
    >>> alignment(np.eye(3), 2 * np.eye(3))
    0.0
    """
    return float(((_unit(x) - _unit(y)) ** 2).sum(1).mean())


def uniformity(x: np.ndarray, t: float = 2.0, n_most: int = 2000) -> float:
    r"""Uniformity of vectors on the sphere, :math:`\log \langle e^{-t |x_i - x_j|^2} \rangle_{i<j}` (Wang, Isola 2020).

    It is 0 if all vectors are the same; the more evenly they cover the sphere, the lower it is. If there are more than
    ``n_most`` rows, this many evenly spaced rows are used.

    Examples
    --------
    >>> abs(uniformity(np.ones((5, 3)))), round(uniformity(np.array([[1.0, 0.0], [-1.0, 0.0]])), 6)
    (0.0, -8.0)
    """
    x = _unit(x)
    x = x[np.linspace(0, len(x) - 1, min(len(x), n_most)).astype(int)]
    rows, columns = np.triu_indices(len(x), 1)
    squared = np.clip(2 - 2 * (x @ x.T), 0, None)[rows, columns]
    return float(np.log(np.exp(-t * squared).mean())) if len(squared) else 0.0


def _unit(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, float)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
