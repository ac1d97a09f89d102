# patron: `make run` and `make test` are all a newcomer needs; each makes .venv first if it is not there.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# A core each, and whoever has nothing left to do takes over from the others.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help run test test-all lint benchmarks tensorboard clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: $(VENV)/run.stamp  ## train the GNN and every baseline on a made-up shop and print the table (5 minutes)
	$(BIN)/python scripts/benchmark.py name=quick 'split.test=["2023-01-01"]' seeds=[0] results=runs readme=null

test: lint  ## lint, type-check and run the tests (5 minutes on two cores)
	$(PYTEST) -m 'not slow'

test-all: $(VENV)/test.stamp  ## run every test, and print line and branch coverage (20 minutes)
	$(PYTEST) --cov --cov-report=term:skip-covered

lint: $(VENV)/test.stamp  ## lint and type-check only
	$(BIN)/ruff check .
	$(BIN)/mypy --num-workers auto

benchmarks: $(VENV)/test.stamp  ## all reported tables; ONLINE_RETAIL_II=<folder> adds the shop of that name
	$(BIN)/python scripts/benchmark.py experiment=shop force=true
	$(BIN)/python scripts/benchmark.py experiment=seed_regime force=true
	$(BIN)/python scripts/benchmark.py experiment=no_signal force=true
	$(BIN)/python scripts/benchmark.py experiment=regime force=true
	$(BIN)/python scripts/sweep.py force=true
	$(BIN)/python scripts/benchmark.py experiment=complete_journey_90d force=true
	$(BIN)/python scripts/benchmark.py experiment=cdnow_6m force=true
ifdef ONLINE_RETAIL_II
	$(BIN)/python scripts/benchmark.py experiment=online_retail_ii_91d data.path=$(ONLINE_RETAIL_II) force=true
	$(BIN)/python scripts/benchmark.py experiment=online_retail_ii_12m data.path=$(ONLINE_RETAIL_II) force=true
endif

tensorboard: $(VENV)/run.stamp  ## look at the runs
	$(BIN)/tensorboard --logdir runs

clean:  ## remove the environment and the caches, not the runs
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build

# torch goes first: with the pinned build there, nothing else can pull in another.
$(VENV)/run.stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@
