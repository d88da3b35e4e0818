"""The lobby as its members use it: in a chat, and with the other commands."""

from __future__ import annotations

import contextlib
import io
import json

import msgspec
from attrs import evolve
from twisted.internet.defer import Deferred

from securemsg.account.compose import commit
from securemsg.account.errors import Exit, SecuremsgError, error_for
from securemsg.account.lobby import wait_until_in
from securemsg.account.readlocks import ReadLocks
from securemsg.account.timeouts import IdleTimeout, Timeout
from securemsg.account.tracking import ACCEPTED, DELIVERED, follow
from securemsg.cli.chat import slash
from securemsg.cli.chat.ending import finish
from securemsg.cli.chat.slash import LeaveRoom, Misunderstood, ShowMembers, SwitchTo
from securemsg.cli.commands.lobby import _refresh
from securemsg.cli.rendering import line_record, line_text
from securemsg.cli.settings import NAME, PEER, Settings
from securemsg.cli.suites import wanted
from securemsg.client import lobby, messages
from securemsg.client.autoresponder import Autoresponder, Immediate
from securemsg.client.messages import Sent
from securemsg.client.relay import MAX_LINES, Relay
from securemsg.client.sessions.pins import Chosen
from securemsg.client.state.conversations import lobby as lobby_with
from securemsg.client.state.lobby import Presence, load_lobby, save_lobby
from securemsg.client.state.records import HISTORY, HistoryRow, load_all
from securemsg.protocol.devices import LOBBY_NAME, SERVER_NAME
from securemsg.protocol.envelope import Kind
from tests.cli.chat.test_conversation import ChatCase
from tests.client.rig import outbox_rows


class LobbyChatCase(ChatCase):
    """Ada chats in the lobby; Ben may be there as well."""

    is_open = True

    def setUp(self) -> None:
        """Set up the contact."""
        super().setUp()
        self.server = self.place.person(SERVER_NAME, again=True)
        relay = Relay(self.is_open, self.place.now, self.place.clock.seconds)
        store = self.server.context.store
        self.contact = Autoresponder(
            store, Immediate(lambda question: None), self.place.now, self.server.connection.nudge, relay=relay.handle
        )
        self.chat = self.talk(self.ada, LOBBY_NAME)

    def open(self) -> None:
        """Open the lobby, as at the start of a chat."""
        self.successResultOf(Deferred.fromCoroutine(self.chat.open()))
        self.relay()

    def relay(self) -> None:
        """Let everything be relayed."""
        for _ in range(2):
            for person in (self.ada, self.ben):
                person.connection.nudge()
            self.place.settle(1)
            self.contact.run()
            while self.contact.is_unfinished:
                self.contact.run()
            self.place.settle(1)

    def ben_says(self, text: str) -> None:
        """Ben says something there."""
        self.ben.context = evolve(self.ben.context)
        commit(self.ben.context.store, LOBBY_NAME, text, ACCEPTED, now=self.place.now(), message_id=None, expiry=86400)
        self.relay()


