"""
The contact C{server}: the operator's endpoint, a client like any other, which lives in a thread of the daemon.

Composed here, from client and store, and given its connection by the daemon alone. The server itself stays blind: what is
sent to this contact is encrypted to it like everything else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from attrs import define, field

from securemsg.client.agent import Agent
from securemsg.client.answering import Answerer
from securemsg.client.events import Changed, Event, Failed, Ready
from securemsg.client.journal import Received
from securemsg.client.profile import create_profile, load_profile, save_profile
from securemsg.client.retention import Retention
from securemsg.client.vault import KEY_FILE, create_vault, open_vault
from securemsg.interfaces import IProfileStore
from securemsg.net.state import StateError
from securemsg.net.worker import Worker
from securemsg.protocol.devices import SERVER_NAME
from securemsg.protocol.invite import InviteLink
from securemsg.storage.errors import StorageError
from securemsg.storage.keystore import create_profile as create_profile_store

# How often what is old is dropped; what is too much is dropped with every answer.
SWEEP_PERIOD = 6 * 3600


def acknowledged(message: Received) -> str:
    """
    The answer C{ack}.
    """
    return f"Message received at {datetime.fromtimestamp(message.received_at, UTC):%Y-%m-%dT%H:%M:%SZ}"


ANSWERS: dict[str, Callable[[Received], str | None]] = {
    "ack": acknowledged,
    "echo": lambda message: message.text,
    "none": lambda message: None,
}


@define(eq=False)
class Contact:
    """
    The contact C{server}: a client like any other, which lives in a thread of this process.

    @ivar told: is told in the reactor's thread: empty once it is logged in, a code if it never will be.
    """

    _store: IProfileStore
    _worker: Worker
    _told: Callable[[str], None]
    _answerer: Answerer
    _retention: Retention
    peer: Agent = field(init=False)
    _swept_at: float = field(default=0.0, init=False)

    def heard(self, event: Event) -> None:
        """
        What the agent says; whatever follows comes after the step that it is in.
        """
        if isinstance(event, Changed):
            self._worker.do(self._answer)
        elif isinstance(event, Ready):
            self._told("")
            self._worker.do(self._answer)
        elif isinstance(event, Failed):
            self._told(event.code)

    def tick(self) -> None:
        """
        A second has passed.
        """
        now = time.time()
        if abs(now - self._swept_at) >= SWEEP_PERIOD:
            self._swept_at = now
            self._retention.sweep(self._store, now)
        self.peer.tick()

    def close(self) -> None:
        """
        It is over.
        """
        self._store.close()

    def _answer(self) -> None:
        """
        Answer what came.
        """
        if self._answerer.run(time.time()):
            self.peer.pump()


def open_contact(folder: Path, link: InviteLink, answer: str, worker: Worker, told: Callable[[str], None]) -> Contact:
    """
    Open the contact's profile, and make it at the first start.

    @raise StateError: the profile is of another server.
    @raise StorageError: or C{VaultError}: it cannot be used.
    """
    vault = open_vault(folder, None) if (folder / KEY_FILE).exists() else create_vault(folder, None)
    store = create_profile_store(folder, vault)
    try:
        with store.writing() as records:
            profile = load_profile(records)
            if profile is None:
                profile = create_profile(link, SERVER_NAME, int(time.time()))
                save_profile(records, profile)
        if profile.pin != link.pin:
            raise StateError(f"{folder} belongs to another server.key; restore that file from a backup")
    except BaseException:
        store.close()
        raise
    retention = Retention()
    contact = Contact(store, worker, told, Answerer(store, ANSWERS[answer], retention), retention)
    contact.peer = Agent(store, profile, now=time.time, soon=worker.do, notify=contact.heard, troubles=(OSError, StorageError))
    return contact
