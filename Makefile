# Two commands on a fresh machine: `make demo` and `make test`. Needs only Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint format conformance bench collector clean
.DEFAULT_GOAL := help

help:
	@echo "make demo       the refund story, end to end"
	@echo "make test       all tests, with coverage"
	@echo "make lint       ruff format, ruff check, mypy"
	@echo "make conformance  breaks each rule of receiver/README.md, and sees its tests fail"
	@echo "make bench      our speed beside a floor (LARGE=1 adds 10 million events)"
	@echo "make collector  build the Collector that the tests run (needs Go)"

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "needs Python 3.11 or newer: set PYTHON=/path/to/python3.11"; exit 7; }
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && \
	  uv pip install --quiet --compile-bytecode --python $(BIN)/python --editable '.[receiver]' --group dev; \
	else \
	  $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet --upgrade pip && \
	  $(BIN)/python -m pip install --quiet --editable '.[receiver]' --group dev; \
	fi
	@touch $(STAMP)

demo: $(STAMP)
	@$(BIN)/intentproof-otel demo

test: $(STAMP)
	@$(BIN)/python -m pytest -n auto --dist worksteal --cov --cov-report=term

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

conformance: $(STAMP)
	@$(BIN)/python -m tests.conformance

bench: $(STAMP)
	@$(BIN)/python -m bench $(if $(LARGE),--large)

collector:
	@collector/build.sh

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage*
