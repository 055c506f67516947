# Two commands do everything on a fresh machine with python3 (3.11 or newer), make and git:
#   make demo   the whole chain over the bundled sample
#   make test   all tests

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: demo test dev lint install install-test clean

demo: $(VENV)/.score
	$(BIN)/nemo-assets demo

test: $(VENV)/.test
	$(BIN)/pytest -n 2 -m "not slow" $(PYTEST_ARGS)

dev: $(VENV)/.base
	$(BIN)/nemo-assets dev

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

install: $(VENV)/.score
install-test: $(VENV)/.test

# A mark for each set of extras, so that a second `make` installs nothing; pyproject.toml newer than the mark reinstalls.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "$(PYTHON) is older than 3.11: make PYTHON=/path/to/python3.11 …" >&2; exit 2; }
	@# Debian keeps venv's pip in a package of its own.
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
	    || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq python3-venv; } \
	    || { echo "$(PYTHON) cannot make environments: apt-get install python3-venv, then run make again." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.base: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.score: pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV): a few minutes the first time."
	$(BIN)/python -m pip install --quiet --editable ".[score]"
	touch $@ $(VENV)/.base

$(VENV)/.test: pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV): a few minutes the first time."
	$(BIN)/python -m pip install --quiet --editable ".[all]"
	touch $@ $(VENV)/.score $(VENV)/.base

clean:
	rm -rf $(VENV)
