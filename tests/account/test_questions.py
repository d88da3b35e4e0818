"""Questions with choices: who may answer them, what counts as an answer, and that it is taken once."""

from __future__ import annotations

import msgspec

from securemsg.account import questions
from securemsg.account.errors import SecuremsgError
from securemsg.account.questions import Draft
from securemsg.client import messages
from securemsg.client.context import QUIET
from securemsg.client.messages import Line, Received
from securemsg.client.state import disappearing, preferences
from securemsg.client.state import questions as state
from securemsg.client.state.contacts import get_contact
from securemsg.client.state.conversations import direct, lobby
from securemsg.client.state.questions import BAD, LATE, MAX_QUESTIONS, Asked
from securemsg.client.state.records import HISTORY, QUESTIONS, HistoryRow, load
from securemsg.crypto.keys import random_id
from securemsg.protocol.devices import LOBBY_NAME, SERVER_NAME
from securemsg.protocol.envelope import MIN_KEEP, Choice, Kind, Question, encode_record
from tests.client.case import WorldCase
from tests.client.lobby import LobbyCase
from tests.client.rig import MortalProfile, User

ANSWER_TIME = 600
CHOICES = ("yes", "no", "No")


class QuestionCase(WorldCase):
    """Alice asks, and Bob answers."""

    def ask(self, text: str = "Deploy?", message_id: bytes | None = None, to: str = "bob", user: User | None = None) -> bytes:
        """
        Ask, by default Bob.

        @return: the id of the question.
        """
        user = user or self.alice
        draft = Draft(to, message_id or random_id(), text, CHOICES)
        questions.ask(user.store, [draft], int(self.world.clock) + ANSWER_TIME, now=self.world.now())
        user.pump()
        return draft.message_id

    def answer(self, choice: str, who: str = "alice", user: User | None = None) -> bytes:
        """
        Answer, by default Bob.

        @return: the id of the answer.
        """
        user = user or self.bob
        _, message_id = questions.answer(user.store, who, choice, now=self.world.now())
        user.pump()
        return message_id

    def refused(self, choice: str, who: str = "alice") -> str:
        """Why Bob cannot answer."""
        problem: SecuremsgError = self.assertRaises(SecuremsgError, self.answer, choice, who)
        return problem.code

    def forge(self, user: User, to: str, body: bytes) -> None:
        """Send what another program might send as an answer."""
        with user.store.writing() as records:
            messages.write_in(records, direct(to), body, now=int(self.world.clock), kind=Kind.CHOICE)
        user.pump()

    def asked(self, question: bytes) -> Asked:
        """A question of Alice's, as it stands."""
        asked = self.alice.sent(question).question
        assert asked is not None
        return asked

    def chosen(self, user: User, name: str) -> list[tuple[str, str]]:
        """What stands in a history: each text, with what was chosen."""

        def choice(line: Line) -> str:
            return "" if line.question is None else line.question.choice

        return [(line.text, choice(line)) for line in user.lines(name)]


