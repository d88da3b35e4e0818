"""Short invites at the server: numbers, and the messages that pass under them."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from securemsg.protocol.framing import encode_frame
from securemsg.protocol.messages import (
    CODE_LIFETIME,
    AnswerCode,
    AskCode,
    CodeAnswer,
    CodeMessage,
    CodeOpened,
    CodeUsed,
    Done,
    OpenCode,
    Proof,
    Publish,
    Refused,
    UseCode,
    encode_message,
)
from securemsg.server.limits import Rate, Settings
from tests.server.rig import Client, Rig, User

SIDE_A, SIDE_B = b"A" + bytes(range(32)), b"B" + bytes(range(32))
PROOF = bytes(range(64))
FEATURES = ("rooms", "short-invites")


class ShortInviteCase(SynchronousTestCase):
    """Alice may open short invites."""

    settings: dict[str, Any] = {}

    def setUp(self) -> None:
        """She is here."""
        self.rig = Rig(Settings(registration="open", **self.settings), features=FEATURES)
        self.alice, self.inviter = self.rig.register("alice")

    def tearDown(self) -> None:
        """No coroutine ended in a bug."""
        self.assertEqual(self.rig.failures, [])

    def open(self, client: Client | None = None, pake: bytes = SIDE_A) -> int:
        """Open one; its number."""
        client = client or self.inviter
        client.ask(OpenCode(1, pake))
        return client.one(CodeOpened).number

    def asked(self, number: int) -> Client:
        """A newcomer has asked, and was told."""
        newcomer = self.rig.greet("newcomer")
        newcomer.ask(AskCode(number))
        newcomer.one(CodeMessage)
        return newcomer

    def used(self, number: int) -> Client:
        """A newcomer has used a number."""
        newcomer = self.asked(number)
        newcomer.ask(UseCode(SIDE_B, PROOF))
        return newcomer

    def refused(self, number: int) -> str:
        """With which code a newcomer is refused who asks."""
        newcomer = self.rig.greet("newcomer")
        newcomer.ask(AskCode(number))
        return newcomer.failed()

    def second_device(self) -> User:
        """Alice gets a second device."""
        second = self.alice.sibling()
        self.alice.version = 2
        self.inviter.ask(Publish(9, self.alice.device_list()))
        self.inviter.one(Done)
        return second

    @property
    def count(self) -> int:
        """How many there are in memory."""
        return len(self.rig.server._short_invites)


class PassingTests(ShortInviteCase):
    """What passes between two who want it."""

    def test_passed(self) -> None:
        """Each gets what the other has said, the newcomer is hung up on, and nothing is left."""
        number = self.open()
        newcomer = self.rig.greet("newcomer")
        newcomer.ask(AskCode(number))
        self.assertEqual(newcomer.one(CodeMessage), CodeMessage(SIDE_A))
        newcomer.ask(UseCode(SIDE_B, PROOF))
        self.assertEqual(self.inviter.one(CodeUsed), CodeUsed(number, SIDE_B, PROOF))
        self.inviter.ask(AnswerCode(2, number, b"sealed"))
        self.assertEqual(newcomer.inbox, [CodeAnswer(b"sealed")])
        self.assertEqual((newcomer.wire.code, self.inviter.one(Done), self.count), ("", Done(2), 0))
        self.assertEqual(self.rig.server.connected, 1)

    def test_wrong_words(self) -> None:
        """If the inviter has no invite for the newcomer, the newcomer is told why."""
        number = self.open()
        newcomer = self.used(number)
        self.inviter.ask(AnswerCode(2, number, b""))
        self.assertEqual((newcomer.failed(), self.inviter.one(Done), self.count), ("wrong-words", Done(2), 0))

    def test_counted_nowhere(self) -> None:
        """A newcomer takes no place from those who are logged in, and leaves nothing in the store."""
        rig = Rig(Settings(registration="open", max_clients=1), features=FEATURES)
        _, inviter = rig.register("alice")
        number = self.open(inviter)
        newcomer = rig.greet("newcomer")
        newcomer.ask(AskCode(number))
        newcomer.one(CodeMessage)
        self.assertEqual(rig.server.logged_in, 1)


class OnceTests(ShortInviteCase):
    """A number is good for one try."""

    def test_burnt(self) -> None:
        """Once it was used nobody else can ask for it or use it, be the words right or wrong, answered or not."""
        number = self.open()
        before, late = self.asked(number), self.asked(number)
        before.ask(UseCode(SIDE_B, PROOF))
        self.assertEqual(self.refused(number), "no-such-code")
        late.ask(UseCode(SIDE_B, PROOF))
        self.assertEqual(late.failed(), "no-such-code")
        self.inviter.ask(AnswerCode(2, number, b""))
        self.assertEqual(self.refused(number), "no-such-code")
        self.assertEqual(len(self.inviter.pop(CodeUsed)), 1)

    def test_two_at_once(self) -> None:
        """Of two newcomers who try in one turn the first gets it."""
        number = self.open()
        newcomers = [self.asked(number), self.asked(number)]
        for newcomer in newcomers:
            newcomer.send(UseCode(SIDE_B, PROOF))
        self.rig.run()
        self.inviter.one(CodeUsed)
        self.assertEqual(newcomers[1].failed(), "no-such-code")
        self.inviter.ask(AnswerCode(2, number, b"sealed"))
        newcomers[0].one(CodeAnswer)

    def test_one_try_a_connection(self) -> None:
        """A newcomer asks once and uses once in a connection."""
        number = self.open()
        newcomer = self.asked(number)
        newcomer.raw(encode_frame(encode_message(AskCode(number))))
        self.assertEqual(newcomer.failed(), "out-of-turn")
        newcomer = self.used(number)
        newcomer.raw(encode_frame(encode_message(UseCode(SIDE_B, PROOF))))
        self.assertEqual((newcomer.failed(), len(self.inviter.pop(CodeUsed))), ("out-of-turn", 1))

    def test_answered_once(self) -> None:
        """A second answer finds nobody, and an answer without a question neither."""
        number = self.open()
        self.inviter.ask(AnswerCode(2, number, b"sealed"))
        self.assertEqual(self.inviter.one(Refused), Refused(2, "no-such-code"))
        self.used(number)
        self.inviter.ask(AnswerCode(3, number, b"sealed"), AnswerCode(4, number, b"sealed"))
        self.assertEqual((self.inviter.one(Done), self.inviter.one(Refused)), (Done(3), Refused(4, "no-such-code")))

    def test_answer_of_another(self) -> None:
        """Nobody answers in another's place."""
        number = self.open()
        _, mallory = self.rig.register("mallory")
        newcomer = self.used(number)
        mallory.ask(AnswerCode(1, number, b"other"))
        self.assertEqual((mallory.one(Refused), newcomer.inbox), (Refused(1, "no-such-code"), []))

    def test_newcomer_gone(self) -> None:
        """Whoever hangs up after a try gets no answer, and the inviter hears that nobody did."""
        number = self.open()
        self.rig.lose(self.used(number))
        self.inviter.ask(AnswerCode(2, number, b"sealed"))
        self.assertEqual((self.inviter.one(Refused), self.count), (Refused(2, "no-such-code"), 0))

    def test_asking_costs_nothing(self) -> None:
        """Whoever asks and hangs up has used nothing up."""
        number = self.open()
        self.rig.lose(self.asked(number))
        self.used(number)
        self.inviter.one(CodeUsed)


