# `make demo` and `make test` are all that a new user needs.  Python 3.11 or later as $(PYTHON).
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-slow check bench clean
.DELETE_ON_ERROR:

demo: .venv/demo.stamp  ## Table 1 of the paper in two minutes
	$(BIN)/ipsrl reproduce table-1 --preset quick

test: .venv/all.stamp  ## everything that runs in minutes
	$(BIN)/pytest

test-slow: .venv/all.stamp  ## acceptance figures, faults, whole runs
	$(BIN)/pytest -m slow

check: .venv/all.stamp  ## style, types, import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: .venv/all.stamp  ## speed, beside torchgfn and gfnx in environments of their own
	$(BIN)/python bench/run.py
	$(BIN)/python bench/llm_overhead.py

.venv/demo.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --editable '.[grids,report]'
	touch $@

.venv/all.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --editable '.[all]'
	touch .venv/demo.stamp $@

clean:
	rm -rf .venv .bench .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -prune -exec rm -rf {} +
