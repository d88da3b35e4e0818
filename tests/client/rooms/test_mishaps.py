"""What goes wrong among honest people: a server that was restored, mailboxes that are full."""

from __future__ import annotations

from attrs import evolve
from msgspec.structs import replace

from securemsg.client.rooms import changes, joining, lists, rows, store
from securemsg.client.rooms.catchup import ASK_PAUSE
from securemsg.client.rooms.changes import ChangeKind, PendingChange
from securemsg.client.rooms.store import RoomState
from securemsg.client.state.conversations import direct
from securemsg.client.state.profile import DAY
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import Kind
from securemsg.protocol.messages import Deposit
from securemsg.protocol.rooms import RoomLists, SignedMemberList
from securemsg.protocol.states import Side
from tests.client.rig import MortalServerStore, User, decoded
from tests.client.rooms.case import RoomCase
from tests.client.rooms.test_catchup import is_step, spoiled


class FullTests(RoomCase):
    """Mailboxes that take nothing."""

    def fill(self, is_full: bool) -> None:
        """From now on no mailbox takes anything, or all do."""
        online = [user for user in self.world.users.values() if user.is_online]
        for user in online:
            user.disconnect()
        self.world.settle()
        self.world.settings = evolve(self.world.settings, mailbox_messages=0 if is_full else 100_000)
        self.world.restart_server()
        for user in online:
            user.connect()

    def test_first_list(self) -> None:
        """Who did not get the step that added it asks the admin, and gets the newest list: none from before it came."""
        ada, ben = self.room_of("ada", "ben")
        [cleo] = self.people("cleo")
        room = self.room(ada)
        self.change(ada, joining.invite, room, "cleo")
        ada.disconnect()
        self.change(cleo, joining.accept, self.room(cleo, room.id.hex()), "team")
        cleo.disconnect()
        self.fill(True)
        ada.connect()
        self.pass_time()
        self.assertEqual(self.members(ada), ["ada", "ben", "cleo"])
        self.fill(False)
        cleo.connect()
        ada.send("#team", "welcome")
        self.pass_time()
        ben.send("#team", "hello")
        self.pass_time()
        self.assertEqual(self.said(cleo), ["welcome", "hello"])
        self.assert_agreed(ada, ben, cleo)
        room = self.room(cleo)
        with cleo.store.inner.reading() as records:
            self.assertEqual(len(store.lists_after(records, room, 0, 100)), 1)


class BehindTests(RoomCase):
    """Somebody did not get a step."""

    def miss_steps(self, user: User) -> None:
        """From now on steps do not come to somebody."""
        assert user.wire is not None, "connected"
        user.wire.to_client = spoiled(is_step)

    def want(self, user: User, kind: ChangeKind, text: str) -> None:
        """Somebody wants something, of whatever comes of that."""

        def add(records: IRecords, profile: object, now: int) -> None:
            changes.add(records, self.known, PendingChange(kind, text=text))

        self.change(user, add)

    def setUp(self) -> None:
        """Three admins in a room."""
        super().setUp()
        self.ada, self.ben, self.cleo = self.room_of("ada", "ben", "cleo")
        for name in ("ben", "cleo"):
            self.decide(self.ada, ChangeKind.ADMIN, name)
        self.known = self.room(self.ben)

    def test_step_behind_message(self) -> None:
        """A message waits for the list, and our own step behind it: that does not keep us from asking, nor does it go out."""
        assert self.ben.wire is not None, "connected"
        self.ben.wire.held.add(Side.CLIENT)
        self.ben.send("#team", "hello")
        self.want(self.ben, ChangeKind.TITLE, "Ben's")
        self.miss_steps(self.ben)
        self.decide(self.ada, ChangeKind.TITLE, text="Ada's")
        self.ben.wire.held.clear()
        self.ben.wire.to_client = None
        self.pass_time(30)
        self.assertEqual(self.said(self.ada), ["hello"])
        self.assertEqual(self.room(self.cleo).title, "Ben's")
        self.assert_agreed(self.ada, self.ben, self.cleo)
        sent = [message.room for message in decoded(self.ben.wire, Side.CLIENT, Deposit)]
        made = [item.n for item in sent if item is not None and item.step is not None]
        self.assertEqual(made, [self.newest(self.ada).body.n], "a step that was beaten went out")

    def test_asks_who_joined(self) -> None:
        """Who goes by the newer list is asked, though it is not on the one that we have."""
        [dan] = self.people("dan")
        self.miss_steps(self.ben)
        self.add(self.ada, dan)
        for user in (self.ada, self.cleo):
            user.disconnect()
        dan.send("#team", "hello")
        self.pass_time(30)
        self.assertEqual(self.said(self.ben), ["hello"])

    def test_out_and_in(self) -> None:
        """Who was taken out and added again meanwhile goes on, and does not read what was said in between."""
        identity = self.ben.profile().identity.public
        assert self.ben.wire is not None, "connected"
        self.ben.wire.to_client = spoiled(lambda message: True)
        self.decide(self.ada, ChangeKind.REMOVE, "ben")
        self.ada.send("#team", "without ben")
        self.decide(self.ada, ChangeKind.ADD, "ben", identity=identity)
        self.ben.wire.to_client = None
        self.ada.send("#team", "with ben")
        self.pass_time(30)
        # The first answer may be sealed in a session that ended with what did not come.
        self.world.advance(ASK_PAUSE + 1)
        self.pass_time(30)
        self.assertEqual((self.room(self.ben).state, self.said(self.ben)), (RoomState.IN, ["with ben"]))
        self.assert_agreed(self.ada, self.ben, self.cleo)

    def test_without_proof(self) -> None:
        """Who has the newest list without its proof talks by it, and asks for the proof to make a step."""
        self.decide(self.cleo, ChangeKind.REMOVE, "ada")
        self.cleo.disconnect()
        newest, room = self.newest(self.ben), self.room(self.ben)
        with self.ben.store.writing() as records:
            store.put_list(records, room, evolve(newest, signed=lists.without_proof(newest.signed)))
        message = self.ben.send("#team", "hello")
        self.pass_time(30)
        self.assertEqual((self.members(self.ben), self.ben.sent(message).status), (["ben", "cleo"], "accepted"))
        self.want(self.ben, ChangeKind.TITLE, "Ours")
        self.pass_time(30)
        self.assertNotEqual(self.room(self.ben).title, "Ours")
        assert self.ben.wire is not None, "connected"
        sent = [message.room for message in decoded(self.ben.wire, Side.CLIENT, Deposit)]
        self.assertEqual([item for item in sent if item is not None and item.step is not None], [], "a step without a proof")
        self.cleo.connect()
        self.world.advance(ASK_PAUSE + 1)
        self.pass_time(30)
        self.assertEqual(self.room(self.cleo).title, "Ours")
        self.assert_agreed(self.ben, self.cleo)


