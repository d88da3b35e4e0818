"""
The server's root: C{twistd securemsg}. It sees whether everything is in order, hands over to the daemon, and nobody
imports it.

C{makeService} runs before twistd leaves the terminal, where an error can still be seen: it only looks. What it would start
there would not outlive the fork, so the service opens everything when it is started (L{securemsg.daemon}).
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

from securemsg.answers.choice import prepare
from securemsg.daemon import APPLICATION, EXPECTED, SOCKET, Daemon, check_whole, end_process, spki_digest
from securemsg.net.certificate import TLS_CERTIFICATE, TLS_KEY, load_credentials
from securemsg.net.control import check_socket_path
from securemsg.net.options import Options, Setup
from securemsg.net.state import check_folder, check_port, read_private

__all__ = ["Options", "makeService"]


def state_folder(setup: Setup) -> Path:
    """
    Where the daemon keeps its state.
    """
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    usual = Path(given) if given else platformdirs.user_state_path(APPLICATION)
    return setup.state or usual.absolute()


def check(setup: Setup) -> None:
    """
    See whether the daemon could start; nothing is changed.

    @raise StateError: or another of L{EXPECTED}: it could not.
    """
    state = state_folder(setup)
    check_socket_path(state / SOCKET)
    check_folder(state)
    check_whole(state)
    for name in (TLS_KEY, TLS_CERTIFICATE):
        read_private(state / name)
    if setup.certificate is not None and setup.key is not None:
        load_credentials(setup.certificate, setup.key, spki_digest)
    check_port(setup.host, setup.port)
    prepare(setup.answer)


def makeService(options: Options) -> Service:
    """
    What twistd runs; see the module's docstring.

    @raise SystemExit: it could not start; standard error says why.
    """
    try:
        check(options.setup)
    except EXPECTED as error:
        sys.stderr.write(f"securemsg: {error}\n")
        raise SystemExit(1) from None
    from twisted.internet import reactor

    twistd: Mapping[str, Any] = options.parent or {}
    # The log and the pid file come before the service; they are nobody else's business unless somebody says so.
    if twistd.get("umask") is None:
        os.umask(0o077)
    pid_file = Path(twistd["pidfile"]) if twistd.get("pidfile") else None
    return Daemon(options.setup, state_folder(options.setup), reactor, partial(end_process, pid_file))
