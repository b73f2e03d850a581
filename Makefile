# `make demo` and `make test` are all that a bare machine with Python 3.11 needs.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
LOWEST := .venv-lowest
GPU_PYTHON ?= python3
BENCHES := products eig spectrum sharpness critical surface memorization ranks startup
LONG := trace trace_peers sensitivity checks objectives scale
STUDIES := eig spectrum trace sharpness critical coverage surface memorization check scale populations sensitivity influence
GATED := sample_checkpoints/digits-mlp.pt sample_checkpoints/digits-resnet.pt
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help demo test test-lowest check gate lint types format docs samples bench bench-long studies gpu-check figures clean

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or later is needed"'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

$(VENV)/installed-bench: $(VENV)/installed
	$(PIP) install --quiet --constraint constraints.txt --editable '.[bench]'
	touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(PIP) install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

demo: $(VENV)/installed  ## Make the environment and measure a sample checkpoint
	$(BIN)/landscape eig sample_checkpoints/digits-mlp.pt

test: $(VENV)/installed lint types docs check gate  ## Make the environment and run every check

$(LOWEST)/installed: pyproject.toml constraints-lowest.txt
	python3.11 -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --constraint constraints-lowest.txt "$$(grep '^torch==' constraints-lowest.txt)"
	$(LOWEST)/bin/python -m pip install --quiet --constraint constraints-lowest.txt --editable '.[dev]'
	touch $@

test-lowest: $(LOWEST)/installed  ## Run the tests on the lowest versions that pyproject.toml allows
	$(LOWEST)/bin/python -m pytest --numprocesses auto

check: $(VENV)/installed  ## Run the tests
	$(BIN)/python -m pytest --numprocesses auto
	$(BIN)/python -m pytest --numprocesses auto --device strict tests/devices tests/operators tests/analyses

gate: $(VENV)/installed  ## Check that the samples are not sharper than their baseline
	$(BIN)/landscape check $(GATED)

lint: $(VENV)/installed  ## Check style and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/installed  ## Check types, and that the benchmarks name what there is
	$(BIN)/mypy
	$(BIN)/mypy --config-file benchmarks/mypy.ini benchmarks

format: $(VENV)/installed  ## Rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/installed-docs  ## Write the documentation to site/, with warnings as errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

figures: $(VENV)/installed  ## Draw the pictures of the documentation that need no training (about 10 minutes)
	$(BIN)/python docs/figures.py

samples: $(VENV)/installed  ## Train the sample checkpoints anew (about 4 minutes on 2 cores)
	$(BIN)/python sample_checkpoints/train.py

bench: $(VENV)/installed-bench  ## Measure speed and memory beside the known tools (a quarter of an hour)
	for name in $(BENCHES); do $(BIN)/python benchmarks/$$name.py || exit 1; done
	$(BIN)/python benchmarks/report.py

bench-long: $(VENV)/installed-bench  ## Measure the speed of large and many jobs (about 50 minutes)
	for name in products eig spectrum ranks; do $(BIN)/python benchmarks/$$name.py --long || exit 1; done
	for name in $(LONG); do $(BIN)/python benchmarks/$$name.py || exit 1; done
	$(BIN)/python benchmarks/report.py

studies: $(VENV)/installed-bench  ## Measure what methods find, and runs that take long (about 60 minutes)
	for name in $(STUDIES); do $(BIN)/python benchmarks/$$name.py --studies || exit 1; done
	$(BIN)/python benchmarks/loading.py
	$(BIN)/python benchmarks/gates.py
	$(BIN)/python benchmarks/report.py

gpu-check:  ## Check CUDA for right numbers, then measure its speed, in 8 minutes (GPU_PYTHON: one whose torch has CUDA)
	PYTHONPATH=.:cli $(GPU_PYTHON) benchmarks/gpu_check.py

clean:  ## Remove the environment and the caches
	rm -rf $(VENV) $(LOWEST) site .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build *.egg-info
