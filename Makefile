# Everything happens in $(VENV), built from the versions in requirements/pins.txt. `make help` lists the targets.

SHELL := /bin/sh
.DEFAULT_GOAL := venv
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# Settings for the command line, as in `make fuzz POLICY=v3 FOR=10m`.
PYTHON ?= python3 python3.13 python3.12 python3.11
PYTHONS ?= python3.11 python3.12 python3.13
POLICY ?= v1
FOR ?= 45s
EXPLORE ?= 10m
DB ?= findings.db
JOBS ?= 2
VENV ?= .venv

BIN := $(VENV)/bin
PINS := requirements/pins.txt
INSTALLED := $(VENV)/installed
SITE_TOOLS := $(VENV)/site-tools
SUPPORTED := import sys; (3, 11) <= sys.version_info[:2] <= (3, 13) or sys.exit(1)

# Targets of the benchmarks live beside what they run.
-include $(wildcard bench/*.mk)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: venv
venv: $(INSTALLED) ## build the virtual environment .venv (VENV=; after make clean, PYTHON= chooses the interpreter)

# An interrupted or outdated environment is completed in place; one whose Python is gone or unsupported is built anew.
$(INSTALLED): pyproject.toml $(PINS)
	@set -e; \
	if ! $(BIN)/python -c '$(SUPPORTED)' 2>/dev/null; then \
	    for python in $(PYTHON) none; do \
	        if "$$python" -c '$(SUPPORTED)' 2>/dev/null; then break; fi; \
	    done; \
	    if [ "$$python" = none ]; then \
	        echo 'No Python 3.11, 3.12 or 3.13 among: $(PYTHON). Install one, or name it with make PYTHON=/path/to/python.' >&2; \
	        exit 2; \
	    fi; \
	    echo "Building $(VENV) with $$("$$python" --version)"; \
	    "$$python" -m venv --clear $(VENV); \
	fi; \
	echo 'Installing the pinned packages into $(VENV)'; \
	$(BIN)/python -m pip install -qq --no-compile --constraint $(PINS) hatchling; \
	$(BIN)/python -m pip install -qq --no-compile --constraint $(PINS) --no-build-isolation --editable '.[dev]'
	@touch $@

.PHONY: fuzz
fuzz: venv ## fuzz the policy v1 for 45 seconds (POLICY=, FOR=, DB=) and show what was found
	@$(BIN)/shootdown fuzz --policy $(POLICY) --for $(FOR) --db $(DB) || { status=$$?; test $$status -eq 1 || exit $$status; }
	@$(MAKE) compiled-if-possible

.PHONY: test
test: lint types layers compiled-if-possible ## all checks: lint, types, layers, then the tests (JOBS= processes)
	@$(BIN)/pytest -q --numprocesses $(JOBS) --dist loadgroup --ignore tests/interpreted
	@SHOOTDOWN_INTERPRETED=1 $(BIN)/pytest -q --numprocesses $(JOBS) --dist loadgroup tests/interpreted

# Left out: the tests of the long searches (conformance, minimizer, proofs, table), of the benches and of the wheel.
LONG := $(foreach word,conform minimize prove table bench wheel,--ignore-glob='tests/*test_*$(word)*')

.PHONY: test-fast
test-fast: venv ## the fast part of the tests
	@$(BIN)/pytest -q --numprocesses $(JOBS) --dist loadgroup $(LONG)

# The compiled form is of one Python only, so that the others run the sources.
.PHONY: test-pythons
test-pythons: ## the fast tests under each Python that is there (PYTHONS=), each in its .venv-3.X
	@set -e; ran=; for python in $(PYTHONS); do \
	    if minor=$$("$$python" -c '$(SUPPORTED); print("3.%d" % sys.version_info[1])' 2>/dev/null); then \
	        echo "Python $$minor"; \
	        $(MAKE) test-fast VENV=.venv-$$minor PYTHON="$$python"; \
	        ran="$$ran $$minor"; \
	    else \
	        echo "$$python is not there, or is none that is supported; it is left out." >&2; \
	    fi; \
	done; \
	if [ -z "$$ran" ]; then echo 'None of the Pythons is there: $(PYTHONS).' >&2; exit 2; fi; \
	echo "The fast tests pass under Python$$ran."

# One round of the property tests, which Hypothesis marks, from one seed.
explore = echo "Examples from the seed $(1): make explore SEED=$(1) tries them again."; \
    options="-q --exitfirst --numprocesses $(JOBS) -m hypothesis --hypothesis-profile explore --hypothesis-seed $(1)"; \
    $(BIN)/pytest $$options --ignore tests/interpreted && SHOOTDOWN_INTERPRETED=1 $(BIN)/pytest $$options tests/interpreted

# The first property that fails ends it. timeout ends with 124 when the time is over.
.PHONY: explore
explore: compiled-if-possible ## the property tests with other examples, again and again for a time (EXPLORE=), or of one seed (SEED=)
ifdef SEED
	@$(call explore,$(SEED))
else
	@timeout --signal INT $(EXPLORE) sh -c 'while seed=$$(od -An -N4 -tu4 /dev/urandom | tr -d " "); do { $(call explore,$$seed); } || exit 1; done' \
	    || { status=$$?; test $$status -eq 124 && echo "No property has failed in $(EXPLORE)." || exit $$status; }
endif

.PHONY: lint
lint: venv ## ruff: lint and formatting
	@$(BIN)/ruff check --output-format concise
	@$(BIN)/ruff format --check || { echo 'Not formatted: make format does it.' >&2; exit 1; }

.PHONY: format
format: venv ## let ruff format the code and fix what it can
	@$(BIN)/ruff check --quiet --fix --exit-zero
	@$(BIN)/ruff format --quiet

.PHONY: types
types: venv ## mypy, strict
	@$(BIN)/mypy

.PHONY: layers
layers: venv ## import-linter: an import runs down only
	@report=$$($(BIN)/lint-imports --no-logo) || { echo "$$report"; exit 1; }; echo "$$report" | tail -n 1

# The sources that are compiled; shootdown/form.py runs them as they are once they are newer than the compiled form.
SOURCES := $(wildcard $(addsuffix /*.py,contract fuzz fuzz/* machine machine/* mm optimized optimized/* prove reference run run/* scenario))

.PHONY: compile
compile: .compiled/sources.txt ## compile the models: twice as fast and more, from then on (a minute; needs a C compiler)

.compiled/sources.txt: $(INSTALLED) $(SOURCES) building/compile.py
	@$(BIN)/python -m building.compile .compiled

# Without a compiler, and in whatever way compiling fails, everything works interpreted, and says so.
.PHONY: compiled-if-possible
compiled-if-possible: venv
	@if command -v cc >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null; then \
	    $(MAKE) compile || echo 'The models could not be compiled; they run interpreted.' >&2; \
	else \
	    echo 'There is no C compiler: the models run interpreted, at about half the speed.' >&2; \
	fi

.PHONY: trees
trees: venv ## kernel trees for the tests into .trees/, from Debian's linux-source packages (several minutes; needs apt)
	@$(BIN)/python -m building.trees .trees

.PHONY: wheel
wheel: venv ## build a wheel into dist/
	@$(BIN)/python -m build --wheel --no-isolation

# What builds the site comes with its first build, not with .venv.
.PHONY: docs
docs: $(SITE_TOOLS) ## build the documentation as a site into site/; a broken link is an error
	@# Not --quiet: a warning that is not printed is no error either.
	@$(BIN)/python -m mkdocs build --strict
	@echo 'Wrote site/index.html'

$(SITE_TOOLS): $(INSTALLED)
	@echo 'Installing what builds the site into .venv'
	@$(BIN)/python -m pip install -qq --no-compile --constraint $(PINS) --no-build-isolation --editable '.[docs]'
	@touch $@

# Runs outside .venv, which the old pins may no longer be able to build.
.PHONY: pins
pins: ## resolve requirements/pins.txt anew (PYTHONS= one interpreter each of 3.11, 3.12, 3.13)
	@$(firstword $(PYTHONS)) requirements/resolve.py $(PYTHONS)

.PHONY: clean
clean: ## remove .venv, dist and caches; databases stay
	@rm -rf .venv .venv-3.* .compiled dist site .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