class LobbyChatTests(LobbyChatCase):
    """Lines in, lines out."""

    def test_opened(self) -> None:
        """Whoever opens it is told at once that the operator reads it, and enters."""
        self.open()
        self.assertEqual(self.notes, [f"-- {lobby.READABLE}"])
        self.assertEqual(lobby.state_of(self.ada.context.store).presence, Presence.IN)
        self.assertEqual(self.chat.title_in_line(), f"in {LOBBY_NAME} (1)")

    def test_lines(self) -> None:
        """Lines say where and who; our own have their state."""
        self.open()
        self.ben_says("hello\nall\x1b")
        self.show()
        self.assertTrue(self.data[0].endswith("Z] #lobby -- ben entered"), self.data)
        self.assertTrue(self.data[1].endswith("Z] #lobby ben: hello\n    | all\\x1b"), self.data)
        self.take("and to you")
        self.relay()
        self.show()
        self.assertEqual(self.chat.unanswered.pending, 0)
        own = messages.history(self.ada.context.store, LOBBY_NAME)[-1]
        self.assertTrue(line_text(own, "ada").endswith("Z] #lobby ada (delivered): and to you"), line_text(own, "ada"))
        self.assertEqual([message.text for message in messages.unread(self.ben.context.store)], ["and to you"])

    def test_json(self) -> None:
        """A program is told the room and the person."""
        self.open()
        self.ben_says("hello")
        came, said = (line_record(line, "ada") for line in messages.unread(self.ada.context.store))
        self.assertEqual((came["room"], came["from"], came["kind"]), (LOBBY_NAME, "ben", "entered"))
        self.assertEqual((said["room"], said["from"], said["text"], said["to"]), (LOBBY_NAME, "ben", "hello", "ada"))
        own = line_record(messages.history(self.ben.context.store, LOBBY_NAME)[-1], "ben")
        self.assertEqual((own["room"], own["from"], own["to"]), (LOBBY_NAME, "ben", LOBBY_NAME))

    def test_unread(self) -> None:
        """What is said there counts in the bar of another chat, and who comes and goes does not."""
        self.open()
        self.take("/to ben")
        self.ben_says("hello")
        self.assertIn(f"unread: {LOBBY_NAME} 1", self.chat.toolbar())
        self.show()
        self.assertEqual(self.data, [])
        self.take(f"/to {LOBBY_NAME}")
        self.show()
        self.assertNotIn("unread", self.chat.toolbar())
        self.assertEqual(len(self.data), 2)

    def test_members(self) -> None:
        """Who is there is listed; elsewhere there is nobody to list."""
        self.open()
        self.ben_says("hello")
        self.take("/members")
        self.assertEqual(self.data, ["ada\nben"])
        self.take("/to ben")
        self.take("/members")
        self.assertEqual(self.notes[-1], "-- ben is not a room; /to ROOM first")

    def test_members_awaited(self) -> None:
        """A pipe waits for a while until the room has answered; at a terminal it is said that this is not known yet."""
        self.successResultOf(Deferred.fromCoroutine(self.chat.open()))
        self.take("/members")
        self.assertIn("not known yet", self.notes[-1])
        self.chat = self.talk(self.ada, LOBBY_NAME, patience=5)
        taken = Deferred.fromCoroutine(self.chat.enter("/members"))
        self.place.settle(1)
        self.assertNoResult(taken)
        self.relay()
        self.successResultOf(taken)
        self.assertEqual(self.data, ["ada"])

    def test_members_awaited_in_vain(self) -> None:
        """It does not wait for ever."""
        self.chat = self.talk(self.ada, LOBBY_NAME, patience=5)
        self.successResultOf(Deferred.fromCoroutine(self.chat.open()))
        taken = Deferred.fromCoroutine(self.chat.enter("/members"))
        self.place.settle(6)
        self.successResultOf(taken)
        self.assertIn("not known yet", self.notes[-1])

    def test_events_of_ours(self) -> None:
        """That we entered or left has a mark only if it is not accepted."""
        self.successResultOf(Deferred.fromCoroutine(self.chat.open()))
        [entered] = messages.history(self.ada.context.store, LOBBY_NAME)
        self.assertTrue(line_text(entered, "ada").endswith("-- ada entered (queued)"), line_text(entered, "ada"))
        self.relay()
        [entered] = messages.history(self.ada.context.store, LOBBY_NAME)
        self.assertTrue(line_text(entered, "ada").endswith("-- ada entered"), line_text(entered, "ada"))

    def test_left(self) -> None:
        """Whoever leaves hears nothing more, until the next line enters again."""
        self.open()
        self.take("/leave")
        self.relay()
        self.assertIn("you have left", self.notes[-1])
        self.ben_says("gone?")
        self.show()
        self.assertEqual(self.data, [])
        self.take("/leave")
        self.assertIn("you are not in", self.notes[-1])
        self.take("back")
        self.relay()
        self.assertEqual(lobby.state_of(self.ada.context.store).members, ("ben", "ada"))

    def test_no_number(self) -> None:
        """There is no number to compare, and no key to accept."""
        for line in ("/verify", "/verify confirm", "/accept"):
            self.take(line)
            self.assertIn("no number to compare", self.notes[-1])

    def test_names(self) -> None:
        """It is offered among the names."""
        self.assertEqual(slash.complete("/to #", self.chat.names()), [LOBBY_NAME])
        self.assertEqual(slash.complete("hello @#", self.chat.names()), ["@" + LOBBY_NAME])

    def test_as_json(self) -> None:
        """With C{--json} members are records."""
        self.ada.context = evolve(self.ada.context, settings=Settings(as_json=True))
        self.chat = self.talk(self.ada, LOBBY_NAME)
        self.open()
        self.take("/members")
        self.assertEqual(json.loads(self.data[0]), {"room": LOBBY_NAME, "name": "ada"})

    def test_locks(self) -> None:
        """Two processes do not show two of its lines at the same time, whoever wrote them."""
        self.open()
        self.ben_says("one")
        first, second = messages.unread(self.ada.context.store, LOBBY_NAME)
        locks = ReadLocks(self.ada.context.folder, self.ada.context.store)
        self.addCleanup(locks.close)
        self.assertTrue(locks.take(first))
        locks.free(first.conversation.name)
        self.assertEqual(first.conversation.name, second.conversation.name)


