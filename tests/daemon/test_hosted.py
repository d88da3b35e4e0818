"""Tests of L{securemsg.daemon.hosted}: a peer in a thread of its own. The threads here are real; the reactor is not."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from attrs import Factory, define
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from securemsg.daemon.hosted import PAUSE, TICK, HostedClient
from securemsg.daemon.proxy import ChannelProxy, PeerProxy
from securemsg.daemon.worker import Worker
from securemsg.errors import RemoteProtocolError
from securemsg.net.turn import Turn
from securemsg.protocol.auth import MEMORY
from securemsg.protocol.channel import IChannel, IPeer
from securemsg.protocol.messages import Message, Ping, Pong, Unknown
from securemsg.protocol.states import Phase
from tests.net.fakes import CHALLENGE, HELLO, PROOF, WELCOME, FakePeer

# A thread that does not answer within this time will not.
PATIENCE = 10


class ThreadClock(Clock):
    """A clock that takes calls from other threads, and makes them in the test's."""

    def __init__(self) -> None:
        """Nothing came yet."""
        super().__init__()
        self.waiting: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()

    def callFromThread(self, call: Callable[..., object], *args: object, **kwargs: object) -> None:
        """See C{IReactorFromThreads}."""
        self.waiting.put(lambda: call(*args, **kwargs))

    def settle(self, worker: Worker) -> None:
        """Let thread and reactor work until neither has anything left for the other."""
        quiet = 0
        while quiet < 3:
            self.advance(0)
            done = threading.Event()
            worker.do(done.set)
            if not done.wait(PATIENCE):
                raise AssertionError("the thread hangs")
            quiet += 1
            while not self.waiting.empty():
                self.waiting.get()()
                quiet = 0

    def wait_for(self, seen: Callable[[], object]) -> None:
        """Make calls until something is seen."""
        while not seen():
            self.waiting.get(timeout=PATIENCE)()


@define
class FakeLodging:
    """What lives in the thread."""

    peer: FakePeer = Factory(FakePeer)
    ticks: int = 0
    closed_in: str = ""
    threads: set[str] = Factory(set)

    def tick(self) -> None:
        """Count it."""
        self.ticks += 1
        self.threads.add(threading.current_thread().name)

    def close(self) -> None:
        """Remember where."""
        self.closed_in = threading.current_thread().name


class WorkerCase(SynchronousTestCase):
    """A thread."""

    def setUp(self) -> None:
        """Start it."""
        self.clock = ThreadClock()
        # Of a reactor no more is used here than this clock has.
        self.reactor = cast(Any, self.clock)
        self.worker = Worker(self.reactor, "contact")

    def end(self) -> None:
        """Wait for its end."""
        stopped = self.worker.stop()
        self.clock.wait_for(lambda: stopped.called)
        self.successResultOf(stopped)


class WorkerTests(WorkerCase):
    """One call after another."""

    def test_order(self) -> None:
        """Calls are made in order, in the thread; one that fails is logged, and the next is made."""
        made: list[str] = []
        self.worker.start()
        self.worker.do(lambda: made.append(threading.current_thread().name))
        self.worker.do(lambda: [][0])
        self.worker.do(lambda: made.append("after"))
        self.end()
        self.assertEqual(made, ["contact", "after"])
        self.assertEqual(len(self.flushLoggedErrors(IndexError)), 1)


