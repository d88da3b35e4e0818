"""The operator's end of the daemon's control socket: the same protocol as for other clients, in another role."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from securemsg.account.errors import SecuremsgError, error_for
from securemsg.crypto.keys import nonce
from securemsg.errors import RemoteProtocolError
from securemsg.protocol.auth import FEATURES, VERSION
from securemsg.protocol.channel import IChannel, IPeer
from securemsg.protocol.messages import Challenge, Hello, Message, Proof, Refused, Unknown, Welcome

# The kernel identifies us, and the folder identifies the daemon, so nothing is signed.
NO_SIGNATURE = b""


@implementer(IPeer)
class AdminClient:
    """Asks the daemon, one question at a time."""

    def __init__(self, where: str) -> None:
        """
        @param where: the state folder, for messages.
        """
        self._where = where
        self._channel: IChannel | None = None
        self._is_ready = False
        self._questions: deque[tuple[Any, Deferred[Message]]] = deque()
        self._end = ""

    def ask(self, question: Message) -> Deferred[Message]:
        """
        Ask, once the greeting is over. One question at a time: the number in it is C{0}.

        @return: the answer, or a L{SecuremsgError}.
        """
        answered: Deferred[Message] = Deferred()
        if self._end:
            answered.errback(self._error(self._end))
            return answered
        self._questions.append((question, answered))
        if self._is_ready and self._channel is not None:
            self._channel.send(question)
        return answered

    def failed(self, code: str) -> None:
        """The daemon does not answer on the socket."""
        self._give_up("no-daemon" if code == "not-connected" else code)

    def opened(self, channel: IChannel) -> None:
        """Send Hello."""
        self._channel = channel
        channel.send(Hello([VERSION], list(FEATURES), "operator", "unix", nonce()))

    def received(self, message: Message | Unknown) -> None:
        """
        Go through the greeting, then hand out answers.

        @raise RemoteProtocolError: C{out-of-turn}: an answer to nothing.
        """
        assert self._channel is not None, "opened before anything is received"
        if isinstance(message, Challenge):
            self._channel.send(Proof("", b"", 0, NO_SIGNATURE))
        elif isinstance(message, Welcome):
            self._is_ready = True
            for question, _ in self._questions:
                self._channel.send(question)
        elif not self._questions:
            raise RemoteProtocolError("out-of-turn")
        else:
            _, answered = self._questions.popleft()
            if isinstance(message, Refused):
                answered.errback(self._error(message.code))
            elif isinstance(message, Unknown):
                answered.errback(self._error("unknown-message"))
            else:
                answered.callback(message)

    def writable(self, yes: bool) -> None:
        """One question is never too much."""

    def closed(self, code: str) -> None:
        """The daemon has hung up."""
        self._give_up(code or "lost")

    def _give_up(self, code: str) -> None:
        self._end = self._end or code
        questions, self._questions = self._questions, deque()
        for _, answered in questions:
            answered.errback(self._error(self._end))

    def _error(self, code: str) -> SecuremsgError:
        return error_for(code, self._where)
