"""Rooms: one row each, moved on by steps, and what is delivered by it."""

from __future__ import annotations

from typing import Any

from attrs import define, evolve, field

from securemsg.crypto import keys
from securemsg.crypto.keyfile import SharedKey
from securemsg.protocol.framing import MAX_FRAME
from securemsg.protocol.messages import (
    MAX_COMMON,
    MAX_OWN,
    Acceptance,
    Accepted,
    Deliver,
    Deposit,
    DepositRefused,
    Destination,
    ListMark,
    Missed,
    Part,
    Publish,
    RemoveAccount,
    RoomItem,
    RoomStep,
    encode_message,
)
from securemsg.server.deposits import digest_of
from securemsg.server.limits import Rate, Settings
from securemsg.server.mailbox import ROOM_SHARE
from tests.server.case import TwoPeople, changed
from tests.server.rig import User

NO_ROW = ListMark(0, b"")


@define
class Room:
    """What an honest member knows: the newest list, and the proof for the next step."""

    id: bytes = field(factory=keys.random_id)
    n: int = 0
    digest: bytes = b""
    proof: bytes = field(factory=keys.nonce)

    def step(self) -> RoomItem:
        """The next step, after which this is another list."""
        shown, self.proof = self.proof, keys.nonce()
        self.n += 1
        self.digest = keys.nonce()
        return RoomItem(self.id, self.n, self.digest, RoomStep(shown, keys.sha256(self.proof)))

    def say(self, **items: Any) -> RoomItem:
        """What a message goes by, but for some of its items."""
        return changed(RoomItem(self.id, self.n, self.digest, None), **items)

    @property
    def mark(self) -> ListMark:
        """The newest list."""
        return ListMark(self.n, self.digest)


class RoomCase(TwoPeople):
    """Alice and Bob are members of a room, and so may others be: the server does not know."""

    features = ("rooms",)

    def setUp(self) -> None:
        """There is no row yet."""
        super().setUp()
        self.rig.commit()
        self.room = Room()

    def make(self, item: RoomItem, *to: User, **items: Any) -> Deposit:
        """A deposit of Alice's for these, and for herself, who has no other device."""
        deposit = self.sender.deposit(*to, **items)
        return changed(deposit, to=[Destination("alice", []), *deposit.to], room=item)

    def put(self, item: RoomItem, *to: User, **items: Any) -> Deposit:
        """Have it deposited and accepted, by everybody named."""
        deposit = self.make(item, *to, **items)
        self.sender.send(deposit)
        self.rig.commit()
        self.assertEqual(self.sender.one(Accepted).deposits, [Acceptance(deposit.deposit_id, [], stored=True)])
        return deposit

    def begin(self, *to: User) -> None:
        """Make the row."""
        self.put(self.room.step(), *(to or (self.bob,)))
        self.reader.inbox.clear()

    def missed(self, item: RoomItem, *to: User, **items: Any) -> list[Missed]:
        """Have it accepted, but for these."""
        deposit = self.make(item, *to, **items)
        self.sender.send(deposit)
        self.rig.commit()
        [acceptance] = self.sender.one(Accepted).deposits
        self.assertEqual((acceptance.deposit_id, acceptance.stored), (deposit.deposit_id, True))
        return acceptance.missed

    def assert_refused(self, code: str, item: RoomItem, *to: User, mark: ListMark | None = None) -> None:
        """It is refused, which changes nothing."""
        before = self.rows()
        self.reader.inbox.clear()
        deposit = self.make(item, *(to or (self.bob,)))
        self.sender.send(deposit)
        self.rig.commit()
        refusal = self.sender.one(DepositRefused)
        self.assertEqual((refusal.deposit_id, refusal.code, refusal.room), (deposit.deposit_id, code, mark))
        self.assertEqual((self.rows(), self.reader.pop(Deliver)), (before, []))

    def assert_stale(self, item: RoomItem, mark: ListMark) -> None:
        """It does not fit the row, which is this one."""
        self.assert_refused("stale-room", item, mark=mark)

    def rows(self) -> list[tuple[Any, ...]]:
        """What is committed."""
        return self.rig.store.query("SELECT * FROM rooms")

    def crash(self) -> None:
        """The process dies, and both are there again."""
        self.rig.crash()
        self.reader, self.sender = self.rig.login(self.bob), self.rig.login(self.alice)
        self.rig.commit()
        self.reader.inbox.clear()


