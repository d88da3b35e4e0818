"""Guests, as the contact C{server} meets them: real agents on both ends, and the real server between them."""

from __future__ import annotations

import msgspec
from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client import guest, messages
from securemsg.client.autoresponder import ANSWER_LABEL
from securemsg.client.messages import Received
from securemsg.client.sessions import guests, pins, psk, suites
from securemsg.client.sessions.addresses import DeviceAddress, Opened
from securemsg.client.sessions.guests import GuestConnection
from securemsg.client.sessions.pins import WrongKey
from securemsg.client.sessions.resets import RESETS
from securemsg.client.sessions.store import EPOCHS, bucket_of
from securemsg.client.state import contacts
from securemsg.client.state.conversations import with_guest
from securemsg.client.state.profile import DAY, create_profile, save_profile
from securemsg.client.state.records import (
    COUNTERS,
    HISTORY,
    META,
    OUTBOX,
    ROWS,
    SEEN,
    STORED,
    HistoryRow,
    OutboxRow,
    load,
    load_all,
    load_number,
)
from securemsg.crypto import keys, primitives
from securemsg.crypto.keyfile import SharedKey
from securemsg.errors import Refusal
from securemsg.protocol.auth import MEMORY
from securemsg.protocol.devices import SERVER_NAME
from securemsg.protocol.envelope import (
    Envelope,
    Introduction,
    KeyHeader,
    Kind,
    decode_header,
    decode_record,
    encode_record,
)
from securemsg.protocol.messages import Deliver, Deposit, ListMark, Message
from securemsg.protocol.states import Side
from securemsg.server.guests import KeyFile
from securemsg.storage.memory import MemoryProfile
from tests.client.people import seal_with_file
from tests.client.rig import START, MortalProfile, User, World, decoded

KEY = SharedKey(bytes(range(32)))
OTHER = SharedKey(bytes(32))


class GuestCase(SynchronousTestCase):
    """A server with a key file, the contact that lives in it, and two who hold the file."""

    def setUp(self) -> None:
        """All are connected."""
        self.world = World(key_file=KeyFile(KEY.name, KEY.login))
        profile = create_profile(self.world.link, SERVER_NAME, START)
        store = MemoryProfile()
        with store.writing() as records:
            save_profile(records, profile)
            guests.admit(records, KEY, START)
        self.contact = User(self.world, SERVER_NAME, MortalProfile(store), binding=MEMORY)
        self.world.users[SERVER_NAME] = self.contact
        self.contact.connect()
        self.one, self.other = self.make_guest("one"), self.make_guest("other")

    def make_guest(self, called: str, key: SharedKey = KEY) -> User:
        """Somebody with a file, connected."""
        store = MemoryProfile()
        guest.prepare(store, key, "example.net", 8443, START)
        user = self.world.users[called] = User(self.world, key.name, MortalProfile(store))
        user.connect()
        return user

    def heard(self) -> list[Received]:
        """What the contact has to read."""
        fresh = messages.unread(self.contact.store)
        messages.mark_read(self.contact.store, [message.seq for message in fresh], now=self.world.clock)
        return fresh

    def answer(self, question: Received, text: str) -> bytes:
        """Answer as the contact does."""
        message_id = keys.digest(ANSWER_LABEL, question.sender.encode(), question.id)[:16]
        return self.contact.send(question.conversation, text, message_id=message_id, kind=Kind.ANSWER)

    def outbox(self, user: User) -> list[OutboxRow]:
        """What somebody has not sent."""
        with user.store.inner.reading() as records:
            return [row for _, row in load_all(records, OutboxRow, OUTBOX, ROWS)]

    def connection(self, device: bytes) -> GuestConnection | None:
        """What the contact remembers of a connection."""
        with self.contact.store.inner.reading() as records:
            return load(records, GuestConnection, guests.TABLE, device)


