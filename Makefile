# Sluicegate. `make` alone lists the targets; all need Python 3.11 or later and make, nothing else.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Folders with code of ours, as far as they hold any.
CODE := schemas engines pipeline src/sluicegate/__init__.py src/sluicegate/__main__.py \
        $(foreach folder,tests benchmarks examples,$(if $(shell find $(folder) -name '*.py' 2>/dev/null | head -1),$(folder)))
TYPED := $(filter tests benchmarks examples,$(CODE))

.DEFAULT_GOAL := help
.PHONY: help install demo check test fuzz mutants faults soak fmt schemas clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

install: $(STAMP) ## make the virtual environment and install the package in it

demo: install ## posts in, verdicts out, on this machine: broker, worker and CPU model (under 3 minutes)
	$(BIN)/sluicegate engine fetch-cpu
	$(BIN)/sluicegate demo

check: install ## format, lint, types, architecture, docstrings, generated files (under a minute)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy -p sluicegate
	@# Folder by folder: each has modules of its own at its root.
	set -e; for folder in $(TYPED); do $(BIN)/mypy $$folder; done
	$(BIN)/pytest -q tests/unit/test_architecture.py
	$(BIN)/interrogate -v --omit-covered-files schemas engines pipeline
	$(BIN)/python -m sluicegate.schemas.export --check

test: install ## everything, with Apache Kafka and the CPU model where they can be had; the end says what was skipped
	$(BIN)/pytest -q -ra

faults: install ## break everything under load and account for every post, on Apache Kafka (half an hour)
	PYTHONPATH=tests $(BIN)/python -m faults.run --report benchmarks/reports
	PYTHONPATH=tests $(BIN)/python -m faults.page

soak: install ## kill workers for most of an hour, then overload one; memory is followed (about 70 minutes, Linux)
	$(BIN)/python benchmarks/soak.py --minutes 47 --kills 44 --posts 310000 --overload-minutes 10

fuzz: install ## hostile input for everything that reads what others wrote: ten minutes, or FUZZ_SECONDS=60
	PYTHONPATH=tests $(BIN)/python -m fuzz.run

mutants: install ## remove one handling of failure after the other, and see the tests notice (about ten minutes)
	PYTHONPATH=tests $(BIN)/python -m mutants.run

fmt: install ## format, and fix what the linter can fix
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

schemas: install ## write the generated files again: JSON Schema, AsyncAPI, settings, table of metrics
	$(BIN)/python -m sluicegate.schemas.export
	$(BIN)/python -m sluicegate.pipeline.reference
	$(BIN)/sluicegate settings docs docs/settings.md

clean: ## remove the virtual environment, caches and what was fetched for tests
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cpu,dev]'
	@touch $@

$(BIN)/python:
	@set -e; found=; for python in $(PYTHON) python3; do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "make: Python 3.11 or later is needed, and neither '$(PYTHON)' nor 'python3' is one; try make PYTHON=/path/to/python" >&2; exit 1; \
	fi; \
	"$$found" -m venv $(VENV)
