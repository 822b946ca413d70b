# make demo   the digits study end to end: table, trials, winner, and the commands to go on
# make test   everything that continuous integration runs
# make quick  lint, types and the quick tests
# make endure a small study killed 60 times at random, then compared with an undisturbed one
# make audit  known vulnerabilities of the versions in constraints.txt, by pip-audit
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
KILLS ?= 60
# Processes that share the tests, a file at a time: each imports TensorFlow anew and holds it in
# memory, so more are worth it only where there are more processors.
WORKERS ?= 2
# A process that dies ends the run: pytest-xdist would wait for its tests for ever.
PYTEST := $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder \
  --max-worker-restart 0

.PHONY: demo test quick endure audit lint clean help

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
	$(PYTEST) -m 'not slow'

test: lint
	$(PYTEST) --durations 20
	KERAS_BACKEND=jax $(PYTEST) -m 'not any_backend' tests/features tests/training

endure: $(BIN)/.made-dev
	$(BIN)/python benchmarks/endure.py --kills $(KILLS)

audit: $(BIN)/.made
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/python .ci/audit $(AUDIT)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