class TalkTests(GuestCase):
    """What is said."""

    def test_hello(self) -> None:
        """A guest is read under the file's name, verified, in suite psk; the answer comes back and is as good."""
        question_id = self.one.send(SERVER_NAME, "Hello Server!")
        (question,) = self.heard()
        self.assertEqual((question.text, question.sender), ("Hello Server!", KEY.name))
        self.assertEqual((question.suite, question.verified, question.note, question.gap_before), ("psk", True, "", 0))
        self.assertEqual(question.device, self.one.profile().device_id)
        self.assertEqual(self.one.sent(question_id).status, "accepted")
        answer_id = self.answer(question, "received")
        (answer,) = messages.unread(self.one.store)
        self.assertEqual((answer.text, answer.kind, answer.id), ("received", Kind.ANSWER, answer_id))
        self.assertEqual((answer.suite, answer.verified, answer.gap_before), ("psk", True, 0))
        self.assertEqual(self.contact.sent(answer_id).status, "accepted")
        self.assertEqual([line.suite for line in self.contact.lines(KEY.name)], ["psk", "psk"])
        self.assertEqual(self.one.codes() + self.contact.codes(), [])

    def test_list_marks(self) -> None:
        """A guest has no device list, and both ends name it as none; the list of C{server} is named like any other."""
        self.one.send(SERVER_NAME, "hi")
        self.answer(self.heard()[0], "ho")
        mark, none = self.contact.profile().mark, ListMark(0, b"")
        conversation = self.one.profile().conversation(SERVER_NAME)
        with self.one.store.reading() as records:
            rows = load_all(records, HistoryRow, HISTORY, conversation.bucket)
        marks = [(row.content.own_list, row.content.peer_list) for _, row in rows]
        self.assertEqual(marks, [(none, mark), (mark, none)])

    def test_not_missed(self) -> None:
        """What is handed over to guests is not stored, so that a server that forgets its n has lost nothing."""
        self.one.send(SERVER_NAME, "hi")
        self.answer(self.heard()[0], "ho")
        with self.contact.store.reading() as records:
            self.assertEqual(load_number(records, COUNTERS, STORED), 0)

    def test_fifty_each(self) -> None:
        """Two guests with one file talk at once; each gets its own answers and no other's, all in order."""
        for number in range(50):
            self.one.send(SERVER_NAME, f"one {number}")
            self.other.send(SERVER_NAME, f"other {number}")
            for question in self.heard():
                self.answer(question, question.text.upper())
        self.assertEqual(self.one.read(), [f"ONE {number}" for number in range(50)])
        self.assertEqual(self.other.read(), [f"OTHER {number}" for number in range(50)])
        self.assertEqual({message.gap_before for message in self.one.has_read + self.other.has_read}, {0})
        self.assertEqual(self.contact.codes(), [])

    def test_delivered(self) -> None:
        """A receipt goes to the connection that asked for it."""
        first, second = (user.send(SERVER_NAME, "hi", wants_receipt=True) for user in (self.one, self.other))
        self.world.advance(2, 2)
        self.assertEqual([self.one.sent(first).status, self.other.sent(second).status], ["delivered", "delivered"])

    def test_nonces(self) -> None:
        """Both directions go by the nonce of the connection, each with counters of its own from 1, and no epoch."""
        for _ in range(2):
            self.one.send(SERVER_NAME, "hi")
            for question in self.heard():
                self.answer(question, "yes")
        found = []
        for user, account in ((self.one, SERVER_NAME), (self.contact, KEY.name)):
            assert user.wire is not None
            for deposit in decoded(user.wire, Side.CLIENT, Deposit):
                (destination,) = deposit.to
                (part,) = destination.parts
                self.assertEqual(destination.account, account)
                header = decode_record(KeyHeader, decode_record(Envelope, part.own).header)
                found.append((header.nonce, header.epoch, header.counter, header.introduction))
        nonce = self.one.profile().connection
        self.assertEqual(found, [(nonce, 0, 1, None), (nonce, 0, 2, None)] * 2)

    def test_beside_accounts(self) -> None:
        """People with accounts write to the contact as ever."""
        alice = self.world.user("alice")
        alice.send(SERVER_NAME, "hi")
        (question,) = self.heard()
        self.assertEqual((question.sender, question.suite), ("alice", "pqxdh"))
        self.answer(question, "hello")
        self.assertEqual(alice.read(), ["hello"])

    def test_latest_of(self) -> None:
        """Of some connections the one that wrote last is found; one that never wrote is none, however young it is."""
        silent = self.make_guest("silent")
        for user in (self.one, self.other):
            user.send(SERVER_NAME, "hello")
        one, other, never = (user.profile().device_id for user in (self.one, self.other, silent))
        cases: list[tuple[list[bytes], bytes]]
        cases = [([one, other], other), ([one], one), ([never, one], one), ([never], b""), ([], b"")]
        with self.contact.store.inner.reading() as records:
            for devices, found in cases:
                self.assertEqual(guests.latest_of(records, KEY.name, devices), found)

    def test_no_connection_named(self) -> None:
        """What names no connection is refused, also while there are some: nobody is to guess who hears it."""
        self.one.send(SERVER_NAME, "hi")
        error = self.assertRaises(Refusal, self.contact.send, KEY.name, "anybody?")
        self.assertEqual(error.code, "no-such-account")
        self.contact.send(with_guest(KEY.name, self.one.profile().device_id), "you")
        self.assertEqual(self.one.read(), ["you"])

    def test_accounts_know_no_guests(self) -> None:
        """An account that writes to such a name is told at once that there is nobody."""
        alice = self.world.user("alice")
        self.assertEqual(self.assertRaises(Refusal, alice.send, KEY.name, "hi").code, "no-such-account")


