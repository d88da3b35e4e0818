"""Long conversations over a line that loses, repeats, reorders and damages, in which both sides begin sessions at any time."""

from __future__ import annotations

from attrs import define, evolve, field
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.sessions.store import MAX_SESSIONS
from securemsg.crypto.skipped import MAX_CHAINS
from securemsg.errors import Refusal
from tests.client.people import Person, Sender, friends

# A message is overtaken by fewer later ones than there are chains whose skipped keys are kept: more may be lost for good.
MOST_OVERTAKING = MAX_CHAINS - 1
# Fewer than the sessions that are kept.
MOST_SESSIONS = MAX_SESSIONS // 2 - 1
SIDES = st.integers(0, 1)
PLACES = st.integers(0, MOST_OVERTAKING)

STEPS = st.one_of(
    st.tuples(st.just("send"), SIDES, st.just(0)),
    st.tuples(st.just("deliver"), SIDES, PLACES),
    st.tuples(st.just("deliver"), SIDES, PLACES),
    st.tuples(st.just("lose"), SIDES, PLACES),
    st.tuples(st.just("repeat"), SIDES, st.integers(0, 1000)),
    st.tuples(st.just("damage"), SIDES, st.integers(0, 100_000)),
    st.tuples(st.just("reflect"), SIDES, PLACES),
    st.tuples(st.just("forget"), SIDES, st.just(0)),
    st.tuples(st.just("sell out"), SIDES, st.just(0)),
)


@define
class Waiting:
    """A message on the line, and by how many later ones it was overtaken."""

    post: Sender
    text: bytes
    overtaken: int = 0


@define
class Line:
    """
    The way to one of two people, and what the test knows of it.

    @ivar waiting: sent and not yet delivered.
    @ivar given: delivered and read.
    @ivar forgotten: how often the reader began anew.
    """

    reader: Person
    waiting: list[Waiting] = field(factory=list)
    given: list[Sender] = field(factory=list)
    forgotten: int = 0

    def take(self, place: int) -> Waiting:
        """The message at this place, or the first before it that cannot be overtaken once more."""
        for earlier, message in enumerate(self.waiting[:place]):
            if message.overtaken == MOST_OVERTAKING:
                return self.take(earlier)
        for message in self.waiting[:place]:
            message.overtaken += 1
        return self.waiting.pop(place)


@define
class Conversation:
    """Two people, and a line to each."""

    case: SynchronousTestCase
    lines: tuple[Line, Line]
    sent: int = 0

    def step(self, what: str, side: int, place: int) -> None:
        """Do one thing to the line to this side."""
        line, back = self.lines[side], self.lines[1 - side]
        if what == "send":
            self.send(line, back.reader)
        elif what == "deliver" and place < len(line.waiting):
            message = line.take(place)
            self.case.assertEqual(line.reader.read(message.post), message.text)
            line.given.append(message.post)
        elif what == "lose" and place < len(line.waiting):
            del line.waiting[place]
        elif what == "repeat" and line.given:
            self.refuse(line.reader, line.given[place % len(line.given)])
        elif what == "damage" and line.waiting:
            post = line.waiting[0].post
            own = bytearray(post.own)
            own[place % len(own)] ^= 1 << place % 8
            self.refuse(line.reader, evolve(post, own=bytes(own)))
        elif what == "reflect" and place < len(line.waiting):
            post = line.waiting[place].post
            self.refuse(back.reader, evolve(post, account=line.reader.name, device=line.reader.device.id))
        elif what == "forget" and line.forgotten < MOST_SESSIONS:
            line.forgotten += 1
            line.reader.forget(back.reader)
        elif what == "sell out":
            line.reader.shelf.sell_out()

    def send(self, line: Line, sender: Person) -> None:
        """Put another message on the line."""
        self.sent += 1
        text = b"%d" % self.sent
        line.waiting.append(Waiting(sender.send(line.reader, text), text))

    def refuse(self, reader: Person, post: Sender) -> None:
        """This is refused, and changes nothing."""
        before = reader.dump()
        self.case.assertRaises(Refusal, reader.read, post)
        self.case.assertEqual(reader.dump(), before)

    def settle(self) -> None:
        """Deliver everything, then let each side write once more, twice: whatever happened before, both are understood."""
        for side in (0, 1):
            while self.lines[side].waiting:
                self.step("deliver", side, 0)
        for side in (0, 1, 0, 1):
            self.send(self.lines[side], self.lines[1 - side].reader)
            self.step("deliver", side, 0)


class ConversationTests(SynchronousTestCase):
    """Whatever the line does: what is delivered is read exactly once, and what is refused changes nothing."""

    @settings(
        max_examples=60,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(STEPS, min_size=10, max_size=120))
    def test_long_and_lossy(self, steps: list[tuple[str, int, int]]) -> None:
        """Every message that is delivered decrypts, exactly once; no repetition, damage or reflection changes a record."""
        alice, bob = friends()
        conversation = Conversation(self, (Line(alice), Line(bob)))
        for what, side, place in steps:
            conversation.step(what, side, place)
        conversation.settle()
