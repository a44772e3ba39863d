"""The names of manifests are those that are written."""

from deepchem_crystalssl.bulk import output
from deepchem_crystalssl.crystals import folder_kinds, shards, unfinished
from deepchem_crystalssl.search import sharded_layout, storage


def test_every_kind_is_known_by_the_manifest_that_is_written():
    names = {
        storage.MANIFEST,
        sharded_layout.MANIFEST,
        shards.MANIFEST,
        output.MANIFEST,
        output.STEP,
        unfinished.CHOICES,
    }
    assert names | {f".saved/{storage.MANIFEST}"} == set(folder_kinds.KINDS)
