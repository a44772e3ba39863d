"""Arrow tables on disk of which only what is read is verified: some columns, and of vectors some rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from ..crystals.checksums import BLOCK, WHOLE, RecordedFile
from ..errors import IndexFolderError

REMEDY = (
    "Copy it again from where it is whole, or build the index again; `crystalssl verify` lists all damage, and what is "
    "whole is not computed again."
)
_ENDS = 2 * BLOCK  # schema and places of the columns are within these first and last bytes


class MappedTable:
    """The table of an Arrow file, mapped into memory and verified where it is read.

    Parameters
    ----------
    file : RecordedFile
        Without checksums the whole table is checked by Arrow when it is opened.

    Raises
    ------
    IndexFolderError
        If the file cannot be read.
    """

    def __init__(self, file: RecordedFile):
        self._file = file
        if not file.is_recorded:
            self.table = file.map_table()
            return
        file.verify(0, _ENDS)
        file.verify(max(0, file.size - _ENDS))
        content = pa.py_buffer(file.content)
        self._start = content.address
        try:
            self.table = pa.ipc.open_file(pa.BufferReader(content)).read_all()
        except (OSError, pa.ArrowException, ValueError) as error:
            raise IndexFolderError(str(file.path), f"no Arrow table ({str(error)[:80]})", WHOLE, REMEDY) from error

    def __len__(self) -> int:
        return len(self.table)

    def columns(self, names: Iterable[str], rows: Sequence[int] | np.ndarray | slice | None = None) -> pa.Table:
        """Some columns, verified: all of each, or of those with numbers of fixed size only some rows.

        Parameters
        ----------
        names : iterable of str
        rows : sequence of int or slice, optional
            Those that will be read; by default all.

        Raises
        ------
        IndexFolderError
            If a column is not what was written.
        """
        found = self.table.select(list(names))
        if self._file.is_recorded:
            for column in found.columns:
                for chunk in column.chunks:
                    self._verify(chunk, rows if column.num_chunks == 1 else None)
        return found

    def _verify(self, array: pa.Array, rows: Sequence[int] | np.ndarray | slice | None) -> None:
        buffers = [buffer for buffer in array.buffers() if buffer is not None]
        width = _bytes_of_row(array.type)
        if rows is not None and width is not None:
            values = buffers.pop()
            start = values.address - self._start + array.offset * width
            if isinstance(rows, slice):
                first, stop, _ = rows.indices(len(array))
                self._file.verify(start + first * width, start + stop * width)
            else:
                starts = start + np.asarray(rows, np.int64) * width
                self._file.verify_ranges(starts, starts + width)
        for buffer in buffers:
            start = buffer.address - self._start
            if 0 <= start <= self._file.size:  # not one that Arrow has made, of another place in memory
                self._file.verify(start, start + buffer.size)


def _bytes_of_row(kind: pa.DataType) -> int | None:
    """Bytes of a row whose numbers lie one after the other, None for other kinds."""
    if pa.types.is_fixed_size_list(kind):
        width = _bytes_of_row(kind.value_type)
        return None if width is None else kind.list_size * width
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return kind.bit_width // 8 if is_number else None
