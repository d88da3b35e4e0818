"""Guests with a key file at the command line, and what happens when their connections end."""

from __future__ import annotations

from typing import cast

import msgspec
from attrs import define
from twisted.internet.defer import Deferred
from zope.interface import implementer

from securemsg.account.errors import Exit, SecuremsgError, error_for
from securemsg.account.tracking import follow
from securemsg.cli.chat.ending import finish
from securemsg.cli.guest import DEFAULT_PORT, GuestContext, context_for, guest_context
from securemsg.cli.settings import Settings
from securemsg.client import messages
from securemsg.client.autoresponder import Autoresponder, Immediate
from securemsg.client.sessions import guests
from securemsg.crypto.keyfile import SharedKey
from securemsg.protocol.channel import IChannel, IPeer
from securemsg.protocol.messages import Message, Proof, Unknown
from securemsg.server.connection import ClientConnection
from securemsg.server.core import Server
from securemsg.storage.keyfiles import make_key_file
from tests.cli.chat.test_conversation import ChatCase
from tests.cli.rig import START, Person, Place
from tests.cli.test_main import CommandLineCase

KEY = SharedKey(bytes(range(32)))
OTHER = SharedKey(bytes(32))


class GuestCase(ChatCase):
    """A guest chats with the contact C{server}, which has the same file."""

    def setUp(self) -> None:
        """Set up the contact, a guest and a chat."""
        super().setUp()
        self.place = Place(key=KEY, folder=self.place.folder / "calls")
        self.place.folder.mkdir()
        self.server = self.place.person("server")
        with self.server.context.store.writing() as records:
            guests.admit(records, KEY, START)
        self.ada = self.place.guest(KEY)
        self.chat = self.talk(self.ada, "server")

    def answer(self) -> None:
        """Let the contact answer what came."""
        Autoresponder(
            self.server.context.store,
            Immediate(lambda question: f"you said {question.text}"),
            self.place.now,
        ).run()
        self.server.connection.nudge()
        self.place.settle(2)

    def again(self, person: Person) -> None:
        """Lose a connection and make a new one."""
        self.hang_up(person)
        assert person.dialer is not None
        person.dialer.start()
        self.place.settle()

    def hang_up(self, person: Person) -> None:
        """Lose a connection."""
        assert person.dialer is not None and person.dialer.stream is not None
        person.dialer.stream.close()
        self.place.settle()

    def finish(self) -> Deferred[int]:
        """Leave the chat."""
        return Deferred.fromCoroutine(finish(self.ada.context, self.ada.connection, self.chat, self.place.clock, 5))


class TalkTests(GuestCase):
    """A connection that lasts."""

    def test_question_and_answer(self) -> None:
        """A guest's message comes from the file's name and is answered; then the chat can end."""
        self.take("Hello Server!")
        [message] = messages.unread(self.server.context.store)
        self.assertEqual((message.sender, message.text, message.suite), (KEY.name, "Hello Server!", "psk"))
        ended = self.finish()
        self.assertNoResult(ended)
        self.answer()
        self.assertEqual(self.successResultOf(ended), Exit.DONE)
        self.assertEqual([line.partition("] ")[2] for line in self.data], ["server: you said Hello Server!"])

    def test_only_who_asked(self) -> None:
        """An answer reaches the connection that asked, and no other with the same file."""
        other = self.place.guest(KEY)
        self.take("for ada alone")
        self.answer()
        self.show()
        self.assertEqual(len(self.data), 1)
        self.assertEqual(messages.unread(other.context.store), [])

    def test_delivered(self) -> None:
        """C{--wait delivered} works for guests."""
        store = self.ada.context.store
        number = messages.compose(store, "server", "there?", now=self.place.now(), wants_receipt=True)
        following = Deferred.fromCoroutine(follow(store, self.ada.connection, number, "delivered", 10))
        self.ada.connection.nudge()
        self.place.settle(3)
        self.assertEqual(self.successResultOf(following).status, "delivered")

    def test_only_the_server(self) -> None:
        """A guest can chat with nobody else, and has no number to compare."""
        self.take("/to ben")
        self.take("/verify")
        self.assertEqual(self.chat.name, "server")
        self.assertIn("can only chat with `server`", self.notes[0])
        self.assertIn("no number to compare", self.notes[1])
        self.assertEqual(self.data, [])

    def test_title(self) -> None:
        """The title shows the file's name, and nothing about the server's identity."""
        self.assertEqual(self.chat.title(), f"server ({KEY.name})")
        self.assertEqual(self.chat.facts()["suite"], "psk")

    def test_no_files(self) -> None:
        """A guest leaves nothing on the disk."""
        before = sorted(self.place.folder.rglob("*"))
        self.take("hello")
        self.answer()
        self.show()
        self.assertEqual(self.ada.context.folder, None)
        made = [path for path in self.place.folder.rglob("*") if path not in before and path.parent.name != "server"]
        self.assertEqual(made, [])