class RowTests(RoomCase):
    """What a row admits."""

    def test_steps(self) -> None:
        """Each step shows the proof that the one before announced; the row is written with it, and survives a crash."""
        for _ in range(3):
            self.begin()
            self.assertEqual(self.rows(), [(self.room.id, self.room.n, self.room.digest, keys.sha256(self.room.proof))])
            self.crash()

    def test_wrong_steps(self) -> None:
        """A step with another number or another proof is refused with the row."""
        self.begin()
        for n in (1, 3):
            self.assert_stale(changed(self.room.step(), n=n), mark := ListMark(1, self.rows()[0][2]))
            self.room.n = 1
        self.assert_stale(RoomItem(self.room.id, 2, bytes(32), RoomStep(bytes(32), bytes(32))), mark)

    def test_messages(self) -> None:
        """A message goes by the newest list and by no other, by number and hash; those of another room are nothing to it."""
        self.begin()
        first = self.room.say()
        self.begin()
        self.put(self.room.say(), self.bob)
        self.reader.inbox.clear()
        for item in (first, self.room.say(n=1), self.room.say(n=3), self.room.say(digest=bytes(32))):
            self.assert_stale(item, self.room.mark)
        self.assert_stale(self.room.say(room=bytes(16)), NO_ROW)

    def test_no_row(self) -> None:
        """Where there is no row no message is taken, and any step makes one."""
        for _ in range(2):
            self.assert_stale(self.room.say(n=1, digest=bytes(32)), NO_ROW)
        self.room.n = 6
        self.begin()
        self.assertEqual(self.rows()[0][1], 7)

    def test_never_deleted(self) -> None:
        """The row stays when the account is removed that made it."""
        self.begin()
        before = self.rows()
        self.rig.operator().ask(RemoveAccount(1, "alice"))
        self.rig.commit()
        self.assertEqual(self.rows(), before)

    def test_stale_devices(self) -> None:
        """A step that does not name the devices as they are is refused, and is taken when it does."""
        self.begin()
        step = self.room.step()
        wrong = User("bob", self.bob.server)
        self.assert_refused("stale-devices", step, wrong)
        self.put(step, self.bob)

    def test_nothing_else_known(self) -> None:
        """Neither members nor senders are in the row."""
        self.begin()
        columns = [name for _, name, *_ in self.rig.store.query("PRAGMA table_info(rooms)")]
        self.assertEqual(columns, ["room", "n", "digest", "next"])


