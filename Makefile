# make demo | test | check | format | simulate SEEDS=100000 : everything happens in .venv, made on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check format simulate clean

SEEDS ?= 10000

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable ".[uvloop]" --group dev
	touch $@

demo: $(VENV)/.ready
	$(BIN)/twingateway demo --seconds 30

test: $(VENV)/.ready
	$(BIN)/python -m pytest -n 3

simulate: $(VENV)/.ready
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.ready
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV)
