"""
A malicious server, and malicious members and strangers: whatever they do in a room is detected, or changes nothing.

The server's lies are made where its words arrive; the members' are sealed by hand with the liar's own keys, and sent over its
own connection to an honest server.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from securemsg.client import messages
from securemsg.client.messages import Received
from securemsg.client.rooms import catchup, joining, lists, ordering, rows, store
from securemsg.client.rooms.catchup import ASK_PAUSE, MAX_ANSWERED, PATIENCE
from securemsg.client.rooms.changes import ChangeKind
from securemsg.client.rooms.lists import RoomList
from securemsg.client.rooms.store import TABLE, RoomState
from securemsg.client.sessions import pins, suites
from securemsg.client.sessions.peers import PEERS
from securemsg.client.sessions.pins import Chosen
from securemsg.client.sessions.store import all_sessions, bucket_of
from securemsg.client.state import contacts, verification
from securemsg.client.state.contacts import Contact
from securemsg.client.state.conversations import ConversationKind, direct
from securemsg.client.state.counters import chain_digest, conversation_of, out_stream
from securemsg.client.state.profile import Profile
from securemsg.client.state.quarantine import rows_of
from securemsg.client.state.records import OUTBOX, ROWS, OutboxRow, draft, load_all
from securemsg.crypto import keys
from securemsg.interfaces import IRecords
from securemsg.protocol import messages as m
from securemsg.protocol.envelope import (
    PSK,
    Content,
    ContentKey,
    Kind,
    Missing,
    Reset,
    RoomContentKey,
    Share,
    decode_record,
    encode_record,
)
from securemsg.protocol.messages import (
    MAX_EXPIRY,
    Deliver,
    Deposit,
    DepositRefused,
    Destination,
    ListMark,
    Part,
    Record,
    RoomItem,
    RoomStep,
)
from securemsg.protocol.rooms import (
    ADMIN,
    LIST_LABEL,
    MEMBER,
    ListRequest,
    Member,
    MemberList,
    RoomAccept,
    RoomInvite,
    RoomLists,
    SignedMemberList,
)
from securemsg.protocol.states import Side
from tests.client.rig import User, decoded
from tests.client.rooms.case import RoomCase
from tests.client.test_malice import replacing

PQXDH_CHOSEN = Chosen()


class MaliceCase(RoomCase):
    """Ada, who is the admin, Ben and Cleo are in the room and have talked; Dan and Eve are not."""

    def setUp(self) -> None:
        """They have."""
        super().setUp()
        self.ada, self.ben, self.cleo = self.room_of("ada", "ben", "cleo")
        self.dan, self.eve = self.people("dan", "eve")
        for user in (self.ada, self.ben, self.cleo):
            user.send("#team", f"hello from {user.name}")
        self.pass_time(70)
        self.room_id = self.room(self.ada).id
        self.number = 10_000

    # --- the server's ---------------------------------------------------------------------------------------------

    def lie(self, user: User, kind: type, alter: Callable[[Any], Any]) -> None:
        """Alter what the server says to somebody."""
        assert user.wire is not None, "connected"
        user.wire.to_client = replacing(kind, alter)

    def honest(self, user: User) -> None:
        """From now on the server says the truth."""
        assert user.wire is not None, "connected"
        user.wire.to_client = None

    def got(self, user: User) -> list[Deliver]:
        """What was delivered on this connection."""
        assert user.wire is not None, "connected"
        return list(decoded(user.wire, Side.SERVER, Deliver))

    def deliver(self, user: User, delivery: Deliver) -> None:
        """The server delivers something on its own account, and nothing after that."""
        assert user.wire is not None, "connected"
        user.wire.inject(Side.SERVER, replace(delivery, tag=len(self.got(user)) + 1))
        self.world.settle()

    # --- members' -------------------------------------------------------------------------------------------------

    def known(self, user: User, other: User) -> Contact | None:
        """What somebody knows of somebody."""
        with user.store.inner.reading() as records:
            return contacts.get_contact(records, other.name)

    def sessions(self, user: User, other: User) -> int:
        """How many sessions somebody has with somebody."""
        device = other.profile().device_id
        with user.store.inner.reading() as records:
            return len(all_sessions(records, bucket_of(other.name, device)))

    def content(self, liar: User, kind: int, body: bytes, *, in_room: bool = True, **fields: Any) -> Content:
        """A content of the liar's that is as it should be, but for what is said of it."""
        profile, now = liar.profile(), int(self.world.now())
        conversation = lists.conversation_id(self.room_id)
        with liar.store.inner.reading() as records:
            stream = out_stream(records, conversation, profile.incarnation)
        is_counted = kind in (Kind.TEXT, Kind.VOID)
        made = replace(
            draft(profile, Kind(kind), now), conversation=conversation, device=profile.device_id, own_list=profile.mark,
            incarnation=profile.incarnation, body=body, peer_list=self.newest(self.ada).mark,
            counter=stream.counter + 1 if is_counted else 0, previous=stream.digest if is_counted else b"",
        )  # fmt: skip
        return replace(made, **fields)

    def send(
        self,
        liar: User,
        content: Content,
        item: RoomItem | None,
        *to: User,
        sealed: ListMark | None = None,
        choice: Chosen = PQXDH_CHOSEN,
    ) -> Deposit:
        """
        Seal a content for people, and send it.

        @param sealed: the list that the own parts name; C{None}: that of the item, if there is one.
        """
        profile, now = liar.profile(), int(self.world.now())
        common, key = suites.make_common(encode_record(content), choice.key_size)
        base = Share(0, content.counter - 1) if content.counter else None
        key = ContentKey(key.key, key.common, base, key.place)
        if item is not None:
            mark = sealed or ListMark(item.n, item.digest)
            key = RoomContentKey(key.key, key.common, base, key.place, mark)
        destinations = [] if item is None else [Destination(liar.name, [])]
        with liar.store.writing() as records:
            for user in to:
                recipient = PEERS[ConversationKind.DIRECT].recipient(records, profile, direct(user.name), now)
                plans = suites.plan(records, profile, choice, recipient, now, set())
                parts = [Part(device, plan.seal(records, key)) for device, plan in plans.items()]
                destinations.append(Destination(user.name, parts))
        self.number += 1
        deposit = Deposit(keys.random_id(), self.number, MAX_EXPIRY, common, destinations, item)
        assert liar.wire is not None, "connected"
        liar.wire.inject(Side.CLIENT, deposit)
        self.world.settle()
        return deposit

    def say(self, liar: User, kind: Kind, body: Record, *to: User) -> None:
        """Say something about the room between two, by the liar's own client."""

        def write(records: IRecords, profile: Profile, to: str, now: int) -> None:
            rows.write(records, profile, direct(to), kind, body, now)

        for user in to:
            self.change(liar, write, user.name)

    def item(self, step: RoomStep | None = None, n: int = 0, digest: bytes = b"") -> RoomItem:
        """The item of a message by the newest list, or another one."""
        mark = self.newest(self.ada).mark
        return RoomItem(self.room_id, n or mark.version, digest or mark.digest, step)

    def signed(self, liar: User, proof: bytes, **changes: Any) -> SignedMemberList:
        """A list that follows the newest, as far as the changes let it, signed by the liar."""
        newest, profile = self.newest(liar), liar.profile()
        body = replace(
            newest.body, n=newest.body.n + 1, previous=newest.digest, salt=keys.random_bytes(32), author=liar.name,
            device=profile.device_id, decision="fresh", statement=None, next=keys.sha256(proof),
        )  # fmt: skip
        data = encode_record(replace(body, **changes))
        return SignedMemberList(data, profile.devices, profile.device_key.sign(LIST_LABEL, data), proof)

    def step(self, liar: User, signed: SignedMemberList, *to: User, digest: bytes = b"", after: bytes = b"") -> None:
        """
        Make a list the next one, with the true proof, and show it to people.

        @param digest: that the server is told; C{after}: the hash of the proof for the next step.
        """
        before = self.newest(liar)
        following = after or decode_record(MemberList, signed.body).next
        item = self.item(RoomStep(before.signed.proof, following), before.body.n + 1, digest or keys.sha256(signed.body))
        self.send(liar, self.content(liar, Kind.LIST, encode_record(signed)), item, *to)

    # --- what must be true ----------------------------------------------------------------------------------------

    def assert_broken(self, user: User, by: User) -> None:
        """Somebody finds the room broken, and knows by whom; its list is as it was, and it sends nothing there."""
        room = self.room(user)
        self.assertEqual((room.state, room.code, room.culprit), (RoomState.BROKEN, "bad-room-list", by.name))
        self.assertEqual(room.mark, self.before.mark)
        self.assertEqual(user.sent(user.send("#team", "into nowhere")).code, "room-broken")

    def assert_unchanged(self, *users: User) -> None:
        """All go by the list that they went by before, and can talk."""
        for user in users:
            self.assertEqual((self.room(user).state, self.room(user).mark), (RoomState.IN, self.before.mark))

    def mark_at(self, user: User, n: int) -> ListMark:
        """The mark of an older list."""
        room = self.room(user)
        with user.store.inner.reading() as records:
            found = store.list_at(records, room, n)
        assert found is not None, "it is kept"
        return found.mark

    def remember(self) -> RoomList:
        """Note the newest list."""
        self.before = self.newest(self.ada)
        return self.before


