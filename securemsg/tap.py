"""
The entry point of the daemon: C{twistd securemsg}. It checks that the daemon can start, and makes it; nothing imports it.

C{makeService} runs before twistd leaves the terminal, where errors can still be shown. It only checks: what it would open there
would not survive the fork, so the service opens everything when it is started (L{securemsg.daemon.service}).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import platformdirs
from twisted.application.service import Service

from securemsg.coredump import forbid_core_dumps
from securemsg.daemon.checks import EXPECTED, check_start
from securemsg.daemon.options import Options, Setup
from securemsg.daemon.service import APPLICATION, Daemon, end_process
from securemsg.net.clock import count_passing_time
from securemsg.responders.choice import BadAnswer, prepare

__all__ = ["Options", "makeService"]


def state_folder(setup: Setup) -> Path:
    """The folder of the daemon's state."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    usual = Path(given) if given else platformdirs.user_state_path(APPLICATION)
    return setup.state or usual.absolute()


def makeService(options: Options) -> Service:
    """
    Make what twistd runs; see the module's docstring.

    @raise SystemExit: it cannot start; standard error says why.
    """
    # Before a key is read. What twistd forks goes on without dumps.
    forbid_core_dumps()
    twistd: Mapping[str, Any] = options.parent or {}
    if options.setup.prints and twistd and not twistd.get("nodaemon"):
        sys.stderr.write("securemsg: --print needs twistd's -n: in the background there is no standard output\n")
        raise SystemExit(2)
    try:
        prepare(options.setup.answer)
    except BadAnswer as error:
        sys.stderr.write(f"securemsg: {error}; see: securemsg serve --help\n")
        raise SystemExit(2) from None
    state = state_folder(options.setup)
    try:
        check_start(options.setup, state)
    except EXPECTED as error:
        sys.stderr.write(f"securemsg: {error}\n")
        raise SystemExit(1) from None
    from twisted.internet import reactor

    count_passing_time(reactor)
    # twistd makes the log and the pid file before the service starts; they are private unless --umask says otherwise.
    if twistd.get("umask") is None:
        os.umask(0o077)
    pid_file = Path(twistd["pidfile"]) if twistd.get("pidfile") else None
    return Daemon(options.setup, state, reactor, partial(end_process, pid_file))
