"""The client end of the control socket."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from securemsg.account.errors import Exit, SecuremsgError
from securemsg.cli.admin.client import AdminClient
from securemsg.errors import RemoteProtocolError
from securemsg.protocol import messages as m
from securemsg.protocol.auth import UNIX, Binding
from securemsg.protocol.channel import IChannel, IPeer
from securemsg.protocol.connection import Connection
from securemsg.protocol.states import Side

CHALLENGE = m.Challenge(1, [], bytes(32), bytes(32), bytes(64))
WELCOME = m.Welcome(0, 0, m.PrekeyStock(0, 0, 0, 0), [])


@implementer(IChannel)
@define(eq=False)
class Wire:
    """A channel that records what is sent."""

    binding: Binding = UNIX
    source: bytes = b""
    connection: Connection = field(factory=lambda: Connection(Side.CLIENT))
    said: list[object] = field(factory=list)

    def send(self, message: m.Message) -> None:
        """Record it."""
        self.said.append(message)

    def close(self, code: str = "", retry_after: int | None = None) -> None:
        """Record it."""
        self.said.append(code)

    def moved_at(self) -> float:
        """Nothing moves."""
        return 0.0

    def pause(self, wanted: bool) -> None:
        """Nothing is read here."""


class OperatorTests(SynchronousTestCase):
    """Questions and answers."""

    def setUp(self) -> None:
        """Make a client whose socket is not open yet."""
        self.operator = AdminClient("/state")
        self.wire = Wire()

    def greet(self) -> None:
        """Open the socket and let the daemon answer the greeting."""
        self.operator.opened(self.wire)
        self.operator.received(CHALLENGE)
        self.operator.received(WELCOME)

    def status(self, answered: Deferred[m.Message]) -> Exit:
        """Return the exit status that a question ended with."""
        problem = self.failureResultOf(answered, SecuremsgError).value
        assert isinstance(problem, SecuremsgError)
        return problem.status

    def test_interface(self) -> None:
        """The client implements the interface of a peer."""
        verifyObject(IPeer, self.operator)

    def test_greeting(self) -> None:
        """The greeting is the usual one in the operator's role, without a signature."""
        self.greet()
        hello, proof = self.wire.said
        assert isinstance(hello, m.Hello)
        self.assertEqual((hello.role, hello.transport), ("operator", "unix"))
        self.assertEqual(proof, m.Proof("", b"", 0, b""))

    def test_question(self) -> None:
        """A question waits for the end of the greeting, then gets its answer."""
        answered = self.operator.ask(m.GetAddress(0))
        self.operator.opened(self.wire)
        self.assertNotIn(m.GetAddress(0), self.wire.said)
        self.operator.received(CHALLENGE)
        self.operator.received(WELCOME)
        self.assertEqual(self.wire.said[-1], m.GetAddress(0))
        self.operator.received(m.Done(0))
        self.assertEqual(self.successResultOf(answered), m.Done(0))

    def test_refused(self) -> None:
        """A refusal ends the question, not the connection."""
        self.greet()
        self.operator_refuses("no-such-account", Exit.NO_CONTACT)
        self.operator_refuses("forbidden", Exit.REFUSED)

    def operator_refuses(self, code: str, status: Exit) -> None:
        """Ask a question and refuse it."""
        answered = self.operator.ask(m.RemoveAccount(0, "bob"))
        self.operator.received(m.Refused(0, code))
        self.assertEqual(self.status(answered), status)

    def test_no_daemon(self) -> None:
        """Without a daemon every question fails at once and names the command that starts one."""
        early = self.operator.ask(m.GetAddress(0))
        self.operator.failed("not-connected")
        self.assertEqual(self.status(early), Exit.NOT_CONNECTED)
        problem = self.failureResultOf(self.operator.ask(m.GetAddress(0)), SecuremsgError).value
        self.assertIn("securemsg serve --state /state", problem.hint)

    def test_lost(self) -> None:
        """A lost connection fails every open question."""
        self.greet()
        answered = self.operator.ask(m.GetAddress(0))
        self.operator.closed("lost")
        self.assertEqual(self.status(answered), Exit.NOT_CONNECTED)

    def test_answer_to_nothing(self) -> None:
        """An unexpected answer is a protocol error."""
        self.greet()
        error = self.assertRaises(RemoteProtocolError, self.operator.received, m.Done(0))
        self.assertEqual(error.code, "out-of-turn")