class ForkTests(MaliceCase):
    """The server shows different lists of one number."""

    def test_in_a_refusal(self) -> None:
        """It refuses a message by another list of the number that we have: a fork, and nothing goes out any more."""
        mark = self.remember().mark
        self.lie(self.cleo, m.Accepted, lambda message: None)
        self.cleo.send("#team", "one")
        assert self.cleo.wire is not None, "connected"
        sent = decoded(self.cleo.wire, Side.CLIENT, Deposit)[-1]
        self.cleo.wire.inject(
            Side.SERVER, DepositRefused(sent.deposit_id, "stale-room", [], ListMark(mark.version, keys.random_bytes(32)))
        )
        self.world.settle()
        room = self.room(self.cleo)
        self.assertEqual((room.state, room.mark), (RoomState.FORKED, mark))
        count = len(decoded(self.cleo.wire, Side.CLIENT, Deposit))
        self.assertEqual(self.cleo.sent(self.cleo.send("#team", "two")).code, "room-forked")
        self.pass_time(120)
        self.assertEqual(len(decoded(self.cleo.wire, Side.CLIENT, Deposit)), count)

    def test_in_a_delivery(self) -> None:
        """It delivers a message as if it went by another list: a fork, and the message is not taken."""
        mark = self.remember().mark

        def alter(delivery: Deliver) -> Deliver:
            if delivery.room is None:
                return delivery
            return replace(delivery, room=replace(delivery.room, digest=keys.random_bytes(32)))

        self.lie(self.cleo, Deliver, alter)
        before = self.said(self.cleo)
        self.ada.send("#team", "forked")
        self.assertEqual((self.room(self.cleo).state, self.room(self.cleo).mark), (RoomState.FORKED, mark))
        self.assertEqual(self.said(self.cleo), before)

    def test_other_step(self) -> None:
        """It says of a step that another list was ordered: the list is not adopted, and the room is shown as broken."""
        self.remember()

        def alter(delivery: Deliver) -> Deliver:
            if delivery.room is None or delivery.room.step is None:
                return delivery
            return replace(delivery, room=replace(delivery.room, digest=keys.random_bytes(32)))

        self.lie(self.cleo, Deliver, alter)
        self.decide(self.ada, ChangeKind.TITLE, text="New")
        room = self.room(self.cleo)
        self.assertEqual((room.mark, room.title), (self.before.mark, "Team"))


class DecidedTests(MaliceCase):
    """The user has decided about a fork."""

    def test_not_again(self) -> None:
        """One lie forks the room once: whoever follows, where the others have our list, is not forked by it again."""

        def alter(delivery: Deliver) -> Deliver:
            if delivery.room is None:
                return delivery
            return replace(delivery, room=replace(delivery.room, n=delivery.room.n + 1, digest=bytes(32)))

        self.lie(self.cleo, Deliver, alter)
        self.ben.send("#team", "of another list")
        self.honest(self.cleo)
        self.decide(self.ada, ChangeKind.TITLE, text="New")
        self.pass_time()
        self.assertEqual(self.room(self.cleo).state, RoomState.FORKED)
        known = self.room(self.cleo)
        self.change(self.cleo, lambda records, profile, now: joining.follow(records, known, now))
        self.pass_time(30)
        self.assertEqual(self.room(self.cleo).state, RoomState.IN)
        self.decide(self.ada, ChangeKind.TITLE, text="Newer")
        self.pass_time()
        self.assertEqual((self.room(self.cleo).state, self.room(self.cleo).title), (RoomState.IN, "Newer"))


