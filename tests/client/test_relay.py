"""The lobby: what one member says, each of the others hears, once and in order."""

from __future__ import annotations

from functools import partial

import msgspec
import pytest
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client import lobby, messages
from securemsg.client.autoresponder import MAX_RELAYED, Autoresponder, Immediate
from securemsg.client.relay import (
    MAX_COPIES,
    MAX_LINES,
    MAX_RATES,
    MEMBERS,
    MINUTE,
    OWN_PART,
    Member,
    Rates,
    Roster,
    copy_id,
)
from securemsg.client.state.contacts import Contact as ContactRow
from securemsg.client.state.contacts import get_contact, put_contact
from securemsg.client.state.conversations import direct
from securemsg.client.state.conversations import lobby as lobby_with
from securemsg.client.state.lobby import Presence
from securemsg.client.state.profile import DAY
from securemsg.client.state.records import HISTORY, META, SEEN, save, seen_message
from securemsg.client.state.retention import Retention
from securemsg.crypto.keys import sha256
from securemsg.errors import Refusal
from securemsg.protocol import envelope as e
from securemsg.protocol.devices import LOBBY_NAME
from securemsg.protocol.envelope import MAX_LOBBY_MEMBERS, MAX_LOBBY_TEXT, Kind, encode_record
from securemsg.protocol.messages import MAX_TEXT, Accepted, Deposit, Welcome
from securemsg.protocol.states import Side
from securemsg.server.limits import Settings
from tests.client.lobby import LobbyCase
from tests.client.rig import Fate, MortalProfile, User, decoded, outbox_rows
from tests.client.sessions.test_resets import Loss
from tests.client.test_malice import replacing


