# Two commands do everything on a machine with Python 3.11, git and make:
#   make demo    install into .venv and run the main job on real crystals
#   make test    install, then lint, types, docs, doctests and tests
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
CODE := deepchem_crystalssl tests benchmarks tools

.PHONY: demo test test-slow lint types docs clean

demo: $(VENV)/installed
	$(BIN)/crystalssl demo -o demo

test: $(VENV)/installed lint types
	$(BIN)/python -m pytest deepchem_crystalssl tests
	PYTHONPATH=tests/without_dgl $(BIN)/python -m pytest deepchem_crystalssl tests --ignore tests/explorer
	$(MAKE) docs

test-slow: $(VENV)/installed
	$(BIN)/python -m pytest deepchem_crystalssl tests --slow

lint: $(VENV)/installed
	$(BIN)/black --check --quiet --line-length 120 $(CODE)
	$(BIN)/flake8 $(CODE)

types: $(VENV)/installed
	$(BIN)/mypy

docs: $(VENV)/installed
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

# torch comes first and alone: resolved together with the rest, an open range may fetch gigabytes of CUDA.
$(VENV)/installed: setup.cfg constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test,docs]"
	touch $@

clean:
	rm -rf $(VENV) demo docs/_build build *.egg-info
