"""Short invites: an inviter with an agent, a newcomer, and a server between them that may lie."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from msgspec.structs import replace

from securemsg.client.events import ShortInviteEnded, Warned
from securemsg.client.newcomer import Newcomer
from securemsg.client.requests import Answer
from securemsg.client.state.records import META, NOTICE, Notice, load_all
from securemsg.crypto.keys import SigningKey
from securemsg.crypto.pake import Exchange
from securemsg.errors import Refusal
from securemsg.protocol.auth import Binding
from securemsg.protocol.invite import InviteLink
from securemsg.protocol.messages import (
    CODE_LIFETIME,
    AnswerCode,
    AskCode,
    Challenge,
    CodeAnswer,
    CodeMessage,
    CodeOpened,
    CodeUsed,
    Failed,
    Hello,
    Message,
    OpenCode,
    UseCode,
)
from securemsg.protocol.states import Side
from securemsg.server import login
from tests.client.case import WorldCase
from tests.client.rig import TLS, Wire, decoded

WORDS = "abandon-ability-able-about-above-absent"
OTHER = "abandon-ability-able-about-above-absurd"


class ShortInviteCase(WorldCase):
    """Alice invites Carol."""

    def setUp(self) -> None:
        """Alice is connected, and has an invite."""
        super().setUp()
        self.link = evolve(self.world.link, token=bytes(16))
        self.results: list[InviteLink | Refusal] = []

    def open(self, words: str = WORDS, link: InviteLink | None = None) -> int:
        """Alice opens a short invite; its number."""
        answer = self.ask(words, link)
        assert isinstance(answer, CodeOpened), answer
        return answer.number

    def ask(self, words: str = WORDS, link: InviteLink | None = None) -> Answer | Refusal:
        """Alice wants to open one; what becomes of it."""
        assert self.alice.agent is not None
        answers: list[Answer | Refusal] = []
        self.alice.agent.open_short_invite(words, str(link or self.link), answers.append)
        self.world.settle()
        return answers[0]

    def come(self, number: int, words: str = WORDS, binding: Binding = TLS, **taps: Any) -> Wire:
        """Carol uses it, with the messages of either direction as a tap has them."""
        wire = self.world.join(Newcomer(number, words.encode(), self.results.append), binding)
        wire.to_server, wire.to_client = taps.get("to_server"), taps.get("to_client")
        self.world.settle()
        return wire

    def assert_refused(self, code: str) -> None:
        """Carol has no invite, and knows why."""
        self.assertEqual(len(self.results), 1)
        refusal = self.results.pop()
        assert isinstance(refusal, Refusal), refusal
        self.assertEqual(refusal.code, code)

    def ends(self) -> list[ShortInviteEnded]:
        """What Alice was told of the ends of her short invites."""
        return [event for event in self.alice.events if isinstance(event, ShortInviteEnded)]

    def sealed(self) -> list[bytes]:
        """What Alice has answered."""
        assert self.alice.wire is not None
        return [answer.sealed for answer in decoded(self.alice.wire, Side.CLIENT, AnswerCode)]


def changed(kind: type[Message], **items: object) -> Any:
    """A tap that changes messages of one kind."""
    return lambda message: [replace(message, **items) if isinstance(message, kind) else message]


class ExchangeTests(ShortInviteCase):
    """Both do what they should."""

    def test_right_words(self) -> None:
        """With the right words the newcomer has the invite, and the inviter knows that somebody has it."""
        number = self.open()
        self.come(number)
        self.assertEqual((self.results, self.ends()), ([self.link], [ShortInviteEnded(number, "")]))

    def test_wrong_words(self) -> None:
        """With other words the newcomer gets nothing; the inviter is told, also later, and is not offered a second try."""
        number = self.open()
        self.come(number, OTHER)
        self.assert_refused("wrong-words")
        self.assertEqual((self.sealed(), self.ends()), ([b""], [ShortInviteEnded(number, "words-guessed")]))
        self.assertIn("words-guessed", [event.code for event in self.alice.events if isinstance(event, Warned)])
        with self.alice.store.reading() as records:
            notices = load_all(records, Notice, META, NOTICE)
        self.assertEqual([notice.code for _, notice in notices], ["words-guessed"])
        self.come(number)
        self.assert_refused("no-such-code")

    def test_guessed_again(self) -> None:
        """Each short invite that was guessed at is told, also two in one day."""
        for _ in range(2):
            self.come(self.open(), OTHER)
        self.assertEqual(self.alice.codes().count("words-guessed"), 4)

    def test_words_on_no_wire(self) -> None:
        """Neither the words nor the invite are in anything that passes the server."""
        assert self.alice.wire is not None
        wire = self.come(self.open())
        for _, message in (*wire.log, *self.alice.wire.log):
            for item in (getattr(message, name) for name in message.__struct_fields__):
                if isinstance(item, bytes):
                    self.assertNotIn(b"abandon", item)
                    self.assertNotIn(self.link.token, item)

    def test_hidden(self) -> None:
        """Nor are they in a representation of either end."""
        self.open()
        assert self.alice.agent is not None
        for shown in (repr(self.alice.agent._short_invites._opened), repr(Newcomer(1, WORDS.encode(), lambda result: None))):
            self.assertFalse("abandon" in shown or "token" in shown)

    def test_newcomer_gone(self) -> None:
        """If the newcomer hangs up in between, the inviter hears that nobody has the invite."""
        number = self.open()
        assert self.alice.wire is not None
        self.alice.wire.held.add(Side.CLIENT)
        self.come(number).cut()
        self.alice.wire.held.clear()
        self.world.settle()
        self.assertEqual(self.ends(), [ShortInviteEnded(number, "no-such-code")])

    def test_inviter_gone(self) -> None:
        """If the inviter is gone, there is no such number; the inviter knows that the words are of no use."""
        number = self.open()
        self.part(self.alice)
        self.come(number)
        self.assert_refused("no-such-code")
        self.assertEqual(self.ends(), [ShortInviteEnded(number, "lost")])

    def test_inviter_silent(self) -> None:
        """A newcomer whose try is not answered hears that the number is used up."""
        assert self.alice.wire is not None
        for code in ("timeout", "lost"):
            number = self.open()
            self.alice.wire.held.add(Side.CLIENT)
            wire = self.come(number)
            wire.client.finish(code)
            self.world.settle()
            self.assert_refused("no-answer")
            wire.cut()
            self.alice.wire.held.clear()
            self.world.settle()

    def test_replaced(self) -> None:
        """A second one takes the place of the first."""
        first = self.open()
        second = self.open(OTHER)
        self.assertEqual(self.ends(), [ShortInviteEnded(first, "replaced")])
        self.come(second, OTHER)
        self.assertEqual(self.results, [self.link])

    def test_over(self) -> None:
        """After ten minutes the inviter is told, without any word of the server."""
        number = self.open()
        self.world.advance(CODE_LIFETIME - 1, 10)
        self.assertEqual(self.ends(), [])
        self.world.advance(1)
        self.assertEqual(self.ends(), [ShortInviteEnded(number, "over")])

    def test_not_connected(self) -> None:
        """Without a connection there is none."""
        self.part(self.alice)
        answer = self.ask()
        assert isinstance(answer, Refusal)
        self.assertEqual(answer.code, "not-connected")


class OlderServerTests(ShortInviteCase):
    """The server does not know short invites."""

    def test_inviter(self) -> None:
        """The inviter does not ask it."""
        assert self.alice.wire is not None
        self.alice.wire.client.connection.has_short_invites = False
        answer = self.ask()
        assert isinstance(answer, Refusal)
        self.assertEqual((answer.code, decoded(self.alice.wire, Side.CLIENT, OpenCode)), ("server-without-codes", []))

    def test_newcomer(self) -> None:
        """The newcomer hears why: from one that does not know the role, and from one that announces other features."""
        self.come(1, to_client=lambda message: [Failed("malformed")])
        self.assert_refused("server-without-codes")
        self.patch(login, "FEATURES", ("rooms",))
        wire = self.come(1)
        self.assert_refused("server-without-codes")
        self.assertEqual(decoded(wire, Side.CLIENT, AskCode), [])

    def test_hidden_feature(self) -> None:
        """Nobody in between can hide that the server knows them."""
        self.come(self.open(), to_client=changed(Challenge, features=[]))
        self.assert_refused("server-identity")


class LyingServerTests(ShortInviteCase):
    """Somebody without the words is between the two: the server, or somebody who has put a server in its place."""

    def test_other_message(self) -> None:
        """A server that tells the newcomer something else than the inviter said has one guess, and no invite."""
        number = self.open()
        guess = Exchange(OTHER.encode(), True)
        wire = self.come(number, to_client=changed(CodeMessage, pake=guess.message))
        self.assert_refused("wrong-words")
        (used,) = decoded(wire, Side.CLIENT, UseCode)
        agreed = guess.finish(used.pake, number)
        self.assertNotEqual(agreed.proof(), used.proof)
        self.assertEqual(self.sealed(), [b""])

    def test_other_answer(self) -> None:
        """Nor can it make the newcomer take an invite of its own, or one that was sealed for another."""
        sealed: list[bytes] = []

        def keep(message: Message) -> list[Message]:
            if isinstance(message, CodeAnswer):
                sealed.append(message.sealed)
            return [message]

        self.come(self.open(), to_client=keep)
        self.results.clear()
        for other in (*sealed, bytes(80), b"x"):
            self.come(self.open(), to_client=changed(CodeAnswer, sealed=other))
            self.assert_refused("wrong-words")

    def test_replayed_try(self) -> None:
        """What somebody with the words has proved is worth nothing under another number, nor again under the same."""
        number = self.open()
        wire = self.come(number)
        (used,) = decoded(wire, Side.CLIENT, UseCode)
        assert self.alice.wire is not None
        for other in (number, self.open()):
            self.alice.wire.inject(Side.SERVER, CodeUsed(other, used.pake, used.proof))
            self.world.settle()
        self.assertEqual([bool(sealed) for sealed in self.sealed()], [True, False])

    def test_second_try(self) -> None:
        """A server that passes on two tries for one number gets one answer."""
        number = self.open()
        exchange = Exchange(WORDS.encode(), False)
        assert self.alice.wire is not None
        message = decoded(self.alice.wire, Side.CLIENT, OpenCode)[0].pake
        right = CodeUsed(number, exchange.message, exchange.finish(message, number).proof())
        for used in (CodeUsed(number, right.pake, bytes(64)), right):
            self.alice.wire.inject(Side.SERVER, used)
        self.world.settle()
        self.assertEqual(self.sealed(), [b""])

    def test_other_number(self) -> None:
        """Nor is a try answered for a number that the inviter does not have."""
        number = self.open()
        assert self.alice.wire is not None
        self.alice.wire.inject(Side.SERVER, CodeUsed(number % 9 + 1, b"B" + bytes(32), bytes(64)))
        self.world.settle()
        self.assertEqual((self.sealed(), self.ends()), ([], []))

    def test_late_try(self) -> None:
        """Nor does a server that keeps a number for longer than ten minutes get one."""
        number = self.open()
        assert self.alice.wire is not None
        self.world.clock += CODE_LIFETIME
        self.alice.wire.inject(Side.SERVER, CodeUsed(number, b"B" + bytes(32), bytes(64)))
        self.world.settle()
        self.assertEqual((self.sealed(), self.ends()), ([], [ShortInviteEnded(number, "over")]))

    def test_no_message(self) -> None:
        """What is no message of the other side gets nobody anything."""
        number = self.open()
        self.come(number, to_client=changed(CodeMessage, pake=b"B" + bytes(32)))
        self.assert_refused("malformed")
        self.come(number, to_server=changed(UseCode, pake=b"A" + bytes(32)))
        self.assert_refused("wrong-words")

    def test_other_identity(self) -> None:
        """Whoever is in between, with an identity of his own, may pass all of it on: the invite names another server."""
        self.come(self.open(link=evolve(self.link, pin=SigningKey.generate().public)))
        self.assert_refused("server-identity")

    def test_borrowed_identity(self) -> None:
        """He cannot take the server's identity: it is signed for another channel."""
        newcomer = Newcomer(self.open(), WORDS.encode(), self.results.append)
        wire = self.world.join(newcomer)
        wire.client.binding = evolve(TLS, exporter=bytes(32))
        self.world.settle()
        self.assert_refused("server-identity")
        self.assertEqual(decoded(wire, Side.CLIENT, AskCode), [])

    def test_no_binding(self) -> None:
        """Nor is anything said over a channel that could be somebody else's."""
        wire = self.come(self.open(), binding=Binding("tcp", "none", b"", b""))
        self.assert_refused("server-identity")
        self.assertEqual(decoded(wire, Side.CLIENT, Hello), [])

    def test_no_invite(self) -> None:
        """An inviter who sends something else than an invite sends nothing."""
        assert self.alice.agent is not None
        for text in ("hello", "securemsg://host:1/#pin=AA", "\udcff"):
            number = self.open()
            opened = self.alice.agent._short_invites._opened
            assert opened is not None
            self.alice.agent._short_invites._opened = evolve(opened, invite=text.encode("utf-8", "surrogateescape"))
            self.come(number)
            self.assert_refused("bad-invite")
