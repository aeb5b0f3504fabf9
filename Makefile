# Every target works on a fresh clone and keeps to ./.venv. Needs Python 3.11 or newer, or
# name one: make install PYTHON=python3.12

PYTHON ?= python3
JOBS ?= 2
PYTEST_OPTIONS ?=

VENV := .venv
BIN := $(VENV)/bin
WORKER := $(VENV)/.installed-worker
DEV := $(VENV)/.installed-dev
DOCS := $(VENV)/.installed-docs

# One thread per process: tests and trials run side by side.
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile
SLOW := slow or browser or postgres or ray or gpu

.PHONY: help install demo test test-slow coverage check docs release-check format bench screenshots up clean

help:
	@echo "make install    everything, for development, into ./.venv"
	@echo "make demo       a whole search on real images, in under three minutes"
	@echo "make up         the service and a worker on this machine"
	@echo "make test       the tests, in minutes"
	@echo "make test-slow  the tests that need longer, a browser, PostgreSQL, Ray or a GPU"
	@echo "make coverage   the tests of make test, and which lines they run; fails below the floor"
	@echo "make check      lint, types and import rules"
	@echo "make docs       the documentation site, into ./build/site"
	@echo "make release-check   build the packages, and start the wheel in an empty environment"
	@echo "make bench      benchmarks, as ratios"
	@echo "make screenshots   every page, into ./build/screenshots, and those of the documentation"
	@echo "make format     put the code in shape"
	@echo "make clean      remove ./.venv and what tools have cached"

install: $(DEV)

demo: $(WORKER)
	$(BIN)/python -m service.cli.demo

up: $(WORKER)
	$(BIN)/actsearch up

test: $(DEV)
	$(TEST) -m "not ($(SLOW))" $(PYTEST_OPTIONS)

# What a machine lacks (a GPU, Ray, a browser) is skipped.
test-slow: $(DEV)
	$(TEST) -m "$(SLOW)" $(PYTEST_OPTIONS)

# Measuring takes about half as much processor time again. CI runs it in place of `make test` all the
# same, for both are the same tests. The floor is fail_under in pyproject.toml.
coverage: $(DEV)
	$(TEST) --cov= --cov-report=term:skip-covered -m "not ($(SLOW))" $(PYTEST_OPTIONS)

check: $(DEV)
	$(BIN)/ruff check --no-cache
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy actsearch.py
	$(BIN)/lint-imports

docs: $(DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# The same test is one of test-slow's.
release-check: $(DEV)
	$(BIN)/python -m pytest tests/system/test_release.py -rs $(PYTEST_OPTIONS)

format: $(DEV)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(DEV)
	$(BIN)/python -m tests.benchmarks.activations
	$(BIN)/python -m tests.benchmarks.pwlu_network
	$(BIN)/python -m tests.benchmarks.load
	$(BIN)/python -m tests.benchmarks.training
	$(BIN)/python -m tests.benchmarks.slots
	$(BIN)/python -m tests.benchmarks.page
	$(BIN)/python -m tests.benchmarks.search
	$(BIN)/python -m tests.benchmarks.scale --quick

screenshots: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.browser.screenshots build/screenshots --docs docs

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.*

$(BIN)/python:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { \
	  echo "Python 3.11 or newer is needed, and '$(PYTHON)' is not;" \
	       "name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# uv, where there is one, is faster; it does not read where pip finds further files, so it is
# told. Where it cannot do it, pip does.
define pip_install
	@if command -v uv >/dev/null 2>&1 && \
	  links=$$($(BIN)/python -m pip config get global.find-links 2>/dev/null \
	    || echo "$${PIP_FIND_LINKS:-}") && \
	  env $${links:+"UV_FIND_LINKS=$$(echo $$links | tr ' ' ',')"} \
	    uv pip install --python $(BIN)/python -c constraints.txt -e '.[$(1)]'; then :; \
	else \
	  $(BIN)/python -m pip install -c constraints.txt -e '.[$(1)]'; \
	fi
endef

$(WORKER): pyproject.toml constraints.txt | $(BIN)/python
	$(call pip_install,worker)
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(BIN)/python
	$(call pip_install,dev)
	@touch $(WORKER) $@

$(DOCS): pyproject.toml constraints.txt | $(BIN)/python
	$(call pip_install,docs)
	@touch $(WORKER) $@
