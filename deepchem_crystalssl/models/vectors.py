"""What a pretrained model is used for: vectors of crystals, of their sites and of powder patterns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..crystals.disorder import Disorder
from ..crystals.neighbors import IsolatedAtoms
from ..diffraction.grid import PowderPatterns, XRDGrid, on_grid
from ..errors import OnError, OptionError, Report
from ..nn.crystal_encoder import CrystalEncoder
from ..nn.links import Engine
from ..nn.xrd_encoder import XRDEncoder
from .embedding import Level, Space, embed_expected_patterns, embed_graphs, embed_patterns, usable_rows
from .inputs import GraphOptions, enumerate_model_graphs, note_positions

if TYPE_CHECKING:
    import torch


class GivesVectors:
    """The part of :class:`~deepchem_crystalssl.CrystalSSLModel` that needs no training."""

    if TYPE_CHECKING:
        graph_options: GraphOptions | None
        engine: Engine
        device: torch.device
        xrd_grid: XRDGrid

        @property
        def crystal_encoder(self) -> CrystalEncoder:
            """The encoder of crystals whose vectors are compared with those of patterns."""

        @property
        def descriptor_encoder(self) -> CrystalEncoder:
            """The encoder of crystals whose readout is the descriptor."""

        @property
        def xrd_encoder(self) -> XRDEncoder | None:
            """The encoder of patterns."""

    def embed(
        self,
        structures: Any,
        level: Level = "crystal",
        layers: Sequence[int] | None = None,
        *,
        space: Space = "shared",
        disorder: Disorder = "refuse",
        isolated_atoms: IsolatedAtoms = "keep",
        on_error: OnError = "raise",
        report: Report | None = None,
        n_threads: int | None = None,
        progress: bool | None = None,
    ) -> np.ndarray:
        """Vectors of crystals, or of their sites.

        Parameters
        ----------
        structures
            A DeepChem data set of crystal graphs, or anything :func:`~deepchem_crystalssl.read_structures` reads. A
            :class:`~deepchem_crystalssl.CrystalGraph` enters with the edges it has; the graphs of other crystals are
            made as those of the training were (``cutoff``, ``max_neighbors``).
        level : {"crystal", "site"}
            One vector per crystal, or one per site.
        layers : sequence of int, optional
            Layers whose vectors are joined. Layer 0 depends on the element alone, layer k on what lies within k edges.
            By default the crystal vector of the chosen space, and the last layer for sites. Layers of a crystal are
            read out by mean and standard deviation over its sites.
        space : {"shared", "pattern", "descriptor", "similarity"}
            What the vector of a crystal is meant for:

            * ``"shared"``: comparison with vectors of patterns (:meth:`embed_xrd`),
            * ``"pattern"``: the same, more surely; the mean vector of the crystal's own simulated patterns,
            * ``"descriptor"``: regression of properties; the columns are scaled for Manhattan distances. For sites
              these are their attributes and all layers,
            * ``"similarity"``: search for similar crystals, by cosine or Euclidean distance.
        disorder, isolated_atoms, on_error, report, n_threads, progress
            As in :func:`~deepchem_crystalssl.structures_to_graphs`; the first two for the graphs that are made here.

        Returns
        -------
        numpy.ndarray
            float32, in the order of the source, without the items left out: (n, F), or for sites (sum of N, F).

        Raises
        ------
        GraphMismatchError
            If a finished graph was made with another cutoff or number of neighbours than those of the training.
        CrystalInputError
            The typed error of the first bad item, if ``on_error`` is "raise".
        OptionError
            If level, layers and space do not go together.
        """
        report = Report() if report is None else report
        of_patterns = space == "pattern" and level == "crystal" and layers is None
        positions: list[int] = []
        found = enumerate_model_graphs(
            structures, self.graph_options, on_error, report, edges=not of_patterns,
            disorder=disorder, isolated_atoms=isolated_atoms, n_threads=n_threads, progress=progress,
        )  # fmt: skip
        graphs = note_positions(found, positions)
        if of_patterns:
            vectors, errors = embed_expected_patterns(self._pattern_encoder(), graphs, self.xrd_grid, self.device)
            with report.job(on_error):
                for position, error in zip(positions, errors, strict=True):
                    if error is not None:
                        report.handle(error, on_error, position)
        else:
            compared = level == "crystal" and layers is None and space == "shared"
            encoder = self.crystal_encoder if compared else self.descriptor_encoder
            vectors = embed_graphs(
                encoder, graphs, level, layers, self.engine, self.device, space, shared=self.crystal_encoder
            )
        report.log()
        return vectors

    def embed_xrd(
        self, patterns: Any, progress: bool | None = None, *, grid: XRDGrid | None = None,
        on_error: OnError = "raise", report: Report | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Vectors of powder patterns.

        Parameters
        ----------
        patterns : PowderPatterns or array-like, (n, n_bins) or (n_bins,)
            On ``xrd_grid``, the grid of the model, normalised to their maximum, as
            :func:`~deepchem_crystalssl.simulate_xrd` and :func:`~deepchem_crystalssl.prepare_measured_pattern` return
            them.
        grid : XRDGrid, optional
            The grid on which a plain array lies, which does not say so itself.
        on_error, report, progress
            As in :meth:`embed`.

        Returns
        -------
        numpy.ndarray
            float32 (n, embedding_size), without the patterns left out.

        Raises
        ------
        GridError
            If the patterns lie on another grid than that of the model.
        CountsError
            If intensities are NaN, infinite, negative or all zero, and ``on_error`` is "raise".
        """
        encoder = self._pattern_encoder()
        rows = np.atleast_2d(on_grid(patterns if grid is None else PowderPatterns(patterns, grid), self.xrd_grid))
        return embed_patterns(encoder, usable_rows(rows, on_error, report), self.device, progress)

    def _pattern_encoder(self) -> XRDEncoder:
        if self.xrd_encoder is None:
            raise OptionError("space", "'pattern'", "no objective of this model trains an encoder of patterns",
                              "Use another model, such as 'general', or space='descriptor'.")  # fmt: skip
        return self.xrd_encoder
