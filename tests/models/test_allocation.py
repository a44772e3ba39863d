"""A training keeps the memory that its steps free, and only then; what the user has set holds."""

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
from contextlib import nullcontext
import numpy as np
from deepchem_crystalssl.models.allocation import freed_memory_kept

def new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones((48, 1 << 20), np.uint8)  # larger than any block that glibc keeps by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    with open("/proc/self/statm") as statistics:
        return int(statistics.read().split()[1]) * resource.getpagesize()

outside = new_pages()
with freed_memory_kept():
    new_pages()
    within, kept = new_pages(), resident()
print(outside, within, kept - resident())
"""
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has other settings")


def measured(**environment):
    said = subprocess.run([sys.executable, "-c", PROGRAM], env={**os.environ, **environment},
                          capture_output=True, text=True, check=True)  # fmt: skip
    return map(int, said.stdout.split())


@glibc
def test_blocks_are_used_again_and_returned_at_the_end():
    outside, within, returned = measured()
    assert within < outside / 10
    assert returned > 40 * 2**20


@glibc
@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"])
def test_what_the_user_has_set_holds(name):
    outside, within, _ = measured(**{name: "131072"})
    assert within > outside / 2
