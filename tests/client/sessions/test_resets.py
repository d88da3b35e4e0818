"""What did not arrive is asked for, and sent again; what cannot be opened waits without blocking anything."""

from __future__ import annotations

import msgspec

from securemsg.client import messages
from securemsg.client.messages import Received
from securemsg.client.sessions import initiations, prekeys, resets, store
from securemsg.client.state import contacts, quarantine
from securemsg.client.state.conversations import direct
from securemsg.client.state.counters import STREAM_IN, STREAMS, conversation_of
from securemsg.client.state.gaps import load_gaps, streams_in
from securemsg.client.state.profile import DAY
from securemsg.client.state.records import COUNTERS, HISTORY, META
from securemsg.client.state.settings import Policy
from securemsg.protocol import messages as m
from securemsg.protocol.states import Side
from tests.client.case import WorldCase
from tests.client.rig import User, Wire, decoded

HOUR = 3600


def wipe(user: User, *tables: str) -> None:
    """Lose everything in some tables of a store."""
    with user.store.inner.writing() as records:
        for table in tables:
            for bucket, order, _ in records.scan(table):
                records.delete(table, bucket, order)


def wire_of(user: User) -> Wire:
    """The connection of somebody who has one."""
    assert user.wire is not None, "connected"
    return user.wire


def deposits(user: User) -> list[m.Deposit]:
    """What somebody sent on this connection."""
    return decoded(wire_of(user), Side.CLIENT, m.Deposit)


class Loss:
    """
    A server that loses some of what it should deliver, and numbers the rest as if nothing were missing.

    @ivar lose: says what is lost.
    """

    def __init__(self, user: User) -> None:
        """Stand in somebody's way."""
        self.lost: list[m.Deliver] = []
        self.wanted: list[int] = []
        self.seen = 0
        self._tag = 0
        self._acknowledged: dict[int, int] = {}
        wire = self._wire = wire_of(user)
        self._tag = len(decoded(wire, Side.SERVER, m.Deliver))
        wire.to_client = self._deliver
        wire.to_server = self._acknowledge

    def lose(self, *capacity: int) -> None:
        """Lose the deliveries in these places, counted from now on, from 0."""
        self.wanted = list(capacity)
        self.seen = 0

    def _deliver(self, message: m.Message) -> list[m.Message]:
        """Pass a delivery on, under a number of our own, or not."""
        if not isinstance(message, m.Deliver):
            return [message]
        place, self.seen = self.seen, self.seen + 1
        if place in self.wanted:
            self.lost.append(message)
            self._wire.inject(Side.CLIENT, m.Acknowledge(message.tag))
            return []
        self._tag += 1
        self._acknowledged[self._tag] = message.tag
        return [msgspec.structs.replace(message, tag=self._tag)]

    def _acknowledge(self, message: m.Message) -> list[m.Message]:
        """Tell the real server that everything arrived."""
        if isinstance(message, m.Acknowledge):
            return [m.Acknowledge(self._acknowledged.get(message.tag, message.tag))]
        return [message]


