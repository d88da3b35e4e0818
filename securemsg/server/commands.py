"""
The table of commands: which message, for which roles, runs which function.

The function of a row either does everything at once, or returns a coroutine that ends in the answer. It raises
L{securemsg.errors.Refusal} to refuse the command.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

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
    SetDraining,
    SetQuota,
    SetSuspended,
    Upload,
    UseCode,
)
from securemsg.server.admin import Operator
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
ISSUERS = (Role.DEVICE, Role.OPERATOR)
ALL = (Role.DEVICE, Role.OPERATOR, Role.GUEST)

Row = tuple[type, tuple[Role, ...], Command]

M = TypeVar("M")


def _row(kind: type[M], roles: tuple[Role, ...], run: Callable[[ClientConnection, M], Work | None]) -> Row:
    """Make a row; the table guarantees that a function gets only messages of its kind."""
    return kind, roles, cast("Command", run)


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
) -> Mapping[Role, Mapping[type, Command]]:
    """All commands by role; any other message is C{forbidden}."""

    def ping(connection: ClientConnection, message: Ping) -> None:
        connection.send(Pong(message.request, int(now())))

    return _by_role(
        [
            _row(Hello, STRANGER, logins.greet),
            _row(Proof, STRANGER, logins.prove),
            _row(Register, STRANGER, registrations.register),
            _row(AskCode, STRANGER, short_invites.ask),
            _row(UseCode, STRANGER, short_invites.use),
            _row(Deposit, DEVICE, mailboxes.deposit),
            _row(Deposit, GUEST, guest_mailboxes.deposit),
            _row(Acknowledge, DEVICE, mailboxes.acknowledge),
            _row(Acknowledge, GUEST, guest_mailboxes.acknowledge),
            _row(Fetch, DEVICE, directory.fetch),
            _row(Fetch, GUEST, directory.fetch_contact),
            _row(Claim, DEVICE, prekeys.claim),
            _row(Upload, DEVICE, prekeys.upload),
            _row(Publish, DEVICE, directory.publish),
            _row(Invite, ISSUERS, invites.invite),
            _row(OpenCode, DEVICE, short_invites.open),
            _row(AnswerCode, DEVICE, short_invites.answer),
            _row(Ping, ALL, ping),
            _row(ListAccounts, OPERATOR, operator.list_accounts),
            _row(RemoveAccount, OPERATOR, operator.remove_account),
            _row(GetAddress, OPERATOR, operator.get_address),
            _row(Reply, OPERATOR, operator.reply),
            _row(ListInvites, OPERATOR, operator.list_invites),
            _row(RevokeInvite, OPERATOR, operator.revoke_invite),
            _row(GetDetails, OPERATOR, operator.get_details),
            _row(SetSuspended, OPERATOR, operator.set_suspended),
            _row(SetQuota, OPERATOR, operator.set_quota),
            _row(Kick, OPERATOR, operator.kick),
            _row(ListConnections, OPERATOR, operations.list_connections),
            _row(GetStats, OPERATOR, operations.get_stats),
            _row(SetDraining, OPERATOR, operations.set_draining),
        ]
    )
