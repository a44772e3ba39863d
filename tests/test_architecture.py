"""The rules of the house, held by a test: who may import whom, and what stands behind one door."""

import ast
import re
from pathlib import Path

import pytest

import deepchem_crystalssl

ROOT = Path(deepchem_crystalssl.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# Lower layers first; a file may import from its own layer and those before it.
LAYERS = (
    "crystals nn pretext embedding metrics probes kernel_ridge datasets splitters featurizers loaders "
    "optimizers monitor checkpoints training models pretrained descriptors environments negnn recipes search registry "
    "demo explorer testing __init__ version cli"
).split()
CRYSTALS = (
    "errors elements graph symmetry validation disorder convert cif io store threads neighbors "
    "xrd_grid diffraction xrd measured instrument pattern_fit"
).split()
DOORS = {
    "deepchem": {
        "__init__.py",
        "featurizers.py",
        "datasets.py",
        "loaders.py",
        "models.py",
        "negnn.py",
        "training.py",
        "optimizers.py",
        "registry.py",
        "splitters.py",
    },
    "dgl": {"nn/message_passing.py", "crystals/graph.py"},  # the record's to_dgl_graph, asked for by DeepChem
    "matminer": {"descriptors.py", "environments.py", "loaders.py"},
    "gemmi": {"crystals/cif.py"},
    "pybaselines": {"crystals/measured.py"},
    "spglib": {"crystals/symmetry.py"},
    "matplotlib": {"demo.py", "search/pictures.py"},
    "openTSNE": {"search/projection.py"},
    "fastapi": {"explorer/server.py"},
    "uvicorn": {"explorer/server.py"},
    "faiss": {"search/vectors.py"},
}
ANYWHERE = {"version", "testing"}


def imports(path):
    """(absolute module name, relative level) of every import."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.level


def name_of(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("library", DOORS)
def test_doors(library):
    users = {name_of(p) for p in FILES if any(m.split(".")[0] == library and not n for m, n in imports(p))}
    assert users == DOORS[library]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_one_way(path):
    parts = path.relative_to(ROOT).parts
    layer = parts[0].removesuffix(".py")
    for module, level in imports(path):
        if level == 0:
            continue
        inside = (*parts[:-1], *module.split("."))[: len(parts)] if level == 1 else tuple(module.split("."))
        target = inside[0].removesuffix(".py") or "__init__"
        if target == layer == "crystals" and len(inside) > 1 and parts[1] != "__init__.py":
            assert CRYSTALS.index(inside[1]) < CRYSTALS.index(parts[1].removesuffix(".py"))
        elif target not in ANYWHERE:
            assert LAYERS.index(target) <= LAYERS.index(layer), f"{name_of(path)} imports {module}"


@pytest.mark.parametrize("path", [p for p in FILES if p.parent.name in ("nn", "pretext")], ids=name_of)
def test_networks_know_nothing_of_hosts(path):
    known = {module.split(".")[0] for module, level in imports(path) if not level}
    assert not known & {"deepchem", "pymatgen", "matminer", "pandas", "sklearn"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_stay_readable(path):
    assert len(path.read_text().splitlines()) <= 450


def test_nothing_is_unpickled():
    for path in FILES:
        text = path.read_text()
        assert not re.search(r"pickle\.load|(?<![.\w])(eval|exec)\(", text)
