"""What an index is asked by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .catalogue import Facts


@dataclass(frozen=True)
class Asked:
    """A query: its vector, the rows of the index it is, and its facts."""

    vector: np.ndarray
    rows: list[int]
    facts: Facts | None


def is_several(x: Any) -> bool:
    """Whether a query is a list of queries."""
    return isinstance(x, list | tuple) or (isinstance(x, np.ndarray) and x.ndim == 2)


def distinct_names(names: list[str]) -> list[str]:
    """Names, those that come again numbered.

    Examples
    --------
    >>> distinct_names(["Fe", "Fe", "Co"])
    ['Fe', 'Fe (2)', 'Co']
    """
    times: dict[str, int] = {}
    distinct = []
    for name in names:
        times[name] = times.get(name, 0) + 1
        distinct.append(name if times[name] == 1 else f"{name} ({times[name]})")
    return distinct
