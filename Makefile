# `make` alone lists what there is. Everything lives in .venv.
PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TOOLS := $(VENV)/.tools
# What a lock says and no other file of that version: pip checks each against its hash.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
# Deployments mostly wait, so more workers than cores; a file's tests stay together, with their deployment.
PARALLEL := --numprocesses 4 --dist loadfile

.PHONY: help demo local load test test-unit test-browser bench check format lock fuzz mutants audit clean

help:
	@echo "make demo [ONCE=1]      deploy on an embedded AWS, try it, keep serving (ONCE=1: end there)"
	@echo "make local [PORT=8000]  run the API on this machine, with tokens and curl lines to try"
	@echo "make load [REQUESTS=n]  flood it on an embedded AWS with good and forged tokens; some five minutes"
	@echo "make test               run every test"
	@echo "make test-unit          run the tests that need no embedded AWS; seconds"
	@echo "make test-browser       try the API from a page in headless Chromium; installs it (Debian) where it is not"
	@echo "make bench [DOCS=1]     cold starts and decisions beside others; minutes (DOCS=1: into docs/performance.md)"
	@echo "make check              lint, types and format"
	@echo "make format             mend what the linter and the formatter can"
	@echo "make lock               resolve requirements/*.in into the locks, with hashes"
	@echo "make fuzz [SECONDS=60]  fuzz each parser of foreign input, for so long in all"
	@echo "make mutants            change the product a thousand times; fail where no test notices; ten minutes or so"
	@echo "make audit              ask for known vulnerabilities of what the locks name"
	@echo "make clean              remove the virtual environment and what tools have left"

$(READY): requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12"; exit 1; }
	@echo "Setting up $(VENV); the first time takes about a minute ..."
	@$(PYTHON) -m venv $(VENV) \
		|| { echo "This Python cannot make virtual environments (on Debian: apt install python3-venv)."; exit 1; }
	@$(PIP) -r requirements-dev.txt
	@touch $@

$(TOOLS): $(READY) requirements/tools.txt
	@echo "Adding the tools of requirements/tools.txt to $(VENV) ..."
	@$(PIP) -r requirements/tools.txt
	@touch $@

demo: $(READY)
	@exec $(BIN)/python -m tests.e2e.demo $(if $(ONCE),--once)

local: $(READY)
	@exec $(BIN)/python manage.py local --port $(PORT)

load: $(READY)
	@exec $(BIN)/python -m tests.support.load $(if $(REQUESTS),--requests $(REQUESTS))

# In CI the check comes first.
test: $(READY) $(if $(CI),check)
	@$(BIN)/python -m pytest $(PARALLEL)

test-unit: $(READY)
	@$(BIN)/python -m pytest $(PARALLEL) -m "not e2e"

ROOT := $(if $(filter-out 0,$(shell id -u)),sudo)
test-browser: $(READY)
	@{ command -v chromium && command -v chromedriver; } >/dev/null \
		|| { echo "Installing Debian's chromium and chromium-driver ..."; \
			$(ROOT) apt-get update -qq && $(ROOT) apt-get install -qq --no-install-recommends chromium chromium-driver; } \
		|| { echo "Install Chromium and its driver (on Debian: apt install chromium chromium-driver), then again."; exit 1; }
	@$(BIN)/python -m pytest tests/e2e/browser.py

bench: $(READY)
	@exec $(BIN)/python -m bench $(if $(DOCS),--docs)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit --configfile pyproject.toml --quiet --recursive app.py manage.py chalicelib operations

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Each lock keeps to the versions of those before it.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --generate-hashes \
	--custom-compile-command "make lock"

lock: $(TOOLS)
	$(LOCK) requirements/lambda.in -o requirements.txt
	$(LOCK) requirements/jwks.in -o requirements/jwks.txt
	$(LOCK) -c requirements.txt -c requirements/jwks.txt requirements/dev.in -o requirements-dev.txt
	$(LOCK) requirements/tools.in -o requirements/tools.txt

# Where atheris has no wheel it says so, in capitals.
fuzz: $(TOOLS)
	@$(BIN)/python -m tests.fuzz $(or $(SECONDS),60)

mutants: $(TOOLS)
	@$(BIN)/python -m tests.mutants

audit: $(TOOLS)
	@for lock in requirements.txt requirements/jwks.txt requirements-dev.txt; do \
		echo "$$lock:"; \
		$(BIN)/pip-audit --strict --progress-spinner off --disable-pip --require-hashes -r $$lock || { \
			echo "Vulnerable, or not audited: the lines above say which. The audit needs PyPI's JSON API, which most"; \
			echo "mirrors do not serve; where it cannot be reached nothing was found because nothing was asked."; \
			exit 1; }; \
	done

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build mutants vendor/chalice vendor/jwt
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