class QuestionTests(QuestionCase):
    """What is right."""

    def test_answered(self) -> None:
        """The answer comes, signed by Bob's device; both histories show it, and it is unread at Alice's."""
        question = self.ask()
        self.assertEqual(self.bob.read(), ["Deploy?"])
        self.answer("no")
        said = [("Deploy?", "no"), ("no", "no")]
        self.assertEqual((self.chosen(self.alice, "bob"), self.chosen(self.bob, "alice")), (said, said))
        outcome = self.asked(question).outcome
        self.assertEqual((outcome.choice, outcome.device, len(outcome.signature)), (1, self.bob.profile().device_id, 64))
        [unread] = messages.unread(self.alice.store)
        self.assertEqual((unread.seq, unread.kind), (outcome.answer, Kind.CHOICE))
        self.assertEqual((self.alice.codes(), self.bob.codes()), ([], []))

    def test_choices(self) -> None:
        """A choice is named by its text, its number, or its text in another case, if that names one alone."""
        named = {"yes": 0, "YES": 0, "1": 0, "3": 2, "no": 1, "No": 2, "NO": None, "0": None, "4": None, "maybe": None}
        self.assertEqual({text: questions.index_of(CHOICES, text) for text in named}, named)
        self.assertEqual(questions.index_of(("2", "1"), "1"), 1)

    def test_twice(self) -> None:
        """Bob answers once; what was not asked, or is over, cannot be answered."""
        self.assertEqual(self.refused("yes"), "no-question")
        self.ask()
        self.assertEqual(self.refused("maybe"), "not-a-choice")
        self.answer("yes")
        self.assertEqual(self.refused("no"), "question-answered")
        self.ask("Again?")
        self.world.advance(ANSWER_TIME)
        self.assertEqual(self.refused("no"), "question-over")
        self.assertEqual(len(self.bob.lines("alice")), 3)

    def test_several(self) -> None:
        """With several open questions the id says which one is meant."""
        first, second = self.ask("First?"), self.ask("Second?")
        self.assertEqual(self.refused("yes"), "several-questions")
        self.assertEqual(self.refused("yes", first.hex()[:3]), "no-question")
        digits = second.hex()[:12]
        error = self.assertRaises(
            SecuremsgError, questions.answer, self.bob.store, digits, "yes", now=self.world.now(), is_account=True
        )
        self.assertEqual(error.code, "no-question")
        self.answer("yes", digits.upper())
        self.answer("no")
        self.assertEqual((self.asked(first).choice, self.asked(second).choice), ("no", "yes"))

    def test_asked_again(self) -> None:
        """With the same id it is the same question; with another text or recipient, or of another kind, it is an error."""
        question = self.ask()
        self.world.advance(60)
        self.ask(message_id=question)
        self.assertEqual(self.asked(question).until, self.world.clock - 60 + ANSWER_TIME)
        self.assertEqual(len(self.bob.lines("alice")), 1)
        self.world.user("carol")
        for text, to, message_id in (("Else?", "bob", question), ("Deploy?", "carol", question)):
            error = self.assertRaises(SecuremsgError, self.ask, text, message_id, to)
            self.assertEqual(error.code, "conflict")
        said = self.alice.send("bob", "Deploy?")
        self.assertEqual(self.assertRaises(SecuremsgError, self.ask, message_id=said).code, "conflict")
        self.answer("yes")
        self.ask(message_id=question)
        self.assertRaises(SecuremsgError, self.ask, to="carol", message_id=question)
        self.assertEqual(self.asked(question).choice, "yes")

    def test_withdrawn(self) -> None:
        """A question that was withdrawn is asked after all with the same id, unless it is over."""
        self.part(self.alice)
        question = self.ask()
        messages.withdraw(self.alice.store, question)
        self.ask(message_id=question)
        self.assertEqual(self.alice.sent(question).status, "queued")
        messages.withdraw(self.alice.store, question)
        self.world.advance(ANSWER_TIME)
        self.ask(message_id=question)
        self.assertEqual(self.alice.sent(question).status, "withdrawn")

    def test_bounded(self) -> None:
        """The newest questions of a contact can be answered."""
        with self.bob.store.writing() as records:
            for seq in range(MAX_QUESTIONS + 2):
                state.received(records, direct("mallory"), seq + 1, random_id())
            orders = [order for _, order, _ in records.scan(QUESTIONS, direct("mallory").bucket)]
        self.assertEqual((orders[0], len(orders)), (3, MAX_QUESTIONS))

    def test_disappears(self) -> None:
        """A question disappears as texts do, but not before it is over; what is gone cannot be answered."""
        with self.alice.store.inner.writing() as records:
            disappearing.choose(records, direct("bob"), MIN_KEEP)
        question = self.ask()
        self.bob.read()
        self.world.advance(ANSWER_TIME - 10, 10)
        self.answer("yes")
        self.assertEqual(self.asked(question).choice, "yes")
        self.world.advance(600, 10)
        self.assertEqual((self.chosen(self.bob, "alice"), self.refused("yes")), ([("yes", "yes")], "no-question"))
        with self.bob.store.reading() as records:
            self.assertEqual(records.scan(QUESTIONS), [])

    def test_known(self) -> None:
        """Whom somebody asks or answers is known, and gets receipts."""
        question = self.ask()
        self.assertEqual(self.alice.sent(question).status, "accepted")
        answer = self.answer("yes")
        self.assertEqual((self.bob.sent(answer).status, self.alice.sent(question).status), ("delivered", "accepted"))
        self.assertEqual(self.alice.sent(self.ask()).status, "delivered")

    def test_blocked(self) -> None:
        """Who was blocked meanwhile has not answered."""
        question = self.ask()
        with self.alice.store.inner.writing() as records:
            preferences.block(records, "bob", is_blocked=True)
        self.answer("yes")
        self.assertEqual((self.asked(question).choice, self.alice.codes()), ("", []))

    def test_too_long(self) -> None:
        """A text that leaves no room for the choices is refused."""
        error = self.assertRaises(SecuremsgError, self.ask, "x" * 49_150)
        self.assertEqual(error.code, "too-large")

    def test_unknown_before(self) -> None:
        """What an earlier release kept as a message of an unknown kind is shown as that."""
        self.ask()
        with self.bob.store.writing() as records:
            [(_, seq, _)] = records.scan(QUESTIONS)
            row = load(records, HistoryRow, HISTORY, direct("alice").bucket, seq)
        assert row is not None
        odd = msgspec.structs.replace(row, content=msgspec.structs.replace(row.content, body=b"odd"))
        self.assertIsNone(state.asked_in(odd))