class ClosedTests(LobbyChatCase):
    """A daemon without a lobby."""

    is_open = False

    def test_told(self) -> None:
        """The chat says so once, and ends with the status of a refusal."""
        self.open()
        self.show()
        self.show()
        self.assertEqual([note for note in self.notes if "no lobby" in note], [
            "-- this server has no lobby; its operator opens one with: securemsg serve --lobby"
        ])  # fmt: skip
        ended = Deferred.fromCoroutine(finish(self.ada.context, self.ada.connection, self.chat, self.place.clock, 3))
        self.place.settle(4)
        self.assertEqual(self.failureResultOf(ended, SecuremsgError).value.code, "no-lobby")

    def test_commands(self) -> None:
        """Commands that wait for an answer fail with it."""
        lobby.enter(self.ada.context.store, self.place.now())
        waiting = Deferred.fromCoroutine(wait_until_in(self.ada.context.store, self.ada.connection, 60))
        self.relay()
        problem = self.failureResultOf(waiting, SecuremsgError).value
        self.assertEqual((problem.code, problem.status), ("no-lobby", Exit.REFUSED))


class MembersTests(LobbyChatCase):
    """The command C{lobby} asks each time."""

    def ask(self) -> Deferred[int]:
        """Ask who is there."""
        asked = Deferred.fromCoroutine(_refresh(self.ada.context, self.place.clock, self.ada.connection))
        self.relay()
        return asked

    def test_refreshed(self) -> None:
        """What is known here may be old."""
        self.open()
        with self.ada.context.store.writing() as records:
            save_lobby(records, msgspec.structs.replace(load_lobby(records), members=("ada", "gone")))
        self.assertEqual(self.successResultOf(self.ask()), Exit.DONE)
        self.assertEqual(lobby.state_of(self.ada.context.store).members, ("ada",))

    def test_closed(self) -> None:
        """A lobby that was closed meanwhile has no members."""
        self.open()
        self.contact._relay = Relay(False, self.place.now, self.place.clock.seconds).handle
        problem = self.failureResultOf(self.ask(), SecuremsgError).value
        self.assertEqual((problem.code, problem.status), ("no-lobby", Exit.REFUSED))
        self.assertEqual(lobby.state_of(self.ada.context.store).members, ())

    def test_busy(self) -> None:
        """Whoever has said too much is not told, and stays in it; a chat goes on."""
        self.open()
        for number in range(MAX_LINES + 5):
            messages.compose(self.ada.context.store, LOBBY_NAME, f"{number}", now=self.place.now())
        problem = self.failureResultOf(self.ask(), SecuremsgError).value
        self.assertEqual((problem.code, problem.status), ("lobby-busy", Exit.REFUSED))
        state = lobby.state_of(self.ada.context.store)
        self.assertEqual((state.presence, state.members), (Presence.IN, ("ada",)))
        self.show()
        self.assertEqual(self.chat.kept_out, "")


