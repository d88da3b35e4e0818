"""What an account does with its rooms, and what it is told where that does not work."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from msgspec.structs import replace
from twisted.internet.defer import Deferred

from securemsg.account import rooms
from securemsg.account.compose import commit
from securemsg.account.errors import Exit, SecuremsgError
from securemsg.account.reader import MessageReader
from securemsg.account.readlocks import ReadLocks
from securemsg.account.roomchanges import RoomChanges
from securemsg.account.tracking import ACCEPTED, DELIVERED, follow
from securemsg.client import messages
from securemsg.client.autoresponder import Autoresponder, Immediate
from securemsg.client.rooms import changes, store
from securemsg.client.rooms.changes import ChangeKind
from securemsg.client.rooms.store import Room, RoomState
from securemsg.client.state import contacts
from securemsg.protocol.envelope import Kind
from securemsg.server import login
from tests.cli.rig import Person, PlaceCase

T = TypeVar("T")
# Seconds that anybody waits.
LIMIT = 20
TEAM = "#team"


class RoomsCase(PlaceCase):
    """Ada makes a room; Ben and Cleo are there, too."""

    def setUp(self) -> None:
        """Some people."""
        super().setUp()
        self.ada, self.ben, self.cleo = (self.place.person(name, again=True) for name in ("ada", "ben", "cleo"))

    def rooms(self, person: Person, limit: float = LIMIT) -> RoomChanges:
        """The rooms of somebody, as a command has them."""
        return RoomChanges(person.context.store, person.connection, self.place.now, limit)

    def start(self, work: Coroutine[Any, Any, T]) -> Deferred[T]:
        """Begin something, and let nothing happen so far."""
        return Deferred.fromCoroutine(work)

    def do(self, work: Coroutine[Any, Any, T], seconds: float = 12) -> T:
        """Do something, and let some time pass."""
        done = self.start(work)
        self.place.settle(seconds)
        return self.successResultOf(done)

    def refused(self, work: Coroutine[Any, Any, Any], seconds: float = LIMIT + 5) -> SecuremsgError:
        """Do something that fails."""
        done = self.start(work)
        self.place.settle(seconds)
        error: SecuremsgError = self.failureResultOf(done, SecuremsgError).value
        return error

    def create(self, person: Person | None = None, title: str = "Team") -> Room:
        """Somebody makes the room."""
        return self.do(self.rooms(person or self.ada).create(TEAM, title))

    def add(self, *people: Person) -> None:
        """Ada invites, and they join."""
        self.do(self.rooms(self.ada).invite(TEAM, [person.name for person in people]))
        for person in people:
            self.do(self.rooms(person).join(TEAM, ""))
        self.place.settle(8)

    def room(self, person: Person, name: str = TEAM) -> Room:
        """A room as somebody knows it."""
        return rooms.find(person.context.store, name)

    def names(self, person: Person, name: str = TEAM) -> list[str]:
        """Who is in it."""
        return [row.name for row in rooms.members(person.context.store, self.room(person, name))[2]]

    def put(self, person: Person, **changes: Any) -> None:
        """Change what somebody has of the room."""
        with person.context.store.writing() as records:
            store.put_room(records, replace(store.find_room(records, TEAM), **changes))

    def hang_up(self, person: Person) -> None:
        """Somebody goes offline, for good."""
        person.connection.stop()
        self.place.settle(1)


class JoiningTests(RoomsCase):
    """Who comes in, and how."""

    def test_create(self) -> None:
        """A room is there once the server has taken its first list."""
        room = self.create()
        self.assertEqual((room.state, room.name, room.title, room.mark.version), (RoomState.IN, TEAM, "Team", 1))
        self.assertEqual(self.refused(self.rooms(self.ada).create(TEAM, "Other")).code, "room-name-taken")

    def test_create_unanswered(self) -> None:
        """Without a server the room is made later, and that is said."""
        self.place.is_up = False
        self.hang_up(self.ada)
        connection = self.place.beside(self.ada)
        connection.start()
        problem = self.refused(RoomChanges(self.ada.context.store, connection, self.place.now, 3).create(TEAM, "Team"))
        self.assertEqual(problem.code, "not-connected")
        self.assertTrue(problem.hint.startswith("it is made with the next connection; "), problem.hint)
        self.assertEqual(self.room(self.ada).state, RoomState.ASKED)
        early = self.refused(RoomChanges(self.ada.context.store, connection, self.place.now, 3).invite(TEAM, ["ben"]))
        self.assertEqual((early.code, early.text), ("not-in-room", "the server has not made #team so far"))
        connection.stop()
        self.place.settle(1)
        self.place.is_up = True
        self.ada.connection = self.place.beside(self.ada)
        self.ada.connection.start()
        self.assertEqual(self.create().state, RoomState.IN)
        self.assertEqual(self.names(self.ada), ["ada"])

    def test_create_refused(self) -> None:
        """Where the server will never take it, that is said."""
        assert self.ada.dialer is not None
        assert self.ada.dialer.stream is not None
        self.ada.dialer.stream.close("")
        self.place.settle(1)
        self.ada.dialer.is_local = True
        self.ada.dialer.start()
        self.place.settle(1)
        self.assertEqual(self.refused(self.rooms(self.ada).create(TEAM, "Team"), 3).code, "forbidden")
        with self.ada.context.store.reading() as records:
            self.assertEqual(store.all_rooms(records), [], "its name is free again")

    def test_old_server(self) -> None:
        """A server that knows no rooms is named as the reason, at once."""
        self.patch(login, "FEATURES", ())
        dan = self.place.person("dan", again=True)
        problem = self.refused(self.rooms(dan).create(TEAM, "Team"), 3)
        self.assertEqual((problem.code, problem.status), ("server-without-rooms", Exit.NOT_CONNECTED))
        self.assertIn("it is made with the next connection", problem.hint)

    def test_titles(self) -> None:
        """A title is a text, not empty and not too long."""
        for title in ("", "x" * 129, "é" * 65, "\udcff"):
            self.assertEqual(self.refused(self.rooms(self.ada).create(TEAM, title)).status, Exit.USAGE)
        self.create(title="é" * 64)
        self.assertEqual(self.refused(self.rooms(self.ada).change(TEAM, ChangeKind.TITLE, text="x" * 129)).status, Exit.USAGE)

    def test_join(self) -> None:
        """Who is invited and joins is added by the inviter's client; to ask again only waits."""
        self.create()
        self.add(self.ben)
        self.assertEqual(self.names(self.ben), ["ada", "ben"])
        again = self.refused(self.rooms(self.ben).join(TEAM, ""))
        self.assertEqual((again.status, again.text), (Exit.USAGE, "you are in #team already"))

    def test_not_added(self) -> None:
        """While the inviter is away it is said who must be there; and what was asked needs no second time."""
        self.create()
        self.do(self.rooms(self.ada).invite(TEAM, ["ben"]))
        self.hang_up(self.ada)
        late = self.refused(self.rooms(self.ben, 5).join(TEAM, "work"))
        self.assertEqual((late.code, late.status), ("not-added", Exit.TIMED_OUT))
        self.assertIn("ada's client adds you as soon as it runs", late.hint)
        self.assertEqual(self.refused(self.rooms(self.ben).join("#work", "other")).hint, "omit --as")
        again = self.start(self.rooms(self.ben).join("#work", ""))
        self.place.settle(1)
        connection = self.place.beside(self.ada)
        connection.start()
        self.place.settle(5)
        self.assertEqual(self.successResultOf(again).name, "#work")

    def test_invitation_on_the_way(self) -> None:
        """An invitation that waits on the server is fetched first."""
        self.create()
        self.hang_up(self.ben)
        self.do(self.rooms(self.ada).invite(TEAM, ["ben"]))
        self.ben.connection = self.place.beside(self.ben)
        self.ben.connection.start()
        self.assertEqual(self.do(self.rooms(self.ben).join(TEAM, "")).state, RoomState.IN)

    def test_names(self) -> None:
        """A name that is taken, or that a title does not give, is said, with what to do."""
        self.create(self.ben)
        self.create(self.ada)
        self.do(self.rooms(self.ada).invite(TEAM, ["ben"]))
        taken = self.refused(self.rooms(self.ben).join(TEAM, ""))
        self.assertEqual((taken.code, taken.text), ("room-name-taken", "you already call another room #team"))
        self.assertIn("--as NAME", taken.hint)
        self.assertEqual(self.do(self.rooms(self.ben).join(TEAM, "#ours")).name, "#ours")
        self.do(self.rooms(self.ada).create("#other", "???"))
        self.do(self.rooms(self.ada).invite("#other", ["ben"]))
        digits = self.room(self.ada, "#other").id.hex()[:8]
        unnamed = self.refused(self.rooms(self.ben).join(digits, ""))
        self.assertEqual(unnamed.code, "illegal-name")
        self.assertIn("--as NAME", unnamed.hint)
        self.assertEqual(rooms.join_command(self.room(self.ben, digits)), f"securemsg room join {digits} --as NAME")
        invited = rooms.not_in_room(self.room(self.ben, digits), "ben")
        self.assertEqual(invited.text, f"you are invited to {digits}, and have not joined")
        self.assertEqual(self.do(self.rooms(self.ben).join(digits, "questions")).name, "#questions")

    def test_link(self) -> None:
        """Who has the link is added; it is not there before it is made, and admits nobody once it is withdrawn."""
        self.create()
        self.assertEqual(self.refused(self.rooms(self.ada).link(TEAM, new=False)).code, "no-room-link")
        link = self.do(self.rooms(self.ada).link(TEAM, new=True))
        self.assertEqual(self.do(self.rooms(self.ada).link(TEAM, new=False)), link)
        self.assertEqual(self.do(self.rooms(self.ben).join(link, "team")).state, RoomState.IN)
        self.assertEqual(self.refused(self.rooms(self.ada).join(link, "team")).status, Exit.USAGE)
        self.do(self.rooms(self.ada).change(TEAM, ChangeKind.LINK))
        self.assertEqual(self.refused(self.rooms(self.cleo, 5).join(link, "team")).code, "not-added")
        self.assertEqual(self.refused(self.rooms(self.cleo).join("securemsg-room:abc", "")).code, "bad-room-link")

    def test_own_link(self) -> None:
        """Whoever has made a link and left the room is not asked by itself."""
        self.create()
        link = self.do(self.rooms(self.ada).link(TEAM, new=True))
        self.do(self.rooms(self.ada).leave(TEAM))
        self.assertEqual(self.refused(self.rooms(self.ada).join(link, "")).text, "this link is your own")

    def test_invited(self) -> None:
        """Nobody is invited if one of them cannot be."""
        self.create()
        self.add(self.ben)
        for whom, code in (("nobody", "no-such-account"), ("ben", "bad-request"), ("server", "bad-request")):
            problem = self.refused(self.rooms(self.ada).invite(TEAM, ["cleo", whom]))
            self.assertEqual(problem.code, code)
            self.assertIn(whom, problem.text)
        with self.ada.context.store.writing() as records:
            known = contacts.get_contact(records, "cleo")
            assert known is not None
            contacts.put_contact(records, replace(known, changed_to=bytes(32)))
        self.assertEqual(self.refused(self.rooms(self.ada).invite(TEAM, ["cleo"])).code, "identity-changed")
        self.assertEqual(self.refused(self.rooms(self.cleo).join(TEAM, "")).code, "no-such-room")
        self.assertEqual(self.refused(self.rooms(self.ben).invite(TEAM, ["cleo"])).code, "not-admin")


