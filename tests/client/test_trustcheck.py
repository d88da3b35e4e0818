"""Rows that decide whom we trust, deleted or put back one by one by somebody without the key."""

from __future__ import annotations

import msgspec
from attrs import define, field

from securemsg.client import messages
from securemsg.client.sessions import pins
from securemsg.client.state import contacts, integrity, verification
from securemsg.client.state.contacts import Contact
from securemsg.client.state.conversations import direct
from securemsg.client.state.profile import DAY
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import PQXDH, PSK
from tests.client.case import WorldCase

SECRET = bytes(range(32))


@define
class Watched:
    """Records that note in which tables they are written."""

    inner: IRecords
    written: list[str] = field(factory=list)

    def put(self, table: str, bucket: bytes, value: bytes, order: int = 0) -> None:
        """Write, and note it."""
        self.written.append(table)
        self.inner.put(table, bucket, value, order)

    def __getattr__(self, name: str) -> object:
        """Everything else is as it was."""
        return getattr(self.inner, name)


class TrustTests(WorldCase):
    """Alice knows Bob and Carol, has compared numbers with Bob, and has a key file for Carol."""

    def setUp(self) -> None:
        """She has talked to both, and is away."""
        super().setUp()
        self.world.user("carol")
        for name in ("bob", "carol"):
            self.alice.send(name, "hello")
        self.confirm()
        self.pin(PSK, SECRET)
        self.alice.connect()
        self.part(self.alice)

    def confirm(self) -> None:
        """Alice compares numbers with Bob."""
        profile, known = self.alice.profile(), self.contact()
        with self.alice.store.writing() as records:
            verification.mark_shown(records, known)
            verification.confirm(records, profile, "bob")

    def pin(self, suite: str, key: bytes = b"") -> None:
        """Alice chooses how the conversation with Carol is encrypted."""
        with self.alice.store.writing() as records:
            pins.pin_suite(records, direct("carol"), suite, key)

    def contact(self, name: str = "bob") -> Contact:
        """What Alice knows of somebody."""
        with self.alice.store.reading() as records:
            found = contacts.get_contact(records, name)
        assert found is not None, "they have met"
        return found

    def row(self, table: str, bucket: bytes) -> bytes:
        """A row as it is."""
        with self.alice.store.reading() as records:
            value = records.get(table, bucket)
        assert value is not None, "it is there"
        return value

    def tamper(self, table: str, bucket: bytes, value: bytes | None = None) -> None:
        """Put a row back, or delete it."""
        with self.alice.store.inner.writing() as records:
            if value is None:
                records.delete(table, bucket)
            else:
                records.put(table, bucket, value)

    def told(self) -> list[tuple[str, str]]:
        """What Alice is told at her next start."""
        self.alice.die()
        self.alice.connect()
        notices = [(notice.code, notice.name) for notice in messages.notices(self.alice.store)]
        return [notice for notice in notices if notice[0].startswith("trust-")]

    def test_nothing(self) -> None:
        """Whatever the program itself changes is nothing to warn of."""
        self.pin(PQXDH)
        self.world.clock += 8 * DAY
        self.alice.connect()
        self.bob.connect()
        self.alice.send("bob", "with new lists")
        with self.alice.store.writing() as records:
            pins.forget(records, direct("carol"))
        self.world.user("dave").send("alice", "hi")
        self.assertEqual(self.told(), [])

    def test_contact_put_back(self) -> None:
        """A contact that was verified once is not verified by putting the old row back."""
        old = self.row(contacts.TABLE, b"bob")
        changed = msgspec.structs.replace(self.contact(), verified=False, unconfirmed=(bytes(16),))
        with self.alice.store.writing() as records:
            contacts.put_contact(records, changed)
        self.assertEqual(self.told(), [])
        self.part(self.alice)
        self.tamper(contacts.TABLE, b"bob", old)
        self.assertTrue(self.contact().verified)
        self.assertEqual(self.told(), [("trust-changed", "bob")])
        self.assertFalse(self.contact().verified)

    def test_contact_deleted(self) -> None:
        """A contact that was deleted, so that the next identity would be taken on first use, is named."""
        self.tamper(contacts.TABLE, b"bob")
        self.assertEqual(self.told(), [("trust-changed", "bob")])

    def test_suite_deleted(self) -> None:
        """So is one whose key file was unpinned."""
        self.tamper(pins.TABLE, direct("carol").bucket)
        self.assertEqual(self.told(), [("trust-changed", "carol")])

    def test_suite_put_back(self) -> None:
        """So is one whose former key file was put back."""
        old = self.row(pins.TABLE, direct("carol").bucket)
        self.pin(PSK, bytes(32))
        self.tamper(pins.TABLE, direct("carol").bucket, old)
        self.assertEqual(self.told(), [("trust-changed", "carol")])

    def test_record_deleted(self) -> None:
        """Without the record nobody counts as verified, and it is begun anew."""
        self.tamper(integrity.TABLE, b"")
        self.assertEqual(self.told(), [("trust-lost", "")])
        self.assertFalse(self.contact().verified)
        self.confirm()
        self.assertEqual(self.told(), [("trust-lost", "")])
        self.assertTrue(self.contact().verified)

    def test_record_put_back(self) -> None:
        """An old record does not fit what was changed since."""
        old = self.row(integrity.TABLE, b"")
        self.pin(PQXDH)
        self.tamper(integrity.TABLE, b"", old)
        self.assertEqual(self.told(), [("trust-changed", "carol")])

    def test_each_time(self) -> None:
        """The same done again is told again, however soon, whether or not the user has verified the contact in between."""
        for times in (1, 2, 3, 4):
            self.tamper(contacts.TABLE, b"bob")
            self.assertEqual(self.told(), [("trust-changed", "bob")] * times)
            self.alice.send("bob", "to whom?")
            if times < 3:
                self.confirm()

    def test_lost_each_time(self) -> None:
        """So is a record that is deleted again."""
        for times in (1, 2):
            self.tamper(integrity.TABLE, b"")
            self.assertEqual(self.told(), [("trust-lost", "")] * times)
            self.confirm()

    def test_once(self) -> None:
        """It is told once."""
        self.tamper(contacts.TABLE, b"bob")
        self.assertEqual(self.told(), [("trust-changed", "bob")])
        self.assertEqual(self.told(), [("trust-changed", "bob")])
        self.world.clock += 2 * DAY
        self.assertEqual(self.told(), [("trust-changed", "bob")])

    def test_changed_in_between(self) -> None:
        """A change after the row was exchanged does not hide that: it is told at the next start."""
        self.alice.connect()
        self.tamper(contacts.TABLE, b"bob")
        self.alice.send("bob", "to whom?")
        self.assertEqual(self.told(), [("trust-changed", "bob")])

    def test_no_cost(self) -> None:
        """What does not count, such as when a contact was looked up last, does not have the record written."""
        known = self.contact()
        with self.alice.store.writing() as records:
            watched = Watched(records)
            later = msgspec.structs.replace(known, checked_at=known.checked_at + 1, unannounced=True)
            contacts.put_contact(watched, later)  # type: ignore[arg-type]
            self.assertNotIn(integrity.TABLE, watched.written)
            contacts.put_contact(watched, msgspec.structs.replace(later, verified=False))  # type: ignore[arg-type]
            self.assertIn(integrity.TABLE, watched.written)
