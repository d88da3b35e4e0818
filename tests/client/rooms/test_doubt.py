"""Who is in a room and who is not, where that changes while something else happens."""

from __future__ import annotations

from securemsg.account.flush import unsent
from securemsg.client.rooms import changes, joining, rows, steps, store
from securemsg.client.rooms.catchup import ASK_PAUSE
from securemsg.client.rooms.changes import ChangeKind, PendingChange
from securemsg.client.rooms.store import Room, RoomState
from securemsg.client.state.conversations import direct
from securemsg.client.state.profile import Profile
from securemsg.crypto import keys
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import Kind
from securemsg.protocol.rooms import RoomAccept, RoomInvite
from tests.client.rig import User
from tests.client.rooms.case import RoomCase
from tests.client.rooms.test_catchup import is_step, spoiled


class DoubtCase(RoomCase):
    """Ada, the admin, and Ben and Cleo in a room; Dan is not."""

    def setUp(self) -> None:
        """They are."""
        super().setUp()
        self.ada, self.ben, self.cleo = self.room_of("ada", "ben", "cleo")
        [self.dan] = self.people("dan")

    def want(self, user: User, *wanted: PendingChange) -> None:
        """Somebody wants several things at once."""

        def add(records: IRecords, profile: Profile, now: int) -> None:
            for change in wanted:
                changes.add(records, store.find_room(records, "team"), change)

        self.change(user, add)

    def accept(self, user: User, admin: User, secret: bytes = b"") -> None:
        """Somebody asks an admin to be added."""
        body = RoomAccept(self.room(self.ada).id, secret)

        def write(records: IRecords, profile: Profile, now: int) -> None:
            rows.write(records, profile, direct(admin.name), Kind.ACCEPT, body, now)

        self.change(user, write)
        self.pass_time()


class RemovalTests(DoubtCase):
    """Who is to be taken out gets nothing more."""

    def test_message_behind_removal(self) -> None:
        """A message that was written after somebody was removed is not sealed for them, though the step is still to be made."""
        self.ada.disconnect()
        self.want(self.ada, PendingChange(ChangeKind.REMOVE, "ben", is_ours=True))
        self.ada.send("#team", "without ben")
        self.ada.connect()
        self.pass_time()
        self.assertEqual((self.said(self.ben), self.said(self.cleo)), ([], ["without ben"]))

    def test_old_invitation(self) -> None:
        """Who came by one invitation and was removed does not come back by another one from before."""
        self.decide(self.ada, ChangeKind.ADMIN, "ben")
        room = self.room(self.ben)
        for admin in (self.ada, self.ben):
            self.change(admin, joining.invite, room, "dan")
        known = self.room(self.dan, room.id.hex())
        self.change(self.dan, lambda records, profile, now: joining.accept(records, profile, known, "team", now, "ada"))
        self.pass_time()
        self.assertEqual(self.room(self.dan).state, RoomState.IN)
        self.decide(self.ada, ChangeKind.REMOVE, "dan")
        self.accept(self.dan, self.ben)
        self.assertEqual(self.members(self.ada), ["ada", "ben", "cleo"])

    def test_asked_before_removal(self) -> None:
        """Nor by having asked before the step; others who have asked come in."""
        ben, dan = (user.profile().identity.public for user in (self.ben, self.dan))
        self.want(
            self.ada,
            PendingChange(ChangeKind.REMOVE, "ben"),
            PendingChange(ChangeKind.ADD, "ben", ben),
            PendingChange(ChangeKind.ADD, "dan", dan),
        )
        self.pass_time(30)
        self.assertEqual(self.members(self.ada), ["ada", "cleo", "dan"])


