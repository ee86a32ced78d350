# Everything a contributor or a new user starts. `make help` lists the targets.

# The first interpreter that is new enough; PYTHON=/path/to/python3.12 chooses another.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RUN ?= runs/demo.yaml
PYTEST ?=
RAY_ADDRESS ?= http://127.0.0.1:8265

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-unit test-faults test-wheel lint type audit serve bench submit clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## make .venv with everything in it; does nothing the second time

# torch first, from the constraints: else pip may fetch a newer one together with several GB of CUDA packages.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Catena needs Python 3.11 or newer: install one, or run make PYTHON=/path/to/python3" >&2; exit 2; }
	@echo "installing into $(VENV): about 180 packages, 3 GB, one to three minutes" >&2
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: setup  ## the whole job on the built-in corpus, then the table of results
	$(BIN)/catena run runs/demo.yaml

# Those with Ray are in two processes, each with a local cluster of its own, whatever the cores: a third would take
# 2 GB more and the time of tests that start and kill processes. tests/conftest.py says which files come first.
test: setup  ## the tests: those without Ray on all cores, then those with it on two local clusters
	$(BIN)/python -m pytest tests/unit -n auto --dist loadscope $(PYTEST)
	$(BIN)/python -m pytest tests/serving tests/ray -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST)

test-faults: setup  ## killed processes, lost machines, upgrades under load; those of a GPU where there is one
	$(BIN)/python -m pytest tests/faults tests/gpu -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST)

test-wheel: setup  ## build the wheel and import every module from it
	$(BIN)/python -m pytest tests/packaging $(PYTEST)

test-unit: setup  ## the tests without Ray
	$(BIN)/python -m pytest tests/unit -n auto --dist loadscope $(PYTEST)

lint: setup  ## style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: setup  ## types
	$(BIN)/mypy

# pip-audit has an environment of its own, so that its packages do not change the tested ones.
audit: setup  ## known vulnerabilities of the packages in constraints.txt
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/pip install --quiet 'pip-audit>=2.10'
	.ci/audit $(VENV)/audit/bin/pip-audit

serve: setup  ## search and links of RUN over HTTP on 127.0.0.1:8000 (default runs/demo.yaml)
	$(BIN)/catena serve $(RUN)

bench: setup  ## measure Catena beside other tools
	$(BIN)/catena bench

submit: setup  ## embed RUN as a job on the Ray cluster at RAY_ADDRESS
	$(BIN)/ray job submit --address $(RAY_ADDRESS) --working-dir . --runtime-env runtime_env.yaml -- python -m ray_apps.embed $(RUN)

clean:  ## remove the environment, every artifact and every cache
	rm -rf $(VENV) workspace build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