class RollbackTests(MaliceCase):
    """The server says that it has an older list."""

    def test_refused_for_ever(self) -> None:
        """However often it says so: members offer what it lacks, go back to nothing, and do not hurry."""
        self.remember()
        first = self.mark_at(self.ada, 2)
        assert self.cleo.wire is not None, "connected"
        wire = self.cleo.wire

        def refuse(message: Any) -> list[Any]:
            if isinstance(message, Deposit) and message.room is not None:
                wire.inject(Side.SERVER, DepositRefused(message.deposit_id, "stale-room", [], first))
                return []
            return [message]

        wire.to_server = refuse
        self.cleo.send("#team", "one")
        self.pass_time(300)
        self.assertLess(len(decoded(wire, Side.CLIENT, Deposit)), 60)
        self.assertEqual(self.room(self.cleo).mark, self.before.mark)
        self.assertNotEqual(self.room(self.cleo).state, RoomState.OUT)

    def test_old_list_to_joiner(self) -> None:
        """It shows somebody who joins an older list as the ordered one: that is not what the admin has made."""
        self.decide(self.ada, ChangeKind.TITLE, text="New")
        old = self.mark_at(self.ada, 3)

        def alter(delivery: Deliver) -> Deliver:
            if delivery.room is None:
                return delivery
            return replace(delivery, room=replace(delivery.room, n=old.version, digest=old.digest))

        self.lie(self.dan, Deliver, alter)
        self.change(self.ada, joining.invite, self.room(self.ada), "dan")
        self.change(self.dan, joining.accept, self.room(self.dan, self.room_id.hex()), "team")
        self.pass_time()
        self.assertIn("dan", self.members(self.ada))
        self.assertEqual((self.room(self.dan).state, self.room(self.dan).mark.version), (RoomState.ASKED, 0))


class ReplayTests(MaliceCase):
    """The server delivers something again, or as something else."""

    def take(self, user: User, wanted: Callable[[Deliver], bool]) -> Deliver:
        """The last delivery of a kind."""
        return [delivery for delivery in self.got(user) if wanted(delivery)][-1]

    def test_step_again(self) -> None:
        """A step that is delivered again changes nothing."""
        self.decide(self.ada, ChangeKind.TITLE, text="New")
        step = self.take(self.cleo, lambda delivery: delivery.room is not None and delivery.room.step is not None)
        self.decide(self.ada, ChangeKind.TITLE, text="Newer")
        before = self.room(self.cleo)
        self.deliver(self.cleo, replace(step, common=step.common + b"?"))
        self.assertEqual(self.room(self.cleo), before)

    def test_message_again(self) -> None:
        """A message that is delivered again is shown once."""
        self.ada.send("#team", "once")
        message = self.take(self.cleo, lambda delivery: delivery.room is not None)
        self.deliver(self.cleo, message)
        self.assertEqual(self.said(self.cleo).count("once"), 1)

    def test_redated(self) -> None:
        """A message is delivered as if it went by an older list, or by a newer one: it is not opened under either."""
        self.remember()
        old = self.mark_at(self.ada, 3)
        self.decide(self.ada, ChangeKind.TITLE, text="New")

        def alter(delivery: Deliver) -> Deliver:
            if delivery.room is None:
                return delivery
            return replace(delivery, room=replace(delivery.room, n=old.version, digest=old.digest))

        # Or what goes by an older list than something that came before is dropped at once.
        room = self.room(self.cleo)
        with self.cleo.store.writing() as records:
            store.put_room(records, replace(room, seen=0))
        self.lie(self.cleo, Deliver, alter)
        before = self.said(self.cleo)
        self.ada.send("#team", "of which time?")
        self.assertEqual(self.said(self.cleo), before)
        self.assertEqual(self.quarantined(self.cleo), {"bad-content"})

    def test_out_of_its_room(self) -> None:
        """A message of the room is delivered without its item, or one between two with an item: neither is taken."""
        self.lie(self.cleo, Deliver, lambda delivery: replace(delivery, room=None))
        before = self.said(self.cleo)
        told = self.cleo.texts("ada")
        self.ada.send("#team", "taken out")
        self.assertEqual((self.said(self.cleo), self.cleo.texts("ada")), (before, told))
        item = self.item()
        self.lie(self.cleo, Deliver, lambda delivery: replace(delivery, room=item))
        self.ada.send("cleo", "put in")
        self.assertEqual((self.said(self.cleo), self.cleo.texts("ada")), (before, told))

    def test_as_a_step(self) -> None:
        """A message is delivered as if it were a step: it counts as none, and is missed as what it is."""
        self.remember()
        self.lie(
            self.cleo, Deliver, lambda delivery: replace(delivery, room=self.item(RoomStep(bytes(32), bytes(32))))
        )
        self.ada.send("#team", "no step")
        self.assert_unchanged(self.cleo)
        self.honest(self.cleo)
        self.ada.send("#team", "next")
        lines = [line for line in self.cleo.lines("#team") if isinstance(line, Received) and line.text == "next"]
        self.assertEqual([line.gap_before for line in lines], [1])

    def test_older_behind_newer(self) -> None:
        """What goes by an older list, and is delivered behind something that goes by a newer one, is not taken."""
        self.lie(self.cleo, Deliver, spoil)
        self.ben.send("#team", "held back")
        message = self.take(self.cleo, lambda delivery: delivery.room is not None)
        self.honest(self.cleo)
        self.decide(self.ada, ChangeKind.REMOVE, "ben")
        self.ada.send("#team", "without ben")
        before = self.said(self.cleo)
        self.assertIn("without ben", before)
        self.deliver(self.cleo, message)
        self.assertEqual(self.said(self.cleo), before)

    def test_added_recipient(self) -> None:
        """A message is delivered to somebody whom it is not for, in the room or not: it says nothing to them."""
        self.ada.send("#team", "for members")
        message = self.take(self.cleo, lambda delivery: delivery.room is not None)
        self.deliver(self.dan, message)
        self.assertEqual(messages.quarantined(self.dan.store), (0, 0))
        self.assertIsNone(self.known(self.dan, self.ada))
        count = self.said(self.ben)
        self.deliver(self.ben, message)
        self.assertEqual(self.said(self.ben), count)

    def quarantined(self, user: User) -> set[str]:
        """Why what somebody could not open waits."""
        with user.store.inner.reading() as records:
            rows = [row for _, row in rows_of(records, "ada")]
        return {row.code for row in rows}


