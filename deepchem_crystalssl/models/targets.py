"""Numbers that a training asks the encoder for, computed once for each crystal and kept."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..crystals.checksums import read_archive, replacing
from ..crystals.records import CrystalGraph
from ..errors import CheckpointError, Report
from ..physics.columns import MODELS, column_names, iterate_physics
from ..physics.scales import standardized

logger = logging.getLogger(__name__)

KEPT = "model_physics.npz"
_Rows = tuple[np.ndarray, np.ndarray]


def digest(graph: CrystalGraph) -> bytes:
    """Digest of the content of a graph, 16 bytes."""
    key = blake2b(digest_size=16)
    species = graph.species
    for values in (species.site, species.atomic_numbers, species.occupancy, graph.frac_coords, graph.lattice):
        key.update(np.asarray(values).tobytes())
    key.update(graph.distance.tobytes())
    return key.digest()


@dataclass
class PhysicsTargets:
    """The standardised numbers of springs and tight binding of crystals and sites, in half precision.

    A crystal that has none gets NaN and is reported once; it has no part in the loss.

    Attributes
    ----------
    left_out : Report
        Crystals without numbers, and why.
    """

    left_out: Report = field(default_factory=Report)
    _known: dict[bytes, _Rows] = field(default_factory=dict, repr=False)
    _saved: int = 0

    def __len__(self) -> int:
        return len(self._known)

    def get(self, graphs: Sequence[CrystalGraph]) -> tuple[Tensor, Tensor]:
        """Numbers of crystals (B, 89) and of their sites (A, 11), float32."""
        keys = [digest(graph) for graph in graphs]
        missing = {key: graph for key, graph in zip(keys, graphs, strict=True) if key not in self._known}
        if missing:
            self._compute(list(missing), list(missing.values()))
        if not keys:
            return torch.empty(0, len(column_names(MODELS))), torch.empty(0, len(column_names(MODELS, "site")))
        rows = [self._known[key] for key in keys]
        numbers, sites = np.stack([row[0] for row in rows]), np.concatenate([row[1] for row in rows])
        return torch.from_numpy(numbers.astype(np.float32)), torch.from_numpy(sites.astype(np.float32))

    def remember(self, graphs: Sequence[CrystalGraph], numbers: np.ndarray, sites: Sequence[np.ndarray]) -> None:
        """Take over standardised numbers that were computed before, (n, 89) and (N, 11) for each."""
        for graph, row, of_sites in zip(graphs, numbers, sites, strict=True):
            self._known[digest(graph)] = row.astype(np.float16), of_sites.astype(np.float16)

    def _compute(self, keys: list[bytes], graphs: list[CrystalGraph]) -> None:
        sizes = len(column_names(MODELS)), len(column_names(MODELS, "site"))
        for key, graph in zip(keys, graphs, strict=True):
            nothing = np.full(sizes[0], np.nan, np.float16), np.full((graph.num_nodes, sizes[1]), np.nan, np.float16)
            self._known[key] = nothing
        found = iterate_physics(graphs, disorder="average", on_error="skip", report=self.left_out, progress=False)
        for position, _, numbers, of_sites in found:
            self.remember([graphs[position]], standardized(numbers[None]), [standardized(of_sites, level="site")])

    def save(self, folder: str | Path) -> None:
        """Write all numbers to a folder, if there are new ones."""
        if len(self._known) == self._saved:
            return
        known = dict(self._known)  # a thread that prepares the next batch may add others meanwhile
        rows = list(known.values())
        content = {
            "keys": np.frombuffer(b"".join(known), np.uint8).reshape(-1, 16),
            "numbers": np.stack([row[0] for row in rows]),
            "sites": np.concatenate([row[1] for row in rows]),
            "n_sites": np.array([len(row[1]) for row in rows]),
        }
        path = Path(folder, KEPT)
        with replacing(path) as part, open(part, "wb") as file:
            np.savez(file, **content)  # type: ignore[arg-type]
        self._saved = len(known)

    def load(self, folder: str | Path) -> None:
        """Read the numbers in a folder, if there are any; if they cannot be read, they are computed again."""
        path = Path(folder, KEPT)
        if not path.is_file():
            return
        try:
            content = read_archive(path, CheckpointError)
            sites = np.split(content["sites"], np.cumsum(content["n_sites"])[:-1])
            keys = [row.tobytes() for row in content["keys"]]
            self._known |= dict(zip(keys, zip(content["numbers"], sites, strict=True), strict=True))
        except (ValueError, KeyError) as error:
            logger.warning("%s; its numbers are computed again", error)
        self._saved = len(self._known)
