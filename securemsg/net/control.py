"""The control socket: a UNIX socket in the state folder, for the user that the daemon runs as, and for root."""

from __future__ import annotations

import os
import socket
import stat
import struct
from pathlib import Path

from attrs import evolve
from twisted.internet.interfaces import IListeningPort, IReactorUNIX

from securemsg.net.link import LinkInfo, Wire, innermost
from securemsg.net.stream import ConnectionOptions, StreamFactory
from securemsg.protocol.auth import UNIX

# sockaddr_un of Linux holds 108 bytes, the last of them zero.
MAX_SOCKET_PATH = 107
# struct ucred: process, user, group.
_CREDENTIALS = struct.Struct("3i")


class BadSocketPath(ValueError):
    """A socket cannot be made there; the text says why, in one line."""


def check_socket_path(path: Path, option: str = "--state") -> None:
    """
    Check that the kernel accepts a socket path of this length.

    @param option: that names the path, or its folder.
    @raise BadSocketPath: it is too long.
    """
    size = len(os.fsencode(path))
    if size > MAX_SOCKET_PATH:
        raise BadSocketPath(
            f"the path of a socket has {size} bytes, and {MAX_SOCKET_PATH} is the most: {path};"
            f" choose a shorter one with {option}"
        )


def remove_stale_socket(path: Path, option: str = "--state") -> None:
    """
    Remove the socket that a killed daemon left behind.

    @param option: as above.
    @raise BadSocketPath: a process listens there, or it is not a socket.
    """
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise BadSocketPath(f"{path} is in the way: it is not a socket; move it away")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise BadSocketPath(f"another process listens on {path}; stop it, or choose another with {option}")


def peer_user(handle: socket.socket) -> int:
    """The user at the other end of a UNIX socket, from the kernel."""
    credentials = handle.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(credentials)
    return int(user)


def observe_operator(transport: Wire) -> LinkInfo | None:
    """Admit our own user and root only."""
    handle = getattr(innermost(transport), "socket", None)
    assert isinstance(handle, socket.socket), "the control socket is a socket"
    user = peer_user(handle)
    return LinkInfo(evolve(UNIX, user=user)) if user in (0, os.getuid()) else None


def observe_daemon(transport: Wire) -> LinkInfo:
    """The operator's end: what listens in the state folder is the daemon."""
    return LinkInfo(UNIX)


def listen_control(reactor: IReactorUNIX, path: Path, options: ConnectionOptions) -> IListeningPort:
    """
    Listen on the control socket.

    @param options: without handshake, and with L{observe_operator}.
    @raise BadSocketPath: see L{check_socket_path} and L{remove_stale_socket}.
    @raise twisted.internet.error.CannotListenError: the kernel refuses.
    """
    check_socket_path(path)
    remove_stale_socket(path)
    port: IListeningPort = reactor.listenUNIX(str(path), StreamFactory(options), mode=0o600)
    return port
