"""Fit the probabilities of answers to measured patterns, and measure how well they hold on patterns not fitted to.

    python benchmarks/confidence.py DATA --index INDEX [--cases CASES.json] [--picture FILE.png]

INDEX holds all crystals: ``crystalssl index DATA/mp_structures.parquet -o INDEX``.

Each measured pattern of one known compound in ``rruff_measured.json.gz`` and ``xrd_measured_examples.json.gz`` is
looked up eight times: among all crystals and among 20,000, with its elements given and without, and with the right
compound in the index and removed. Removed are all crystals of its formula, whatever their hydrogen, because X-rays
hardly see hydrogen. The cases are kept in CASES.json, if a path is given, and not computed again if it exists.

Then the weighed mixtures of the second file are taken apart, with their elements given and without, and with each of
their compounds removed, for the probabilities of phases.

Printed are the constants of :mod:`deepchem_crystalssl.search.confidence`; then, for probabilities whose constants were
fitted to the other patterns (ten parts, by pattern): the expected calibration error, a table of reliability, how often
the first answer has a high confidence and is wrong, and how often the right one is in the first group.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from powder import NOT_IN_INDEX, elements_of, read
from pymatgen.core import Composition
from scipy.optimize import minimize
from tqdm import tqdm

from deepchem_crystalssl.search import EmbeddingIndex
from deepchem_crystalssl.search.confidence import GROUP, HIGH, MOST_LEAD
from deepchem_crystalssl.search.formulas import without_hydrogen
from deepchem_crystalssl.search.phases import identify_among

SMALL = 20_000
PARTS = 10


def patterns(data: Path, formulas: set[str]) -> list[dict[str, Any]]:
    """Angles, counts, wavelength, formula and right ids of single phases."""
    found = []
    for row in read(data / "rruff_measured.json.gz"):
        if row["material_ids"]:
            angles = row["two_theta_start"] + row["two_theta_step"] * np.arange(len(row["intensity"]))
            found.append({**row, "two_theta": angles})
    for row in read(data / "xrd_measured_examples.json.gz"):
        if row["formula"] and "+" not in row["formula"]:
            if Composition(row["formula"]).reduced_formula in formulas:
                found.append({**row, "material_ids": None})
    return found


def cases_of(index: EmbeddingIndex, data: Path) -> list[dict[str, Any]]:
    """All cases: scores, formulas and ids of the answers, and which of them are right."""
    table = index.table
    formulas, ids = table["formula"].to_numpy(object), table["material_id"].to_numpy(object)
    bare = np.array([without_hydrogen(formula) for formula in formulas], object)
    kinds = list(zip(formulas, table["space_group"], strict=True))
    row_of = {name: row for row, name in enumerate(ids)}
    systems = [set(system.split("-")) for system in table["chemical_system"]]
    some = np.random.default_rng(0).random(len(ids)) < SMALL / len(ids)
    vectors, found = index.embed_patterns(), []
    for one in tqdm(patterns(data, set(formulas)), mininterval=30):
        reduced = Composition(one["formula"]).reduced_formula
        if one["material_ids"] is None:
            right = {kind for kind in kinds if kind[0] == reduced}
        else:
            right = {kinds[row_of[name]] for name in one["material_ids"] if name in row_of}
        same = bare == without_hydrogen(reduced)
        for kind in right:
            same |= bare == without_hydrogen(kind[0])
        is_right = np.array([kind in right for kind in kinds])
        elements = frozenset(elements_of(one["formula"]))
        within = np.array([system <= elements for system in systems])
        for gallery, members in (("all", np.ones(len(ids), bool)), ("small", some | is_right)):
            for given in (False, True):
                for removed in (False, True):
                    allowed = members & (within if given else True) & (~same if removed else True)
                    if not allowed.any():
                        continue
                    answer = identify_among(
                        vectors, allowed, index.structures, ids, index.model, one["two_theta"], one["intensity"],
                        one["wavelength"], 24, phases=1, needed=elements if given else frozenset(),
                        prototypes=index.prototypes_of,
                    )  # fmt: skip
                    hits = [(match.formula, match.space_group) in right for match in answer]
                    found.append(
                        {
                            "name": one["name"], "gallery": gallery, "elements": given, "removed": removed,
                            "right": hits, "formulas": [match.formula for match in answer],
                            "kinds": [f"{without_hydrogen(m.formula)} {m.space_group}" for m in answer],
                            "scores": [match.score for match in answer],
                            "unexplained": answer.unexplained,
                        }
                    )  # fmt: skip
    return found


def phases_of(index: EmbeddingIndex, data: Path) -> list[dict[str, Any]]:
    """Phases that were found in weighed mixtures, and whether they are right."""
    table, vectors, found = index.table, index.embed_patterns(), []
    ids = table["material_id"].to_numpy(object)
    bare = np.array([without_hydrogen(formula) for formula in table["formula"]], object)
    systems = [set(system.split("-")) for system in table["chemical_system"]]
    for row in tqdm(read(data / "xrd_measured_examples.json.gz"), mininterval=30):
        weighed = [] if row["formula"] else re.findall(r"([A-Za-z0-9()]+)_0p\d+", row["name"])
        if not weighed or any(name in NOT_IN_INDEX for name in weighed):
            continue
        compounds = {Composition(name).reduced_formula for name in weighed}
        elements = frozenset(elements_of(*weighed))
        within = np.array([system <= elements for system in systems])
        for given, gone in [(True, None), (False, None), *((True, compound) for compound in sorted(compounds))]:
            allowed = within if given else np.ones(len(ids), bool)
            if gone is not None:
                allowed = allowed & (bare != without_hydrogen(gone))
            answer = identify_among(
                vectors, allowed, index.structures, ids, index.model, row["two_theta"], row["intensity"],
                row["wavelength"], needed=elements if given else frozenset(), prototypes=index.prototypes_of,
            )  # fmt: skip
            for phase in answer.phases if len(answer.phases) > 1 else ():
                found.append(
                    {
                        "name": row["name"].split("--")[0], "elements": given, "removed": gone,
                        "right": phase.formula in compounds,
                        "score": phase.score,
                    }
                )  # fmt: skip
    return found


def numbers(case: dict[str, Any]) -> np.ndarray:
    """One, the score of the first answer and its lead, (3,)."""
    scores, formulas = case["scores"], case["formulas"]
    others = [score for score, name in zip(scores, formulas, strict=True) if name != formulas[0]]
    lead = scores[0] - max(others, default=scores[0] - MOST_LEAD)
    return np.array([1.0, scores[0], np.clip(lead, -MOST_LEAD, MOST_LEAD)])


def fitted(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Constants of greatest likelihood, (3,)."""

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        z = x @ w
        return float(np.logaddexp(0.0, np.where(y, -z, z)).sum()), x.T @ (1 / (1 + np.exp(-z)) - y)

    return minimize(loss, np.zeros(x.shape[1]), jac=True).x


