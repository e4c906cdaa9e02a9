# What the project can do, one line each: `make`, `make demo`, `make test`.

RECENT := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c '$(RECENT)' > /dev/null 2>&1 && command -v $$p && break; done)
VENV := .venv
RUN := $(VENV)/bin/python

help:
	@echo "make demo      set up .venv, then load, relocate and attach an object, and print ten events"
	@echo "make test      set up everything and run every check: host, and distribution kernels in a VM"
	@echo "make lint      ruff, mypy, import floors"
	@echo "make bench     print the ratios of the benchmarks"
	@echo "make fuzz      look for inputs that do harm, for a minute; SECONDS=600 for ten"
	@echo "make testdata  rebuild the BPF objects in testdata (needs clang-14 and clang-19)"
	@echo "make setup     .venv and, as root on Debian, the system packages of the tests"
	@echo "make clean     remove what was built, .venv included"

# The virtual environment; made again when the dependencies change.
$(VENV)/ready: pyproject.toml
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(RECENT)' || \
		{ echo "Python 3.11 or newer is needed; say where it is: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV) > /dev/null 2>&1 || \
		{ test "$$(id -u)" = 0 && echo "installing python3-venv" && apt-get install -y -q python3-venv > /dev/null && \
		  $(PYTHON) -m venv --clear $(VENV); } || \
		{ echo "no virtual environment can be made. On Debian: apt-get install python3-venv" >&2; exit 1; }
	@$(RUN) -m pip install -q --upgrade pip && $(RUN) -m pip install -q -e . --group dev || \
		{ echo "pip could not install the packages that pyproject.toml names (see above): is there a network?" >&2; exit 1; }
	@touch $@

setup: $(VENV)/ready
	@$(RUN) tests/system.py

demo: $(VENV)/ready
	@$(RUN) examples/demo.py

test: setup
	@$(RUN) tests/run.py

lint: $(VENV)/ready
	@$(RUN) tests/run.py lint format types floors

bench: $(VENV)/ready
	@$(RUN) -m bench

SECONDS ?= 60
fuzz: $(VENV)/ready
	@$(RUN) -m pip install -q --group fuzz
	@$(RUN) -m tests.fuzz --seconds $(SECONDS)

testdata:
	$(MAKE) -C testdata

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help setup demo test lint bench fuzz testdata clean
