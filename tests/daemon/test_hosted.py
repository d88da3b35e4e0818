"""Tests of L{securemsg.daemon.hosted}: a contact in a thread of its own. The thread is real; the reactor is not."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import cast

from attrs import Factory, define
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from securemsg.daemon.contact import Contact
from securemsg.daemon.folder import StateError
from securemsg.daemon.hosted import LOGIN_TIME, PAUSE, TICK, HostedContact, OnLogin
from securemsg.daemon.proxy import ChannelProxy, PeerProxy
from securemsg.daemon.worker import Worker
from securemsg.errors import Refusal, RemoteProtocolError
from securemsg.net.turn import Turn
from securemsg.protocol.auth import MEMORY
from securemsg.protocol.channel import IChannel, IPeer
from securemsg.protocol.messages import Message, Ping, Pong, Unknown
from securemsg.protocol.states import Phase
from securemsg.storage.errors import StateDamaged
from tests.daemon.threads import TIMEOUT, ThreadCase
from tests.net.fakes import CHALLENGE, HELLO, PROOF, WELCOME, FakePeer
from tests.responders.test_pool import formatted

FOLDER = Path("/state/contact")


class FakeAgent(FakePeer):
    """The contact's agent, whose profile fails."""

    local_error = StateDamaged("profile.db is damaged")


@define
class FakeContact:
    """
    What lives in the thread.

    @ivar problem: what fails.
    """

    peer: FakeAgent = Factory(FakeAgent)
    ticks: int = 0
    closed_in: str = ""
    threads: set[str] = Factory(set)
    problem: Exception | None = None
    replies: list[tuple[str, str]] = Factory(list)
    forgotten: list[frozenset[bytes]] = Factory(list)
    is_stopped: bool = False

    def tick(self) -> None:
        """Count it."""
        self.ticks += 1
        self._note()

    def reply(self, account: str, text: str, present: frozenset[bytes]) -> None:
        """Remember it."""
        self._note()
        self.replies.append((account, text))

    def forget_gone(self, present: frozenset[bytes]) -> None:
        """Remember it."""
        self._note()
        self.forgotten.append(present)

    def stop(self) -> None:
        """Remember it."""
        self.is_stopped = True

    def close(self) -> None:
        """Remember where."""
        self.closed_in = threading.current_thread().name

    def _note(self) -> None:
        """Remember the thread."""
        self.threads.add(threading.current_thread().name)
        if self.problem is not None:
            raise self.problem


