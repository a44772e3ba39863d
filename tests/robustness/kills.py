"""Long work that is killed at any moment, and what its folder then gives; by forks of a process that is ready."""

import hashlib
import multiprocessing
import os
import random
import shutil
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np

MODULES = ["kills", "deepchem_crystalssl.bulk.shards", "deepchem_crystalssl.search.building",
           "deepchem_crystalssl.search.sharded_building", "deepchem_crystalssl.recipes.training",
           "deepchem_crystalssl.explorer.document"]  # fmt: skip
REFUSED = 3
SMALL = {"encoder": {"width": 16}, "xrd_encoder": {"channels": 4}, "batch_size": 16, "validation": 0.3}


def crystals(variant):
    """Sixty crystals; of the other source, half of them and sixty others."""
    from deepchem_crystalssl.crystals.prototypes import bundled_prototypes

    found = list(bundled_prototypes())
    return found[:60] if variant != "source" else found[30:120]


def featurize(folder, variant, inputs):
    from deepchem_crystalssl.crystals import store

    store.SHARD_SIZE = 7
    disorder = "average" if variant == "policy" else "refuse"
    store.write_records(iter(crystals(variant)), folder, disorder=disorder, progress=False)


def source_of(inputs, variant):
    return inputs / ("other" if variant == "source" else "store")


def model_of(variant):
    return "general" if variant == "model" else "small"


def embed(folder, variant, inputs):
    from deepchem_crystalssl.bulk import Embed, map_shards

    step = Embed(model_of(variant), disorder="average" if variant == "policy" else "refuse")
    map_shards(source_of(inputs, variant), step, folder, engine="serial", size=8, progress=False)


def index(folder, variant, inputs):
    from deepchem_crystalssl.search import building

    building._CRYSTALS_AT_ONCE = 8
    patterns = variant != "policy"
    building.build_index(source_of(inputs, variant), folder, model_of(variant), patterns=patterns, progress=False)


def sharded(folder, variant, inputs):
    from deepchem_crystalssl.search import ShardedIndex

    ShardedIndex.build(source_of(inputs, variant), folder, model_of(variant), patterns=variant != "policy",
                       engine="serial", size=8, progress=False)  # fmt: skip


def pretrain(folder, variant, inputs):
    from deepchem_crystalssl import recipes
    from deepchem_crystalssl.models import progress

    progress.FIRST_CHECKPOINT_MINUTES = 0.003
    preset = "kong2024-contrastive" if variant == "model" else "joint"
    seed = 1 if variant == "policy" else 0
    recipes.pretrain(source_of(inputs, variant), folder, False, preset=preset, seed=seed, epochs=4, **SMALL)


def lay_map(folder, variant, inputs):
    from deepchem_crystalssl.explorer.document import keep_mapped
    from deepchem_crystalssl.search import EmbeddingIndex

    if not folder.exists():
        shutil.copytree(inputs / "index", folder.with_name(folder.name + ".copy"))
        os.replace(folder.with_name(folder.name + ".copy"), folder)
    keep_mapped(EmbeddingIndex.load(folder), folder)


WORKS = {work.__name__: work for work in (featurize, embed, index, sharded, pretrain, lay_map)}
VARIANTS = {"featurize": ("source", "policy"), "lay_map": ()}


