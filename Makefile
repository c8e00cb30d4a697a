# `make demo` and `make test` do all their own set-up, on a fresh machine with Python and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TYPES := $(VENV)/types
LOWEST := $(VENV)/lowest
BENCH_DATA ?= ../shared

.PHONY: demo test test-slow lowest lint format types bench wheel-check sample clean help
.DEFAULT_GOAL := help

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(READY)  ## build the synthetic samples, load them, draw them, train on one
	rm -rf demo-output
	$(BIN)/temporal-pairs demo --out demo-output

test: $(READY)  ## run the tests, on up to four cores
	$(BIN)/pytest -m "not slow" --numprocesses auto --maxprocesses 4 --dist worksteal

test-slow: $(READY)  ## run the long fidelity tests
	$(BIN)/pytest -m slow --numprocesses auto --maxprocesses 4 --dist worksteal

# torch stays at the version of constraints.txt: its older ones lie on other indexes.
lowest:  ## run the tests of stores, formats, loading, commands and wheel with the lowest versions that pyproject.toml declares
	rm -rf $(LOWEST)
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt uv torch build setuptools
	echo 'torch; python_version < "3"' > $(LOWEST)/without-torch.txt
	$(LOWEST)/bin/uv pip compile --quiet --resolution lowest-direct --override $(LOWEST)/without-torch.txt \
	  --extra test --output-file $(LOWEST)/lowest.txt pyproject.toml
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST) --requirement $(LOWEST)/lowest.txt
	$(LOWEST)/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	$(LOWEST)/bin/pytest -m "not slow" --numprocesses auto --maxprocesses 4 --dist worksteal \
	  tests/test_store.py tests/test_loading.py tests/test_cli_stores.py tests/test_mots.py tests/test_youtube_vis.py \
	  tests/test_wheel.py

lint: $(READY) types  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# mypy and import-linter do not follow setuptools' mapped editable installs: they get a copy under the installed names.
types: $(READY)  ## check types, strictly, and the layers of docs/architecture.md, under the installed names
	rm -rf $(TYPES) && mkdir -p $(TYPES)
	cp -Rp temporalpairs kittimasks natsprites slowvae $(TYPES)
	cp -Rp builders loaders factorial report cli $(TYPES)/temporalpairs
	cd $(TYPES) && ../bin/mypy --config-file $(CURDIR)/pyproject.toml -p temporalpairs -p kittimasks -p natsprites -p slowvae
	cd $(TYPES) && PYTHONPATH=. ../bin/lint-imports --no-logo $(CURDIR)/pyproject.toml

bench: $(READY)  ## measure against a plain reimplementation of the reference
	$(BIN)/python benchmarks/kitti_masks.py --mots $(BENCH_DATA)/data/kitti_mots/instances_txt
	$(BIN)/python benchmarks/mask_folders.py --vos $(BENCH_DATA)/data/vos/osvos
	$(BIN)/python benchmarks/pairs.py --youtube-vis $(BENCH_DATA)/data/youtube_vis/train.json
	$(BIN)/python benchmarks/natural_sprites.py --youtube-vis $(BENCH_DATA)/data/youtube_vis/train.json
	$(BIN)/python benchmarks/factorial.py --cars $(BENCH_DATA)/data/cars3d
	$(BIN)/python benchmarks/training.py --mots $(BENCH_DATA)/data/kitti_mots/instances_txt \
	  --youtube-vis $(BENCH_DATA)/data/youtube_vis/train.json

# W002: both datasets cite the same paper, in files of the same content.
wheel-check: $(READY)  ## build sdist and wheel and check what is in them
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents --ignore W002 --toplevel kittimasks,natsprites,slowvae,temporalpairs dist/*.whl

sample: $(READY)  ## make the synthetic raw samples again
	rm -rf kittimasks/sample/instances_txt natsprites/sample/youtube_vis.json
	$(BIN)/python tools/kitti_masks_sample.py kittimasks/sample
	$(BIN)/python tools/natural_sprites_sample.py natsprites/sample

clean:  ## remove all that the other targets made
	rm -rf $(VENV) build dist demo-output *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
