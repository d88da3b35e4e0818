"""The process with the lock: its agent, its questions, and the jobs of other processes."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from securemsg.account.errors import Exit, SecuremsgError
from securemsg.client import jobs, messages
from securemsg.client.sessions import pins
from securemsg.client.state.contacts import get_contact
from securemsg.client.state.conversations import direct
from securemsg.client.wiredump import WireDump, dump_wire
from securemsg.net.clock import monotonic_seconds
from securemsg.protocol.envelope import PSK
from securemsg.protocol.framing import LENGTH_SIZE
from securemsg.protocol.messages import Message, Unknown
from securemsg.storage.errors import StateUnusable
from securemsg.storage.memory import MemoryProfile
from tests.cli.rig import PlaceCase


class OwnerTests(PlaceCase):
    """What the owner of the connection does for its own command and for other processes."""

    def test_ready(self) -> None:
        """It logs in, and has drained what waited."""
        connection = self.place.person("ada").connection
        self.assertTrue(connection.is_owner and connection.is_ready and connection.is_drained)
        self.assertEqual((connection.fatal, connection.last_failure), ("", ""))

    def test_sends_drafts(self) -> None:
        """What another process wrote goes out when the owner looks, without a wake-up after a second."""
        ada, _ = self.place.person("ada"), self.place.person("ben")
        number = messages.compose(ada.context.store, "ben", "hello", now=self.place.now())
        self.place.settle(1.5)
        sent = messages.sent(ada.context.store, number)
        assert sent is not None
        self.assertEqual(sent.status, "accepted")

    def test_ping(self) -> None:
        """A ping measures the time to the answer."""
        ada = self.place.person("ada")
        asked = Deferred.fromCoroutine(ada.connection.ask("ping", timeout=5))
        self.place.settle()
        facts = self.successResultOf(asked)
        self.assertEqual((facts["now"], float(facts["seconds"])), (str(int(self.place.now())), 0.0))

    def test_drained_after_a_key(self) -> None:
        """Whoever asks whether everything is there gets the answer once what a new key file opens is in the store."""
        ada, ben = self.place.person("ada"), self.place.person("ben")
        with ben.context.store.writing() as records:
            pins.pin_suite(records, direct("ada"), PSK, bytes(range(32)))
        messages.compose(ben.context.store, "ada", "locked", now=self.place.now())
        self.place.settle(1.5)
        self.assertEqual(messages.unread(ada.context.store), [])
        with ada.context.store.writing() as records:
            pins.pin_suite(records, direct("ben"), PSK, bytes(range(32)))
        asked = Deferred.fromCoroutine(ada.connection.ask("drained", timeout=5))
        there = asked.addCallback(lambda facts: [message.text for message in messages.unread(ada.context.store)])
        self.place.settle(1.5)
        self.assertEqual(self.successResultOf(there), ["locked"])

    def test_job_of_another_process(self) -> None:
        """A process without the lock has its job run all the same."""
        ada, _ = self.place.person("ada"), self.place.person("ben")
        beside = self.place.beside(ada)
        asked = Deferred.fromCoroutine(beside.ask("fetch", "ben", timeout=5))
        self.assertFalse(beside.is_owner)
        self.place.settle(1.5)
        self.assertEqual(self.successResultOf(asked), {})
        with ada.context.store.reading() as records:
            self.assertIsNotNone(get_contact(records, "ben"))

    def test_own_job(self) -> None:
        """A process that takes the lock over runs the job that it left for the owner, and has the answer at once."""
        ada = self.place.person("ada")
        asked = Deferred.fromCoroutine(self.place.beside(ada).ask("ping", timeout=5))
        ada.connection.stop()
        self.place.settle(0.5)
        self.assertIn("seconds", self.successResultOf(asked))

    def test_jobs_leave_nothing(self) -> None:
        """Jobs that are done at once run as often as they are left, and are not remembered."""
        ada = self.place.person("ada")
        for _ in range(3):
            asked = Deferred.fromCoroutine(self.place.beside(ada).ask("link", timeout=5))
            self.place.settle(1.5)
            self.successResultOf(asked)
        self.assertEqual(jobs.pending(ada.context.store, clock=monotonic_seconds), [])

    def test_unknown_account(self) -> None:
        """A refusal of the server comes back as one."""
        asked = Deferred.fromCoroutine(self.place.person("ada").connection.ask("fetch", "nobody", timeout=5))
        self.place.settle()
        self.assertEqual(self.failureResultOf(asked, SecuremsgError).value.status, Exit.NO_CONTACT)

    def test_invite(self) -> None:
        """An invite brings a token and its end."""
        asked = Deferred.fromCoroutine(self.place.person("ada").connection.ask("invite", "3600", timeout=5))
        self.place.settle()
        facts = self.successResultOf(asked)
        self.assertEqual(int(facts["expires_at"]), int(self.place.now()) + 3600)
        self.assertEqual(len(bytes.fromhex(facts["token"])), 16)

    def test_drained(self) -> None:
        """Whoever waits for the mailbox to be empty hears of it when everything is in the store."""
        ada = self.place.person("ada")
        asked = Deferred.fromCoroutine(self.place.beside(ada).ask("drained", timeout=5))
        self.place.settle(1.5)
        self.assertEqual(self.successResultOf(asked), {})

    def test_unknown_question(self) -> None:
        """A question of a newer version is refused, and blocks nothing."""
        ada = self.place.person("ada")
        for connection in (ada.connection, self.place.beside(ada)):
            asked = Deferred.fromCoroutine(connection.ask("dance", timeout=5))
            self.place.settle(1.5)
            self.assertEqual(self.failureResultOf(asked, SecuremsgError).value.code, "unknown-message")

    def test_disk_full(self) -> None:
        """A disk that is full for a while ends nothing: the job is settled once there is room."""
        ada = self.place.person("ada")
        asked = Deferred.fromCoroutine(self.place.beside(ada).ask("drained", timeout=30))
        store = ada.context.store
        assert isinstance(store, MemoryProfile)

        def fail() -> None:
            raise StateUnusable("the disk is full")

        store.before_commit = fail
        self.place.settle(3)
        self.assertNoResult(asked)
        store.before_commit = None
        self.place.settle(3)
        self.assertEqual(self.successResultOf(asked), {})

    def test_server_down(self) -> None:
        """A command of one go learns that nobody answers."""
        ada = self.place.person("ada")
        self.successResultOf(self.stop(ada.connection.stop()))
        self.place.is_up = False
        connection = self.place.beside(ada)
        asked = Deferred.fromCoroutine(connection.ask("ping", timeout=5))
        self.place.settle()
        problem = self.failureResultOf(asked, SecuremsgError).value
        self.assertEqual((problem.status, problem.code), (Exit.NOT_CONNECTED, "not-connected"))

    def test_server_stops(self) -> None:
        """A connection that ends is known at once, with its reason."""
        ada = self.place.person("ada")
        self.place.server.stop()
        self.place.settle()
        connection = ada.connection
        self.assertEqual((connection.is_ready, connection.is_drained, connection.last_failure), (False, False, "stopping"))

    def stop(self, stopped: Deferred[None]) -> Deferred[None]:
        """Let a connection end."""
        self.place.settle()
        return stopped


class WatchTests(PlaceCase):
    """Somebody wants to see what goes over the wire."""

    def test_both_directions(self) -> None:
        """What is shown was in the bytes that went over the wire, in either direction, and the text was not."""
        seen: list[WireDump] = []
        wire: list[bytes] = []

        def watch(message: Message | Unknown) -> None:
            dump = dump_wire(message)
            if dump is not None:
                seen.append(dump)

        ada = self.place.person("ada", watch=watch)
        stream = self.place.dialers[-1].stream
        assert stream is not None

        def tapped(pass_on: Callable[[bytes], object]) -> Callable[[bytes], None]:
            def take(data: bytes) -> None:
                wire.append(data)
                pass_on(data)

            return take

        self.patch(stream.transport, "write", tapped(stream.transport.write))
        self.patch(stream, "dataReceived", tapped(stream.dataReceived))
        ben = self.place.person("ben")
        texts = [f"what {name} has to say, and nobody else is to read" for name in ("ada", "ben")]
        messages.compose(ada.context.store, "ben", texts[0], now=self.place.now())
        self.place.settle(1.5)
        messages.compose(ben.context.store, "ada", texts[1], now=self.place.now())
        self.place.settle(1.5)
        self.assertEqual([line.text for line in messages.history(ada.context.store, "ben", 9)], texts)
        shown = [(dump.is_ours, dump.name, dump.suite) for dump in seen]
        self.assertEqual(shown, [(True, "ben", "pqxdh"), (False, "ben", "pqxdh")])
        passed = b"".join(wire)
        for dump in seen:
            self.assertIn(dump.encrypted, passed)
            self.assertIn((dump.frame - LENGTH_SIZE).to_bytes(LENGTH_SIZE, "big"), passed)
        for text in texts:
            self.assertNotIn(text.encode(), passed)