class EndTests(LobbyChatCase):
    """The end of a chat waits until what was said there is relayed, or refused."""

    def setUp(self) -> None:
        """Ada is in it."""
        super().setUp()
        self.open()
        self.show()

    def finish(self, timeout: float = 60) -> Deferred[int]:
        """End the chat."""
        return Deferred.fromCoroutine(finish(self.ada.context, self.ada.connection, self.chat, self.place.clock, timeout))

    def test_relayed(self) -> None:
        """The server's answer is not enough; that an answer is awaited is said, and of whom, wherever lines go meanwhile."""
        self.take("hello")
        self.show()
        self.take("/to ben")
        self.assertEqual((self.chat.unanswered.pending, self.chat.unanswered.unrelayed), (0, 1))
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            ended = self.finish()
            self.place.settle(5)
        self.assertNoResult(ended)
        self.assertIn("an answer from #lobby", err.getvalue())
        self.relay()
        self.assertEqual(self.successResultOf(ended), Exit.DONE)

    def test_refused(self) -> None:
        """Of a flood each line that was refused is named, and the first decides the status."""
        texts = [f"{number}" for number in range(MAX_LINES + 20)]
        for text in texts:
            self.successResultOf(Deferred.fromCoroutine(self.chat.enter(text)))
        ended = self.finish()
        self.relay()
        problem = self.failureResultOf(ended, SecuremsgError).value
        self.assertEqual((problem.code, problem.status), ("lobby-busy", Exit.REFUSED))
        said = [line for line in messages.history(self.ada.context.store, LOBBY_NAME) if isinstance(line, Sent) and line.text]
        self.assertEqual({line.status for line in said}, {"delivered", "failed"})
        problem = error_for("lobby-busy", LOBBY_NAME)
        why = f"{problem.text}; {problem.hint}"
        failed = [f"-- not relayed [lobby-busy]: {line.text} ({why})" for line in said if line.status == "failed"]
        self.assertEqual([note for note in self.notes if "not relayed" in note], failed)

    def test_not_answered(self) -> None:
        """Without an answer in time it ends with 7, and says what is known."""
        self.take("hello")
        ended = self.finish(2)
        self.place.settle(3)
        problem = self.failureResultOf(ended, SecuremsgError).value
        self.assertEqual((problem.code, problem.status), ("not-answered", Exit.TIMED_OUT))
        self.assertEqual(problem.text, "1 message was accepted by the server, but not relayed in #lobby in time")

    def test_others_go_on(self) -> None:
        """What is said to people is not held up by a line that was not relayed so far."""
        for line in ("hello", "/to nobody", "anyone?"):
            self.take(line)
        self.show()
        self.assertIn("-- not sent [no-such-account]: anyone? (no such account: ", self.notes[-1])
        self.assertEqual((self.chat.unanswered.pending, self.chat.unanswered.unrelayed), (0, 1))


