"""What becomes of deliveries: authentic ones that make no sense, repetitions, and how counters are taken."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client import messages
from securemsg.client.state import contacts, counters, gaps, verification
from securemsg.client.state.conversations import direct
from securemsg.client.state.counters import GAPS, chain_digest, conversation_of
from securemsg.client.state.gaps import Arrival, open_gaps, receive
from securemsg.client.state.records import COUNTERS, OUTBOX, ROWS, OutboxRow, next_seq, save
from securemsg.client.state.settings import Policy
from securemsg.interfaces import IRecords
from securemsg.protocol import messages as m
from securemsg.protocol.envelope import MAX_RESET_STREAMS, Content, Kind, Receipt, Share, StreamEnd, encode_record
from securemsg.protocol.messages import ListMark
from securemsg.protocol.states import Side
from securemsg.storage.memory import MemoryProfile
from tests.client.case import WorldCase
from tests.client.rig import START, decoded

NOBODY = ListMark(0, b"")


class SenselessTests(WorldCase):
    """A contact, whose messages are authentic, sends what no honest client would."""

    def setUp(self) -> None:
        """They have talked."""
        super().setUp()
        self.alice.send("bob", "zero")
        self.bob.read()
        alice, bob = self.alice.profile(), self.bob.profile()
        self.content = Content(
            message_id=bytes(range(16)),
            kind=int(Kind.TEXT),
            conversation=conversation_of(alice.identity.public, bob.identity.public),
            device=alice.device_id,
            incarnation=alice.incarnation,
            counter=2,
            previous=b"",
            continues=(),
            own_list=NOBODY,
            peer_list=NOBODY,
            sent_at=START,
            wants_receipt=False,
            body=b"hello",
        )

    def send(self, **fields: object) -> None:
        """Send exactly this content."""
        content = msgspec.structs.replace(self.content, **fields)
        with self.alice.store.inner.writing() as records:
            row = OutboxRow(direct("bob"), content.kind, 0, START, 3600, encode_record(content))
            save(records, OUTBOX, ROWS, row, next_seq(records))
        self.alice.pump()

    def senseless(self, **fields: object) -> None:
        """Check that a content is kept away, that nobody is asked to send it again, and that the next message is read."""
        assert self.bob.wire is not None, "connected"
        self.send(**fields)
        self.assertEqual(self.bob.read(), [])
        self.assertEqual(messages.quarantined(self.bob.store), (1, 0))
        self.assertEqual(decoded(self.bob.wire, Side.CLIENT, m.Deposit), [])
        self.assertIn("bad-content", self.bob.codes())
        self.send(counter=2, message_id=bytes(16))
        self.assertEqual(self.bob.read(), ["hello"])

    def test_sensible(self) -> None:
        """The content that the other tests spoil is a good one."""
        self.send()
        self.assertEqual(self.bob.read(), ["hello"])

    def test_other_device(self) -> None:
        """A content names the device that its session proved."""
        self.senseless(device=bytes(16))

    def test_continues_itself(self) -> None:
        """A stream goes on from an earlier incarnation, never from its own or a later one."""
        self.senseless(continues=(StreamEnd(self.content.incarnation, 1, b""),))

    def test_receipt_with_counter(self) -> None:
        """Receipts are outside the counters."""
        self.senseless(kind=int(Kind.RECEIPT), body=encode_record(Receipt([])))

    def test_broken_receipt(self) -> None:
        """A receipt has ids in it."""
        self.senseless(kind=int(Kind.RECEIPT), counter=0, conversation=bytes(16), body=b"hello")

    def test_broken_reset(self) -> None:
        """A reset says what is missing."""
        self.send(kind=int(Kind.RESET), counter=0, conversation=bytes(16), body=b"hello")
        # Its body is made when it is sealed, so it is an honest one after all.
        self.assertEqual(messages.quarantined(self.bob.store), (0, 0))

    def test_void(self) -> None:
        """A void shows nothing, and takes its counter."""
        self.send(kind=int(Kind.VOID), body=bytes(32))
        self.send(counter=3, message_id=bytes(16))
        self.bob.read()
        self.assertEqual([(line.text, line.gap_before) for line in self.bob.has_read][1:], [("hello", 0)])

    def test_void_of_nothing(self) -> None:
        """A void says which content it stands for: whoever does not know that cannot close a gap."""
        self.senseless(kind=int(Kind.VOID), body=b"")

    def test_silent_kinds_confirmed(self) -> None:
        """What shows nothing is not confirmed, though it asks for a receipt: nobody learns from it who is there."""
        assert self.bob.wire is not None, "connected"
        self.bob.confirm_to(Policy.EVERYBODY)
        silent: tuple[dict[str, object], ...] = (
            {"kind": int(Kind.VOID), "body": bytes(32)},
            {"kind": int(Kind.RECEIPT), "counter": 0, "body": encode_record(Receipt([]))},
            {"kind": int(Kind.RESET), "counter": 0, "conversation": bytes(16)},
        )
        for number, fields in enumerate(silent):
            self.send(**fields, message_id=bytes([number]) * 16, wants_receipt=True)
        self.assertEqual(messages.quarantined(self.bob.store), (0, 0))
        self.assertEqual(decoded(self.bob.wire, Side.CLIENT, m.Deposit), [])

    def test_same_id(self) -> None:
        """A message id that was seen is not shown again, whatever else is new about the message."""
        self.send()
        self.send(counter=3, body=b"other")
        self.assertEqual(self.bob.read(), ["hello"])

    def test_id_of_another(self) -> None:
        """Nobody uses up the ids of others."""
        carol = self.world.user("carol")
        carol.send("bob", "carol's", message_id=self.content.message_id)
        self.send()
        self.assertEqual(self.bob.read(), ["carol's", "hello"])

    def test_repeated_counter(self) -> None:
        """A second message under one counter is shown, with a mark."""
        self.send()
        self.send(message_id=bytes(16), body=b"other")
        self.bob.read()
        self.assertEqual([(line.text, line.note) for line in self.bob.has_read][1:], [("hello", ""), ("other", "repeated")])

    def test_no_text(self) -> None:
        """A body that is no UTF-8 is shown as well as it can be."""
        self.send(body=b"caf\xe9")
        self.assertEqual(self.bob.read(), ["caf\ufffd"])

    def test_far_future(self) -> None:
        """A time that no calendar has is shown as the last one that calendars have."""
        self.send(sent_at=2**63 - 1)
        self.bob.read()
        self.assertEqual(self.bob.has_read[-1].sent_at, 253_402_300_799)

    def test_receipt_again(self) -> None:
        """
        Who repeats a message that was confirmed is told again after an hour, because the receipt may have been lost; not
        before, so that a repetition is no probe.
        """
        assert self.bob.wire is not None, "connected"
        self.bob.confirm_to(Policy.EVERYBODY)
        for counter, moment, receipts in ((2, 0, 1), (3, 1800, 1), (4, 1799, 1), (5, 1, 2), (6, 3599, 2)):
            self.world.advance(moment)
            self.send(wants_receipt=True, counter=counter)
            self.world.advance(1)
            self.world.set_clocks(-1)
            self.assertEqual(len(decoded(self.bob.wire, Side.CLIENT, m.Deposit)), receipts)

    def test_verified_then(self) -> None:
        """History says whether the sender was verified when the message came."""
        self.send()
        profile = self.bob.profile()
        with self.bob.store.writing() as records:
            known = contacts.get_contact(records, "alice")
            assert known is not None, "it has written"
            verification.mark_shown(records, known)
            verification.confirm(records, profile, "alice")
        self.send(counter=3, message_id=bytes(16))
        self.bob.read()
        self.assertEqual([line.verified for line in self.bob.has_read], [False, False, True])


class StreamTests(SynchronousTestCase):
    """Counters of one stream."""

    def setUp(self) -> None:
        """Five messages that follow each other."""
        self.store = MemoryProfile()
        self.contents: list[Content] = []
        previous = b""
        for counter in range(1, 6):
            content = self.content(counter, previous)
            self.contents.append(content)
            previous = chain_digest(content)

    def content(self, counter: int, previous: bytes, kind: int = Kind.TEXT, body: bytes = b"text") -> Content:
        """One message."""
        return Content(
            counter.to_bytes(16, "big"),
            int(kind),
            bytes(16),
            bytes(16),
            1,
            counter,
            previous,
            (),
            NOBODY,
            NOBODY,
            0,
            False,
            body,
        )

    def take(self, *counters: int, base: int | None = None) -> list[Arrival]:
        """Take messages in this order."""
        with self.store.writing() as records:
            share = None if base is None else Share(0, base)
            return [receive(records, self.contents[counter - 1], share, START) for counter in counters]

    def gaps(self) -> list[int]:
        """Which counters are missing."""
        with self.store.reading() as records:
            return [counter for counter, _ in gaps.load_gaps(records, counters.stream_of(self.contents[0]))]

    def before(self, counter: int) -> int:
        """How many are missing right before a counter."""
        with self.store.reading() as records:
            return open_gaps(records, self.contents[counter - 1], 5)

    def test_in_order(self) -> None:
        """What follows leaves no gap."""
        self.assertEqual(self.take(1, 2, 3, 4, 5), [Arrival()] * 5)

    def test_gap(self) -> None:
        """What is missing is counted, and places are held free for it."""
        first, second = self.take(1, 4)
        self.assertEqual((first.gap, second.gap, self.gaps()), (0, 2, [2, 3]))
        late = self.take(3, 2)
        self.assertLess(late[1].seq, late[0].seq)
        self.assertEqual([arrival.note for arrival in late], ["late", "late"])
        self.assertEqual(self.gaps(), [])

    def test_any_order(self) -> None:
        """Whatever order they come in, in the end nothing is missing, and nothing seems forked."""
        notes = {arrival.note for arrival in self.take(5, 1, 3, 2, 4)}
        self.assertEqual(notes, {"", "late"})
        self.assertEqual(self.gaps(), [])

    def test_before(self) -> None:
        """A gap shrinks from behind as it fills."""
        self.take(1, 5)
        self.assertEqual(self.before(5), 3)
        self.take(4)
        self.assertEqual((self.before(5), self.before(4)), (0, 2))

    def test_base(self) -> None:
        """A stream that begins later says so: what was before is lost, not waited for."""
        arrival = self.take(4, base=3)[0]
        self.assertEqual((arrival.gap, arrival.lost, self.gaps()), (0, 3, []))

    def test_no_base(self) -> None:
        """A stream that does not say where it begins begins at one."""
        self.assertEqual(self.take(4)[0].gap, 3)

    def test_late_base(self) -> None:
        """Only the first message can say where a stream begins."""
        self.take(1)
        self.assertEqual(self.take(4, base=3)[0].gap, 2)

    def test_base_beyond(self) -> None:
        """A base that lies behind its own message is cut down to it."""
        self.assertEqual(self.take(2, base=100)[0].lost, 1)

    def test_repeated(self) -> None:
        """A counter that came already is noted."""
        self.assertEqual([arrival.note for arrival in self.take(1, 2, 2)], ["", "", "repeated"])

    def test_forked(self) -> None:
        """A message that does not follow the one before it is noted."""
        self.take(1)
        self.contents[1] = self.content(2, bytes(32))
        self.assertEqual(self.take(2)[0].note, "forked")

    def test_forked_late(self) -> None:
        """A late message that is not the one its successor named is noted."""
        self.take(1, 3)
        self.contents[1] = self.content(2, chain_digest(self.contents[0]), body=b"other")
        self.assertEqual(self.take(2)[0].note, "forked")

    def test_forked_before(self) -> None:
        """A late message that does not follow the one before it is noted, though its successor named it."""
        self.contents[1] = self.content(2, bytes(range(32)))
        self.contents[2] = self.content(3, chain_digest(self.contents[1]))
        self.assertEqual([arrival.note for arrival in self.take(1, 3, 2)], ["", "", "forked"])

    def test_void_keeps_the_chain(self) -> None:
        """What was sealed behind a message fits behind the void that took its place."""
        digest = chain_digest(self.contents[1])
        self.contents[1] = self.content(2, chain_digest(self.contents[0]), Kind.VOID, digest)
        self.assertEqual([arrival.note for arrival in self.take(1, 2, 3)], ["", "", ""])

    def test_bounded(self) -> None:
        """A peer that begins ever new streams with gaps, of one device or of ever new ones, is waited for in a bounded way."""
        with self.store.writing() as records:
            waited = sum(
                self.leap(records, number, device)
                for number in range(1, 20)
                for device in (bytes(16), number.to_bytes(16, "big"))
            )
            self.assertEqual(waited, gaps.MAX_CONVERSATION_GAPS)
            self.assertEqual(sum(bucket.startswith(GAPS) for bucket, _, _ in records.scan(COUNTERS)), waited)

    def continued(self, counter: int, end: StreamEnd, incarnation: int = 2) -> Content:
        """A message of a stream that continues another."""
        content = self.content(1, b"")
        for following in range(1, counter + 1):
            previous = chain_digest(content) if following > 1 else b""
            content = msgspec.structs.replace(self.content(following, previous), incarnation=incarnation, continues=(end,))
        return content

    def take_continued(self, counter: int, end: StreamEnd, base: Share | None = None) -> Arrival:
        """Take a message of the second incarnation."""
        with self.store.writing() as records:
            return receive(records, self.continued(counter, end), base, START)

    def test_continued(self) -> None:
        """A new incarnation that goes on where the one before stood leaves no gap."""
        self.take(1, 2)
        self.assertEqual(self.take_continued(1, StreamEnd(1, 2, chain_digest(self.contents[1]))), Arrival())

    def test_continued_past_a_gap(self) -> None:
        """What the incarnation before had sent, and did not arrive, is missing right before the first of the new one."""
        end = StreamEnd(1, 4, chain_digest(self.contents[3]))
        self.take(1)
        self.assertEqual((self.take_continued(1, end).gap, self.gaps()), (3, [2, 3, 4]))
        with self.store.reading() as records:
            self.assertEqual(open_gaps(records, self.continued(1, end), 3), 3)
        self.assertEqual([arrival.note for arrival in self.take(4, 3)], ["late", "late"])
        with self.store.reading() as records:
            self.assertEqual(open_gaps(records, self.continued(1, end), 3), 0)
        self.assertEqual(self.gaps(), [2])

    def test_continued_unknown(self) -> None:
        """Nothing of the incarnation before came at all: all of it is missing, and so is what begins the new one."""
        end = StreamEnd(1, 4, chain_digest(self.contents[3]))
        self.assertEqual((self.take_continued(3, end).gap, self.gaps()), (6, [1, 2, 3, 4]))
        with self.store.reading() as records:
            self.assertEqual(open_gaps(records, self.continued(3, end), 6), 6)

    def test_continued_by_all(self) -> None:
        """Every content says what its stream continues: it makes no difference which comes first."""
        end = StreamEnd(1, 2, chain_digest(self.contents[1]))
        self.assertEqual(self.take_continued(2, end).gap, 3)
        self.assertEqual(self.take_continued(1, end).note, "late")
        self.assertEqual(self.gaps(), [1, 2])

    def test_continued_elsewhere(self) -> None:
        """
        A device whose share begins with the new incarnation, or within it, misses nothing of the one before, also if something
        of that was sent again.
        """
        for base in (0, 2):
            self.store = MemoryProfile()
            self.take(2, base=1)
            arrival = self.take_continued(3, StreamEnd(1, 4, b""), Share(0, base))
            self.assertEqual((arrival.gap, arrival.lost, self.gaps()), (2 - base, base, []))

    def test_continued_in_part(self) -> None:
        """A device whose share begins within an earlier incarnation misses all that follows, and nothing before."""
        with self.store.writing() as records:
            ends = (StreamEnd(3, 2, b""), StreamEnd(2, 5, b""), StreamEnd(1, 4, b""))
            content = msgspec.structs.replace(self.continued(1, ends[0], incarnation=4), continues=ends)
            self.assertEqual(receive(records, content, Share(2, 3), START).gap, 4)
            streams = [gaps.load_gaps(records, name) for name in gaps.streams_in(records, content.conversation)]
        self.assertEqual([[counter for counter, _ in stream] for stream in streams], [[], [4, 5], [1, 2]])

    def test_late_from_before(self) -> None:
        """What comes of an incarnation after a later one went on from it is marked as late."""
        self.take(1)
        self.take_continued(1, StreamEnd(1, 1, chain_digest(self.contents[0])))
        self.assertEqual(self.take(2)[0].note, "late")

    def test_chain_of_incarnations(self) -> None:
        """A stream that is known by what a later one says of it is linked to the one before it, once something of it comes."""
        with self.store.writing() as records:
            third = self.continued(1, StreamEnd(2, 1, b""), incarnation=3)
            self.assertEqual(receive(records, third, None, START).gap, 1)
            second = self.continued(1, StreamEnd(1, 5, chain_digest(self.contents[4])))
            self.assertEqual(receive(records, second, None, START).note, "late")
        self.assertEqual(self.gaps(), [1, 2, 3, 4, 5])

    def test_several_before(self) -> None:
        """What several incarnations before had sent is missing at once, though nothing of them ever came."""
        ends = (StreamEnd(2, 2, b""), StreamEnd(1, 3, chain_digest(self.contents[2])))
        third = msgspec.structs.replace(self.continued(1, ends[0], incarnation=3), continues=ends)
        with self.store.writing() as records:
            self.assertEqual(receive(records, third, None, START).gap, 5)
            self.assertEqual(open_gaps(records, third, 5), 5)
        self.assertEqual(self.gaps(), [1, 2, 3])

    def test_many_incarnations(self) -> None:
        """However many incarnations a device begins, resets speak of the newest ones alone."""
        with self.store.writing() as records:
            for incarnation in range(1, MAX_RESET_STREAMS + 4):
                receive(records, msgspec.structs.replace(self.contents[0], incarnation=incarnation), None, START)
            names = gaps.streams_in(records, self.contents[0].conversation)
        self.assertEqual([counters.incarnation_of(name) for name in names], list(range(4, MAX_RESET_STREAMS + 4)))

    def test_continued_forked(self) -> None:
        """A new incarnation that goes on from another content than came is noted."""
        self.take(1)
        self.assertEqual(self.take_continued(1, StreamEnd(1, 1, bytes(range(32)))).note, "forked")

    def test_continued_bounded(self) -> None:
        """A stream that claims to go on from far up is waited for in a bounded way, and the rest is lost."""
        arrival = self.take_continued(1, StreamEnd(1, 10**6, b""))
        self.assertEqual((arrival.gap, arrival.gap + arrival.lost), (gaps.MAX_GAPS, 10**6))

    def leap(self, records: IRecords, incarnation: int, device: bytes = bytes(16)) -> int:
        """A new stream that begins far up."""
        content = msgspec.structs.replace(self.content(10_000, b""), incarnation=incarnation, device=device)
        arrival = receive(records, content, None, START)
        self.assertEqual(arrival.gap + arrival.lost, 9_999)
        return arrival.gap
