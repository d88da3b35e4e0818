"""
What callers may say: one table of message, roles, and what it does for them.

A row's function is a plain call, or gives what is left to do as a coroutine, which ends in the answer. It raises
L{securemsg.errors.Refusal} to say no.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

from securemsg.protocol.messages import (
    Acknowledge,
    Claim,
    Deposit,
    Fetch,
    GetAddress,
    Hello,
    Invite,
    ListAccounts,
    Ping,
    Pong,
    Proof,
    Publish,
    Register,
    RemoveAccount,
    Reply,
    Upload,
)
from securemsg.server.admin import Operator
from securemsg.server.connection import ClientConnection, Command, Role, Work
from securemsg.server.directory import Directory
from securemsg.server.guests import Guests
from securemsg.server.login import Logins
from securemsg.server.mailbox import Mailboxes
from securemsg.server.prekeys import Prekeys
from securemsg.server.registration import Invites, Registrations

STRANGER = (Role.STRANGER,)
DEVICE = (Role.DEVICE,)
OPERATOR = (Role.OPERATOR,)
KEY = (Role.KEY,)
ISSUERS = (Role.DEVICE, Role.OPERATOR)
ALL = (Role.DEVICE, Role.OPERATOR, Role.KEY)

Row = tuple[type, tuple[Role, ...], Command]

M = TypeVar("M")


def _row(kind: type[M], roles: tuple[Role, ...], run: Callable[[ClientConnection, M], Work | None]) -> Row:
    """A row, with the promise that a function gets the messages it is for."""
    return kind, roles, cast("Command", run)


def _by_role(rows: list[Row]) -> Mapping[Role, Mapping[type, Command]]:
    """The table as each role sees it: a caller is given its own page once, and looks nothing up in the others."""
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
    directory: Directory,
    prekeys: Prekeys,
    invites: Invites,
    operator: Operator,
    guests: Guests,
    now: Callable[[], float],
) -> Mapping[Role, Mapping[type, Command]]:
    """Everything that anybody may say, by role; what is not here is C{forbidden}."""

    def ping(caller: ClientConnection, message: Ping) -> None:
        caller.send(Pong(message.request, int(now())))

    return _by_role(
        [
            _row(Hello, STRANGER, logins.greet),
            _row(Proof, STRANGER, logins.prove),
            _row(Register, STRANGER, registrations.register),
            _row(Deposit, DEVICE, mailboxes.deposit),
            _row(Deposit, KEY, mailboxes.visit),
            _row(Acknowledge, DEVICE, mailboxes.acknowledge),
            _row(Acknowledge, KEY, guests.acknowledge),
            _row(Fetch, DEVICE, directory.fetch),
            _row(Fetch, KEY, directory.fetch_contact),
            _row(Claim, DEVICE, prekeys.claim),
            _row(Upload, DEVICE, prekeys.upload),
            _row(Publish, DEVICE, directory.publish),
            _row(Invite, ISSUERS, invites.invite),
            _row(Ping, ALL, ping),
            _row(ListAccounts, OPERATOR, operator.list_accounts),
            _row(RemoveAccount, OPERATOR, operator.remove_account),
            _row(GetAddress, OPERATOR, operator.get_address),
            _row(Reply, OPERATOR, operator.reply),
        ]
    )
