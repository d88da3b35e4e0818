"""How the operator's commands ask the operator, and the daemon through its control socket."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click
from twisted.internet.defer import Deferred

from securemsg.account.errors import Exit, SecuremsgError, error_for
from securemsg.cli.admin.client import AdminClient
from securemsg.cli.run import run
from securemsg.cli.settings import DEFAULT_TIMEOUT, settings_of
from securemsg.client.state.conversations import is_guest
from securemsg.net.control import BadSocketPath, check_socket_path
from securemsg.net.dialer import dial_unix
from securemsg.net.turn import Turn
from securemsg.protocol import messages as m
from securemsg.protocol.devices import SERVER_NAME

SOCKET = "control"
SERVER_STAYS = "to get no answers from it, start the daemon with --answer none"
# What a refusal means to the operator: the text, and what to do.
REFUSALS: dict[tuple[type, str], tuple[str, str]] = {
    (m.RemoveAccount, "forbidden"): (f"{SERVER_NAME} is the daemon's own account, and cannot be removed", SERVER_STAYS),
    (m.SetSuspended, "forbidden"): (f"{SERVER_NAME} is the daemon's own account, and cannot be suspended", SERVER_STAYS),
    (m.Kick, "forbidden"): (f"{SERVER_NAME} is the daemon's own account, and cannot be kicked", SERVER_STAYS),
    (m.SetLogLevel, "forbidden"): ("another program writes the log (twistd's --logger or --syslog)", "set the level there"),
    (m.TakeSnapshot, "retry-later"): (
        "the daemon cannot copy its databases now: another backup is running, or the disk has no room",
        "its log says which: journalctl -u securemsg",
    ),
    (m.RotateKey, "forbidden"): (
        "the daemon uses an issued certificate (--cert, --key)",
        "renew it where it was issued; the daemon takes the new files within a minute",
    ),
    (m.RotateKey, "retry-later"): ("the new TLS key cannot be written", "check disk and permissions of the state folder"),
}
NOT_HERE = "no guest with this key file is connected at the moment"
WHEN_HERE = "replies go to the connection that wrote last, while it lasts; wait until the guest writes again"

T = TypeVar("T", bound=m.Message)
Work = Callable[[AdminClient], Coroutine[Any, Any, None]]


def confirm(question: str) -> None:
    """
    Ask whether to go on.

    @raise click.Abort: no.
    @raise click.UsageError: there is no terminal to ask at.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError("this asks first, and there is no terminal; add --yes to do it all the same")
    click.confirm(question, abort=True, err=True)


def operate(ctx: click.Context, work: Work, *, is_limited: bool = True) -> int:
    """
    Connect to the control socket, ask, hang up.

    @param is_limited: C{False}: it may take any time, unless C{--timeout} says how long.

    @raise SecuremsgError: nobody answers there, or we may not ask.
    """
    settings = settings_of(ctx)
    path = settings.state_folder / SOCKET
    _check(path)

    async def whole(reactor: Any) -> int:
        operator = AdminClient(str(path.parent))
        dialer = dial_unix(reactor, path, operator, turn=Turn(reactor), failed=operator.failed)
        reactor.addSystemEventTrigger("before", "shutdown", dialer.stop)
        dialer.start()
        timeout = DEFAULT_TIMEOUT if settings.timeout is None else settings.timeout
        limit = None
        if is_limited or settings.timeout is not None:
            limit = reactor.callLater(timeout, operator.closed, "timeout")
        try:
            await work(operator)
        finally:
            if limit is not None and limit.active():
                limit.cancel()
        return Exit.DONE

    return run(whole, debug=settings.debug, as_json=settings.as_json)


def _check(path: Path) -> None:
    """
    See what can be seen before connecting.

    @raise SecuremsgError: the path is too long, there is no socket, or it is not for us.
    """
    try:
        check_socket_path(path)
    except BadSocketPath:
        raise error_for("path-too-long", str(path)) from None
    try:
        is_socket = stat.S_ISSOCK(path.stat().st_mode)
    except PermissionError:
        raise error_for("no-permission", str(path.parent)) from None
    except OSError:
        is_socket = False
    if not is_socket:
        raise error_for("no-daemon", str(path.parent))
    if not os.access(path, os.W_OK):
        raise error_for("no-permission", str(path))


def refused(kind: type, code: str) -> SecuremsgError:
    """The error of L{REFUSALS}."""
    text, hint = REFUSALS[kind, code]
    return error_for(code, text=text, hint=hint)


async def ask(operator: AdminClient, question: m.Message, kind: type[T], about: str = "") -> T:
    """
    Ask, and see that the answer is of its kind.

    @param about: whom a refusal is about.
    @raise SecuremsgError: it was refused.
    """
    asked: Deferred[m.Message] = operator.ask(question)
    try:
        answer = await asked
    except SecuremsgError as problem:
        if (type(question), problem.code) in REFUSALS:
            raise refused(type(question), problem.code) from None
        if about and problem.code == "no-such-account":
            if is_guest(about):
                raise error_for(problem.code, about, text=NOT_HERE, hint=WHEN_HERE) from None
            raise error_for(problem.code, about, hint="see: securemsg admin accounts") from None
        raise
    if not isinstance(answer, kind):
        raise error_for("out-of-turn", text="the daemon gave an unexpected answer", status=Exit.NOT_CONNECTED)
    return answer
