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

from securemsg.account.errors import Exit
from securemsg.cli.output import json_line, report, write_line
from securemsg.cli.profiles import opened
from securemsg.cli.settings import NamedPath, json_option, settings_of, shared
from securemsg.gateway.formats import FORMATS
from securemsg.gateway.routes import Route, read_routes
from securemsg.protocol.hosts import host_port, parse_host_port

DEFAULT_PORT = 9095
DEFAULT_SPOOL = 1000
MAX_SPOOL = 100_000


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
            # It brings in the reactor, which neither help nor a mistake needs.
            from securemsg.cli.gateway import Gateway

            return Gateway(context, found, lines, *listen, spool).run()
        for line in lines:
            write_line(line)
        return Exit.DONE


def _line(route: Route, url: str, as_json: bool) -> str:
    """A route, in a line without its token."""
    if as_json:
        return json_line({"route": route.name, "url": url, "format": route.format, "to": list(route.to)})
    return f"POST {url} ({route.format}) to {', '.join(route.to)}"
