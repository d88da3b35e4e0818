"""
The HTTP server of the gateway. A connection carries one request and ends within L{MAX_TIME}; a body stays in memory, and is
dropped as soon as it is too long. Nothing of a request is logged.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from io import BytesIO
from typing import Any

from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, HTTPFactory, Request

from securemsg.gateway.webhooks import Answer, Webhook

# The longest body, bytes: Alertmanager and Grafana send some hundred for each alert, GitHub mostly some ten thousand.
MAX_BODY = 1 << 20
# Connections at once: so many bodies may be in memory. Those beyond are closed unanswered.
MAX_CONNECTIONS = 100
# How long a connection may last, seconds.
MAX_TIME = 30


class WebhookRequest(Request):
    """One request."""

    def __init__(self, channel: Any, queued: object = False) -> None:
        super().__init__(channel, queued, parsePOSTFormSubmission=False)
        self._body = self.content = BytesIO()
        self._is_refused = False

    def gotLength(self, length: int | None) -> None:
        """The headers are there; the body follows."""
        self.channel.persistent = False
        if length is not None and length > MAX_BODY:
            # A body that nobody wants is not asked for.
            self.requestHeaders.removeHeader(b"Expect")
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        """Take a part of the body."""
        if not self._is_refused and self._body.tell() + len(data) > MAX_BODY:
            self._refuse()
        if not self._is_refused:
            self._body.write(data)

    def process(self) -> None:
        """The request is complete."""
        if not self._is_refused:
            webhook = Webhook(self.method, self.path, self.getHeader, self._body.getvalue())
            self._write(self.channel.factory.answer(webhook))
        self.finish()

    def _refuse(self) -> None:
        """Answer now, and drop the body: hanging up at once would break many a client before it reads the answer."""
        self._is_refused = True
        self._body.seek(0)
        self._body.truncate()
        self.clientproto = b"HTTP/1.1"
        self._write(Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {MAX_BODY} bytes"))

    def _write(self, answer: Answer) -> None:
        self.setResponseCode(answer.status, answer.status.phrase.encode("ascii"))
        content = (answer.text + "\n").encode("utf-8")
        plain = {b"Content-Type": b"text/plain; charset=utf-8", b"Connection": b"close"}
        for name, value in {**plain, **answer.headers, b"Content-Length": b"%d" % len(content)}.items():
            self.setHeader(name, value)
        self.write(content)


class WebhookChannel(HTTPChannel):
    """One connection."""

    requestFactory = WebhookRequest  # type: ignore[assignment]
    _end: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """It begins."""
        super().connectionMade()
        self.factory.open.add(self)
        self._end = self.callLater(MAX_TIME, self.transport.abortConnection)  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """It has ended."""
        super().connectionLost(reason)
        self.factory.open.discard(self)
        if self._end is not None and self._end.active():
            self._end.cancel()


class WebhookFactory(HTTPFactory):
    """
    Accepts connections.

    @ivar answer: answers a webhook.
    @ivar open: the connections that are open.
    """

    protocol = WebhookChannel  # type: ignore[assignment]

    def __init__(self, answer: Callable[[Webhook], Answer], reactor: Any) -> None:
        super().__init__(reactor=reactor)
        # Of silence; L{MAX_TIME} counts.
        self.timeOut = None
        self.answer = answer
        self.open: set[WebhookChannel] = set()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Accept a connection, if there is room."""
        return super().buildProtocol(addr) if len(self.open) < MAX_CONNECTIONS else None

    def startFactory(self) -> None:
        """There is no access log to open."""