class HostedCase(ThreadCase):
    """A contact in its thread, and the server."""

    # The code that it is refused with, nothing, or C{None}: it does not log in.
    login: str | None = ""

    def setUp(self) -> None:
        """Open and connect it."""
        super().setUp()
        self.server = FakePeer()
        self.contact = FakeContact()
        self.is_open = threading.Event()
        self.hosted = HostedContact(self.reactor, Turn(self.clock), lambda: self.server, FOLDER, self.make)
        self.started = Deferred.fromCoroutine(self.hosted.start())
        self.assertTrue(self.is_open.wait(TIMEOUT))
        self.clock.settle(self.worker)
        self.addCleanup(self.leave)

    def make(self, folder: Path, worker: Worker, on_login: OnLogin) -> Contact:
        """In the thread: open it."""
        self.worker = worker
        self.on_login = on_login
        if self.login is not None:
            on_login(self.login)
        self.is_open.set()
        return cast(Contact, self.contact)

    def leave(self) -> None:
        """Everything ends, and nothing is left ticking."""
        stopped = self.hosted.stop()
        self.clock.wait_for(lambda: stopped.called)
        self.assertEqual(self.contact.closed_in, "contact")
        self.clock.advance(60)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ConnectionTests(HostedCase):
    """Channel and peer, each as the other side of the thread sees it."""

    @property
    def channel(self) -> ChannelProxy:
        """The channel in the thread."""
        assert isinstance(self.contact.peer.channel, ChannelProxy)
        return self.contact.peer.channel

    def say(self, *messages: Message) -> None:
        """The peer in the thread says something."""
        for message in messages:
            self.worker.do(partial(self.channel.send, message))
        self.clock.settle(self.worker)

    def answer(self, message: Message) -> None:
        """The server says something."""
        assert self.server.channel is not None
        self.server.channel.send(message)
        self.clock.settle(self.worker)

    def log_in(self) -> None:
        """Both ends become ready."""
        self.say(HELLO)
        self.answer(CHALLENGE)
        self.say(PROOF)
        self.answer(WELCOME)

    def test_interfaces(self) -> None:
        """The proxies have the interfaces of what they stand for."""
        verifyObject(IChannel, self.channel)
        verifyObject(IPeer, PeerProxy(self.reactor, self.worker, FakePeer()))

    def test_login(self) -> None:
        """The peer sees the greetings that are signed, and how far things have come."""
        phases: list[Phase] = []
        self.contact.peer.react = lambda message: phases.append(self.channel.connection.phase)
        self.log_in()
        self.assertEqual(phases, [Phase.PROVING, Phase.READY])
        self.assertTrue(self.channel.connection.hello)
        self.assertTrue(self.channel.connection.challenge)
        self.assertEqual(self.channel.binding, MEMORY)

    def test_both_ways(self) -> None:
        """Messages go both ways, in order."""
        self.log_in()
        self.say(Ping(1), Ping(2))
        self.answer(Pong(3, 3))
        self.assertEqual(self.server.messages[-2:], [Ping(1), Ping(2)])
        self.assertEqual(self.contact.peer.messages[-1], Pong(3, 3))

    def test_complaint(self) -> None:
        """A peer in the thread that finds fault ends the connection with its code, and another is made."""
        self.log_in()

        def complain(message: Message | Unknown) -> None:
            """Find fault."""
            raise RemoteProtocolError("out-of-turn")

        self.contact.peer.react = complain
        self.answer(Pong(1, 1))
        self.assertEqual((self.server.codes, self.contact.peer.codes), (["out-of-turn"], ["out-of-turn"]))
        first = self.server.channel
        self.clock.advance(PAUSE)
        self.clock.settle(self.worker)
        self.assertIsNot(self.server.channel, first)

    def test_bug(self) -> None:
        """A peer in the thread that fails ends the connection as C{internal}."""
        self.log_in()
        self.contact.peer.react = lambda message: [][0]
        self.answer(Pong(1, 1))
        self.assertEqual(len(self.flushLoggedErrors(IndexError)), 1)
        self.assertEqual(self.server.codes, ["internal"])

    def test_nothing_after_close(self) -> None:
        """A peer that hung up receives nothing that was on its way."""
        self.log_in()
        before = len(self.contact.peer.messages)
        self.worker.do(lambda: self.channel.close("enough"))
        done = threading.Event()
        self.worker.do(done.set)
        done.wait(TIMEOUT)
        self.answer(Pong(1, 1))
        self.assertEqual(len(self.contact.peer.messages), before)
        self.assertEqual(self.server.codes, ["enough"])

    def test_pressure(self) -> None:
        """The peer can pause reading."""
        self.log_in()
        self.worker.do(lambda: self.channel.pause(True))
        self.clock.settle(self.worker)
        self.answer(Pong(1, 1))
        self.assertNotIn(Pong(1, 1), self.contact.peer.messages)
        self.worker.do(lambda: self.channel.pause(False))
        self.clock.settle(self.worker)
        self.assertIn(Pong(1, 1), self.contact.peer.messages)

    def test_ticks(self) -> None:
        """The peer's clock ticks in its own thread; a thread that is busy is not given ticks to pile up."""
        self.clock.advance(TICK)
        self.clock.settle(self.worker)
        self.assertEqual((self.contact.ticks, self.contact.threads), (1, {"contact"}))
        go_on = threading.Event()
        self.worker.do(lambda: go_on.wait(TIMEOUT))
        for _ in range(5):
            self.clock.advance(TICK)
        go_on.set()
        self.clock.settle(self.worker)
        self.assertLessEqual(self.contact.ticks, 3)