class TalkTests(LobbyCase):
    """Three talk, and one is away at times."""

    def test_everybody(self) -> None:
        """A line comes to everybody else, with who said it, when, and its message id; its author is told that it did."""
        self.enter(self.alice, self.bob, self.carol)
        number = self.say(self.alice, "hello")
        for user in (self.bob, self.carol):
            line = messages.unread(user.store, LOBBY_NAME)[-1]
            self.assertEqual((line.sender, line.text, line.id, line.room), ("alice", "hello", number, LOBBY_NAME))
            self.assertEqual((line.kind, line.verified, line.to), (Kind.TEXT, False, user.name))
        self.assertEqual(self.heard(self.alice), [("bob", "bob entered"), ("carol", "carol entered")])
        sent = self.alice.sent(number)
        self.assertEqual((sent.status, sent.to, sent.delivered_at), ("delivered", LOBBY_NAME, int(self.world.clock)))
        self.assertEqual(messages.history(self.alice.store, LOBBY_NAME)[-1], sent)

    def test_not_yet(self) -> None:
        """Until the contact has relayed a line, it is no more than accepted; whether somebody else is there or not."""
        self.enter(self.alice)
        self.contact.is_held = True
        number = self.say(self.alice, "hello?")
        self.assertEqual(self.alice.sent(number).status, "accepted")
        self.contact.is_held = False
        self.contact.answer()
        self.world.settle()
        self.assertEqual(self.alice.sent(number).status, "delivered")

    def test_away(self) -> None:
        """Who is away gets all of it later, in the order of each sender."""
        self.enter(self.alice, self.bob, self.carol)
        self.carol.disconnect()
        for number in range(5):
            self.say(self.alice, f"a{number}")
            self.say(self.bob, f"b{number}")
        self.carol.connect()
        heard = self.heard(self.carol)
        for name, letter in (("alice", "a"), ("bob", "b")):
            self.assertEqual([text for sender, text in heard if sender == name], [f"{letter}{number}" for number in range(5)])
        self.assertEqual({message.gap_before for message in messages.unread(self.carol.store)}, {0})

    def test_entering(self) -> None:
        """Whoever enters is let in without more, is told who is there, and hears nothing of what was said before."""
        self.enter(self.alice)
        self.say(self.alice, "to nobody")
        self.enter(self.bob)
        self.assertEqual(self.heard(self.bob), [])
        self.assertEqual(self.heard(self.alice), [("bob", "bob entered")])
        for user in (self.alice, self.bob):
            self.assertEqual((self.state(user).presence, self.state(user).members), (Presence.IN, ("alice", "bob")))

    def test_entering_again(self) -> None:
        """To enter twice is to enter once; after an hour the contact is asked again, and nobody else hears of it."""
        self.enter(self.alice, self.bob)
        before = len(self.heard(self.alice))
        self.assertFalse(lobby.enter(self.bob.store, self.world.clock))
        self.world.clock += lobby.ASK_AGE
        self.assertTrue(lobby.enter(self.bob.store, self.world.clock))
        self.bob.pump()
        self.assertEqual(self.state(self.bob).presence, Presence.IN)
        self.assertEqual(len(self.heard(self.alice)), before)

    def test_refreshed(self) -> None:
        """Whoever asks who is there is not known to be in until that is answered, asks once, and nobody else hears of it."""
        self.enter(self.alice, self.bob)
        before = self.heard(self.alice)
        self.contact.is_held = True
        self.assertTrue(lobby.refresh(self.bob.store, self.world.clock))
        self.assertFalse(lobby.refresh(self.bob.store, self.world.clock))
        self.assertFalse(lobby.enter(self.bob.store, self.world.clock))
        self.bob.pump()
        self.assertEqual(self.state(self.bob).presence, Presence.ENTERING)
        self.contact.is_held = False
        self.contact.answer()
        self.world.settle()
        self.assertEqual((self.state(self.bob).presence, self.state(self.bob).members), (Presence.IN, ("alice", "bob")))
        self.assertEqual(self.heard(self.alice), before)

    def test_not_refreshed(self) -> None:
        """Whoever has left does not come in again by asking."""
        self.enter(self.alice)
        lobby.leave(self.alice.store, self.world.clock)
        self.alice.pump()
        self.assertFalse(lobby.refresh(self.alice.store, self.world.clock))
        self.assertEqual((self.state(self.alice).presence, outbox_rows(self.alice.store)), (Presence.OUT, 0))

    def test_text_enters(self) -> None:
        """A text lets its author in."""
        self.enter(self.alice)
        self.say(self.bob, "here I am")
        self.assertEqual(self.heard(self.alice), [("bob", "bob entered"), ("bob", "here I am")])

    def test_leaving(self) -> None:
        """Whoever leaves hears nothing more; the others are told."""
        self.enter(self.alice, self.bob)
        self.assertIsNotNone(lobby.leave(self.bob.store, self.world.clock))
        self.bob.pump()
        self.say(self.alice, "are you gone?")
        self.assertEqual(self.heard(self.bob), [])
        self.assertEqual(self.heard(self.alice)[-1], ("bob", "bob left"))
        self.assertEqual(self.state(self.alice).members, ("alice",))
        self.assertEqual(self.state(self.bob).presence, Presence.OUT)
        self.assertIsNone(lobby.leave(self.bob.store, self.world.clock))

    def test_left_meanwhile(self) -> None:
        """A list that answers an entering from before one left lets nobody back in."""
        self.bob.disconnect()
        lobby.enter(self.bob.store, self.world.clock)
        lobby.leave(self.bob.store, self.world.clock)
        self.bob.connect()
        self.assertEqual(self.state(self.bob).presence, Presence.OUT)

    def test_apart(self) -> None:
        """The lobby and the talk with C{server} are two conversations: counters, history and what is unread are apart."""
        self.enter(self.alice, self.bob)
        self.alice.send("server", "a question")
        self.say(self.bob, "a line")
        self.assertEqual(self.alice.texts("server"), ["re: a question"])
        self.assertEqual(messages.unread_counts(self.alice.store), {"server": 1, LOBBY_NAME: 1})
        self.assertEqual([line.text for line in messages.unread(self.alice.store, "server")], ["re: a question"])

    def test_recorded(self) -> None:
        """The operator's record has what is said there, who comes and who goes, and each once."""
        self.enter(self.alice)
        self.say(self.alice, "for the record")
        shown = [(line.room, line.sender, line.kind, line.text) for line in self.contact.shown]
        self.assertEqual(
            shown,
            [(LOBBY_NAME, "alice", Kind.ENTER, ""), (LOBBY_NAME, "alice", Kind.TEXT, "for the record")],
        )

    def test_not_answered(self) -> None:
        """The machine that answers questions to C{server} is not asked about what is said in the lobby."""
        self.enter(self.alice, self.bob)
        self.say(self.alice, "a question?")
        self.assertEqual(self.alice.texts("server") + self.bob.texts("server"), [])

    def test_machines(self) -> None:
        """A machine in the lobby answers once, for all to hear; another machine never answers that."""
        self.enter(self.alice, self.bob, self.carol)
        source = Immediate(lambda question: "beep")
        machines = [(user, Autoresponder(user.store, source, self.world.now)) for user in (self.bob, self.carol)]
        self.say(self.alice, "hello?")
        for _ in range(3):
            for user, machine in machines:
                machine.run()
                user.pump()
        self.assertEqual([pair for pair in self.heard(self.alice) if pair[1] == "beep"], [("bob", "beep"), ("carol", "beep")])
        own = [line.status for line in messages.history(self.bob.store, LOBBY_NAME) if isinstance(line, messages.Sent)]
        self.assertEqual(own, ["accepted", "delivered"])
        answers = [line for line in messages.unread(self.alice.store, LOBBY_NAME) if line.text == "beep"]
        self.assertEqual({line.kind for line in answers}, {Kind.ANSWER})
        self.assertEqual([pair for pair in self.heard(self.bob) if pair[1] == "beep"], [("carol", "beep")])

    def test_long_answer(self) -> None:
        """A machine's answer is cut so that it can be relayed."""
        self.enter(self.alice, self.bob)
        self.say(self.alice, "hello?")
        Autoresponder(self.bob.store, Immediate(lambda question: "x" * MAX_TEXT), self.world.now).run()
        self.bob.pump()
        self.assertEqual(len(self.heard(self.alice)[-1][1]), MAX_LOBBY_TEXT)

    def test_machine_outside(self) -> None:
        """An answer does not let its machine back in: the line was heard before it left."""
        self.enter(self.alice, self.bob)
        self.say(self.alice, "hello?")
        lobby.leave(self.bob.store, self.world.clock)
        machine = Autoresponder(self.bob.store, Immediate(lambda question: "beep"), self.world.now)
        machine.run()
        self.bob.pump()
        self.assertNotIn(("bob", "beep"), self.heard(self.alice))
        self.assertEqual(self.state(self.alice).members, ("alice",))

    def test_longest(self) -> None:
        """The longest text comes whole, whatever its author is called; a longer one is not sent."""
        self.enter(self.alice)
        long = self.world.user("x" * 32)
        self.say(long, "y" * MAX_LOBBY_TEXT)
        self.assertEqual(len(self.heard(self.alice)[-1][1]), MAX_LOBBY_TEXT)
        refusal = self.assertRaises(Refusal, self.say, long, "y" * (MAX_LOBBY_TEXT + 1))
        self.assertEqual(refusal.code, "lobby-too-large")

    def test_too_long_from_another_client(self) -> None:
        """Nor is it relayed when another client sends it."""
        self.enter(self.alice, self.bob)
        with self.bob.store.writing() as records:
            messages.write_in(records, lobby_with("server"), bytes(MAX_TEXT), now=int(self.world.clock))
        self.bob.pump()
        self.assertEqual(self.heard(self.alice), [("bob", "bob entered")])
        self.assertEqual(self.heard(self.bob), [("server", "your message was not relayed [lobby-too-large]")])

    def test_not_utf8(self) -> None:
        """Bytes that are no text do not grow on their way."""
        self.enter(self.alice, self.bob)
        with self.bob.store.writing() as records:
            messages.write_in(records, lobby_with("server"), b"\xff" * MAX_LOBBY_TEXT, now=int(self.world.clock))
        self.bob.pump()
        self.assertEqual(self.heard(self.alice)[-1], ("bob", "\ufffd" * MAX_LOBBY_TEXT))

    def test_a_gap(self) -> None:
        """What the server has dropped of the lobby is missed, asked for, and comes: late, and where it belongs."""
        self.enter(self.alice, self.bob)
        Loss(self.alice).lose(0)
        self.say(self.bob, "lost")
        self.say(self.bob, "found")
        self.assertEqual(messages.unread(self.alice.store, LOBBY_NAME)[-1].gap_before, 1)
        self.world.advance(180, ticks=6)
        self.assertEqual(self.heard(self.alice)[-2:], [("bob", "lost"), ("bob", "found")])

    def test_lost_by_the_server(self) -> None:
        """What a server that was put back has lost of the lobby is sent again, and heard once; what was relayed is not lost."""
        self.enter(self.alice, self.bob)
        self.say(self.alice, "before")
        self.contact.is_held = True
        self.contact.user.disconnect()
        number = self.say(self.alice, "once")
        self.contact.user.connect()
        wire = self.alice.connect(settle=False)
        wire.to_client = replacing(Welcome, lambda welcome: msgspec.structs.replace(welcome, highest=1))
        self.world.settle()
        self.world.advance(1)
        self.assertEqual(len(decoded(wire, Side.CLIENT, Deposit)), 1)
        self.assertEqual(self.alice.sent(number).status, "accepted")
        self.contact.is_held = False
        self.contact.answer()
        self.world.settle()
        self.assertEqual(self.alice.sent(number).status, "delivered")
        self.assertEqual([text for _, text in self.heard(self.bob)], ["before", "once"])


