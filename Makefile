# `make ground-truth` and `make test` need only Python 3.11, 3.12 or 3.13, git and make.
# On a GPU host: `make setup ACCELERATOR=gpu` once, before anything else; the environment remembers it.
ACCELERATOR ?= $(or $(shell cat .venv/ready 2>/dev/null),cpu)
PYTHON ?= python3
UV_VERSION = 0.13.9

# Everything runs in the locked environment, whether or not it is activated.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: ground-truth test test-slow test-s3 check setup repro release benchmark remote

ground-truth: .venv/ready
	dvc pull
	ptychodose table
	ptychodose verify

test: .venv/ready
	pytest

test-slow: .venv/ready
	pytest -m slow

# Against real S3 servers, on this machine.
test-s3: .venv/ready
	pytest -m s3

check: .venv/ready
	ruff check .
	ruff format --check .
	mypy

repro: .venv/ready
	dvc repro

benchmark: .venv/ready
	python benchmarks/simulate.py
	python benchmarks/stitch.py
	python benchmarks/networks.py
	python benchmarks/fit.py
	python benchmarks/parity.py
	python benchmarks/verify.py

# A new reference study: what `dvc repro` made, verified, into the embedded store.
release: .venv/ready
	dvc status
	ptychodose verify
	dvc push

# `make remote URL=s3://BUCKET/PREFIX ENDPOINT=https://HOST` makes a bucket the default remote of this clone,
# `make remote` goes back to the embedded store. It writes no key: docs/remotes.md says where that goes.
remote: .venv/ready
ifdef URL
	dvc remote list | grep -q '^mine[[:space:]]' || dvc remote add --local mine $(URL)
	dvc remote modify --local mine url $(URL)
	$(if $(ENDPOINT),dvc remote modify --local mine endpointurl $(ENDPOINT))
	dvc remote modify --local mine verify true
	dvc remote default --local mine
	ptychodose remote check mine
else
	dvc remote default --local --unset
endif

setup:
	$(MAKE) --always-make .venv/ready ACCELERATOR=$(ACCELERATOR)

# The marker holds the accelerator the environment was made for.
.venv/ready: uv.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and \
	  "Python 3.11, 3.12 or 3.13 is needed; say which: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	.uv/bin/uv sync --quiet --locked --extra $(ACCELERATOR) --python $(PYTHON)
	echo $(ACCELERATOR) > .venv/ready