class LinkTests(DoubtCase):
    """Who comes by a link."""

    def test_withdrawn_before_the_step(self) -> None:
        """Who showed it in time, but is to be added after it was withdrawn, is not added."""
        link, _ = self.change(self.ada, joining.new_link, self.room(self.ada))
        self.pass_time()
        self.ada.disconnect()
        self.want(self.ada, PendingChange(ChangeKind.LINK, is_ours=True))
        self.accept(self.dan, self.ada, link.secret)
        self.ada.connect()
        self.pass_time(30)
        self.assertEqual(self.newest(self.ada).body.link, b"")
        self.assertEqual(self.members(self.ada), ["ada", "ben", "cleo"])

    def test_shown_to_a_member(self) -> None:
        """Who is no admin does nothing for somebody who shows the secret of the link, and is told of nothing."""
        link, _ = self.change(self.ada, joining.new_link, self.room(self.ada))
        self.pass_time()
        self.accept(self.dan, self.ben, link.secret)
        with self.ben.store.inner.reading() as records:
            room = store.find_room(records, "team")
            self.assertEqual((changes.pending(records, room), changes.failed(records, room)), ([], []))

    def test_of_another_identity(self) -> None:
        """A link that gives an admin whom we know another identity is refused, and nothing is sent."""
        link = joining.RoomLink(keys.random_id(), bytes(32), "ada", keys.SigningKey(keys.random_bytes(32)).public)
        self.dan.send("ada", "hello")
        with self.assertRaises(Refusal) as caught:
            self.change(self.dan, joining.join, link, "other")
        self.assertEqual(caught.exception.code, "identity-changed")

    def test_one_person_twice(self) -> None:
        """An identity that is on the list already, under another name, keeps nobody else out."""
        ben = self.ben.profile().identity.public
        dan = self.dan.profile().identity.public
        self.want(
            self.ada, PendingChange(ChangeKind.ADD, "dan", dan), PendingChange(ChangeKind.ADD, "benno", ben)
        )
        self.pass_time(30)
        self.assertEqual(self.members(self.ada), ["ada", "ben", "cleo", "dan"])


class WaitingTests(DoubtCase):
    """A command waits for what it may do."""

    def test_counted(self) -> None:
        """A change that can be made counts as unsent until it is made, so that no command ends before that."""
        self.ada.disconnect()
        self.want(self.ada, PendingChange(ChangeKind.TITLE, text="New"))
        self.assertEqual(unsent(self.ada.store, self.world.clock), 1)
        self.ada.connect()
        self.pass_time()
        self.assertEqual((unsent(self.ada.store, self.world.clock), self.room(self.ben).title), (0, "New"))


class AbsenceTests(DoubtCase):
    """Nobody is there who could give a list."""

    def test_answered_late(self) -> None:
        """A message under a list that is lacking is read once somebody is there, however often all were asked in vain."""
        assert self.cleo.wire is not None, "connected"
        self.cleo.wire.to_client = spoiled(is_step)
        self.decide(self.ada, ChangeKind.TITLE, text="New")
        self.cleo.disconnect()
        self.ada.send("#team", "important")
        for user in (self.ada, self.ben):
            user.disconnect()
        self.cleo.connect()
        for _ in range(4):
            self.world.advance(ASK_PAUSE + 1, ticks=4)
        self.ada.connect()
        self.pass_time(60)
        self.assertEqual(self.said(self.cleo), ["important"])