class LostSessionTests(WorldCase):
    """One side has lost its sessions."""

    def setUp(self) -> None:
        """The two have talked; then Bob's sessions are gone."""
        super().setUp()
        self.alice.send("bob", "zero")
        self.bob.send("alice", "reply")
        self.bob.read()
        wipe(self.bob, store.TABLE, initiations.TABLE)

    def test_recovered(self) -> None:
        """What could not be opened is sent again in a new session, in order."""
        for number in range(3):
            self.alice.send("bob", f"{number}")
        self.world.advance(2, ticks=2)
        self.assertEqual(self.bob.read(), ["0", "1", "2"])
        self.assertEqual({(line.gap_before, line.note) for line in self.bob.has_read}, {(0, "")})

    def test_goes_on(self) -> None:
        """Afterwards both talk as before."""
        self.test_recovered()
        self.alice.send("bob", "and")
        self.bob.send("alice", "so on")
        self.assertEqual((self.bob.read(), self.alice.read()), (["and"], ["reply", "so on"]))

    def test_does_not_block(self) -> None:
        """What cannot be opened is acknowledged, and lets others through."""
        carol = self.world.user("carol")
        self.alice.send("bob", "lost")
        carol.send("bob", "hello")
        self.assertIn("hello", self.bob.read())

    def test_not_delivered(self) -> None:
        """What cannot be opened is not reported as delivered; once it could, it is."""
        wire_of(self.bob).held = {Side.CLIENT}
        message_id = self.alice.send("bob", "hello", wants_receipt=True)
        self.assertEqual(messages.quarantined(self.bob.store)[0], 1)
        self.assertEqual(self.alice.sent(message_id).status, "accepted")
        wire_of(self.bob).held = set()
        self.world.settle()
        self.world.advance(2, ticks=2)
        self.assertEqual(self.alice.sent(message_id).status, "delivered")

    def test_new_deposit(self) -> None:
        """What is sent again is another deposit of the same message."""
        wire = wire_of(self.alice)
        wire.log.clear()
        self.alice.send("bob", "hello")
        self.world.advance(2, ticks=2)
        sent = deposits(self.alice)
        self.assertEqual(len(sent), 2)
        self.assertNotEqual(sent[0].deposit_id, sent[1].deposit_id)
        self.assertLess(sent[0].n, sent[1].n)
        self.assertEqual(len(self.bob.texts("alice")), 2)

    def test_few_an_hour(self) -> None:
        """A peer gets three resets within minutes, and then at most one an hour, whatever arrives."""
        wire = wire_of(self.bob)
        wire.log.clear()
        wire.to_client = lambda message: (
            [msgspec.structs.replace(message, own=message.own[:-1])] if isinstance(message, m.Deliver) else [message]
        )
        for number in range(20):
            self.alice.send("bob", f"{number}")
            self.world.advance(60)
        self.assertEqual(len(deposits(self.bob)), resets.RESET_BURST)
        for hour in (1, 2, 3):
            self.world.advance(HOUR)
            self.alice.send("bob", "more")
            self.world.advance(1)
            self.assertEqual(len(deposits(self.bob)), resets.RESET_BURST + hour)

    def test_told_once(self) -> None:
        """Whose messages could not be opened, how many, and why, is told once, and again only when more come."""
        wire_of(self.alice).held = {Side.SERVER}
        for number in (2, 1):
            for _ in range(number):
                self.alice.send("bob", "lost")
            told = [(peer.name, peer.unreported, peer.why) for peer in messages.pop_unreported(self.bob.store)]
            self.assertEqual(told, [("alice", number, "unauthentic")])
            self.assertEqual(messages.pop_unreported(self.bob.store), [])

    def test_quarantine_forgets(self) -> None:
        """What was asked for and came by another way is dropped after a while."""
        self.test_recovered()
        self.assertEqual(messages.quarantined(self.bob.store), (1, 0))
        self.world.advance(8 * 86400)
        self.bob.connect()
        self.assertEqual(messages.quarantined(self.bob.store), (0, 0))

    def test_both_lost(self) -> None:
        """Both may lose their sessions at once."""
        wipe(self.alice, store.TABLE, initiations.TABLE)
        self.alice.send("bob", "from alice")
        self.bob.send("alice", "from bob")
        self.world.advance(2, ticks=2)
        self.assertEqual(self.bob.read(), ["from alice"])
        self.assertEqual(self.alice.read(), ["reply", "from bob"])

    def test_unknown_prekeys(self) -> None:
        """A first message to prekeys whose private halves are gone is asked for again, though its sender is not known yet."""
        carol = self.world.user("carol")
        wipe(self.bob, prekeys.TABLE)
        carol.send("bob", "hello")
        self.assertEqual(messages.quarantined(self.bob.store), (1, 0))
        self.assertEqual(self.bob.read(), ["hello"])