class EndTests(ShortInviteCase):
    """When it ends."""

    def test_expired(self) -> None:
        """After ten minutes there is no such number, for whoever asks, and for whoever has asked before."""
        number = self.open()
        early = self.asked(number)
        self.rig.time += CODE_LIFETIME - 1
        self.asked(number)
        self.rig.time += 1
        self.assertEqual(self.refused(number), "no-such-code")
        early.ask(UseCode(SIDE_B, PROOF))
        self.assertEqual((early.failed(), self.inviter.pop(CodeUsed)), ("no-such-code", []))

    def test_wall_clock(self) -> None:
        """A wall clock that is set ends nothing."""
        number = self.open()
        self.rig.set_clock(CODE_LIFETIME)
        self.asked(number)

    def test_expired_forgotten(self) -> None:
        """What is over takes no room, once somebody opens another."""
        self.open()
        self.rig.time += CODE_LIFETIME
        self.open(self.rig.register("bob")[1])
        self.assertEqual(self.count, 1)

    def test_awaited_kept(self) -> None:
        """A newcomer who came in the last moment still gets the answer, also if somebody opens another meanwhile."""
        number = self.open()
        self.rig.time += CODE_LIFETIME - 1
        newcomer = self.used(number)
        self.rig.time += 1
        self.open(self.rig.register("bob")[1])
        self.inviter.ask(AnswerCode(2, number, b"sealed"))
        newcomer.one(CodeAnswer)

    def test_replaced(self) -> None:
        """An account has one; a newcomer who waits for the old one is told."""
        newcomer = self.used(self.open())
        late = self.asked(self.open(pake=b"A" + bytes(32)))
        self.assertEqual((newcomer.failed(), self.count), ("no-answer", 1))
        number = self.open()
        late.ask(UseCode(SIDE_B, PROOF))
        self.assertEqual((late.failed(), self.count), ("no-such-code", 1))
        self.used(number)

    def test_inviter_gone(self) -> None:
        """It ends with the connection of the inviter, and a newcomer who waits is told."""
        number = self.open()
        waiting = self.used(number)
        self.rig.lose(self.inviter)
        self.rig.run()
        self.assertEqual((waiting.failed(), self.refused(number), self.count), ("no-answer", "no-such-code", 0))

    def test_inviter_back(self) -> None:
        """Nor does a new login of the inviter bring it back, and the end of an old connection leaves the new one's."""
        number = self.open()
        again = self.rig.login(self.alice)
        self.assertEqual(self.refused(number), "no-such-code")
        self.asked(self.open(again))

    def test_other_device(self) -> None:
        """A short invite of a second device replaces that of the first, whose end then ends nothing."""
        first = self.inviter
        number = self.open()
        second = self.rig.login(self.second_device())
        other = self.open(second)
        self.rig.lose(first)
        self.asked(other)
        self.assertEqual(self.count, 1)
        if other != number:
            self.assertEqual(self.refused(number), "no-such-code")