class LeavingTests(DoubtCase):
    """Whoever declines, or leaves what hardly is."""

    def test_declined(self) -> None:
        """Who was in the room before, and declines, is out of it as before, under the same name."""
        self.decide(self.ada, ChangeKind.REMOVE, "ben")
        self.change(self.ada, joining.invite, self.room(self.ada), "ben")
        self.assertEqual(self.room(self.ben).state, RoomState.INVITED)
        self.change(self.ben, joining.leave, self.room(self.ben))
        self.assertEqual(self.room(self.ben).state, RoomState.OUT)

    def test_second_inviter(self) -> None:
        """Who is invited by two chooses one, and may choose the other later: one of them may be out of the room by now."""
        self.decide(self.ada, ChangeKind.ADMIN, "ben")
        room = self.room(self.ben)
        self.decide(self.ada, ChangeKind.NO_ADMIN, "ben")
        self.invite(self.ben, room)
        self.change(self.ada, joining.invite, room, "dan")
        known = self.room(self.dan, room.id.hex())
        self.assertEqual((known.inviter, [each.account for each in known.others]), ("ben", ["ada"]))
        with self.assertRaises(Refusal):
            self.change(self.dan, joining.accept, known, "team")
        self.change(self.dan, lambda records, profile, now: joining.accept(records, profile, known, "team", now, "ben"))
        self.pass_time()
        self.assertEqual(self.room(self.dan).state, RoomState.ASKED)
        known = self.room(self.dan)
        self.change(self.dan, lambda records, profile, now: joining.accept(records, profile, known, "", now, "ada"))
        self.pass_time()
        self.assertEqual((self.room(self.dan).state, self.room(self.dan).others), (RoomState.IN, ()))

    def test_invited_again(self) -> None:
        """Who was asked in vain and invites again is asked again."""
        room = self.room(self.ada)
        link = joining.RoomLink(room.id, bytes(32), "ada", self.ada.profile().identity.public)
        self.change(self.dan, joining.join, link, "team")
        self.pass_time()
        self.assertEqual(self.room(self.dan).state, RoomState.ASKED)
        self.change(self.ada, joining.invite, room, "dan")
        self.pass_time()
        self.assertEqual(self.room(self.dan).state, RoomState.IN)

    def test_many_inviters(self) -> None:
        """No more of those who invite are kept than has a limit."""
        room = self.room(self.ada)
        for number in range(store.MAX_INVITERS + 3):
            [user] = self.people(f"user{number}")
            self.invite(user, room)
        self.assertEqual(len(self.room(self.dan, room.id.hex()).others), store.MAX_INVITERS)

    def invite(self, user: User, room: Room) -> None:
        """Somebody invites Dan, whatever his client says to that."""
        body = RoomInvite(room.id, "Team", (), room.mark, b"")

        def write(records: IRecords, profile: Profile, now: int) -> None:
            rows.write(records, profile, direct("dan"), Kind.INVITE, body, now)

        self.change(user, write)

    def test_removal_waits(self) -> None:
        """Who leaves while a removal waits, and messages behind it, is told so: else they would go to who is removed."""
        self.ada.disconnect()
        self.want(self.ada, PendingChange(ChangeKind.REMOVE, "ben", is_ours=True))
        self.ada.send("#team", "not for ben")
        with self.assertRaises(Refusal) as caught:
            self.change(self.ada, joining.leave, self.room(self.ada))
        self.assertEqual(caught.exception.code, "room-removal-waits")
        self.ada.connect()
        self.pass_time()
        self.assertEqual((self.said(self.ben), self.said(self.cleo)), ([], ["not for ben"]))

    def test_not_made_yet(self) -> None:
        """Who leaves a room before the server has taken it is not in it later."""
        self.dan.disconnect()
        self.create(self.dan)
        self.change(self.dan, joining.leave, self.room(self.dan))
        self.dan.connect()
        self.pass_time()
        with self.dan.store.inner.reading() as records:
            self.assertEqual(store.all_rooms(records), [])

    def test_two_at_once(self) -> None:
        """Two who leave as the last ones, each before hearing of the other, are both out of it."""
        self.decide(self.ada, ChangeKind.REMOVE, "cleo")
        users = (self.ada, self.ben)
        for user in users:
            user.disconnect()
            self.change(user, joining.leave, self.room(user))
        for user in users:
            user.connect()
        self.pass_time(30)
        self.assertEqual([self.room(user).state for user in users], [RoomState.OUT, RoomState.OUT])

    def test_nothing_but_leaving(self) -> None:
        """Who leaves changes nothing else in the room."""
        self.decide(self.ada, ChangeKind.ADMIN, "ben")
        self.ben.disconnect()
        self.cleo.disconnect()
        self.change(self.ada, joining.leave, self.room(self.ada))
        self.want(self.ada, PendingChange(ChangeKind.TITLE, text="Mine"))
        self.pass_time()
        self.assertEqual((self.room(self.ada).state, self.newest(self.ada).body.title), (RoomState.LEAVING, "Team"))

    def test_request_withdrawn(self) -> None:
        """Who takes back that they want to be added, and is added all the same, knows of it, and leaves."""
        room = self.room(self.ada)
        self.change(self.ada, joining.invite, room, "dan")
        self.ada.disconnect()
        self.change(self.dan, joining.accept, self.room(self.dan, room.id.hex()), "team")
        self.change(self.dan, joining.leave, self.room(self.dan))
        self.ada.connect()
        self.pass_time(30)
        self.assertEqual(self.room(self.dan).state, RoomState.OUT)
        self.assertEqual(self.newest(self.ada).body.decision, "left")
        self.assertEqual(self.members(self.ada), ["ada", "ben", "cleo"])

    def test_request_withdrawn_twice(self) -> None:
        """Who takes back a request can forget it, or be invited anew."""
        room = self.room(self.ada)
        self.ada.disconnect()
        link = joining.RoomLink(room.id, bytes(32), "ada", self.ada.profile().identity.public)
        self.change(self.dan, joining.join, link, "team")
        self.change(self.dan, joining.leave, self.room(self.dan))
        self.ada.connect()
        self.change(self.ada, joining.invite, room, "dan")
        self.assertEqual(self.room(self.dan).state, RoomState.INVITED)
        self.change(self.dan, joining.accept, self.room(self.dan), "")
        self.pass_time()
        self.assertEqual(self.room(self.dan).state, RoomState.IN)


