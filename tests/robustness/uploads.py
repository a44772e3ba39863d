"""Uploads that are good, what strangers make of them, and uploads that are bad on purpose."""

import gzip
import json
import random
import re
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "diffraction"))

from pattern_samples import own_files  # noqa: E402  (beside the tests of patterns)

VALUES = (
    "0 -1 nan inf -inf 1e308 1e-308 1e999 99999999999 0.1 ? . x 1e 0x10 1_0 ½ ٣ '' 1(1000000) 3000000000 5.5.5".split()
)
WORDS = [
    "loop_",
    "data_y",
    "stop_",
    "_cell_length_a 5",
    ";",
    "'",
    '"',
    "{",
    "[",
    "</x>",
    "\0",
    "\x1a",
    "\ufeff",
    "#",
    "\t",
]
NAMES = [
    "POSCAR",
    "x.cif",
    "x.mcif",
    "x.json",
    "x.xy",
    "x.xye",
    "x.xrdml",
    "x.raw",
    "x.brml",
    "x.rasx",
    "x.txt",
    "x",
    "x.udf",
]
CRYSTALS = ("symmetric.cif", "expanded.cif", "POSCAR", "structure.json")
QUESTIONS = [
    {}, {}, {}, {}, {"wavelength": "CuKa"}, {"wavelength": "1.54"}, {"wavelength": "0"}, {"wavelength": "1e308"},
    {"wavelength": "-inf"}, {"wavelength": "ångström"}, {"phases": "2"}, {"phases": "-1"}, {"phases": "9" * 5000},
    {"phases": "many"}, {"elements": "Fe,S"}, {"elements": "Xx"}, {"allowed": ",,,"}, {"excluded": "Fe" * 900},
    {"elements": "Si", "excluded": "Si"}, {"elements": "\0"},
]  # fmt: skip


def good_uploads(crystal):
    """Name and content of a crystal and of a pattern in each form that is read."""
    structure = crystal.to_structure()
    texts = {
        "symmetric.cif": structure.to(fmt="cif", symprec=0.01),
        "expanded.cif": structure.to(fmt="cif"),
        "POSCAR": structure.to(fmt="poscar"),
        "structure.json": json.dumps(structure.as_dict()),
    }
    return {name: text.encode() for name, text in texts.items()} | own_files()


def mutants(uploads, number, seed=0):
    """Name, content and query of changed uploads; the same for the same seed."""
    draw = random.Random(seed)
    crystals, patterns = [one for one in sorted(uploads.items()) if one[0] in CRYSTALS], sorted(uploads.items())
    for _ in range(number):
        name, body = draw.choice(crystals if draw.random() < 0.6 else patterns)
        for _ in range(draw.choice((1, 1, 1, 2, 4))):
            body = draw.choice(CHANGES)(body, draw)
        yield (draw.choice(NAMES) if draw.random() < 0.1 else name), body, draw.choice(QUESTIONS)


def _flip(body, draw):
    place = draw.randrange(len(body) or 1)
    return body[:place] + bytes([draw.randrange(256)]) + body[place + 1 :]


def _cut(body, draw):
    return body[: draw.randrange(len(body) + 1)]


def _leave_out(body, draw):
    start = draw.randrange(len(body) + 1)
    return body[:start] + body[start + draw.choice((1, 20, 500)) :]


def _repeat(body, draw):
    start = draw.randrange(len(body) + 1)
    part = body[start : start + draw.choice((1, 50, 500))]
    return body[:start] + part * draw.choice((2, 50)) + body[start:]


def _replace_number(body, draw):
    found = list(re.finditer(rb"-?\d+\.?\d*", body[:20_000]))
    if not found:
        return body
    one = draw.choice(found)
    return body[: one.start()] + draw.choice(VALUES).encode() + body[one.end() :]


def _insert_word(body, draw):
    start = draw.randrange(len(body) + 1)
    return body[:start] + draw.choice((" ", "\n", "")).encode() + draw.choice(WORDS).encode() + b"\n" + body[start:]


def _swap_lines(body, draw):
    lines = body.split(b"\n")
    a, b = draw.randrange(len(lines)), draw.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]
    return b"\n".join(lines)


def _recode(body, draw):
    text = body.decode("latin-1")
    return draw.choice([
        lambda: b"\xef\xbb\xbf" + body, lambda: text.encode("utf-16"), lambda: text.encode("utf-16-be"),
        lambda: body.replace(b"\n", b"\r"), lambda: body.replace(b"\n", b"\r\n"), lambda: body + b"\x1a",
        lambda: text.encode("utf-8"), lambda: body.replace(b".", b","), lambda: gzip.compress(body),
        lambda: body.upper(), lambda: text.encode("utf-32"),
    ])()  # fmt: skip


