# Everything runs from .venv, which any target makes on first use; no activation, nothing outside this folder.
PYTHON ?= python3
BIN := .venv/bin
BENCHMARKS := whole_sweep scaling profile_sweep all_pairs_cka extract

.PHONY: help demo test check bench zoo docs lock clean

help:  ## show this list
	@grep -E '^[a-z]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 10

demo: .venv/.stamp  ## train two small networks, stitch them at every cut, draw the figure
	$(BIN)/modelstitch demo

test: .venv/.stamp  ## run the tests, README and doc examples included
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

check: .venv/.stamp  ## lint, format, types, tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	@$(MAKE) --no-print-directory test

bench: .venv/.stamp  ## time everything against its floor, the naive way and published packages; about 20 minutes
	$(BIN)/python -m pip install -q -c requirements.lock -r benchmarks/requirements.txt
	$(BIN)/python -m pip install -q --no-deps torchvision==0.28.0
	set -e; for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py $(if $(OUT),--out $(OUT)/$$name.json); done

zoo: .venv/.stamp  ## test on networks of timm, torchvision and transformers, which it installs; about 20 minutes
	$(BIN)/python -m pip install -q -c requirements.lock -r tests/zoo/requirements.txt
	$(BIN)/python -m pip install -q --no-deps torchvision==0.28.0
	$(BIN)/python -m pytest tests/zoo

docs: .venv/.stamp  ## redraw the figures and tables of README and docs from results/
	$(BIN)/python docs/build.py

lock:  ## resolve pyproject.toml afresh into requirements.lock
	@$(PYTHON) tools/lock.py requirements.lock

clean:  ## remove .venv and what the tools cache
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.stamp: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "modelstitch needs Python 3.11 or newer; $(PYTHON) is older or missing. Try: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -r requirements.lock
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@
