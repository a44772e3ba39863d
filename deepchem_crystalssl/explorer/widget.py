"""The map as a widget of a notebook, which Python and the user change together."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd

from ..crystals.formats.tables import as_ids
from .document import render_page
from ..errors import CrystalInputError, OptionError, QueryError, an_object, counted
from .payload import Payload, pack_column
from ..search.coloring import Coloring, coloring, colorings
from ..search.index import EmbeddingIndex

try:
    import anywidget
    import traitlets
except ImportError as error:
    raise OptionError("MapWidget", "anywidget", f"anywidget is not installed ({error})",
                      "Run pip install 'deepchem_crystalssl[notebook]'.") from error  # fmt: skip


class _Ids(traitlets.List):
    """Ids of crystals of the widget's index, which the page knows by their rows."""

    def __init__(self, **options: Any):
        super().__init__(traitlets.Unicode(), **options)
        self.tag(sync=True, to_json=lambda ids, widget: widget.index.gallery.rows_of_ids(ids),
                 from_json=lambda rows, widget: widget.ids_of(rows))  # fmt: skip

    def validate(self, owner: Any, value: Any) -> Any:
        names = as_ids(value)
        owner.index.gallery.rows_of_ids(names)
        return super().validate(owner, names)


class MapWidget(anywidget.AnyWidget):
    """The map of an index in a notebook. It needs ``pip install 'deepchem_crystalssl[notebook]'``.

    It shows the page of :func:`~deepchem_crystalssl.explorer.write_page`, which asks the kernel for structures and
    patterns when they are opened. The traits below can be observed (``widget.observe(function, "selection")``), and all
    but ``selection`` can be set.

    Parameters
    ----------
    index : EmbeddingIndex
        If it has no map yet, the map is laid out.
    color : str, optional
        As the trait.
    highlighted : sequence of str
        As the trait.
    title : str
    height : int
        Pixels.

    Attributes
    ----------
    selection : list of str
        Ids of the crystals that the user has selected on the page. It is read-only.
    highlighted : list of str
        Ids of crystals that stand out, while the others fade. If it is empty, none fade.
    color : str
        What the map is coloured by: a column of the index, ``anion_class``, ``crystal_system``, ``n_elements``, the
        symbol of an element, or a name given to :meth:`color_by`.
    crystal : str or None
        Id of the crystal whose details are open.
    height : int
        Pixels.

    Raises
    ------
    QueryError
        If an id is not in the index, or it cannot be coloured so; also when a trait is set.
    OptionError
        When the class is imported, if anywidget is not installed.

    Examples
    --------
    >>> from deepchem_crystalssl import EmbeddingIndex
    >>> from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    >>> index = EmbeddingIndex.from_structures(bundled_prototypes()[:30], model="small", progress=False)
    >>> widget = MapWidget(index, color="crystal_system")
    >>> widget.highlighted = index.query("AB_hP6_154_a_b", k=3).material_ids
    >>> widget.color_by(index.vectors[:, 0], "first column")
    >>> widget.color, len(widget.highlighted), widget.selection
    ('first column', 3, [])
    """

    _esm = (files(__package__) / "page" / "widget.js").read_text(encoding="utf-8")
    _columns = traitlets.List().tag(sync=True)

    selection = _Ids(read_only=True)
    highlighted = _Ids()
    color = traitlets.Unicode().tag(sync=True)
    crystal = traitlets.Unicode(None, allow_none=True).tag(
        sync=True,
        to_json=lambda name, widget: None if name is None else widget.index.gallery.row_of[name],
        from_json=lambda row, widget: None if row is None else widget.ids_of([row])[0],
    )
    height = traitlets.Int(640).tag(sync=True)

    def __init__(
        self,
        index: EmbeddingIndex,
        color: str | None = None,
        highlighted: Sequence[str] = (),
        title: str = "Map of materials",
        height: int = 640,
    ):
        if not isinstance(index, EmbeddingIndex):
            raise QueryError("index", an_object(index), "the map shows an EmbeddingIndex",
                             "Take a part of a ShardedIndex, for example index.sample(5000).")  # fmt: skip
        self.index, self.title = index, title
        self._payload = Payload(index)
        self._added: dict[str, Coloring] = {}
        first = next(iter(self._payload.colorings), "") if color is None else color
        super().__init__(color=first, highlighted=list(highlighted), height=height)
        self.on_msg(self._answer)

    def ids_of(self, rows: Sequence[int]) -> list[str]:
        """The ids of crystals by their rows."""
        return self.index.table["material_id"].to_numpy()[np.asarray(rows, int)].tolist()

    @property
    def selected(self) -> pd.DataFrame:
        """The rows of the index's table for the selection."""
        return self.index.table.iloc[self.index.gallery.rows_of_ids(self.selection)]

    def color_by(self, values: Any, name: str) -> None:
        """Colour the map by values that the index does not hold.

        Parameters
        ----------
        values : array-like (n,) or pandas.Series
            Numbers, or up to 40 different words. A series with ids as its index is matched by these, and what it does
            not name is unknown; all else comes in the order of the index's table.
        name : str
            Shown on the page. A name that was used here before takes the new values.

        Raises
        ------
        QueryError
            If the values are not one for each crystal, cannot be shown as colours, or the index has a column of this
            name.
        """
        if name in self._payload.colorings or name in self.index.table:
            raise QueryError("name", repr(name), "values that are added have a name of their own",
                             f"Set color={name!r} to see the column of the index, or choose another name.")  # fmt: skip
        self._add(name, coloring_of(self.index, values, name))
        self.color = name

    def _add(self, name: str, one: Coloring) -> None:
        """Make a column known to the page; a new version of one replaces it."""
        self._added[name] = one
        version = 1 + max((column["version"] for column in self._columns if column["name"] == name), default=0)
        column = {"name": name, "version": version, "categories": one.categories and list(one.categories)}
        self._columns = [other for other in self._columns if other["name"] != name] + [column]

    @traitlets.validate("color")
    def _check_color(self, proposal: Any) -> str:
        name = proposal["value"]
        if name and name not in self._payload.colorings and name not in self._added:
            self._add(name, coloring(self.index.table, name))
        return name

    @traitlets.validate("crystal")
    def _check_crystal(self, proposal: Any) -> str | None:
        if proposal["value"] is not None:
            self.index.gallery.rows_of_ids(proposal["value"])
        return proposal["value"]

    def _answer(self, _: Any, message: dict[str, Any], buffers: Any) -> None:
        """Send a part that the page asks for."""
        part = message.get("part")
        try:
            content = self._part(str(part))
        except KeyError:
            self.send({"type": "part", "part": part, "error": "The map has no data of this name."})
        except CrystalInputError as error:
            self.send({"type": "part", "part": part, "error": str(error)})
        else:
            self.send({"type": "part", "part": part}, [content])

    def _part(self, name: str) -> bytes:
        if name == "page":
            return gzip.compress(render_page(self.title).encode(), mtime=0)
        added = self._added.get(name.removeprefix("column:"))
        return self._payload[name] if added is None else pack_column(added)

    def __repr__(self) -> str:
        return f"MapWidget({counted(len(self.index), 'crystal')})"


def coloring_of(index: EmbeddingIndex, values: Any, name: str) -> Coloring:
    """Values as colours of the crystals of an index; see :meth:`MapWidget.color_by`."""
    ids = index.table["material_id"]
    if isinstance(values, pd.Series) and not isinstance(values.index, pd.RangeIndex):
        column = values.set_axis(as_ids(values.index))
        if not column.index.is_unique or not column.index.isin(ids).any():
            raise QueryError("values", "ids that come twice, or none of the index", "a series is matched by its ids",
                             "Check the index of the series, or pass values.to_numpy().")  # fmt: skip
        column = column.reindex(ids)
    else:
        column = pd.Series(np.asarray(values).tolist() if np.ndim(values) == 1 else [], dtype=None)
        if len(column) != len(index):
            raise QueryError("values", f"shape {np.shape(values)}", f"there is one value for each of the "
                             f"{counted(len(index), 'crystal')}", "Pass a series with ids, or an array in the order of "
                             "the index's table.")  # fmt: skip
    found = colorings(column.rename(name).to_frame()).get(name)
    if found is None:
        raise QueryError("values", repr(name), "a map is coloured by numbers or by up to 40 different words",
                         "Group the words, or choose another name.")  # fmt: skip
    return found