class TakenTests(LobbyCase):
    """What was done once."""

    def test_once(self) -> None:
        """A message that was done with is not relayed again."""
        self.enter(self.alice, self.bob)
        self.contact.is_held = True
        self.say(self.bob, "hello")
        store = self.contact.user.store
        [message] = messages.unread(store)
        self.assertTrue(self.contact.relay.handle(store, message))
        self.assertFalse(self.contact.relay.handle(store, message))

    def test_put_back(self) -> None:
        """
        Where the contact's profile is put back to before it relayed a line, it relays it again, and all have it once, also the
        author the confirmation.
        """
        self.enter(self.alice, self.bob)
        contact = self.contact.user
        self.contact.is_held = True
        number = self.say(self.alice, "once")
        backup = contact.backup()
        self.contact.is_held = False
        self.contact.answer()
        self.world.settle()
        self.assertEqual(self.heard(self.bob), [("alice", "once")])
        contact.die()
        contact.store = MortalProfile(backup)
        contact.connect()
        self.world.advance(120, ticks=4)
        self.assertEqual(messages.unread_counts(contact.store), {})
        self.assertEqual(self.heard(self.bob), [("alice", "once")])
        self.assertEqual((self.alice.sent(number).status, len(self.alice.sent(number).devices)), ("delivered", 1))
        with self.alice.store.reading() as records:
            self.assertIsNotNone(records.get(SEEN, seen_message("server", copy_id("alice", number, "alice"))))

    def test_confirmation_lost(self) -> None:
        """A confirmation that the server has dropped is missed, asked for, and comes."""
        self.enter(self.alice, self.bob)
        Loss(self.alice).lose(0)
        number = self.say(self.alice, "hello")
        self.assertEqual(self.alice.sent(number).status, "accepted")
        self.say(self.bob, "and?")
        self.world.advance(180, ticks=6)
        self.assertEqual(self.alice.sent(number).status, "delivered")