class ChangeTests(RoomsCase):
    """What admins do."""

    def setUp(self) -> None:
        """They are in the room."""
        super().setUp()
        self.create()
        self.add(self.ben, self.cleo)

    def test_changes(self) -> None:
        """Each is done when it counts, for all."""
        self.do(self.rooms(self.ada).change(TEAM, ChangeKind.TITLE, text="Other"))
        self.assertEqual({self.room(person).title for person in (self.ada, self.ben, self.cleo)}, {"Other"})
        self.do(self.rooms(self.ada).change(TEAM, ChangeKind.ADMIN, who="ben"))
        self.do(self.rooms(self.ben).change(TEAM, ChangeKind.NO_ADMIN, who="ada"))
        self.do(self.rooms(self.ben).change(TEAM, ChangeKind.REMOVE, who="ada"))
        self.assertEqual(self.names(self.cleo), ["ben", "cleo"])
        self.assertEqual(self.refused(self.rooms(self.ada).change(TEAM, ChangeKind.TITLE, text="x")).code, "not-in-room")
        self.assertEqual(self.refused(self.rooms(self.ada).join(TEAM, "")).code, "not-in-room")
        self.do(self.rooms(self.ben).change(TEAM, ChangeKind.ADMIN, who="cleo"))
        leaving = self.start(self.rooms(self.ben).leave(TEAM))
        self.assertEqual(self.refused(self.rooms(self.ben).leave(TEAM), 1).code, "not-in-room")
        self.place.settle(12)
        self.successResultOf(leaving)

    def test_refused(self) -> None:
        """What cannot be done is said at once, or when it fails, and is wanted no longer."""
        mine = self.rooms(self.ada)
        for work, code in (
            (self.rooms(self.ben).change(TEAM, ChangeKind.TITLE, text="x"), "not-admin"),
            (mine.change(TEAM, ChangeKind.REMOVE, who="ada"), "own-name"),
            (mine.change(TEAM, ChangeKind.REMOVE, who="dan"), "not-in-room"),
            (mine.change(TEAM, ChangeKind.NO_ADMIN, who="ada"), "last-admin"),
            (mine.change("#other", ChangeKind.TITLE, text="x"), "no-such-room"),
            (mine.renew(TEAM, "dan"), "not-in-room"),
            (mine.follow(TEAM), "bad-request"),
        ):
            self.assertEqual(self.refused(work).code, code)
        self.assertEqual(self.refused(mine.follow(TEAM)).text, "#team is not forked")
        with self.ada.context.store.reading() as records:
            self.assertEqual(changes.pending(records, store.find_room(records, TEAM)), [])

    def test_later(self) -> None:
        """What is not done in time stays wanted, and that is said; it is done with the next connection."""
        self.hang_up(self.ada)
        self.place.is_up = False
        connection = self.place.beside(self.ada)
        connection.start()
        changing = RoomChanges(self.ada.context.store, connection, self.place.now, 2)
        problem = self.refused(changing.change(TEAM, ChangeKind.TITLE, text="Later"))
        self.assertEqual(problem.status, Exit.NOT_CONNECTED)
        self.assertTrue(problem.hint.startswith("the change is queued"), problem.hint)
        connection.stop()
        self.place.settle(1)
        self.place.is_up = True
        connection = self.place.beside(self.ada)
        connection.start()
        self.place.settle(5)
        self.assertEqual(self.room(self.ben).title, "Later")

    def test_behind(self) -> None:
        """While lists are missing that is said to hold a change up."""
        self.put(self.ada, server_mark=replace(self.room(self.ada).mark, version=99), behind_since=int(self.place.now()))
        problem = self.refused(self.rooms(self.ada, 2).change(TEAM, ChangeKind.TITLE, text="x"), 5)
        self.assertEqual((problem.code, problem.status), ("room-behind", Exit.NOT_CONNECTED))

    def test_leave(self) -> None:
        """Who leaves is out when the others have heard, and what was said stays; an invitation is declined."""
        left = self.do(self.rooms(self.ben).leave(TEAM))
        assert left is not None
        self.assertEqual(self.names(self.ada), ["ada", "cleo"])
        self.assertEqual(self.refused(self.rooms(self.ben).leave(TEAM)).code, "not-in-room")
        self.do(self.rooms(self.ada).invite(TEAM, ["ben"]))
        self.do(self.rooms(self.ben).join(TEAM, ""))
        self.assertEqual(self.names(self.ada), ["ada", "cleo", "ben"])
        dan = self.place.person("dan")
        self.do(self.rooms(self.ada).invite(TEAM, ["dan"]))
        self.place.settle(1)
        self.assertIsNone(self.do(self.rooms(dan).leave(TEAM)))
        self.assertEqual(self.refused(self.rooms(dan).leave(TEAM)).code, "no-such-room")

    def test_broken(self) -> None:
        """In a broken room nothing is changed, it is said why, and an admin makes another one, without whom he likes."""
        self.put(self.ada, state=RoomState.BROKEN, code="bad-room-list", culprit="cleo")
        problem = self.refused(self.rooms(self.ada).change(TEAM, ChangeKind.TITLE, text="x"))
        self.assertEqual(problem.code, "room-broken")
        self.assertIn("by cleo", problem.text)
        self.assertIn("securemsg room renew '#team'", problem.hint)
        self.put(self.ben, state=RoomState.BROKEN, code="bad-room-list", culprit="cleo")
        made = self.do(self.rooms(self.ada).renew(TEAM, "cleo"))
        self.place.settle(10)
        self.assertEqual(made.name, "#team-2")
        self.assertEqual(self.names(self.ben, "#team-2"), ["ada", "ben"])
        self.assertEqual(self.refused(self.rooms(self.ben).leave(TEAM)).code, "not-in-room")

    def test_members(self) -> None:
        """Who is verified, by whom a name is known, and who does not get our messages."""
        number, digits, rows = rooms.members(self.ben.context.store, self.room(self.ben))
        self.assertEqual((number, len(digits.replace(" ", ""))), (3, 30))
        self.assertEqual([(row.name, row.is_admin, row.is_verified, row.vouched_by) for row in rows], [
            ("ada", True, False, ""), ("ben", False, True, ""), ("cleo", False, False, "ada"),
        ])  # fmt: skip
        with self.ben.context.store.writing() as records:
            known = contacts.get_contact(records, "ada")
            assert known is not None
            contacts.put_contact(records, replace(known, changed_to=bytes(32)))
        self.assertEqual(rooms.members(self.ben.context.store, self.room(self.ben))[2][0].left_out, "identity-changed")