class NumberTests(MaliceCase):
    """The server names numbers that there are not."""

    def test_in_a_delivery(self) -> None:
        """Nobody has that list, and the server insists: after a day the room is shown as broken, and nothing was adopted."""
        self.remember()
        self.name_the_future()
        for _ in range(3):
            self.ada.send("#team", "of the future")
            self.world.advance(PATIENCE / 2, ticks=4)
        self.assertEqual((self.room(self.cleo).state, self.room(self.cleo).code), (RoomState.BROKEN, "room-list-missing"))
        self.assertEqual(self.room(self.cleo).mark, self.before.mark)
        self.assert_unchanged(self.ada, self.ben)

    def test_in_one_delivery(self) -> None:
        """Nobody has that list, and the server does not insist: the room goes on, and waits for nothing."""
        self.remember()
        self.name_the_future()
        self.ada.send("#team", "of the future")
        self.honest(self.cleo)
        for _ in range(4):
            self.world.advance(ASK_PAUSE + 1, ticks=4)
        self.assertEqual((self.room(self.cleo).state, self.room(self.cleo).is_behind), (RoomState.IN, True))
        self.cleo.send("#team", "here")
        self.assertEqual((self.room(self.cleo).state, self.room(self.cleo).is_behind), (RoomState.IN, False))
        self.ada.send("#team", "here, too")
        self.world.advance(PATIENCE * 2, ticks=4)
        self.assertEqual((self.said(self.cleo)[-1], self.said(self.ben)[-2:]), ("here, too", ["here", "here, too"]))
        self.assert_unchanged(self.ada, self.ben, self.cleo)

    def test_long_ago(self) -> None:
        """Once that is over, the next list that nobody gives is waited for as long as the first."""
        self.test_in_one_delivery()
        self.name_the_future()
        self.ada.send("#team", "of the future")
        self.world.advance(PATIENCE / 2, ticks=4)
        self.assertEqual(self.room(self.cleo).state, RoomState.IN)

    def test_one_after_the_other(self) -> None:
        """The server names another one that nobody has before a day is over: the room is broken a day after the first."""
        self.name_the_future()
        for _ in range(3):
            self.future += 1
            self.ada.send("#team", "of the future")
            self.world.advance(PATIENCE * 2 / 5, ticks=4)
        self.assertEqual(self.room(self.cleo).state, RoomState.BROKEN)

    def name_the_future(self) -> None:
        """From now on the server delivers to cleo under a number that there is not."""
        self.future = 2**40

        def alter(delivery: Deliver) -> Deliver:
            if delivery.room is None:
                return delivery
            return replace(delivery, room=replace(delivery.room, n=self.future, digest=bytes(32)))

        self.lie(self.cleo, Deliver, alter)


