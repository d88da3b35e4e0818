"""
The HTTP server of C{--metrics}: C{/metrics} for Prometheus, C{/healthz} for whoever restarts, C{/} for people.

It only answers questions. A connection carries one request and ends within L{MAX_TIME}; what it has for a body is dropped.
Nothing of a request is logged, and no answer says who asks or who talks to whom.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, HTTPFactory, Request

from securemsg.daemon.metrics import CONTENT_TYPE, Exposition
from securemsg.daemon.monitor import Monitor
from securemsg.daemon.page import POLICY, Page, asset
from securemsg.net.control import check_socket_path, remove_stale_socket
from securemsg.net.listener import PortUnavailable, adopt_port, port_error

# Connections at once; for one more the oldest is closed.
MAX_CONNECTIONS = 10
# How long a connection may last, seconds.
MAX_TIME = 10
METHODS = (b"GET", b"HEAD")
# The socket is for the daemon's user and group.
SOCKET_MODE = 0o660
PLAIN = "text/plain; charset=utf-8"


@frozen
class Answer:
    """The answer to a request."""

    status: HTTPStatus
    content: str
    kind: str = PLAIN


class QuestionRequest(Request):
    """One request."""

    def __init__(self, channel: Any, queued: object = False) -> None:
        super().__init__(channel, queued, parsePOSTFormSubmission=False)
        self.content = BytesIO()

    def gotLength(self, length: int | None) -> None:
        """Close after this request."""
        self.channel.persistent = False

    def handleContentChunk(self, data: bytes) -> None:
        """Drop it: no request here has a body."""

    def process(self) -> None:
        """The request is complete."""
        if self.method in METHODS:
            answer = self.channel.factory.answer(self.path)
        else:
            answer = Answer(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD\n")
            self.setHeader(b"Allow", b", ".join(METHODS))
        content = answer.content.encode("utf-8")
        self.setResponseCode(answer.status, answer.status.phrase.encode("ascii"))
        for name, value in (
            ("Content-Type", answer.kind),
            ("Content-Length", str(len(content))),
            ("Content-Security-Policy", POLICY),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cache-Control", "no-store"),
            ("Connection", "close"),
        ):
            self.setHeader(name, value)
        if self.method != b"HEAD":
            self.write(content)
        self.finish()


class QuestionChannel(HTTPChannel):
    """One connection."""

    requestFactory = QuestionRequest  # type: ignore[assignment]
    _end: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """It begins."""
        super().connectionMade()
        self.factory.open[self] = None
        self._end = self.callLater(MAX_TIME, self.transport.abortConnection)  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """It has ended."""
        super().connectionLost(reason)
        self.factory.open.pop(self, None)
        if self._end is not None and self._end.active():
            self._end.cancel()


class Site(HTTPFactory):
    """
    Accepts connections, and answers.

    @ivar open: the connections that are open.
    """

    protocol = QuestionChannel  # type: ignore[assignment]
    noisy = False
    _log = Logger()

    def __init__(self, monitor: Monitor, reactor: Any) -> None:
        super().__init__(reactor=reactor)
        # Of silence; L{MAX_TIME} counts.
        self.timeOut = None
        # In the order in which they came.
        self.open: dict[QuestionChannel, None] = {}
        self._monitor = monitor
        exposition, page = Exposition(monitor), Page(monitor)
        style, script = asset("status.css"), asset("status.js")
        self._answers: dict[bytes, Callable[[], Answer]] = {
            b"/": lambda: Answer(HTTPStatus.OK, page.render(), "text/html; charset=utf-8"),
            b"/status.css": lambda: Answer(HTTPStatus.OK, style, "text/css; charset=utf-8"),
            b"/status.js": lambda: Answer(HTTPStatus.OK, script, "text/javascript; charset=utf-8"),
            b"/metrics": lambda: Answer(HTTPStatus.OK, exposition.text(), CONTENT_TYPE),
            b"/healthz": self._health,
        }

    def answer(self, path: bytes) -> Answer:
        """Answer one path."""
        make = self._answers.get(path)
        if make is None:
            return Answer(HTTPStatus.NOT_FOUND, "there is /, /metrics and /healthz\n")
        try:
            return make()
        except Exception:  # noqa: BLE001 - a bug: the log has it, and the messages go on
            self._log.failure("a question about the daemon could not be answered")
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, "the log says why\n")

    def _health(self) -> Answer:
        if problem := self._monitor.problem:
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{problem}\n")
        return Answer(HTTPStatus.OK, "ok\n")

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Accept a connection; the one that has lasted longest makes room for it."""
        if len(self.open) >= MAX_CONNECTIONS:
            next(iter(self.open)).transport.abortConnection()  # type: ignore[union-attr]
        return super().buildProtocol(addr)

    def startFactory(self) -> None:
        """There is no access log to open."""


def listen_site(reactor: Any, where: Path | tuple[str, int] | int, monitor: Monitor) -> IListeningPort:
    """
    Listen for questions.

    @param where: a UNIX socket, an address and a port, or the descriptor of a socket that was handed over.
    @raise BadSocketPath: the socket cannot be made there.
    @raise PortUnavailable: the port is in use, or not allowed.
    """
    site = Site(monitor, reactor)
    port: IListeningPort
    if isinstance(where, int):
        return adopt_port(reactor, where, site)
    if isinstance(where, Path):
        check_socket_path(where, "--metrics")
        remove_stale_socket(where, "--metrics")
        port = reactor.listenUNIX(str(where), site, mode=SOCKET_MODE)
        return port
    try:
        port = reactor.listenTCP(where[1], site, interface=where[0])
    except CannotListenError as error:
        raise PortUnavailable(port_error(*where, error.socketError, "--metrics")) from error
    return port