class ClosedTests(LobbyCase):
    """A daemon without a lobby."""

    is_open = False

    def test_refused(self) -> None:
        """Whoever enters or says something is told that there is none."""
        self.enter(self.alice)
        self.assertEqual((self.state(self.alice).presence, self.state(self.alice).code), (Presence.REFUSED, "no-lobby"))
        number = self.say(self.alice, "hello?")
        self.assertEqual((self.alice.sent(number).status, self.alice.sent(number).code), ("failed", "no-lobby"))
        self.assertEqual(self.heard(self.alice), [("server", "your message was not relayed [no-lobby]")])


class BoundTests(LobbyCase):
    """Nobody can use the lobby up."""

    def test_members(self) -> None:
        """A full lobby lets nobody in, and says so; nothing of whoever stays outside is relayed."""
        bob = self._contact()
        crowd = tuple(Member(f"member{number}", bytes(32)) for number in range(MAX_LOBBY_MEMBERS))
        with self.contact.user.store.writing() as records:
            save(records, META, MEMBERS, Roster(crowd))
            for member in crowd:
                put_contact(records, msgspec.structs.replace(bob, name=member.name, identity=member.identity))
        self.enter(self.alice)
        self.assertEqual((self.state(self.alice).presence, self.state(self.alice).code), (Presence.REFUSED, "lobby-full"))
        number = self.say(self.alice, "let me in")
        self.assertEqual(self.alice.sent(number).code, "lobby-full")
        with self.contact.user.store.reading() as records:
            self.assertEqual(records.count(HISTORY, lobby_with(crowd[0].name).bucket), 0)

    def _contact(self) -> ContactRow:
        self.enter(self.bob)
        with self.contact.user.store.reading() as records:
            found = get_contact(records, "bob")
        assert found is not None, "he has written"
        return found

    def test_lines(self) -> None:
        """Of a flood so many lines a minute are relayed; its author is told of each of the others, which may be sent again."""
        self.enter(self.alice, self.bob)
        self.world.clock += MINUTE
        numbers = [self.say(self.bob, f"{number}") for number in range(MAX_LINES + 2)]
        relayed = [text for sender, text in self.heard(self.alice) if sender == "bob"][1:]
        self.assertEqual(relayed, [f"{number}" for number in range(MAX_LINES)])
        self.assertEqual([self.bob.sent(number).code for number in numbers[-3:]], ["", "lobby-busy", "lobby-busy"])
        self.assertEqual(self.state(self.bob).presence, Presence.IN)
        self.world.clock += MINUTE
        self.assertEqual(self.say(self.bob, f"{MAX_LINES}", message_id=numbers[MAX_LINES]), numbers[MAX_LINES])
        self.assertEqual(self.heard(self.alice)[-1], ("bob", f"{MAX_LINES}"))
        self.assertEqual([self.bob.sent(number).status for number in numbers[-3:]], ["delivered", "delivered", "failed"])

    def test_refused_again(self) -> None:
        """What is refused twice is said twice."""
        self.enter(self.alice, self.bob)
        for number in range(MAX_LINES):
            self.say(self.bob, f"{number}")
        for _ in range(2):
            number_of = self.say(self.bob, "again", message_id=bytes(16))
            self.assertEqual(self.bob.sent(number_of).code, "lobby-busy")

    def test_refused_before_accepted(self) -> None:
        """A refusal that comes before the server's answer is not undone by that."""
        self.enter(self.alice, self.bob)
        for number in range(MAX_LINES):
            self.say(self.bob, f"{number}")
        assert self.bob.wire is not None, "connected"
        self.bob.wire.to_client = replacing(Accepted, lambda message: None)
        refused = self.say(self.bob, "too much")
        self.assertEqual(self.bob.sent(refused).code, "lobby-busy")
        self.bob.connect()
        sent = self.bob.sent(refused)
        self.assertEqual((sent.status, sent.code, sent.accepted_at), ("failed", "lobby-busy", int(self.world.clock)))
        self.assertEqual(outbox_rows(self.bob.store), 0)

    def test_others_not_held_up(self) -> None:
        """A flood of one takes nothing from the others."""
        self.enter(self.alice, self.bob, self.carol)
        for number in range(MAX_LINES + 1):
            self.say(self.bob, f"{number}")
        self.say(self.carol, "still here")
        self.assertEqual(self.heard(self.alice)[-1], ("carol", "still here"))

    def test_in_one_go(self) -> None:
        """Of many lines that came at once some are relayed, and the rest after whatever else waits."""
        self.enter(self.alice, self.bob)
        self.contact.is_held = True
        for number in range(MAX_RELAYED + 1):
            self.say(self.bob, f"{number}")
        self.contact.is_held = False
        self.contact.answer()
        self.world.settle()
        self.assertEqual(max(self.contact.turns), MAX_RELAYED)
        self.assertEqual([text for _, text in self.heard(self.alice)][1:], [f"{number}" for number in range(MAX_RELAYED + 1)])

    def test_history(self) -> None:
        """The contact keeps no more of the lobby than of anything else."""
        self.contact.retention = Retention(rows=5)
        self.contact._process = None
        self.enter(self.alice, self.bob)
        for number in range(12):
            self.say(self.alice, f"{number}")
        with self.contact.user.store.reading() as records:
            for name in ("alice", "bob"):
                self.assertLessEqual(records.count(HISTORY, lobby_with(name).bucket), 6)
        self.assertEqual(len([pair for pair in self.heard(self.bob) if pair[0] == "alice"]), 12)

    def test_rates(self) -> None:
        """The table of rates is bounded: what is full again makes room, and where nothing is, the next one waits."""
        now = 0.0
        rates = Rates(lambda: now)
        number = 0
        while rates.has_room(f"{number}", 0) and number < MAX_RATES:
            rates.spend(f"{number}", 1)
            number += 1
        self.assertLess(number, MAX_RATES)
        self.assertTrue(rates.has_room("0", 0))
        now = DAY
        self.assertTrue(rates.has_room("one more", 0))

    def room(self, period: int, names: list[str], copies: int) -> int:
        """How many lines with so many copies may be said within a period, by these in turn."""
        now = 0.0
        rates, said = Rates(lambda: now), 0
        for said in range(10**6):
            name = names[said % len(names)]
            if not rates.has_room(name, copies):
                break
            rates.spend(name, copies)
            # For the longer one the shorter is never used up.
            now += MINUTE if period == DAY else 0
        return said

    def test_own_copies(self) -> None:
        """Where many listen, one account makes a tenth of all copies: a few do not keep the others from speaking."""
        self.assertEqual(self.room(MINUTE, ["bob"], 100), MAX_COPIES[MINUTE] * OWN_PART / 100)

    def test_copies(self) -> None:
        """All together make so many copies a minute."""
        self.assertEqual(self.room(MINUTE, [f"{number}" for number in range(50)], 100), MAX_COPIES[MINUTE] / 100)

    def test_copies_of_a_day(self) -> None:
        """And so many a day, which is less than the server takes from C{server}, so that it goes on answering."""
        said = self.room(DAY, [f"{number}" for number in range(200)], 1000)
        self.assertLess(abs(said * 1000 - MAX_COPIES[DAY] * (1 + said * MINUTE / DAY)), 2000)
        self.assertLess(2 * MAX_COPIES[DAY], DAY / Settings().deposits.seconds + Settings().deposits.burst)


