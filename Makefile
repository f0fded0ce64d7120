# What people type. Nothing but Python (3.11 or newer) and make is needed beforehand.
SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
ROOT ?= var/hackathon

# The first Python that is new enough, whatever it is called. PYTHON=/path/to/python names one.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

# An environment is up to date when it was installed for pyproject.toml as it is; by content, since a
# checkout gives files new times.
WANTED = $$($(BIN)/python -c 'import hashlib; print(hashlib.sha256(open("pyproject.toml", "rb").read()).hexdigest())')
INSTALL = $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input --editable

.PHONY: help start test check format clean environment lab tests

help: ## Say what can be typed here
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1     \2/'

environment:
	@if [ -x $(BIN)/python ] && $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
		$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip --upgrade >/dev/null; \
	else \
		if [ -z "$(PYTHON)" ]; then \
			echo "Python 3.11 or newer is needed and was not found. Install it, or say where it is: make PYTHON=/path/to/python"; \
			exit 1; \
		fi; \
		echo "Making an environment in $(VENV) (about 5 s)"; \
		rm -rf $(VENV); \
		$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
			echo "The environment could not be made. On Debian and Ubuntu, first: sudo apt-get install python3-venv"; exit 1; }; \
	fi

lab: environment
	@wanted=$(WANTED); [ "$$(cat $(VENV)/.lab 2>/dev/null)" = "$$wanted" ] || { \
		echo "Installing JupyterLab and this package into $(VENV) (about 2 minutes, once)"; \
		$(INSTALL) '.[lab]' || { echo "The installation failed; what pip says is above. Try again with: make start"; exit 1; }; \
		echo "$$wanted" > $(VENV)/.lab; }

tests: environment
	@wanted=$(WANTED); [ "$$(cat $(VENV)/.test 2>/dev/null)" = "$$wanted" ] || { \
		echo "Installing what tests need into $(VENV) (about 3 minutes, once)"; \
		$(INSTALL) '.[test,bench]' || { echo "The installation failed; what pip says is above. Try again with: make test"; exit 1; }; \
		echo "$$wanted" > $(VENV)/.test; cp $(VENV)/.test $(VENV)/.lab; }

start: lab ## Start the example hackathon and print a link for each person; ARGS="--people 3" and so on
	@echo "Starting JupyterLab on $(ROOT) (about 5 s)"
	@$(BIN)/jupyter collab start --notebooks examples/hackathon --root $(ROOT) $(ARGS)

test: tests ## Run all tests, in a real browser too (about 25 minutes); ARGS go to pytest
	@$(BIN)/python tests/run.py $(ARGS)

check: tests ## Style, import rules and types (about half a minute)
	@echo "Style"; $(BIN)/ruff format --check --quiet . || { echo "Not formatted as agreed. Run: make format"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@echo "Import rules"; $(BIN)/lint-imports --no-cache >$(VENV)/imports.txt || { cat $(VENV)/imports.txt; exit 1; }
	@echo "Types"; $(BIN)/mypy
	@echo "check: all is well"

format: tests ## Format the code and sort its imports
	@$(BIN)/ruff check --quiet --fix --exit-zero .
	@$(BIN)/ruff format --quiet .

clean: ## Remove the environment, caches and builds; var/, with what people wrote, stays
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