class GapTests(WorldCase):
    """Counters that are missing."""

    def setUp(self) -> None:
        """Between Bob, who confirms to everybody, and the server stands somebody who loses messages."""
        super().setUp()
        self.bob.confirm_to(Policy.EVERYBODY)
        self.alice.send("bob", "zero")
        self.bob.read()
        self.loss = Loss(self.bob)

    def send(self, count: int, *lost: int) -> None:
        """Alice sends some messages; some are lost."""
        self.loss.lose(*lost)
        for number in range(count):
            self.alice.send("bob", f"{number}")

    def received(self) -> list[tuple[str, int]]:
        """Bob's history: texts, and gaps before them."""
        return [(line.text, line.gap_before) for line in self.bob.lines("alice") if isinstance(line, Received)]

    def test_shown(self) -> None:
        """A loss shows as soon as a later message comes."""
        self.send(4, 1, 2)
        self.assertEqual(self.received(), [("zero", 0), ("0", 0), ("3", 2)])

    def test_filled(self) -> None:
        """What is missing is asked for, comes late, and takes its place; the gap is gone."""
        self.send(4, 1, 2)
        self.world.advance(61)
        self.assertEqual(self.received(), [(text, 0) for text in ("zero", "0", "1", "2", "3")])
        self.assertEqual([line.note for line in self.bob.lines("alice") if isinstance(line, Received)][2:4], ["late"] * 2)

    def test_patience(self) -> None:
        """What is only late is not asked for: it has a minute."""
        self.send(3, 1)
        self.world.advance(50, ticks=5)
        self.assertEqual(deposits(self.bob), [])

    def test_partly(self) -> None:
        """A gap that is filled in part shows what is left of it."""
        self.send(4, 1, 2)
        self.loss.lose(0)
        self.world.advance(61)
        self.assertEqual(self.received(), [("zero", 0), ("0", 0), ("2", 1), ("3", 0)])

    def test_late_is_given(self) -> None:
        """What comes late is given to its reader, like everything."""
        self.send(3, 1)
        self.assertEqual(self.bob.read(), ["0", "2"])
        self.world.advance(61)
        self.assertEqual(self.bob.read(), ["1"])

    def test_present_session(self) -> None:
        """Sessions that are well are not replaced because a message was lost."""
        self.send(3, 1)
        wire_of(self.bob).log.clear()
        self.world.advance(61)
        self.assertEqual(decoded(wire_of(self.bob), Side.CLIENT, m.Claim), [])
        self.assertEqual(self.received()[-1], ("2", 0))

    def test_given_up(self) -> None:
        """What does not come after five requests is not asked for any more; the gap stays visible."""
        self.send(3, 1)
        self.loss.wanted = list(range(1000))
        self.world.advance(12 * HOUR, ticks=48)
        self.assertEqual(len(deposits(self.bob)), resets.MAX_ASKED)
        self.assertEqual(self.received(), [("zero", 0), ("0", 0), ("2", 1)])

    def test_history_is_gone(self) -> None:
        """What its sender does not have any more stays missing, and is seen to be."""
        self.send(3, 1)
        lines = self.alice.lines("bob")
        with self.alice.store.inner.writing() as records:
            records.delete(HISTORY, direct("bob").bucket, lines[2].seq)
        self.world.advance(61)
        self.assertEqual(self.received(), [("zero", 0), ("0", 0), ("2", 1)])
        self.send(2)
        self.assertEqual(self.received()[-2:], [("0", 0), ("1", 0)])
        self.assertEqual(messages.notices(self.bob.store), [])

    def test_expired(self) -> None:
        """What has expired is not sent again, and stays missing."""
        self.loss.lose(0)
        self.alice.send("bob", "for a minute", expiry=60)
        self.alice.send("bob", "later")
        self.world.advance(120, ticks=2)
        self.assertEqual(self.received(), [("zero", 0), ("later", 1)])

    def test_receipt_after_loss(self) -> None:
        """A lost message that comes late is confirmed as well."""
        self.loss.lose(0)
        message_id = self.alice.send("bob", "hello", wants_receipt=True)
        self.alice.send("bob", "later")
        self.assertEqual(self.alice.sent(message_id).status, "accepted")
        self.world.advance(61)
        self.assertEqual(self.alice.sent(message_id).status, "delivered")

    def test_large_gap(self) -> None:
        """A gap of thousands is counted, and costs little: only the last of them are waited for."""
        self.loss.wanted = list(range(700))
        self.loss.seen = 0
        for number in range(701):
            messages.compose(self.alice.store, "bob", f"{number}", now=self.world.clock)
        self.alice.pump()
        self.assertEqual(self.received(), [("zero", 0), ("700", 700)])
        between = conversation(self.alice, self.bob)
        with self.bob.store.reading() as records:
            (stream,) = streams_in(records, between)
            self.assertEqual(len(load_gaps(records, stream)), 512)


def conversation(one: User, other: User) -> bytes:
    """The conversation of two."""
    return conversation_of(one.profile().identity.public, other.profile().identity.public)


class ResetTests(WorldCase):
    """Whoever asks too much."""

    def test_taken_a_few_times(self) -> None:
        """A peer that asks again and again is answered four times an hour."""
        self.bob.confirm_to(Policy.EVERYBODY)
        self.alice.send("bob", "zero")
        for number in range(10):
            self.alice.send("bob", f"{number}")
        wire_of(self.alice).log.clear()
        bob, device = self.bob.profile(), self.alice.profile().device_id
        for _ in range(10):
            with self.bob.store.inner.writing() as records:
                # Bob asks without end, and says that nothing of Alice's ever came.
                records.delete(META, resets.RESETS_BY_PEER + b"alice")
                for bucket, order, _ in records.scan(COUNTERS):
                    if bucket.startswith((STREAM_IN, STREAMS)):
                        records.delete(COUNTERS, bucket, order)
                resets.request_reset(records, bob, "alice", device, int(self.world.clock), gaps=False)
            self.world.advance(1)
        self.assertEqual(len(deposits(self.alice)), resets.MAX_ANSWERED * 11)
        self.assertEqual(len(self.bob.texts("alice")), 11)

    def test_made_up(self) -> None:
        """A server that makes up senders does not fill the contacts with them, also where everybody gets receipts."""
        self.bob.confirm_to(Policy.EVERYBODY)
        names = [f"user{number}" for number in range(8)]
        for name in names:
            self.world.user(name)
        bob = self.bob.profile()
        with self.bob.store.inner.writing() as records:
            for name in names:
                resets.request_reset(records, bob, name, bytes(16), int(self.world.clock), gaps=False)
        self.world.advance(1)
        with self.bob.store.reading() as records:
            self.assertEqual(len(contacts.all_contacts(records)), resets.MAX_ANSWERED)


