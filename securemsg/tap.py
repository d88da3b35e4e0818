"""
The server's root: C{twistd securemsg}. It sees whether everything is in order, hands over to the daemon, and nobody
imports it.

C{makeService} runs before twistd leaves the terminal, where an error can still be seen: it only looks. What it would start
there would not outlive the fork, so the service opens everything when it is started (L{securemsg.daemon}).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import platformdirs
from twisted.application.service import Service

from securemsg.daemon import APPLICATION, DATABASE, EXPECTED, SERVER_KEY, SOCKET, Daemon, spki_digest
from securemsg.net.certificate import TLS_KEY, load_credentials
from securemsg.net.control import check_socket_path
from securemsg.net.options import Options, Setup
from securemsg.net.state import check_folder, check_port, read_private
from securemsg.storage.sqlite import check_server_store

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
    check_server_store(state / DATABASE)
    for name in (SERVER_KEY, TLS_KEY):
        read_private(state / name)
    if setup.certificate is not None and setup.key is not None:
        load_credentials(setup.certificate, setup.key, spki_digest)
    check_port(setup.host, setup.port)


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

    return Daemon(options.setup, state_folder(options.setup), reactor)
