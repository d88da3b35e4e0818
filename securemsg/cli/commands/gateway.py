"""
C{securemsg gateway}: webhooks in, end-to-end encrypted messages out.

A webhook is answered with 202 once its messages are committed. A kill before that leaves nothing, and whoever posted tries
again; a kill after that loses nothing: they are sent with the next connection of this profile.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import click
from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall

from securemsg.account.connection import AccountConnection
from securemsg.account.errors import Exit, SecuremsgError
from securemsg.account.names import find_contact
from securemsg.account.rooms import is_room
from securemsg.cli.context import CommandContext
from securemsg.cli.output import json_line, report, report_warning, say, write_line
from securemsg.cli.profiles import opened
from securemsg.cli.settings import NamedPath, json_option, settings_of, shared
from securemsg.client.events import Warned
from securemsg.gateway.formats import FORMATS
from securemsg.gateway.routes import Route, read_routes
from securemsg.gateway.site import WebhookFactory
from securemsg.gateway.webhooks import Webhooks
from securemsg.protocol.hosts import host_port, parse_host_port

DEFAULT_PORT = 9095
DEFAULT_SPOOL = 1000
MAX_SPOOL = 100_000
# How long requests under way may take at the end, seconds.
CLOSE_TIME = 2
# How often is looked for messages that have failed, seconds.
LOOK_EVERY = 5


class ListenAddress(click.ParamType[tuple[str, int]]):
    """An option that takes the address to listen on, and a port."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Read it, or fail with a sentence."""
        try:
            host, port = parse_host_port(value, DEFAULT_PORT)
            return str(ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)), port
        except ValueError:
            self.fail(f"{value!r} is not an address of this machine and a port, such as 127.0.0.1:{DEFAULT_PORT}", param, ctx)


@click.command(
    epilog=f"""
    \b
    This file takes POST /alerts:
      [routes.alerts]
      to = "bob"
      format = "alertmanager"
      token-file = "alerts.token"

    A format is one of {', '.join(FORMATS)}; `to` may be a room such as '#team', or a list of names. The file of a token has
    mode 0600: openssl rand -hex 32. With template, or template-file, a route has words of its own.
    """
)
@click.argument("routes", type=NamedPath(), metavar="ROUTES")
@click.option(
    "--listen",
    type=ListenAddress(),
    default=f"127.0.0.1:{DEFAULT_PORT}",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to take webhooks.",
)
@click.option(
    "--spool",
    type=click.IntRange(1, MAX_SPOOL),
    default=DEFAULT_SPOOL,
    show_default=True,
    metavar="N",
    help="Take no webhook for NAME while N messages to NAME wait.",
)
@click.option("--check", is_flag=True, help="Only check ROUTES, and print its routes.")
@json_option("With --check, print JSON, one object per route; warnings and errors as JSON.")
@shared
@click.pass_context
def gateway(ctx: click.Context, routes: Path, listen: tuple[str, int], spool: int, check: bool) -> int:
    """
    Send what webhooks bring as messages, encrypted on this machine, until --timeout (forever without one).

    A webhook is answered with 202 and the ids of its messages once they are saved to disk; from then on they are sent even if
    this is killed. Whoever posts gives the token of the route as `Authorization: Bearer TOKEN`; at GitHub it is the secret of
    the webhook. With the same Idempotency-Key (GitHub: X-GitHub-Delivery) a repeated webhook is sent once.

    Templates are Jinja2; they find the items of a JSON body by their keys, all of it as `body`, and GitHub's `event`. What is
    missing is empty, and an empty text sends nothing.
    """
    settings = settings_of(ctx)
    with opened(settings) as context:
        found, faults = read_routes(routes, context.store, context.profile.name)
        for fault in faults:
            report(fault, settings.as_json)
        if faults:
            return Exit.USAGE
        lines = [_line(route, f"http://{host_port(*listen)}/{route.name}", settings.as_json) for route in found]
        if not check:
            return Gateway(context, found, lines, *listen, spool).run()
        for line in lines:
            write_line(line)
        return Exit.DONE


def _line(route: Route, url: str, as_json: bool) -> str:
    """A route, in a line without its token."""
    if as_json:
        return json_line({"route": route.name, "url": url, "format": route.format, "to": list(route.to)})
    return f"POST {url} ({route.format}) to {', '.join(route.to)}"


@frozen
class Gateway:
    """
    One run of C{gateway}.

    @ivar lines: what to say of the routes.
    """

    _context: CommandContext
    _routes: list[Route]
    _lines: list[str]
    _host: str
    _port: int
    _spool: int

    def run(self) -> int:
        """Take webhooks until stopped."""
        if not ipaddress.ip_address(self._host).is_loopback:
            text = f"tokens and webhooks travel unencrypted to {host_port(self._host, self._port)}"
            hint = "listen on 127.0.0.1, behind a proxy that speaks TLS"
            self._warn(Warned("unencrypted", "", text), hint)
        return self._context.run_connected(self.serve, again=True)

    async def serve(self, reactor: Any, connection: AccountConnection) -> int:
        """
        Listen; at the end, let requests under way have their answers.

        @raise SecuremsgError: something else listens there; or there will be no connection to the server any more.
        """
        context = self._context
        webhooks = Webhooks(
            context.store,
            {f"/{route.name}".encode("ascii"): route for route in self._routes},
            self._spool,
            context.now,
            reactor.seconds,
            connection.nudge,
            lambda code, route, text: self._warn(Warned(code, route, text)),
        )
        factory = WebhookFactory(webhooks.answer, reactor)
        try:
            port = reactor.listenTCP(self._port, factory, interface=self._host)
        except CannotListenError as error:
            text = f"cannot listen on {host_port(self._host, self._port)}: {getattr(error.socketError, 'strerror', error)}"
            hint = "stop what listens there, or choose another address with --listen"
            raise SecuremsgError(Exit.USAGE, "cannot-listen", text, hint) from None
        for line in self._lines:
            say(line)
        looking = LoopingCall(webhooks.check_sent)
        looking.clock = reactor
        looking.start(LOOK_EVERY, now=False)
        naming = Deferred.fromCoroutine(self._check_names(connection))
        naming.addErrback(lambda failure: failure.trap(CancelledError, SecuremsgError))
        try:
            await connection.until(lambda: None, context.settings.timeout)
        finally:
            looking.stop()
            naming.cancel()
            await maybeDeferred(port.stopListening)
            await connection.until(lambda: None if factory.open else True, CLOSE_TIME)
        return Exit.DONE

    async def _check_names(self, connection: AccountConnection) -> None:
        """Warn of names that nobody has, once there is a connection."""
        for name in dict.fromkeys(to for route in self._routes for to in route.to if not is_room(to)):
            if find_contact(self._context.store, name) is not None:
                continue
            try:
                await connection.ask("fetch", name, timeout=None)
            except SecuremsgError as problem:
                if problem.status != Exit.NO_CONTACT:
                    raise
                self._warn(Warned(problem.code, name, f"nobody is called {name}: messages to {name} will fail"))

    def _warn(self, event: Warned, hint: str = "") -> None:
        report_warning(event, self._context.settings.as_json, hint)