class FalseAnswerTests(QuestionCase):
    """What is no answer changes nothing, and Alice is warned."""

    def choice(self, asked: bytes, signed: int = 0, user: User | None = None, **changes: object) -> bytes:
        """What Bob's client would say."""
        user = user or self.bob
        with user.store.writing() as records:
            contact = get_contact(records, "alice")
            [(_, seq, _)] = [row for row in records.scan(QUESTIONS) if row[2] == asked] or records.scan(QUESTIONS, limit=1)
            row = load(records, HistoryRow, HISTORY, direct("alice").bucket, seq)
        assert contact is not None
        assert row is not None
        return encode_record(msgspec.structs.replace(state.choose(user.profile(), contact, row, signed), **changes))

    def assert_ignored(self, code: str, *open_still: bytes) -> None:
        """Alice was warned, sees no answer, and these questions are open."""
        self.assertEqual(self.alice.codes(), [code])
        self.assertEqual([line for line in self.alice.lines("bob") if isinstance(line, Received)], [])
        for question in open_still:
            self.assertTrue(self.asked(question).is_open(self.world.clock))

    def test_right(self) -> None:
        """What the other tests change counts as it is."""
        question = self.ask()
        self.forge(self.bob, "alice", self.choice(question))
        self.assertEqual((self.asked(question).choice, self.alice.codes()), ("yes", []))

    def test_signature(self) -> None:
        """The signature must be right."""
        question = self.ask()
        self.forge(self.bob, "alice", self.choice(question, signature=bytes(64)))
        self.assert_ignored(BAD, question)

    def test_other_choice(self) -> None:
        """A signature for one choice is none for another."""
        question = self.ask()
        self.forge(self.bob, "alice", self.choice(question, index=1))
        self.assert_ignored(BAD, question)

    def test_no_choice(self) -> None:
        """There must be such a choice, whatever is signed."""
        question = self.ask()
        self.forge(self.bob, "alice", self.choice(question, len(CHOICES)))
        self.assert_ignored(BAD, question)

    def test_other_question(self) -> None:
        """A signature for one question is none for another with the same words."""
        first, second = self.ask(), self.ask()
        self.forge(self.bob, "alice", self.choice(first, question=second))
        self.assert_ignored(BAD, first, second)

    def test_never_asked(self) -> None:
        """What Alice has never asked is not answered."""
        question = self.ask()
        self.forge(self.bob, "alice", self.choice(question, question=random_id()))
        self.assert_ignored(BAD, question)

    def test_text(self) -> None:
        """Nor is what Alice has said as a text, or has answered."""
        question, said = self.ask(), self.alice.send("bob", "Deploy?")
        self.forge(self.bob, "alice", self.choice(question, question=said))
        self.assert_ignored(BAD, question)
        self.ask(to="alice", user=self.bob)
        answer = self.answer("yes", "bob", self.alice)
        self.alice.events.clear()
        self.world.advance(QUIET)
        self.forge(self.bob, "alice", self.choice(question, question=answer))
        self.assertEqual(self.alice.codes(), [BAD])

    def test_asked_of_another(self) -> None:
        """Carol cannot answer what Bob was asked, whoever has signed it."""
        carol = self.world.user("carol")
        question = self.ask()
        with self.bob.store.reading() as records:
            [(_, seq, _)] = records.scan(QUESTIONS)
            row, contact = load(records, HistoryRow, HISTORY, direct("alice").bucket, seq), get_contact(records, "alice")
        assert row is not None
        assert contact is not None
        for user in (carol, self.bob):
            self.alice.events.clear()
            self.world.advance(QUIET)
            self.forge(carol, "alice", encode_record(state.choose(user.profile(), contact, row, 0)))
            self.assertEqual((self.alice.codes(), self.asked(question).choice, self.alice.lines("carol")), ([BAD], "", []))

    def test_forwarded(self) -> None:
        """Bob's answer counts for nothing where Carol was asked the same under her own id."""
        self.world.user("carol")
        question = self.ask()
        other = self.ask(to="carol")
        self.forge(self.world.users["carol"], "alice", self.choice(question, question=other))
        self.assertEqual((self.alice.codes(), self.asked(other).choice), ([BAD], ""))

    def test_second(self) -> None:
        """The first answer counts, whatever comes later."""
        question = self.ask()
        second = self.choice(question, 1)
        self.answer("yes")
        self.forge(self.bob, "alice", second)
        self.assertEqual((self.asked(question).choice, self.alice.codes()), ("yes", [LATE]))
        self.assertEqual(self.chosen(self.alice, "bob"), [("Deploy?", "yes"), ("yes", "yes")])

    def test_late(self) -> None:
        """What comes when the time is over does not count."""
        question = self.ask()
        late = self.choice(question)
        self.world.advance(ANSWER_TIME)
        self.forge(self.bob, "alice", late)
        self.assert_ignored(LATE)

    def test_closed(self) -> None:
        """Nor does what comes when nobody waits any more, whatever the clock says; an answer that was taken stays."""
        question = self.ask()
        questions.close(self.alice.store, question)
        self.answer("yes")
        self.assert_ignored(LATE)
        self.alice.events.clear()
        question = self.ask()
        self.answer("yes")
        questions.close(self.alice.store, question)
        self.assertEqual(self.asked(question).choice, "yes")

    def test_malformed(self) -> None:
        """A question or an answer that is not in its form goes where all such messages go."""
        self.ask()
        self.forge(self.bob, "alice", b"odd")
        self.assert_ignored("bad-content")
        for choices in (("a", "a"), ("a", ""), ("a", "b\n"), ("a", "x" * 65), ("a", "\u00fc" * 33)):
            self.assertRaises(ValueError, Question, "?", choices, 1)
        Question("?", ("a", "\u00fc" * 32), 1)
        self.assertRaises(ValueError, msgspec.convert, ["?", ["a"], 1], Question)
        self.assertRaises(ValueError, msgspec.convert, [bytes(16), 16, bytes(64)], Choice)