class RequestTests(HostedCase):
    """What the daemon wants of its contact."""

    def reply(self, problem: Exception | None) -> Deferred[None]:
        """Have it send a text."""
        self.contact.problem = problem
        sent = Deferred.fromCoroutine(self.hosted.reply("ada", "hello", frozenset()))
        self.assertFalse(sent.called, "not in the contact's thread")
        self.clock.settle(self.worker)
        return sent

    def test_reply(self) -> None:
        """The operator is answered once it is committed."""
        self.successResultOf(self.reply(None))
        self.assertEqual((self.contact.replies, self.contact.threads), ([("ada", "hello")], {"contact"}))

    def test_refused(self) -> None:
        """A refusal is the operator's; a disk that fails is to be tried again, and has a line in the log."""
        refusal = self.failureResultOf(self.reply(Refusal("no-such-account")), Refusal).value
        self.assertEqual(refusal.code, "no-such-account")
        for error in (OSError("the disk is full"), StateDamaged("the disk is full")):
            with capturedLogs() as events:
                refusal = self.failureResultOf(self.reply(error), Refusal).value
            self.assertEqual(refusal.code, "retry-later")
            self.assertIn("the disk is full", str(formatEvent(events[0])))

    def test_bug(self) -> None:
        """Any other error reaches the operator's connection, which it ends."""
        self.failureResultOf(self.reply(ValueError("oh")), ValueError)

    def test_forget_gone(self) -> None:
        """It forgets guests in its own thread."""
        self.hosted.forget_gone(frozenset([b"here"]))
        self.clock.settle(self.worker)
        self.assertEqual((self.contact.forgotten, self.contact.threads), ([frozenset([b"here"])], {"contact"}))

    def test_failing_tick(self) -> None:
        """A tick that fails is logged, and others follow."""
        self.contact.problem = ValueError("a private text")
        with capturedLogs() as events:
            for _ in range(2):
                self.clock.advance(TICK)
                self.clock.settle(self.worker)
        self.assertNotIn("a private text", formatted(events))
        self.assertEqual((self.contact.ticks, len(self.flushLoggedErrors(ValueError))), (2, 2))

    def test_stop_answering(self) -> None:
        """Its commands are stopped at once."""
        self.hosted.stop_answering()
        self.assertTrue(self.contact.is_stopped)

    def test_refused_later(self) -> None:
        """A login that is refused after the first one is logged."""
        self.successResultOf(self.started)
        with capturedLogs() as events:
            for code in ("", "local-error", "forbidden"):
                self.on_login(code)
            self.clock.settle(self.worker)
        (event,) = events
        self.assertIn("refused: forbidden", str(formatEvent(event)))


class RefusedTests(HostedCase):
    """A contact that the server refuses."""

    login = "bad-login"

    def test_start(self) -> None:
        """It does not start; the error names what belongs together."""
        error = self.failureResultOf(self.started, StateError).value
        self.assertIn("bad-login", str(error))
        self.assertIn(f"{FOLDER} and server.db", str(error))


class DamagedTests(HostedCase):
    """A contact whose profile fails while it logs in."""

    login = "local-error"

    def test_start(self) -> None:
        """It does not start, and says why at once."""
        self.assertIn("profile.db is damaged", str(self.failureResultOf(self.started, StateError).value))


class LateTests(HostedCase):
    """A contact that does not log in."""

    login = None

    def test_start(self) -> None:
        """After some time the start fails."""
        self.assertNoResult(self.started)
        self.clock.advance(LOGIN_TIME)
        self.clock.settle(self.worker)
        self.assertIn("did not log in", str(self.failureResultOf(self.started, StateError).value))


class FailingTests(ThreadCase):
    """A contact that cannot be opened."""

    def test_start(self) -> None:
        """The start fails with what opening it raised."""

        def make(folder: Path, worker: Worker, on_login: OnLogin) -> Contact:
            """Fail."""
            raise OSError("no disk")

        hosted = HostedContact(self.reactor, Turn(self.clock), FakePeer, FOLDER, make)
        started = Deferred.fromCoroutine(hosted.start())
        self.clock.wait_for(lambda: started.called)
        self.assertEqual(self.failureResultOf(started, OSError).getErrorMessage(), "no disk")
        stopped = hosted.stop()
        self.clock.wait_for(lambda: stopped.called)
