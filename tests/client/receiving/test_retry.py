"""What of the quarantine is tried again, when, and how much at once."""

from __future__ import annotations

from securemsg.client.context import Context
from securemsg.client.receiving import inbox
from securemsg.client.receiving.inbox import Retry
from securemsg.client.receiving.receiver import Receiver
from securemsg.client.sessions import suites
from securemsg.client.state import quarantine
from securemsg.client.state.quarantine import MENDABLE, PAGE
from securemsg.protocol import messages as m
from securemsg.protocol.codes import TABLE, Consequence
from tests.client.case import WorldCase


class RetryTests(WorldCase):
    """Messages of Alice's that would open are in Bob's quarantine."""

    def setUp(self) -> None:
        """They were delivered to nobody."""
        super().setUp()
        self.caught: list[m.Deliver] = []
        assert self.bob.wire is not None, "connected"
        self.bob.wire.to_client = self._catch
        self.device = self.alice.profile().device_id

    def _catch(self, message: m.Message) -> list[m.Message]:
        """Keep what is delivered to Bob."""
        if isinstance(message, m.Deliver):
            self.caught.append(message)
            return []
        return [message]

    def hold(self, code: str) -> m.Deliver:
        """Put a message into the quarantine, for a reason that was true once."""
        self.alice.send("bob", code)
        delivery = self.caught[-1]
        with self.bob.store.inner.writing() as records:
            quarantine.add(records, delivery, code, b"", int(self.world.clock))
        return delivery

    def retry(self, wanted: Retry) -> Retry | None:
        """Try a page."""
        profile = self.bob.profile()
        with self.bob.store.inner.writing() as records:
            _, following = inbox.retry(records, profile, wanted, int(self.world.clock))
        return following

    def receiver(self) -> Receiver:
        """The incoming half of a client of Bob's."""
        return Receiver(Context(self.bob.store, self.bob.profile(), self.world.now, self.world.seconds, self.world.later))

    def test_what_a_session_mends(self) -> None:
        """When a device has begun a session, only what lacked one is tried."""
        codes = [code.name for code in TABLE if code.kind & (Consequence.RESET | Consequence.HELD)]
        for code in codes:
            self.hold(code)
        for device, opened in ((self.device, MENDABLE), (b"", codes)):
            wanted: Retry | None = Retry("alice", device)
            while wanted is not None:
                wanted = self.retry(wanted)
            self.assertEqual(self.bob.texts("alice"), [code for code in codes if code in opened])

    def test_of_that_device(self) -> None:
        """What another device sent is not tried."""
        self.hold("no-session")
        self.retry(Retry("alice", b"x" * 16))
        self.assertEqual(self.bob.texts("alice"), [])
        self.retry(Retry("alice", self.device))
        self.assertEqual(self.bob.texts("alice"), ["no-session"])

    def test_a_page(self) -> None:
        """So many are tried in one turn; the next page goes on behind them."""
        for _ in range(PAGE + 1):
            self.hold("no-session")
        following = self.retry(Retry("alice", self.device))
        self.assertEqual(len(self.bob.texts("alice")), PAGE)
        assert following is not None, "there is one more"
        self.assertIsNone(self.retry(following))
        self.assertEqual(len(self.bob.texts("alice")), PAGE + 1)

    def test_deliveries_first(self) -> None:
        """What is delivered meanwhile does not wait for the quarantine."""
        for _ in range(PAGE + 1):
            self.hold("no-session")
        self.alice.send("bob", "fresh")
        receiver = self.receiver()
        receiver.restart()
        receiver.take_in()
        self.assertEqual(len(self.bob.texts("alice")), PAGE)
        receiver.delivered(m.Deliver(1, *self.fields(self.caught[-1])))
        receiver.take_in()
        self.assertEqual(self.bob.texts("alice")[-1], "fresh")
        self.assertEqual(len(self.bob.texts("alice")), PAGE + 1)
        receiver.take_in()
        self.assertEqual(len(self.bob.texts("alice")), PAGE + 2)

    def fields(self, delivery: m.Deliver) -> tuple[str, bytes, bytes, int, bytes, bytes]:
        """All of a delivery but its tag."""
        return (delivery.account, delivery.device, delivery.deposit_id, delivery.time, delivery.common, delivery.own)

    def test_garbage_stays(self) -> None:
        """Garbage in the peer's name is not tried again because the peer begins a session: its rows are left as they are."""
        garbage = self.hold("unauthentic")
        self.retry(Retry("alice", self.device))
        with self.bob.store.reading() as records:
            (row,) = quarantine.rows_of(records, "alice")
        self.assertEqual((row[1].common, row[1].code), (garbage.common, "unauthentic"))

    def test_began(self) -> None:
        """A session that comes has what its device sent tried again, and nothing else."""
        self.hold("no-session")
        self.hold("unauthentic")
        with self.alice.store.inner.writing() as records:
            suites.archive_all(records)
        self.alice.send("bob", "anew")
        receiver = self.receiver()
        receiver.delivered(m.Deliver(1, *self.fields(self.caught[-1])))
        receiver.take_in()
        self.assertEqual(self.bob.texts("alice"), ["anew"])
        receiver.take_in()
        while receiver.is_busy:
            receiver.take_in()
        self.assertEqual(self.bob.texts("alice"), ["no-session", "anew"])
