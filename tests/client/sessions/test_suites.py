"""The suite of a conversation: who chooses it, and how two agents talk under a key file."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client import messages
from securemsg.client.messages import Sent
from securemsg.client.sending.results import drafts
from securemsg.client.sessions import pins
from securemsg.client.state.conversations import direct
from securemsg.client.state.profile import DAY
from securemsg.client.state.records import OUTBOX, ROWS, OutboxRow, load_all, load_totals
from securemsg.client.state.settings import Policy
from securemsg.crypto.keyfile import SharedKey
from securemsg.errors import Refusal
from securemsg.protocol.envelope import PQXDH, PSK, Envelope, EnvelopeHeader, Header, KeyHeader, decode_header, decode_record
from securemsg.protocol.messages import Claim, Deliver, Deposit, DepositRefused, Message
from securemsg.protocol.states import Side
from securemsg.storage.memory import MemoryProfile
from tests.client.case import WorldCase
from tests.client.rig import MortalProfile, User, Wire, World, decoded

KEY = SharedKey(bytes(range(32)))
OTHER = SharedKey(bytes(32))


def pin_suite(user: User, name: str, suite: str = PSK, key: bytes = KEY.secret) -> None:
    """Somebody chooses a suite."""
    with user.store.inner.writing() as records:
        pins.pin_suite(records, direct(name), suite, key if suite == PSK else b"")


def headers(user: User) -> list[Header]:
    """The headers of everything that somebody deposited over the present wire."""
    assert user.wire is not None
    return [header for deposit in decoded(user.wire, Side.CLIENT, Deposit) for header in headers_of(deposit)]


def headers_of(deposit: Deposit) -> list[Header]:
    """The headers of all own parts of a deposit."""
    return [
        decode_header(decode_record(Envelope, part.own).header) for destination in deposit.to for part in destination.parts
    ]


def suites_of(user: User, name: str) -> list[str]:
    """The suites that the history names, in order."""
    return [line.suite for line in user.lines(name)]


class ChoiceTests(SynchronousTestCase):
    """What may be chosen."""

    def setUp(self) -> None:
        """Nothing is chosen."""
        self.store = MemoryProfile()

    def pinned_suite(self, *pinned_suite: tuple[str, bytes]) -> pins.Chosen:
        """What stands after these choices."""
        with self.store.writing() as records:
            for suite, key in pinned_suite:
                pins.pin_suite(records, direct("bob"), suite, key)
            return pins.pinned_suite(records, direct("bob"))

    def refused(self, suite: str, key: bytes) -> str:
        """The code with which a choice is refused."""
        with self.store.writing() as records:
            error = self.assertRaises(Refusal, pins.pin_suite, records, direct("bob"), suite, key)
        assert isinstance(error, Refusal)
        return error.code

    def test_default(self) -> None:
        """Nobody has to choose: it is pqxdh."""
        self.assertEqual(self.pinned_suite(), pins.Chosen("pqxdh", b""))

    def test_key(self) -> None:
        """With a key file goes its secret, which another one replaces, and which stays where none is given."""
        self.assertEqual(self.pinned_suite(("psk", KEY.secret), ("psk", b"")), pins.Chosen("psk", KEY.secret))
        self.assertEqual(self.pinned_suite(("psk", OTHER.secret)).shared, OTHER)

    def test_back(self) -> None:
        """Back to pqxdh, there is no key that could be chosen again without its file."""
        pinned_suite = self.pinned_suite(("psk", KEY.secret), ("pqxdh", b""))
        self.assertEqual((pinned_suite.suite, pinned_suite.key, pinned_suite.key_file), ("pqxdh", b"", b""))
        self.assertEqual(self.refused("psk", b""), "bad-request")

    def test_sharing(self) -> None:
        """One file for several accounts is noticed, whether they are contacts yet or not."""
        with self.store.writing() as records:
            for name, key in (("bob", KEY), ("carol", KEY), ("dave", OTHER)):
                pins.pin_suite(records, direct(name), "psk", key.secret)
            self.assertEqual(pins.sharing(records, "bob"), ["carol"])
            self.assertEqual(pins.sharing(records, "dave"), [])

    def test_nonsense(self) -> None:
        """No unknown suite, no key of another size, no key for a suite without one."""
        self.assertEqual(self.refused("none", b""), "suite-unavailable")
        self.assertEqual(self.refused("psk", bytes(16)), "bad-request")
        self.assertEqual(self.refused("pqxdh", KEY.secret), "bad-request")
        self.assertEqual(self.pinned_suite(), pins.Chosen())


class PeerTests(WorldCase):
    """Two people with a key file."""

    def setUp(self) -> None:
        """Both have chosen it."""
        super().setUp()
        pin_suite(self.alice, "bob")
        pin_suite(self.bob, "alice")

    def test_both_ways(self) -> None:
        """Messages go both ways with no bundle claimed, and the history on both sides names the suite."""
        self.bob.confirm_to(Policy.EVERYBODY)
        first = self.alice.send("bob", "hi", wants_receipt=True)
        self.assertEqual(self.bob.read(), ["hi"])
        self.bob.send("alice", "you too")
        self.assertEqual(self.alice.read(), ["you too"])
        self.assertEqual(self.alice.sent(first).status, "delivered")
        for user, other in ((self.alice, "bob"), (self.bob, "alice")):
            self.assertEqual(suites_of(user, other), ["psk", "psk"])
            self.assertTrue(headers(user))
            self.assertTrue(all(isinstance(header, KeyHeader) for header in headers(user)))
            assert user.wire is not None
            self.assertEqual(decoded(user.wire, Side.CLIENT, Claim), [])

    def test_one_side_away(self) -> None:
        """It needs nobody at the other end: what was sent meanwhile is read later, in order."""
        self.part(self.bob)
        for number in range(50):
            self.alice.send("bob", f"{number}")
        self.part(self.alice)
        self.bob.connect()
        self.assertEqual(self.bob.read(), [f"{number}" for number in range(50)])

    def test_fifty_both_ways(self) -> None:
        """Fifty messages each way, in turn, arrive once and in order, over two epochs."""
        for number in range(110):
            self.alice.send("bob", f"a{number}")
            if number % 2:
                self.bob.send("alice", f"b{number}")
        self.assertEqual(self.bob.read(), [f"a{number}" for number in range(110)])
        self.assertEqual(self.alice.read(), [f"b{number}" for number in range(1, 110, 2)])
        self.assertEqual({header.epoch for header in headers(self.alice) if isinstance(header, KeyHeader)}, {1, 2})
        self.assertEqual(self.alice.codes() + self.bob.codes(), [])

    def change(self, suite: str) -> None:
        """
        While Bob is away, Alice writes, and then both choose another file, or none. What she sealed before waits until Bob
        gives the old file once more.
        """
        self.alice.send("bob", "before")
        self.bob.disconnect()
        self.alice.send("bob", "one")
        for user, name in ((self.alice, "bob"), (self.bob, "alice")):
            pin_suite(user, name, suite, OTHER.secret)
        self.alice.send("bob", "two")
        self.bob.connect()
        self.assertEqual(self.bob.read(), ["before", "two"])
        pin_suite(self.bob, "alice")
        self.world.advance(2, 2)
        self.assertEqual(self.bob.texts("alice"), ["before", "one", "two"])
        self.assertEqual(suites_of(self.bob, "alice"), ["psk", "psk", suite])
        self.assertEqual(messages.quarantined(self.bob.store.inner), (0, 0))

    def test_another_file(self) -> None:
        """What waits under a file while both change to another is read once the file is given again, in its place."""
        self.change(PSK)

    def test_no_file(self) -> None:
        """So it is when both go back to sessions."""
        self.change(PQXDH)

    def test_restored(self) -> None:
        """A restored profile goes on in a new epoch, and is read."""
        self.alice.send("bob", "one")
        backup = self.alice.backup()
        self.alice.send("bob", "two")
        before = headers(self.alice)
        self.alice.disconnect()
        self.alice.die()
        self.alice.store = MortalProfile(backup)
        self.alice.connect()
        self.alice.send("bob", "three")
        after = headers(self.alice)[-1]
        assert isinstance(after, KeyHeader)
        self.assertNotIn(after.nonce, [header.nonce for header in before if isinstance(header, KeyHeader)])
        self.assertEqual(self.bob.texts("alice"), ["one", "two", "three"])
        self.assertIn("state-restored", self.alice.codes())

    def test_tampered(self) -> None:
        """What the server spoils is not shown, and once the next message shows the gap, it is asked for and sent again."""
        self.alice.send("bob", "one")
        self.bob.send("alice", "hi")

        def spoil(message: Message) -> list[Message]:
            return [msgspec.structs.replace(message, common=bytes(304)) if isinstance(message, Deliver) else message]

        assert self.bob.wire is not None
        self.bob.wire.to_client = spoil
        self.alice.send("bob", "two")
        self.bob.wire.to_client = lambda message: [message]
        self.assertEqual(self.bob.codes(), ["wrong-key"])
        self.alice.send("bob", "three")
        self.assertEqual(self.bob.read(), ["one", "three"])
        self.world.advance(2 * 3600, 60)
        self.assertEqual(self.bob.texts("alice"), ["one", "two", "three"])
        self.assertEqual({type(header) for header in headers(self.bob)}, {KeyHeader})


class DeathTests(SynchronousTestCase):
    """A process may end at any commit."""

    def story(self, victim: str, deadline: int) -> bool:
        """
        Both write under a key file, and one of them dies at this moment.

        @return: whether it came to that.
        """
        world = World()
        users = {name: world.user(name) for name in ("alice", "bob")}
        for user in users.values():
            user.confirm_to(Policy.EVERYBODY)
        pin_suite(users["alice"], "bob")
        pin_suite(users["bob"], "alice")
        fate = users[victim].store.fate
        fate.deadline = fate.moments + deadline
        wires: list[Wire] = []
        for number in range(3):
            for name, other in (("alice", "bob"), ("bob", "alice")):
                message_id = name[:1].encode() * 15 + bytes([number])

                def write(name: str = name, other: str = other, message_id: bytes = message_id, number: int = number) -> None:
                    wires.extend(user.wire for user in users.values() if user.wire is not None)
                    users[name].send(other, f"{name} {number}", message_id=message_id, wants_receipt=True)

                world.survive(write)
        world.survive(lambda: world.advance(10, 5))
        wires.extend(user.wire for user in users.values() if user.wire is not None)
        for name, other in (("alice", "bob"), ("bob", "alice")):
            self.assertEqual(users[other].texts(name), [f"{name} {number}" for number in range(3)])
            self.assertEqual([line.status for line in users[name].lines(other) if isinstance(line, Sent)], ["delivered"] * 3)
        used: dict[tuple[bytes, int], bytes] = {}
        for wire in wires:
            for deposit in decoded(wire, Side.CLIENT, Deposit):
                for part in deposit.to[0].parts:
                    header = decode_header(decode_record(Envelope, part.own).header)
                    assert isinstance(header, KeyHeader)
                    self.assertEqual(used.setdefault((header.nonce, header.counter), part.own), part.own)
        self.assertTrue(used)
        return users[victim].store.fate is not fate

    def test_anywhere(self) -> None:
        """
        Whichever side dies at whichever commit: everything arrives once, in order, and is confirmed; and no nonce and counter
        is ever used for different bytes.
        """
        for victim in ("alice", "bob"):
            deadline = 1
            while self.story(victim, deadline):
                deadline += 1
            self.assertGreater(deadline, 20)


class PinningTests(WorldCase):
    """Nobody but the user changes a suite."""

    def test_peer(self) -> None:
        """Whatever a contact writes with, answers go out in the suite that was chosen here."""
        pin_suite(self.alice, "bob")
        pin_suite(self.bob, "alice")
        pin_suite(self.bob, "alice", PQXDH)
        self.bob.send("alice", "in the clear, so to speak")
        self.assertEqual(self.alice.read(), ["in the clear, so to speak"])
        self.alice.send("bob", "no")
        self.assertIsInstance(headers(self.alice)[-1], KeyHeader)
        self.assertEqual(suites_of(self.alice, "bob"), ["pqxdh", "psk"])

    def test_refusals(self) -> None:
        """Whatever a server refuses, and however often, nothing goes out in another suite."""
        pin_suite(self.alice, "bob")
        codes = ["stale-devices", "retry-later", "rate-limited", "mailbox-full"]

        def refuse(message: Message) -> list[Message]:
            if not isinstance(message, Deposit) or not codes:
                return [message]
            assert self.alice.wire is not None
            self.alice.wire.inject(Side.SERVER, DepositRefused(message.deposit_id, codes.pop(), []))
            return []

        assert self.alice.wire is not None
        self.alice.wire.to_server = refuse
        self.alice.send("bob", "hi")
        self.world.advance(300, 300)
        self.assertEqual(codes, [])
        self.assertEqual({type(header) for header in headers(self.alice)}, {KeyHeader})

    def test_chosen_later(self) -> None:
        """What was sealed before the choice goes out as it is, and says so; what was not, in the new suite."""
        assert self.alice.wire is not None
        self.alice.wire.to_server = lambda message: [] if isinstance(message, Deposit) else [message]
        self.alice.send("bob", "before")
        pin_suite(self.alice, "bob")
        pin_suite(self.bob, "alice")
        self.alice.send("bob", "after")
        self.alice.connect()
        self.assertEqual(self.bob.read(), ["before", "after"])
        self.assertEqual(suites_of(self.bob, "alice"), ["pqxdh", "psk"])
        self.assertEqual(suites_of(self.alice, "bob"), ["pqxdh", "psk"])

    def test_chosen_while_it_waits(self) -> None:
        """
        What waits and is not sealed yet goes out in the suite that its user has chosen last, to a key file and back; it is
        counted, until it is sealed.
        """
        pin_suite(self.bob, "alice")
        for suite in (PSK, PQXDH):
            self.part(self.alice)
            self.alice.send("bob", f"waits for {suite}")
            pin_suite(self.alice, "bob", suite)
            with self.alice.store.inner.reading() as records:
                self.assertEqual((drafts(records, direct("bob")), drafts(records, direct("carol"))), (1, 0))
            self.alice.connect()
            self.world.settle()
            with self.alice.store.inner.reading() as records:
                self.assertEqual(drafts(records, direct("bob")), 0)
        self.assertEqual(self.bob.read(), ["waits for psk", "waits for pqxdh"])
        self.assertEqual(suites_of(self.bob, "alice"), ["psk", "pqxdh"])
        self.assertEqual(suites_of(self.alice, "bob"), ["psk", "pqxdh"])

    def made_anew(self, before: bytes, after: bytes) -> list[list[Header]]:
        """
        Something is sealed as was chosen before, and has to be made anew after another choice.

        @param before: secret of a key file; empty: suite pqxdh.
        @param after: likewise.
        @return: the headers of each deposit.
        """

        def pick(key: bytes) -> None:
            for user, name in ((self.alice, "bob"), (self.bob, "alice")):
                pin_suite(user, name, PSK if key else PQXDH, key)

        pick(before)
        wire = self.alice.wire
        assert wire is not None
        wire.to_server = lambda message: [] if isinstance(message, Deposit) else [message]
        self.alice.send("bob", "text")
        pick(after)
        (deposit,) = decoded(wire, Side.CLIENT, Deposit)
        wire.to_server = lambda message: [message]
        wire.inject(Side.SERVER, DepositRefused(deposit.deposit_id, "stale-devices", []))
        self.world.settle()
        return [headers_of(deposit) for deposit in decoded(wire, Side.CLIENT, Deposit)]

    def test_made_anew(self) -> None:
        """
        What has to be made anew after the choice is made in the new suite, whole: one deposit of each, and both sides say so.
        """
        first, second = self.made_anew(b"", KEY.secret)
        self.assertEqual([type(header) for header in first], [EnvelopeHeader])
        self.assertEqual([type(header) for header in second], [KeyHeader])
        self.assertEqual((self.bob.read(), self.bob.codes()), (["text"], []))
        self.assertEqual(suites_of(self.alice, "bob") + suites_of(self.bob, "alice"), ["psk", "psk"])

    def test_made_anew_with_another_file(self) -> None:
        """So it is where the suite stays and the file is another: nothing of the old one goes out again."""
        (first,), (second,) = self.made_anew(KEY.secret, OTHER.secret)
        assert isinstance(first, KeyHeader) and isinstance(second, KeyHeader)
        self.assertEqual((first.nonce, first.counter, second.nonce, second.counter), (first.nonce, 1, first.nonce, 2))
        self.assertEqual((self.bob.read(), self.bob.codes()), (["text"], []))

    def test_made_anew_with_the_same_file(self) -> None:
        """Where nothing else was chosen the devices that stay get their bytes again."""
        (first,), (second,) = self.made_anew(KEY.secret, KEY.secret)
        self.assertEqual(first, second)
        self.assertEqual((self.bob.read(), self.bob.codes()), (["text"], []))


class QuarantineTests(WorldCase):
    """What cannot be opened for want of a key waits for it."""

    def setUp(self) -> None:
        """Alice writes under a key file that Bob has not, who confirms to everybody."""
        super().setUp()
        self.bob.confirm_to(Policy.EVERYBODY)
        pin_suite(self.alice, "bob")
        self.first = self.alice.send("bob", "one", wants_receipt=True)

    def totals(self) -> int:
        """How many messages Bob could not open."""
        return messages.quarantined(self.bob.store.inner)[0]

    def test_waits(self) -> None:
        """Nothing is shown and nothing confirmed; Bob is told which command gives the key, and no reset goes out."""
        self.assertEqual((self.bob.read(), self.totals()), ([], 1))
        self.assertEqual(self.alice.sent(self.first).status, "accepted")
        self.assertEqual(self.bob.codes(), ["suite-unavailable"])
        (notice,) = messages.notices(self.bob.store.inner)
        self.assertIn("securemsg contacts alice --set-suite psk --key-file FILE", notice.text)
        self.world.advance(2 * 3600, 20)
        self.assertEqual(headers(self.bob), [])

    def test_opened_with_key(self) -> None:
        """Once the key is given, at the next tick, everything is shown in order and confirmed."""
        self.alice.send("bob", "two")
        pin_suite(self.bob, "alice")
        self.world.advance(2, 2)
        self.assertEqual((self.bob.read(), self.totals()), (["one", "two"], 0))
        self.assertEqual(self.alice.sent(self.first).status, "delivered")

    def test_wrong_key_first(self) -> None:
        """A wrong key opens nothing and says that it is wrong; the right one then opens everything."""
        pin_suite(self.bob, "alice", key=OTHER.secret)
        self.world.advance(2, 2)
        self.assertEqual((self.bob.read(), self.totals()), ([], 1))
        self.assertEqual(self.bob.codes(), ["suite-unavailable", "wrong-key"])
        pin_suite(self.bob, "alice")
        self.world.advance(2, 2)
        self.assertEqual((self.bob.read(), self.totals()), (["one"], 0))

    def test_tried_once(self) -> None:
        """It is tried once for each key, not again and again."""
        pin_suite(self.bob, "alice", key=OTHER.secret)
        self.world.advance(2, 2)
        with self.bob.store.inner.reading() as records:
            self.assertEqual([peer.again for peer in load_totals(records).peers], [False])

    def test_patience(self) -> None:
        """It waits longer than what a new session mends."""
        self.bob.disconnect()
        self.world.advance(20 * DAY)
        pin_suite(self.bob, "alice")
        self.bob.connect()
        self.world.advance(2, 2)
        self.assertEqual(self.bob.read(), ["one"])

    def test_no_quarrel(self) -> None:
        """Two with different keys do not keep each other busy: nobody asks for what nobody could open."""
        pin_suite(self.bob, "alice", key=OTHER.secret)
        self.bob.send("alice", "other")
        self.world.advance(4 * 3600, 40)
        for user in (self.alice, self.bob):
            self.assertEqual(len(headers(user)), 1)
            with user.store.inner.reading() as records:
                self.assertEqual(load_all(records, OutboxRow, OUTBOX, ROWS), [])
