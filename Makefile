# The project's doors. `make help` lists them.

.DEFAULT_GOAL := help
.PHONY: help demo test check bench interop fuzz kills test-vm clean

# Two environments: what a user gets (an ordinary installation), and what a contributor works in (editable).
VENV := .venv
DEV := .venv-dev
SOURCES := $(shell find src scripts/corten pyproject.toml -type f -not -name '*.pyc')

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r door text; do \
		printf '  make %-10s %s\n' "$$door" "$$text"; done

demo: $(VENV)/.installed ## Install Corten into .venv and run its first container
	@scripts/demo $(VENV)/bin

test: $(DEV)/.installed ## Install what the tests need (Debian packages when root) and run them all
	@scripts/test-deps
	$(DEV)/bin/python -m pytest -rs $(ARGS)

check: $(DEV)/.installed ## Run ruff, mypy --strict and import-linter
	$(DEV)/bin/python -m ruff check src tests bench scripts
	$(DEV)/bin/python -m mypy
	$(DEV)/bin/lint-imports

bench: $(DEV)/.installed ## Measure Corten against docker, podman and runc, interleaved: a table of ratios
	@scripts/test-deps
	$(DEV)/bin/python -m bench $(ARGS)

interop: $(DEV)/.installed ## Run other projects' test suites against dockerd and Corten, side by side (needs a network)
	@scripts/test-deps
	$(DEV)/bin/python -m tests.interop $(ARGS)
	$(DEV)/bin/python -m tests.interop.compose
	$(DEV)/bin/python -m tests.interop.dockerfiles
	$(DEV)/bin/python -m tests.interop.builds
	$(DEV)/bin/python -m tests.interop.conformance

fuzz: $(DEV)/.installed ## Fuzz what reads a stranger's bytes, a minute each (ARGS='dockerfile --seconds 600')
	$(DEV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	$(DEV)/bin/python -m tests.fuzz $(ARGS)

kills: $(DEV)/.installed ## Kill the engine in pulls, loads, commits, prunes and builds: 158 seeded moments (ARGS='-x')
	@scripts/test-deps
	CORTEN_TEST_KILLS=36 CORTEN_STORM=72 CORTEN_BUILD_KILLS=50 $(DEV)/bin/python -m pytest -rs \
		tests/e2e/test_pull_killed.py tests/e2e/test_image_storm.py tests/e2e/test_build_killed.py $(ARGS)

test-vm: $(DEV)/.installed ## Boot a kernel with cgroup v2 in qemu and run tests/vm in it (ARGS=--aarch64)
	@scripts/test-deps
	$(DEV)/bin/python -m tests.vm $(ARGS)

clean: ## Remove both environments and all caches
	rm -rf $(VENV) $(DEV) .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(VENV)/.installed: $(SOURCES)
	@scripts/make-venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps .
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check .
	@touch $@

$(DEV)/.installed: pyproject.toml
	@scripts/make-venv $(DEV)
	$(DEV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@
