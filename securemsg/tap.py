"""
The server's root: C{twistd securemsg}. It sees whether everything is in order, hands over to the daemon, and nobody
imports it.

C{makeService} runs before twistd leaves the terminal, where an error can still be seen: it only looks. What it would start
there would not outlive the fork, so the service opens everything when it is started (L{securemsg.daemon.service}).
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

from securemsg.crypto import keys
from securemsg.daemon.certificate import TLS_CERTIFICATE, TLS_KEY, load_credentials
from securemsg.daemon.folder import check_folder, read_private
from securemsg.daemon.options import Options, Setup
from securemsg.daemon.service import APPLICATION, EXPECTED, SOCKET, Daemon, check_whole, end_process
from securemsg.net.control import check_socket_path
from securemsg.net.listener import check_port
from securemsg.responders.choice import BadAnswer, prepare
from securemsg.storage.jsonlog import check_line_file
from securemsg.storage.keyfiles import KeyFileError, KeyFileMissing, read_key_file

__all__ = ["Options", "makeService"]


def state_folder(setup: Setup) -> Path:
    """Where the daemon keeps its state."""
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
        load_credentials(setup.certificate, setup.key, keys.spki_digest)
    check_port(setup.host, setup.port)
    if setup.key_file is not None:
        check_key_file(setup.key_file, setup.loose, state)
    if setup.record is not None:
        check_line_file(setup.record)


def check_key_file(path: Path, loose: bool, state: Path) -> None:
    """
    See whether a key file can be used, or made.

    @param state: may not be there yet; then a file in it can be made.
    @raise KeyFileError: it cannot.
    """
    try:
        read_key_file(path, loose)
    except KeyFileMissing:
        folder = path.parent
        if folder != state and not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
            raise KeyFileError(
                f"the key file {path} cannot be made: {folder} is no folder that this user can write; name another"
            ) from None


def makeService(options: Options) -> Service:
    """
    What twistd runs; see the module's docstring.

    @raise SystemExit: it could not start; standard error says why.
    """
    twistd: Mapping[str, Any] = options.parent or {}
    if options.setup.prints and twistd and not twistd.get("nodaemon"):
        sys.stderr.write("securemsg: --print needs twistd's -n: in the background there is no standard output\n")
        raise SystemExit(2)
    try:
        prepare(options.setup.answer)
    except BadAnswer as error:
        sys.stderr.write(f"securemsg: {error}; see: securemsg serve --help\n")
        raise SystemExit(2) from None
    try:
        check(options.setup)
    except EXPECTED as error:
        sys.stderr.write(f"securemsg: {error}\n")
        raise SystemExit(1) from None
    from twisted.internet import reactor

    # The log and the pid file come before the service; they are nobody else's business unless somebody says so.
    if twistd.get("umask") is None:
        os.umask(0o077)
    pid_file = Path(twistd["pidfile"]) if twistd.get("pidfile") else None
    return Daemon(options.setup, state_folder(options.setup), reactor, partial(end_process, pid_file))
