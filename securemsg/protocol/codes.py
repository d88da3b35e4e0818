"""
Every code that goes over the wire or stands for what a client found out, and what follows from it.

A peer gets a code, never an exception's text. The words for people are in C{account/errors.py} and C{client/warnings.py}.
"""

from __future__ import annotations

from enum import Flag, auto

from attrs import frozen


class Said(Flag):
    """Who says a code, and in which message."""

    CLIENT = auto()  # a client, in Failed
    FAILED = auto()  # the server, in Failed: the connection ends
    REFUSED = auto()  # the server, in Refused: it answers a question
    DEPOSIT = auto()  # the server, in DepositRefused
    MISSED = auto()  # the server, in Missed: one device of several gets nothing
    LOCAL = auto()  # nobody on the wire: a client finds it out by itself

    ANSWER = REFUSED | DEPOSIT
    LOGIN = CLIENT | FAILED


class Kind(Flag):
    """What follows."""

    RETRY = auto()  # it passes: the same is tried again later
    REFUSED = auto()  # the same request, or a message in it, would be refused again
    BROKEN = auto()  # the peer broke the protocol
    FATAL = auto()  # every new connection would end the same way
    RESET = auto()  # a received message cannot be decrypted; a new session with its sender is asked for
    HELD = auto()  # likewise, but it waits for the user: for a key file, or for the word that an identity is right
    UNREADABLE = auto()  # likewise, and nothing would help
    DISTRUSTED = auto()  # what the server shows of a contact is not believed, and the user is warned


@frozen
class Code:
    """A row of the table."""

    name: str
    said: Said
    kind: Kind


TABLE = (
    # the connection and its login
    Code("unsupported-version", Said.LOGIN, Kind.FATAL),
    Code("login-failed", Said.FAILED, Kind.FATAL),
    Code("server-full", Said.FAILED, Kind.RETRY),
    Code("replaced", Said.FAILED, Kind.RETRY),
    Code("removed", Said.FAILED, Kind.FATAL),
    Code("stopping", Said.FAILED, Kind.RETRY),
    Code("timeout", Said.LOGIN | Said.LOCAL, Kind.RETRY),
    Code("server-identity", Said.CLIENT, Kind.FATAL),
    Code("internal", Said.LOGIN | Said.REFUSED, Kind.RETRY),
    Code("not-connected", Said.LOCAL, Kind.RETRY),
    Code("tls", Said.LOCAL, Kind.RETRY),
    Code("lost", Said.LOCAL, Kind.RETRY),
    Code("local-trouble", Said.LOCAL, Kind.RETRY),
    # the peer broke the protocol
    Code("frame-too-large", Said.LOGIN, Kind.BROKEN),
    Code("malformed", Said.LOGIN | Said.LOCAL, Kind.BROKEN),
    Code("out-of-turn", Said.LOGIN | Said.LOCAL, Kind.BROKEN),
    Code("bad-acknowledgement", Said.FAILED, Kind.BROKEN),
    Code("bad-tag", Said.CLIENT, Kind.BROKEN),
    Code("unknown-message", Said.LOGIN | Said.REFUSED, Kind.REFUSED),
    # accounts and devices
    Code("bad-token", Said.FAILED, Kind.FATAL),
    Code("registration-closed", Said.FAILED | Said.REFUSED, Kind.FATAL),
    Code("illegal-name", Said.FAILED | Said.LOCAL, Kind.FATAL | Kind.UNREADABLE),
    Code("reserved-name", Said.FAILED, Kind.FATAL),
    Code("name-taken", Said.FAILED, Kind.FATAL),
    Code("bad-device-list", Said.FAILED | Said.REFUSED | Said.LOCAL, Kind.FATAL | Kind.DISTRUSTED),
    Code("unauthentic", Said.FAILED | Said.REFUSED | Said.LOCAL, Kind.REFUSED | Kind.RESET | Kind.DISTRUSTED),
    Code("stale-list", Said.REFUSED, Kind.RETRY),
    Code("forbidden", Said.FAILED | Said.ANSWER, Kind.REFUSED),
    Code("no-such-account", Said.ANSWER, Kind.REFUSED),
    Code("no-such-device", Said.REFUSED, Kind.REFUSED),
    Code("no-prekeys", Said.REFUSED, Kind.RETRY),
    Code("too-many-prekeys", Said.REFUSED, Kind.RETRY),
    Code("too-many-invites", Said.REFUSED, Kind.RETRY),
    # deposits
    Code("rate-limited", Said.FAILED | Said.ANSWER, Kind.RETRY),
    Code("retry-later", Said.ANSWER, Kind.RETRY),
    Code("mailbox-full", Said.ANSWER | Said.MISSED, Kind.RETRY),
    Code("stale-devices", Said.DEPOSIT, Kind.RETRY),
    Code("conflict", Said.DEPOSIT, Kind.REFUSED),
    Code("too-large", Said.ANSWER, Kind.REFUSED),
    Code("bad-request", Said.ANSWER, Kind.REFUSED),
    Code("expired", Said.LOCAL, Kind.REFUSED),
    Code("busy", Said.LOCAL, Kind.RETRY),
    # what a client makes of what it receives
    Code("identity-changed", Said.LOCAL, Kind.HELD),
    Code("suite-unavailable", Said.LOCAL, Kind.HELD),
    Code("wrong-key", Said.LOCAL, Kind.HELD),
    Code("own-account", Said.LOCAL, Kind.UNREADABLE),
    Code("bad-content", Said.LOCAL, Kind.UNREADABLE),
    Code("list-forked", Said.LOCAL, Kind.UNREADABLE | Kind.DISTRUSTED),
    Code("list-rolled-back", Said.LOCAL, Kind.UNREADABLE | Kind.DISTRUSTED),
    Code("spent-bundle", Said.LOCAL, Kind.DISTRUSTED),
    Code("bad-envelope", Said.LOCAL, Kind.RESET),
    Code("no-session", Said.LOCAL, Kind.RESET),
    Code("unknown-account", Said.LOCAL, Kind.RESET),
    Code("unknown-device", Said.LOCAL, Kind.RESET),
    Code("unknown-prekey", Said.LOCAL, Kind.RESET),
)


def codes(kind: Kind) -> frozenset[str]:
    """The codes of any of these kinds."""
    return frozenset(code.name for code in TABLE if code.kind & kind)


FATAL = codes(Kind.FATAL)
HELD = codes(Kind.HELD)
NO_RESET = codes(Kind.HELD | Kind.UNREADABLE)
DISTRUSTED = codes(Kind.DISTRUSTED)
# The server never takes this message.
UNDELIVERABLE = frozenset(code.name for code in TABLE if code.said & Said.DEPOSIT and code.kind & Kind.REFUSED)