class GoneTests(GuestCase):
    """Connections that end."""

    def test_nobody_there(self) -> None:
        """An answer to a connection that is gone is given up, with no void and no second try, and holds nobody else up."""
        self.one.send(SERVER_NAME, "hi")
        self.other.send(SERVER_NAME, "ho")
        first, second = self.heard()
        self.one.disconnect()
        self.world.settle()
        gone = self.answer(first, "too late")
        self.answer(second, "in time")
        self.assertEqual((self.contact.sent(gone).status, self.contact.sent(gone).code), ("failed", "no-such-account"))
        self.assertEqual(self.other.read(), ["in time"])
        self.assertEqual(self.outbox(self.contact), [])

    def test_receipt_to_nobody(self) -> None:
        """So it is with a receipt."""
        self.one.send(SERVER_NAME, "hi", wants_receipt=True)
        self.one.disconnect()
        self.world.advance(5, 5)
        self.assertEqual(self.outbox(self.contact), [])

    def unheard(self) -> None:
        """One guest says something and hears nothing of what becomes of it."""
        self.one.send(SERVER_NAME, "known")
        self.heard()
        assert self.one.wire is not None
        self.one.wire.to_client = lambda message: []
        self.one.send(SERVER_NAME, "hi")

    def test_said_again(self) -> None:
        """What a guest did not hear to have arrived it says again in its next connection; it is shown once."""
        self.unheard()
        self.assertEqual([message.text for message in self.heard()], ["hi"])
        self.one.connect()
        self.assertEqual(self.heard(), [])
        assert self.one.wire is not None
        self.assertEqual(len(decoded(self.one.wire, Side.CLIENT, Deposit)), 1)
        self.assertEqual(len(self.contact.lines(KEY.name)), 2)

    def test_answered_where_it_was_asked(self) -> None:
        """The answer to what is said again goes to the connection that asked first, and is given up as that is gone."""
        self.unheard()
        (question,) = self.heard()
        self.one.connect()
        answer_id = self.answer(question, "hello")
        self.assertEqual(self.one.read(), [])
        answer = self.contact.sent(answer_id)
        self.assertEqual((answer.status, answer.code), ("failed", "no-such-account"))
        self.assertEqual(self.outbox(self.contact), [])

    def test_new_conversation(self) -> None:
        """A new connection begins at 1 with a nonce of its own, and nothing is missing from it."""
        for _ in range(3):
            self.one.send(SERVER_NAME, "hi")
            self.one.connect()
        self.one.send(SERVER_NAME, "last")
        heard = self.heard()
        self.assertEqual([message.text for message in heard], ["hi", "hi", "hi", "last"])
        self.assertEqual({(message.gap_before, message.note) for message in heard}, {(0, "")})
        self.assertEqual(len({message.device for message in heard}), 4)

    def test_contact_restarts(self) -> None:
        """A contact that dies and starts again knows its guests, who go on."""
        self.one.send(SERVER_NAME, "one")
        self.contact.die()
        self.contact.connect()
        self.one.send(SERVER_NAME, "two")
        for question in self.heard():
            self.answer(question, question.text)
        self.assertEqual(self.one.read(), ["one", "two"])