class GoneTests(LobbyCase):
    """Who is gone is not written to for ever."""

    def test_removed(self) -> None:
        """An account that was removed is put out with the first line that cannot reach it, and the others are told."""
        self.enter(self.alice, self.bob, self.carol)
        self.world.store.remove_account("carol")
        self.world.restart_server()
        for user in (self.contact.user, self.alice, self.bob):
            user.connect()
        self.say(self.alice, "one")
        self.say(self.alice, "two")
        self.assertEqual(self.heard(self.bob)[-3:], [("alice", "one"), ("carol", "carol left"), ("alice", "two")])
        self.assertEqual(self.state(self.bob).members, ("alice", "bob"))

    def test_same_name(self) -> None:
        """Whoever takes over the name of a member is not in the lobby."""
        self.enter(self.alice, self.bob)
        with self.contact.user.store.writing() as records:
            known = get_contact(records, "bob")
            assert known is not None, "he has written"
            put_contact(records, msgspec.structs.replace(known, identity=bytes(32)))
        self.say(self.alice, "a secret of ours")
        self.assertEqual(self.state(self.alice).members, ("alice",))
        self.assertEqual(outbox_rows(self.contact.user.store), 0)


    def test_claimed(self) -> None:
        """Nor is a member of whom somebody else claims the name: nothing would reach it."""
        self.enter(self.alice, self.bob)
        with self.contact.user.store.writing() as records:
            known = get_contact(records, "bob")
            assert known is not None, "he has written"
            put_contact(records, msgspec.structs.replace(known, changed_to=bytes(32)))
        self.say(self.alice, "a secret of ours")
        self.assertEqual(self.state(self.alice).members, ("alice",))
        self.assertEqual(outbox_rows(self.contact.user.store), 0)


