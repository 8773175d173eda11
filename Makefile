# Everything that the project does, by name:
#
#   make book          build the course, warnings as errors, and say where to open it
#   make serve         serve the built course at http://localhost:8000
#   make test          unit tests, every notebook strictly, then the built pages
#   make lab           open the notebooks in JupyterLab
#   make notebooks     execute notebooks in place: make notebooks N=book/02_game.ipynb
#   make first-cells   bring the notebooks' first cell in line with _config.yml
#   make mutants       plant faults in a copy of the library; every one must be caught
#   make bench         measure the trainer's speed against other loops
#   make lint          ruff, without changing anything
#   make requirements  pin every version anew, from pyproject.toml
#   make clean         remove what was built (not the environment)
#
# A fresh machine needs Python >= 3.11 and make. The environment lies in .venv;
# `make PYTHON=/path/to/python book` chooses the interpreter it is made from.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
BOOK := _build/html/index.html
LOGS := _build/logs

# A test process for each core, at most eight: each needs about 1 GB.
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); echo $$((n > 8 ? 8 : n)))
NOTEBOOKS := $(wildcard book/*.ipynb book/solutions/*.ipynb)
N ?= $(NOTEBOOKS)
PORT ?= 8000

# The order of a sum depends on the number of threads, and with it the last digits
# that the notebooks show.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

.PHONY: help install book serve test test-unit test-notebooks test-book lab notebooks \
        first-cells mutants bench lint requirements clean

help:
	@sed -n 's/^#   \(make .*\)/  \1/p' Makefile

# --- environment -------------------------------------------------------------

install: $(INSTALLED)

$(INSTALLED): requirements.txt pyproject.toml .ci/install
	@PYTHON='$(PYTHON)' bash .ci/install $(VENV)
	@touch $@

# --- book --------------------------------------------------------------------

book: $(BOOK)
	@echo "The course is built. Open file://$(CURDIR)/$(BOOK), or run: make serve"

BOOK_SOURCES := _config.yml _toc.yml $(shell find book gantut -type f \
	! -name '*.pyc' ! -path '*/.*' ! -path '*/__pycache__/*' 2>/dev/null | sed 's/ /\\ /g')

# --all: without it, unchanged pages are not read again, and -W passes over
# their warnings.
# The old pages go first, for a page that was renamed would stay among them.
$(BOOK): $(INSTALLED) $(BOOK_SOURCES)
	rm -rf _build/html
	$(VENV)/bin/jupyter-book build . -W --keep-going --all

serve: $(BOOK)
	$(PY) -m http.server --directory _build/html $(PORT)

# --- tests -------------------------------------------------------------------

test: test-unit test-notebooks test-book

test-unit: $(INSTALLED)
	$(PY) -m pytest tests --ignore=tests/book -n $(WORKERS) --dist worksteal --durations 10

# loadscope keeps the cells of a notebook in one process, in their order.
test-notebooks: $(INSTALLED)
	$(PY) -m pytest --nbval book --nbval-current-env \
	  --nbval-sanitize-with tests/nbval_sanitize.cfg \
	  -n $(WORKERS) --dist loadscope --durations 10

test-book: $(BOOK)
	$(PY) -m pytest tests/book -n $(WORKERS) --dist worksteal --durations 5

# --- work on the project -------------------------------------------------------

lab: $(INSTALLED)
	$(PY) -m jupyterlab book

notebooks: $(INSTALLED)
	$(PY) tests/tools/execute.py $(N)

first-cells: $(INSTALLED)
	$(PY) tests/tools/execute.py --first-cell-only $(NOTEBOOKS)

mutants: $(INSTALLED)
	$(PY) -m tests.mutants

bench: $(INSTALLED)
	$(PY) -m tests.benchmarks

lint: $(INSTALLED)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

# No index address is written, so the file works with any mirror.
requirements: $(INSTALLED)
	$(PY) -m uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras \
	  --upgrade --no-annotate --no-emit-index-url --custom-compile-command 'make requirements' \
	  --output-file requirements.txt

clean:
	rm -rf _build dist .pytest_cache .ruff_cache