class ForgettingTests(GuestCase):
    """Connections are remembered for a while."""

    def tables(self) -> int:
        """How much the contact keeps besides its history and what it has seen."""
        with self.contact.store.inner.reading() as records:
            return sum(len(records.scan(table)) for table in (COUNTERS, EPOCHS, guests.TABLE, "sent"))

    def forget_gone(self) -> int:
        """What the daemon has the contact do every minute."""
        self.world.settle()
        return guests.forget_gone(self.contact.store, self.world.clock, self.world.server.guests)

    def test_forgotten(self) -> None:
        """An hour after they were last heard, connections that are gone are forgotten with all that belongs to them."""
        sizes = []
        for _ in range(4):
            for _ in range(3):
                self.one.connect()
                self.one.send(SERVER_NAME, "hi", wants_receipt=True)
                for question in self.heard():
                    self.answer(question, "yes")
            self.world.advance(5, 5)
            self.one.disconnect()
            sizes.append(self.tables())
            self.world.clock += guests.GRACE + 10
            self.assertEqual(self.forget_gone(), 3)
        self.assertEqual(len(set(sizes)), 1, sizes)

    def test_not_sooner(self) -> None:
        """Nobody is forgotten sooner: what was said may still be on its way."""
        self.one.send(SERVER_NAME, "hi")
        device = self.one.profile().device_id
        self.one.disconnect()
        self.world.clock += guests.GRACE - 10
        self.assertEqual(self.forget_gone(), 0)
        self.assertIsNotNone(self.connection(device))
        self.world.clock += 20
        self.assertEqual(self.forget_gone(), 1)
        self.assertIsNone(self.connection(device))

    def test_in_pages(self) -> None:
        """However many are gone, none is left, and those who are here stay, wherever they stand among them."""
        self.patch(guests, "PAGE", 2)
        self.one.send(SERVER_NAME, "I stay")
        for _ in range(5):
            self.other.connect()
            self.other.send(SERVER_NAME, "hi")
        self.other.disconnect()
        self.world.clock += guests.GRACE + 10
        self.assertEqual(self.forget_gone(), 5)
        self.assertEqual(self.forget_gone(), 0)
        self.assertIsNotNone(self.connection(self.one.profile().device_id))

    def test_too_many(self) -> None:
        """
        Of very many those that were heard first are not remembered for so long, if they are gone; those who are here stay.
        """
        self.patch(guests, "MAX_CONNECTIONS", 3)
        self.one.send(SERVER_NAME, "I stay")
        devices = [self.one.profile().device_id]
        for _ in range(6):
            self.other.connect()
            self.other.send(SERVER_NAME, "hi")
            devices.append(self.other.profile().device_id)
        self.world.clock += guests.SHORT_GRACE
        self.assertEqual(self.forget_gone(), 0)
        self.world.clock += 1
        self.assertEqual(self.forget_gone(), 4)
        self.assertEqual([self.connection(device) is not None for device in devices], [True] + [False] * 4 + [True] * 2)

    def test_silent_for_long(self) -> None:
        """
        A connection that stands is never forgotten: no nonce and counter are used twice, however long it was silent and however
        many others have called.
        """
        self.one.send(SERVER_NAME, "one")
        self.answer(self.heard()[0], "yes one")
        for _ in range(3):
            self.world.clock += DAY + 10
            self.other.connect()
            self.other.send(SERVER_NAME, "ho")
            self.forget_gone()
        self.heard()
        self.one.send(SERVER_NAME, "two")
        two = [message for message in self.heard() if message.text == "two"][0]
        self.assertEqual((two.gap_before, two.note), (0, ""))
        self.answer(two, "yes two")
        self.assertEqual(self.one.read(), ["yes one", "yes two"])
        self.assertEqual(self.one.codes() + self.contact.codes(), [])
        assert self.one.wire is not None
        deliveries = decoded(self.one.wire, Side.SERVER, Deliver)
        headers = [decode_header(decode_record(Envelope, delivery.own).header) for delivery in deliveries]
        counters = [(header.nonce, header.counter) for header in headers if isinstance(header, KeyHeader)]
        self.assertEqual(len(counters), 2)
        self.assertEqual(len(set(counters)), 2)

    def test_slow_answer(self) -> None:
        """An answer that takes longer than a connection is remembered reaches it all the same, if it stands."""
        self.one.send(SERVER_NAME, "hi")
        question = self.heard()[0]
        for _ in range(6):
            self.other.connect()
            self.other.send(SERVER_NAME, "ho")
        self.world.clock += guests.GRACE + 10
        self.forget_gone()
        self.answer(question, "at last")
        self.assertEqual(self.one.read(), ["at last"])

    def test_seen_stays(self) -> None:
        """What was seen stays known: nonce and counter of a connection that is forgotten are not accepted again."""
        self.one.send(SERVER_NAME, "hi")
        with self.contact.store.inner.reading() as records:
            before = {bucket for bucket, _, _ in records.scan(SEEN)}
        self.one.disconnect()
        self.world.settle()
        self.world.clock += guests.GRACE + 10
        self.assertEqual(guests.forget_gone(self.contact.store, self.world.clock, self.world.server.guests), 1)
        with self.contact.store.inner.reading() as records:
            self.assertTrue(before <= {bucket for bucket, _, _ in records.scan(SEEN)})


