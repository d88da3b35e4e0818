"""
Who may say what, when, and where it leads: the whole conversation as one table.

Source: C{docs/protocol.md}, section "Phases".
"""

from __future__ import annotations

import enum

from securemsg.protocol import messages as m


class Side(enum.StrEnum):
    """The two ends of a connection."""

    CLIENT = "client"
    SERVER = "server"


class Phase(enum.StrEnum):
    """How far a connection has come."""

    GREETING = "greeting"
    CHALLENGING = "challenging"
    PROVING = "proving"
    VERIFYING = "verifying"
    READY = "ready"
    CLOSED = "closed"


CLIENT = Side.CLIENT
SERVER = Side.SERVER

_FROM_CLIENT: tuple[type, ...] = (
    m.Deposit, m.Acknowledge, m.Fetch, m.Claim, m.Upload, m.Publish, m.Invite, m.Ping, m.ListAccounts, m.RemoveAccount,
    m.GetAddress, m.Reply,
)  # fmt: skip
_FROM_SERVER: tuple[type, ...] = (
    m.Accepted, m.DepositRefused, m.Deliver, m.Drained, m.Stock, m.Account, m.Bundle, m.Invited, m.Pong, m.Done, m.Refused,
    m.Accounts, m.Address,
)  # fmt: skip

TRANSITIONS: dict[Phase, dict[tuple[Side, type], Phase]] = {
    Phase.GREETING: {
        (CLIENT, m.Hello): Phase.CHALLENGING,
    },
    Phase.CHALLENGING: {
        (SERVER, m.Challenge): Phase.PROVING,
        (SERVER, m.Failed): Phase.CLOSED,
    },
    Phase.PROVING: {
        (CLIENT, m.Proof): Phase.VERIFYING,
        (CLIENT, m.Register): Phase.VERIFYING,
        (CLIENT, m.Failed): Phase.CLOSED,
        (SERVER, m.Failed): Phase.CLOSED,
    },
    Phase.VERIFYING: {
        (SERVER, m.Welcome): Phase.READY,
        (SERVER, m.Failed): Phase.CLOSED,
    },
    Phase.READY: {
        **{(CLIENT, kind): Phase.READY for kind in _FROM_CLIENT},
        **{(SERVER, kind): Phase.READY for kind in _FROM_SERVER},
        (CLIENT, m.Failed): Phase.CLOSED,
        (SERVER, m.Failed): Phase.CLOSED,
    },
    Phase.CLOSED: {},
}
# A server may also give up on a stranger that has said nothing sensible yet.
TRANSITIONS[Phase.GREETING][SERVER, m.Failed] = Phase.CLOSED

# After the login nearly everything leaves the phase as it is: what each side may say then.
READY_KINDS: dict[Side, frozenset[type]] = {CLIENT: frozenset(_FROM_CLIENT), SERVER: frozenset(_FROM_SERVER)}