class LieTests(LobbyCase):
    """Members and strangers that say what they may not."""

    def inject(self, user: User, to: str, kind: Kind, body: bytes, *, in_lobby: bool = True) -> None:
        """Write something that no honest client writes."""
        conversation = lobby_with(to) if in_lobby else direct(to)
        with user.store.writing() as records:
            messages.write_in(records, conversation, body, now=int(self.world.clock), kind=kind)
        user.pump()

    def test_author(self) -> None:
        """A member cannot say something as another: the name is that of the account whose session brought it."""
        self.enter(self.alice, self.bob, self.carol)
        forged = encode_record(e.RelayedLine("alice", bytes(16), 1, Kind.TEXT, b"I owe bob 100"))
        self.inject(self.bob, "server", Kind.RELAYED, forged)
        self.assertEqual(messages.quarantined(self.contact.user.store), (1, 0))
        self.assertNotIn("alice", [sender for sender, _ in self.heard(self.carol)])

    def test_events(self) -> None:
        """Nor can it have others told that somebody came or went."""
        self.enter(self.alice, self.bob)
        self.inject(self.bob, "server", Kind.LEFT, encode_record(e.Person("alice")))
        self.assertEqual(self.state(self.alice).members, ("alice", "bob"))
        self.assertEqual(messages.quarantined(self.contact.user.store), (1, 0))

    def test_from_a_contact(self) -> None:
        """Nobody but C{server} speaks for the lobby: between two other accounts there is none."""
        self.enter(self.alice, self.bob)
        before = self.heard(self.alice)
        forged = encode_record(e.RelayedLine("carol", bytes(16), 1, Kind.TEXT, b"hello"))
        self.inject(self.bob, "alice", Kind.RELAYED, forged, in_lobby=False)
        self.inject(self.bob, "alice", Kind.RELAYED, forged)
        self.inject(self.bob, "alice", Kind.TEXT, b"hello")
        number = self.alice.send("bob", "hello")
        self.inject(self.bob, "alice", *self.said_of(number)[0], in_lobby=False)
        self.assertEqual(self.alice.sent(number).status, "accepted")
        self.assertEqual(self.heard(self.alice), before)
        self.assertEqual(messages.quarantined(self.alice.store), (4, 0))

    def test_confirmed(self) -> None:
        """
        C{server} can say of a line in the lobby what became of it, and of no other: not of what was said to somebody, nor of a
        question to itself.
        """
        self.enter(self.alice, self.bob)
        for to in ("bob", "server"):
            number = self.alice.send(to, "not for the lobby")
            for kind, body in self.said_of(number):
                self.inject(self.contact.user, "alice", kind, body)
                self.assertEqual(self.alice.sent(number).status, "accepted", (to, kind))
        before = messages.history(self.alice.store, LOBBY_NAME)
        self.inject(self.contact.user, "alice", *self.said_of(bytes(16))[0])
        self.assertEqual(messages.history(self.alice.store, LOBBY_NAME), before)
        self.assertEqual(messages.quarantined(self.alice.store), (0, 0))

    def test_confirmed_again(self) -> None:
        """A line that was relayed stays so, whatever is said of it later."""
        self.enter(self.alice, self.bob)
        number = self.say(self.alice, "hello")
        before = self.alice.sent(number)
        self.world.clock += 5
        for kind, body in self.said_of(number):
            self.inject(self.contact.user, "alice", kind, body)
            self.assertEqual(self.alice.sent(number), before, kind)

    def said_of(self, number: bytes) -> list[tuple[Kind, bytes]]:
        """That a line was relayed, and that it was not."""
        return [
            (Kind.CONFIRMED, encode_record(e.ConfirmedLine(number))),
            (Kind.REFUSED, encode_record(e.RefusedLine("lobby-busy", number))),
        ]

    def test_bad_names(self) -> None:
        """What C{server} says of names that no account can have is not taken in."""
        self.enter(self.alice)
        for kind, body in (
            (Kind.RELAYED, e.RelayedLine("a\x1b[2J", bytes(16), 1, Kind.TEXT, b"hello")),
            (Kind.ENTERED, e.Person("")),
            (Kind.MEMBERS, e.Members("", ["alice", "B"])),
        ):
            self.inject(self.contact.user, "alice", kind, encode_record(body))
        self.assertEqual(messages.quarantined(self.alice.store), (3, 0))
        self.assertEqual(self.state(self.alice).members, ("alice",))

    def test_from_outside(self) -> None:
        """What somebody says who has not entered reaches nobody, but for a text, which enters."""
        self.enter(self.alice)
        self.inject(self.bob, "server", Kind.ANSWER, b"beep")
        self.inject(self.bob, "server", Kind(Kind.LEAVE), b"")
        self.assertEqual(self.heard(self.alice), [])
        self.assertEqual(self.state(self.alice).members, ("alice",))