class FarBehindTests(RoomCase):
    """Somebody lacks more lists than anybody keeps: here four."""

    def setUp(self) -> None:
        """Cleo gets no steps any more."""
        super().setUp()
        self.patch(store, "MAX_KEPT", 4)
        self.ada, self.ben, self.cleo = self.room_of("ada", "ben", "cleo")
        assert self.cleo.wire is not None, "connected"
        self.cleo.wire.to_client = spoiled(is_step)

    def change_title(self, times: int) -> None:
        """Ada makes so many steps, of which the last counts, and Cleo hears of that when nobody is there."""
        assert self.cleo.wire is not None, "connected"
        self.cleo.wire.held.add(Side.CLIENT)
        for number in range(times):
            self.decide(self.ada, ChangeKind.TITLE, text=f"Title {number}")
        for user in (self.ada, self.ben):
            user.disconnect()
        self.cleo.wire.held.clear()
        self.cleo.send("#team", "hello?")
        self.pass_time()
        self.assertTrue(self.room(self.cleo).is_behind)

    def answer(self, user: User, *answer: SignedMemberList) -> None:
        """Somebody who has not read the question shows Cleo lists."""
        room, cleo = self.room(user), direct("cleo")
        profile = user.profile()
        with user.store.writing() as records:
            # It answers nothing by itself.
            store.put_room(records, replace(room, state=RoomState.ASKED, mark=store.NO_LIST))
            rows.write(records, profile, cleo, Kind.LISTS, RoomLists(room.id, answer, 0), int(self.world.now()))
        user.connect()
        self.pass_time()

    def test_from_an_admin(self) -> None:
        """It takes the newest from an admin, as who joins does."""
        self.change_title(7)
        self.ada.connect()
        self.pass_time()
        self.assertEqual(self.room(self.cleo).title, "Title 6")
        self.assertEqual(self.said(self.ada), ["hello?"])

    def test_from_no_admin(self) -> None:
        """It does not from another member."""
        self.change_title(7)
        self.answer(self.ben, self.newest(self.ben).signed)
        self.assertEqual(self.room(self.cleo).title, "Team")

    def test_not_ordered(self) -> None:
        """Nor does it take one that the server has not named."""
        self.change_title(7)
        newest, profile = self.newest(self.ada), self.ada.profile()
        more = lists.make_next(profile, newest, "title", int(self.world.now()), title="For cleo alone")
        self.answer(self.ada, more.signed)
        self.assertEqual(self.room(self.cleo).title, "Team")

    def test_not_far(self) -> None:
        """Who lacks fewer skips none."""
        self.change_title(3)
        self.answer(self.ada, self.newest(self.ada).signed)
        self.assertEqual(self.room(self.cleo).title, "Team")


