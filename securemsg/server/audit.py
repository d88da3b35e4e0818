"""What the operator does, as lines for a log: who, what, to whom, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from securemsg.errors import Refusal
from securemsg.protocol import messages as m
from securemsg.server.connection import ClientConnection

# Takes the user id of the operator, the action, its subject, and the result: C{done}, or the code of a refusal.
Audit = Callable[[int, str, str, str], None]
Run = Callable[[ClientConnection, Any], Coroutine[Any, Any, Any]]

# As many digits of an invite as `securemsg admin invites` shows.
SHOWN_DIGITS = 12

# By message: the action and its subject. Not of what asks for numbers or the address alone: health checks do.
# Never a text, a token, or more of a digest than is shown anyway.
ACTIONS: dict[type, Callable[[Any], tuple[str, str]]] = {
    m.Invite: lambda message: ("invite", f"uses {message.uses}, seconds {message.lifetime}"),
    m.ListInvites: lambda message: ("invites", ""),
    m.RevokeInvite: lambda message: ("revoke-invite", message.digest.hex()[:SHOWN_DIGITS]),
    m.ListAccounts: lambda message: ("accounts", ""),
    m.GetDetails: lambda message: ("account", message.account),
    m.SetSuspended: lambda message: ("suspend" if message.suspended else "resume", message.account),
    m.Kick: lambda message: ("kick", message.account),
    m.SetQuota: lambda message: ("quota", f"{message.account} {message.messages or 'default'}"),
    m.RemoveAccount: lambda message: ("purge" if message.unseen_since else "remove", message.account),
    m.Reply: lambda message: ("reply", message.account),
    m.ListConnections: lambda message: ("connections", ""),
    m.SetLogLevel: lambda message: ("log-level", message.level),
    m.RotateKey: lambda message: ("rotate-key", ""),
    m.SetDraining: lambda message: ("drain" if message.draining else "drain --off", ""),
    m.TakeSnapshot: lambda message: ("backup", ""),
}


def no_audit(user: int, action: str, subject: str, result: str) -> None:
    """Keep no log."""


def audited(kind: type, run: Run, audit: Audit) -> Run:
    """The same command, which also says what was done. Of a list that comes in pages the first page alone counts."""
    describe = ACTIONS[kind]

    async def run_audited(connection: ClientConnection, message: Any) -> Any:
        result = "internal"
        try:
            answer = await run(connection, message)
            result = "done"
        except Refusal as refusal:
            result = refusal.code
            raise
        finally:
            if not getattr(message, "after", ""):
                audit(connection.channel.binding.user, *describe(message), result)
        return answer

    return run_audited
