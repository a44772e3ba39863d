"""Tables of the vectors of crystals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..crystals.disorder import Disorder
from ..crystals.elements import symbols
from ..crystals.formats.files import in_short
from ..crystals.neighbors import iterate_graphs
from ..crystals.store import open_source
from ..crystals.work_folders import writing
from ..errors import NoCrystalsError, Report
from ..models.embedding import Level, Space
from ..models.pretrained import load_encoder
from ..models.pretraining import CrystalSSLModel


def embed_table(
    source: Any,
    model: CrystalSSLModel | str | Path | None = None,
    *,
    level: Level = "crystal",
    layers: Sequence[int] | None = None,
    space: Space = "shared",
    disorder: Disorder = "refuse",
    progress: bool | None = None,
) -> tuple[pd.DataFrame, Report]:
    """Compute the vectors of crystals by a trained model, as a table.

    Parameters
    ----------
    source
        Anything that :func:`~deepchem_crystalssl.read_structures` reads, or the folder of a store.
    model : CrystalSSLModel, str or Path, optional
        A model, the name of one that comes with the package, or the folder of a trained one; by default ``general``.
    level, layers, space, disorder, progress
        As in :meth:`CrystalSSLModel.embed <deepchem_crystalssl.CrystalSSLModel.embed>`.

    Returns
    -------
    (pandas.DataFrame, Report)
        Columns material_id, formula, for sites also site and element, and embedding; and a report of the crystals that
        were left out.

    Raises
    ------
    NoCrystalsError
        If no crystal of the source could be embedded.
    """
    model = load_encoder(model)
    report, lost = Report(), Report()
    crystals = list(
        iterate_graphs(open_source(source), disorder=disorder, on_error="skip", report=report, progress=progress)
    )
    if not crystals:
        raise NoCrystalsError(in_short(source), report.summary())
    vectors = model.embed(
        crystals, level, layers, space=space, disorder=disorder, on_error="skip", report=lost, progress=progress
    )
    report.extend(lost)
    graphs = [crystal for k, crystal in enumerate(crystals) if k not in set(lost.indices)]
    if not graphs:
        raise NoCrystalsError(in_short(source), report.summary())
    names = [(g.material_id, g.reduced_formula) for g in graphs]
    if level == "crystal":
        table = pd.DataFrame(names, columns=["material_id", "formula"])
    else:
        rows = [
            (*name, site, symbols()[number])
            for name, graph in zip(names, graphs, strict=True)
            for site, number in enumerate(graph.atomic_numbers)
        ]
        table = pd.DataFrame(rows, columns=["material_id", "formula", "site", "element"])
    table["embedding"] = list(vectors)
    return table, report


def write_vectors(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table of :func:`embed_table` to a file.

    Parameters
    ----------
    table : pandas.DataFrame
    path : str or Path
        A ``.csv`` file gets the columns embedding_0, embedding_1, ... in place of the column embedding; a ``.parquet``
        file has the column embedding, of lists.
    """
    with writing(path) as part:
        if Path(path).suffix != ".csv":
            table.to_parquet(part, index=False, write_page_checksum=True)
            return
        vectors = pd.DataFrame(np.stack(table["embedding"].tolist()), index=table.index).add_prefix("embedding_")
        pd.concat([table.drop(columns="embedding"), vectors], axis=1).to_csv(part, index=False)