class MessageTests(RoomsCase):
    """What is said there."""

    def setUp(self) -> None:
        """Ada and Ben are in the room."""
        super().setUp()
        self.create()
        self.add(self.ben)

    def write(self, person: Person, text: str, *, to_newcomers: bool = False) -> bytes:
        """Somebody says something."""
        return commit(
            person.context.store, TEAM, text, ACCEPTED, now=self.place.now(), message_id=None, expiry=86400,
            to_newcomers=to_newcomers,
        )  # fmt: skip

    def texts(self, person: Person) -> list[str]:
        """What somebody has not read."""
        return [message.text for message in messages.unread(person.context.store, TEAM) if message.event is None]

    def hold(self) -> bytes:
        """Ben writes something while he does not know that Cleo has joined."""
        self.hang_up(self.ben)
        self.add(self.cleo)
        message_id = self.write(self.ben, "to two")
        self.ben.connection = self.place.beside(self.ben)
        self.ben.connection.start()
        self.place.settle(3)
        return message_id

    def test_missed(self) -> None:
        """Who does not get a message is named with it."""
        self.add(self.cleo)
        with self.ada.context.store.writing() as records:
            known = contacts.get_contact(records, "cleo")
            assert known is not None
            contacts.put_contact(records, replace(known, changed_to=bytes(32)))
        message_id = self.write(self.ada, "hello")
        sent = self.do(follow(self.ada.context.store, self.ada.connection, message_id, ACCEPTED, 5))
        self.assertEqual([(each.account, each.code) for each in sent.missed], [("cleo", "identity-changed")])

    def test_held(self) -> None:
        """What was written before somebody joined waits; that is no matter of time, and it is said what to do."""
        message_id = self.hold()
        problem = self.refused(follow(self.ben.context.store, self.ben.connection, message_id, ACCEPTED, 600), 1)
        self.assertEqual((problem.code, problem.status), ("room-changed", Exit.REFUSED))
        self.assertIn("securemsg room release '#team'", problem.hint)
        self.assertEqual((self.texts(self.ada), self.texts(self.cleo)), ([], []))

    def test_released(self) -> None:
        """Released it goes to all, to the place that it had; what is written after it does not wait for it."""
        message_id = self.hold()
        later = self.write(self.ben, "to all")
        self.do(follow(self.ben.context.store, self.ben.connection, later, ACCEPTED, 5))
        self.assertEqual(self.do(self.rooms(self.ben).release(TEAM, drop=False)), 1)
        self.do(follow(self.ben.context.store, self.ben.connection, message_id, ACCEPTED, 5), 0)
        self.assertEqual(self.texts(self.cleo), ["to two", "to all"])
        self.hang_up(self.ben)
        self.write(self.ben, "written offline")
        self.assertEqual(self.do(self.rooms(self.ben).release(TEAM, drop=True)), 0)

    def test_released_offline(self) -> None:
        """What was let go waits for the connection, and for the user no longer."""
        message_id = self.hold()
        self.hang_up(self.ben)
        self.assertEqual([messages.let_go(self.ben.context.store, TEAM) for _ in range(2)], [1, 0])
        sent = messages.sent(self.ben.context.store, message_id)
        assert sent is not None
        self.assertEqual((sent.status, sent.code), ("queued", ""))

    def test_dropped(self) -> None:
        """Or it is withdrawn, and nobody gets it."""
        message_id = self.hold()
        self.assertEqual(self.do(self.rooms(self.ben).release(TEAM, drop=True)), 1)
        self.place.settle(3)
        sent = messages.sent(self.ben.context.store, message_id)
        assert sent is not None
        self.assertEqual((sent.status, self.texts(self.ada)), ("withdrawn", []))

    def test_to_newcomers(self) -> None:
        """Or it was said beforehand that it may go to them."""
        self.hang_up(self.ben)
        self.add(self.cleo)
        self.write(self.ben, "to whoever is there", to_newcomers=True)
        self.ben.connection = self.place.beside(self.ben)
        self.ben.connection.start()
        self.place.settle(3)
        self.assertEqual(self.texts(self.cleo), ["to whoever is there"])

    def test_forked(self) -> None:
        """In a room that is forked a message waits for the user, who is told so; so do those behind it."""
        self.put(self.ben, state=RoomState.FORKED)
        first, second = self.write(self.ben, "one"), self.write(self.ben, "two")
        for message_id in (first, second):
            problem = self.refused(follow(self.ben.context.store, self.ben.connection, message_id, ACCEPTED, 600), 2)
            self.assertEqual(problem.code, "room-forked")
            self.assertIn("securemsg room follow '#team'", problem.hint)

    def answering(self, person: Person, in_rooms: bool) -> Autoresponder:
        """A machine that answers everything."""
        source = Immediate(lambda question: f"you said {question.text}")
        return Autoresponder(
            person.context.store, source, self.place.now, person.connection.nudge, leaves_others=True, in_rooms=in_rooms
        )

    def test_machine(self) -> None:
        """A machine answers in rooms only where it is told to, to all members; nothing answers its answer."""
        self.write(self.ada, "hello")
        self.place.settle(2)
        self.answering(self.ben, in_rooms=False).run()
        self.assertEqual(self.texts(self.ben), ["hello"])
        self.answering(self.ben, in_rooms=True).run()
        self.place.settle(2)
        [answer] = [message for message in messages.unread(self.ada.context.store, TEAM) if message.event is None]
        self.assertEqual((answer.text, answer.kind, answer.sender, answer.room), ("you said hello", Kind.ANSWER, "ben", TEAM))
        self.answering(self.ada, in_rooms=True).run()
        self.place.settle(2)
        self.assertEqual((self.texts(self.ada), self.texts(self.ben)), (["you said hello"], []))

    def test_reader(self) -> None:
        """A program reads what is said in rooms only where it asks for that, or for one room."""
        self.write(self.ada, "in the room")
        messages.compose(self.ada.context.store, "ben", "to you", now=self.place.now())
        self.place.settle(2)
        store_of_ben = self.ben.context.store

        def read(sender: str | None, in_rooms: bool) -> list[str]:
            locks = ReadLocks(self.ben.context.folder, store_of_ben)
            reader = MessageReader(store_of_ben, self.ben.connection, locks, sender, in_rooms)
            found = []
            while True:
                waiting = Deferred.fromCoroutine(reader.__anext__())
                if not waiting.called:
                    waiting.addErrback(lambda failure: None)
                    waiting.cancel()
                    break
                message = self.successResultOf(waiting)
                found += [message.text] if message.event is None and message.invite is None else []
            reader.end()
            locks.close()
            return found

        self.assertEqual(read(TEAM, True), ["in the room"])
        self.assertEqual(read(None, False), ["to you"])
        self.write(self.ada, "again")
        self.place.settle(2)
        self.assertEqual(read(None, False), [])
        self.assertEqual(read(None, True), ["again"])

    def test_no_receipts(self) -> None:
        """Nobody confirms anything there."""
        refused = self.assertRaises(
            SecuremsgError, commit, self.ada.context.store, TEAM, "x", DELIVERED, now=0.0, message_id=None, expiry=86400
        )
        self.assertEqual((refused.code, refused.status), ("no-receipts", Exit.USAGE))

    def test_out(self) -> None:
        """Who is out writes nothing there."""
        self.do(self.rooms(self.ada).change(TEAM, ChangeKind.REMOVE, who="ben"))
        self.assertEqual(self.assertRaises(SecuremsgError, self.write, self.ben, "x").code, "not-in-room")