class FarTests(WorkerCase):
    """Channel and peer, each as the other side of the thread sees it."""

    def setUp(self) -> None:
        """Put a peer into the thread, and join it to the server."""
        super().setUp()
        self.server = FakePeer()
        self.hosted = FakeLodging()
        self.failures: list[Failure] = []
        self.hosted_client = HostedClient(
            self.reactor,
            self.worker,
            Turn(self.clock),
            lambda: self.server,
            lambda: self.hosted,
            self.failures.append,
        )
        self.hosted_client.start()
        self.clock.settle(self.worker)
        self.addCleanup(self.leave)

    def leave(self) -> None:
        """Everything ends, and nothing is left ticking."""
        stopped = self.hosted_client.stop()
        self.clock.wait_for(lambda: stopped.called)
        self.assertEqual(self.hosted.closed_in, "contact")
        self.clock.advance(60)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @property
    def far(self) -> ChannelProxy:
        """The channel in the thread."""
        assert isinstance(self.hosted.peer.channel, ChannelProxy)
        return self.hosted.peer.channel

    def say(self, *messages: Message) -> None:
        """The peer in the thread says something."""
        for message in messages:
            self.worker.do(partial(self.far.send, message))
        self.clock.settle(self.worker)

    def hear(self, message: Message) -> None:
        """The server says something."""
        assert self.server.channel is not None
        self.server.channel.send(message)
        self.clock.settle(self.worker)

    def log_in(self) -> None:
        """Both ends become ready."""
        self.say(HELLO)
        self.hear(CHALLENGE)
        self.say(PROOF)
        self.hear(WELCOME)

    def test_interfaces(self) -> None:
        """The far ends are what they stand for."""
        verifyObject(IChannel, self.far)
        verifyObject(IPeer, PeerProxy(self.reactor, self.worker, FakePeer()))

    def test_login(self) -> None:
        """The peer sees the greetings that are signed, and how far things have come."""
        phases: list[Phase] = []
        self.hosted.peer.react = lambda message: phases.append(self.far.connection.phase)
        self.log_in()
        self.assertEqual(phases, [Phase.PROVING, Phase.READY])
        self.assertTrue(self.far.connection.hello)
        self.assertTrue(self.far.connection.challenge)
        self.assertEqual(self.far.binding, MEMORY)

    def test_both_ways(self) -> None:
        """Messages go both ways, in order."""
        self.log_in()
        self.say(Ping(1), Ping(2))
        self.hear(Pong(3, 3))
        self.assertEqual(self.server.messages[-2:], [Ping(1), Ping(2)])
        self.assertEqual(self.hosted.peer.messages[-1], Pong(3, 3))

    def test_complaint(self) -> None:
        """A peer in the thread that finds fault ends the connection with its code, and another is made."""
        self.log_in()

        def complain(message: Message | Unknown) -> None:
            """Find fault."""
            raise RemoteProtocolError("out-of-turn")

        self.hosted.peer.react = complain
        self.hear(Pong(1, 1))
        self.assertEqual((self.server.codes, self.hosted.peer.codes), (["out-of-turn"], ["out-of-turn"]))
        first = self.server.channel
        self.clock.advance(PAUSE)
        self.clock.settle(self.worker)
        self.assertIsNot(self.server.channel, first)

    def test_bug(self) -> None:
        """A peer in the thread that fails ends the connection as C{internal}."""
        self.log_in()
        self.hosted.peer.react = lambda message: [][0]
        self.hear(Pong(1, 1))
        self.assertEqual(len(self.flushLoggedErrors(IndexError)), 1)
        self.assertEqual(self.server.codes, ["internal"])

    def test_nothing_after_close(self) -> None:
        """A peer that hung up hears nothing of what was on its way."""
        self.log_in()
        heard = len(self.hosted.peer.messages)
        self.worker.do(lambda: self.far.close("enough"))
        done = threading.Event()
        self.worker.do(done.set)
        done.wait(PATIENCE)
        self.hear(Pong(1, 1))
        self.assertEqual(len(self.hosted.peer.messages), heard)
        self.assertEqual(self.server.codes, ["enough"])

    def test_pressure(self) -> None:
        """The peer can pause the reading, and is told of a full buffer."""
        self.log_in()
        self.worker.do(lambda: self.far.pause(True))
        self.clock.settle(self.worker)
        self.hear(Pong(1, 1))
        self.assertNotIn(Pong(1, 1), self.hosted.peer.messages)
        self.worker.do(lambda: self.far.pause(False))
        self.clock.settle(self.worker)
        self.assertIn(Pong(1, 1), self.hosted.peer.messages)

    def test_ticks(self) -> None:
        """The peer's clock ticks in its own thread; a thread that is busy is not given ticks to pile up."""
        self.clock.advance(TICK)
        self.clock.settle(self.worker)
        self.assertEqual((self.hosted.ticks, self.hosted.threads), (1, {"contact"}))
        go_on = threading.Event()
        self.worker.do(lambda: go_on.wait(PATIENCE))
        for _ in range(5):
            self.clock.advance(TICK)
        go_on.set()
        self.clock.settle(self.worker)
        self.assertLessEqual(self.hosted.ticks, 3)


class FailingTests(WorkerCase):
    """Where nothing can be opened in the thread."""

    def test_told(self) -> None:
        """Whoever waits is told why, in the reactor's thread."""
        failures: list[Failure] = []

        def make() -> FakeLodging:
            """Fail."""
            raise OSError("no disk")

        hosted_client = HostedClient(self.reactor, self.worker, Turn(self.clock), FakePeer, make, failures.append)
        hosted_client.start()
        self.clock.wait_for(lambda: failures)
        self.assertEqual(failures[0].getErrorMessage(), "no disk")
        stopped = hosted_client.stop()
        self.clock.wait_for(lambda: stopped.called)
