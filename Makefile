# Two commands for a newcomer: `make quickstart` and `make test`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Tests run on this many processes; two suit two cores.
WORKERS ?= 2

.PHONY: quickstart test test-parity test-slow benchmarks mini-study lint clean

# A stamp per set of extras: installing again only when setup.py changed.
$(VENV)/.installed-%: setup.py
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing flan_jax[$*] into $(VENV) (about two minutes the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$*]'
	@touch $@

quickstart: $(VENV)/.installed-test
	@$(BIN)/flan-jax quickstart

test: $(VENV)/.installed-test lint
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not parity and not large" --doctest-modules tests flan_jax

lint: $(VENV)/.installed-test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

# torch is pinned to the release whose CPU build suffices for comparisons.
test-parity: $(VENV)/.installed-test
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'torch==2.13.0' -e '.[hf]'
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m parity tests

# Minutes each: dozens of killed processes, ten thousands of bad rows, a real browser, and the TPU
# compiler where libtpu is installed (pip install -e .[aot]).
test-slow: $(VENV)/.installed-test
	@$(BIN)/python -m pytest -m "large and not parity" tests

# In full, into docs/performance.md: three quarters of an hour on two idle cores.
benchmarks: $(VENV)/.installed-test
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'torch==2.13.0' -e '.[hf]'
	@$(BIN)/python benchmarks

# docs/studies/mini from nothing: seven sweeps, then its files, figures and tables.
mini-study: $(VENV)/.installed-test
	@$(BIN)/python docs/studies/mini/regenerate.py --out runs/mini_study

clean:
	rm -rf $(VENV) build dist *.egg-info quickstart