class MishapTests(QuestionCase):
    """Processes die, and profiles are restored."""

    def play(self, asked_until: int, answered_until: int) -> tuple[int, int]:
        """
        Alice asks and Bob answers; each may die at one moment, and does the same again then.

        @return: how many moments each had.
        """
        self.setUp()
        fates = self.alice.store.fate, self.bob.store.fate
        for fate, deadline in zip(fates, (asked_until, answered_until), strict=True):
            fate.moments, fate.deadline = 0, deadline
        question = random_id()

        def ask() -> None:
            draft = Draft("bob", question, "Deploy?", CHOICES)
            questions.ask(self.alice.store, [draft], int(self.world.clock) + ANSWER_TIME, now=self.world.now())
            if self.alice.agent is not None:
                self.alice.agent.pump()

        def answer() -> None:
            try:
                questions.answer(self.bob.store, "alice", "yes", now=self.world.now())
            except SecuremsgError as problem:
                self.assertEqual(problem.code, "question-answered")
            if self.bob.agent is not None:
                self.bob.agent.pump()

        self.world.survive(ask)
        self.world.survive(answer)
        said = [("Deploy?", "yes"), ("yes", "yes")]
        self.assertEqual((self.chosen(self.alice, "bob"), self.chosen(self.bob, "alice")), (said, said))
        self.assertEqual((self.asked(question).choice, self.alice.codes(), self.bob.codes()), ("yes", [], []))
        return fates[0].moments, fates[1].moments

    def test_kills(self) -> None:
        """Whoever dies between any two durable steps, and does the same again: there is one question, and one answer to it."""
        alice, bob = self.play(0, 0)
        for moment in range(1, alice + 1):
            self.play(moment, 0)
        for moment in range(1, bob + 1):
            self.play(0, moment)

    def restore(self, user: User, backup: MortalProfile) -> None:
        """Put a profile back."""
        user.die()
        self.world.settle()
        user.store = backup
        user.events.clear()
        user.connect()

    def test_restored_asker(self) -> None:
        """A profile from before the question knows of none, and takes no answer."""
        backup = MortalProfile(self.alice.backup())
        self.ask()
        self.restore(self.alice, backup)
        self.answer("yes")
        self.assertIn(BAD, self.alice.codes())
        self.assertEqual([line.kind for line in self.alice.lines("bob")], [])

    def test_restored_answerer(self) -> None:
        """A profile from before its answer may answer again; the first one counts."""
        question = self.ask()
        backup = MortalProfile(self.bob.backup())
        self.answer("yes")
        self.restore(self.bob, backup)
        self.answer("no")
        self.assertEqual((self.asked(question).choice, self.alice.codes()), ("yes", [LATE]))


class ElsewhereTests(LobbyCase):
    """Questions are for two accounts alone."""

    def test_lobby(self) -> None:
        """In the lobby a question is malformed."""
        self.enter(self.alice)
        body = encode_record(Question("Deploy?", CHOICES, int(self.world.clock) + ANSWER_TIME))
        with self.alice.store.writing() as records:
            messages.write_in(records, lobby(SERVER_NAME), body, now=int(self.world.clock), kind=Kind.QUESTION)
        self.alice.pump()
        self.assertEqual(messages.quarantined(self.contact.user.store), (1, 0))

    def test_nobody(self) -> None:
        """Rooms and C{server} cannot be asked, nor can several if one of them cannot."""
        for wrong in ("#team", LOBBY_NAME, SERVER_NAME):
            drafts = [Draft(to, random_id(), "Deploy?", CHOICES) for to in ("bob", wrong)]
            until = int(self.world.clock) + ANSWER_TIME
            problem = self.assertRaises(SecuremsgError, questions.ask, self.alice.store, drafts, until, now=self.world.clock)
            self.assertEqual((problem.code, self.alice.lines("bob")), ("no-questions", []))
