"""Sphinx configuration; the tutorials are executed while the pages are built."""

import tempfile
import zlib
from pathlib import Path

from deepchem_crystalssl import __version__

project = "deepchem_crystalssl"
author = "deepchem_crystalssl developers"
release = version = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "myst_nb",
    "sphinx-mathjax-offline",
]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 2
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 1800  # a busy machine can be many times slower
nb_merge_streams = True

autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_default_options = {"show-inheritance": True}
napoleon_google_docstring = False
napoleon_use_rtype = False


def inventory_of(table: Path, folder: Path) -> tuple[str, str]:
    """The address of a project's documentation, and the file in which Sphinx finds its names.

    The build must work without a network, so the names this documentation links to stand in
    ``docs/inventories/<project>.txt``: the address in the first line, then one name a line, as in an uncompressed
    inventory of Sphinx (name, role, priority, page, displayed name; ``$`` stands for the name itself).
    """
    first, *names = table.read_text().splitlines()
    header = f"# Sphinx inventory version 2\n# Project: {table.stem}\n# Version: \n# zlib\n"
    compressed = folder / f"{table.stem}.inv"
    compressed.write_bytes(header.encode() + zlib.compress("\n".join([*names, ""]).encode()))
    return first.removeprefix("# "), str(compressed)


_inventories = Path(tempfile.mkdtemp())
intersphinx_mapping = {
    table.stem: inventory_of(table, _inventories) for table in Path(__file__).parent.glob("inventories/*.txt")
}

html_theme = "furo"
html_title = "deepchem crystalssl"
exclude_patterns = ["_build", "**.ipynb_checkpoints", "inventories"]
