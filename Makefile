# `make ground-truth` and `make test` need only Python >= 3.11, git and make.
# On a GPU host: `make setup ACCELERATOR=gpu` once, before anything else.
ACCELERATOR ?= cpu
PYTHON ?= python3
UV_VERSION = 0.13.9

# Everything runs in the locked environment, whether or not it is activated.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: ground-truth test test-slow check setup repro release benchmark

ground-truth: .venv/ready
	dvc pull
	ptychodose verify
	ptychodose table

test: .venv/ready
	pytest

test-slow: .venv/ready
	pytest -m slow

check: .venv/ready
	ruff check .
	ruff format --check .
	mypy

repro: .venv/ready
	dvc repro

benchmark: .venv/ready
	python benchmarks/simulate.py
	python benchmarks/stitch.py

# A new reference study: what `dvc repro` made, verified, into the embedded store.
release: .venv/ready
	dvc status
	ptychodose verify
	dvc push

# A marker that says which accelerator the environment was made for, so that it is made once.
setup:
	rm -f .venv/ready
	$(MAKE) .venv/ready ACCELERATOR=$(ACCELERATOR)

.venv/ready: uv.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python >= 3.11 is needed; set PYTHON=")'
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	.uv/bin/uv sync --quiet --locked --extra $(ACCELERATOR) --python $(PYTHON)
	touch .venv/ready
