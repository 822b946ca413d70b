# make demo   the digits study end to end: table, trials, winner, and the commands to go on
# make test   everything that continuous integration runs
# make quick  lint, types and the quick tests
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test quick lint clean help

help:
	@sed -n 's/^# //p' Makefile

# Stamps: an environment is made once and again when what it is made from changes.
$(BIN)/.made: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "tuner needs Python 3.11 or newer, but '$(PYTHON)' is $$($(PYTHON) -V 2>&1); run: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(BIN)/.made-dev: $(BIN)/.made
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(BIN)/.made
	$(BIN)/tuner run studies/digits.yaml --demo

lint: $(BIN)/.made-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

quick: lint
	$(BIN)/python -m pytest -q -m 'not slow'

test: lint
	$(BIN)/python -m pytest -q
	KERAS_BACKEND=jax $(BIN)/python -m pytest -q tests/features tests/training -m 'not slow'

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