class DeliveryTests(RoomCase):
    """What members get."""

    def test_after_commit(self) -> None:
        """Nothing is delivered before its commit, though its reader is up to date; then the item comes with it, unchanged."""
        for item in (self.room.step(), self.room.say()):
            deposit = self.make(item, self.bob)
            self.sender.ask(deposit)
            self.assertEqual(self.reader.inbox + self.sender.inbox, [])
            self.rig.commit()
            self.assertEqual(self.reader.one(Deliver).room, item)
            self.assertEqual(self.sender.accepted(), [deposit.deposit_id])

    def test_from_store(self) -> None:
        """So it does from the store, and after a crash; what is of no room has none."""
        self.rig.lose(self.reader)
        items = [self.room.step(), self.room.say()]
        for item in items:
            self.put(item, self.bob)
        self.store([b"of no room"])
        for _ in range(2):
            reader = self.rig.login(self.bob)
            self.rig.commit()
            self.assertEqual([delivery.room for delivery in reader.pop(Deliver)], [*items, None])
            self.rig.crash()

    def test_order(self) -> None:
        """What comes behind is not delivered before it, though it could be at once."""
        self.sender.ask(self.make(self.room.step(), self.bob, text=b"step"), self.sender.deposit(self.bob, text=b"other"))
        self.assertEqual(self.reader.inbox, [])
        self.rig.commit()
        self.assertEqual(self.reader.delivered(), [b"step", b"other"])

    def test_other_devices(self) -> None:
        """The sender's other devices get it like everybody."""
        second = self.alice.sibling()
        self.alice.version = 2
        self.sender.ask(Publish(1, self.alice.device_list()))
        self.rig.commit()
        other = self.rig.login(second)
        deposit = self.sender.deposit(self.bob)
        step = self.room.step()
        for parts in ([], [Part(self.alice.device_id, b"")], [Part(second.device_id, b""), Part(self.alice.device_id, b"")]):
            wrong = changed(deposit, to=[Destination("alice", parts), *deposit.to], room=step)
            self.assertEqual(self.refused(wrong), "stale-devices")
        self.sender.send(changed(deposit, to=[Destination("alice", [Part(second.device_id, b"own")]), *deposit.to], room=step))
        self.rig.commit()
        self.assertEqual([client.one(Deliver).room for client in (other, self.reader)], [step, step])

    def test_largest(self) -> None:
        """A deposit with a hundred of the largest own parts is taken, and delivered."""
        users, readers = [], []
        for number in range(10):
            user, client = self.rig.register(f"user{number}")
            for _ in range(9):
                user.sibling()
            user.version = 2
            client.ask(Publish(1, user.device_list()))
            users.append(user)
            readers.append(client)
        self.rig.commit()
        for user in users:
            for device in self.rig.server.accounts.get(user.name).devices.values():  # type: ignore[union-attr]
                device.has_rooms = True
        deposit = self.put(self.room.step(), *users, text=bytes(MAX_COMMON), own=bytes(MAX_OWN))
        self.assertGreater(len(encode_message(deposit)), 5 * MAX_FRAME)
        self.assertEqual([len(client.one(Deliver).own) for client in readers], [MAX_OWN] * 10)


