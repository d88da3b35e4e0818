"""Rooms and their members as commands print them."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from typing import Any

from attrs import evolve
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from securemsg.account.rooms import MemberRow, command_for, members
from securemsg.cli import rooms
from securemsg.cli.commands.contacts import report_invitations
from securemsg.cli.context import CommandContext
from securemsg.cli.rendering import left_out_text, line_record, line_text, received_text
from securemsg.cli.rooms import member_text, show_members, show_rooms
from securemsg.cli.sending import Sending
from securemsg.cli.settings import Settings
from securemsg.client import messages
from securemsg.client.messages import Received
from securemsg.client.rooms import changes, events, joining, lists, steps, store
from securemsg.client.rooms.changes import ChangeKind, PendingChange
from securemsg.client.rooms.events import RoomEvent
from securemsg.client.rooms.store import Room, RoomState
from securemsg.client.state import disappearing
from securemsg.client.state.profile import load_profile
from securemsg.client.state.records import HISTORY, HistoryRow, LeftOut, Status, load_all, save
from securemsg.protocol.envelope import Kind
from securemsg.protocol.messages import ListMark
from securemsg.protocol.rooms import RoomInvite
from tests.cli.rig import PlaceCase

TEAM = "#team"


class PrintedCase(PlaceCase):
    """Ada is alone in a room."""

    def setUp(self) -> None:
        """Make the room, and let its first list count."""
        super().setUp()
        self.ada = self.place.person("ada", again=True)
        with self.ada.context.store.writing() as records:
            profile = load_profile(records)
            assert profile is not None
            steps.create(records, profile, "team", "The \x1b team", int(self.place.now()))
        self.ada.connection.nudge()
        self.place.settle(2)

    def change(self, **changes: Any) -> Room:
        """Change what Ada has of it."""
        with self.ada.context.store.writing() as records:
            room = replace(store.find_room(records, TEAM), **changes)
            store.put_room(records, room)
            return room

    def printed(self, call: Callable[[CommandContext], object], *, as_json: bool = False) -> str:
        """What is printed on both outputs."""
        context = evolve(self.ada.context, settings=Settings(as_json=as_json))
        said = io.StringIO()

        def write(record: dict[str, object], as_json: bool, text: str) -> None:
            said.write((json.dumps(record) if as_json else text) + "\n")

        self.patch(rooms, "write_record", write)
        with contextlib.redirect_stderr(said):
            call(context)
        return said.getvalue()

    def listed(self, as_json: bool = False) -> str:
        """What C{room list} prints."""
        with self.ada.context.store.reading() as records:
            known = store.all_rooms(records)
        return self.printed(lambda context: show_rooms(context, known), as_json=as_json)


class ListTests(PrintedCase):
    """C{room list}."""

    def test_states(self) -> None:
        """Each state is told, with what to do; nothing that others have written harms the terminal."""
        self.assertEqual(self.listed(), "#team                 The \\x1b team  1 member\n")
        for known, text in (
            ({"state": RoomState.OUT}, "not a member"),
            ({"state": RoomState.LEAVING}, "1 member, leaving"),
            ({"state": RoomState.ASKED}, "waiting for the server"),
            ({"state": RoomState.ASKED, "inviter": "ben"}, "waiting for ben to add you"),
            ({"state": RoomState.INVITED}, "ben invited you; join: securemsg room join '#team'"),
            ({"state": RoomState.FORKED}, "securemsg room follow '#team'"),
            ({"state": RoomState.BROKEN, "code": "room-list-missing"}, "nobody has the newest member list of #team"),
        ):
            self.change(**known)
            self.assertIn(text, self.listed())

    def test_keep(self) -> None:
        """So is for how long what is written there is kept."""
        with self.ada.context.store.writing() as records:
            disappearing.choose(records, store.find_room(records, TEAM).conversation, 86400)
        self.assertEqual(self.listed(), "#team                 The \\x1b team  1 member  keep 1d\n")
        self.assertEqual(json.loads(self.listed(as_json=True))["keep"], 86400)

    def test_pending(self) -> None:
        """What waits is listed; what has failed once."""
        room = self.change(state=RoomState.FORKED)
        with self.ada.context.store.writing() as records:
            waits = changes.add(records, room, PendingChange(ChangeKind.TITLE, text="x", is_ours=True))
            fails = changes.add(records, room, PendingChange(ChangeKind.REMOVE, "ben", is_ours=True))
            changes.end(records, fails, "not-admin")
        first = self.listed()
        self.assertIn("    waits: rename it\n    failed: remove ben [not-admin]\n", first)
        again = json.loads(self.listed(as_json=True).splitlines()[0])
        self.assertEqual(again["pending"], [{"change": "title", "name": "", "code": ""}])
        with self.ada.context.store.reading() as records:
            self.assertEqual([number for number, _ in changes.pending(records, room)], [waits])

    def test_invitations(self) -> None:
        """C{contacts} says which invitations wait."""
        self.change(state=RoomState.INVITED, inviter="ben")
        said = self.printed(report_invitations)
        self.assertEqual(said, "ben invites you to the room The \\x1b team; join: securemsg room join '#team'\n")


class MemberTests(PrintedCase):
    """C{room members}."""

    def test_members(self) -> None:
        """The digits, then a row for each member; a program gets both in each row."""
        room = self.change()
        with self.ada.context.store.reading() as records:
            newest = store.newest(records, room)
        assert newest is not None
        digits = lists.digits(newest.digest)
        head, row = self.printed(lambda context: show_members(context, room)).splitlines()
        self.assertEqual(head, f"#team  The \\x1b team  list 1: {digits}  suite pqxdh")
        self.assertEqual(row, "ada                   admin   you")
        found = json.loads(self.printed(lambda context: show_members(context, room), as_json=True))
        self.assertEqual((found["n"], found["digits"]), (1, digits.replace(" ", "")))
        self.assertEqual((found["name"], found["role"]), ("ada", "admin"))
        self.assertEqual(members(self.ada.context.store, room)[1], digits)

    def test_left_out(self) -> None:
        """Who is unverified, by whom, and who is left out, and why."""
        room = self.change()
        row = MemberRow("ben", is_admin=False, is_verified=False, vouched_by="cleo", left_out="too-many-devices")
        self.assertEqual(
            member_text(room, row, "ada"),
            "ben                   member  unverified, by cleo in #team  left out: the members have more than 100 devices",
        )
        self.assertEqual(left_out_text("ben", "mailbox-full"), "the mailbox of ben is full")


class LineTests(PrintedCase):
    """Lines of a room."""

    def test_missed(self) -> None:
        """Who does not get a message is named: with it in history, and when it is sent."""
        store_of_ada = self.ada.context.store
        message_id = messages.compose(store_of_ada, TEAM, "hello", now=self.place.now())
        self.ada.connection.nudge()
        self.place.settle(1)
        with store_of_ada.writing() as records:
            bucket = store.find_room(records, TEAM).conversation.bucket
            [(seq, row)] = [found for found in load_all(records, HistoryRow, HISTORY, bucket) if found[1].sent]
            save(records, HISTORY, bucket, replace(row, missed=(LeftOut("ben", "mailbox-full"),)), seq)
        line = messages.history(store_of_ada, TEAM)[-1]
        self.assertTrue(line_text(line, "ada").endswith("#team ada (accepted, not to ben): hello"), line_text(line, "ada"))
        self.assertEqual(line_record(line, "ada")["missed"], [{"name": "ben", "code": "mailbox-full"}])
        said = self.printed(lambda context: Sending(context, "accepted")._report(message_id))
        self.assertEqual(said, "securemsg: not sent to ben: the mailbox of ben is full [mailbox-full]\n")
        self.assertEqual(row.status, Status.ACCEPTED)

    def test_invite(self) -> None:
        """An invitation names the command that joins, by the id; where the title makes no name, with one to choose."""
        invite = RoomInvite(bytes(range(16)), "Our team!", ("ben", "cleo"), ListMark(1, bytes(32)), b"")
        said = Received(1, bytes(16), "ben", "ada", 0, 0, "", Kind.INVITE, False, "pqxdh", 0, "", invite=invite)
        text = "-- ben invites you to the room Our team! (ben, cleo); join: securemsg room join 00010203"
        self.assertTrue(received_text(said).endswith(text), received_text(said))
        self.assertEqual(line_record(said, "ada")["join"], "securemsg room join 00010203")
        self.assertEqual(command_for(bytes(range(16)), "???"), "securemsg room join 00010203 --as NAME")


class EventTests(SynchronousTestCase):
    """What happens in a room, in words."""

    def test_words(self) -> None:
        """Each decision has its own; we are C{you}."""
        for decision, author, names, is_admin, text in (
            ("created", "ada", (), False, "ada created this room"),
            ("joined", "ada", ("ben",), False, "ada added you"),
            ("added", "ada", ("cleo", "dan", "eva"), False, "ada added cleo, dan and eva"),
            ("removed", "ben", ("cleo",), False, "you removed cleo"),
            ("left", "ada", ("cleo",), False, "cleo has left"),
            ("left", "ada", ("ben",), False, "you have left"),
            ("role", "ada", ("cleo",), True, "cleo is an admin now"),
            ("role", "ada", ("ben",), False, "you are no longer an admin"),
            ("title", "ada", (), False, "ada renamed the room to Title"),
            ("link", "ada", (), True, "ada made a link to this room"),
            ("link", "ben", (), False, "you withdrew the link to this room"),
            ("fresh", "ada", (), False, "ada removed a device of their account"),
            ("fresh", "ben", (), False, "you removed a device of your account"),
        ):
            self.assertEqual(events.words(RoomEvent(decision, author, names, "Title", is_admin), "ben"), text)
        convicted = events.words(RoomEvent(events.TWO_LISTS, "ada", ("ada",), "Title"), "ben")
        self.assertTrue(convicted.startswith("ada signed two different member lists"), convicted)

    def test_link(self) -> None:
        """A link is one word that begins as it must, so that it is told from a name."""
        link = joining.RoomLink(bytes(16), bytes(32), "ada", bytes(32))
        text = joining.format_link(link)
        self.assertTrue(text.startswith(joining.LINK_PREFIX))
        self.assertEqual((len(text.split()), joining.parse_link(text)), (1, link))
