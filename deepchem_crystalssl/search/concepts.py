"""Classes of materials: find further members of a class, and measure how close its members are to each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import hypergeom
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from .answers import Answer, Answers
from ..crystals.formats.tables import as_ids
from ..errors import QueryError
from .filters import Filter, allowed_by
from .index import EmbeddingIndex
from .vectors import nearest_rows, unit_rows

_OTHERS = 5000
_FOLDS = 5
_ROWS_AT_ONCE = 100


@dataclass(frozen=True)
class Member(Answer):
    """A crystal that may belong to a class.

    Attributes
    ----------
    score : float
        Logarithm of the odds that the crystal is an example and not a random crystal, up to a constant.
    percentile : float
        Percentage of the held-out examples that have a lower score. 50 means as typical as the examples themselves.
    formula : str
        Reduced formula.
    known : dict
        The other columns of the index for this crystal.
    """

    score: float
    percentile: float
    formula: str = ""
    known: dict[str, Any] = field(default_factory=dict)


class Concept(Answers[Member]):
    """The likeliest further members of a class, as ranked by a linear probe, best first.

    Attributes
    ----------
    auc : float
        Probability that a held-out example has a higher score than a random crystal. Examples of one chemical system
        are held out together. 0.5 means that the probe has learned nothing; NaN if all examples are of one system.
    in_top_percent : float
        Share of the held-out examples whose score lies above that of 99 % of the random crystals.
    """

    def __init__(self, members: Sequence[Member], auc: float, in_top_percent: float):
        super().__init__(members)
        self.auc, self.in_top_percent = auc, in_top_percent


def find_members(
    index: EmbeddingIndex,
    examples: Sequence[str],
    k: int = 100,
    *,
    filter: Filter | None = None,
    new_systems: bool = False,
    seed: int = 0,
) -> Concept:
    """Rank the crystals of an index by how likely they belong to the same class as some examples.

    A linear classifier (the probe) is trained on the vectors to separate the examples from crystals drawn at random.
    Some of the random crystals may belong to the class too (learning from positive and unlabelled data, Elkan and Noto
    2008). Therefore only the order of the scores has a meaning.

    Parameters
    ----------
    index : EmbeddingIndex
    examples : sequence of str
        Ids of at least 3 crystals.
    k : int
        Number of answers.
    filter : Filter, optional
        Which crystals may be answers.
    new_systems : bool
        Leave out crystals of the chemical systems of the examples.
    seed : int
        Seed for drawing the random crystals.

    Returns
    -------
    Concept

    Raises
    ------
    QueryError
        If there are fewer than 3 examples, or one is not in the index.

    Examples
    --------
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> index = EmbeddingIndex.from_structures(bundled_prototypes(), model="small", progress=False)
    >>> oxides = index.table.loc[index.table["chemical_system"].str.contains("O-|-O$"), "material_id"]
    >>> concept = find_members(index, oxides[::2].tolist(), k=5)
    >>> len(concept), concept.auc > 0.8
    (5, True)
    """
    rows = _rows_of(index, examples)
    systems = _systems(index)
    among, y = _with_others(index, rows, seed)
    x = np.asarray(index.vectors[among])
    held_out = _held_out_scores(x, y, systems[among])
    probe = _probe().fit(x, y)
    allowed = allowed_by(filter, index.table)
    allowed[rows] = False
    if new_systems:
        allowed &= ~np.isin(systems, systems[rows])
    candidates = np.flatnonzero(allowed)
    scores = _scores(probe, index, candidates)
    best = np.argsort(-scores, kind="stable")[:k]
    known: list[dict[str, Any]] = index.table.iloc[candidates[best]].to_dict("records")  # type: ignore[assignment]
    positive = np.sort(held_out[y][np.isfinite(held_out[y])])
    members = []
    for rank, (row, score) in enumerate(zip(known, scores[best].tolist(), strict=True), start=1):
        percentile = 100.0 * np.searchsorted(positive, score) / max(1, len(positive))
        name, formula = row.pop("material_id"), row.pop("formula", "") or ""
        members.append(Member(name, rank, round(score, 3), round(percentile, 1), formula, row))
    if not len(positive):
        return Concept(members, float("nan"), float("nan"))
    sure = held_out[y] > np.quantile(held_out[~y], 0.99)
    return Concept(members, float(roc_auc_score(y, held_out)), float(sure.mean()))


def likeness(index: EmbeddingIndex, examples: Sequence[str], seed: int = 0) -> np.ndarray:
    """Similarity of every crystal of an index to some examples, by the probe of :func:`find_members`; (n,).

    Parameters
    ----------
    index : EmbeddingIndex
    examples : sequence of str
        Ids, at least 3.
    seed : int

    Raises
    ------
    QueryError
        If there are fewer than 3 examples, or one is not in the index.

    Examples
    --------
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> index = EmbeddingIndex.from_structures(bundled_prototypes(), model="small", progress=False)
    >>> is_oxide = index.table["chemical_system"].str.contains("O-|-O$")
    >>> like = likeness(index, index.table.loc[is_oxide, "material_id"].tolist())
    >>> like.shape, bool(like[is_oxide].mean() > like[~is_oxide].mean())
    ((288,), True)
    """
    among, y = _with_others(index, _rows_of(index, examples), seed)
    return _scores(_probe().fit(np.asarray(index.vectors[among]), y), index, np.arange(len(index)))


def _rows_of(index: EmbeddingIndex, examples: Sequence[str]) -> np.ndarray:
    rows = np.array([_row_of(index, name) for name in dict.fromkeys(as_ids(examples))], int)
    if len(rows) < 3:
        raise QueryError("examples", f"{len(rows)}", "a class needs at least 3 examples", "Name more.")
    return rows


def _with_others(index: EmbeddingIndex, rows: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the examples and of crystals drawn at random, and which of these rows are examples."""
    others = np.setdiff1d(np.arange(len(index)), rows)
    others = np.sort(np.random.default_rng(seed).permutation(others)[:_OTHERS])
    return np.concatenate([rows, others]), np.arange(len(rows) + len(others)) < len(rows)