class RepetitionTests(RoomCase):
    """Deposits that come again."""

    def test_again(self) -> None:
        """A step and a message that were accepted are accepted again, though the row has moved on, and nothing moves."""
        deposits = [self.put(self.room.step(), self.bob), self.put(self.room.say(), self.bob)]
        self.begin()
        before = self.rows()
        for _ in range(2):
            for deposit in deposits:
                self.sender.send(deposit)
                self.rig.commit()
                self.assertEqual(self.sender.accepted(), [deposit.deposit_id])
            self.assertEqual((self.rows(), self.reader.delivered()), (before, []))
            self.crash()

    def test_again_without_recipients(self) -> None:
        """So is one that nobody was to get."""
        deposit = self.put(self.room.step())
        self.crash()
        self.sender.send(deposit)
        self.rig.commit()
        self.assertEqual(self.sender.accepted(), [deposit.deposit_id])

    def test_other_item(self) -> None:
        """The same deposit with another item, or without, is another one, pending or stored."""
        deposit = self.make(self.room.step(), self.bob)
        self.sender.ask(deposit)
        others = [changed(deposit, room=item) for item in (None, self.room.say(), self.room.step())]
        self.sender.ask(*[other for other in others if other.room is not None])
        self.assertEqual([refusal.code for refusal in self.sender.pop(DepositRefused)], ["conflict"] * 2)
        self.rig.commit()
        self.assertEqual(self.sender.accepted(), [deposit.deposit_id])
        for other in others[1:]:
            self.assertEqual(self.refused(other), "conflict")
        plain = changed(deposit, to=deposit.to[1:])
        self.assertNotEqual(digest_of(changed(plain, room=None)), digest_of(plain))

    def test_of_what_was_never_written(self) -> None:
        """What was passed on without being written, and was of no room, is another deposit than the same in a room."""
        self.begin()
        second, other = self.two_devices()
        deposit = self.sender.deposit(self.bob)
        self.sender.ask(deposit)
        for client in (self.reader, other):
            client.acknowledge()
        self.assertEqual(self.sender.one(Accepted).deposits[0].stored, False)
        self.assertEqual(len(deposit.to[0].parts), len([self.bob, second]))
        in_room = changed(deposit, to=[Destination("alice", []), *deposit.to], room=self.room.say())
        self.assertEqual(self.refused(in_room), "conflict")

    def test_old_digest(self) -> None:
        """The digest of what is of no room is the one that older releases have stored."""
        deposit = Deposit(bytes(16), 5, 60, b"common", [Destination("bob", [Part(bytes(16), b"own")])])
        self.assertEqual(digest_of(deposit).hex(), "8b956922ac0dd166a978a4585b8862e877cf7175d9c032767fedd1e7584f84be")

    def test_step_of_older_state(self) -> None:
        """A step that the store has, though its n has risen, is accepted again and moves nothing."""
        step = self.put(self.room.step(), self.bob)
        self.begin()
        again = changed(step, n=self.sender.n + 1)
        self.sender.n += 1
        other = changed(again, n=self.sender.n + 1, room=self.room.step())
        self.sender.n += 1
        self.sender.send(again)
        self.rig.commit()
        self.assertEqual(self.sender.accepted(), [step.deposit_id])
        self.assertEqual(self.refused(other), "conflict")
        self.room.n -= 1
        self.assertEqual(self.rows()[0][1], 2)
        self.assert_stale(RoomItem(self.room.id, 3, bytes(32), None), ListMark(2, self.rows()[0][2]))


class PendingTests(RoomCase):
    """While a step is on its way to the store."""

    def setUp(self) -> None:
        """List 1 stands, and the step to list 2 is not committed; somebody else has made another one."""
        super().setUp()
        self.begin()
        self.old = self.room.say()
        self.behind = evolve(self.room).step()
        self.step = self.make(self.room.step(), self.bob)
        self.sender.ask(self.step)

    def refusals(self) -> list[ListMark | None]:
        """What was said of stale deposits."""
        found = self.sender.pop(DepositRefused)
        self.assertEqual({refusal.code for refusal in found} - {"stale-room"}, set())
        return [refusal.room for refusal in found]

    def test_refused_after_commit(self) -> None:
        """Who was overtaken hears of the list when it is committed, and not before."""
        self.sender.ask(self.make(self.old, self.bob))
        self.reader.ask(changed(self.reader.deposit(), to=[Destination("bob", [])], room=self.behind))
        self.assertEqual(self.sender.inbox + self.reader.inbox, [])
        self.rig.store.flush()
        self.rig.run()
        self.assertEqual(self.sender.accepted(), [self.step.deposit_id])
        self.assertEqual(self.refusals(), [self.room.mark])
        self.rig.commit()
        self.assertEqual(self.reader.one(DepositRefused).room, self.room.mark)
        self.assertEqual(self.sender.wire.peer.unanswered, 0)
        self.assert_stale(self.old, self.room.mark)

    def test_crash(self) -> None:
        """If the process dies first, nobody has heard, and another step may win."""
        self.sender.ask(self.make(self.old, self.bob))
        self.assertEqual(self.reader.inbox + self.sender.inbox, [])
        self.crash()
        self.sender.inbox.clear()
        self.put(self.behind, self.bob)

    def test_fits(self) -> None:
        """A message by the list that is not committed is taken behind it."""
        message = self.make(self.room.say(), self.bob)
        self.sender.ask(message)
        self.assertEqual(self.sender.inbox, [])
        self.rig.commit()
        self.assertEqual(self.sender.accepted(), [self.step.deposit_id, message.deposit_id])
        self.assertEqual([delivery.room for delivery in self.reader.pop(Deliver)], [self.step.room, message.room])

    def test_two_steps(self) -> None:
        """With two steps on their way, who fits neither hears of the second with its commit, and not with that of the first."""
        self.rig.crash()
        self.reader, self.sender = self.rig.login(self.bob), self.rig.login(self.alice)
        self.rig.begin_commit()
        # Behind that commit both deposits, and twice the row, are looked up, before the first is written.
        first = self.room.mark
        self.sender.n = self.step.n
        self.sender.ask(self.step)
        self.reader.ask(changed(self.reader.deposit(), to=[Destination("bob", [])], room=self.room.step()))
        for _ in range(5):
            self.rig.store.flush(1)
            self.rig.run()
        self.sender.ask(self.make(self.old, self.bob))
        self.rig.store.flush(1)
        self.rig.run()
        self.assertEqual(self.sender.accepted(), [self.step.deposit_id])
        self.sender.ask(self.make(self.room.say(n=2, digest=first.digest), self.bob))
        self.assertEqual((self.refusals(), self.reader.accepted(), self.rows()[0][1]), ([], [], 2))
        self.rig.commit()
        self.assertEqual(self.refusals(), [self.room.mark] * 2)
        self.assertEqual((len(self.reader.accepted()), self.rows()[0][1]), (1, 3))

    def test_refusals_bounded(self) -> None:
        """Deposits that wait for their refusal count as unanswered."""
        self.rig.settings = Settings(registration="open", max_unanswered=4)
        self.crash()
        self.sender.ask(self.step, *[self.make(self.old, self.bob) for _ in range(6)])
        self.assertEqual(self.sender.wire.peer.unanswered, 4)
        self.assertTrue(self.sender.wire.paused)
        self.rig.commit()
        self.assertEqual(self.refusals(), [self.room.mark] * 6)
        self.assertEqual((self.sender.wire.peer.unanswered, self.sender.wire.paused), (0, False))


