"""The contact C{server}, as the daemon opens it."""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any, cast

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client import messages
from securemsg.client.autoresponder import MAX_RELAYED
from securemsg.client.events import Changed, Disconnected, Ready
from securemsg.client.sessions import guests, pins
from securemsg.client.state.contacts import DIRECTORY, adopt
from securemsg.client.state.conversations import lobby as lobby_with
from securemsg.client.state.conversations import with_guest
from securemsg.client.state.profile import load_profile
from securemsg.client.state.records import HISTORY, HistoryRow, Status, draft, save, save_unread
from securemsg.client.state.vault import open_vault
from securemsg.crypto import keys
from securemsg.crypto.keyfile import SharedKey
from securemsg.daemon.contact import Contact, ContactOptions, open_contact
from securemsg.daemon.folder import StateError
from securemsg.daemon.worker import Call, Worker
from securemsg.protocol.envelope import Kind
from securemsg.protocol.invite import InviteLink
from securemsg.responders.choice import prepare
from securemsg.storage.profile import ProfileStore, open_profile
from tests.client.people import LINK, NOW, person


class Kept(Worker):
    """A thread that does nothing."""

    def __init__(self, reactor: Any, name: str) -> None:
        """It has nothing to do."""
        super().__init__(reactor, name)
        self.calls: deque[Call] = deque()

    def do(self, call: Call) -> None:
        """Keep a call."""
        self.calls.append(call)


class ContactTests(SynchronousTestCase):
    """The profile of the contact C{server}, and what it forgets."""

    def setUp(self) -> None:
        """A folder for the profile."""
        self.folder = Path(self.mktemp())
        self.reported: list[str] = []

    def report(self, code: str) -> None:
        """Take what the contact reports of its logins."""
        self.reported.append(code)

    def open(self, key: SharedKey | None = None, pin: bytes = LINK.pin, *, lobby: bool = False) -> Contact:
        """Open it as the daemon does. It receives nothing, and its thread never runs: its calls are kept."""
        options = ContactOptions(partial(prepare("ack"), None), key=key, lobby=lobby)
        link = InviteLink("example.net", 8443, pin)
        self.worker = Kept(cast(Any, None), "contact")
        return open_contact(link, options, time.monotonic, self.folder, self.worker, self.report)

    def store(self) -> ProfileStore:
        """Its profile, opened beside it."""
        store = open_profile(self.folder, open_vault(self.folder, None))
        self.addCleanup(store.close)
        return store

    def test_key_file(self) -> None:
        """Whose key file the daemon has is let in; without one, or with another, nobody is who was let in before."""
        old, new = SharedKey.generate(), SharedKey.generate()
        for key in (old, new, None):
            contact = self.open(key)
            with self.store().reading() as records:
                admitted = [each.name for each in (old, new) if pins.pinned_suite(records, with_guest(each.name)).key]
            self.assertEqual(admitted, [] if key is None else [key.name])
            contact.close()

    def test_other_server(self) -> None:
        """It belongs to one server: with another's key it is not opened, and stays as it is."""
        self.open().close()
        error = self.assertRaises(StateError, self.open, None, bytes(32))
        self.assertIn("another server.key", str(error))
        self.open().close()

    def test_sweeps(self) -> None:
        """From time to time it drops what is old, also of those who write no more."""
        contact = self.open()
        self.addCleanup(contact.close)
        alice = person("alice")
        store = self.store()
        with store.writing() as records:
            profile = load_profile(records)
            assert profile is not None, "made with the contact"
            adopt(records, profile, alice.record, NOW, DIRECTORY)
        messages.compose(store, "alice", "long ago", now=1)
        self.assertEqual(len(messages.history(store, "alice")), 1)
        contact.tick()
        self.assertEqual(messages.history(store, "alice"), [])
        messages.compose(store, "alice", "long ago", now=1, message_id=keys.random_id())
        contact.tick()
        self.assertEqual(len(messages.history(store, "alice")), 1, "not every second")

    def test_lobby(self) -> None:
        """Lines of the lobby are relayed some at a time, with other calls in between, until none is left."""
        contact = self.open(lobby=True)
        self.addCleanup(contact.close)
        alice, store = person("alice"), self.store()
        with store.writing() as records:
            profile = load_profile(records)
            assert profile is not None, "made with the contact"
            adopt(records, profile, alice.record, NOW, DIRECTORY)
            for seq in range(1, MAX_RELAYED + 2):
                row = HistoryRow(draft(alice.profile, Kind.TEXT, NOW), sent=False, at=NOW, status=Status.RECEIVED)
                save(records, HISTORY, lobby_with("alice").bucket, row, seq)
                save_unread(records, lobby_with("alice"), Kind.TEXT, seq)
        contact.on_event(Ready(None))
        left = []
        while self.worker.calls:
            self.worker.calls.popleft()()
            left.append(messages.unread_counts(store).get("#lobby", 0))
        self.assertEqual(left, [1, 0])

    def make_guest(self, key: SharedKey) -> bytes:
        """
        A connection that ended long ago.

        @return: its device.
        """
        nonce = keys.nonce()
        device = keys.guest_device(nonce)
        with self.store().writing() as records:
            connection = guests.GuestConnection(key.name, nonce, key.guest_identity(nonce).public, 1)
            save(records, guests.TABLE, device, connection)
        return device

    def is_known(self, key: SharedKey, device: bytes) -> bool:
        """Is a connection remembered?"""
        with self.store().reading() as records:
            return guests.get_connection(records, with_guest(key.name, device)) is not None

    def test_forgets_guests(self) -> None:
        """It forgets guests that are gone, and none that is here; and no more of anything once it is closed."""
        key = SharedKey.generate()
        contact = self.open(key)
        here, gone = self.make_guest(key), self.make_guest(key)
        contact.forget_gone(frozenset([here]))
        self.assertEqual([self.is_known(key, device) for device in (here, gone)], [True, False])
        contact.close()
        contact.forget_gone(frozenset())

    def test_own_disk(self) -> None:
        """
        A profile that cannot be written is reported each time it connects, and logged once until something was written; at the
        start, the daemon says so.
        """
        contact = self.open()
        self.addCleanup(contact.close)
        contact.peer.local_error = OSError("the disk is full")
        failed = Disconnected("local-error")
        with capturedLogs() as events:
            contact.on_event(failed)
            self.assertEqual(events, [])
            for _ in range(2):
                for event in (Ready(None), failed, Ready(None), failed, Disconnected("lost"), Changed()):
                    contact.on_event(event)
        self.assertEqual([event["problem"] for event in events], ["the disk is full"] * 2)
        self.assertEqual(self.reported, ["local-error", *(["", "local-error"] * 4)])

    def test_forgets_while_held_up(self) -> None:
        """That it can forget them does not say that it can answer: what is held up stays so, and is tried again."""
        contact = self.open(SharedKey.generate())
        self.addCleanup(contact.close)

        def fail() -> None:
            raise OSError("the record cannot be written")

        with capturedLogs() as events:
            contact.attempt(fail)
            contact.forget_gone(frozenset())
            self.assertEqual(len(events), 1)
            contact.tick()
        self.assertEqual([event["log_format"] for event in events[1:]], ["the contact server answers again"])