def _scores(probe: Pipeline, index: EmbeddingIndex, rows: np.ndarray) -> np.ndarray:
    parts = np.array_split(rows, 1 + len(rows) // 20_000)
    return np.concatenate([probe.decision_function(np.asarray(index.vectors[part])) for part in parts])


def _probe() -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, class_weight="balanced", max_iter=1000))


def _held_out_scores(x: np.ndarray, y: np.ndarray, systems: np.ndarray) -> np.ndarray:
    """Score every row by a probe that was trained without the row's chemical system; NaN if this is impossible."""
    scores = np.full(len(x), np.nan)
    folds = min(_FOLDS, len(np.unique(systems[y])))
    if folds < 2:
        return scores
    # The systems of the examples are divided first, so that every training part has examples.
    fold_of: dict[str, int] = {}
    for fold, (_, test) in enumerate(GroupKFold(folds).split(x[y], groups=systems[y])):
        fold_of |= dict.fromkeys(systems[y][test], fold)
    for k, system in enumerate(np.unique(systems[~y])):
        fold_of.setdefault(system, k % folds)
    folds_of_rows = np.array([fold_of[system] for system in systems])
    for fold in range(folds):
        test = folds_of_rows == fold
        scores[test] = _probe().fit(x[~test], y[~test]).decision_function(x[test])
    return scores


@dataclass(frozen=True)
class Enrichment:
    """Number of members of a class among the crystals nearest to a query.

    Attributes
    ----------
    found, k : int
        Number of members among the k nearest crystals, and k.
    expected : float
        Number of members expected in a random draw of k crystals.
    ratio : float
        found / expected.
    p_value : float
        Probability of at least as many members in a random draw (hypergeometric distribution).
    """

    found: int
    k: int
    expected: float
    ratio: float
    p_value: float