class StepTests(MaliceCase):
    """A member makes steps that are none. An honest server orders them: it cannot know."""

    def test_invalid_lists(self) -> None:
        """A list that breaks a rule, whichever, breaks the room for all, and they know who did it."""
        wrong: list[dict[str, Any]] = [
            {"previous": bytes(32)},
            {"title": "And more"},
            {"decision": "added", "members": (*self.newest(self.ben).body.members, Member("eve", bytes(32), MEMBER, 4))},
            {"decision": "removed", "members": self.newest(self.ben).body.members[:2], "link": b""},
            {"decision": "role", "members": lists.with_role_changed(self.newest(self.ben).body, "ben")},
            {"decision": "left", "members": self.newest(self.ben).body.members[:2]},
            {"members": tuple(replace(each, role=ADMIN) for each in self.newest(self.ben).body.members)},
            {"author": "ada"},
            {"server": bytes(32)},
            {"room": bytes(16)},
        ]
        for changes in wrong:
            self.setUp()
            self.remember()
            self.step(self.ben, self.signed(self.ben, keys.random_bytes(32), **changes), self.ada, self.cleo)
            for user in (self.ada, self.cleo):
                self.assert_broken(user, self.ben)

    def test_unsigned(self) -> None:
        """So does one that the author's device has not signed."""
        self.remember()
        signed = self.signed(self.ben, keys.random_bytes(32))
        self.step(self.ben, replace(signed, signature=bytes(64)), self.ada, self.cleo)
        self.assert_broken(self.cleo, self.ben)

    def test_list_of_another(self) -> None:
        """A list that another member has signed, or another device, is not the sender's to step."""
        self.remember()
        self.step(self.ben, self.signed(self.ada, keys.random_bytes(32), decision="title", title="Ada's"), self.cleo)
        self.assert_broken(self.cleo, self.ben)

    def test_garbage_in_the_place_of_a_list(self) -> None:
        """With a true proof comes a text: nobody can go on from there, and all know who did it."""
        self.remember()
        before = self.newest(self.ben)
        item = self.item(RoomStep(before.signed.proof, bytes(32)), before.body.n + 1, bytes(32))
        self.send(self.ben, self.content(self.ben, Kind.TEXT, b"no list"), item, self.ada, self.cleo)
        self.assert_broken(self.cleo, self.ben)

    def test_no_proof_for_the_next(self) -> None:
        """With a valid list comes a proof that does not fit, or the server is told another: only the author could go on."""
        for keep in ("proof", "next"):
            self.setUp()
            self.remember()
            signed = self.signed(self.ben, keys.random_bytes(32))
            if keep == "proof":
                self.step(self.ben, replace(signed, proof=bytes(32)), self.ada, self.cleo)
            else:
                self.step(self.ben, signed, self.ada, self.cleo, after=bytes(32))
            self.assert_broken(self.cleo, self.ben)

    def test_different_lists(self) -> None:
        """Who is shown another list than the server has ordered does not adopt it, and shows the room as broken."""
        self.remember()
        one, other = (self.signed(self.ben, keys.random_bytes(32)) for _ in range(2))
        self.step(self.ben, other, self.cleo, digest=keys.sha256(one.body))
        self.assert_broken(self.cleo, self.ben)

    def test_right_list_from_another(self) -> None:
        """Once another member shows it the list that was ordered, it goes on by that one."""
        self.remember()
        one, other = (self.signed(self.ben, keys.random_bytes(32)) for _ in range(2))
        item = self.item(
            RoomStep(self.newest(self.ben).signed.proof, decode_record(MemberList, one.body).next),
            self.before.mark.version + 1,
            keys.sha256(one.body),
        )
        self.send(self.ben, self.content(self.ben, Kind.LIST, encode_record(other)), item, self.cleo)
        self.assertEqual(self.room(self.cleo).state, RoomState.BROKEN)
        self.say(self.dan, Kind.LISTS, RoomLists(self.room_id, (one,), 0), self.cleo)
        self.assertEqual((self.room(self.cleo).state, self.newest(self.cleo).digest), (RoomState.IN, item.digest))

    def test_removal_never_stepped(self) -> None:
        """An admin makes one member believe that it is out: it comes back with the next step, and has missed nothing."""
        removed = tuple(member for member in self.newest(self.ada).body.members if member.account != "cleo")
        signed = self.signed(self.ada, keys.random_bytes(32), decision="removed", members=removed, link=b"")
        self.say(self.ada, Kind.LISTS, RoomLists(self.room_id, (lists.without_proof(signed),), 0), self.cleo)
        self.assertEqual(self.room(self.cleo).state, RoomState.OUT)
        self.ben.send("#team", "are you there?")
        self.decide(self.ada, ChangeKind.TITLE, text="New")
        self.pass_time()
        self.assertEqual((self.room(self.cleo).state, self.said(self.cleo)[-1]), (RoomState.IN, "are you there?"))
        self.assert_agreed(self.ada, self.ben, self.cleo)

    def test_chain_never_stepped(self) -> None:
        """Nor does it take any of the lists that lead there, however many they are."""
        self.remember()
        shown: list[SignedMemberList] = []
        body, digest = self.before.body, self.before.digest
        for number in range(5):
            kept = body.members if number < 4 else body.members[:2]
            decision = "fresh" if number < 4 else "removed"
            body = replace(
                body, n=body.n + 1, previous=digest, salt=keys.random_bytes(32), author="ada", decision=decision, members=kept,
                device=self.ada.profile().device_id, statement=None, link=b"", next=keys.sha256(bytes(32)),
            )  # fmt: skip
            data = encode_record(body)
            digest = keys.sha256(data)
            profile = self.ada.profile()
            signed = SignedMemberList(data, profile.devices, profile.device_key.sign(LIST_LABEL, data), bytes(32))
            shown.append(lists.without_proof(signed))
        with self.cleo.store.inner.reading() as records:
            room = store.find_room(records, "team")
        contact = self.known(self.cleo, self.ada)
        assert contact is not None, "they have met"
        profile = self.cleo.profile()
        with self.cleo.store.writing() as records:
            store.put_room(records, replace(room, server_mark=ListMark(2**40, bytes(32))))
            catchup.take_lists(records, profile, contact, RoomLists(self.room_id, tuple(shown), 0), int(self.world.now()))
        self.assertEqual((self.room(self.cleo).state, self.room(self.cleo).mark), (RoomState.OUT, self.before.mark))
        self.ben.send("#team", "are you there?")
        self.pass_time()
        self.assertEqual((self.room(self.cleo).state, self.said(self.cleo)[-1]), (RoomState.IN, "are you there?"))

    def test_unreadable(self) -> None:
        """A step whose list cannot be read: after a day it is known who has stepped."""
        self.remember()
        before = self.newest(self.ben)
        item = self.item(RoomStep(before.signed.proof, bytes(32)), before.body.n + 1, bytes(32))
        self.send(self.ben, self.content(self.ben, Kind.LIST, b"no list"), item, self.ada, self.cleo)
        self.world.advance(PATIENCE + 2 * ASK_PAUSE, ticks=400)
        for user in (self.ada, self.cleo):
            room = self.room(user)
            self.assertEqual((room.state, room.culprit, room.mark), (RoomState.BROKEN, "ben", self.before.mark))

    def test_never_stepped(self) -> None:
        """A list that is only shown to one, and was never a step, is not adopted: not even from an admin."""
        self.remember()
        signed = self.signed(self.ada, keys.random_bytes(32), decision="title", title="For cleo alone")
        self.say(self.ada, Kind.LISTS, RoomLists(self.room_id, (signed,), 0), self.cleo)
        self.assert_unchanged(self.cleo)
        self.assertEqual(self.room(self.cleo).title, "Team")

    def test_beyond_what_was_ordered(self) -> None:
        """Nor is one that follows the list that was asked for."""
        self.remember()
        self.lie(self.cleo, Deliver, lambda delivery: spoil(delivery) if is_step(delivery) else delivery)
        self.decide(self.ada, ChangeKind.TITLE, text="New")
        self.honest(self.cleo)
        ordered = self.newest(self.ada)
        more = self.signed(self.ada, keys.random_bytes(32), decision="title", title="For cleo alone")
        self.cleo.disconnect()
        self.ada.send("#team", "under the new one")
        self.say(self.ada, Kind.LISTS, RoomLists(self.room_id, (ordered.signed, more), 0), self.cleo)
        self.cleo.connect()
        self.pass_time()
        self.assertEqual((self.room(self.cleo).mark, self.room(self.cleo).title), (ordered.mark, "New"))

    def test_first_list_of_another(self) -> None:
        """Who asked one to be added takes no first list from another, whether as step or as answer."""
        self.remember()
        self.ada.disconnect()
        self.change(self.ada, joining.invite, self.room(self.ada), "dan")
        self.ada.connect()
        self.ada.disconnect()
        self.change(self.dan, joining.accept, self.room(self.dan, self.room_id.hex()), "team")
        self.ben.send("dan", "hello")
        proof = keys.random_bytes(32)
        dan = Member("dan", self.dan.profile().identity.public, MEMBER, self.before.body.n + 1)
        signed = self.signed(self.ben, proof, decision="added", members=(*self.before.body.members, dan))
        self.step(self.ben, signed, self.dan)
        self.say(self.ben, Kind.LISTS, RoomLists(self.room_id, (signed,), 0), self.dan)
        self.assertEqual((self.room(self.dan).state, self.room(self.dan).mark.version), (RoomState.ASKED, 0))


    def test_first_list_never_stepped(self) -> None:
        """Who asked to be added takes no first list that the server does not name, not even from the one it asked."""
        self.change(self.ada, joining.invite, self.room(self.ada), "dan")
        self.ada.disconnect()
        self.change(self.dan, joining.accept, self.room(self.dan, self.room_id.hex()), "team")
        self.remember()
        dan = Member("dan", self.dan.profile().identity.public, MEMBER, self.before.body.n + 1)
        proof = keys.random_bytes(32)
        signed = self.signed(self.ada, proof, decision="added", members=(*self.before.body.members, dan))
        room = self.room(self.ada)
        with self.ada.store.writing() as records:
            store.put_room(records, replace(room, not_before=0, state=RoomState.BROKEN))
        self.ada.connect()
        self.say(self.ada, Kind.LISTS, RoomLists(self.room_id, (signed,), 0), self.dan)
        self.assertEqual((self.room(self.dan).state, self.room(self.dan).mark.version), (RoomState.ASKED, 0))


