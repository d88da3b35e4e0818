"""
The table of commands: which message, for which roles, runs which function.

The function of a row either does everything at once, or returns a coroutine that ends in the answer. It raises
L{securemsg.errors.Refusal} to refuse the command.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from securemsg.errors import Refusal, RemoteProtocolError
from securemsg.protocol.devices import NAME_PATTERN
from securemsg.protocol.messages import (
    Acknowledge,
    AnswerCode,
    AskCode,
    Claim,
    Deposit,
    Fetch,
    GetAddress,
    GetDetails,
    GetStats,
    Hello,
    Invite,
    Kick,
    ListAccounts,
    ListConnections,
    ListInvites,
    OpenCode,
    Ping,
    Pong,
    Proof,
    Publish,
    Register,
    RemoveAccount,
    Reply,
    RevokeInvite,
    RotateKey,
    SetDraining,
    SetLogLevel,
    SetQuota,
    SetSuspended,
    TakeSnapshot,
    Upload,
    UseCode,
)
from securemsg.server.admin import Operator
from securemsg.server.audit import ACTIONS, Audit, Run, audited
from securemsg.server.connection import ClientConnection, Command, Role, Work
from securemsg.server.directory import Directory
from securemsg.server.guests import GuestMailboxes
from securemsg.server.login import Logins
from securemsg.server.mailbox import Mailboxes
from securemsg.server.operations import Operations
from securemsg.server.prekeys import Prekeys
from securemsg.server.registration import Invites, Registrations
from securemsg.server.shortinvites import ShortInvites

STRANGER = (Role.STRANGER,)
DEVICE = (Role.DEVICE,)
OPERATOR = (Role.OPERATOR,)
GUEST = (Role.GUEST,)
ALL = (Role.DEVICE, Role.OPERATOR, Role.GUEST)

# Takes what was refused, to which account (empty: none that could be one), and the code.
LogRefusal = Callable[[str, str, str], None]
# Takes who wrote, to whom, and how many bytes of messages.
LogPeers = Callable[[str, Sequence[str], int], None]
Row = tuple[type, tuple[Role, ...], Command]

M = TypeVar("M")


def _row(kind: type[M], roles: tuple[Role, ...], run: Callable[[ClientConnection, M], Work | None]) -> Row:
    """Make a row; the table guarantees that a function gets only messages of its kind."""
    return kind, roles, cast("Command", run)


def log_no_refusal(what: str, account: str, code: str) -> None:
    """Keep no log."""


def _logged(run: Run, what: str, log: LogRefusal) -> Run:
    """The same command, which also logs that it was refused, and to whom; a name that could not be one is left out."""

    async def run_logged(connection: ClientConnection, message: Any) -> Any:
        try:
            return await run(connection, message)
        except (Refusal, RemoteProtocolError) as refused:
            name = message.account if NAME_PATTERN.fullmatch(message.account) else ""
            log(what, name, refused.code)
            raise

    return run_logged


def _log_deposits(run: Command, log: LogPeers | None) -> Command:
    """The same command, which also logs who writes to whom; names that could not be one are left out."""
    if log is None:
        return run

    def run_logged(connection: ClientConnection, message: Deposit) -> Work | None:
        work = run(connection, message)
        size = sum(len(message.common) + len(part.own) for destination in message.to for part in destination.parts)
        names = [destination.account for destination in message.to if NAME_PATTERN.fullmatch(destination.account)]
        log(connection.device.account.name, names, size)
        return work

    return cast("Command", run_logged)


def _by_role(rows: list[Row]) -> Mapping[Role, Mapping[type, Command]]:
    """Split the table by role, so that a connection needs only the part of its own role."""
    pages: dict[Role, dict[type, Command]] = {role: {} for role in Role}
    for kind, roles, run in rows:
        for role in roles:
            assert kind not in pages[role], "one row for each message and role"
            pages[role][kind] = run
    return pages


def command_table(
    logins: Logins,
    registrations: Registrations,
    mailboxes: Mailboxes,
    guest_mailboxes: GuestMailboxes,
    directory: Directory,
    prekeys: Prekeys,
    invites: Invites,
    short_invites: ShortInvites,
    operator: Operator,
    operations: Operations,
    now: Callable[[], float],
    audit: Audit,
    log_refusal: LogRefusal,
    log_peers: LogPeers | None,
) -> Mapping[Role, Mapping[type, Command]]:
    """
    All commands by role, those of the operator with a line for the audit log; any other message is C{forbidden}.
    """

    def ping(connection: ClientConnection, message: Ping) -> None:
        connection.send(Pong(message.request, int(now())))

    def command(kind: type[M], run: Run) -> Row:
        return _row(kind, OPERATOR, audited(kind, run, audit) if kind in ACTIONS else run)

    return _by_role(
        [
            _row(Hello, STRANGER, logins.greet),
            _row(Proof, STRANGER, _logged(logins.prove, "login", log_refusal)),
            _row(Register, STRANGER, _logged(registrations.register, "registration", log_refusal)),
            _row(AskCode, STRANGER, short_invites.ask),
            _row(UseCode, STRANGER, short_invites.use),
            _row(Deposit, DEVICE, _log_deposits(cast("Command", mailboxes.deposit), log_peers)),
            _row(Deposit, GUEST, _log_deposits(cast("Command", guest_mailboxes.deposit), log_peers)),
            _row(Acknowledge, DEVICE, mailboxes.acknowledge),
            _row(Acknowledge, GUEST, guest_mailboxes.acknowledge),
            _row(Fetch, DEVICE, directory.fetch),
            _row(Fetch, GUEST, directory.fetch_contact),
            _row(Claim, DEVICE, prekeys.claim),
            _row(Upload, DEVICE, prekeys.upload),
            _row(Publish, DEVICE, directory.publish),
            _row(Invite, DEVICE, invites.invite),
            command(Invite, invites.invite),
            _row(OpenCode, DEVICE, short_invites.open),
            _row(AnswerCode, DEVICE, short_invites.answer),
            _row(Ping, ALL, ping),
            command(ListAccounts, operator.list_accounts),
            command(RemoveAccount, operator.remove_account),
            command(GetAddress, operator.get_address),
            command(Reply, operator.reply),
            command(ListInvites, operator.list_invites),
            command(RevokeInvite, operator.revoke_invite),
            command(GetDetails, operator.get_details),
            command(SetSuspended, operator.set_suspended),
            command(SetQuota, operator.set_quota),
            command(Kick, operator.kick),
            command(ListConnections, operations.list_connections),
            command(GetStats, operations.get_stats),
            command(SetDraining, operations.set_draining),
            command(SetLogLevel, operations.set_log_level),
            command(TakeSnapshot, operations.take_snapshot),
            command(RotateKey, operations.rotate_key),
        ]
    )
