"""Damage to the files of a folder, and what the package answers from it; run as a program, in a process of its own.

``python damage.py ROOT SEED FIRST LAST`` does the cases FIRST to LAST to copies of the folders of ROOT, the formats in
turn. Of each case it prints a line before it begins, and one with the outcome: ``same`` answers, a ``typed`` error,
``other`` answers, or an ``untyped`` error. If the process ends before its last case, the case begun is to blame.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepchem_crystalssl.errors import CrystalInputError

SECONDS = 60  # of a case


def flip_bit(content, rng):
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ (1 << rng.randrange(8))]) + content[place + 1 :]


def change_byte(content, rng):
    place = rng.randrange(len(content))
    return content[:place] + bytes([(content[place] + rng.randrange(1, 256)) % 256]) + content[place + 1 :]


def change_digit(content, rng):
    """In a text, a number becomes another one; elsewhere, a byte changes."""
    digits = [place for place, byte in enumerate(content[:100_000]) if 48 <= byte < 58]
    if not digits:
        return change_byte(content, rng)
    place = rng.choice(digits)
    return content[:place] + bytes([48 + (content[place] - 48 + rng.randrange(1, 10)) % 10]) + content[place + 1 :]


def zero_block(content, rng):
    place = rng.randrange(len(content))
    length = min(rng.choice([2, 16, 512, 4096]), len(content) - place)
    return content[:place] + bytes(length) + content[place + length :]


def cut(content, rng):
    return content[: rng.randrange(len(content))]


def lengthen(content, rng):
    return content + rng.randbytes(rng.choice([1, 64, 5000]))


def move_block(content, rng):
    """Two parts of the file in each other's place."""
    length = max(1, min(len(content) // 4, rng.choice([8, 64, 4096])))
    first, second = sorted(rng.randrange(max(1, len(content) - length)) for _ in range(2))
    if second < first + length:
        return change_byte(content, rng)
    a, b = content[first : first + length], content[second : second + length]
    return content[:first] + b + content[first + length : second] + a + content[second + length :]


CHANGES = [flip_bit, flip_bit, flip_bit, change_byte, change_byte, change_digit, zero_block, cut, lengthen, move_block]


@dataclass(frozen=True)
class Damage:
    """What is done to a file, by a seed."""

    seed: int

    def apply(self, folder):
        """Damage one file of the folder, and say what was done."""
        rng = random.Random(self.seed)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        path = rng.choice(files)
        name = path.relative_to(folder)
        kind = rng.choices(["change", "delete", "empty", "exchange", "add"], [8, 1, 1, 1, 0.3])[0]
        if kind == "change" and path.stat().st_size:
            change = rng.choice(CHANGES)
            path.write_bytes(change(path.read_bytes(), rng))
            return f"{change.__name__} {name}"
        if kind == "exchange":
            other = rng.choice(files)
            mine, theirs = path.read_bytes(), other.read_bytes()
            path.write_bytes(theirs), other.write_bytes(mine)
            return f"exchange {name} and {other.relative_to(folder)}"
        if kind == "add":
            path.with_name(f"copy_{path.name}").write_bytes(path.read_bytes())
        elif kind == "delete":
            path.unlink()
        else:
            path.write_bytes(b"")
        return f"{kind} {name}"


def digest(array):
    array = np.ascontiguousarray(array)
    return f"{array.dtype} {array.shape} {zlib.crc32(array.view(np.uint8).ravel() if array.size else b'')}"


def of_crystal(crystal):
    arrays = (crystal.atomic_numbers, crystal.frac_coords, crystal.lattice)
    return [crystal.material_id, crystal.formula, *map(digest, arrays)]


def answers_of_index(folder):
    from deepchem_crystalssl.models.digest import weights_digest
    from deepchem_crystalssl.search import EmbeddingIndex

    index = EmbeddingIndex.load(folder)
    first = index.table["material_id"][0]
    return {
        "table": index.table.to_json(),
        "vectors": digest(index.vectors),
        "patterns": digest(index.embed_patterns(progress=False)),
        "spacing": digest(index.gallery.spacing),
        "map": [digest(np.asarray(part)) for part in vars(index.map).values()],
        "crystals": [of_crystal(index.structures[row]) for row in range(len(index))],
        "model": weights_digest(index.model),
        "found": index.query(first, k=5).to_frame().to_json(),
    }


def answers_of_sharded_index(folder):
    from deepchem_crystalssl.search import Filter, ShardedIndex

    index = ShardedIndex.load(folder)
    rows = np.arange(len(index))
    known = index.gallery.known(rows)
    id, formula = known[7]["material_id"], known[11]["formula"]
    return {
        "known": known,
        "vectors": [digest(index.structures.vectors(rows[::3], column)) for column in ("similarity", "pattern")],
        "crystals": [of_crystal(index.structures[int(row)]) for row in rows[::2]],
        "found": index.query(id, k=5).to_frame().to_json(),
        "by code": index.query(id, k=5, exact=False).to_frame().to_json(),
        "by formula": index.query(formula, k=5).to_frame().to_json(),
        "filtered": index.query(id, k=5, filter=Filter(where={"number": (0, 30)})).to_frame().to_json(),
        "patterns": digest(index.gallery.nearest_patterns(index.structures.vectors([3], "pattern"), 5, rows >= 0)[0]),
        "model": index.model.config,
    }


def answers_of_model(folder):
    from deepchem_crystalssl import load_pretrained
    from deepchem_crystalssl.models.digest import weights_digest

    model = load_pretrained(folder)
    return {"weights": weights_digest(model), "config": model.config, "card": model.card}


def answers_of_training(folder):
    from deepchem_crystalssl import load_pretrained
    from deepchem_crystalssl.models.digest import weights_digest

    model = load_pretrained(folder)
    return {
        "weights": weights_digest(model),
        "config": model.config,
        "step": model.get_global_step(),
        "log": [row.dropna().to_dict() for _, row in model.training_log.to_frame().iterrows()],
    }


FORMATS = {
    "index": answers_of_index,
    "sharded index": answers_of_sharded_index,
    "model": answers_of_model,
    "training": answers_of_training,
}


def make_folders(root):
    """One small folder of each format."""
    import pandas as pd
    from deepchem.data import NumpyDataset

    from deepchem_crystalssl import CrystalSSLModel, XRDGrid, save_pretrained, structures_to_graphs
    from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
    from deepchem_crystalssl.search import EmbeddingIndex, ShardedIndex

    crystals = list({crystal.material_id: crystal for crystal in bundled_prototypes()}.values())[:40]
    graphs = structures_to_graphs(crystals, progress=False)
    small = dict(
        encoder=dict(width=8, n_layers=1, hidden=16, embedding_size=8),
        xrd_encoder=dict(channels=4, hidden=16),
        grid=XRDGrid(n_bins=256, fwhm=0.5),
        batch_size=16,
    )
    model = CrystalSSLModel("joint", **small, model_dir=str(root / "training"), log_frequency=1)
    data = np.empty(len(graphs), object)
    data[:] = graphs
    dataset = NumpyDataset(data)
    model.fit(dataset, nb_epoch=2, validation=dataset, progress=False)
    save_pretrained(model, root / "model", {"licence": "none", "description": "größer"})
    ids = [crystal.material_id for crystal in crystals]
    metadata = pd.DataFrame({"material_id": ids, "number": np.arange(len(ids)), "note": [f"{i} é" for i in ids]})
    vectors = model.embed(crystals, space="similarity", progress=False)
    index = EmbeddingIndex.build(vectors, ids, crystals, model, metadata)
    index.embed_patterns(progress=False)
    index.make_map(progress=False)
    index.save(root / "index")
    ShardedIndex.build(
        crystals, root / "sharded index", root / "model", metadata, patterns=True, engine="serial", size=15,
        progress=False,
    )  # fmt: skip


def is_as_before(found, expected):
    """Whether answers are the same; a log may end earlier, as that of a training that was killed."""
    lines = found.get("log")
    if lines is not None:
        expected = {**expected, "log": expected["log"][: len(lines)]}
    return json.dumps(found, default=str) == json.dumps(expected, default=str)


def outcome(answers, folder, expected):
    """The kind of outcome, and a text."""
    signal.alarm(SECONDS)
    try:
        found = answers(folder)
    except CrystalInputError as error:
        return "typed", str(error)
    except Exception as error:
        return "untyped", f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
    if is_as_before(found, expected):
        return "same", ""
    return "other", ", ".join(
        name for name in expected if not is_as_before({name: found[name]}, {name: expected[name]})
    )


def run(root, seed, first, last):
    """Do some cases, and print what comes of each."""
    warnings.simplefilter("ignore")
    names = sorted(set(FORMATS) & {path.name for path in root.iterdir()})
    expected = {name: FORMATS[name](root / name) for name in names}
    with tempfile.TemporaryDirectory() as work:
        for case in range(first, last):
            name, copy = names[case % len(names)], Path(work, "copy")
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(root / name, copy)
            told = {"case": case, "format": name, "done": Damage(seed * 1_000_003 + case).apply(copy)}
            print(json.dumps(told), flush=True)
            kind, text = outcome(FORMATS[name], copy, expected[name])
            print(json.dumps({**told, "kind": kind, "text": text[:500]}), flush=True)


def run_in_processes(root, seed, count):
    """Do so many cases in a process of its own, a new one after each crash; what came of each."""
    found, first = [], 0
    while first < count:
        command = [sys.executable, __file__, str(root), str(seed), str(first), str(count)]
        process = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        lines = [json.loads(line) for line in process.stdout.splitlines() if line.startswith('{"case"')]
        found += [line for line in lines if "kind" in line]
        if process.returncode == 0:
            return found
        if not lines or "kind" in lines[-1]:
            raise RuntimeError(f"ended with {process.returncode}\n{process.stderr[-2000:]}")
        found.append({**lines[-1], "kind": "crash", "text": f"ended with {process.returncode}"})
        first = lines[-1]["case"] + 1
    return found


if __name__ == "__main__":
    path, *numbers = sys.argv[1:]
    run(Path(path), *map(int, numbers))
