"""The searches of an index by measured powder patterns, one or many."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from tqdm import tqdm

from ..errors import CrystalInputError, OnError, Report
from .formulas import formula_type
from .filters import Filter, known_elements, of_elements
from .queries import checked_number

if TYPE_CHECKING:
    from .gallery import Searchable
    from .pattern_answers import PatternAnswer
    from .series import PatternSeries


class PatternSearch(ABC):
    """The search by measured patterns, in an index that is in memory or on disk."""

    gallery: Searchable

    @abstractmethod
    def _identify(self, conditions: Sequence[Filter], candidates: int, **options: Any) -> PatternAnswer:
        """The answer among the crystals that fulfil the conditions; ``options`` are those of ``phases.identify``."""

    def query_pattern(
        self,
        two_theta: Any,
        intensity: Any = None,
        wavelength: str | float | None = None,
        k: int = 10,
        elements: Sequence[str] | None = None,
        *,
        allowed: Sequence[str] | None = None,
        excluded: Sequence[str] = (),
        filter: Filter | None = None,
        candidates: int = 300,
        phases: int | None = None,
    ) -> PatternAnswer:
        """Which of the crystals a measured powder pattern may belong to, and the phases of a mixture.

        Candidates are retrieved by the pattern encoder among the vectors of simulated patterns; then the pattern of
        each is fitted to the measurement. See :mod:`~deepchem_crystalssl.search.phases`.

        Parameters
        ----------
        two_theta : array-like (n,) or path
            Angles, degrees, or a file, as :func:`~deepchem_crystalssl.prepare_measured_pattern` reads them.
        intensity : array-like (n,), optional
            Counts as measured, with their background; left out for a file.
        wavelength : str or float, optional
            Radiation by name, or in Å. By default that which the file states, else Cu K-alpha; the answer says so.
        k : int
        elements : sequence of str, optional
            Elements that the sample contains. Its phases contain no others; a single phase that lacks one of them is
            ranked lower, and the verdict names those that no phase contains.
        allowed : sequence of str, optional
            Elements that it may contain besides.
        excluded : sequence of str
            Elements that it does not contain.
        filter : Filter, optional
            Further conditions that the answers must fulfil.
        candidates : int
            Number of crystals that are retrieved.
        phases : int, optional
            Number of phases in the sample. By default as many as explain lines of their own, at most four.

        Returns
        -------
        PatternAnswer
            Its ``phases`` have weight fractions.

        Raises
        ------
        PatternError
            If the measurement cannot be used.
        QueryError
            If the index has no structures or no model, or no crystal is left by the filters.
        """
        conditions = [of_elements(elements, allowed, excluded), *([] if filter is None else [filter])]
        if phases is not None:
            phases = checked_number(phases, "phases", "phases", "Pass phases=2, say, or None to let the search decide.")
        return self._identify(
            conditions, checked_number(candidates), two_theta=two_theta, intensity=intensity, wavelength=wavelength,
            k=checked_number(k), phases=phases, needed=frozenset(known_elements(elements or ())),
            prototypes=self.prototypes_of,
        )  # fmt: skip

    def prototypes_of(self, rows: Sequence[int]) -> list[Hashable]:
        """Kinds of formula and space groups, such as ("AB2", 225); the row itself where they are not known."""
        kinds: list[Hashable] = []
        for row, known in zip(rows, self.gallery.known(rows), strict=True):
            kind, group = formula_type(known.get("formula")), known.get("space_group")
            kinds.append(row if not kind or pd.isna(group) else (kind, int(group)))
        return kinds

    def query_patterns(
        self,
        items: Iterable[Any],
        wavelength: str | float | None = None,
        k: int = 10,
        *,
        on_error: OnError = "raise",
        report: Report | None = None,
        progress: bool | None = None,
        **options: Any,
    ) -> PatternSeries:
        """The answers to many measured patterns, such as those of a series in temperature or time.

        Parameters
        ----------
        items : iterable
            Paths of files, or pairs of angles and counts, in the order of the series.
        wavelength, k
            As in :meth:`query_pattern`.
        on_error, report
            As in :func:`~deepchem_crystalssl.structures_to_graphs`; a pattern that cannot be used has no answer.
        progress : bool, optional
            Show a progress bar; by default on a terminal only.
        **options
            Further arguments of :meth:`query_pattern`.

        Returns
        -------
        PatternSeries
            One answer for each item, None for those left out.
        """
        from .series import PatternSeries, name_of

        report, wanted = Report() if report is None else report, list(items)
        answers: list[PatternAnswer | None] = []
        with report.job(on_error):
            bar = tqdm(wanted, desc="patterns", disable=None if progress is None else not progress)
            for position, item in enumerate(bar):
                angles, counts = item if isinstance(item, tuple | list) else (item, None)
                try:
                    answers.append(self.query_pattern(angles, counts, wavelength, k, **options))
                except CrystalInputError as error:
                    report.handle(error, on_error, position)
                    answers.append(None)
        return PatternSeries([name_of(item, n) for n, item in enumerate(wanted, start=1)], answers)