class NamingTests(RoomCase):
    """Whom a deposit names, and who misses it."""

    def settings(self) -> Settings:
        """Small mailboxes."""
        return Settings(registration="open", mailbox_messages=2)

    def fill(self) -> None:
        """Bob is away, and his mailbox full."""
        self.rig.lose(self.reader)
        self.sender.send(*[self.sender.deposit(self.bob) for _ in range(2)])
        self.rig.commit()
        self.sender.inbox.clear()

    def test_nobody(self) -> None:
        """A step, and a message, may be for nobody."""
        self.put(self.room.step())
        self.put(self.room.say())

    def test_own_account(self) -> None:
        """The sender's own account must be named."""
        deposit = self.sender.deposit(self.bob)
        self.assertEqual(self.refused(changed(deposit, room=self.room.step())), "bad-request")
        self.assertEqual(self.rows(), [])

    def test_no_parts(self) -> None:
        """No other account may be named without a part, nor one's own where it is of no room."""
        deposit = self.sender.deposit(self.bob)
        own, empty = Destination("alice", []), Destination("bob", [])
        self.assertEqual(self.refused(changed(deposit, to=[own, empty], room=self.room.step())), "bad-request")
        for to in ([own], [own, *deposit.to], [empty], [*deposit.to, Destination("nobody", [])]):
            self.assertEqual(self.refused(changed(deposit, to=to)), "bad-request")

    def test_twice(self) -> None:
        """No account may be named twice, one that is gone included."""
        for who in (self.bob, self.rig.user("nobody")):
            self.assert_refused("bad-request", self.room.step(), who, who)
            self.room.n = 0

    def test_full(self) -> None:
        """A step is accepted though mailboxes are full, some or all; a message only if one has room."""
        carol, other = self.rig.register("carol")
        self.fill()
        gone = Missed("bob", self.bob.device_id, "mailbox-full")
        self.assertEqual(self.missed(self.room.step(), self.bob), [gone])
        self.assertEqual(self.missed(self.room.step(), self.bob, carol), [gone])
        self.assertEqual(self.missed(self.room.say(), self.bob, carol), [gone])
        self.assertEqual(len(other.delivered()), 2)
        self.assert_refused("mailbox-full", self.room.say(), self.bob)
        self.assert_refused("mailbox-full", self.room.say(), self.bob, self.rig.user("nobody"))

    def test_gone(self) -> None:
        """An account that does not exist misses it, with each device that was named; others get it."""
        nobody = self.rig.user("nobody")
        sibling = nobody.sibling()
        gone = [Missed("nobody", device, "no-such-account") for device in (nobody.device_id, sibling.device_id)]
        self.assertEqual(self.missed(self.room.step(), nobody, self.bob), gone)
        self.assertEqual(self.missed(self.room.say(), nobody, self.bob), gone)
        self.assertEqual(self.missed(self.room.say(), nobody), gone)
        self.assertEqual(len(self.reader.delivered()), 2)

    def test_gone_and_stale(self) -> None:
        """Where another one has other devices, that is what the refusal says, and only that."""
        deposit = self.make(self.room.step(), self.rig.user("nobody"), User("bob", self.bob.server))
        self.sender.send(deposit)
        self.rig.commit()
        refusal = self.sender.one(DepositRefused)
        self.assertEqual((refusal.code, [record.name for record in refusal.accounts]), ("stale-devices", ["bob"]))

    def test_no_rooms(self) -> None:
        """A device that did not announce rooms at its last login misses it; that is known after a crash."""
        missed = [Missed("bob", self.bob.device_id, "no-rooms")]
        for features in ((), ("rooms",), ()):
            self.rig.features = features
            self.rig.login(self.bob)
            self.rig.commit()
            for _ in range(2):
                self.rig.features = ("rooms",)
                expected = [] if features else missed
                self.assertEqual(self.missed(self.room.step(), self.bob), expected)
                self.rig.crash()
                self.sender = self.rig.login(self.alice)

    def test_same_answer_again(self) -> None:
        """The answer to a repetition names who missed it."""
        nobody = self.rig.user("nobody")
        deposit = self.make(self.room.step(), nobody)
        self.sender.send(deposit)
        self.rig.commit()
        first = self.sender.one(Accepted).deposits
        self.rig.crash()
        self.sender = self.rig.login(self.alice)
        self.sender.send(deposit)
        self.rig.commit()
        self.assertEqual(self.sender.one(Accepted).deposits, first)

    def test_memory(self) -> None:
        """What waits for its commit counts with all its parts, also those that no mailbox takes."""
        self.sender.ask(self.make(self.room.step(), self.rig.user("nobody"), own=bytes(MAX_OWN)))
        self.assertGreater(self.rig.server.commits.size, MAX_OWN)


