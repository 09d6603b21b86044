# One command per job. Everything that they need comes from PyPI, npm and Debian, by package name and pinned version,
# into .venv and local/node_modules; see local/prerequisites.sh for the little that the system itself must have
# (and local/browser.sh, for the end-to-end tests alone).
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
# A stamp is named after what it stands for, so a checkout that changes the pins is set up again, and only then.
hash = $(shell cat $(1) | sha256sum | cut -c1-16)
PYTHON_STAMP := $(VENV)/.installed-$(call hash,tests/requirements.txt pyproject.toml)
BENCH_STAMP := $(VENV)/.bench-installed-$(call hash,bench/requirements.txt)
NODE_STAMP := local/node_modules/.installed-$(call hash,local/package.json local/package-lock.json)

ARGS ?=
RUNS ?= 3000

.PHONY: help setup demo up bench bench-quick test lint types templates pins unit integration e2e browser soak \
  requirements audit sbom clean

help:
	@echo "make demo          protect real files on this machine, ruin them, and bring them back, byte by byte"
	@echo "make up            run the app and all that it needs, until Ctrl-C; ARGS=\"--data DIR --port-base N\""
	@echo "make test          lint, types, templates, pins, unit, integration and e2e; each is a target of its own"
	@echo "make soak          many more runs of the model that proves restores; RUNS=3000 of them, at random"
	@echo "make bench         measure beside rclone, azcopy and the SDK, and write bench/RESULTS.md; an hour or two"
	@echo "make bench-quick   the same at small sizes, printed only; a few minutes, for every change"
	@echo "make templates     the templates and GitHub's workflows by checkov"
	@echo "make pins          install what is deployed for each Python, to see that its pins and hashes are right"
	@echo "make audit         the pinned packages by pip-audit, which asks a service for known weaknesses"
	@echo "make sbom          what is deployed, as CycloneDX: build/sbom.json"
	@echo "make requirements  pin the dependencies of pyproject.toml anew; UPGRADE=1 takes the newest"
	@echo "make clean         remove what setup installed; PYTHON=python3.12 then chooses another Python"

setup: $(PYTHON_STAMP) $(NODE_STAMP)

$(PYTHON_STAMP):
	@python=$$(local/prerequisites.sh $(PYTHON)) && \
	  { test -x $(BIN)/pip || "$$python" -m venv --clear $(VENV); }
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.installed-* && touch $@

# Node's own commands are links to scripts that look for `node` on the PATH.
$(NODE_STAMP): | $(PYTHON_STAMP)
	cd local && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --no-audit --no-fund --loglevel=error
	@touch $@

demo: setup
	$(BIN)/python -m local.demo $(ARGS)

up: setup
	exec $(BIN)/python -m local up $(ARGS)

# Peers that nothing else needs.
$(BENCH_STAMP): | $(PYTHON_STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r bench/requirements.txt
	@rm -f $(VENV)/.bench-installed-* && touch $@

bench: setup $(BENCH_STAMP)
	$(BIN)/python -m bench run $(ARGS)

bench-quick: setup $(BENCH_STAMP)
	$(BIN)/python -m bench quick $(ARGS)

# What keeps one core busy, or the network, is done two at a time; what each says is shown when it has ended.
test:
	$(MAKE) --jobs 2 --output-sync=target setup lint types templates pins browser unit
	$(MAKE) --jobs 1 integration e2e

lint: | $(PYTHON_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: | $(PYTHON_STAMP)
	$(BIN)/mypy

# A template that it cannot parse it would pass over in silence, but for that word.
templates: .venv-audit-checkov/.installed
	.venv-audit-checkov/bin/checkov --config-file infra/.checkov.yaml | \
	  awk '{ print } /Parsing errors:/ { failed = 1 } END { exit failed }'

# Installed for real, into folders that nothing runs from: a dry run compares no hashes.
pins: | $(PYTHON_STAMP)
	rm -rf build/pins
	for version in 3.11 3.12 3.13; do \
	  $(BIN)/uv pip install --quiet --require-hashes --only-binary :all: --python-version "$$version" \
	    --python-platform x86_64-manylinux_2_28 --target "build/pins/$$version" -r requirements.txt; done
	rm -rf build/pins

e2e: | browser

# After what the system's packages are installed by first.
browser: | $(PYTHON_STAMP)
	@local/browser.sh

# More at a time than there are cores, each with a stack of its own: they wait for Azurite as much as they work.
unit: WORKERS := 2
integration e2e: WORKERS := 3
unit integration e2e: setup
	$(BIN)/python -m pytest tests/$@ --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

soak: setup
	$(BIN)/python -m tests.model --workers "$$(nproc)" --runs $(RUNS) --steps 20 50 100 $(ARGS)

# A pin stays as it is until pyproject.toml rules it out, or UPGRADE is set.
COMPILE = UV_CUSTOM_COMPILE_COMMAND="make requirements" $(BIN)/uv pip compile --quiet --universal --generate-hashes \
  --python-version 3.11 --no-emit-index-url --no-emit-find-links $(if $(UPGRADE),--upgrade)

requirements: setup
	$(COMPILE) pyproject.toml --output-file requirements.txt
	$(COMPILE) pyproject.toml --extra dev --constraint requirements.txt --output-file tests/requirements.txt
	$(COMPILE) --group bench --output-file bench/requirements.txt
	$(foreach tool,checkov packages,$(COMPILE) tests/audit/$(tool).in --output-file tests/audit/$(tool).txt;)

# Tools with many packages of their own, each in an environment of its own.
.venv-audit-%/.installed: tests/audit/%.txt | $(PYTHON_STAMP)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(@D)
	$(BIN)/uv pip install --quiet --python $(@D) --require-hashes -r $<
	@touch $@

# Apart from `make test`: what it says changes with what becomes known, and its service is not reachable everywhere.
audit: .venv-audit-packages/.installed
	.venv-audit-packages/bin/pip-audit --strict --disable-pip --require-hashes -r requirements.txt

sbom: .venv-audit-packages/.installed
	@mkdir -p build
	.venv-audit-packages/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible requirements.txt | \
	  $(BIN)/python infra/sbom.py >build/sbom.json
	@echo "build/sbom.json: $$(grep -c '"bom-ref"' build/sbom.json) components"

clean:
	rm -rf $(VENV) .venv-audit-* build bin local/node_modules *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