Bins = list[tuple[float, float, int]]


def held_out(x: np.ndarray, y: np.ndarray, names: list[str], n_bins: int = 10) -> tuple[np.ndarray, Bins]:
    """Probabilities of cases (n,), from constants that were fitted to other patterns; the calibration is printed."""
    print("constants:", ", ".join(f"{w:.2f}" for w in fitted(x, y)))
    kinds = sorted(set(names))
    part = dict(zip(np.random.default_rng(0).permutation(kinds), np.arange(len(kinds)) % PARTS, strict=True))
    parts = np.array([part[name] for name in names])
    p = np.zeros(len(names))
    for k in range(PARTS):
        p[parts == k] = 1 / (1 + np.exp(-x[parts == k] @ fitted(x[parts != k], y[parts != k])))
    bins = np.minimum((n_bins * p).astype(int), n_bins - 1)
    shown = [
        (p[bins == b].mean(), y[bins == b].mean(), int((bins == b).sum())) for b in range(n_bins) if (bins == b).any()
    ]
    error = sum(abs(said - was) * n for said, was, n in shown) / len(p)
    print(f"expected calibration error on patterns not fitted to: {error:.3f} ({len(p)} cases)")
    for said, was, n in shown:
        print(f"  said {said:.2f}, right {was:.2f} ({n} cases)")
    return p, shown


def report(cases: list[dict[str, Any]], phases: list[dict[str, Any]]) -> tuple[Bins, Bins]:
    """Print all."""
    x, y = np.stack([numbers(case) for case in cases]), np.array([case["right"][0] for case in cases])
    p, of_answers = held_out(x, y, [case["name"] for case in cases])
    for gallery in ("all", "small"):
        for given in (False, True):
            chosen = np.array([c["gallery"] == gallery and c["elements"] == given for c in cases])
            gone = np.array([c["removed"] for c in cases])
            there, away = chosen & ~gone, chosen & gone
            groups = [_group(case) for case, here in zip(cases, there, strict=True) if here]
            print(
                f"{gallery}, elements {'given' if given else 'not given'}: first {y[there].mean():.3f}; high: "
                f"{(p[there] >= HIGH).sum()} of {there.sum()}, wrong {((p >= HIGH) & ~y & there).sum()}; removed: high "
                f"{((p >= HIGH) & away).sum()} of {away.sum()}; right in the first group "
                f"{np.mean([right for right, _ in groups]):.3f}, of {np.mean([n for _, n in groups]):.2f} compounds"
            )

    print("phases of mixtures:")
    _, of_phases = held_out(
        np.array([[1.0, phase["score"]] for phase in phases]), np.array([phase["right"] for phase in phases]),
        [phase["name"] for phase in phases], 5,
    )  # fmt: skip
    return of_answers, of_phases


def draw(of_answers: Bins, of_phases: Bins, path: Path) -> None:
    """A reliability diagram: how often what was said with a probability was right."""
    figure = Figure(figsize=(5, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    for shown, name, color in ((of_answers, "first answers", "#0072B2"), (of_phases, "phases of mixtures", "#D55E00")):
        said, right, n = np.array(shown).T
        error = np.sqrt(np.maximum(right * (1 - right), 0.25 / n) / n)
        axes.errorbar(said, right, error, color=color, marker="o", markersize=4, linewidth=1.0, label=name)
    axes.set(xlabel="probability that was said", ylabel="share that was right", xlim=(0, 1), ylim=(-0.02, 1.02))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def _group(case: dict[str, Any]) -> tuple[bool, int]:
    """Whether the right one is in the first group, and how many compounds that has."""
    within = [k for k, score in enumerate(case["scores"]) if score >= case["scores"][0] - GROUP]
    return any(case["right"][k] for k in within), len({case["kinds"][k] for k in within})


def main() -> None:
    """Compute the cases, or read them, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--cases", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    if options.cases and options.cases.exists():
        cases, phases = json.loads(options.cases.read_text())
    else:
        index = EmbeddingIndex.load(options.index)
        cases, phases = cases_of(index, options.data), phases_of(index, options.data)
        if options.cases:
            options.cases.write_text(json.dumps([cases, phases], default=float))
    bins = report(cases, phases)
    if options.picture:
        draw(*bins, options.picture)


if __name__ == "__main__":
    main()
