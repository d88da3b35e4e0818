# Everything a checkout can do, from nothing but make, Python 3.11 and its venv module.
#
# The environment lives in .venv and is made when it is first needed; what the daemon and the clients keep lives in .run.
# Standard output carries data alone: whatever is only chatter goes to standard error.

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8443
# Who `make run-client` is, and whom it talks to.
NAME ?= guest
TO ?= server
# How often `make rounds` kills a process; what else to hand to pytest, to the bench and to twistd.
ROUNDS ?= 500
PYTEST_ARGS ?=
BENCH_ARGS ?=
SERVER_ARGS ?=

BIN := .venv/bin
STATE := .run/state
# Two makes at once (run-server here, run-client there) must not both fill .venv: the second waits for the first.
LOCK := $(if $(shell command -v flock),flock .venv)

# One stamp for each set of extras; setup.cfg says what is in them, so a change of it installs again. Where a larger set is there,
# it serves for the smaller one.
READY_DEV := .venv/.ready-dev
READY_TEST := $(firstword $(wildcard $(READY_DEV)) .venv/.ready-test)
READY_RUN := $(firstword $(wildcard $(READY_DEV) .venv/.ready-test) .venv/.ready-run)

.DEFAULT_GOAL := help
.PHONY: help run test build run-server run-client bench lint clean rounds docs

help:
	@echo "make run          start the daemon and talk with it; leaving stops it"
	@echo "make run-server   the daemon alone, in the foreground        [HOST=, PORT=, SERVER_ARGS=]"
	@echo "make run-client   talk through it, from another terminal     [PORT=, NAME=alice, TO=bob]"
	@echo "make test         every test                                 [PYTEST_ARGS=]"
	@echo "make rounds       the kill tests, many times                 [ROUNDS=500]"
	@echo "make bench        measure the relay                          [BENCH_ARGS=]"
	@echo "make lint         ruff and mypy"
	@echo "make build        wheel and sdist, into dist/"
	@echo "make docs         the API as web pages, into build/api/"
	@echo "make clean        remove whatever make can make again; .run stays"

run: $(READY_RUN)
	@HOST=$(HOST) PORT=$(PORT) sh deploy/run.sh

run-server: $(READY_RUN)
	@umask 077 && mkdir -p .run
	@exec $(BIN)/twistd -n --pidfile= securemsg --host $(HOST) --port $(PORT) --state $(STATE) $(SERVER_ARGS)

run-client: $(READY_RUN)
	@HOST=$(HOST) PORT=$(PORT) NAME=$(NAME) TO=$(TO) sh deploy/run.sh client

test: $(READY_TEST)
	@$(BIN)/python -m pytest -n auto --dist worksteal $(PYTEST_ARGS)

rounds: $(READY_TEST)
	@$(BIN)/python -m pytest tests/functional --rounds $(ROUNDS) -k kill $(PYTEST_ARGS)

bench: $(READY_TEST)
	@$(BIN)/python -m bench.relay $(BENCH_ARGS)

lint: $(READY_DEV)
	@$(BIN)/ruff check .
	@$(BIN)/mypy

build: $(READY_TEST)
	@$(BIN)/python -m build --quiet --no-isolation . >&2
	@ls dist/*

docs: $(READY_DEV)
	@$(BIN)/pydoctor --quiet >&2
	@echo build/api/index.html

clean:
	@rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis twisted/plugins/dropin.cache
	@find . -path "./.*" -prune -o -name __pycache__ -prune -exec rm -rf {} +

.venv/.ready-run: EXTRAS :=
.venv/.ready-test: EXTRAS := [test]
.venv/.ready-dev: EXTRAS := [test,dev]
.venv/.ready-run .venv/.ready-test .venv/.ready-dev: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "$(PYTHON) is not Python 3.11 or newer; name one: make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	    { echo "$(PYTHON) cannot make environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "securemsg: setting up .venv; this takes a minute, once" >&2
	@mkdir -p .venv
	@$(LOCK) sh -ec '\
	    $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv; \
	    $(BIN)/python -m pip install -qq --disable-pip-version-check --editable ".$(EXTRAS)"; \
	    touch $@' </dev/null >&2
