# Everything a checkout can do, with nothing but make, Python 3.11 and its venv module.
#
# The environment is in .venv and is made when it is first needed; what the daemon and the clients keep is in .run.
# Standard output carries only data; progress goes to standard error.

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8443
# Who `make run-client` is, and with whom it chats.
NAME ?= guest
TO ?= server
# How often `make rounds` kills a process, and how many rounds `make faults` runs; SEED and KIND repeat one of the latter. More
# arguments for pytest, the bench, the daemon and `make mutate`.
ROUNDS ?= 500
# How many histories `make model` tries.
EXAMPLES ?= 3000
# How many datagrams of each kind `make noise` sends.
NOISE ?= 1000000
# The browser of `make browser`.
BROWSER ?= chromium
PYTEST_ARGS ?=
# EXT=1: the modules that every message passes are compiled, by `make build` for the wheel, by `make test` in a copy in build/ext, so
# that here nothing compiled hides a source.
EXT ?=
BENCH_ARGS ?=
SERVER_ARGS ?=
MUTATE_ARGS ?=
# Where `make install` installs; DESTDIR is for packages.
PREFIX ?= /opt/securemsg
DESTDIR ?=
# `make machine` boots this Debian release, the one here, so that the wheels fit its Python, with these packages besides the minimum.
SUITE ?= $(shell . /etc/os-release && echo $$VERSION_CODENAME)
PACKAGES := systemd,systemd-sysv,dbus,python3-venv,make,ca-certificates,init-system-helpers

BIN := .venv/bin
STATE := .run/state
# Two makes at the same time (run-server and run-client) must not both fill .venv: the second one waits for the first.
LOCK := $(if $(shell command -v flock),flock .venv)

# One stamp for each set of extras; they are defined in setup.cfg, so a change there installs again. A larger set includes the
# smaller ones.
READY_DEV := .venv/.ready-dev
READY_TEST := $(firstword $(wildcard $(READY_DEV)) .venv/.ready-test)
READY_BUILD := $(if $(EXT),$(READY_DEV),$(READY_TEST))
READY_RUN := $(firstword $(wildcard $(READY_DEV) .venv/.ready-test) .venv/.ready-run)

.DEFAULT_GOAL := help
.PHONY: help run test compiled build run-server run-client bench lint clean model mutate rounds faults noise browser docs man picture install uninstall deb machine

help:
	@echo "make run          start the daemon and chat with it; leaving the chat stops it  [PORT=9000]"
	@echo "make run-server   only the daemon, in the foreground   [HOST=, PORT=, SERVER_ARGS=]"
	@echo "make run-client   chat, in another terminal            [PORT=, NAME=alice, TO=bob]"
	@echo "make test         run all tests                        [PYTEST_ARGS=, EXT=1]"
	@echo "make model        search for histories in which a promise breaks; kill a process at each step [EXAMPLES=3000]"
	@echo "make mutate       remove each guard once: its test must fail [MUTATE_ARGS=server/]"
	@echo "make rounds       run the kill tests many times        [ROUNDS=500]"
	@echo "make faults       cut power, kill, fail, damage        [ROUNDS=500, SEED=, KIND=]"
	@echo "make noise        send the UDP port a million datagrams of noise [NOISE=1000000]"
	@echo "make browser      test the status page in Chromium      [BROWSER=chromium]"
	@echo "make bench        measure the relay                    [BENCH_ARGS=]"
	@echo "make lint         run ruff and mypy"
	@echo "make build        build wheel and sdist in dist/       [EXT=1: a compiled wheel]"
	@echo "make man          write the manual pages to build/man/"
	@echo "make install      install the service, as root         [PREFIX=/opt/securemsg, DESTDIR=, PYTHON=]"
	@echo "make uninstall    remove it; state and configuration stay"
	@echo "make deb          build a Debian package in dist/        [DEB_VERSION=, PYTHON=/usr/bin/python3]"
	@echo "make machine      follow docs/operations.md on a booted Debian; as root, with debootstrap and systemd-container"
	@echo "make docs         build the API documentation in build/api/"
	@echo "make picture      draw the picture in README.md again; needs tmux"
	@echo "make clean        remove everything that make can build again; .run stays"

run: $(READY_RUN)
	@HOST=$(HOST) PORT=$(PORT) sh deploy/run.sh

run-server: $(READY_RUN)
	@umask 077 && mkdir -p .run
	@exec $(BIN)/twistd -n securemsg --host $(HOST) --port $(PORT) --state $(STATE) $(SERVER_ARGS)

run-client: $(READY_RUN)
	@HOST=$(HOST) PORT=$(PORT) NAME=$(NAME) TO=$(TO) sh deploy/run.sh client

