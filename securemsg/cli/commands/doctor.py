"""C{securemsg doctor}: what is wrong, in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from attrs import define, evolve, field
from twisted.internet.interfaces import IStreamClientEndpoint

from securemsg.account.errors import Exit, SecuremsgError
from securemsg.cli import checks
from securemsg.cli.checks import Finding, failed
from securemsg.cli.config import config_of
from securemsg.cli.context import CommandContext
from securemsg.cli.output import columns, json_line, write_line
from securemsg.cli.profiles import opened
from securemsg.cli.settings import DEFAULT_TIMEOUT, json_option, settings_of, shared
from securemsg.cli.wrapping import fill
from securemsg.client.escape import escape
from securemsg.crypto.keys import fingerprint
from securemsg.net.link import is_post_quantum
from securemsg.net.reach import NO_HOST, REFUSED, endpoint_of, reach
from securemsg.protocol.hosts import host_port
from securemsg.protocol.invite import UDP

if TYPE_CHECKING:
    from securemsg.account.connection import AccountConnection

# Of further lines on a narrow terminal.
INDENT = 4
# What TLS itself says, and what says that another server answered.
ABOUT_TLS = frozenset({"tls", "not-post-quantum"})
WRONG_PIN = "server-identity"
# What says that there is no connection, and no more.
UNREACHED = frozenset({"not-connected", "timeout", "lost"})


@click.command()
@json_option("Print JSON, one object per check.")
@shared
@click.pass_context
def doctor(ctx: click.Context) -> int:
    """
    Check versions, profile, clock, server and what is waiting; say what is wrong, and what to do.

    One line a check, `ok` or `problem`. The exit status is 0, or the one that the first problem has for other commands. Nothing
    is changed; the connection sends and fetches what is waiting, as that of any command does.
    """
    # It looks once, whatever the others do.
    settings = evolve(settings_of(ctx), retry=False, timeout=settings_of(ctx).timeout or DEFAULT_TIMEOUT)
    report = Report(settings.as_json)
    report.add(checks.versions())
    report.add(_configuration(ctx))
    try:
        with opened(settings) as context:
            report.add(checks.profile(context))
            _check_server(context, report)
            report.add(checks.outbox(context))
            report.add(checks.quarantine(context))
    except SecuremsgError as problem:
        report.add(failed("profile", problem))
    return report.status


@define
class Report:
    """
    Prints each finding at once.

    @ivar status: of the first problem.
    """

    _as_json: bool
    status: Exit = field(default=Exit.DONE, init=False)

    def add(self, finding: Finding) -> None:
        """Print the result of a check."""
        self.status = self.status or finding.status
        problem = finding.problem
        hint = "" if problem is None else problem.hint
        if self._as_json:
            code = "" if problem is None else problem.code
            record = {"check": finding.check, "ok": problem is None, "text": finding.text, "code": code, "hint": hint}
            write_line(json_line(record))
        else:
            mark = "ok" if problem is None else "problem"
            text = escape(f"{finding.text}; {hint}" if hint else finding.text)
            write_line(in_words(f"{mark:<7}  {finding.check:<13}  ", text, columns()))


def in_words(prefix: str, text: str, width: int) -> str:
    """A line, or on a terminal several that end between words; the further ones are indented, as far as there is room."""
    indent = " " * (len(prefix) if width >= 3 * len(prefix) else INDENT)
    return fill(text, width, prefix, indent)


def _configuration(ctx: click.Context) -> Finding:
    """Check the tables of all commands, of which others check only their own."""
    config = config_of(ctx)
    root = ctx.find_root()
    assert isinstance(root.command, click.Group), "the program"
    try:
        for name, table in ({} if config is None else config.tables).items():
            command = root.command.get_command(root, name)
            assert config is not None and command is not None, "it has tables of commands only"
            config.checked(command, table, f"{name}.")
    except SecuremsgError as problem:
        return failed("configuration", problem)
    return checks.configuration(None if config is None else config.path)


def _check_server(context: CommandContext, report: Report) -> None:
    """Connect, and say how far that comes."""

    async def work(reactor: Any, connection: AccountConnection) -> int:
        address = context.address
        is_reached = True
        if address.transport != UDP:
            endpoint = endpoint_of(reactor, address.host, address.port, context.settings.timeout or DEFAULT_TIMEOUT)
            found = await reachable(endpoint, address.host, address.port)
            report.add(found)
            is_reached = found.problem is None
        await log_in(context, connection, report, is_reached)
        return Exit.DONE

    context.run_connected(work)


async def log_in(context: CommandContext, connection: AccountConnection, report: Report, is_reached: bool) -> None:
    """
    Check TLS, pin and login, and the clock against the server's; without a connection, against the profile.

    @param is_reached: it was not reported yet that nobody answers.
    """
    is_owner = connection.is_owner
    try:
        answer = await connection.ask("ping", timeout=context.settings.time_limit)
        link = await connection.ask("link", timeout=context.settings.time_limit)
    except SecuremsgError as problem:
        step = "tls" if problem.code in ABOUT_TLS else "pin" if problem.code == WRONG_PIN else "login"
        if is_reached or problem.code not in UNREACHED:
            report.add(failed(step, problem))
        report.add(checks.clock(context.now(), checks.newest_time(context), of_server=False))
        return
    group = link["group"] + (" (post-quantum)" if is_post_quantum(link["group"]) else "")
    report.add(Finding("tls", f"{link['tls']} over {link['transport']}, {group}"))
    report.add(Finding("pin", f"the server is the one of the invite, {fingerprint(context.profile.pin)}"))
    how = "" if is_owner else "; another process of this profile has the connection"
    milliseconds = float(answer["seconds"]) * 1000
    report.add(Finding("login", f"as {context.profile.name}, answered in {milliseconds:.1f} ms{how}"))
    report.add(checks.clock(context.now(), int(answer["now"]), of_server=True))


async def reachable(endpoint: IStreamClientEndpoint, host: str, port: int) -> Finding:
    """Whether the host has an address, and its port answers."""
    where = host_port(host, port)
    code = await reach(endpoint)
    if not code:
        return Finding("server", f"{where} answers")
    if code == NO_HOST:
        text, hint = f"the host {host} is not found", "check the name and this machine's network, or give --host"
    elif code == REFUSED:
        text, hint = f"nothing listens on {where}", "check that the server is running, and --port"
    else:
        text, hint = f"{where} does not answer", "check this machine's network, --host and --port, and firewalls in between"
    return failed("server", SecuremsgError(Exit.NOT_CONNECTED, code, text, hint))