class MemberTests(MaliceCase):
    """A member says what it must not."""

    def test_leaves_for_another(self) -> None:
        """A member says that another leaves, with its own signature or an old one of the other: that one stays."""
        self.remember()
        since = next(member.since for member in self.before.body.members if member.account == "cleo")
        forged = replace(lists.leave_statement(self.ben.profile(), self.room_id, since), account="cleo")
        true = lists.leave_statement(self.cleo.profile(), self.room_id, since)
        for statement in (forged, true):
            self.send(self.ben, self.content(self.ben, Kind.LEAVING, encode_record(statement)), self.item(), self.ada)
            self.pass_time()
        self.assert_unchanged(self.ada, self.cleo)

    def test_leaves_with_garbage(self) -> None:
        """A member says with a wrong signature, or of another time, that it leaves: nobody makes a list that no other takes."""
        self.remember()
        statement = lists.leave_statement(self.ben.profile(), self.room_id, 2)
        for wrong in (replace(statement, signature=bytes(64)), lists.leave_statement(self.ben.profile(), self.room_id, 1)):
            self.send(self.ben, self.content(self.ben, Kind.LEAVING, encode_record(wrong)), self.item(), self.ada)
            self.pass_time()
        self.assert_unchanged(self.ada, self.ben)

    def test_asks_for_what_was_before(self) -> None:
        """Who has joined asks for all counters from the first on: what was said before comes as voids, without a word."""
        self.add(self.ada, self.dan)
        self.ada.send("#team", "for dan too")
        assert self.ada.wire is not None, "connected"
        self.ada.wire.held.add(Side.CLIENT)
        self.ask_for_all(self.dan)
        with self.ada.store.inner.reading() as records:
            rows = [row for _, row in load_all(records, OutboxRow, OUTBOX, ROWS) if row.home is not None]
            kinds = [row.kind for row in rows]
        self.assertEqual(sorted(kinds), [Kind.TEXT, Kind.VOID])
        self.ada.wire.held.clear()
        self.pass_time()
        self.assertEqual(self.said(self.dan), ["for dan too"])

    def test_asks_when_out(self) -> None:
        """Who was taken out asks for all: nothing of the room is sent, not even voids."""
        self.decide(self.ada, ChangeKind.REMOVE, "cleo")
        self.ada.send("#team", "without cleo")
        before = self.said(self.cleo)
        count = len(self.got(self.cleo))
        self.ask_for_all(self.cleo)
        self.assertEqual((self.said(self.cleo), len(self.got(self.cleo))), (before, count))

    def ask_for_all(self, user: User) -> None:
        """Somebody's reset names Ada's stream in the room, and all its counters."""
        missing = Missing(lists.conversation_id(self.room_id), self.ada.profile().incarnation, list(range(1, 10)), 10)
        body = encode_record(Reset([missing]))
        own, other = user.profile(), self.ada.profile()
        talk = conversation_of(own.identity.public, other.identity.public)
        self.send(user, self.content(user, Kind.RESET, body, conversation=talk, peer_list=other.mark), None, self.ada)
        self.pass_time()

    def test_says_it_again_unasked(self) -> None:
        """A member sends something of the room to one alone, which that one has not asked for: it is not taken."""
        before = self.said(self.cleo)
        self.send(self.ben, self.content(self.ben, Kind.TEXT, b"for cleo alone"), None, self.cleo)
        self.assertEqual(self.said(self.cleo), before)
        self.ben.send("#team", "for all")
        self.assertEqual(self.said(self.cleo), [*before, "for all"])

    def test_says_something_else(self) -> None:
        """A member sends one alone something else under a counter that has come: it is not taken."""
        before = self.said(self.cleo)
        other = self.content(self.ben, Kind.TEXT, b"what I said first", counter=1, previous=b"")
        self.send(self.ben, other, None, self.cleo)
        self.assertEqual(self.said(self.cleo), before)

    def test_asks_for_old_lists(self) -> None:
        """Who has joined asks for all lists: it gets none from before it came."""
        self.decide(self.ada, ChangeKind.TITLE, text="Secret")
        self.add(self.ada, self.dan)
        self.decide(self.ada, ChangeKind.TITLE, text="Open")
        for n in (0, 1, 3):
            [answer] = self.answers(self.dan, n)
            bodies = [decode_record(MemberList, signed.body) for signed in answer.lists]
            self.assertEqual([body.title for body in bodies], ["Open"])
        [answer] = self.answers(self.cleo, 3)
        bodies = [decode_record(MemberList, signed.body) for signed in answer.lists]
        self.assertEqual([body.title for body in bodies], ["Secret", "Secret", "Open"])

    def answers(self, user: User, n: int) -> list[RoomLists]:
        """What Ada answers to somebody who asks for the lists behind a number."""
        contact, profile = self.known(self.ada, user), self.ada.profile()
        assert contact is not None, "they have met"
        with self.ada.store.writing() as records:
            after = records.last(OUTBOX, ROWS)
            catchup.answer(records, profile, contact, ListRequest(self.room_id, n), int(self.world.now()))
            rows = [row for _, row in load_all(records, OutboxRow, OUTBOX, ROWS, after)]
            for seq, _ in load_all(records, OutboxRow, OUTBOX, ROWS, after):
                records.delete(OUTBOX, ROWS, seq)
        return [decode_record(RoomLists, decode_record(Content, row.content).body) for row in rows]

    def test_fills_a_gap_when_out(self) -> None:
        """Who was taken out fills no gap that it has left."""
        skipped = self.content(self.ben, Kind.TEXT, b"kept free")
        digest, number = chain_digest(skipped), skipped.counter + 1
        later = replace(skipped, message_id=keys.random_id(), counter=number, previous=digest, body=b"later")
        self.send(self.ben, later, self.item(), self.cleo)
        self.assertIn("later", self.said(self.cleo))
        self.decide(self.ada, ChangeKind.REMOVE, "ben")
        self.send(self.ben, skipped, None, self.cleo)
        self.assertNotIn("kept free", self.said(self.cleo))

    def test_writes_to_who_is_out(self) -> None:
        """A member names somebody who was taken out as a recipient: it does not appear in a room one is not in."""
        self.decide(self.ada, ChangeKind.REMOVE, "cleo")
        before = self.said(self.cleo)
        for text in (b"for cleo too", b"and this"):
            self.send(self.ben, self.content(self.ben, Kind.TEXT, text), self.item(), self.cleo)
            self.pass_time(60)
            self.assertEqual((self.room(self.cleo).state, self.room(self.cleo).is_hearsay), (RoomState.OUT, False))
            self.assertEqual((self.said(self.cleo), messages.quarantined(self.cleo.store)), (before, (0, 0)))

    def proofs_shown(self) -> list[bytes]:
        """The proofs of the lists that anybody is shown from now on."""
        proofs: list[bytes] = []
        take = catchup.take_lists

        def note(records: IRecords, profile: Profile, contact: Contact, body: RoomLists, now: int) -> Any:
            proofs.extend(signed.proof for signed in body.lists)
            return take(records, profile, contact, body, now)

        self.patch(catchup, "take_lists", note)
        return proofs

    def test_proof_when_told(self) -> None:
        """Who was taken out gets the list that says so without the proof by which it could step."""
        proofs = self.proofs_shown()
        self.decide(self.ada, ChangeKind.REMOVE, "cleo")
        self.assertEqual(self.room(self.cleo).state, RoomState.OUT)
        self.assertEqual(proofs[-1], b"")

    def test_proof_when_asked(self) -> None:
        """Nor does it get one when it asks."""
        proofs = self.proofs_shown()
        self.lie(self.cleo, Deliver, spoil)
        self.decide(self.ada, ChangeKind.REMOVE, "cleo")
        self.honest(self.cleo)
        self.cleo.send("#team", "am I in?")
        self.pass_time(30)
        self.assertEqual(self.room(self.cleo).state, RoomState.OUT)
        self.assertEqual(proofs[-1], b"")

    def test_old_list_as_step(self) -> None:
        """A member sends an old list once more, and the server says that it is a step: the room goes on."""
        self.remember()
        room = self.room(self.ben)
        with self.ben.store.inner.reading() as records:
            old = store.lists_after(records, room, 2, 1)[0]
        item = self.item()
        self.lie(self.cleo, Deliver, lambda delivery: replace(delivery, room=self.item(RoomStep(bytes(32), bytes(32)))))
        self.send(self.ben, self.content(self.ben, Kind.LIST, encode_record(old)), item, self.cleo)
        self.assert_unchanged(self.cleo)

    def test_answers_with_an_invalid_list(self) -> None:
        """Who asks for a list is given one that the server has ordered, and that follows none: it is not adopted."""
        self.remember()
        signed = self.signed(self.ben, keys.random_bytes(32), title="And more")
        self.lie(self.cleo, Deliver, lambda delivery: spoil(delivery) if is_step(delivery) else delivery)
        self.step(self.ben, signed, self.cleo)
        self.honest(self.cleo)
        self.cleo.send("#team", "by which list?")
        self.assertTrue(self.room(self.cleo).is_behind)
        self.say(self.ben, Kind.LISTS, RoomLists(self.room_id, (signed,), 0), self.cleo)
        self.assertEqual((self.room(self.cleo).mark, self.room(self.cleo).title), (self.before.mark, "Team"))

    def test_writes_as_another(self) -> None:
        """A member names the device of another in what it writes: it is not taken."""
        before = self.said(self.cleo)
        device = self.ada.profile().device_id
        self.send(self.ben, self.content(self.ben, Kind.TEXT, b"from ada", device=device), self.item(), self.cleo)
        self.assertEqual(self.said(self.cleo), before)

    def test_other_suite(self) -> None:
        """A member writes in the room under a suite that has less than rooms promise: it is not taken."""
        before = self.said(self.cleo)
        key_file = Chosen(PSK, keys.random_bytes(32))
        with self.cleo.store.writing() as records:
            pins.pin_suite(records, direct("ben"), PSK, key_file.key)
        content = self.content(self.ben, Kind.TEXT, b"under a key file")
        self.send(self.ben, content, self.item(), self.cleo, choice=key_file)
        self.assertEqual(self.said(self.cleo), before)

    def test_another_list_inside(self) -> None:
        """A member seals a message under another list than it tells the server: it is not taken."""
        old = self.remember().mark
        self.decide(self.ada, ChangeKind.TITLE, text="New")
        before = self.said(self.cleo)
        self.send(self.ben, self.content(self.ben, Kind.TEXT, b"dated"), self.item(), self.cleo, sealed=old)
        self.assertEqual(self.said(self.cleo), before)


class FloodTests(MaliceCase):
    """A member says a great deal."""

    def test_heard(self) -> None:
        """What says nothing but that something was taken makes nobody answer, and is not kept."""
        with self.ada.store.inner.reading() as records:
            before = records.last(OUTBOX, ROWS)
        body = self.content(self.ben, Kind.HEARD, b"", in_room=False)
        own, other = self.ben.profile(), self.ada.profile()
        talk = conversation_of(own.identity.public, other.identity.public)
        for _ in range(30):
            one = replace(body, message_id=keys.random_id(), conversation=talk, peer_list=other.mark)
            self.send(self.ben, one, None, self.ada)
        self.world.advance(4000, ticks=4)
        with self.ada.store.inner.reading() as records:
            self.assertEqual(records.last(OUTBOX, ROWS), before)
        self.assertEqual(self.ada.lines("ben"), [])

    def test_pages(self) -> None:
        """A member who is asked for lists shows page after page of its own: no more of them are kept than could be lacking."""
        self.patch(store, "MAX_KEPT", 5)
        self.remember()
        self.cleo.disconnect()
        future = ListMark(2**40, bytes(32))

        def note(records: IRecords, profile: Profile, now: int) -> None:
            ordering.note_server_mark(records, profile, store.find_room(records, "team"), future, "ben", now)

        self.change(self.cleo, note)
        shown = self.newest(self.ben)
        contact, profile = self.known(self.cleo, self.ben), self.cleo.profile()
        assert contact is not None, "they have met"
        for _ in range(20):
            signed = self.after(shown, keys.random_bytes(32))
            with self.cleo.store.writing() as records:
                answer = RoomLists(self.room_id, (signed,), 2**40)
                catchup.take_lists(records, profile, contact, answer, int(self.world.now()))
                kept = len(load_all(records, SignedMemberList, TABLE, store.PAGES + self.room_id))
                asked = sum(row.kind == Kind.ASK for _, row in load_all(records, OutboxRow, OUTBOX, ROWS))
            shown = lists.read(signed, self.room_id, profile.pin)
            self.assertLessEqual(max(kept, asked), 6)
        self.assert_unchanged(self.ada, self.ben)

    def after(self, shown: RoomList, proof: bytes) -> SignedMemberList:
        """A list of Ben's that is valid, and was never a step."""
        profile = self.ben.profile()
        body = replace(
            shown.body, n=shown.body.n + 1, previous=shown.digest, salt=keys.random_bytes(32), author="ben",
            device=profile.device_id, decision="fresh", statement=None, next=keys.sha256(proof),
        )  # fmt: skip
        data = encode_record(body)
        return SignedMemberList(data, profile.devices, profile.device_key.sign(LIST_LABEL, data), proof)


class StrangerTests(MaliceCase):
    """Somebody who is in no room with us."""

    def test_writes_into_the_room(self) -> None:
        """Who knows id, number and hash of a room writes there: it is dropped, and begins no session."""
        item = self.item()
        self.lie(self.cleo, Deliver, lambda delivery: replace(delivery, room=item))
        before = self.said(self.cleo)
        self.eve.send("cleo", "in the room?")
        self.assertEqual((self.said(self.cleo), self.sessions(self.cleo, self.eve)), (before, 0))
        self.assertIsNone(self.known(self.cleo, self.eve))
        self.assertEqual(messages.quarantined(self.cleo.store), (0, 0))

    def namesake(self) -> User:
        """Ben's account goes, and another takes its name."""
        self.ben.die()
        self.ben.is_online = False
        self.world.settle()
        self.successResultOf(self.world.store.remove_account("ben"))
        other = self.world.user("ben", connect=False)
        online = [user for user in self.world.users.values() if user.is_online]
        self.world.restart_server()
        for user in (*online, other):
            user.connect()
        return other

    def test_has_the_name_of_a_member(self) -> None:
        """Who has the name of a member now, and another identity, begins no session with who never met that member."""
        self.add(self.ada, self.dan)
        self.assertIsNone(self.known(self.dan, self.ben))
        item, other = self.item(), self.namesake()
        self.lie(self.dan, Deliver, lambda delivery: replace(delivery, room=item) if delivery.account == "ben" else delivery)
        other.send("dan", "I am ben")
        self.assertEqual((self.said(self.dan), self.sessions(self.dan, other)), ([], 0))
        contact = self.known(self.dan, other)
        self.assertTrue(contact is None or contact.identity != other.profile().identity.public)

    def test_is_known_under_the_name(self) -> None:
        """Who has the name of a member now, and is known to us by it, does not speak for that member."""
        item, other = self.item(), self.namesake()
        other.send("cleo", "I am ben")
        with self.cleo.store.writing() as records:
            verification.accept(records, "ben", int(self.world.now()))
        assert self.cleo.agent is not None, "connected"
        self.cleo.agent.retry()
        self.world.settle()
        self.assertEqual(self.cleo.texts("ben"), ["I am ben"])
        before = self.said(self.cleo)
        self.send(other, self.content(other, Kind.TEXT, b"as ben"), item, self.cleo)
        self.assertEqual(self.said(self.cleo), before)

    def test_many_invitations(self) -> None:
        """However many rooms people invite us to: only the newest are kept, and none is joined."""
        self.patch(store, "MAX_INVITED", 5)
        for number in range(8):
            room = number.to_bytes(16, "big")
            invite = RoomInvite(room, "Win!", ("eve",), ListMark(1, bytes(32)), b"")
            self.say(self.eve, Kind.INVITE, invite, self.cleo)
        with self.cleo.store.inner.reading() as records:
            rooms = store.all_rooms(records)
        self.assertEqual(len(rooms), 5 + 1)
        self.assertEqual({room.state for room in rooms}, {RoomState.INVITED, RoomState.IN})

    def test_many_questions(self) -> None:
        """However often a member asks for lists: a few times in an hour it is answered; a stranger never."""
        self.decide(self.ada, ChangeKind.TITLE, text="New")
        before = len(self.direct_from(self.cleo, "ada"))
        for _ in range(3 * MAX_ANSWERED):
            self.say(self.cleo, Kind.ASK, ListRequest(self.room_id, 2), self.ada)
        self.assertEqual(len(self.direct_from(self.cleo, "ada")) - before, MAX_ANSWERED)
        for _ in range(3):
            self.say(self.eve, Kind.ASK, ListRequest(self.room_id, 2), self.ada)
        self.assertEqual(self.direct_from(self.eve, "ada"), [])

    def direct_from(self, user: User, name: str) -> list[Deliver]:
        """What an account has sent to somebody alone."""
        return [delivery for delivery in self.got(user) if delivery.account == name and delivery.room is None]

    def test_many_accepts(self) -> None:
        """Who was not invited, or shows a wrong secret, is not added, however often it says so."""
        self.remember()
        for secret in (b"", bytes(32), keys.random_bytes(32)) * 5:
            self.say(self.eve, Kind.ACCEPT, RoomAccept(self.room_id, secret), self.ada)
        self.pass_time()
        self.assert_unchanged(self.ada)

    def test_accepts_for_another(self) -> None:
        """An invitation is for the account that it went to."""
        self.remember()
        self.change(self.ada, joining.invite, self.room(self.ada), "dan")
        self.say(self.eve, Kind.ACCEPT, RoomAccept(self.room_id, b""), self.ada)
        self.pass_time()
        self.assert_unchanged(self.ada)

    def test_renews(self) -> None:
        """Who is no admin of a broken room renews it: its members are asked, and do not go along by themselves."""
        room = self.room(self.cleo)
        with self.cleo.store.writing() as records:
            ordering.break_room(records, room, "bad-room-list", "ben")
        for liar in (self.ben, self.eve):
            new = keys.random_id()
            self.say(liar, Kind.INVITE, RoomInvite(new, "Team", ("cleo",), ListMark(1, bytes(32)), self.room_id), self.cleo)
            self.assertEqual(self.room(self.cleo, new.hex()).state, RoomState.INVITED)
        self.assertEqual(self.room(self.cleo).state, RoomState.BROKEN)

    def test_renews_under_the_name(self) -> None:
        """Nor does somebody else who has the name of an admin now."""
        room, contact, profile = self.room(self.cleo), self.known(self.cleo, self.ada), self.cleo.profile()
        assert contact is not None, "they have met"
        new = keys.random_id()
        body = RoomInvite(new, "Team", ("cleo",), ListMark(1, bytes(32)), self.room_id)
        with self.cleo.store.writing() as records:
            ordering.break_room(records, room, "bad-room-list", "ben")
            joining.take_invite(records, profile, replace(contact, identity=bytes(32)), body, int(self.world.now()))
        self.assertEqual(self.room(self.cleo, new.hex()).state, RoomState.INVITED)

    def test_renews_what_is_well(self) -> None:
        """Not even an admin takes members along from a room that is well to them: it may have been taken out since."""
        new = keys.random_id()
        self.say(self.ada, Kind.INVITE, RoomInvite(new, "Team", ("cleo",), ListMark(1, bytes(32)), self.room_id), self.cleo)
        self.assertEqual(self.room(self.cleo, new.hex()).state, RoomState.INVITED)
        self.assertEqual(self.room(self.cleo).state, RoomState.IN)


def is_step(delivery: Deliver) -> bool:
    """Whether it brings the next list."""
    return delivery.room is not None and delivery.room.step is not None


def spoil(delivery: Deliver) -> Deliver:
    """Something that nobody can open."""
    return replace(delivery, own=delivery.own[:-1] + bytes([delivery.own[-1] ^ 1]))
