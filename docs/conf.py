"""Sphinx configuration; the tutorials are executed while the pages are built."""

from deepchem_crystalssl import __version__

project = "deepchem_crystalssl"
author = "deepchem_crystalssl developers"
release = version = __version__

extensions = [
    "sphinx.ext.autodoc",
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
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = "deepchem crystalssl"
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
