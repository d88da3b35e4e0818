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
    """How far a connection has come. A newcomer with a short invite asks, uses and awaits, and never gets to C{READY}."""

    GREETING = "greeting"
    CHALLENGING = "challenging"
    PROVING = "proving"
    VERIFYING = "verifying"
    READY = "ready"
    ASKING = "asking"
    USING = "using"
    AWAITING = "awaiting"
    CLOSED = "closed"


CLIENT = Side.CLIENT
SERVER = Side.SERVER

_FROM_CLIENT: tuple[type, ...] = (
    m.Deposit, m.Acknowledge, m.Fetch, m.Claim, m.Upload, m.Publish, m.Invite, m.Ping, m.ListAccounts, m.RemoveAccount,
    m.GetAddress, m.Reply, m.OpenCode, m.AnswerCode, m.ListInvites, m.RevokeInvite,
    m.GetDetails, m.SetSuspended, m.SetQuota, m.Kick, m.ListConnections, m.GetStats, m.SetDraining,
    m.SetLogLevel, m.TakeSnapshot, m.RotateKey,
)  # fmt: skip
_FROM_SERVER: tuple[type, ...] = (
    m.Accepted, m.DepositRefused, m.Deliver, m.Drained, m.Stock, m.Account, m.Bundle, m.Invited, m.Pong, m.Done, m.Refused,
    m.Accounts, m.Address, m.CodeOpened, m.CodeUsed, m.Invites, m.Details, m.Removed,
    m.Connections, m.Stats,
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
        (CLIENT, m.AskCode): Phase.ASKING,
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
    Phase.ASKING: {
        (SERVER, m.CodeMessage): Phase.USING,
        (SERVER, m.Failed): Phase.CLOSED,
    },
    Phase.USING: {
        (CLIENT, m.UseCode): Phase.AWAITING,
        (CLIENT, m.Failed): Phase.CLOSED,
        (SERVER, m.Failed): Phase.CLOSED,
    },
    Phase.AWAITING: {
        (SERVER, m.CodeAnswer): Phase.CLOSED,
        (SERVER, m.Failed): Phase.CLOSED,
    },
    Phase.CLOSED: {},
}
# A server may also give up on a stranger that has said nothing sensible yet.
TRANSITIONS[Phase.GREETING][SERVER, m.Failed] = Phase.CLOSED

# After the login nearly everything leaves the phase as it is: what each side may say then.
READY_KINDS: dict[Side, frozenset[type]] = {CLIENT: frozenset(_FROM_CLIENT), SERVER: frozenset(_FROM_SERVER)}