class AdmissionTests(GuestCase):
    """Which file counts."""

    def change(self, key: SharedKey | None) -> None:
        """The daemon starts with another file, or none, for its contact."""
        with self.contact.store.inner.writing() as records:
            if key is None:
                guests.dismiss(records)
            else:
                guests.admit(records, key, START)

    def test_dismissed(self) -> None:
        """Without the file nothing of its holders is opened, and nothing is said to them."""
        self.one.send(SERVER_NAME, "before")
        self.change(None)
        self.one.send(SERVER_NAME, "after")
        self.assertEqual([message.text for message in self.heard()], ["before"])
        self.assertEqual(self.contact.codes(), ["suite-unavailable"])
        for to in (KEY.name, with_guest(KEY.name, self.one.profile().device_id)):
            self.assertEqual(self.assertRaises(Refusal, self.contact.send, to, "hi").code, "no-such-account")

    def test_admitted_again(self) -> None:
        """With the file again, what came meanwhile is opened."""
        self.change(None)
        self.one.send(SERVER_NAME, "hi")
        self.change(KEY)
        self.world.advance(2, 2)
        self.assertEqual([message.text for message in self.heard()], ["hi"])

    def test_other_file(self) -> None:
        """Another file takes the place of the first, whose connections are forgotten in time."""
        self.one.send(SERVER_NAME, "hi")
        self.answer(self.heard()[0], "yes")
        self.change(OTHER)
        # They ended with the process that had the first file.
        self.assertEqual(guests.forget_gone(self.contact.store, START + guests.GRACE + 1, frozenset()), 1)
        with self.contact.store.inner.reading() as records:
            self.assertEqual(records.scan(guests.TABLE) + records.scan(EPOCHS), [])
        with self.contact.store.inner.reading() as records:
            self.assertEqual(pins.pinned_suite(records, with_guest(KEY.name)), pins.Chosen())
            self.assertEqual(pins.pinned_suite(records, with_guest(OTHER.name)).shared, OTHER)
            contact = contacts.get_contact(records, OTHER.name)
        assert contact is not None
        self.assertEqual((contact.identity, contact.verified), (OTHER.fingerprint, True))

    def test_same_again(self) -> None:
        """The same file at the next start changes nothing."""
        with self.contact.store.inner.reading() as records:
            before = [records.scan(table) for table in (contacts.TABLE, pins.TABLE, META)]
        self.change(KEY)
        with self.contact.store.inner.reading() as records:
            self.assertEqual([records.scan(table) for table in (contacts.TABLE, pins.TABLE, META)], before)


