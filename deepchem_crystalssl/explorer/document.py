"""The page: one HTML file with its style, scripts and libraries, and with its data unless a server provides them."""

from __future__ import annotations

import gzip
import json
import logging
import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from dataclasses import dataclass
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..crystals.options import check_seed
from ..crystals.records import Crystal
from ..crystals.work_folders import alone_in, check_output, writing, written_to
from ..errors import IndexFolderError, OptionError
from ..search.coloring import coloring, colorings
from ..search.index import EmbeddingIndex
from ..search.pictures import draw_map
from ..search.queries import read_one
from ..search.sharded_map import may_keep_map
from .notebook import Holder
from .payload import Payload

logger = logging.getLogger(__name__)

_STRUCTURE_MODULES = (
    "elements", "element_values", "lattices", "bonds", "polyhedra", "scene", "rotations", "viewer", "structure",
)  # fmt: skip
_LOADER = "loader.js"
_OF_THE_WIDGET = "widget.js"
_LARGE = ("structures", "patterns")
_BASE64 = 4 / 3
_PAGE = files(__package__) / "page"


def render_page(title: str = "Map of materials", parts: dict[str, bytes] | None = None) -> str:
    """The page as text.

    Parameters
    ----------
    title : str
    parts : dict of bytes, optional
        Data that the page contains; without them, it asks its server for them.

    Returns
    -------
    str
    """
    held = (
        f'<script type="text/plain" id="part:{escape(name)}">{b64encode(part).decode()}</script>'
        for name, part in (parts or {}).items()
    )
    return _filled(
        "page.html",
        title=escape(title),
        style="\n".join(_read(name) for name in _names(".css")),
        d3=_read("vendor/d3.min.js"),
        modules=_modules(name.removesuffix(".js") for name in _names(".js") if name not in (_LOADER, _OF_THE_WIDGET)),
        parts="\n".join(held),
    )


def render_opening(title: str = "Map of materials") -> str:
    """The page that is shown while the index is read; it loads itself again every second."""
    return (_PAGE / "opening.html").read_text(encoding="utf-8").replace("{{title}}", escape(title))


def render_failure(sentence: str) -> str:
    """The page that is shown when the index cannot be read."""
    return (_PAGE / "failure.html").read_text(encoding="utf-8").replace("{{sentence}}", escape(sentence))


@dataclass(frozen=True)
class StructureView:
    """A crystal that can be turned with the mouse in a notebook; ``html`` is a page with it alone.

    Parameters
    ----------
    structure
        One structure or the path of its file, as :func:`~deepchem_crystalssl.read_structures` reads them. Of mixed
        sites the majority species is shown.
    height : int
        Pixels.
    self_contained : bool
        Whether the output of the cell holds the viewer (0.2 MB) in any case. By default only the first view of a
        notebook holds it, and the others, of a few kB, find it there.

    Raises
    ------
    CrystalInputError
        When it is shown, if there is not exactly one crystal.

    Examples
    --------
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> view = StructureView(bundled_prototypes()[0])
    >>> view.html[:15], "iframe" in view._repr_html_()
    ('<!doctype html>', True)
    """

    structure: Any
    height: int = 320
    self_contained: bool = False

    @property
    def html(self) -> str:
        """The page."""
        return _page_of(read_one(self.structure))

    def _repr_html_(self) -> str:
        crystal = read_one(self.structure)
        is_first = _viewer.is_needed()
        held = gzip.compress(_page_of(crystal).encode(), mtime=0) if is_first or self.self_contained else b""
        view = (_PAGE / "view.html").read_text(encoding="utf-8").replace("{{viewer}}", b64encode(held).decode())
        style = f"border: 0; width: 100%; max-width: 520px; height: {self.height}px"
        return (
            f'<iframe class="crystalssl-structure" title="{escape(crystal.reduced_formula)}" style="{style}" '
            f'data-structure="{escape(json.dumps(structure_of(crystal)))}" srcdoc="{escape(view)}"></iframe>'
        )


_viewer = Holder()


def _page_of(crystal: Crystal) -> str:
    return _filled(
        "structure.html",
        title=escape(crystal.reduced_formula),
        style=_read("structure.css"),
        modules=_modules(_STRUCTURE_MODULES),
        structure=json.dumps(structure_of(crystal)),
    )


def structure_of(crystal: Crystal) -> dict[str, list]:
    """A crystal in the form the page draws: lattice (Å), atomic numbers, fractional coordinates."""
    return {
        "lattice": crystal.lattice.tolist(),
        "numbers": crystal.atomic_numbers.tolist(),
        "frac_coords": crystal.frac_coords.tolist(),
    }


def _filled(template: str, **fillings: str) -> str:
    """A template of the page, its marks replaced, all in one pass: a filling may hold what looks like a mark."""
    fillings["loader"] = _read(_LOADER)
    fillings["viewer3d"] = _read("vendor/3Dmol.min.js")
    fillings["licenses"] = _read("vendor/LICENSES.txt").replace("--", "- -")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: fillings[match[1]], (_PAGE / template).read_text(encoding="utf-8"))


def _names(suffix: str) -> list[str]:
    return sorted(one.name for one in _PAGE.iterdir() if one.name.endswith(suffix))


def _modules(names: Iterable[str]) -> str:
    """Modules of the page as text, which its loader makes importable as "#name"."""
    parts = (f'<script type="text/plain" id="module:{name}">{_read(name + ".js")}</script>' for name in names)
    return "\n".join(parts)


