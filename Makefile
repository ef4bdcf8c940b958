# Every target sets up what it needs: a Python >= 3.11, make and a package index are enough.

VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.installed-run
OLD := .venv-oldest
DEV := $(VENV)/.installed-dev
LITELLM := 1.110.2
PRICE_MAP := $(VENV)/litellm-$(LITELLM).json
PLUGINS := anthropic cartesia deepgram elevenlabs google groq openai
ARGS ?=

# Tests start hundreds of processes, each of which would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

# A name on PATH is not enough: version managers leave shims that do not run.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& { echo "$$p"; break; }; done)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo serve stack test lint format generate check-generated prices-check bench \
	same accuracy build clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do \
		printf '  make %-16s %s\n' "$$name" "$$text"; done

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "make: no Python >= 3.11 with venv found; install one (Debian: python3-venv) or run make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUN): pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[agent]'
	@touch $@

$(DEV): pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[agent,dev]'
	@touch $@ $(RUN)

setup: $(DEV) ## Create .venv with everything that development needs

demo: $(RUN) ## Simulated calls and the sidecar, in one command (ARGS="--calls 50 --seed 7")
	$(BIN)/livekit-exporter demo $(ARGS)

serve: $(RUN) ## The sidecar alone (ARGS="--data-dir /tmp/x")
	$(BIN)/livekit-exporter serve $(ARGS)

stack: $(RUN) ## Demo, sidecar, Prometheus, Alertmanager and Grafana, without Docker (ARGS="--speed 4")
	@.ci/install-servers prometheus
	$(BIN)/python -m deploy.stack $(ARGS)

test: $(DEV) ## All tests (ARGS="-k journal")
	@.ci/install-servers prometheus postgresql chromium
	$(BIN)/python -m pytest $(ARGS)

test-oldest: ## The collector and the sidecar on the oldest versions that are supported
	@test -x $(OLD)/bin/python || $(PYTHON) -m venv $(OLD)
	$(OLD)/bin/python -m pip install --quiet --disable-pip-version-check --constraint tests/oldest.txt \
		--editable '.[agent,postgres]' httpx hypothesis jsonschema pytest pytest-asyncio pytest-xdist
	$(OLD)/bin/python -m pytest tests/agent/test_attach.py tests/agent/test_whole_job.py tests/agent/test_job_processes.py tests/agent/test_replay.py tests/ledger \
		tests/sidecar/test_decode.py tests/sidecar/test_meter.py tests/sidecar/test_registry.py tests/test_web.py $(ARGS)

lint: $(DEV) ## ruff, mypy, and pyright on an agent as users type it
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/basedpyright --project tests/typing --pythonpath $(BIN)/python

format: $(DEV) ## Format the code and fix what ruff can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generate: $(DEV) ## Write everything that is generated: tables, schema, compiled prices
	$(BIN)/python docs/generate.py
	$(BIN)/python -m grafana.src
	$(BIN)/python -m deploy.prometheus_rule

check-generated: $(DEV) ## Fail when something generated is stale
	$(BIN)/python docs/generate.py --check
	$(BIN)/python -m grafana.src --check
	$(BIN)/python -m deploy.prometheus_rule --check

# One file of the wheel, which is 200 MB when installed and needs more.
$(PRICE_MAP): | $(VENV)/bin/python
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps \
		--only-binary :all: --dest $(VENV)/litellm litellm==$(LITELLM)
	$(BIN)/python -c "import glob, zipfile; [wheel] = glob.glob('$(VENV)/litellm/litellm-$(LITELLM)-*.whl'); \
		open('$@', 'wb').write(zipfile.ZipFile(wheel).read('litellm/model_prices_and_context_window_backup.json'))"
	@rm -r $(VENV)/litellm

prices-check: $(DEV) $(PRICE_MAP) ## Hold the prices against pinned public lists; fail on an unexplained difference
	$(BIN)/python -m tests.prices.reviewed $(PRICE_MAP)

bench: $(DEV) ## Measure the figures that the README quotes
	$(BIN)/python -m bench $(ARGS)

same: $(DEV) ## Compare ledger, page, exports and reports with another commit (BASE=<commit>)
	@test -n "$(BASE)" || { echo "make: say which commit to compare with: make same BASE=<commit>" >&2; exit 1; }
	$(BIN)/python -m bench.same --base $(BASE)

# LiveKit's plugins at the version of livekit-agents: 100 MB and half a minute.
$(VENV)/.installed-plugins: $(DEV)
	version=$$($(BIN)/python -c "from importlib.metadata import version; print(version('livekit-agents'))") && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		$(foreach name,$(PLUGINS),livekit-plugins-$(name)=="$$version")
	@touch $@

accuracy: $(VENV)/.installed-plugins ## Hold calls whose bill is known, and the figures against it (ARGS=--quote)
	$(BIN)/python -m bench.accuracy $(ARGS)

build: $(DEV) ## Build the wheel and the source archive into dist/
	$(BIN)/python -m pip install --quiet --disable-pip-version-check build
	$(BIN)/python -m build

clean: ## Remove the environment, caches and builds
	rm -rf $(VENV) $(OLD) dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis
