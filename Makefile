PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install quickstart test coverage check wheel codecs studio docs

install: $(VENV)/installed

$(VENV)/installed: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -r requirements.txt
	$(BIN)/pip uninstall --yes --quiet data-science-types  # old stubs, in place of numpy's types
	touch $@

quickstart: install
	$(BIN)/python cli.py quickstart $(if $(MUSIC),--audio "$(MUSIC)")

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

coverage: install  # before Python 3.12 it takes half as long again
	COVERAGE_CORE=sysmon OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --cov --cov-report=term

check: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/pyright --pythonpath $(BIN)/python

wheel: install
	PYTHON=$(BIN)/python packaging/try_wheel.sh

codecs: install
	PYTHON=$(BIN)/python packaging/try_codecs.sh

studio: install
	PYTHON=$(BIN)/python packaging/try_studio.sh

docs: install
	PYTHON=$(BIN)/python packaging/build_docs.sh
