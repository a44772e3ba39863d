"""The rules of the house, held by a test: who may import whom, and what stands behind one door."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from os.path import commonprefix
from pathlib import Path

import pytest

import deepchem_crystalssl

ROOT = Path(deepchem_crystalssl.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# Lower rooms first; a file may import from its own room and those before it.
ROOMS = (
    "_names wording errors processors crystals diffraction physics nn pretext evaluation registry __init__ data models "
    "descriptors bulk search recipes demo explorer testing cli __main__"
).split()
FILES_OF_A_ROOM = {
    "crystals": (
        "isolation compilation checksums work_folders folder_kinds options limits doubts elements reciprocal records "
        "proximity contacts symmetry validation disorder cif formats prototypes consistency record_columns shards "
        "reading checking store_source store unfinished duplicates threads neighbor_search neighbors"
    ).split(),
    "crystals/cif": "tags statements claims groups species expansion symmetry building reading writing".split(),
    "crystals/formats": (
        "encodings kinds contents parquet_rows tables database_entries convert json_documents json_entries texts "
        "ase_files lmdb_pages ase_databases vasprun archives files readers optimade"
    ).split(),
    "diffraction": (
        "limits radiation grid patterns column_names text_columns xml_patterns text_layouts binary_patterns "
        "pattern_files structure_factors peaks kernels simulation measured conditions measurement fitting"
    ).split(),
    "physics": (
        "bonds bloch parameters carriers springs hopping spring_columns electron_columns columns scales elasticity "
        "density bands lattice_dynamics electrons values"
    ).split(),
}
DOORS = {
    "deepchem": {
        "data/__init__.py",
        "data/featurizers.py",
        "data/datasets.py",
        "data/loaders.py",
        "data/splitters.py",
        "models/pretraining.py",
        "models/checkpointed.py",
        "models/inputs.py",
        "models/negnn.py",
        "models/resumable.py",
        "models/scores.py",
        "models/optimizers.py",
        "registry.py",
    },
    "dgl": {"nn/links.py", "crystals/records.py"},  # the record's to_dgl_graph, asked for by DeepChem
    "matminer": {"descriptors/batches.py", "descriptors/environments.py", "data/tables.py"},
    "numba": {"crystals/compilation.py"},
    "gemmi": {
        f"crystals/cif/{name}.py"
        for name in "building claims groups reading species statements symmetry tags writing".split()
    },
    "pybaselines": {"diffraction/measured.py"},
    "spglib": {"crystals/symmetry.py"},
    "matplotlib": {"search/pictures.py", "models/plots.py", "physics/density.py"},
    "openTSNE": {"search/projection.py"},
    "fastapi": {"explorer/application.py", "explorer/server.py"},
    "uvicorn": {"explorer/server.py"},
    "anywidget": {"explorer/widget.py"},
    "faiss": {"search/approximate.py", "search/segments.py"},
    "loky": {"bulk/process_engine.py"},
    "dask": {"bulk/dask_engine.py"},
    "distributed": {"bulk/dask_engine.py"},
    "ray": {"bulk/ray_engine.py"},
    "ase": {"crystals/formats/ase_files.py"},
    "filelock": {"crystals/work_folders.py"},
    "lmdb": {"crystals/formats/ase_databases.py"},
}
ANYWHERE = {"testing"}
UPWARD = {("registry.py", "data"), ("registry.py", "models")}  # when DeepChem is there, not when imported


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


def resolved(path, module, level):
    """Parts of the module, within the package, that a relative import names."""
    package = path.relative_to(ROOT).parts[:-1]
    base = package[: len(package) - (level - 1)]
    return (*base, *module.split(".")) if module else base


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_one_way(path):
    parts = path.relative_to(ROOT).parts
    room = parts[0].removesuffix(".py")
    for module, level in imports(path):
        if level == 0:
            continue
        target = resolved(path, module, level) or ("__init__",)
        if target[0] in ANYWHERE or (name_of(path), target[0]) in UPWARD:
            continue
        shared = len(commonprefix([target, parts[:-1]]))
        order = FILES_OF_A_ROOM.get("/".join(parts[:shared]))
        if shared and order is not None and len(target) > shared and parts[-1] != "__init__.py":
            assert order.index(target[shared]) < order.index(parts[shared].removesuffix(".py"))
        else:
            assert ROOMS.index(target[0]) <= ROOMS.index(room), f"{name_of(path)} imports {module}"


@pytest.mark.parametrize("path", [p for p in FILES if p.parent.name in ("nn", "pretext")], ids=name_of)
def test_networks_know_nothing_of_hosts(path):
    known = {module.split(".")[0] for module, level in imports(path) if not level}
    assert not known & {"deepchem", "pymatgen", "matminer", "pandas", "sklearn"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_stay_readable(path):
    assert len(path.read_text().splitlines()) <= 450


def file_of(parts):
    """The file that a module's parts name, None if it is none of the package."""
    while parts:
        for path in (ROOT.joinpath(*parts).with_suffix(".py"), ROOT.joinpath(*parts, "__init__.py")):
            if path in FILES:
                return path
        parts = parts[:-1]
    return None


def test_no_files_import_each_other():
    graph = {}
    for path in FILES:
        if path.name != "__init__.py" and name_of(path) != "registry.py":
            targets = {file_of(resolved(path, module, level)) for module, level in imports(path) if level}
            graph[path] = {target for target in targets if target is not None and target.name != "__init__.py"}
    assert len(graph) > 100 and sum(map(len, graph.values())) > 300
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(name_of(path) for path in error.args[1])) from None


def test_nothing_is_unpickled():
    for path in FILES:
        text = path.read_text()
        assert not re.search(r"pickle\.load|(?<![.\w])(eval|exec)\(", text)