class RoleTests(RoomCase):
    """Who may use rooms."""

    def setUp(self) -> None:
        """The contact and a guest are here."""
        self.key = SharedKey(bytes(range(32)))
        super().setUp()
        self.rig.key = self.key
        self.rig.start()
        self.sender = self.rig.login(self.alice)

    def test_without_feature(self) -> None:
        """Who did not announce rooms has none."""
        self.rig.features = ()
        self.sender = self.rig.login(self.alice)
        self.assert_refused("forbidden", self.room.step())

    def test_guest(self) -> None:
        """A guest has none."""
        server, _ = self.rig.contact()
        _, guest = self.rig.connect_guest(self.key)
        deposit = guest.deposit(server)
        for to in (deposit.to, [*deposit.to, Destination(self.key.name, [])]):
            self.assertEqual(self.refused(changed(deposit, to=to, room=self.room.step()), guest), "forbidden")

    def test_contact(self) -> None:
        """The contact in the server's process has none, and misses what names it."""
        server, contact = self.rig.contact()
        user, _ = self.rig.connect_guest(self.key)
        for deposit in (contact.deposit(self.bob), contact.deposit(user)):
            changed_to = [*deposit.to, Destination("server", [])]
            self.assertEqual(self.refused(changed(deposit, to=changed_to, room=self.room.step()), contact), "forbidden")
            self.assertEqual(self.refused(changed(deposit, room=self.room.step()), contact), "forbidden")
        empty = changed(contact.deposit(user), to=[Destination(user.name, [])])
        self.assertEqual(self.refused(empty, contact), "bad-request")
        self.room.n = 0
        self.assertEqual(self.missed(self.room.step(), server), [Missed("server", server.device_id, "no-rooms")])


