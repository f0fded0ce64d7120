# What people type. Nothing but Python (3.11 or newer) and make is needed beforehand.
SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
ROOT ?= var/hackathon

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$p && break; done)

.PHONY: help start test check format clean

help: ## Say what can be typed here
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/'

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and none was found: install it, or name it: make PYTHON=/path/to/python"; exit 1; }
	@echo "Making an environment in $(VENV) (about 5 s)"
	@$(PYTHON) -m venv $(VENV) || { echo "It could not be made. On Debian and Ubuntu: apt-get install python3-venv"; rm -rf $(VENV); exit 1; }

$(VENV)/.lab: pyproject.toml | $(BIN)/python
	@echo "Installing JupyterLab and this package into $(VENV) (about 2 minutes, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[lab]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	@echo "Installing what tests need into $(VENV) (about 3 minutes, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,bench]'
	@touch $@ $(VENV)/.lab

start: $(VENV)/.lab ## Start the example hackathon and print a link for each person
	@echo "Starting JupyterLab on $(ROOT) (about 5 s)"
	@$(BIN)/jupyter collab start --notebooks examples/hackathon --root $(ROOT) $(ARGS)

test: $(VENV)/.test ## Run all tests, in a browser too
	@$(BIN)/python tests/run.py $(ARGS)

check: $(VENV)/.test ## Lint, types and import rules (about 1 minute)
	@$(BIN)/ruff format --check --quiet . || { echo "Run: make format"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/lint-imports --no-cache >/dev/null || { $(BIN)/lint-imports --no-cache; exit 1; }
	@$(BIN)/mypy
	@echo "check: all is well"

format: $(VENV)/.test ## Format the code and sort its imports
	@$(BIN)/ruff check --quiet --fix --exit-zero .
	@$(BIN)/ruff format --quiet .

clean: ## Remove the environment and everything that was built
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis var
