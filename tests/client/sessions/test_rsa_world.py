"""Two agents that talk in suite rsa, with a server between them: present and away, over deaths, restores and attacks."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client import messages
from securemsg.client.messages import Received, Sent
from securemsg.client.sessions import pins, suites
from securemsg.client.sessions.peers import CHECK_AGE
from securemsg.client.state.contacts import get_contact
from securemsg.client.state.conversations import direct
from securemsg.client.state.profile import DAY
from securemsg.client.state.rsakeys import save_rsa_key
from securemsg.client.state.settings import Policy
from securemsg.crypto.rsa import RsaKey
from securemsg.protocol.envelope import PQXDH, RSA, Envelope, RsaHeader, decode_header, decode_record
from securemsg.protocol.messages import Claim, Deliver, Deposit, DepositRefused, Message
from securemsg.protocol.states import Side
from tests.client.case import WorldCase
from tests.client.rig import MortalProfile, User, Wire, World, decoded
from tests.client.sessions.test_suites import headers, suites_of
from tests.rsakeys import OTHER_KEY, RSA_KEY


def pin_suite(user: User, name: str, suite: str = RSA, cipher: str = "a256") -> None:
    """Somebody chooses a suite."""
    with user.store.inner.writing() as records:
        pins.pin_suite(records, direct(name), suite, cipher=cipher)


def have_rsa_key(user: User, key: RsaKey) -> None:
    """Somebody gets an RSA key, and has it published with the next login."""
    with user.store.inner.writing() as records:
        save_rsa_key(records, key)
    user.connect()


def publish_key(user: User) -> None:
    """Have the RSA key published now."""
    assert user.agent is not None
    user.agent.change_devices("publish-key", b"", lambda answer: None)
    user.world.settle()


class RsaWorldCase(WorldCase):
    """Alice and Bob with RSA keys."""

    def setUp(self) -> None:
        """Both have chosen the suite."""
        super().setUp()
        for user, key, other in ((self.alice, OTHER_KEY, "bob"), (self.bob, RSA_KEY, "alice")):
            have_rsa_key(user, key)
            pin_suite(user, other)

    def epochs(self, user: User) -> list[int]:
        """The epochs of what somebody sent over the present wire."""
        return [header.epoch for header in headers(user) if isinstance(header, RsaHeader)]


class PeerTests(RsaWorldCase):
    """Two people with RSA keys."""

    def test_both_ways(self) -> None:
        """Messages go both ways with no bundle claimed, and the history on both sides names the suite."""
        self.bob.confirm_to(Policy.EVERYBODY)
        first = self.alice.send("bob", "hi", wants_receipt=True)
        self.assertEqual(self.bob.read(), ["hi"])
        self.bob.send("alice", "you too")
        self.assertEqual(self.alice.read(), ["you too"])
        self.assertEqual(self.alice.sent(first).status, "delivered")
        for user, other in ((self.alice, "bob"), (self.bob, "alice")):
            self.assertEqual(suites_of(user, other), ["rsa", "rsa"])
            self.assertEqual({type(header) for header in headers(user)}, {RsaHeader})
            assert user.wire is not None
            self.assertEqual(decoded(user.wire, Side.CLIENT, Claim), [])
        self.assertEqual([line.note for line in self.bob.lines("alice") if isinstance(line, Received)], [""])

    def test_one_side_away(self) -> None:
        """It needs nobody at the other end: what was sent meanwhile is read later, in order, also by another process."""
        self.part(self.bob)
        for number in range(50):
            self.alice.send("bob", f"{number}")
        self.part(self.alice)
        self.bob.die()
        self.bob.connect()
        self.assertEqual(self.bob.read(), [f"{number}" for number in range(50)])

    def test_many_both_ways(self) -> None:
        """Many messages each way, in turn, arrive once and in order, over two epochs, also after a restart."""
        for number in range(110):
            if number == 50:
                for user in (self.alice, self.bob):
                    user.disconnect()
                    user.die()
                    user.connect()
            self.alice.send("bob", f"a{number}")
            if number % 2:
                self.bob.send("alice", f"b{number}")
        self.assertEqual(self.bob.read(), [f"a{number}" for number in range(110)])
        self.assertEqual(self.alice.read(), [f"b{number}" for number in range(1, 110, 2)])
        self.assertEqual(len(set(self.epochs(self.alice))), 2)
        self.assertEqual(set(self.alice.codes() + self.bob.codes()), {"lost"})

    def test_new_epoch_by_time(self) -> None:
        """An epoch ends after a day."""
        self.alice.send("bob", "one")
        self.world.advance(DAY, 24)
        self.alice.send("bob", "two")
        first, second = self.epochs(self.alice)
        self.assertGreaterEqual(second, first + DAY)
        self.assertEqual(self.bob.read(), ["one", "two"])

    def test_first_spoiled(self) -> None:
        """What the server spoils is not shown; it is asked for at once, and comes anew."""
        spoilt: list[Deliver] = []

        def spoil(message: Message) -> list[Message]:
            if isinstance(message, Deliver) and not spoilt:
                spoilt.append(message)
                return [msgspec.structs.replace(message, common=bytes(304))]
            return [message]

        assert self.bob.wire is not None
        self.bob.wire.to_client = spoil
        self.alice.send("bob", "one")
        self.assertEqual(len(spoilt), 1)
        self.assertEqual(self.bob.read(), ["one"])

    def test_reordered(self) -> None:
        """
        Two messages that a server exchanges are both read, in one epoch. In two, the earlier is refused, is asked for, and
        comes anew, in an epoch above.
        """
        held: list[Deliver] = []

        def exchange(message: Message) -> list[Message]:
            if not isinstance(message, Deliver) or len(held) > 1:
                return [message]
            held.append(message)
            if len(held) == 1:
                return []
            return [msgspec.structs.replace(held[1], tag=held[0].tag), msgspec.structs.replace(held[0], tag=held[1].tag)]

        assert self.bob.wire is not None
        self.bob.wire.to_client = exchange
        for begins_anew in (False, True):
            held.clear()
            for text in ("one", "two"):
                if begins_anew:
                    with self.alice.store.inner.writing() as records:
                        suites.archive_all(records)
                self.alice.send("bob", text)
            self.world.advance(2 * 3600, 60)
            self.assertEqual(self.bob.texts("alice")[-2:], ["one", "two"])
        self.assertEqual(len(headers(self.alice)), 5)
        self.assertEqual(self.epochs(self.alice), sorted(self.epochs(self.alice)))

    def test_restored(self) -> None:
        """A restored profile goes on in a new epoch, and is read."""
        self.alice.send("bob", "one")
        backup = self.alice.backup()
        self.alice.send("bob", "two")
        before = self.epochs(self.alice)
        self.alice.disconnect()
        self.alice.die()
        self.alice.store = MortalProfile(backup)
        self.world.advance(60)
        self.alice.connect()
        self.alice.send("bob", "three")
        self.assertGreater(self.epochs(self.alice)[-1], max(before))
        self.assertEqual(self.bob.texts("alice"), ["one", "two", "three"])

    def test_other_cipher(self) -> None:
        """Either side may choose the other cipher."""
        pin_suite(self.alice, "bob", cipher="a128")
        self.alice.send("bob", "hi")
        self.bob.send("alice", "you too")
        sent = headers(self.alice) + headers(self.bob)
        sizes = [header.key_size for header in sent if isinstance(header, RsaHeader)]
        self.assertEqual(sizes, [32, 64])
        self.assertEqual((self.bob.read(), self.alice.read()), (["hi"], ["you too"]))


    def test_made_anew(self) -> None:
        """What has to be made anew after the other cipher was chosen is made with that, whole."""
        wire = self.alice.wire
        assert wire is not None
        wire.to_server = lambda message: [] if isinstance(message, Deposit) else [message]
        self.alice.send("bob", "text")
        pin_suite(self.alice, "bob", cipher="a128")
        (deposit,) = decoded(wire, Side.CLIENT, Deposit)
        wire.to_server = lambda message: [message]
        wire.inject(Side.SERVER, DepositRefused(deposit.deposit_id, "stale-devices", []))
        self.world.settle()
        sizes = [header.key_size for header in headers(self.alice) if isinstance(header, RsaHeader)]
        self.assertEqual((sizes, self.bob.read()), ([64, 32], ["text"]))


class PinningTests(RsaWorldCase):
    """Nobody but the user changes a suite."""

    def notes(self, user: User, name: str) -> list[tuple[str, str]]:
        """Suite and note of what came from somebody."""
        return [(line.suite, line.note) for line in user.lines(name) if isinstance(line, Received)]

    def test_marked(self) -> None:
        """What comes in another suite than the chosen one is opened, marked, and answered in the chosen one."""
        pin_suite(self.bob, "alice", PQXDH)
        self.alice.send("bob", "hi")
        self.assertEqual(self.notes(self.bob, "alice"), [("rsa", "other-suite")])
        self.bob.send("alice", "ho")
        self.assertEqual(self.notes(self.alice, "bob"), [("pqxdh", "other-suite")])
        self.alice.send("bob", "again")
        self.assertEqual([type(header) for header in headers(self.alice)], [RsaHeader, RsaHeader])
        self.assertNotIn(RsaHeader, {type(header) for header in headers(self.bob)})

    def test_receipts(self) -> None:
        """Receipts, too, go out in the chosen suite."""
        self.bob.confirm_to(Policy.EVERYBODY)
        pin_suite(self.bob, "alice", PQXDH)
        sent = self.alice.send("bob", "hi", wants_receipt=True)
        self.world.advance(5, 5)
        self.assertEqual(self.alice.sent(sent).status, "delivered")
        self.assertNotIn(RsaHeader, {type(header) for header in headers(self.bob)})


class KeyTests(WorldCase):
    """How an RSA key gets into a device list, and to those who need it."""

    def waiting(self, message_id: bytes) -> tuple[str, str]:
        """Why a message of Alice's waits."""
        sent = self.alice.sent(message_id)
        return sent.status, sent.code

    def test_no_key(self) -> None:
        """
        To somebody without an RSA key nothing goes out, in no suite, and the message says why. Once the key is there it goes by
        itself, with no word from anybody.
        """
        self.alice.send("bob", "before")
        pin_suite(self.alice, "bob")
        sent = self.alice.send("bob", "hi")
        self.world.advance(120, 60)
        self.assertEqual(self.waiting(sent), ("queued", "suite-unavailable"))
        self.assertEqual(self.bob.read(), ["before"])
        with self.bob.store.inner.writing() as records:
            save_rsa_key(records, RSA_KEY)
        publish_key(self.bob)
        self.world.advance(200, 100)
        self.assertEqual(self.bob.read(), ["hi"])
        self.assertEqual(self.waiting(sent), ("accepted", ""))
        self.assertEqual(self.alice.codes(), [])

    def test_checked_each_time(self) -> None:
        """
        Whether there is a key by now is asked before each attempt, and said only then: also in the second in which the list
        was fetched without it.
        """
        self.alice.send("bob", "before")
        pin_suite(self.alice, "bob")
        have_rsa_key(self.bob, RSA_KEY)
        sent = self.alice.send("bob", "hi")
        self.assertEqual(self.waiting(sent), ("accepted", ""))

    def test_published_at_login(self) -> None:
        """A key that was made while nobody was connected is published with the next login."""
        have_rsa_key(self.bob, RSA_KEY)
        (device,) = self.bob.profile().listing.devices
        self.assertEqual((device.rsa_key, self.bob.profile().listing.version), (RSA_KEY.public, 2))
        pin_suite(self.alice, "bob")
        self.alice.send("bob", "hi")
        self.assertEqual(self.bob.read(), ["hi"])

    def test_published_once(self) -> None:
        """To publish it again signs no other list, and a second key does not replace the first."""
        have_rsa_key(self.bob, RSA_KEY)
        publish_key(self.bob)
        have_rsa_key(self.bob, OTHER_KEY)
        (device,) = self.bob.profile().listing.devices
        self.assertEqual((device.rsa_key, self.bob.profile().listing.version), (RSA_KEY.public, 2))

    def test_lost_key(self) -> None:
        """
        A profile that was put back to before it had a key takes it off its list, says so, and gets on without: who writes then
        hears that it has none, and its contacts hear of a change.
        """
        backup = self.bob.backup()
        have_rsa_key(self.bob, RSA_KEY)
        pin_suite(self.alice, "bob")
        self.alice.send("bob", "hi")
        self.bob.disconnect()
        self.bob.die()
        self.bob.store = MortalProfile(backup)
        self.bob.connect()
        self.assertIn("own-key-changed", self.bob.codes())
        (device,) = self.bob.profile().listing.devices
        self.assertEqual((device.rsa_key, self.bob.profile().listing.version), (None, 3))
        self.world.advance(CHECK_AGE + 1, 2)
        sent = self.alice.send("bob", "ho")
        self.assertEqual(self.waiting(sent), ("queued", "suite-unavailable"))
        self.assertIn("contact-device-added", self.alice.codes())

    def test_changed_by_a_copy(self) -> None:
        """
        Where somebody with a copy of the keys has signed another RSA key into the list, the owner is told, and takes it back.
        So are the contacts, for whom the owner is unverified until they have confirmed it.
        """
        have_rsa_key(self.bob, RSA_KEY)
        pin_suite(self.alice, "bob")
        self.alice.send("bob", "hi")
        with self.alice.store.inner.reading() as records:
            before = get_contact(records, "bob")
        assert before is not None
        copy = MortalProfile(self.bob.backup())
        self.bob.disconnect()
        thief = User(self.world, "bob", copy)
        with copy.inner.writing() as records:
            records.delete("profile", b"rsa")
            save_rsa_key(records, OTHER_KEY)
        thief.connect()
        self.world.advance(CHECK_AGE + 1, 2)
        self.alice.send("bob", "ho")
        with self.alice.store.inner.reading() as records:
            after = get_contact(records, "bob")
        assert after is not None
        self.assertEqual((before.unconfirmed, len(after.unconfirmed)), ((), 1))
        self.assertIn("contact-device-added", self.alice.codes())
        thief.disconnect()
        thief.die()
        self.bob.connect()
        self.assertIn("own-key-changed", self.bob.codes())
        self.assertEqual([device.rsa_key for device in self.bob.profile().listing.devices], [RSA_KEY.public])


