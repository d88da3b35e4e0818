"""How a station is put together: lock, bell, holder and connection around one profile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from securemsg.account.connection import Retry, ServerConnection
from securemsg.account.holder import Dialing, Holder
from securemsg.account.locks import FileLock, OwnLock
from securemsg.account.wake import WakeFifo, ring
from securemsg.client.events import Warned
from securemsg.client.state.profile import Profile
from securemsg.crypto.keys import spki_digest
from securemsg.interfaces import IProfileStore
from securemsg.net.dialer import dial_tcp
from securemsg.net.turn import Turn
from securemsg.protocol.channel import IPeer
from securemsg.protocol.messages import Message, Unknown

# Files of a profile's folder: who has the connection, who gives messages out in order, and what wakes the former.
LOCK = "lock"
RECV_LOCK = "recv.lock"
WAKE = "wake"


def make_connection(
    reactor: Any,
    folder: Path | None,
    store: IProfileStore,
    profile: Profile,
    server: tuple[str, int],
    *,
    now: Callable[[], float],
    again: bool,
    warn: Callable[[Warned], None],
    retry: Retry | None = None,
    watch: Callable[[Message | Unknown], None] | None = None,
) -> ServerConnection:
    """
    The way of a profile to its server; to be started.

    @param folder: where the profile lies; C{None}: in our memory, so that no other process can share the connection.
    @param server: host and port.
    @param again: connect again after a failure, for as long as it takes.
    @param warn: is told what people should know.
    @param retry: connect again after a failure that passes.
    @param watch: is shown what goes over the wire, as long as the connection is ours.
    """
    turn = Turn(reactor)
    host, port = server

    def dial(peer: IPeer, failed: Callable[[str], None], persistent: bool) -> Dialing:
        return dial_tcp(reactor, host, port, peer, turn=turn, spki=spki_digest, failed=failed, again=persistent)

    def hold(changed: Callable[[], None]) -> Holder:
        return Holder(
            clock=reactor,
            store=store,
            profile=profile,
            now=now,
            soon=turn.later,
            dial=dial,
            listen=lambda rung: Silence() if folder is None else WakeFifo(reactor, folder / WAKE, rung),
            changed=changed,
            warn=warn,
            watch=watch,
        )

    lock = OwnLock() if folder is None else FileLock(folder / LOCK)
    return ServerConnection(reactor, store, now, lock, lambda: wake_at(folder), hold, again, written(host, port), retry)


class Silence:
    """The bell of a profile that no other process can reach."""

    def close(self) -> None:
        """Nothing was opened."""


def wake_at(folder: Path | None) -> bool:
    """
    Tell whoever has the connection of this profile to look into the store.

    @return: whether somebody has it.
    """
    return folder is not None and ring(folder / WAKE)


def written(host: str, port: int) -> str:
    """Host and port as they are written."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
