# `make` alone lists what there is. Everything lives in .venv.
PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
# Deployments mostly wait, so more workers than cores; a file's tests stay together, with their deployment.
PARALLEL := --numprocesses 4 --dist loadfile

define HELP
Run it
  make local           Runs the API on this machine; prints tokens and requests to try (PORT=8000).
  make demo            Deploys it on an embedded AWS, tries it, keeps serving (ONCE=1: ends there).

Test it
  make test            Runs every test, those on the embedded AWS too.
  make test-unit       Runs the tests that need no embedded AWS.
  make test-app        Runs the tests of your app, tests/test_*.py.
  make check           Checks lint, types and format.
  make format          Fixes what the linter and the formatter can fix.

Look deeper
  make test-browser    Tries the API from a page in headless Chromium; installs it on Debian.
  make load            Floods it on an embedded AWS with good and forged tokens (REQUESTS=n).
  make bench           Compares cold starts and decisions with others (DOCS=1: updates the docs).
  make fuzz            Fuzzes each parser of foreign input (SECONDS=60: in all).
  make mutants         Changes the code in many places and fails where no test notices.
  make audit           Asks PyPI for known vulnerabilities in what the locks name.
  make lock            Resolves requirements/*.in into the locks, with hashes.
  make pictures        Draws the README's pictures again, from what the commands print.
  make clean           Removes .venv and what the tools have left.

Deploy it: make setup installs what .venv/bin/python manage.py needs. Then manage.py ...
  rules                Shows who may call what, and what is wrong with the table.
  token                Prints a token for development.
  why                  Says how a request is answered, for which reason, and how to fix it.
  secret               Makes a stage's secret, shows its versions, rotates it.
  revoke               Ends a user's sessions: refuses the tokens that were issued until now.
  deploy               Checks what must hold, deploys a stage and prints requests to try.
  smoke                Sends requests to a deployed stage and checks the answers.
  package              Writes a template and a package for CloudFormation.
Each says more with --help.

Each target installs what it needs into .venv. make PYTHON=python3.12 chooses the Python for it.
endef

.PHONY: help setup demo local load pictures test test-unit test-app test-browser bench check format lock fuzz mutants audit clean
.PHONY: given-python working-venv
.NOTPARALLEL: # two pips in one virtual environment get into each other's way

help: | given-python
	$(info $(HELP)) @:

# .venv grows in layers: each is a lock, requirements/LAYER.txt, and .venv/.LAYER, which says that it is installed.
# The first, .venv/.ready, is what manage.py needs. A layer is installed again when its lock or one below it changes.
LAYERS := manage demo test check browser lock fuzz mutants audit
READY := $(VENV)/.ready
$(VENV)/.test: $(VENV)/.demo
$(VENV)/.browser $(VENV)/.fuzz $(VENV)/.mutants: $(VENV)/.test

# What each adds, and what that took on two cores with a near index.
WHAT_demo := the embedded AWS (about 4 s, 32 MB)
WHAT_test := what the tests need (about 12 s, 210 MB)
WHAT_check := what lint and types need (about 3 s, 92 MB)
WHAT_browser := a driver for the browser (about 2 s, 41 MB)
WHAT_lock := the resolver (about 2 s, 38 MB)
WHAT_fuzz := the fuzzer (about 2 s, 128 MB)
WHAT_mutants := what changes the code (about 3 s, 27 MB)
WHAT_audit := what asks for vulnerabilities (about 2 s, 25 MB)

# A package that an interrupted pip left half installed has no INSTALLER yet; pip would take it for installed.
define INSTALL
for info in $(VENV)/lib/python*/site-packages/*.dist-info; do [ -e $$info/INSTALLER ] || rm -rf $$info; done; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
endef

IS_NEW := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
VERSION := -c 'import platform; print(platform.python_implementation(), *platform.python_version_tuple()[:2])'

# A Python that is named is the one that is used, or nothing is done.
given-python:
ifneq ($(origin PYTHON),file)
	@$(PYTHON) $(IS_NEW) 2>/dev/null \
		|| { echo "$(PYTHON) does not run here or is older than 3.11; name another: make PYTHON=python3.12" >&2; exit 1; }
	@[ ! -e $(BIN)/python ] || [ "$$($(BIN)/python $(VERSION) 2>&1)" = "$$($(PYTHON) $(VERSION))" ] \
		|| { echo "$(VENV) was made with another Python than $(PYTHON): run make clean, then this again." >&2; exit 1; }
endif

working-venv: given-python
	@[ ! -e $(READY) ] && [ ! -x $(BIN)/python ] || $(BIN)/python $(IS_NEW) 2>/dev/null \
		|| { echo "The Python of $(VENV) is gone or older than 3.11: run make clean, then this again." >&2; exit 1; }

$(READY): requirements.txt requirements/jwks.txt requirements/manage.txt | working-venv
	@$(BIN)/python -m pip install --help >/dev/null 2>&1 || { \
		$(PYTHON) $(IS_NEW) 2>/dev/null \
			|| { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12" >&2; exit 1; }; \
		$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
			|| { echo "This Python makes no virtual environments (on Debian: apt install python3-venv)." >&2; exit 1; }; \
		echo "Making $(VENV) (about 3 s, 26 MB) ..."; \
		$(PYTHON) -m venv --clear $(VENV); }
	@echo "Installing what manage.py and make local need (about 7 s, 61 MB) ..."
	@$(INSTALL) -r requirements.txt -r requirements/manage.txt
	@touch $@

$(VENV)/.%: requirements/%.txt $(READY)
	@echo "Installing $(WHAT_$*) ..."
	@$(INSTALL) -r $<
	@touch $@

setup: $(READY)
	@echo "manage.py is ready: $(BIN)/python manage.py --help"

local: $(READY)
	@exec $(BIN)/python manage.py local --port $(PORT)

demo: $(VENV)/.demo
	@exec $(BIN)/python -m tests.e2e.demo $(if $(ONCE),--once)

pictures: $(VENV)/.demo
	@exec $(BIN)/python -m tests.support.pictures

load: $(VENV)/.demo
	@exec $(BIN)/python -m tests.support.load $(if $(REQUESTS),--requests $(REQUESTS))

# In CI the check comes first.
test: $(VENV)/.test $(if $(CI),check)
	@$(BIN)/python -m pytest $(PARALLEL)

test-unit: $(VENV)/.test
	@$(BIN)/python -m pytest $(PARALLEL) -m "not e2e"

test-app: $(VENV)/.test
	@$(BIN)/python -m pytest tests/test_*.py

ROOT := $(if $(filter-out 0,$(shell id -u)),sudo)
test-browser: $(VENV)/.browser
	@{ command -v chromium && command -v chromedriver; } >/dev/null \
		|| { echo "Installing Debian's chromium and chromium-driver ..."; \
			$(ROOT) apt-get update -qq && $(ROOT) apt-get install -qq --no-install-recommends chromium chromium-driver; } \
		|| { echo "Install Chromium and its driver (on Debian: apt install chromium chromium-driver), then again."; exit 1; }
	@$(BIN)/python -m pytest tests/e2e/browser.py

bench: $(VENV)/.demo
	@exec $(BIN)/python -m bench $(if $(DOCS),--docs)

check: $(VENV)/.check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit --configfile pyproject.toml --quiet --recursive app.py manage.py chalicelib operations

format: $(VENV)/.check
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Each lock keeps to the versions of those before it. `-r` lines that were added to requirements.txt stay.
RESOLVE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --generate-hashes \
	--custom-compile-command "make lock"

lock: $(VENV)/.lock
	@echo "requirements.txt, requirements/jwks.txt ..."
	@more=$$(grep '^-r ' requirements.txt); \
	$(RESOLVE) requirements/lambda.in -o requirements.txt \
		&& $(RESOLVE) -c requirements.txt requirements/jwks.in -o requirements/jwks.txt; \
	status=$$?; \
	[ -z "$$more" ] || grep -q '^-r ' requirements.txt || echo "$$more" >>requirements.txt; \
	exit $$status
	@before="-c requirements.txt -c requirements/jwks.txt"; \
	for layer in $(LAYERS); do \
		echo "requirements/$$layer.txt ..."; \
		$(RESOLVE) $$before requirements/$$layer.in -o requirements/$$layer.txt || exit 1; \
		before="$$before -c requirements/$$layer.txt"; \
	done

# Where atheris has no wheel it says so, in capitals.
fuzz: $(VENV)/.fuzz
	@$(BIN)/python -m tests.fuzz $(or $(SECONDS),60)

mutants: $(VENV)/.mutants
	@$(BIN)/python -m tests.mutants

audit: $(VENV)/.audit
	@for lock in requirements.txt requirements/*.txt; do \
		echo "$$lock:"; \
		$(BIN)/pip-audit --strict --progress-spinner off --disable-pip --require-hashes -r $$lock || { \
			echo "Vulnerable, or not audited: the lines above say which. The audit needs PyPI's JSON API, which most"; \
			echo "mirrors do not serve; where it cannot be reached nothing was found because nothing was asked."; \
			exit 1; }; \
	done

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build mutants vendor/chalice vendor/jwt
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
