# `make demo` shows what the workbench does; `make test` proves that it works. Both install what they need.
PYTHON ?= python3
RUN := .venv/bin
# Where no bytecode is kept, each of the hundreds of processes of the tests compiles all that it imports anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo test lint types unit core notebooks peers lock clean

help:
	@echo "make demo       install, then run an A/B experiment on simulated models: no key, no network"
	@echo "make test       install, then lint, types, tests, the core alone and notebooks: all that CI runs"
	@echo "make lint types unit core notebooks   the parts of make test"
	@echo "make peers      install servers by others, against which the unit tests hold the providers too"
	@echo "make lock       resolve the dependencies again and write both constraints files"
	@echo "make clean      remove .venv, runs/ and the MLflow store of this folder"

install:
	@$(PYTHON) bootstrap.py

demo: install
	@$(RUN)/workbench demo

test: lint types unit core notebooks

lint: install
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .

types: install
	$(RUN)/mypy

unit: install
	$(RUN)/pytest -n 2 --dist loadscope -p no:nbval --cov --cov-report=term

# In an environment of its own, with no extra: what must work there, and what must say which extra it needs.
core:
	@$(PYTHON) bootstrap.py --core
	.venv-core/bin/python tests/core_only/check.py

# Executed again in fresh folders of runs, and compared with their committed outputs: three notebooks after each
# other beside three others, in a folder of their own, since an experiment is run by one process at a time.
notebooks: install
	@printf '%s\n' notebooks/*.ipynb | xargs -n 3 -P 2 sh -c 'folder=$$(mktemp -d) && trap "rm -rf $$folder" EXIT && \
	    WORKBENCH_RUNS_DIR="$$folder/runs" WORKBENCH_TRACKING_URI="sqlite:///$$folder/mlflow.db" \
	    $(RUN)/pytest --nbval "$$@" -p no:cacheprovider --no-header -q' sh

# Apart from .venv; without them, their tests are skipped.
peers: install
	@$(RUN)/python tests/peers/install.py

lock: install
	$(RUN)/python -m uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras --generate-hashes \
	    --no-emit-package torch --no-annotate --no-header --no-emit-index-url --quiet -o constraints.hashed.txt
	grep -E '^[a-z0-9]' constraints.hashed.txt | sed 's/ \\$$//' > constraints.txt

clean:
	rm -rf .venv .venv-core .peers runs mlflow.db* mlartifacts .coverage*