class LossTests(GuestCase):
    """Connections end, and each new one is another device."""

    def test_goes_out_again(self) -> None:
        """What was not accepted is sent in the next connection, counts once, and is answered there."""
        self.place.is_up = False
        self.hang_up(self.ada)
        self.take("while nobody was there")
        self.place.is_up = True
        self.again(self.ada)
        self.place.settle(1)
        self.assertEqual([message.text for message in messages.unread(self.server.context.store)], ["while nobody was there"])
        ended = self.finish()
        self.answer()
        self.assertEqual(self.successResultOf(ended), Exit.DONE)
        self.assertEqual(len(self.data), 1)

    def test_many_connections(self) -> None:
        """A chat goes on over many connections, in order."""
        for number in range(5):
            self.take(f"message {number}")
            self.answer()
            self.show()
            self.again(self.ada)
        self.assertEqual([line.rpartition(" ")[2] for line in self.data], ["0", "1", "2", "3", "4"])
        self.assertEqual(self.notes, [])

    def test_answer_lost(self) -> None:
        """An answer that a lost connection was to get is given up: a note and the exit status say so."""
        self.take("question")
        self.show()
        self.again(self.ada)
        self.answer()
        ended = self.finish()
        self.place.settle(1)
        problem = self.failureResultOf(ended, SecuremsgError).value
        self.assertEqual((problem.status, problem.code), (Exit.NOT_CONNECTED, "not-answered"))
        self.assertEqual(self.notes, ["-- the connection was lost, and 1 answer with it; ask again"])


@implementer(IPeer)
@define(eq=False)
class Doubter:
    """The server's side of a guest whose proof comes with another MAC than it was sent with; all else it does as ever."""

    _guest: ClientConnection

    def opened(self, channel: IChannel) -> None:
        """As ever."""
        self._guest.opened(channel)

    def received(self, message: Message | Unknown) -> None:
        """A bit of the proof is another."""
        if isinstance(message, Proof):
            message = msgspec.structs.replace(message, signature=bytes([message.signature[0] ^ 1]) + message.signature[1:])
        self._guest.received(message)

    def writable(self, yes: bool) -> None:
        """As ever."""
        self._guest.writable(yes)

    def closed(self, code: str) -> None:
        """As ever."""
        self._guest.closed(code)


@define
class Doubting:
    """A server all of whose guests fail to prove themselves."""

    _server: Server

    def connect(self) -> Doubter:
        """One more."""
        return Doubter(self._server.connect())


