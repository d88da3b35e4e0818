"""Tests of L{securemsg.net.memory}: a pair of ends in one process."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from securemsg.net.memory import connect_memory, observe_memory
from securemsg.net.timeouts import CLOSING_TIME
from securemsg.protocol.auth import MEMORY
from securemsg.protocol.messages import Message, Ping, Pong, Unknown
from securemsg.protocol.states import Side
from tests.net.fakes import End, log_in


class PairTests(SynchronousTestCase):
    """Two ends that are joined and logged in."""

    def setUp(self) -> None:
        """Join them."""
        self.clock = Clock()
        self.server, self.client = End(Side.SERVER, self.clock), End(Side.CLIENT, self.clock)
        self.server_stream, self.client_stream = connect_memory(
            self.server.options(observe_memory, handshake=False),
            self.client.options(observe_memory, handshake=False),
            self.clock,
        )

    def turn(self) -> None:
        """Let the ends write, and take what the other wrote."""
        self.clock.advance(0)

    def log_in(self) -> None:
        """Both ends become ready."""
        log_in(self.server.peer, self.client.peer, self.turn)

    def test_binding(self) -> None:
        """A login over memory is bound to nothing but that."""
        self.assertEqual((self.server_stream.binding, self.client_stream.binding), (MEMORY, MEMORY))

    def test_both_ways(self) -> None:
        """Messages go both ways."""
        self.log_in()
        self.client_stream.send(Ping(1))
        self.server_stream.send(Pong(2, 3))
        self.turn()
        self.assertEqual((self.server.peer.messages, self.client.peer.messages), ([Ping(1)], [Pong(2, 3)]))

    def test_never_nested(self) -> None:
        """Two ends that answer each other do so in turns of their own, however long it goes on."""
        self.log_in()
        inside = [False]

        def answer(message: Message | Unknown) -> None:
            """Answer, and check that this is not re-entered."""
            self.assertFalse(inside[0])
            inside[0] = True
            if isinstance(message, Ping):
                self.server_stream.send(Pong(message.request, 0))
            elif isinstance(message, Pong) and message.request < 5000:
                self.client_stream.send(Ping(message.request + 1))
            inside[0] = False

        self.server.peer.react = self.client.peer.react = answer
        self.client_stream.send(Ping(1))
        self.turn()
        self.assertEqual(len(self.server.peer.messages), 5000)

    def test_pressure(self) -> None:
        """When one end does not read, the other learns that its buffer is full; nothing is lost when reading resumes."""
        self.log_in()
        self.server_stream.pause(True)
        for number in range(20000):
            self.client_stream.send(Ping(number))
        self.turn()
        # So much is read at most while nobody wants it.
        self.client.peer.full.clear()
        for number in range(20000, 40000):
            self.client_stream.send(Ping(number))
        self.turn()
        self.assertEqual((self.client.peer.full, self.server.peer.messages), ([True], []))
        self.server_stream.pause(False)
        self.turn()
        self.assertEqual(self.client.peer.full, [True, False])
        self.assertEqual(self.server.peer.messages, [Ping(number) for number in range(40000)])

    def test_close(self) -> None:
        """The last message arrives, both peers are told once of the end, and nothing is left ticking."""
        self.log_in()
        self.client_stream.send(Ping(1))
        self.server_stream.close("stopping")
        self.turn()
        self.assertEqual((self.server.peer.codes, self.client.peer.codes), (["stopping"], ["stopping"]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_both_close(self) -> None:
        """Ends that hang up at the same time are told once each."""
        self.log_in()
        self.client_stream.close()
        self.server_stream.close("stopping")
        self.turn()
        self.assertEqual((self.server.peer.codes, self.client.peer.codes), (["stopping"], [""]))

    def test_late_abort(self) -> None:
        """An end that does not read is gone five seconds after the last message."""
        self.log_in()
        self.client_stream.pause(True)
        for number in range(20000):
            self.server_stream.send(Pong(number, 0))
        self.turn()
        self.server_stream.close("stopping")
        self.turn()
        self.assertEqual(self.client.peer.codes, [])
        self.clock.advance(CLOSING_TIME)
        self.turn()
        self.assertEqual((self.server.peer.codes, self.client.peer.codes), (["stopping"], ["lost"]))