CHANGES = [_flip, _cut, _leave_out, _repeat, _replace_number, _replace_number, _insert_word, _swap_lines, _recode]


def specials(uploads):
    """Name and content of uploads that are bad on purpose."""
    cif, cell = uploads["expanded.cif"].decode(), "".join(
        f"_cell_length_{x} 1e5\n_cell_angle_{y} 90\n" for x, y in zip("abc", ("alpha", "beta", "gamma"), strict=True)
    )
    sites = (
        "loop_\n_atom_site_label\n_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
    )
    huge = f"data_x\n{cell}{sites}Fe1 Fe 0 0 0\nFe2 Fe .5 .5 .5\n"
    angles = np.linspace(10, 90, 3000)
    pattern = "\n".join(f"{x:.3f} {100 + 50 * np.sin(x):.0f}" for x in angles)
    json_of = {"lattice": {"matrix": [[5, 0, 0], [0, 5, 0], [0, 0, 5]]}, "sites": []}
    infinite_site = {"species": [{"element": "Fe", "occu": float("inf")}], "abc": [0, 0, 0]}
    wrong_site = {"species": {"Fe": 1}, "abc": "ragged", "label": None}
    yield from {
        "huge cell.cif": huge,
        "flat cell.cif": huge.replace("1e5", "1e-5"),
        "angle.cif": re.sub(r"_cell_angle_alpha.*", "_cell_angle_alpha 179.99", cif),
        "overflow.cif": re.sub(r"_cell_length_a.*", "_cell_length_a 1e308", cif),
        "nothing.cif": "data_\n",
        "many blocks.cif": "data_x\n_a 1\n" * 50_000,
        "long line.cif": "data_x\n_a " + "9" * 2_000_000,
        "deep.json": '{"a":' * 5_000 + "1" + "}" * 5_000,
        "no sites.json": json.dumps(json_of),
        "ragged.json": json.dumps(json_of | {"sites": [wrong_site]}),
        "number.json": "9" * 10_000,
        "list.json": json.dumps([[[]]] * 1000),
        "infinite.json": json.dumps(json_of | {"sites": [infinite_site]}),
        "surrogate.json": '{"structure": "\\ud800"}',
        "zero scale/POSCAR": "x\n0\n1 0 0\n0 1 0\n0 0 1\nFe\n1\ndirect\n0 0 0\n",
        "negative/POSCAR": "x\n1\n1 0 0\n0 1 0\n0 0 1\nFe\n-1\ndirect\n0 0 0\n",
        "word/POSCAR": "x\n1\na 0 0\n0 1 0\n0 0 1\nFe\n1\ndirect\n0 0 0\n",
        "backwards.xy": "\n".join(reversed(pattern.split("\n"))),
        "constant.xy": re.sub(r" \d+$", " 0", pattern, flags=re.M),
        "negative.xy": re.sub(r" (\d)", r" -\1", pattern),
        "large.xy": re.sub(r" (\d)", r" 1e300\1", pattern),
        "one point.xy": "10 5\n",
        "same angle.xy": "10 5\n" * 500,
        "words.xy": "a b\n" * 5_000,
        "columns.xy": ("1 " * 5_000 + "\n") * 100,
        "tiny range.xy": "\n".join(f"{20 + k * 1e-9:.12f} 5" for k in range(500)),
        "beyond.xy": "\n".join(f"{170 + k * 0.02:.2f} 5" for k in range(1500)),
        "entities.xrdml": '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><x>&b;</x>',
        "deep.xrdml": "<a>" * 100_000,
        "steps.gsa": "title\nBANK 1 999999999 1 CONST 1000 2 0 0 STD\n" + "1 5 " * 20,
        "steps.uxd": "_STEPSIZE=0\n_START=10\n_COUNTS\n" + "5 " * 500,
        "steps.udf": "ScanRange, 10, 9000000000, /\nStepSize, 1e-9, /\nRawScan\n" + "5, " * 500,
        "zero.raw": bytes(5_000),
        "RAW1.01.raw": b"RAW1.01" + b"\xff" * 5_000,
        "RAW4.00.raw": b"RAW4.00" + b"\xff" * 5_000,
        "RAW.raw": b"RAW " + b"\x7f" * 5_000,
        "empty.brml": b"PK\x05\x06" + bytes(18),
        "empty.xy": b"",
        "script<b>.cif": cif.replace("Fe", "<script>"),
        "..": cif, ".cif": cif, "": cif, "\0.cif": cif, "\u202egpj.cif": cif, "x" * 5_000 + ".cif": cif, "%.cif": cif,
    }.items()  # fmt: skip