class NumberTests(ShortInviteCase):
    """Which numbers there are."""

    def test_few_digits(self) -> None:
        """Numbers have as few digits as there are, and no two are alike."""
        numbers = [self.open()]
        numbers += [self.open(self.rig.register(f"user{index}")[1]) for index in range(11)]
        self.assertEqual(set(numbers[:9]), set(range(1, 10)))
        self.assertTrue(all(10 <= number <= 99 for number in numbers[9:]))
        self.assertEqual(len(set(numbers)), 12)

    def test_random(self) -> None:
        """Which of them it is cannot be told beforehand."""
        self.assertGreater(len({self.open() for _ in range(100)}), 3)

    def test_freed(self) -> None:
        """A number that is over may come again."""
        self.open()
        for index in range(8):
            self.open(self.rig.register(f"user{index}")[1])
        self.assertLess(self.open(), 10)


class LimitTests(ShortInviteCase):
    """What nobody may do."""

    settings = {"max_short_invites": 2, "failures": Rate(2, 10), "requests": Rate(5, 1000)}

    def test_too_many(self) -> None:
        """There are so many in all; whoever has one may replace it."""
        self.open()
        self.open(self.rig.register("bob")[1])
        _, carol = self.rig.register("carol")
        carol.ask(OpenCode(1, SIDE_A))
        self.assertEqual(carol.one(Refused), Refused(1, "too-many-codes"))
        self.open()

    def test_counted(self) -> None:
        """Opening one counts as a question to the directory."""
        for _ in range(5):
            self.open()
        self.inviter.ask(OpenCode(1, SIDE_A))
        self.assertEqual(self.inviter.one(Refused), Refused(1, "rate-limited"))

    def test_failures(self) -> None:
        """Newcomers who fail are slowed together; whoever has a number that there is gets in."""
        number = self.open()
        wrong = number % 9 + 1
        self.assertEqual([self.refused(wrong) for _ in range(3)], ["no-such-code", "no-such-code", "rate-limited"])
        self.asked(number)
        self.rig.time += 10
        self.assertEqual(self.refused(wrong), "no-such-code")

    def test_role(self) -> None:
        """A newcomer does nothing else, and nobody else does what a newcomer does."""
        number = self.open()
        for role in ("device", "register", "key"):
            client = self.rig.greet(role) if role != "key" else self.rig.greet_as_guest()
            client.ask(AskCode(number))
            self.assertEqual(client.failed(), "out-of-turn", role)
        for message in (self.rig.proof(self.rig.greet(), self.alice), Proof("", b"", 0, bytes(64))):
            newcomer = self.rig.greet("newcomer")
            newcomer.ask(message)
            self.assertEqual(newcomer.failed(), "out-of-turn")
        newcomer = self.rig.greet("newcomer")
        newcomer.ask(self.rig.registration(newcomer, self.rig.user("eve")))
        self.assertEqual(newcomer.failed(), "out-of-turn")

    def test_not_announced(self) -> None:
        """Ends that have not announced short invites have none."""
        number = self.open()
        self.rig.features = ("rooms",)
        newcomer = self.rig.greet("newcomer")
        newcomer.ask(AskCode(number))
        self.assertEqual(newcomer.failed(), "out-of-turn")
        _, client = self.rig.register("bob")
        client.ask(OpenCode(1, SIDE_A))
        self.assertEqual(client.one(Refused), Refused(1, "forbidden"))
