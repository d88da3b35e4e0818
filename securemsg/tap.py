"""
The entry point of the daemon: C{twistd securemsg}. It checks that the daemon can start, and makes it; nothing imports it.

C{makeService} runs before twistd leaves the terminal, where errors can still be shown. It only checks: what it would open there
would not survive the fork, so the service opens everything when it is started (L{securemsg.daemon.service}).
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import platformdirs
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorFromThreads

from securemsg.coredump import forbid_core_dumps
from securemsg.daemon.checks import EXPECTED, check_start
from securemsg.daemon.folder import StateError
from securemsg.daemon.logs import DaemonLogging, writes_to_journal
from securemsg.daemon.options import Options, Setup
from securemsg.daemon.service import APPLICATION, Daemon
from securemsg.daemon.twistd import (
    end_at_next_signal,
    end_process,
    has_own_log,
    in_foreground,
    install_signal_handlers,
    log_file_of,
)
from securemsg.net.clock import use_monotonic_clock
from securemsg.responders.choice import BadAnswer, prepare

__all__ = ["Options", "makeService"]


def state_folder(setup: Setup) -> Path:
    """
    The folder of the daemon's state.

    @raise StateError: none is named, and this user has no home.
    """
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if setup.state is not None or given:
        return setup.state or Path(given).absolute()
    try:
        return platformdirs.user_state_path(APPLICATION).absolute()
    except (KeyError, RuntimeError):
        raise StateError("this user has no home folder; name the state folder with --state") from None


def makeService(options: Options) -> Service:
    """
    Make what twistd runs; see the module's docstring.

    @raise SystemExit: it cannot start; standard error says why.
    """
    # Before a key is read. What twistd forks goes on without dumps.
    forbid_core_dumps()
    twistd: MutableMapping[str, Any] = {} if options.parent is None else options.parent
    if options.setup.prints and twistd and not in_foreground(twistd):
        sys.stderr.write("securemsg: --print needs twistd's -n: in the background there is no standard output\n")
        raise SystemExit(2)
    try:
        prepare(options.setup.answer)
    except BadAnswer as error:
        sys.stderr.write(f"securemsg: {error}; see: securemsg serve --help\n")
        raise SystemExit(2) from None
    try:
        state = state_folder(options.setup)
        check_start(options.setup, state, twistd.get("uid"))
    except EXPECTED as error:
        sys.stderr.write(f"securemsg: {error}\n")
        raise SystemExit(1) from None
    from twisted.internet import reactor

    use_monotonic_clock(reactor)
    log = log_file_of(twistd)
    # twistd makes the log and the pid file before the service starts; they are private unless --umask says otherwise.
    if twistd.get("umask") is None:
        os.umask(0o077)
    pid_file = Path(twistd["pidfile"]) if twistd.get("pidfile") else None
    logging = None
    if has_own_log(twistd):
        wanted = options.setup.log_format
        logging = DaemonLogging(wanted == "json" or (wanted == "auto" and log is None and writes_to_journal()))

    def reread() -> Setup:
        fresh = Options(options.folder)
        fresh.parse(options.given)
        return fresh.setup

    end = partial(end_process, pid_file)
    daemon = Daemon(options.setup, state, reactor, end, log, reread, logging, partial(end_at_next_signal, pid_file))
    install_signal_handlers(log, cast(IReactorFromThreads, reactor).callFromThread, daemon.reload)
    return daemon