class RestoredTests(RoomCase):
    """A server that was put back to an older copy."""

    def restore(self, copy: MortalServerStore) -> None:
        """The server starts again with what it had then."""
        for user in self.world.users.values():
            user.disconnect()
        self.world.settle()
        self.world.store = copy
        self.world.restart_server()

    def greet(self, *users: User) -> None:
        """All say something, so that sessions do not begin with prekeys that the server will have forgotten to have given."""
        for user in users:
            user.send("#team", "hello")
        self.pass_time(70)
        self.world.advance(DAY)
        self.pass_time(70)

    def deposits(self, user: User) -> int:
        """How many deposits somebody has made on this connection."""
        assert user.wire is not None, "connected"
        return len(decoded(user.wire, Side.CLIENT, Deposit))

    def test_lists_lost(self) -> None:
        """Members send the lists that it lacks again before what they have to say, and what it had accepted."""
        ada, ben, cleo = self.room_of("ada", "ben", "cleo")
        self.greet(ada, ben, cleo)
        copy = self.world.store.crash()
        self.decide(ada, ChangeKind.TITLE, text="New")
        self.decide(ada, ChangeKind.TITLE, text="Newer")
        ada.send("#team", "lost")
        self.restore(copy)
        for user in (ada, ben, cleo):
            user.send("#team", f"{user.name} after")
            user.connect()
        self.pass_time(120)
        self.assertEqual(sorted(self.said(cleo)[2:]), ["ada after", "ben after", "lost"])
        self.assertEqual(sorted(self.said(ada)[2:]), ["ben after", "cleo after"])
        self.assertEqual(self.newest(cleo).body.title, "Newer")
        self.assert_agreed(ada, ben, cleo)

    def test_room_lost(self) -> None:
        """Of a room that it does not know any more the newest list makes a row."""
        ada, ben, cleo = self.people("ada", "ben", "cleo")
        copy = self.world.store.crash()
        self.create(ada)
        self.add(ada, ben, cleo)
        self.restore(copy)
        for user in (ada, ben, cleo):
            user.connect()
        message = cleo.send("#team", "here again")
        self.pass_time(30)
        self.assertEqual(cleo.sent(message).status, "accepted")
        self.assert_agreed(ada, ben, cleo)

    def test_without_proofs(self) -> None:
        """Who was given lists by another member lacks their proofs, and waits for somebody who has them; it does not insist."""
        ada, ben, cleo = self.room_of("ada", "ben", "cleo")
        assert cleo.wire is not None, "connected"
        cleo.wire.to_client = spoiled(is_step)
        copy = self.world.store.crash()
        for number in range(3):
            self.decide(ada, ChangeKind.TITLE, text=f"Title {number}")
        self.world.advance(ASK_PAUSE + 1)
        self.pass_time()
        self.restore(copy)
        cleo.connect()
        cleo.send("#team", "hello?")
        self.pass_time(60)
        self.assertLess(self.deposits(cleo), 30)
        self.assertEqual(self.newest(cleo).body.n, 5)
        ada.connect()
        ben.connect()
        ada.send("#team", "hello")
        self.pass_time(120)
        self.assertEqual((self.said(ben), self.said(cleo)), (["hello", "hello?"], ["hello"]))
        self.assert_agreed(ada, ben, cleo)

    def test_step_waits(self) -> None:
        """A step that others may go by is not forgotten because the server lacks lists before it, nor signed anew."""
        ada, ben, cleo = self.room_of("ada", "ben", "cleo")
        copy = self.world.store.crash()
        self.decide(ada, ChangeKind.TITLE, text="New")
        assert ada.wire is not None, "connected"
        ada.wire.held.add(Side.SERVER)
        self.decide(ada, ChangeKind.TITLE, text="Newer")
        self.assertEqual((self.room(ada).title, self.room(ben).title), ("New", "Newer"))
        self.restore(copy)
        ada.connect()
        self.pass_time(60)
        ben.connect()
        cleo.connect()
        self.pass_time()
        self.assertEqual(self.room(ada).title, "Newer")
        self.assert_agreed(ada, ben, cleo)

    def test_followed(self) -> None:
        """Who alone knew a step that the server has lost sees another in its place, and follows that if its user says so."""
        ada, ben, cleo = self.room_of("ada", "ben", "cleo")
        self.decide(ada, ChangeKind.ADMIN, "ben")
        copy = self.world.store.crash()
        for user in (ben, cleo):
            user.disconnect()
        self.decide(ada, ChangeKind.TITLE, text="Ada's")
        self.restore(copy)
        ben.connect()
        cleo.connect()
        self.decide(ben, ChangeKind.TITLE, text="Ben's")
        ben.send("#team", "under Ben's")
        ada.connect()
        self.pass_time()
        self.assertEqual((self.room(ada).state, self.room(ada).title, self.said(ada)), (RoomState.FORKED, "Ada's", []))
        room = self.room(ada)
        with ada.store.writing() as records:
            joining.follow(records, room, int(self.world.now()))
        self.pass_time(30)
        self.assertEqual((self.room(ada).state, self.room(ada).title), (RoomState.IN, "Ben's"))
        self.assertEqual(self.said(ada), ["under Ben's"])
        self.assert_agreed(ada, ben, cleo)
        ada.send("#team", "together again")
        self.assertEqual(self.said(cleo), ["under Ben's", "together again"])
