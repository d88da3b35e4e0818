"""A room of several members in a chat."""

from __future__ import annotations

import json
from collections.abc import Coroutine
from typing import Any

from attrs import evolve
from msgspec.structs import replace
from twisted.internet.defer import Deferred

from securemsg.account import rooms
from securemsg.account.errors import Exit, SecuremsgError
from securemsg.account.roomchanges import RoomChanges
from securemsg.cli.chat import slash
from securemsg.cli.chat.conversation import Chat, ChatOptions
from securemsg.cli.chat.ending import finish
from securemsg.cli.chat.screen import Screen
from securemsg.cli.chat.slash import InviteToRoom, Misunderstood, ReleaseHeld, RenameRoom, SwitchTo, complete, mentions
from securemsg.cli.rendering import screen_text
from securemsg.cli.settings import Settings
from securemsg.client import messages
from securemsg.client.rooms import store
from securemsg.client.rooms.changes import ChangeKind
from securemsg.client.rooms.store import RoomState
from securemsg.client.state import contacts
from securemsg.storage.memory import MemoryProfile
from tests.cli.chat.test_conversation import ChatCase
from tests.cli.rig import Person

TEAM = "#team"


class RoomChatCase(ChatCase):
    """Ada chats in a room that Ben is in, too; Cleo may join."""

    def setUp(self) -> None:
        """Make the room."""
        super().setUp()
        self.cleo = self.place.person("cleo", again=True)
        self.do(self.rooms(self.ada).create(TEAM, "Team"))
        self.add(self.ben)
        self.chat = self.talk(self.ada, TEAM)
        self.successResultOf(Deferred.fromCoroutine(self.chat.open()))

    def rooms(self, person: Person) -> RoomChanges:
        """The rooms of somebody."""
        return RoomChanges(person.context.store, person.connection, self.place.now, 20)

    def do(self, work: Coroutine[Any, Any, object]) -> None:
        """Do something, and let some time pass."""
        done = Deferred.fromCoroutine(work)
        self.place.settle(8)
        self.successResultOf(done)

    def add(self, person: Person) -> None:
        """Somebody is invited by Ada, and joins."""
        self.do(self.rooms(self.ada).invite(TEAM, [person.name]))
        self.do(self.rooms(person).join(TEAM, ""))

    def change(self, person: Person, **changes: Any) -> None:
        """Change what somebody has of the room."""
        with person.context.store.writing() as records:
            store.put_room(records, replace(store.find_room(records, TEAM), **changes))

    def verify(self, person: Person, name: str) -> None:
        """Somebody has verified a contact."""
        with person.context.store.writing() as records:
            known = contacts.get_contact(records, name)
            assert known is not None
            contacts.put_contact(records, replace(known, verified=True))