def enrichment(
    index: EmbeddingIndex, query: Any, members: Sequence[str], k: int = 100, filter: Filter | None = None
) -> Enrichment:
    """Count the members of a class among the k crystals nearest to a query, and compare with a random draw.

    Parameters
    ----------
    index : EmbeddingIndex
    query
        As in :meth:`EmbeddingIndex.query <deepchem_crystalssl.EmbeddingIndex.query>`. The query itself is not counted.
    members : sequence of str
        Ids of the members of the class.
    k : int
        Number of nearest crystals.
    filter : Filter, optional
        Which crystals are considered.

    Returns
    -------
    Enrichment

    Examples
    --------
    >>> index = EmbeddingIndex.build([[1, 0], [1, .1], [0, 1], [0, .9]], list("abcd"))
    >>> enrichment(index, "a", ["b"], k=1)
    Enrichment(found=1, k=1, expected=0.3333333333333333, ratio=3.0, p_value=0.3333333333333333)
    """
    members = as_ids(members)
    for name in members:
        _row_of(index, name)
    among = allowed_by(filter, index.table)
    answers = index.query(query, k, filter=filter)
    belongs = index.table["material_id"].isin(members).to_numpy()
    among[index.gallery.resolve(query).rows] = False  # the crystals that the query names are not counted
    found = len(set(answers.material_ids) & set(members))
    total, positive, drawn = int(among.sum()), int((belongs & among).sum()), len(answers)
    expected = drawn * positive / max(1, total)
    p_value = float(hypergeom.sf(found - 1, total, positive, drawn))
    return Enrichment(found, drawn, expected, found / expected if expected else float("nan"), p_value)


def precision_at_k(
    vectors: np.ndarray,
    members: np.ndarray,
    systems: np.ndarray,
    k: int = 10,
    among: np.ndarray | None = None,
    n_queries: int = 500,
) -> tuple[np.ndarray, np.ndarray]:
    """For members of a class as queries, return the share of members among the k nearest crystals of other systems.

    Parameters
    ----------
    vectors : numpy.ndarray
        Vectors of the crystals, (n, F).
    members : numpy.ndarray
        Which crystals are members, bool (n,).
    systems : numpy.ndarray
        Chemical systems of the crystals, (n,).
    k : int
        Number of nearest crystals.
    among : numpy.ndarray, optional
        Which crystals may be answers, bool (n,). By default all.
    n_queries : int
        Largest number of queries. If there are more members, this many are drawn at random.

    Returns
    -------
    shares, systems : numpy.ndarray
        The share and the chemical system of each query, (q,) each. From these
        :func:`~deepchem_crystalssl.evaluation.probes.interval_of_mean` calculates a confidence interval.

    Raises
    ------
    QueryError
        If the members are not marked, one for each vector.

    Examples
    --------
    >>> vectors, members = np.eye(4)[[0, 0, 1, 1]] + 0.1, np.array([True, True, False, False])
    >>> precision_at_k(vectors, members, np.array(list("abcd")), k=1)[0].tolist()
    [1.0, 1.0]
    """
    vectors, members, systems = unit_rows(vectors), np.asarray(members), np.asarray(systems)
    if members.dtype != bool or members.shape != (len(vectors),):
        raise QueryError("members", f"{members.dtype} of shape {members.shape}",
                         "members are marked by True and False, one for each vector",
                         "Make them of ids with table['material_id'].isin(ids).to_numpy().")  # fmt: skip
    queries = np.random.default_rng(0).permutation(np.flatnonzero(members))[:n_queries]
    allowed = np.ones(len(vectors), bool) if among is None else among
    shares = []
    group = np.unique(systems, return_inverse=True)[1]
    sizes = np.bincount(group)[group]
    for part in np.array_split(queries, max(1, -(-len(queries) // _ROWS_AT_ONCE))):
        # Crystals of the query's own system are dropped, so as many more neighbours are fetched as it has crystals.
        rows, _ = nearest_rows(vectors, vectors[part], k + int(sizes[part].max()), allowed)
        for query, found in zip(part, rows, strict=True):
            foreign = found[systems[found] != systems[query]][:k]
            shares.append(members[foreign].mean())
    return np.array(shares), systems[queries]


def _row_of(index: EmbeddingIndex, name: str) -> int:
    if name not in index.gallery.row_of:
        raise QueryError(str(name), "not in the index", "members are named by their ids",
                         "Check the id; the column material_id of the table lists all.")  # fmt: skip
    return index.gallery.row_of[name]


def _systems(index: EmbeddingIndex) -> np.ndarray:
    if "chemical_system" in index.table:
        # A crystal of unknown composition counts as a chemical system of its own.
        return index.table["chemical_system"].fillna(index.table["material_id"]).to_numpy(str)
    return index.table["material_id"].to_numpy(str)