class FailedTests(DoubtCase):
    """What cannot be done."""

    def test_told(self) -> None:
        """An admin is told of somebody who could not be added."""
        self.patch(steps, "MAX_MEMBERS", 3)
        self.change(self.ada, joining.invite, self.room(self.ada), "dan")
        self.change(self.dan, joining.accept, self.room(self.dan, self.room(self.ada).id.hex()), "team")
        self.pass_time()
        self.assertEqual(self.failed(), [("dan", "room-full")])

    def test_many(self) -> None:
        """What has failed does not stand in the way of what is wanted, and is not kept without a limit."""
        count = changes.MAX_FAILED + 5
        for _ in range(count):
            self.want(self.ada, PendingChange(ChangeKind.NO_ADMIN, "ada", is_ours=True))
        self.pass_time()
        self.assertEqual(len(self.failed()), changes.MAX_FAILED)
        self.patch(changes, "MAX_PENDING", 1)
        self.decide(self.ada, ChangeKind.TITLE, text="New")
        self.assertEqual(self.room(self.ben).title, "New")

    def test_too_many(self) -> None:
        """No more is wanted of a room than has a limit."""
        self.ada.disconnect()
        title = PendingChange(ChangeKind.TITLE, text="x")
        self.want(self.ada, *[title] * changes.MAX_PENDING)
        with self.assertRaises(Refusal) as caught:
            self.want(self.ada, title)
        self.assertEqual(caught.exception.code, "busy")

    def test_forgotten(self) -> None:
        """With a room goes all that was wanted of it, and whom we had invited."""
        self.test_told()
        self.change(self.ada, joining.invite, self.room(self.ada), "eve")
        room = self.room(self.ada)
        with self.ada.store.writing() as records:
            joining.forget(records, room)
        with self.ada.store.inner.reading() as records:
            self.assertEqual((changes.failed(records, room), store.invited_at(records, room, "eve")), ([], None))

    def failed(self) -> list[tuple[str, str]]:
        """Of Ada's changes, what they are about and why they failed."""
        with self.ada.store.inner.reading() as records:
            failed = changes.failed(records, store.find_room(records, "team"))
        return [(change.account, code) for _, change, code in failed]
