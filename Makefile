# The project's commands; `make` lists them. Another Python: PYTHON=python3.12 make test

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo
scale := smoke

# The stamp is written last: without it the virtual environment is unfinished, and is refreshed in place as it is
# after a change of pins. Only one of another Python, or one that does not start, is made anew.
STAMP := $(VENV)/.installed
WHO_AM_I := 'import os, sys; v = sys.version_info[:2]; \
	(3, 10) <= v <= (3, 13) and print("%d.%d" % v, os.path.realpath(sys.executable))'
WANTED := $(shell $(PYTHON) -c $(WHO_AM_I) 2>/dev/null)
ifneq ($(shell $(BIN)/python -c $(WHO_AM_I) 2>/dev/null),$(WANTED))
$(STAMP): always
CLEAR := --clear
endif

.DEFAULT_GOAL := help
.PHONY: help venv demo chain explore landmarks test lint types docs bench clean always

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(STAMP) ## make or refresh .venv from constraints.txt
demo: $(STAMP) ## fine-tune, find directions, and say where their page is
	$(BIN)/python train.py model=finetune_v9 experiment=demo paths.output_dir=$(DEMO)/finetune_v9
	$(BIN)/python find_vectors.py experiment=demo_vectors checkpoint=$(DEMO)/finetune_v9/model.safetensors \
		paths.output_dir=$(DEMO)/vectors
	@$(BIN)/python -c 'from pathlib import Path; page = Path("$(DEMO)/vectors/report.html").resolve(); \
		print("The page:", page, page.as_uri(), sep="\n  ")'

chain: $(STAMP) ## run every stage from pictures to directions: scale=smoke|mini|reference|celeba64
	$(BIN)/ohlora chain scale=$(scale) $(overrides)

explore: $(STAMP) ## edit faces by sliders, in the browser
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[explore]'
	$(BIN)/ohlora explore --browser

landmarks: ## make .venv-landmarks, which can label photographs (Python 3.10 to 3.12)
	@test -n '$(WANTED)' || { echo "error: PYTHON=$(PYTHON) is no Python 3.10 to 3.12: name one" >&2; exit 2; }
	'$(wordlist 2,99,$(WANTED))' -m venv .venv-landmarks
	.venv-landmarks/bin/python -m pip install --quiet --disable-pip-version-check \
		-c constraints-landmarks.txt -e '.[dev,landmarks]'

test: $(STAMP) ## run the tests, in a process a core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist worksteal

lint: $(STAMP) ## check style
	$(BIN)/python -m ruff check .

types: $(STAMP) ## check types
	$(BIN)/python -m mypy

docs: $(STAMP) ## build the site of the docs, into build/site (Python 3.11 or newer)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python -m mkdocs build --strict --quiet
	@echo "The site: build/site/index.html"

bench: $(STAMP) ## measure sampling and updates against a naive mode
	$(BIN)/python bench/bench.py

clean: ## remove caches; runs and .venv stay
	rm -rf build dist .hypothesis .pytest_cache .mypy_cache .ruff_cache
	find conf src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@test -n '$(WANTED)' || { \
		echo "error: PYTHON=$(PYTHON) is no Python 3.10 to 3.13: name one, such as PYTHON=python3.12 make venv" >&2; \
		exit 2; }
	@rm -f $@
	'$(wordlist 2,99,$(WANTED))' -m venv $(CLEAR) $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