def content(name, folder):
    """Digest of what a finished folder gives its reader."""
    from deepchem_crystalssl.bulk import ShardedOutput
    from deepchem_crystalssl.crystals.store import RecordStore
    from deepchem_crystalssl.models.checkpoints import newest_checkpoint, read_checkpoint
    from deepchem_crystalssl.search import EmbeddingIndex, ShardedIndex

    digest = hashlib.sha256()
    if name == "featurize":
        digest.update(RecordStore(folder).digest.encode())
    elif name == "embed":
        output = ShardedOutput(folder)
        digest.update("".join(output.to_frame(["material_id"])["material_id"]).encode())
        digest.update(output.vectors("shared").tobytes())
    elif name in ("index", "lay_map"):
        found = EmbeddingIndex.load(folder)
        digest.update(found.table.to_csv().encode())
        for array in (found.vectors, found._parts.pattern_vectors, found.map.positions if name == "lay_map" else None):
            digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
    elif name == "sharded":
        found = ShardedIndex.load(folder)
        digest.update(found.structures.vectors(np.arange(len(found)), "similarity").tobytes())
        digest.update(str(found.query(found.structures[3], k=5).to_frame().to_csv()).encode())
        digest.update(str(found.columns).encode())
    else:
        state = read_checkpoint(newest_checkpoint(folder))
        digest.update(str(state["global_step"]).encode())
        for key, tensor in sorted(state["model"].items()):
            digest.update(key.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()[:16]


def _child(name, folder, variant, inputs, told):
    from deepchem_crystalssl.errors import CrystalInputError

    os.chdir(told.parent)
    warnings.simplefilter("ignore")
    try:
        if variant == "content":
            told.write_text(content(name, folder))
        else:
            WORKS[name](folder, variant, inputs)
    except CrystalInputError as error:
        told.write_text(str(error))
        os._exit(REFUSED)


class Killer:
    """Does work in processes of their own, and kills them."""

    def __init__(self, scratch):
        os.environ["OMP_NUM_THREADS"] = "1"
        self.scratch, self.told = scratch, scratch / "told"
        self.inputs = scratch / "inputs"
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(MODULES)

    def do(self, name, folder, variant="", after=None):
        """Exit status of work, which is killed after a time in seconds; negative if it was, as in ``subprocess``."""
        self.told.unlink(missing_ok=True)
        work = partial(_child, name, folder, variant, self.inputs, self.told)
        process = self._context.Process(target=work)
        process.start()
        process.join(after)
        process.kill()
        process.join()
        return process.exitcode

    def content(self, name, folder):
        """Digest of a finished folder, or the error that says why it is none."""
        self.do(name, folder, "content")
        return self.told.read_text()

    def prepare(self):
        """Stores and an index to begin with."""
        from deepchem_crystalssl.crystals.store import write_records

        write_records(crystals(""), self.inputs / "store", progress=False)
        write_records(crystals("source"), self.inputs / "other", progress=False)
        assert self.do("index", self.inputs / "index") == 0

    def seconds(self, name):
        """How long the work takes when nothing interrupts it, and what it gives, for each variant."""
        begun = time.monotonic()
        assert self.do(name, self.scratch / name) == 0, self.told.read_text()
        took, expected = time.monotonic() - begun, {"": self.content(name, self.scratch / name)}
        for variant in VARIANTS.get(name, ("source", "model", "policy")):
            assert self.do(name, self.scratch / f"{name}-{variant}", variant) == 0, (variant, self.told.read_text())
            expected[variant] = self.content(name, self.scratch / f"{name}-{variant}")
        assert len(set(expected.values())) >= len(expected) - (name in ("featurize", "embed", "sharded")), expected
        return took, expected


def try_kills(killer, name, number, seed=0):
    """Kill work so often, go on with each variant on a copy, then with the same inputs; returns what was seen.

    Work that had ended before it was to be killed is not counted, and is done again.
    """
    took, expected = killer.seconds(name)
    generator, seen = random.Random(f"{name} {seed}"), {"killed": 0, "refused": 0, "made anew": 0, "the same": 0}
    for attempt in range(4 * number):
        if seen["killed"] == number:
            break
        folder = killer.scratch / f"{name}-{seed}-{attempt}"
        status = killer.do(name, folder, after=generator.uniform(0.02, 1.0) * took)
        assert status <= 0, (name, attempt, killer.told.read_text())
        if status == 0:
            continue
        seen["killed"] += 1
        variant = generator.choice([v for v in expected if v] or [""])
        if variant:
            copy = killer.scratch / "copy" / folder.name
            for path in killer.scratch.glob(f"{folder.name}*"):  # the work beside the folder too
                shutil.copytree(path, copy.parent / path.name)
            status = killer.do(name, copy, variant)
            if status == REFUSED:
                seen["refused"] += 1
            else:
                assert status == 0, (name, attempt, variant, status)
                found = killer.content(name, copy)
                assert found == expected[variant], (name, attempt, variant, "mixed", found)
                seen["made anew"] += 1
            shutil.rmtree(copy.parent, ignore_errors=True)
        status = killer.do(name, folder)
        if status == REFUSED:  # an index that was finished just before
            assert name == "index" and "not empty" in killer.told.read_text(), (attempt, killer.told.read_text())
        else:
            assert status == 0, (name, attempt, status)
        assert killer.content(name, folder) == expected[""], (name, attempt, "not the same")
        seen["the same"] += 1
        left = [path.name for path in Path(folder).rglob(".lock*")]
        assert not left, left
        for path in killer.scratch.glob(f"{folder.name}*"):
            shutil.rmtree(path)
    return seen
