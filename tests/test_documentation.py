"""The documentation names every public object, links to names that exist, and its first examples run."""

import ast
import importlib
import json
import re
from argparse import _SubParsersAction
from pathlib import Path

import numpy as np
import pytest

import deepchem_crystalssl as dcs
from deepchem_crystalssl.cli.options import build_parser

PACKAGE = Path(dcs.__file__).parent
DOCS = PACKAGE.parent / "docs"
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
MARKDOWN = sorted(
    path
    for folder in (PACKAGE.parent, DOCS, *DOCS.iterdir())
    for end in ("md", "ipynb")
    for path in folder.glob(f"*.{end}")
)
ROLE = re.compile(r"(?::(?:class|func|meth|attr|exc|mod):|\{(?:class|func|meth|attr|exc|mod)\})`([^`]+)`")
SOURCES = sorted([*PACKAGE.rglob("*.py"), *DOCS.glob("*.md"), *DOCS.glob("*/*.md")])
OBJECTIVES = [f"deepchem_crystalssl.pretext.{name}" for name in ("contrastive", "reconstruction", "descriptors")]
NETWORKS = "GraphBatch CrystalEncoder XRDEncoder NEGNN CrystalConvolution BatchRenorm StructureFactorReadout".split()


def found(name):
    """The object of a dotted name, or None."""
    parts = name.split(".")
    for split in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:split]))
        except ImportError:
            continue
        for part in parts[split:]:
            value = getattr(value, part, None)
        return value
    return None


def documented():
    """The names of all objects on the API pages."""
    names = set()
    for page in DOCS.glob("api/*.md"):
        text = re.sub(r"\n {10,}", " ", page.read_text())  # a list of members may go on in the next line
        for kind, name, options in re.findall(r"\.\. auto(\w+):: ([\w.]+)\n((?:   :.*\n)*)", text):
            if kind != "module":
                names.add(name)
                continue
            members = re.search(r":members:(.*)", options)
            listed = [word.strip() for word in members[1].split(",") if word.strip()] if members else []
            names.update(f"{name}.{member}" for member in listed or public_names(name))
    return names


def public_names(module):
    """Functions and classes that a module defines, without those that begin with an underscore."""
    tree = ast.parse(Path(importlib.import_module(module).__file__).read_text())
    defined = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    return [node.name for node in defined if not node.name.startswith("_")]


def exported():
    """Every name that a user is meant to import, as a dotted name."""
    yield from (f"deepchem_crystalssl.{name}" for name in dcs.__all__ if not name.startswith("__"))
    for stub in PACKAGE.glob("*/__init__.pyi"):
        for node in ast.parse(stub.read_text()).body:
            if isinstance(node, ast.ImportFrom):
                yield from (f"deepchem_crystalssl.{stub.parent.name}.{alias.asname}" for alias in node.names)
    yield from (f"{module}.{name}" for module in OBJECTIVES for name in public_names(module))


def test_every_public_name_is_in_the_api_pages():
    objects = [found(name) for name in documented()]
    missing = [name for name in exported() if not any(found(name) is value for value in objects)]
    assert not missing


def test_networks_are_in_the_api_pages():
    names = {name.rpartition(".")[2] for name in documented()}
    assert not set(NETWORKS) - names


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_has_an_api_page(room):
    assert (DOCS / "api" / f"{room}.md").exists()
    assert f"\n{room}\n" in (DOCS / "api" / "index.md").read_text()


def test_api_pages_name_objects_that_exist():
    assert [name for name in documented() if found(name) is None] == []


def test_every_command_is_on_the_page_of_commands():
    (commands,) = (action.choices for action in build_parser()._actions if isinstance(action, _SubParsersAction))
    page = (DOCS / "command_line.md").read_text()
    assert [name for name in commands if f"| `{name}` |" not in page] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE.parent).as_posix())
def test_cross_references_lead_somewhere(path):
    targets = [re.sub(r".*<(.*)>", r"\1", role).lstrip("~") for role in ROLE.findall(path.read_text())]
    elsewhere = {line.split()[0] for table in DOCS.glob("inventories/*.txt") for line in table.read_text().splitlines()}
    whole = [name for name in targets if "." in name.strip(".") and not name.startswith(".")]
    own = [name for name in whole if name.startswith("deepchem_crystalssl")]
    assert [name for name in own if found(name) is None] == []
    if path.suffix == ".md":
        assert set(whole) - set(own) <= elsewhere


def lines_of(path):
    if path.suffix == ".md":
        return path.read_text().splitlines()
    cells = json.loads(path.read_text())["cells"]
    return [line.rstrip("\n") for cell in cells if cell["cell_type"] == "markdown" for line in cell["source"]]


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: path.relative_to(PACKAGE.parent).as_posix())
def test_markdown_lines_are_short_enough_to_read(path):
    long = [f"line {number}: {len(line)}" for number, line in enumerate(lines_of(path), 1) if len(line) > 140]
    assert not long


@pytest.mark.parametrize("path", sorted(PACKAGE.parent.glob("tutorials/*.ipynb")), ids=lambda path: path.stem)
def test_tutorials_install_the_package_in_colab_before_they_use_it(path):
    code = ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert "import google.colab" in code[0] and "%pip install -q deepchem_crystalssl" in code[0]


@pytest.mark.parametrize("page", sorted(path.stem for path in DOCS.glob("start/*.md")))
def test_first_examples_run(page, prototypes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pyrite = next(crystal for crystal in prototypes if crystal.material_id == "AB2_cP12_205_a_c")
    grid = dcs.XRDGrid(fwhm=0.2)
    counts = 50 + 3000 * dcs.simulate_xrd([pyrite], grid)[0]
    np.savetxt("powder.xy", np.column_stack([grid.two_theta, counts]))
    for example in re.findall(r"```python\n(.*?)```", (DOCS / "start" / f"{page}.md").read_text(), re.DOTALL):
        exec(compile(example, page, "exec"), {"__name__": page})
