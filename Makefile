# Each target makes the environment it needs, in .venv, and again when pyproject.toml changes.
PYTHON ?= python3
BIN = .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: experiments test lint bench clean

experiments: .venv/lab
	$(BIN)/python -m experiments

test: .venv/dev
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

bench: .venv/dev
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv results

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "jaxdl needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/lab: pyproject.toml | $(BIN)/python
	@echo "Installing what the experiments need into .venv (a minute or two, about 1 GB) ..."
	@$(BIN)/python -m pip install --quiet --editable '.[lab]'
	@touch $@

.venv/dev: pyproject.toml | $(BIN)/python
	@echo "Installing what the tests need into .venv (a minute or two, about 1 GB) ..."
	@$(BIN)/python -m pip install --quiet --editable '.[lab,dev]'
	@touch $@ .venv/lab
