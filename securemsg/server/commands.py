"""
What callers may say: one table of message, roles, and what it does.

A row's function is a plain call, or gives what is left to do as a coroutine, which ends in the answer. It raises
L{securemsg.errors.Refusal} to say no.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

from attrs import frozen

from securemsg.protocol.messages import (
    Acknowledge,
    Claim,
    Deposit,
    Fetch,
    GetAddress,
    Hello,
    Invite,
    ListAccounts,
    Message,
    Ping,
    Pong,
    Proof,
    Publish,
    Register,
    RemoveAccount,
    Unknown,
    Upload,
)
from securemsg.server.admin import Operator
from securemsg.server.caller import Caller, Role, Work
from securemsg.server.directory import Directory
from securemsg.server.login import Logins
from securemsg.server.mailbox import Mailboxes
from securemsg.server.prekeys import Prekeys
from securemsg.server.registration import Invites, Registrations

STRANGER = (Role.STRANGER,)
DEVICE = (Role.DEVICE,)
OPERATOR = (Role.OPERATOR,)
ALL = (Role.DEVICE, Role.OPERATOR)


@frozen
class Command:
    """
    A row of the table.
    """

    roles: tuple[Role, ...]
    run: Callable[[Caller, Message | Unknown], Work | None]


M = TypeVar("M")


def _row(kind: type[M], roles: tuple[Role, ...], run: Callable[[Caller, M], Work | None]) -> tuple[type, Command]:
    """
    A row, with the promise that a function gets the messages it is for.
    """
    return kind, Command(roles, cast("Callable[[Caller, Message | Unknown], Work | None]", run))


def command_table(
    logins: Logins,
    registrations: Registrations,
    mailboxes: Mailboxes,
    directory: Directory,
    prekeys: Prekeys,
    invites: Invites,
    operator: Operator,
    now: Callable[[], float],
) -> Mapping[type, Command]:
    """
    Everything that anybody may say; what is not here is C{forbidden}.
    """

    def ping(caller: Caller, message: Ping) -> None:
        caller.send(Pong(message.request, int(now())))

    return dict(
        [
            _row(Hello, STRANGER, logins.greet),
            _row(Proof, STRANGER, logins.prove),
            _row(Register, STRANGER, registrations.register),
            _row(Deposit, DEVICE, mailboxes.deposit),
            _row(Acknowledge, DEVICE, mailboxes.acknowledge),
            _row(Fetch, DEVICE, directory.fetch),
            _row(Claim, DEVICE, prekeys.claim),
            _row(Upload, DEVICE, prekeys.upload),
            _row(Publish, DEVICE, directory.publish),
            _row(Invite, ALL, invites.invite),
            _row(Ping, ALL, ping),
            _row(ListAccounts, OPERATOR, operator.list_accounts),
            _row(RemoveAccount, OPERATOR, operator.remove_account),
            _row(GetAddress, OPERATOR, operator.get_address),
        ]
    )