class StrangerTests(WorldCase):
    """Alice writes to Bob, who has never written to her: a reset shows her that he is online."""

    def setUp(self) -> None:
        """She is among his contacts."""
        super().setUp()
        self.alice.send("bob", "hello")
        self.number = 0

    def garbage(self, user: User) -> None:
        """Somebody sends Bob something that does not open."""
        self.number += 1
        part = m.Part(self.bob.profile().device_id, bytes([self.number]) * 300)
        to = [m.Destination("bob", [part])]
        wire_of(user).client.send(m.Deposit(bytes([self.number]) * 16, 100 + self.number, 3600, bytes(300), to))
        self.world.settle()

    def resets_for_garbage(self, hours: int) -> int:
        """How much Bob sends when something that does not open comes from Alice each hour."""
        before = len(deposits(self.bob))
        for _ in range(hours):
            self.garbage(self.alice)
            self.world.advance(HOUR, ticks=2)
        return len(deposits(self.bob)) - before

    def test_once_a_day(self) -> None:
        """So she gets one a day, whoever gets receipts; and none at all would leave what he cannot open unread for good."""
        for policy in (Policy.NOBODY, Policy.KNOWN):
            self.bob.confirm_to(policy)
            self.assertEqual((policy, self.resets_for_garbage(23)), (policy, 1))
            self.world.advance(2 * HOUR, ticks=2)
            self.assertEqual(len(deposits(self.bob)), 2)
            self.world.advance(DAY, ticks=2)
            self.bob.connect()

    def test_everybody(self) -> None:
        """Where everybody gets receipts she learns nothing from a reset, and gets one an hour."""
        self.bob.confirm_to(Policy.EVERYBODY)
        self.assertEqual(self.resets_for_garbage(4), 4)

    def test_known(self) -> None:
        """Whom he has written to gets one an hour as well, whatever he has chosen for receipts."""
        self.bob.confirm_to(Policy.NOBODY)
        self.bob.send("alice", "hello")
        self.assertEqual(self.resets_for_garbage(4), 4)

    def test_together(self) -> None:
        """All who are strangers to him get four an hour together, also those among his contacts; the others follow."""
        others = [self.world.user(f"user{number}") for number in range(6)]
        for user in others:
            user.send("bob", "hello")
            self.garbage(user)
        self.world.advance(1)
        self.assertEqual(len(deposits(self.bob)), resets.MAX_ANSWERED)
        self.world.advance(2 * HOUR, ticks=4)
        self.assertEqual(len(deposits(self.bob)), len(others))

    def test_gap(self) -> None:
        """What is missing of her is asked for like that of others."""
        Loss(self.bob).lose(0)
        for text in ("0", "1"):
            self.alice.send("bob", text)
        self.world.advance(2 * resets.GAP_DELAY, ticks=2)
        self.assertEqual(self.bob.texts("alice"), ["hello", "0", "1"])


class QuarantineTests(WorldCase):
    """The quarantine is bounded."""

    def test_bounds(self) -> None:
        """A peer fills its share and no more; what is beyond is counted, acknowledged, and told."""
        self.alice.send("bob", "zero")
        wire = wire_of(self.bob)
        wire.to_client = lambda message: (
            [msgspec.structs.replace(message, own=message.own[:-1])] if isinstance(message, m.Deliver) else [message]
        )
        wire.to_server = lambda message: [] if isinstance(message, m.Claim) else [message]
        for number in range(quarantine.MAX_PEER_ROWS + 10):
            messages.compose(self.alice.store, "bob", f"{number}", now=self.world.clock)
        self.alice.pump()
        self.assertEqual(messages.quarantined(self.bob.store), (quarantine.MAX_PEER_ROWS, 10))
        self.assertIn("quarantine-full", self.bob.codes())
        carol = self.world.user("carol")
        carol.send("bob", "hello")
        self.assertEqual(messages.quarantined(self.bob.store), (quarantine.MAX_PEER_ROWS + 1, 10))

    def test_recovered_after_overflow(self) -> None:
        """What found no room is sent again like all the rest."""
        self.test_bounds()
        self.bob.connect()
        self.world.advance(2)
        self.assertEqual(len(self.bob.texts("alice")), quarantine.MAX_PEER_ROWS + 11)