def number_of(text: str) -> bytes:
    """The message id of a text that is said only once."""
    return sha256(text.encode())[:16]


class KilledTests(SynchronousTestCase):
    """The contact dies at each durable step."""

    @pytest.fixture(autouse=True)
    def _take_every(self, every: int) -> None:
        """At every how many moments somebody dies."""
        self.every = every

    def tell(self, deadline: int, loses: bool) -> int:
        """
        Two talk, and a third is away; the contact dies at this moment, from 1; 0: it lives.

        @return: how many moments there were.
        """
        case = LobbyCase()
        case.setUp()
        world, contact = case.world, case.contact.user
        case.enter(case.alice, case.bob, case.carol)
        case.carol.disconnect()
        world.settle()
        fate = contact.store.fate = Fate(deadline=deadline)
        world.loses_last_words = loses
        written = [(case.alice, "one"), (case.bob, "two"), (case.alice, "three")]
        for user, text in written:
            world.survive(partial(self.say, user, text))
        moments = fate.moments
        contact.store.fate = Fate()
        for user in (contact, case.carol):
            world.survive(partial(user.connect, settle=False))
        for _ in range(2):
            world.clock += 40
            for user in world.users.values():
                assert user.agent is not None, "all are there"
                user.agent.tick()
            world.settle()
        for reader in (case.alice, case.bob, case.carol):
            for author in (case.alice, case.bob):
                wanted = [text for user, text in written if user is author and user is not reader]
                heard = [text for name, text in case.heard(reader) if name == author.name and text.isalpha()]
                self.assertEqual(heard, wanted, (deadline, loses, reader.name))
            self.assertEqual({(line.gap_before, line.note) for line in messages.unread(reader.store)}, {(0, "")})
        self.assertEqual(outbox_rows(contact.store), 0)
        for user, text in written:
            self.assertEqual(user.sent(number_of(text)).status, "delivered", (deadline, loses, text))
        return moments

    def say(self, user: User, text: str) -> None:
        """Say something; if that is interrupted, the same again."""
        messages.compose(user.store, LOBBY_NAME, text, now=user.world.clock, message_id=number_of(text))
        if user.agent is not None:
            user.agent.pump()

    def test_every_moment(self) -> None:
        """Every line comes to everybody, once and in order, whenever the contact dies."""
        moments = self.tell(0, False)
        self.assertGreater(moments, 20)
        for deadline in range(1, moments + 1, self.every):
            self.tell(deadline, deadline % 2 == 0)
