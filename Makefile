# Two commands do everything on a machine with Python 3.11 or 3.12, git and make:
#   make demo    install into .venv and run the main job on real crystals
#   make test    install, then lint, types, docs, doctests and tests, on both versions of Python if both are there
#
# The first interpreter that works is used; python3.11 has DGL, python3.12 is tested without it.
working = $(firstword $(foreach p,$(1),$(if $(shell $(p) -c "import venv" 2>/dev/null && echo works),$(p))))
PYTHON ?= $(call working,python3.11 python3.12 python3)
SECOND ?= $(call working,python3.12 $(wildcard $(HOME)/.pyenv/versions/3.12*/bin/python3.12))
VENV := .venv
SECOND_VENV := .venv312
BIN := $(VENV)/bin
FRONT_END := tools/front_end
# Libraries of the checks of the page, if there is npm.
MODULES := $(if $(shell command -v npm),$(FRONT_END)/node_modules/.package-lock.json)
CODE := deepchem_crystalssl tests benchmarks tools
PIP := -m pip install --quiet --disable-pip-version-check -c constraints.txt
# Two jobs at a time, each on one core: threads of two jobs would wait for each other.
TOGETHER := OMP_NUM_THREADS=1 $(MAKE) --no-print-directory --output-sync=target --jobs 2

.PHONY: demo test tests tests-second test-slow fuzz lint types front-end docs clean

demo: $(VENV)/installed
	$(BIN)/crystalssl demo -o demo

test: $(VENV)/installed lint $(MODULES)
	$(TOGETHER) tests tests-second docs types front-end

tests: $(VENV)/installed
	$(BIN)/python -m pytest deepchem_crystalssl tests

# Python 3.12, DeepChem's nightly, NumPy 1.26, no DGL; where that cannot be installed, Python 3.11 without DGL.
tests-second: $(VENV)/installed
	if test -n "$(SECOND)" && $(MAKE) $(SECOND_VENV)/installed; then \
	  PYTHONDONTWRITEBYTECODE= $(SECOND_VENV)/bin/python -m pytest deepchem_crystalssl tests -m "not browser and not once"; \
	else \
	  echo "Python 3.12 cannot be used here: the tests run on the first interpreter once more, without DGL."; \
	  PYTHONPATH=tests/without_dgl $(BIN)/python -m pytest deepchem_crystalssl tests -m "not browser and not once"; \
	fi

test-slow: $(VENV)/installed
	$(BIN)/python -m pytest deepchem_crystalssl tests --slow

# Sixty times as many damaged folders, changed files and hostile uploads as in the tests: about an hour.
fuzz: $(VENV)/installed
	$(BIN)/python -m pytest tests/robustness --fuzz 60

lint: $(VENV)/installed
	$(BIN)/black --check --quiet --line-length 120 $(CODE)
	$(BIN)/flake8 $(CODE)

types: $(VENV)/installed
	$(BIN)/mypy

# The modules of the page: types, faults, and tests of what needs no browser.
front-end: $(MODULES)
	$(if $(MODULES),cd $(FRONT_END) && npm run --silent check,@echo "There is no npm: the modules of the page are not checked. Install Node.js 18 or later.")

$(FRONT_END)/node_modules/.package-lock.json: $(FRONT_END)/package-lock.json
	cd $(FRONT_END) && npm ci --ignore-scripts --no-audit --no-fund --silent
	touch $@

docs: $(VENV)/installed
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

# torch comes first and alone: resolved together with the rest, an open range may fetch gigabytes of CUDA.
$(VENV)/installed: setup.cfg constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) torch
	$(BIN)/python $(PIP) -e ".[test,lint,docs]"
	touch $@

$(SECOND_VENV)/installed: setup.cfg constraints.txt
	test -x $(SECOND_VENV)/bin/python || $(SECOND) -m venv $(SECOND_VENV)
	$(SECOND_VENV)/bin/python $(PIP) --no-compile torch
	$(SECOND_VENV)/bin/python $(PIP) --no-compile -e ".[test]"
	touch $@

clean:
	rm -rf $(VENV) $(SECOND_VENV) demo docs/_build build *.egg-info