class SentTests(LobbyChatCase):
    """A message that a command follows is done once it was relayed."""

    def send(self, limit: Timeout = 30, number: bytes = bytes(16)) -> Deferred[Sent]:
        """Ada says something, and waits."""
        store = self.ada.context.store
        commit(store, LOBBY_NAME, "hello", ACCEPTED, now=self.place.now(), message_id=number, expiry=86400)
        self.ada.connection.nudge()
        following = Deferred.fromCoroutine(follow(store, self.ada.connection, number, ACCEPTED, limit))
        self.place.settle(1)
        return following

    def test_relayed(self) -> None:
        """The server's answer is not enough."""
        following = self.send()
        self.assertNoResult(following)
        self.relay()
        self.assertEqual(self.successResultOf(following).status, "delivered")

    def test_refused(self) -> None:
        """What the contact refuses is an error, with its code."""
        for number in range(MAX_LINES):
            messages.compose(self.ada.context.store, LOBBY_NAME, f"{number}", now=self.place.now())
        following = self.send(number=b"x" * 16)
        self.relay()
        problem = self.failureResultOf(following, SecuremsgError).value
        self.assertEqual((problem.code, problem.status), ("lobby-busy", Exit.REFUSED))
        sent = messages.sent(self.ada.context.store, b"x" * 16)
        assert sent is not None, "it was committed"
        self.assertEqual((sent.status, sent.code), ("failed", "lobby-busy"))

    def test_not_answered(self) -> None:
        """Without an answer in time it is accepted and no more; with the same id, it is waited for again, and said once."""
        following = self.send()
        self.place.settle(30)
        problem = self.failureResultOf(following, SecuremsgError).value
        self.assertEqual((problem.code, problem.status), ("not-answered", Exit.TIMED_OUT))
        self.assertIn("accepted by the server, but not relayed", problem.text)
        self.assertIn(f"--id {bytes(16).hex()}", problem.hint)
        again = self.send()
        self.assertNoResult(again)
        self.relay()
        self.assertEqual(self.successResultOf(again).status, "delivered")
        with self.server.context.store.reading() as records:
            rows = load_all(records, HistoryRow, HISTORY, lobby_with("ada").bucket)
        self.assertEqual([row.content.body for _, row in rows if row.content.kind == Kind.TEXT], [b"hello"])

    def test_limit(self) -> None:
        """A limit that counts from when bytes moved counts from there no more, once the server has accepted it."""
        following = self.send(IdleTimeout(5))
        for _ in range(8):
            messages.compose(self.ben.context.store, "ada", "hello", now=self.place.now())
            self.ben.connection.nudge()
            self.place.settle(1)
        self.assertEqual(self.failureResultOf(following, SecuremsgError).value.code, "not-answered")

    def test_leaving(self) -> None:
        """Nothing but lines is relayed: whoever leaves waits for the server alone."""
        self.open()
        store = self.ada.context.store
        number = lobby.leave(store, self.place.now())
        assert number is not None, "she was in"
        self.ada.connection.nudge()
        following = Deferred.fromCoroutine(follow(store, self.ada.connection, number, ACCEPTED, 30))
        self.place.settle(1)
        self.assertEqual(self.successResultOf(following).status, "accepted")


class WordTests(LobbyChatCase):
    """What is typed."""

    def test_switch(self) -> None:
        """The name may be in quotes, as in a shell."""
        for line in ("/to #lobby", "/to '#lobby'", '/to "#lobby"'):
            self.assertEqual(slash.understand(line), SwitchTo(LOBBY_NAME))
        self.assertIsInstance(slash.understand("/to #At"), Misunderstood)
        self.assertEqual((slash.understand("/members"), slash.understand("/leave")), (ShowMembers(), LeaveRoom()))

    def test_arguments(self) -> None:
        """Only commands that know rooms take its name, so that it never gets to the directory."""
        self.assertEqual(PEER.convert(LOBBY_NAME, None, None), LOBBY_NAME)
        self.assertEqual(PEER.convert("ben", None, None), "ben")
        for kind, value in ((NAME, LOBBY_NAME), (NAME, "#attic"), (PEER, "#"), (PEER, "#At tic")):
            self.assertEqual(self.assertRaises(SecuremsgError, kind.convert, value, None, None).code, "illegal-name")

    def test_no_receipts(self) -> None:
        """Nobody can wait for receipts there: nothing is sent, and the reason is given."""
        store = self.ada.context.store
        problem = self.assertRaises(
            SecuremsgError, commit, store, LOBBY_NAME, "x", DELIVERED, now=1.0, message_id=None, expiry=86400
        )
        self.assertEqual((problem.code, problem.status), ("no-receipts", Exit.USAGE))
        self.assertIn("no receipts", problem.text)
        self.assertEqual(outbox_rows(store), 0)

    def test_no_suite(self) -> None:
        """No key file is pinned for it, and no other suite."""
        problem = self.assertRaises(SecuremsgError, wanted, Settings(suite="psk"), LOBBY_NAME, Chosen())
        self.assertEqual(problem.status, Exit.USAGE)
        self.assertIn("no suite of its own", problem.text)

    def test_too_long(self) -> None:
        """The limit of a text there is named."""
        self.take("x" * 49_100)
        self.assertEqual(self.notes[-1], f"-- not sent: a text in {LOBBY_NAME} has at most 49024 bytes of UTF-8")