class RateTests(RoomCase):
    """How often."""

    def settings(self) -> Settings:
        """Few of everything."""
        return Settings(registration="open", rooms=Rate(2, 600), room_steps=Rate(4, 10), deposits=Rate(20, 1000))

    def test_new_rows(self) -> None:
        """Rooms are made at a limited rate; the steps of those that are there go on."""
        self.begin()
        first = self.room
        self.room = Room()
        self.begin()
        self.room = Room()
        self.assert_refused("rate-limited", self.room.step())
        self.room = first
        self.begin()
        self.rig.time += 600
        self.room = Room()
        self.begin()

    def test_steps(self) -> None:
        """Steps come at a limited rate, refused ones included; messages go on."""
        for _ in range(2):
            self.begin()
        for _ in range(2):
            self.assert_stale(changed(self.room.step(), n=1), ListMark(2, self.rows()[0][2]))
        self.room.n, self.room.digest = 2, self.rows()[0][2]
        self.assert_refused("rate-limited", self.room.step())
        self.room.n, self.room.digest = 2, self.rows()[0][2]
        self.put(self.room.say(), self.bob)
        self.rig.time += 10
        self.assert_stale(changed(self.room.step(), n=1), ListMark(2, self.rows()[0][2]))

    def test_deposits(self) -> None:
        """A deposit counts once for every sixteen mailboxes that were begun, and once more for each that missed it."""
        users = [self.rig.register(f"user{number}")[0] for number in range(ROOM_SHARE + 1)]
        self.rig.commit()
        self.begin(*users)
        for _ in range(15):
            self.put(self.room.say(), *users[:-1])
        self.assertEqual(len(self.missed(self.room.say(), self.rig.user("nobody"))), 1)
        self.put(self.room.say())
        self.assert_refused("rate-limited", self.room.say(), *users[:-1])
        self.rig.time += 1000
        self.assert_refused("rate-limited", self.room.say(), *users)
        self.put(self.room.say(), *users[:-1])


class CacheTests(RoomCase):
    """Rows in memory."""

    def settings(self) -> Settings:
        """Two, besides those that are pinned."""
        return Settings(registration="open", cached_rooms=2)

    def rooms(self) -> Any:
        """The server's."""
        return self.rig.server.commands[self.sender.wire.peer.role][Deposit].__self__._rooms  # type: ignore[attr-defined]

    def test_bounded(self) -> None:
        """The rows that were used last stay in memory; the others are found in the store."""
        rooms = [Room() for _ in range(4)]
        for self.room in (*rooms, rooms[2], rooms[0]):
            self.begin()
        self.assertEqual(list(self.rooms()._by_id), [rooms[2].id, rooms[0].id])
        for self.room in rooms:
            self.begin()

    def test_pinned(self) -> None:
        """
        The row of a step that is not committed stays in memory, however many there are: the store does not have it. So does the
        one that is looked up behind them.
        """
        rooms = [Room() for _ in range(5)]
        deposits = [self.make(room.step(), self.bob) for room in rooms]
        for deposit in deposits:
            self.sender.send(deposit)
        self.rig.run()
        while len(self.rooms()) < 5:
            self.assertEqual(self.rig.store.held, 2)
            self.rig.store.flush()
            self.rig.run()
        self.rig.commit()
        self.assertEqual(len(self.sender.accepted()), 5)


