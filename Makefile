# `make demo` and `make test` are all that a new user needs.  Python 3.11 or later as $(PYTHON).
PYTHON ?= python3
BIN := .venv/bin
TRL := $(CURDIR)/.venv/trl-1.0
MUTMUT := .venv/mutmut
SITE := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo demo-llm test test-slow test-trl test-wheel test-worker promises mutation check bench clean
.DELETE_ON_ERROR:

demo: .venv/demo.stamp  ## Table 1 of the paper in two minutes
	$(BIN)/ipsrl reproduce table-1 --preset quick

demo-llm: .venv/llm.stamp  ## a real language model collapses, and does not: minutes after the installation
	$(BIN)/ipsrl reproduce open-questions --preset quick

test: .venv/all.stamp  ## everything that runs in minutes
	$(BIN)/pytest -n 2 --dist loadfile

test-slow: .venv/all.stamp  ## acceptance figures, faults, whole runs
	$(BIN)/pytest -m slow

promises: .venv/all.stamp $(MUTMUT)  ## every promise of docs/reliability.md at its full size
	$(BIN)/python tests/promises.py

mutation: .venv/all.stamp $(MUTMUT)  ## how many changes of core its tests notice
	$(BIN)/python tests/promises.py 20

test-trl: .venv/all.stamp  ## the trainers under the oldest TRL that is supported
	$(BIN)/python -m pip install --quiet --no-deps --target $(TRL) trl==1.0.0
	$(BIN)/python -m pip install --quiet --target $(TRL) requests
	PYTHONPATH=$(TRL) $(BIN)/pytest tests/llm

test-wheel: .venv/all.stamp  ## each extra of the wheel, in clean environments of each Python; gigabytes
	$(BIN)/python tests/wheel.py

test-worker: .venv/all.stamp  ## the verl plug-in and Rxn-INSIGHT, in environments of their own
	$(BIN)/ipsrl workers install verl
	$(BIN)/ipsrl workers install rxn-insight
	$(BIN)/pytest -m worker

check: .venv/all.stamp  ## style, types, import layers, documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(SITE)

.PHONY: docs tutorials
docs: .venv/all.stamp  ## the documentation as a site; read it with `python -m http.server -d site`
	$(SITE)

tutorials: .venv/all.stamp  ## what the tutorials print, as the site shows it
	for one in examples/tutorials/*.py; do $(BIN)/python $$one > $${one%.py}.txt || exit 1; done

bench: .venv/all.stamp  ## speed, beside torchgfn and gfnx in environments of their own
	$(BIN)/python bench/speed.py
	$(BIN)/python bench/run.py
	$(BIN)/python bench/llm_overhead.py
	$(BIN)/python bench/molecules.py
	$(BIN)/python bench/oracle.py

$(MUTMUT): .venv/all.stamp  # its libraries are not those of the package
	$(PIP) --target $@ mutmut==3.8.1

.venv/demo.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --editable '.[grids,report]'
	touch $@

.venv/llm.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --editable '.[llm,report]'
	touch $@

.venv/all.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --editable '.[all,dev]'
	touch .venv/demo.stamp .venv/llm.stamp $@

clean:
	rm -rf .venv .bench .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist site
	find . -name __pycache__ -prune -exec rm -rf {} +
