"""C{securemsg gateway}: its options, and what it says of the file of routes."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import click
from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import MemoryReactorClock, StringTransport

from securemsg.account.errors import Exit
from securemsg.cli.commands.gateway import ListenAddress
from securemsg.cli.gateway import CLOSE_TIME, Gateway
from securemsg.cli.settings import Settings
from securemsg.client import messages
from securemsg.gateway.formats import FORMATS, TextTemplate
from securemsg.gateway.routes import Route
from tests.cli.commands.rig import ProfileCase
from tests.cli.rig import Place, PlaceCase

ROUTES = '[routes.note]\nto = ["bob", "carol"]\nformat = "text"\ntoken = "0123456789abcdef"\n'


class CheckTests(ProfileCase):
    """Without a network."""

    def setUp(self) -> None:
        """Write the file of routes."""
        super().setUp()
        self.path = self.folder.parent / "routes.toml"
        self.write(ROUTES)

    def write(self, text: str) -> None:
        """Write it anew."""
        self.path.write_text(text, "utf-8")
        self.path.chmod(0o600)

    def test_check(self) -> None:
        """It lists the routes, without their tokens."""
        done = self.run_command("gateway", str(self.path), "--check")
        self.assertEqual((done.out, done.err), ("POST http://127.0.0.1:9095/note (text) to bob, carol\n", ""))
        [row] = self.run_command("gateway", str(self.path), "--check", "--json").rows
        self.assertEqual(
            row, {"route": "note", "url": "http://127.0.0.1:9095/note", "format": "text", "to": ["bob", "carol"]}
        )

    def test_faults(self) -> None:
        """All that is wrong is said before anything else, a line each, with or without C{--check}."""
        self.write(ROUTES.replace("bob", "ada").replace("text", "xml"))
        for options in (("--check",), ()):
            done = self.run_command("gateway", str(self.path), *options, status=Exit.USAGE)
            to, name = done.err.splitlines()
            where = f"securemsg: {self.path}: routes.note"
            self.assertEqual(to, f"{where}.to: ada is your own name; give somebody else's name [routes]")
            self.assertEqual(name, f"{where}.format: give one of alertmanager, grafana, github, json, text [routes]")
        done = self.run_command("gateway", str(self.path), "--json", status=Exit.USAGE)
        self.assertEqual([json.loads(line)["code"] for line in done.err.splitlines()], ["routes", "routes"])

    def test_address(self) -> None:
        """It listens at an address of this machine, and a port."""
        option = ListenAddress()
        for text, where in (
            ("127.0.0.1:80", ("127.0.0.1", 80)),
            ("localhost", ("127.0.0.1", 9095)),
            ("[::1]:80", ("::1", 80)),
        ):
            self.assertEqual(option.convert(text, None, None), where)
        for text in ("", "example.org:80", "127.0.0.1:0", "127.0.0.1:x", "9095"):
            self.assertRaises(click.UsageError, option.convert, text, None, None)


class Away:
    """The context of a command that does not connect."""

    settings = Settings()

    def run_connected(self, work: object, *, again: bool) -> int:
        """Do not."""
        return 0


class ServeTests(PlaceCase):
    """In memory."""

    def setUp(self) -> None:
        """Start the gateway of ada, who writes to bob."""
        super().setUp()
        self.reactor = MemoryReactorClock()
        self.place = Place(self.reactor)
        self.ada, self.bob = self.place.person("ada", again=True), self.place.person("bob")
        route = Route("note", ("bob",), "text", b"0123456789abcdef", TextTemplate.of(FORMATS["text"].template))
        gateway = Gateway(self.ada.context, [route], ["POST to bob"], "127.0.0.1", 9095, 10)
        self.err = io.StringIO()
        with contextlib.redirect_stderr(self.err):
            self.done = Deferred.fromCoroutine(gateway.serve(self.reactor, self.ada.connection))
        self.addCleanup(self.end)

    def end(self) -> None:
        """Have it end."""
        self.done.addErrback(lambda failure: None)
        self.done.cancel()
        self.place.settle(2 * CLOSE_TIME)

    def connect(self) -> tuple[Any, StringTransport]:
        """A connection to it."""
        servers: list[Any] = self.reactor.tcpServers
        [(port, factory, _, host)] = servers
        self.assertEqual((host, port), ("127.0.0.1", 9095))
        channel, transport = factory.buildProtocol(None), StringTransport()
        channel.makeConnection(transport)
        return channel, transport

    def post(self, channel: Any) -> None:
        """Send a webhook."""
        channel.dataReceived(b"POST /note HTTP/1.1\r\nAuthorization: Bearer 0123456789abcdef\r\nContent-Length: 5\r\n\r\nhello")

    def test_sent(self) -> None:
        """It says where it listens; what is posted there arrives."""
        self.assertEqual(self.err.getvalue(), "POST to bob\n")
        channel, transport = self.connect()
        self.post(channel)
        self.assertIn(b"202 Accepted", transport.value())
        self.place.settle(2)
        self.assertEqual([message.text for message in messages.unread(self.bob.context.store)], ["hello"])

    def test_nobody(self) -> None:
        """A name that nobody has is told once there is a connection; what was accepted for it, when it fails."""
        self.end()
        route = Route("note", ("bobb", "bob"), "text", b"0123456789abcdef", TextTemplate.of(FORMATS["text"].template))
        gateway = Gateway(self.ada.context, [route], [], "127.0.0.1", 9095, 10)
        ada = self.place.person("eve", again=True)
        gateway = evolve(gateway, context=ada.context)
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            self.done = Deferred.fromCoroutine(gateway.serve(self.reactor, ada.connection))
            self.place.settle(2)
        self.assertIn("nobody is called bobb", err.getvalue())
        self.assertNotIn("nobody is called bob:", err.getvalue())

    def test_end(self) -> None:
        """When it is told to end, it waits a little for requests under way."""
        channel, transport = self.connect()
        self.done.cancel()
        self.place.settle(CLOSE_TIME / 2)
        self.assertNoResult(self.done)
        self.post(channel)
        self.assertIn(b"202 Accepted", transport.value())
        self.place.settle(CLOSE_TIME)
        self.failureResultOf(self.done, CancelledError)

    def test_unencrypted(self) -> None:
        """Where it listens elsewhere than on loopback, it warns."""
        for host, warned in (("127.0.0.1", 0), ("::1", 0), ("127.8.8.8", 0), ("192.0.2.1", 1), ("::", 1)):
            with contextlib.redirect_stderr(io.StringIO()) as err:
                Gateway(Away(), [], [], host, 9095, 10).run()  # type: ignore[arg-type]
            self.assertEqual(err.getvalue().count("travel unencrypted"), warned, host)
