"""A server that was restored from an older copy: what its members hold, and which way they go."""

from __future__ import annotations

from securemsg.client.rooms import joining, store
from securemsg.client.rooms.changes import ChangeKind
from securemsg.client.rooms.store import RoomState
from securemsg.client.state.profile import DAY
from securemsg.errors import Refusal
from tests.client.rig import User
from tests.client.rooms.case import RoomCase


class ForkCase(RoomCase):
    """Ada has changed the title, the server has lost that, and Ben changes it in another way."""

    def setUp(self) -> None:
        """The fork."""
        super().setUp()
        self.ada, self.ben, self.cleo = self.room_of("ada", "ben", "cleo")
        self.decide(self.ada, ChangeKind.ADMIN, "ben")
        self.ben.disconnect()
        back = self.world.store.crash()
        self.decide(self.ada, ChangeKind.TITLE, text="Ada's")
        for user in (self.ada, self.cleo):
            user.disconnect()
        self.world.store = back
        self.world.restart_server()
        self.ben.connect()
        self.decide(self.ben, ChangeKind.TITLE, text="Ben's")
        self.cleo.connect()
        self.pass_time()

    def follow(self, user: User) -> None:
        """Somebody goes the server's way."""
        with user.store.writing() as records:
            joining.follow(records, store.find_room(records, "team"), int(self.world.now()))
        user.pump()
        self.pass_time()


class FollowTests(ForkCase):
    """C{follow}."""

    def test_forked(self) -> None:
        """Who holds another list with the number of the server's sees that, and stays where it is."""
        self.assertEqual((self.room(self.cleo).state, self.room(self.cleo).title), (RoomState.FORKED, "Ada's"))

    def test_follow(self) -> None:
        """Who follows takes the server's lists from the last common one on, and is in the room again."""
        self.follow(self.cleo)
        self.assertEqual((self.room(self.cleo).state, self.room(self.cleo).title), (RoomState.IN, "Ben's"))
        self.assert_agreed(self.ben, self.cleo)
        self.cleo.send("#team", "here again")
        self.assertEqual(self.said(self.ben), ["here again"])

    def test_much_later(self) -> None:
        """However long ago the fork was seen: the members get a day to answer."""
        self.ben.disconnect()
        self.world.clock += 3 * DAY
        self.follow(self.cleo)
        self.assertEqual(self.room(self.cleo).state, RoomState.FORKED)
        self.ben.connect()
        self.pass_time()
        self.assertEqual(self.room(self.cleo).title, "Ben's")

    def test_not_forked(self) -> None:
        """Where there is no fork there is nothing to follow."""
        with self.ben.store.writing() as records:
            refused = self.assertRaises(Refusal, joining.follow, records, store.find_room(records, "team"), 0)
        self.assertEqual(refused.code, "bad-request")


class InvitationTests(RoomCase):
    """Which room C{join} means."""

    def test_named(self) -> None:
        """A room that we are invited to comes before one that we call so; of several the name is unclear."""
        ada, ben, cleo = self.people("ada", "ben", "cleo")
        self.create(ben)
        ours = self.room(ben)
        with ben.store.inner.reading() as records:
            self.assertEqual(store.find_invitation(records, "#team").id, ours.id)
        theirs = self.create(ada)
        self.change(ada, joining.invite, theirs, "ben")
        self.pass_time()
        with ben.store.inner.reading() as records:
            self.assertEqual(store.find_invitation(records, "#team").id, theirs.id)
            self.assertEqual(store.find_invitation(records, theirs.id.hex()[:8]).id, theirs.id)
        another = self.create(cleo)
        self.change(cleo, joining.invite, another, "ben")
        self.pass_time()
        with ben.store.inner.reading() as records:
            unclear = self.assertRaises(Refusal, store.find_invitation, records, "team")
        self.assertEqual(unclear.code, "room-unclear")

    def test_flood(self) -> None:
        """Of one account only so many invitations wait, and they push out none of anybody else's."""
        ada, ben, cleo = self.people("ada", "ben", "cleo")
        self.change(cleo, joining.invite, self.create(cleo, "quiet"), "ada")
        for number in range(store.MAX_INVITED_BY_ONE + 3):
            self.change(ben, joining.invite, self.create(ben, f"loud{number}"), "ada")
        with ada.store.inner.reading() as records:
            invited = [room.inviter for room in store.all_rooms(records)]
        self.assertEqual((invited.count("ben"), invited.count("cleo")), (store.MAX_INVITED_BY_ONE, 1))
