# The vocabulary of this project. Every target works on a fresh Debian 12, as root or with sudo.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
LISTEN ?= 127.0.0.1:8470
export PIP_DISABLE_PIP_VERSION_CHECK := 1

include demo/build.mk

.PHONY: demo-objects
demo-objects: $(DEMO_OBJECTS)

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# ---- what the machine must have ---------------------------------------------------------------------------------

.PHONY: packages-run packages-test
packages-run:
	@./tools/packages.sh run
packages-test:
	@./tools/packages.sh run test

# ---- environments -------------------------------------------------------------------------------------------------

$(BIN)/uv: requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "bpf-atlas needs Python 3.11 or newer"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	@touch $@

build/setup.stamp: requirements/run.txt pyproject.toml $(BIN)/uv
	@mkdir -p build
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/run.txt
	@./tools/link.sh $(VENV)
	@touch $@

build/dev.stamp: requirements/dev.txt build/setup.stamp
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@touch $@

.PHONY: help setup run test test-fast lint fmt bench bench-month screenshots lock image clean
setup: packages-run ## the environment: .venv/bin/bpf-atlas works afterwards
	@$(MAKE) --no-print-directory build/setup.stamp demo-objects byte-code

# Byte code is made here, so that commands start quickly also where Python may not write it.
.PHONY: byte-code
byte-code:
	@$(BIN)/python -m compileall -q app demo

run: setup ## everything from a fresh checkout to a running dashboard (DEMO=1: with the demo, EDITS=1: with edits)
	$(SUDO) $(BIN)/bpf-atlas serve --listen $(LISTEN) $(if $(DEMO),--demo) $(if $(EDITS),--allow-edits)

dev: packages-test
	@$(MAKE) --no-print-directory build/dev.stamp demo-objects byte-code
.PHONY: dev

test: dev ## all tests, on the real kernel
	$(SUDO) ./tools/test.sh

test-fast: dev ## the tests that need neither browser nor container, nor more than a moment
	$(SUDO) $(BIN)/python -m pytest -q -m "not slow and not browser and not container"

lint: dev ## style, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: dev ## put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: dev ## the benchmark table: ratios, side by side in one run; build/bench.json
	$(SUDO) $(BIN)/python -m bench

bench-month: dev ## a simulated month of 60 maps, a snapshot of each a minute when it changed (about 15 minutes)
	$(SUDO) $(BIN)/python -m bench.month

screenshots: dev ## pictures of the screens, with the demo's data, into docs/img
	$(SUDO) $(BIN)/python tools/screenshots.py

lock: $(BIN)/uv ## make the locked requirements anew from pyproject.toml
	$(BIN)/uv pip compile -q --generate-hashes --no-header --no-annotate --universal --python-version 3.11 pyproject.toml -o requirements/run.txt
	$(BIN)/uv pip compile -q --generate-hashes --no-header --no-annotate --universal --python-version 3.11 pyproject.toml --group dev -o requirements/dev.txt
	$(BIN)/uv pip compile -q --generate-hashes --no-header --no-annotate --universal --python-version 3.11 pyproject.toml --extra parquet -o requirements/parquet.txt
	$(BIN)/uv pip compile -q --generate-hashes --no-header --no-annotate --universal --python-version 3.11 pyproject.toml --extra oidc -o requirements/oidc.txt
	$(BIN)/uv pip compile -q --generate-hashes --no-header --no-annotate --universal --python-version 3.11 pyproject.toml --extra postgresql -o requirements/postgresql.txt

image: packages-test ## the container image, by buildah, from a base of Debian's own packages
	$(SUDO) ./tools/image.sh

clean: ## remove what was built, and the environment
	rm -rf build dist $(VENV)
