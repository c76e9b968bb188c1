# Two commands on a fresh machine: `make demo` and `make test`. Needs only Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test faults lint format conformance bench soak peers fuzz collector clean
.DEFAULT_GOAL := help

help:
	@echo "make demo       the refund story, end to end"
	@echo "make test       all tests but those of make faults (COVERAGE=1 counts lines)"
	@echo "make faults     minutes of faults, Collectors and other clients (needs Go, Node, and root for full disks)"
	@echo "make conformance  breaks each rule of receiver/README.md: its tests have to notice"
	@echo "make lint       ruff format, ruff check, mypy"
	@echo "make bench      our speed beside a floor (LARGE=1 adds 10 million events)"
	@echo "make soak       ten minutes under load, and a verdict (SECONDS=60 for one)"
	@echo "make peers      install MLflow and Phoenix for a row of make bench (PEERS=folder)"
	@echo "make fuzz       crafted bytes against the decoders (SECONDS=60)"
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
	@$(BIN)/python -m pytest -m "not (fault or long)" -n auto --dist worksteal $(if $(COVERAGE),--cov --cov-report=term)

faults: $(STAMP)
	@$(BIN)/python -m pytest -m "fault or long" -n 3 --dist worksteal --durations=0 --durations-min=10

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
	@$(BIN)/python -m bench $(if $(LARGE),--large) $(if $(PEERS),--peers $(PEERS))

soak: $(STAMP)
	@$(BIN)/python -m bench.soak $(if $(SECONDS),--seconds $(SECONDS))

peers: $(STAMP)
	@$(if $(PEERS),PEERS=$(PEERS)) $(BIN)/python -m bench.peers

# A package that few need, and that not every Python has a wheel of: without it, hypothesis.
fuzz: $(STAMP)
	@if command -v uv >/dev/null 2>&1; then \
	  uv pip install --quiet --python $(BIN)/python --group fuzz; \
	else \
	  $(BIN)/python -m pip install --quiet --group fuzz; \
	fi || echo "atheris cannot be installed here"
	@$(BIN)/python -m fuzz --seconds $(or $(SECONDS),60)

collector:
	@collector/build.sh

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage*