class LineTests(RoomChatCase):
    """Lines in, lines out."""

    def test_talk(self) -> None:
        """What is typed goes to all; what others say shows with who says it, and whether that is verified."""
        self.take("hello all")
        self.assertEqual([line.text for line in messages.unread(self.ben.context.store, TEAM)][-1:], ["hello all"])
        self.write(self.ben, TEAM, "hello ada")
        self.verify(self.ada, "ben")
        self.write(self.ben, TEAM, "verified now")
        self.show()
        self.assertTrue(self.data[-2].endswith("Z] #team ben (unverified): hello ada"), self.data)
        self.assertTrue(self.data[-1].endswith("Z] #team ben: verified now"), self.data)
        self.assertEqual(self.chat.unanswered.pending, 0)

    def test_mentions(self) -> None:
        """A line with our name after an C{@} is marked, and rings, once for what shows together."""
        rung: list[None] = []
        self.chat = Chat(
            self.ada.context, self.ada.connection, TEAM, write=self.write_data, notify=lambda text: self.put(self.notes, text),
            columns=lambda: 0, options=ChatOptions(bell=lambda: rung.append(None)),
        )  # fmt: skip
        self.verify(self.ada, "ben")
        self.write(self.ben, TEAM, "hi @ada!")
        self.write(self.ben, TEAM, "hi @adam")
        self.show()
        self.assertTrue(self.data[-2].endswith("#team ben (to you): hi @ada!"), self.data)
        self.assertTrue(self.data[-1].endswith("#team ben: hi @adam"), self.data)
        self.assertEqual(len(rung), 1)
        self.write(self.ben, TEAM, "nothing for you")
        self.show()
        self.assertEqual(len(rung), 1)

    def test_events(self) -> None:
        """Who comes and goes, and what is changed, shows in words."""
        self.chat = self.talk(self.ben, TEAM)
        self.show()
        self.data.clear()
        self.add(self.cleo)
        self.do(self.rooms(self.ada).change(TEAM, ChangeKind.TITLE, text="New\x1b"))
        self.do(self.rooms(self.ada).change(TEAM, ChangeKind.ADMIN, who="ben"))
        self.do(self.rooms(self.ada).link(TEAM, new=True))
        self.do(self.rooms(self.ada).change(TEAM, ChangeKind.LINK))
        self.do(self.rooms(self.cleo).leave(TEAM))
        self.do(self.rooms(self.ada).change(TEAM, ChangeKind.REMOVE, who="ben"))
        self.show()
        self.assertEqual([line.partition("-- ")[2] for line in self.data], [
            "ada added cleo", "ada renamed the room to New\\x1b", "you are an admin now", "ada made a link to this room",
            "ada withdrew the link to this room", "cleo has left", "ada removed you",
        ])  # fmt: skip
        self.assertEqual(self.notes[-1], "-- you are not in #team any more; an admin of the room can invite you again")

    def test_by_client(self) -> None:
        """What our own client has decided shows, too: who has joined, and who has left."""
        self.show()
        self.assertEqual(self.data[0].partition("-- ")[2], "you added ben")
        self.do(self.rooms(self.ben).leave(TEAM))
        self.show()
        self.assertEqual(self.data[-1].partition("-- ")[2], "ben has left")

    def test_json(self) -> None:
        """A program is told the room, the member, and what has happened."""
        self.write(self.ben, TEAM, "hello")
        self.ada.context = evolve(self.ada.context, settings=Settings(as_json=True))
        self.chat = self.talk(self.ada, TEAM)
        self.show()
        said = json.loads(self.data[-1])
        self.assertEqual((said["room"], said["from"], said["kind"], said["text"]), (TEAM, "ben", "text", "hello"))
        self.chat = self.talk(evolve(self.ben, context=evolve(self.ben.context, settings=Settings(as_json=True))), TEAM)
        self.data.clear()
        self.show()
        joined = next(row for row in map(json.loads, self.data) if row["kind"] == "room")
        self.assertEqual((joined["event"], joined["author"], joined["names"]), ("joined", "ada", ["ben"]))

    def test_unread(self) -> None:
        """What is said in other rooms counts for each of them; events do not."""
        self.take("/to cleo")
        self.write(self.ben, TEAM, "one")
        self.write(self.ben, TEAM, "two")
        self.add(self.cleo)
        self.assertIn("unread: #team 2", self.chat.toolbar())
        self.take("/who")
        self.assertRegex(self.data[-1], r"#team +Team  3 members  2 unread")
        self.take("/to '#team'")
        self.assertNotIn("unread:", self.chat.toolbar())
        self.assertEqual(self.chat.title(), "#team (3, 2 unverified)")


