# Everything runs from .venv, which any target makes on first use; no activation, nothing outside this folder.
PYTHON ?= python3
BIN := .venv/bin
BENCHMARKS := whole_sweep scaling profile_sweep all_pairs_cka extract
ZOO := PYTHONPATH=.zoo $(BIN)/python

.PHONY: help demo test check bench zoo zoo-quarter docs lock clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 14

demo: .venv/.stamp  ## train two small networks, stitch them at every cut, draw the figure
	$(BIN)/modelstitch demo

test: .venv/.stamp  ## run the tests, README and doc examples included
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

check: .venv/.stamp  ## lint, format, types, a quarter of the networks of others, tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	@$(MAKE) --no-print-directory zoo-quarter
	@$(MAKE) --no-print-directory test

bench: .venv/.stamp .zoo/.stamp  ## time everything against its floor, the naive way and published packages; about 20 minutes
	$(BIN)/python -m pip install -q -c requirements.lock -r benchmarks/requirements.txt
	set -e; for name in $(BENCHMARKS); do $(ZOO) benchmarks/$$name.py $(if $(OUT),--out $(OUT)/$$name.json); done

zoo: .zoo/.stamp  ## test on networks of timm, torchvision and transformers; about 20 minutes
	$(ZOO) -m pytest tests/zoo

zoo-quarter: .zoo/.stamp  ## the same on a quarter of these networks; about two minutes
	$(ZOO) -m pytest tests/zoo/test_networks.py -m quarter

docs: .venv/.stamp  ## redraw the figures and tables of README and docs from results/
	$(BIN)/python docs/build.py

lock:  ## resolve pyproject.toml afresh into requirements.lock
	@$(PYTHON) tools/lock.py requirements.lock

clean:  ## remove .venv, .zoo and what the tools cache
	rm -rf .venv .zoo .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.stamp: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "modelstitch needs Python 3.11 or newer; $(PYTHON) is older or missing. Try: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -r requirements.lock
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

# Beside .venv and not in it: on a CPU, torchvision breaks the imports of other packages that look for it.
.zoo/.stamp: .venv/.stamp tests/zoo/requirements.txt
	rm -rf .zoo
	$(BIN)/python -m pip install -q --no-deps --target .zoo -r tests/zoo/requirements.txt
	@touch $@
