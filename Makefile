VENV := .venv
PY := $(VENV)/bin/python
LOCAL := $(PY) -m reelgate_local
MEMBERS := libs/common libs/cli libs/client $(addprefix services/,api submitter callback reconciler simulator) deploy/local
PACKAGES := common cli client api submitter callback reconciler simulator local

.DEFAULT_GOAL := help
.PHONY: help setup demo up down test coverage chaos bench lint audit format check lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready ## Make .venv from the lock; every other target does it when needed

$(VENV)/.ready: requirements.lock $(addsuffix /pyproject.toml,$(MEMBERS))
	@deploy/local/make-venv.sh $(VENV)
	@echo "installing the locked packages into $(VENV)"
	@$(PY) -m pip install --quiet --require-hashes --no-deps -r requirements.lock
	@$(PY) -m pip install --quiet --no-deps --no-build-isolation $(addprefix -e ,$(MEMBERS))
	@touch $@

demo: $(VENV)/.ready ## Start everything, send a job, watch it, save the video; then a failing one; stop
	@$(LOCAL) demo

up: $(VENV)/.ready ## Start the local stack in the background (STACK=<name> for a second one)
	@$(LOCAL) up

down: $(VENV)/.ready ## Stop it and remove its data
	@$(LOCAL) down

test: $(VENV)/.ready ## Run every test, with a database and a broker of their own
	@$(LOCAL) test -- python -m pytest -n 2 --dist loadfile $(ARGS)

coverage: $(VENV)/.ready ## The same, and which lines no test runs: a third slower
	@$(MAKE) --no-print-directory test ARGS="--cov --cov-report=term $(ARGS)"

chaos: $(VENV)/.ready ## Break everything at random for CHAOS_SECONDS=600 (CHAOS_SEED repeats a round), after the fault suite
	@CHAOS_SECONDS=$${CHAOS_SECONDS:-600} $(LOCAL) test -- python -m pytest -v tests/chaos tests/model $(ARGS)

bench: $(VENV)/.ready ## Measure on this machine: all, or PART=accept; BENCH_FULL=1 for millions of rows; WRITE=1 into the page
	@$(PY) tests/bench/bench.py $(PART) $(if $(WRITE),--write)

lint: $(VENV)/.ready ## Check format, style, types and who imports whom
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

audit: $(VENV)/.ready ## Ask for known holes in what is locked; needs the network
	@$(PY) -m pip_audit --disable-pip --no-deps --strict -r requirements-runtime.lock
	@$(PY) -m pip_audit --disable-pip --no-deps --strict -r requirements.lock

format: $(VENV)/.ready ## Format, and fix what can be fixed
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

check: lint test ## All that a change must pass

lock: $(VENV)/.ready ## Resolve requirements.lock anew
	$(PY) -m uv pip compile requirements.in --group pyproject.toml:dev --universal --python-version 3.11 \
		--generate-hashes --no-header --annotation-style line --quiet \
		$(addprefix --no-emit-package reelgate-,$(PACKAGES)) -o requirements.lock
	@(grep -v deploy/local requirements.in; echo hatchling) | $(PY) -m uv pip compile - --constraint requirements.lock \
		--universal --python-version 3.11 --generate-hashes --no-header --annotation-style line --quiet \
		$(addprefix --no-emit-package reelgate-,$(filter-out local,$(PACKAGES))) -o requirements-runtime.lock

clean: ## Stop every stack and remove all that was made
	@if [ -e $(VENV)/.ready ]; then $(LOCAL) down --all; fi
	rm -rf $(VENV) .local .coverage .coverage.* htmlcov .hypothesis \
		.mypy_cache .pytest_cache .ruff_cache .import_linter_cache libs/react/node_modules libs/react/dist tests/console/node_modules
