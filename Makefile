# Two commands matter: `make demo` and `make test`. Each sets up what it needs, on a machine with Python 3.11 or newer,
# without a GPU and without a model hub.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready

.PHONY: demo test check bench help

help:
	@echo "make demo   set up, draw a few cars, describe them"
	@echo "make test   set up, run the checks and the tests"
	@echo "make bench  set up, packed questions against one generate call each, on this CPU"

# constraints.txt holds the versions that were tested. pip and not uv: it finds a torch that is on the disk already.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Carscribe needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Say which with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments. On Debian: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(READY)
	@$(VENV)/bin/python demo/run.py

check: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

test: check
	$(VENV)/bin/python -m pytest --numprocesses auto

bench: $(READY)
	$(VENV)/bin/python bench/cpu_packed.py
