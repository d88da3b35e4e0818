"""The HTTP server of the gateway, in memory."""

from __future__ import annotations

import tempfile
from http import HTTPStatus

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from securemsg.gateway.site import MAX_BODY, MAX_CONNECTIONS, MAX_TIME, WebhookChannel, WebhookFactory
from securemsg.gateway.webhooks import Answer, Webhook

HEAD = b"POST /note?secret=1 HTTP/1.1\r\nHost: x\r\n"


class SiteCase(SynchronousTestCase):
    """A server that notes what it gets."""

    def setUp(self) -> None:
        """Start it."""
        self.clock = Clock()
        self.got: list[Webhook] = []
        self.factory = WebhookFactory(self.answer, self.clock)
        self.factory.doStart()
        self.addCleanup(self.factory.doStop)

    def answer(self, webhook: Webhook) -> Answer:
        """Say yes."""
        self.got.append(webhook)
        return Answer(HTTPStatus.ACCEPTED, "grün", {b"Retry-After": b"60"})

    def connect(self) -> tuple[WebhookChannel, StringTransport]:
        """A new connection."""
        channel = self.factory.buildProtocol(None)
        transport = StringTransport()
        channel.makeConnection(transport)
        return channel, transport

    def send(self, *parts: bytes) -> StringTransport:
        """Send a request in parts, until the other side hangs up."""
        channel, transport = self.connect()
        for part in parts:
            if not transport.disconnecting:
                channel.dataReceived(part)
        return transport

    def lose(self, channel: WebhookChannel) -> None:
        """The connection ends."""
        channel.connectionLost(Failure(ConnectionDone()))


class RequestTests(SiteCase):
    """What comes in, and what goes out."""

    def test_answer(self) -> None:
        """The answer has what it needs, nothing about our software, and ends the connection."""
        transport = self.send(HEAD + b"Content-Length: 5\r\n\r\nhello")
        head, _, body = transport.value().partition(b"\r\n\r\n")
        self.assertEqual(
            sorted(head.split(b"\r\n")),
            [
                b"Connection: close",
                b"Content-Length: 6",
                b"Content-Type: text/plain; charset=utf-8",
                b"HTTP/1.1 202 Accepted",
                b"Retry-After: 60",
            ],
        )
        self.assertEqual((body, transport.disconnecting), ("grün\n".encode(), True))

    def test_request(self) -> None:
        """Method, path without its query, headers and body arrive, wherever the network cuts them."""
        wire = HEAD + b"X-A: 1\r\nContent-Length: 5\r\n\r\na=b&c"
        for cut in range(1, len(wire), 7):
            self.send(wire[:cut], wire[cut:])
            webhook = self.got.pop()
            self.assertEqual((webhook.method, webhook.path, webhook.body), (b"POST", b"/note", b"a=b&c"))
            self.assertEqual((webhook.header(b"x-a"), webhook.header(b"X-B")), (b"1", None))

    def test_form(self) -> None:
        """A form is not parsed: what calls itself one and is none arrives as any other body."""
        self.send(HEAD + b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 5\r\n\r\nhello")
        self.assertEqual(self.got[0].body, b"hello")

    def test_chunked(self) -> None:
        """A body in chunks arrives whole."""
        self.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n", b"0\r\n\r\n")
        self.assertEqual(self.got[0].body, b"hello")

    def test_largest(self) -> None:
        """The longest body is taken, in memory."""
        self.patch(tempfile, "TemporaryFile", None)
        self.send(HEAD + b"Content-Length: %d\r\n\r\n" % MAX_BODY, b"x" * MAX_BODY)
        self.assertEqual(len(self.got[0].body), MAX_BODY)

    def test_one_request(self) -> None:
        """A connection carries one request: what follows is not looked at."""
        self.send(2 * (HEAD + b"Content-Length: 1\r\n\r\n1"))
        self.assertEqual(len(self.got), 1)


class LimitTests(SiteCase):
    """What is too much."""

    def assert_too_large(self, transport: StringTransport) -> None:
        """It was refused, and not looked at."""
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 413 "), transport.value())
        self.assertTrue(transport.value().endswith(b"\r\n\r\na body has at most 1048576 bytes\n"))
        self.assertEqual(self.got, [])

    def test_length(self) -> None:
        """
        A body that is announced as too long is refused before any of it is read, and not asked for. If it comes all the same,
        nothing of it is kept, and its end is that of the connection.
        """
        head = HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1)
        self.assert_too_large(self.send(head))
        transport = self.send(head, b"x" * MAX_BODY, b"x")
        self.assert_too_large(transport)
        self.assertTrue(transport.disconnecting)

    def test_chunks(self) -> None:
        """One that becomes too long is cut off there, also where its end has come already."""
        chunk = b"%x\r\n%s\r\n" % (MAX_BODY, b"x" * MAX_BODY)
        head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
        self.assert_too_large(self.send(head, chunk, b"1\r\nx\r\n", chunk))
        self.assert_too_large(self.send(head + chunk + b"1\r\nx\r\n1\r\nx\r\n0\r\n\r\n"))

    def test_dropped(self) -> None:
        """Nothing of a body that is too long stays in memory."""
        chunk = b"%x\r\n%s\r\n" % (MAX_BODY, b"x" * MAX_BODY)
        channel, _ = self.connect()
        for part in (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunk, b"1\r\nx\r\n", chunk):
            channel.dataReceived(part)
        self.assertEqual(channel.requests[0].content.getvalue(), b"")

    def test_headers(self) -> None:
        """Endless headers are refused."""
        transport = self.send(HEAD, *[b"X-A: %s\r\n" % (b"x" * 1000)] * 20)
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 400 "))

    def test_connections(self) -> None:
        """So many connections at once, and no more; one that ends makes room."""
        channels = [self.connect()[0] for _ in range(MAX_CONNECTIONS)]
        self.assertIs(self.factory.buildProtocol(None), None)
        self.lose(channels[0])
        self.connect()

    def test_time(self) -> None:
        """A connection lasts so long, however busy it is; one that has ended leaves no timer."""
        channel, transport = self.connect()
        channel.dataReceived(HEAD)
        for _ in range(MAX_TIME - 1):
            self.clock.advance(1)
            channel.dataReceived(b"X-A: 1\r\n")
        self.assertFalse(transport.disconnected)
        self.clock.advance(1)
        self.assertTrue(transport.disconnected)
        self.lose(channel)
        self.lose(self.connect()[0])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.factory.open, set())