class DeathTests(SynchronousTestCase):
    """A process may end at any commit."""

    def story(self, victim: str, deadline: int) -> bool:
        """
        Both write in suite rsa, and one of them dies at this moment.

        @return: whether it came to that.
        """
        world = World()
        users = {name: world.user(name) for name in ("alice", "bob")}
        for (name, other), key in zip((("alice", "bob"), ("bob", "alice")), (OTHER_KEY, RSA_KEY), strict=True):
            users[name].confirm_to(Policy.EVERYBODY)
            have_rsa_key(users[name], key)
            pin_suite(users[name], other)
        fate = users[victim].store.fate
        fate.deadline = fate.moments + deadline
        wires: list[Wire] = []
        for number in range(2):
            for name, other in (("alice", "bob"), ("bob", "alice")):
                message_id = name[:1].encode() * 15 + bytes([number])

                def write(name: str = name, other: str = other, message_id: bytes = message_id, number: int = number) -> None:
                    wires.extend(user.wire for user in users.values() if user.wire is not None)
                    users[name].send(other, f"{name} {number}", message_id=message_id, wants_receipt=True)

                world.survive(write)
        world.survive(lambda: world.advance(10, 5))
        wires.extend(user.wire for user in users.values() if user.wire is not None)
        for name, other in (("alice", "bob"), ("bob", "alice")):
            self.assertEqual(users[other].texts(name), [f"{name} {number}" for number in range(2)])
            self.assertEqual([line.status for line in users[name].lines(other) if isinstance(line, Sent)], ["delivered"] * 2)
            self.assertEqual(messages.quarantined(users[name].store.inner), (0, 0))
        used: dict[tuple[bytes, int], bytes] = {}
        for wire in wires:
            for deposit in decoded(wire, Side.CLIENT, Deposit):
                for part in deposit.to[0].parts:
                    header = decode_header(decode_record(Envelope, part.own).header)
                    assert isinstance(header, RsaHeader)
                    self.assertEqual(used.setdefault((header.transport.ciphertext, header.counter), part.own), part.own)
        self.assertTrue(used)
        return users[victim].store.fate is not fate

    def test_anywhere(self) -> None:
        """
        Whichever side dies at whichever commit: everything arrives once, in order, and is confirmed; and no epoch and counter
        is ever used for different bytes.
        """
        for victim in ("alice", "bob"):
            deadline = 1
            while self.story(victim, deadline):
                deadline += 1
            self.assertGreater(deadline, 15)