class CommandTests(RoomChatCase):
    """What is asked for."""

    def test_members(self) -> None:
        """Who is there, by which list."""
        self.take("/members")
        head, ada, ben = self.data[0].splitlines()
        self.assertRegex(head, r"^#team  Team  list 2: (\d{5} ){6} suite pqxdh$")
        self.assertEqual((ada.split(), ben.split()), (["ada", "admin", "you"], ["ben", "member", "unverified"]))

    def test_changes(self) -> None:
        """Others are invited, the title is changed, and it is said when that is done."""
        self.take("/invite cleo")
        self.take("/title The new   title")
        self.place.settle(3)
        self.assertEqual(self.notes[-2:], ["-- invited: cleo", "-- the title is now: The new title"])
        self.assertFalse(self.chat.is_changing)
        self.take("/invite nobody")
        self.place.settle(3)
        self.assertIn("no such account: nobody", self.notes[-1])
        self.take("/leave")
        self.place.settle(3)
        self.show()
        self.assertIn("-- you have left #team", self.notes)

    def test_not_admin(self) -> None:
        """What may not be done is said, with what to do."""
        self.chat = self.talk(self.ben, TEAM)
        self.take("/title Mine")
        self.assertIn("only admins of #team can do that; ask one of them", self.notes[-1])

    def test_elsewhere(self) -> None:
        """Elsewhere there is nothing to change."""
        self.take("/to ben")
        self.take("/title x")
        self.assertEqual(self.notes[-1], "-- ben is not a room; /to ROOM first")
        self.take("/to #lobby")
        self.take("/invite ben")
        self.assertEqual(self.notes[-1], "-- #lobby belongs to everybody")

    def test_switch(self) -> None:
        """To another room by its name or the digits of its id, and to none that is not there."""
        self.take("/to ben")
        self.take(f"/to #{rooms.find(self.ada.context.store, TEAM).id.hex()[:8]}")
        self.assertEqual(self.chat.name, TEAM)
        self.take("/to #attic")
        self.assertEqual(self.notes[-1], "-- no such room: #attic; list yours: securemsg room list")
        self.assertEqual(self.chat.name, TEAM)
        self.take("/verify")
        self.assertIn("has no number to compare", self.notes[-1])

    def test_awaited(self) -> None:
        """The end of the input waits for what was asked for."""
        self.chat = self.talk(self.ada, TEAM)
        self.successResultOf(Deferred.fromCoroutine(self.chat.enter("/title Last")))
        ending = Deferred.fromCoroutine(finish(self.ada.context, self.ada.connection, self.chat, self.place.clock, 30))
        self.assertNoResult(ending)
        self.place.settle(5)
        self.assertEqual(self.successResultOf(ending), Exit.DONE)
        self.assertEqual(rooms.find(self.ben.context.store, TEAM).title, "Last")

    def test_store_fails(self) -> None:
        """What the store raises in the background ends the chat."""
        inner = self.ada.context.store
        assert isinstance(inner, MemoryProfile)

        def fail() -> None:
            raise OSError("full")

        inner.before_commit = fail
        self.take("/title x")
        inner.before_commit = None
        shown = Deferred.fromCoroutine(self.chat.show_new())
        self.failureResultOf(shown, OSError)


class TroubleTests(RoomChatCase):
    """What needs the user."""

    def test_forked(self) -> None:
        """A fork is explained with the commands that help; so is its end."""
        self.change(self.ada, state=RoomState.FORKED)
        self.show()
        self.assertIn("securemsg room follow '#team'", self.notes[-1])
        self.assertIn("FORKED", self.chat.title())
        count = len(self.notes)
        self.show()
        self.assertEqual(len(self.notes), count)
        self.change(self.ada, state=RoomState.IN)
        self.show()
        self.assertEqual(self.notes[-1], "-- you are in #team")

    def test_broken(self) -> None:
        """A broken room is explained when it is opened, with who broke it; lines there are held up."""
        self.change(self.ada, state=RoomState.BROKEN, code="bad-room-list", culprit="ben")
        self.chat = self.talk(self.ada, TEAM)
        self.successResultOf(Deferred.fromCoroutine(self.chat.open()))
        self.assertIn("is broken, and nothing can be sent there (a member list of #team is not valid; sent by", self.notes[-1])
        self.assertIn("securemsg room renew '#team'", self.notes[-1])
        self.take("anybody?")
        ending = Deferred.fromCoroutine(finish(self.ada.context, self.ada.connection, self.chat, self.place.clock, 30))
        self.place.settle(3)
        problem = self.failureResultOf(ending, SecuremsgError).value
        self.assertEqual(problem.code, "room-broken")

    def test_held(self) -> None:
        """What waits because somebody has joined is said, and goes or is dropped when that is typed."""
        self.chat = self.talk(self.ben, TEAM)
        self.ben.connection.stop()
        self.place.settle(1)
        self.add(self.cleo)
        self.ben.connection = self.place.beside(self.ben)
        self.chat = self.talk(self.ben, TEAM)
        messages.compose(self.ben.context.store, TEAM, "an older one", now=self.place.now())
        self.take("to two")
        self.ben.connection.start()
        self.show()
        self.show()
        self.assertEqual([note for note in self.notes if "/release" in note], self.notes[-1:])
        self.take("/release")
        self.show()
        self.assertEqual(self.notes[-1], "-- what waited was sent")
        self.assertEqual([line.text for line in messages.unread(self.cleo.context.store, TEAM)][1:], ["an older one", "to two"])
        self.assertEqual(self.chat.unanswered.pending, 0)

    def test_not_joined(self) -> None:
        """Where we are not in it, opening it says why."""
        self.change(self.ada, state=RoomState.OUT)
        self.chat = self.talk(self.ada, TEAM)
        self.successResultOf(Deferred.fromCoroutine(self.chat.open()))
        self.assertEqual(self.notes[-1], "-- you are not in #team any more; an admin of the room can invite you again")
        self.take("hello?")
        self.assertEqual(self.notes[-1], "-- not sent: you are not in #team")