class RefusalTests(GuestCase):
    """Guests who are not admitted, and the exit status. The server proves itself first."""

    def fate(self, key: SharedKey) -> tuple[int, str]:
        """
        Send something with a key file, which comes to nothing.

        @return: status and code with which the command ends.
        """
        person = self.place.guest(key)
        number = messages.compose(person.context.store, "server", "secret", now=self.place.now())
        following = Deferred.fromCoroutine(follow(person.context.store, person.connection, number, "accepted", 5))
        person.connection.nudge()
        self.place.settle(6)
        problem = self.failureResultOf(following, SecuremsgError).value
        assert isinstance(person.context, GuestContext)
        reworded = person.context.reworded(problem)
        self.assertEqual(messages.unread(self.server.context.store), [])
        return reworded.status, reworded.code

    def test_other_file(self) -> None:
        """With another file the command ends with 8, because the server cannot prove itself; nothing is proved to it."""
        self.assertEqual(self.fate(OTHER), (Exit.WRONG_SERVER, "server-identity"))

    def test_cannot_prove(self) -> None:
        """A guest whose own proof is wrong ends with 5."""
        self.place.server = cast(Server, Doubting(self.place.server))
        self.assertEqual(self.fate(KEY), (Exit.REFUSED, "login-failed"))


class WordsTests(CommandLineCase):
    """Errors for guests."""

    def setUp(self) -> None:
        """A key file."""
        super().setUp()
        self.path = self.folder / "shared.key"
        make_key_file(self.path, KEY.secret)

    def test_other_name(self) -> None:
        """With a key file alone only C{server} can be written to; the error names the way to write to others."""
        for command in ("send", "chat"):
            status, _, err = self.run_line(command, "--key-file", str(self.path), "bob", "hello"[: 5 * (command == "send")])
            self.assertEqual(status, Exit.USAGE, err)
        status, _, err = self.run_line("send", "--key-file", str(self.path), "bob", "hello")
        self.assertIn("--suite psk", err)
        self.assert_one_line(err, "key-file")

    def test_no_profile(self) -> None:
        """A profile option contradicts a key file; a profile in the environment does not."""
        status, _, err = self.run_line("send", "--profile", "x", "--key-file", str(self.path), "server", "hello")
        self.assertEqual(status, Exit.USAGE)
        self.assertIn("no profile is used", err)
        with context_for(Settings(key_file=self.path), "server") as context:
            self.assertIsInstance(context, GuestContext)
            self.assertEqual((context.address.host, context.address.port), ("127.0.0.1", DEFAULT_PORT))

    def test_loose_alone(self) -> None:
        """C{--loose} without a key file is wrong usage."""
        for arguments in (("send", "--loose", "server", "hello"), ("chat", "--loose", "server"), ("contacts", "--loose")):
            status, _, err = self.run_line(*arguments)
            self.assertEqual(status, Exit.USAGE)
            self.assertIn("--key-file FILE", err)

    def test_wait_none(self) -> None:
        """C{--wait none} would send nothing."""
        status, _, err = self.run_line("send", "--wait", "none", "--key-file", str(self.path), "server", "hello")
        self.assertEqual(status, Exit.USAGE)
        self.assertIn("no outbox", err)

    def test_wrong_server(self) -> None:
        """Exit statuses are the usual ones; the words are about the key file, not a pin."""
        context = guest_context(Settings(), self.path)
        for code, status in (("server-identity", Exit.WRONG_SERVER), ("login-failed", Exit.REFUSED)):
            problem = context.reworded(error_for(code))
            self.assertEqual((problem.status, problem.code), (status, code))
            self.assertIn(KEY.name, problem.text)
            self.assertIn(f"--key-file {self.path}", problem.hint)
            self.assertNotIn("pin", problem.text)
        self.assertEqual(context.reworded(error_for("lost")).text, error_for("lost").text)

    def test_secret(self) -> None:
        """Nothing shows the secret."""
        context = guest_context(Settings(key_file=self.path), self.path)
        shown = repr(context) + repr(context.profile) + repr(context.settings)
        for form in (KEY.secret.hex(), repr(KEY.secret), repr(KEY.login)):
            self.assertNotIn(form, shown)