test: $(READY_BUILD) $(if $(EXT),compiled)
	@$(if $(EXT),cd build/ext && PYTHONPATH=$(CURDIR)/build/ext) $(CURDIR)/$(BIN)/python -m pytest -n auto --dist worksteal $(PYTEST_ARGS)

compiled: $(READY_DEV)
	@rm -rf build/ext && mkdir -p build/ext
	@$(BIN)/python -m build --quiet --no-isolation --sdist --outdir build/ext . >&2
	@tar -xzf build/ext/*.tar.gz --strip-components=1 -C build/ext
	@cd build/ext && SECUREMSG_EXT=1 $(CURDIR)/$(BIN)/python setup.py --quiet build_ext --inplace >&2

model: $(READY_TEST)
	@$(BIN)/python -m pytest tests/client/test_model.py tests/client/rooms/test_schedules.py --examples $(EXAMPLES) $(PYTEST_ARGS)
	@$(BIN)/python -m pytest -n auto tests/client/test_crash.py tests/client/test_relay.py tests/client/rooms/test_kills.py --every 1

mutate: $(READY_TEST)
	@$(BIN)/python -m tests.mutate $(MUTATE_ARGS)

rounds: $(READY_TEST)
	@$(BIN)/python -m pytest tests/functional --rounds $(ROUNDS) -k kill $(PYTEST_ARGS)

faults: $(READY_TEST)
	@$(BIN)/python -m tests.faults --rounds $(ROUNDS) $(if $(SEED),--seed $(SEED)) $(if $(KIND),--kind $(KIND))

noise: $(READY_TEST)
	@$(BIN)/python -m pytest -n auto tests/net/test_quic.py tests/functional/test_udp.py -k Noise --noise $(NOISE) $(PYTEST_ARGS)

browser: $(READY_TEST)
	@$(BIN)/python -m pytest tests/functional/test_status_page.py --browser $(BROWSER) $(PYTEST_ARGS)

bench: $(READY_TEST)
	@$(BIN)/python -m bench.relay $(BENCH_ARGS)

lint: $(READY_DEV)
	@$(BIN)/ruff check .
	@$(BIN)/mypy

build: $(READY_BUILD)
	@$(if $(EXT),SECUREMSG_EXT=1) $(BIN)/python -m build --quiet --no-isolation . >&2
	@ls dist/*

man: $(READY_RUN)
	@rm -rf build/man
	@$(BIN)/python -m securemsg.manpages build/man
	@ls build/man/*/*

install uninstall:
	@PYTHON='$(PYTHON)' PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' sh deploy/install.sh $@

deb: PYTHON := /usr/bin/python3
deb:
	@PYTHON='$(PYTHON)' DEB_VERSION='$(DEB_VERSION)' sh deploy/deb.sh

machine: $(READY_TEST)
	@command -v debootstrap >/dev/null && command -v systemd-nspawn >/dev/null || \
	    { echo "make machine needs debootstrap and systemd-nspawn; on Debian: apt-get install debootstrap systemd-container" >&2; exit 1; }
	@mkdir -p build/machine
	@[ -e build/machine/root/etc/debian_version ] || debootstrap --include=$(PACKAGES) $(SUITE) build/machine/root >&2
	@$(BIN)/python -m pip wheel --quiet --wheel-dir build/machine/wheels '.[udp,metrics]' 'setuptools>=77' >&2
	@$(BIN)/python -m pytest tests/functional/test_machine.py --machine build/machine $(PYTEST_ARGS)

docs: $(READY_DEV)
	@$(BIN)/pydoctor --quiet >&2
	@echo build/api/index.html

picture: $(READY_TEST)
	@command -v tmux >/dev/null || { echo "make picture needs tmux; on Debian: apt-get install tmux" >&2; exit 1; }
	@$(BIN)/python -m tests.functional.picture docs/chat.svg

clean:
	@rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis twisted/plugins/dropin.cache
	@find . -path "./.*" -prune -o -name __pycache__ -prune -exec rm -rf {} +

.venv/.ready-run: EXTRAS := [udp,metrics]
.venv/.ready-test: EXTRAS := [udp,metrics,test]
.venv/.ready-dev: EXTRAS := [udp,metrics,test,dev]
.venv/.ready-run .venv/.ready-test .venv/.ready-dev: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "$(PYTHON) is not Python 3.11 or newer; choose one: make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	    { echo "$(PYTHON) cannot create virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "securemsg: setting up .venv; this takes up to a minute, once" >&2
	@mkdir -p .venv
	@$(LOCK) sh -ec '\
	    $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv; \
	    $(BIN)/python -m pip install -qq --disable-pip-version-check --editable ".$(EXTRAS)"; \
	    touch $@' </dev/null >&2