class WordTests(RoomChatCase):
    """What is typed."""

    def test_understood(self) -> None:
        """Commands of rooms and their mistakes."""
        self.assertEqual(slash.understand("/invite ben cleo ben"), InviteToRoom(("ben", "cleo")))
        self.assertEqual(slash.understand("/title a  b"), RenameRoom("a b"))
        self.assertEqual(slash.understand("/release"), ReleaseHeld(drop=False))
        self.assertEqual(slash.understand("/release drop"), ReleaseHeld(drop=True))
        self.assertEqual(slash.understand("/to '#team'"), SwitchTo("#team"))
        for line in ("/invite", "/invite #team", "/invite A", "/title", "/release all", "/to #", "/to #a b"):
            self.assertIsInstance(slash.understand(line), Misunderstood, line)

    def test_mentions(self) -> None:
        """A name counts as a word of its own, however it is written."""
        for text in ("@ada", "hi @Ada, hello", "(@ada)", "ask @ada.", "@ada..."):
            self.assertTrue(mentions(text, "ada"), text)
        for text in ("ada", "@adam", "x@ada", "@ada.b", "@ada-b", "@ada_", "@@", "@a.da"):
            self.assertFalse(mentions(text, "ada"), text)

    def test_completed(self) -> None:
        """Rooms after C{/to}; members after C{@}; accounts after C{/invite}."""
        names = self.chat.names()
        self.assertEqual(names[:2], ["#lobby", TEAM])
        self.assertEqual(complete("/to #", names), ["#lobby", TEAM])
        self.assertEqual(complete("hello @a", names), ["@ada"])
        self.assertEqual(complete("/invite ada be", names), ["ben"])
        self.assertEqual(complete("/inv", names), ["/invite"])


class JoinTests(RoomChatCase):
    """Cleo is invited while she chats with Ada."""

    def setUp(self) -> None:
        """Invite her."""
        super().setUp()
        self.do(self.rooms(self.ada).invite(TEAM, ["cleo"]))
        self.chat = self.talk(self.cleo, "ada")
        self.place.settle(4)

    def test_joined(self) -> None:
        """The line of the invitation says how, and then she is in."""
        [invited] = messages.unread(self.cleo.context.store)
        line = screen_text(Screen(lambda: (120, 24)), invited, "cleo", {})
        command = line.partition("join: ")[2].strip()
        self.assertEqual(command[:6], "/join ")
        self.take(command)
        self.place.settle(8)
        self.assertEqual(self.notes[-1], f"-- you are in {TEAM}; to talk there: /to {TEAM}")
        self.assertFalse(self.chat.is_changing)
        self.assertEqual(len(members_of(self.cleo, TEAM)), 3)

    def test_misused(self) -> None:
        """What is no invitation is explained."""
        for text in ("/join", "/join a b", "/join a --as"):
            self.take(text)
            self.assertIn("usage: /join", self.notes[-1])
        self.take("/join nothing")
        self.place.settle(8)
        self.assertIn("no such room: nothing", self.notes[-1])


def members_of(person: Person, name: str) -> list[str]:
    """Who is in a room, as somebody knows it."""
    return [row.name for row in rooms.members(person.context.store, rooms.find(person.context.store, name))[2]]