class AttackTests(GuestCase):
    """What the server between cannot do."""

    def spoilt(self, **changes: object) -> None:
        """
        A message whose delivery or header is changed is not read, and leaves nothing but a row in quarantine; no reset goes
        out, now or later.
        """

        def spoil(message: Message) -> list[Message]:
            if not isinstance(message, Deliver):
                return [message]
            envelope = decode_record(Envelope, message.own)
            fields = {name: value for name, value in changes.items() if name in KeyHeader.__struct_fields__}
            header = msgspec.structs.replace(decode_record(KeyHeader, envelope.header), **fields)
            own = encode_record(Envelope(encode_record(header), envelope.sealed))
            others = {name: value for name, value in changes.items() if name not in fields}
            return [msgspec.structs.replace(message, own=own, **others)]

        before = messages.quarantined(self.contact.store.inner)[0]
        assert self.contact.wire is not None
        self.contact.wire.to_client = spoil
        self.one.send(SERVER_NAME, "hi")
        self.contact.wire.to_client = lambda message: [message]
        self.assertEqual(self.heard(), [])
        self.assertEqual(messages.quarantined(self.contact.store.inner)[0], before + 1)
        with self.contact.store.inner.reading() as records:
            self.assertIsNone(records.get(META, RESETS))
        self.assertEqual(self.outbox(self.contact), [])

    def test_other_device(self) -> None:
        """What one connection said is not another's."""
        self.spoilt(device=self.other.profile().device_id)

    def test_other_header(self) -> None:
        """Nonce, epoch and counter are the connection's own, and nobody introduces himself."""
        alice = self.world.user("alice").profile()
        self.spoilt(nonce=self.other.profile().connection)
        self.spoilt(epoch=1)
        self.spoilt(counter=9)
        self.spoilt(introduction=Introduction(alice.identity.public, alice.devices))

    def test_nonce_of_its_own(self) -> None:
        """Not even who holds the file can take another nonce than its connection's, which depends on both ends and on TLS."""
        device, contact = self.one.profile().device_id, self.contact.profile()
        common, content_key = suites.make_common(b"text", psk.KEY_SIZE)
        recipient = DeviceAddress(SERVER_NAME, contact.device_id, contact.identity.public)
        for nonce in (bytes(32), self.one.profile().connection):
            sender = DeviceAddress(KEY.name, device, KEY.guest_identity(nonce).public)
            with MemoryProfile().writing() as records:
                own = seal_with_file(records, KEY, sender, recipient, content_key, connection=nonce)
            with self.contact.store.inner.writing() as records:
                arguments = (records, contact, KEY.name, device, own, keys.sha256(common), START)
                if nonce == bytes(32):
                    self.assertRaises(WrongKey, suites.open_envelope, *arguments)
                else:
                    self.assertEqual(suites.open_envelope(*arguments).content_key, content_key)

    def sealed(self, sender: DeviceAddress, recipient: DeviceAddress, header: KeyHeader) -> tuple[bytes, bytes]:
        """
        What somebody who has the file can make, whatever the header says.

        @return: the own part, and the digest of the common part.
        """
        _, content_key = suites.make_common(b"text", psk.KEY_SIZE)
        raw = encode_record(header)
        key = psk.message_key(KEY, sender, recipient, header.nonce, header.epoch)
        associated = psk.OWN_EPOCHS.associated_data(sender, recipient, raw, content_key.common)
        sealed = primitives.a128cbc_hs256_encrypt(key, encode_record(content_key), associated)
        return encode_record(Envelope(raw, sealed)), content_key.common

    def assert_rules(self, reader: User, sender: DeviceAddress, good: KeyHeader, *bad: KeyHeader) -> None:
        """Somebody opens what is sealed under one header, and nothing under others, which change nothing."""
        profile = reader.profile()
        recipient = DeviceAddress(profile.name, profile.device_id, profile.identity.public)

        def open_it(header: KeyHeader) -> Opened:
            introduction = header.introduction
            speaking = sender if introduction is None else evolve(sender, identity=introduction.identity)
            own, common = self.sealed(speaking, recipient, header)
            with reader.store.inner.writing() as records:
                return suites.open_envelope(records, profile, sender.account, sender.device, own, common, START)

        def held() -> list[object]:
            with reader.store.inner.reading() as records:
                return [records.scan(table) for table in (guests.TABLE, EPOCHS, SEEN, contacts.TABLE)]

        before = held()
        for header in bad:
            self.assertRaises(WrongKey, open_it, header)
            self.assertEqual(held(), before)
        self.assertEqual(open_it(good).device_id, sender.device)

    def test_rules_at_the_contact(self) -> None:
        """A guest that seals with the right file, and calls its connection an epoch or introduces itself, is refused."""
        alice, one = self.world.user("alice").profile(), self.one.profile()
        header = KeyHeader("psk", 1, one.connection, 0, 1, None)
        self.assert_rules(
            self.contact,
            DeviceAddress(KEY.name, one.device_id, one.identity.public),
            header,
            msgspec.structs.replace(header, epoch=1),
            msgspec.structs.replace(header, introduction=Introduction(one.identity.public, alice.devices)),
            msgspec.structs.replace(header, introduction=Introduction(alice.identity.public, alice.devices)),
        )

    def test_rules_at_the_guest(self) -> None:
        """
        So is a server that seals for a guest with another nonce than the connection's, or an epoch, or introduces itself.
        """
        self.one.send(SERVER_NAME, "hi")
        one, contact = self.one.profile(), self.contact.profile()
        header = KeyHeader("psk", 1, one.connection, 0, 1, None)
        self.assert_rules(
            self.one,
            DeviceAddress(SERVER_NAME, contact.device_id, contact.identity.public),
            header,
            msgspec.structs.replace(header, nonce=self.other.profile().connection),
            msgspec.structs.replace(header, nonce=bytes(32)),
            msgspec.structs.replace(header, epoch=1),
            msgspec.structs.replace(header, introduction=Introduction(contact.identity.public, contact.devices)),
        )

    def test_other_name(self) -> None:
        """What a guest said is not an account's, nor another file's."""
        self.spoilt(account=OTHER.name)
        self.spoilt(account="alice")

    def test_replayed(self) -> None:
        """What was delivered before is taken for what it is."""
        assert self.contact.wire is not None
        self.contact.wire.to_client = lambda message: (
            [message, msgspec.structs.replace(message, tag=message.tag + 1)] if isinstance(message, Deliver) else [message]
        )
        self.one.send(SERVER_NAME, "hi")
        self.assertEqual([message.text for message in self.heard()], ["hi"])

    def test_answer_into_another_connection(self) -> None:
        """An answer does not open in another connection than it was made for, and the guest asks for nothing."""
        self.one.send(SERVER_NAME, "hi")
        (question,) = self.heard()
        assert self.one.wire is not None
        kept: list[Message] = []

        def keep(message: Message) -> list[Message]:
            if not isinstance(message, Deliver):
                return [message]
            kept.append(message)
            return []

        self.one.wire.to_client = keep
        self.answer(question, "for one")
        self.other.send(SERVER_NAME, "ho")
        assert self.other.wire is not None
        self.other.wire.inject(Side.SERVER, kept[0])
        self.world.settle()
        self.world.advance(2 * 3600, 30)
        self.assertEqual(self.other.read(), [])
        self.assertIn("wrong-key", self.other.codes())
        self.assertEqual(self.outbox(self.other), [])

    def test_no_gap_asked_for(self) -> None:
        """Neither side sends a reset over a gap: a guest says again what did not arrive."""
        self.one.send(SERVER_NAME, "one")
        assert self.contact.wire is not None
        self.contact.wire.to_client = lambda message: (
            [msgspec.structs.replace(message, common=bytes(304))] if isinstance(message, Deliver) else [message]
        )
        self.one.send(SERVER_NAME, "two")
        self.contact.wire.to_client = lambda message: [message]
        self.one.send(SERVER_NAME, "three")
        self.world.advance(2 * 3600, 30)
        heard = self.heard()
        self.assertEqual([(message.text, message.gap_before) for message in heard], [("one", 0), ("three", 1)])
        self.assertEqual(self.outbox(self.contact) + self.outbox(self.one), [])

    def test_bucket(self) -> None:
        """Each connection has an epoch of its own in the store."""
        self.one.send(SERVER_NAME, "hi")
        self.other.send(SERVER_NAME, "ho")
        with self.contact.store.inner.reading() as records:
            buckets = {bucket for bucket, _, _ in records.scan(EPOCHS)}
        devices = (self.one.profile().device_id, self.other.profile().device_id)
        self.assertEqual(buckets, {bucket_of(KEY.name, device) for device in devices})