def _read(name: str) -> str:
    # Within a script, only its end tag would end it.
    return (_PAGE / name).read_text(encoding="utf-8").replace("</script", "<\\/script")


def open_mapped(folder: str | Path, seed: int | None = None) -> EmbeddingIndex:
    """An index with its map, which is laid out and kept in the folder if there is none or a seed is given."""
    index = EmbeddingIndex.load(folder)
    keep_mapped(index, folder, seed)
    return index


def keep_mapped(index: EmbeddingIndex, folder: str | Path, seed: int | None = None, colors: Sequence[str] = ()) -> None:
    """Lay out the map of an index and keep it in its folder, if there is none or a seed is given.

    Where the folder cannot be written to, as on a disk that is only read, it is kept in memory alone.

    Parameters
    ----------
    index : EmbeddingIndex
    folder : str or Path
        The folder the index was loaded from.
    seed : int, optional
        Lay the map out anew from this seed.
    colors : sequence of str
        What the map will be coloured by. They are checked before the layout, which takes minutes for many crystals.

    Raises
    ------
    QueryError
        If the index knows nothing of one of these names.
    IndexFolderError
        If another process lays the map out, or the disk is full.
    OptionError
        If the seed is no seed.
    """
    for name in colors:
        coloring(index.table, name)
    if seed is not None:
        check_seed("seed", seed)
    if seed is not None or not index.has_map:
        if not may_keep_map(folder):
            index.make_map(seed or 0)
            return
        with alone_in(folder, IndexFolderError):
            index.make_map(seed or 0)
            index.keep_map(folder)


def write_page(
    index: EmbeddingIndex,
    path: str | Path,
    title: str = "Map of materials",
    megabytes: float = 60.0,
    progress: bool | None = None,
) -> Path:
    """Write the map of an index as one HTML file that works offline.

    Structures, then simulated patterns, are left out where the file would be larger than ``megabytes``; it says so. If
    it is larger still, the log says so.

    Parameters
    ----------
    index : EmbeddingIndex
    path : str or Path
    title : str
    megabytes : float
        Of 1,000,000 bytes.
    progress : bool, optional
        Progress bar; by default on a terminal only.

    Returns
    -------
    Path

    Examples
    --------
    >>> import tempfile
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> index = EmbeddingIndex.from_structures(bundled_prototypes()[:30], model="small", progress=False)
    >>> path = write_page(index, tempfile.mkdtemp() + "/map.html", progress=False)
    >>> path.stat().st_size < 1_000_000
    True
    """
    check_output(path)
    payload = Payload(index)
    room = megabytes * 1e6 - len(render_page(title).encode())
    parts = {name: payload[name] for name in payload if name.partition(":")[0] not in _LARGE and name != "meta"}
    room -= _weight(parts)
    kinds = []
    for kind in payload.kinds:
        names = [name for name in payload if name.partition(":")[0] == kind]
        held: dict[str, bytes] = {}
        for name in tqdm(names, kind, disable=None if progress is None else not progress, delay=1.0):
            held[name] = payload[name]
            if _weight(held) > room:
                break
        else:
            kinds.append(kind)
            parts |= held
            room -= _weight(held)
    parts["meta"] = Payload(index, kinds)["meta"]
    path = Path(path)
    with writing(path) as part:
        part.write_text(render_page(title, parts), encoding="utf-8")
    if (size := path.stat().st_size / 1e6) > megabytes:
        logger.warning("%s: %.1f MB, more than %g: no map of this index is smaller", path, size, megabytes)
    return path


def write_map(
    index: EmbeddingIndex,
    folder: str | Path,
    colors: Sequence[str] = (),
    formats: Sequence[str] = ("png",),
    title: str = "Map of materials",
    megabytes: float = 60.0,
    progress: bool | None = None,
) -> list[Path]:
    """Write ``map.html`` and a picture for every coloring, ``map_NAME.png``.

    Parameters
    ----------
    index : EmbeddingIndex
    folder : str or Path
        Made if needed.
    colors : sequence of str
        Columns of the index, ``anion_class``, ``crystal_system``, ``n_elements``, or symbols of elements; by default
        the first of :func:`~deepchem_crystalssl.search.coloring.colorings`.
    formats : sequence of str
        Of the pictures: png, svg, pdf.
    title, megabytes, progress
        As in :func:`write_page`.

    Returns
    -------
    list of Path

    Raises
    ------
    QueryError
        If the index knows nothing of one of these names.
    OptionError
        If one of the files cannot be written.
    """
    chosen = [coloring(index.table, name) for name in colors or list(colorings(index.table))[:1]]
    folder = Path(folder)
    with written_to(folder, OptionError):
        folder.mkdir(parents=True, exist_ok=True)
    names = [re.sub(r"[^A-Za-z0-9_-]+", "_", one.name) for one in chosen]
    pictures = [[(folder / f"map_{name}.{format}", format) for format in formats] for name in names]
    for path, _ in chain.from_iterable(pictures):
        check_output(path)
    written = [write_page(index, folder / "map.html", title, megabytes, progress)]
    for one, named in zip(chosen, pictures, strict=True):
        figure = draw_map(index.map.positions, one)
        for path, format in named:
            with writing(path) as part:
                figure.savefig(part, dpi=200, format=format)
            written.append(path)
    return written


def _weight(parts: dict[str, bytes]) -> float:
    return _BASE64 * sum(map(len, parts.values())) + 100 * len(parts)
