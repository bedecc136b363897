PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Matrices here are small: more threads wait for each other.
export OPENBLAS_NUM_THREADS ?= 1
# Hundreds of processes would compile the same modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check format install lock clean

demo: install  ## watch a policy learn from simulated users and beat the rule it replaces
	$(BIN)/bondhu demo

test: check  ## everything that must hold
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: install  ## formatting, lint, strict types, the rules of the house
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/house -q

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

install: $(VENV)/installed

$(VENV)/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

lock:  ## renew requirements.lock from pyproject.toml (needs uv)
	uv pip compile --universal --extra dev --extra peers --extra postgres --extra streams --extra telemetry --extra deep --extra envs --extra tracking --extra cluster --extra coding --generate-hashes --no-emit-index-url --no-header --python-version 3.11 pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
