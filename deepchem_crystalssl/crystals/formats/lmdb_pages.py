"""A check of LMDB files before they are opened: the library trusts every number in a file, and a damaged one would end
the process."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from ...errors import UnsupportedFileError

RULE = "an .aselmdb file is an LMDB file of rows 1, 2, ..., each JSON compressed by zlib"

_MAGIC = 0xBEEFC0DE
_META = struct.Struct(
    "<IIQQ" + "IHHQQQQQ" * 2 + "QQ"
)  # magic, ...; tree of free pages; main tree; last page, transaction
_PAGE = struct.Struct("<QHHHH")  # number, unused, flags, end of the places of nodes, begin of the nodes
_NODE = struct.Struct("<HHHH")  # three parts of a size or a page's number, length of the key
_BRANCH, _LEAF, _OVERFLOW, _BIG, _NO_PAGE, _DEEPEST = 1, 2, 4, 1, 2**64 - 1, 32


class _Fault(Exception):
    """What is wrong with a file."""


def check_pages(path: Path, label: str) -> None:
    """Walk the tree of an LMDB file, without reading the values.

    Raises
    ------
    UnsupportedFileError
        If it is no LMDB file, is cut, or a page or node leads out of the file.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _check(data)
    except (_Fault, struct.error, ValueError) as error:
        raise UnsupportedFileError(label, f"cannot be read ({error})", RULE, "Fetch the file again.") from error


def _check(data: mmap.mmap) -> None:
    size = len(data)
    first = _META.unpack_from(data, 16)
    page = first[4]
    if first[0] != _MAGIC or not 256 <= page <= 2**16:
        raise _Fault(f"it begins with {data[:24]!r}")
    second = _META.unpack_from(data, page + 16)
    meta = max(first, second, key=lambda meta: meta[-1])
    flags, depth, root, last = meta[13], meta[14], meta[19], meta[20]
    if second[0] != _MAGIC or flags or depth > _DEEPEST:
        raise _Fault("its head is damaged")
    if (max(first[20], second[20]) + 1) * page > size:
        raise _Fault(f"{size} bytes, where {(last + 1) * page} must be: it is cut")
    waiting = [] if root == _NO_PAGE else [(root, 1)]
    visited = entries = 0
    while waiting:
        number, level = waiting.pop()
        visited += 1
        if number > last or visited > last or level > depth:
            raise _Fault(f"page {number} of {last}")
        count, children = _children(data, number, page, last, level == depth)
        entries += count
        waiting += [(child, level + 1) for child in children]
    if entries != meta[18]:
        raise _Fault(f"{entries} entries, where {meta[18]} must be")


def _children(data: mmap.mmap, number: int, page: int, last: int, is_leaf: bool) -> tuple[int, list[int]]:
    """The entries of a page, and the pages below it; those of a leaf are values, whose places are checked."""
    start = number * page
    own, _, flags, lower, upper = _PAGE.unpack_from(data, start)
    count = (lower - 16) // 2
    if own != number or flags & 31 != (_LEAF if is_leaf else _BRANCH) or not 16 <= lower <= upper <= page:
        raise _Fault(f"page {number} is damaged")
    if count < (1 if is_leaf else 2):
        raise _Fault(f"page {number} is empty")
    children = []
    for place in struct.unpack_from(f"<{count}H", data, start + 16):
        low, high, third, key = _NODE.unpack_from(data, start + place)
        end = place + 8 + key
        if place < upper or end > page:
            raise _Fault(f"page {number} is damaged")
        if not is_leaf:
            children.append(low | high << 16 | third << 32)
            continue
        size = low | high << 16
        if third == _BIG and end + 8 <= page:
            (value,) = struct.unpack_from("<Q", data, start + end)
            if value > last:
                raise _Fault(f"a value at page {value} of {last}")
            found, _, flags = struct.unpack_from("<QHH", data, value * page)
            (pages,) = struct.unpack_from("<I", data, value * page + 12)
            if found != value or flags & 31 != _OVERFLOW or value + pages > last + 1 or 16 + size > pages * page:
                raise _Fault(f"the value at page {value} is damaged")
        elif third or end + size > page:
            raise _Fault(f"page {number} is damaged")
    return count if is_leaf else 0, children
