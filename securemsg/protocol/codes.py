"""
Every code that goes over the wire or stands for what a client found out, and what follows from it.

A peer gets a code, never an exception's text. The words for people are in C{account/errors.py} and C{client/warnings.py};
codes that only a command raises stand there alone.
"""

from __future__ import annotations

from enum import Flag, auto

from attrs import frozen


class SentIn(Flag):
    """Who says a code, and in which message."""

    CLIENT = auto()  # a client, in Failed
    FAILED = auto()  # the server, in Failed: the connection ends
    REFUSED = auto()  # the server, in Refused: it answers a question
    DEPOSIT = auto()  # the server, in DepositRefused
    MISSED = auto()  # the server, in Missed: one device of several gets nothing
    LOBBY = auto()  # the contact `server`, inside the encryption, in Members or RefusedLine
    LOCAL = auto()  # nobody on the wire: a client finds it out by itself

    ANSWER = REFUSED | DEPOSIT
    LOGIN = CLIENT | FAILED


class Consequence(Flag):
    """What follows."""

    RETRY = auto()  # it passes: the same is tried again later
    REFUSED = auto()  # the same request, or a message in it, would be refused again
    BROKEN = auto()  # the peer broke the protocol
    FATAL = auto()  # every new connection would end the same way
    RESET = auto()  # a received message cannot be decrypted; a new session with its sender is asked for
    HELD = auto()  # likewise, but it waits for the user: for a key file, or for the word that an identity is right
    UNREADABLE = auto()  # likewise, and nothing would help
    WAITS = auto()  # likewise, but it waits for a member list of its room
    DISTRUSTED = auto()  # what the server shows of a contact is not believed, and the user is warned


@frozen
class Code:
    """A row of the table."""

    name: str
    said: SentIn
    kind: Consequence


TABLE = (
    # the connection and its login
    Code("unsupported-version", SentIn.LOGIN, Consequence.FATAL),
    Code("login-failed", SentIn.FAILED, Consequence.FATAL),
    Code("server-full", SentIn.FAILED, Consequence.RETRY),
    Code("replaced", SentIn.FAILED, Consequence.RETRY),
    Code("removed", SentIn.FAILED, Consequence.FATAL),
    Code("suspended", SentIn.FAILED, Consequence.FATAL),
    Code("kicked", SentIn.FAILED, Consequence.RETRY),
    Code("device-removed", SentIn.FAILED, Consequence.FATAL),
    Code("stopping", SentIn.FAILED, Consequence.RETRY),
    Code("timeout", SentIn.LOGIN | SentIn.LOCAL, Consequence.RETRY),
    Code("server-identity", SentIn.CLIENT, Consequence.FATAL),
    Code("internal", SentIn.LOGIN | SentIn.REFUSED, Consequence.RETRY),
    Code("not-connected", SentIn.LOCAL, Consequence.RETRY),
    Code("tls", SentIn.LOCAL, Consequence.RETRY),
    Code("not-post-quantum", SentIn.LOCAL, Consequence.RETRY),
    Code("lost", SentIn.LOCAL, Consequence.RETRY),
    Code("local-error", SentIn.LOCAL, Consequence.RETRY),
    # the peer broke the protocol
    Code("frame-too-large", SentIn.LOGIN, Consequence.BROKEN),
    Code("malformed", SentIn.LOGIN | SentIn.LOCAL, Consequence.BROKEN),
    Code("out-of-turn", SentIn.LOGIN | SentIn.LOCAL, Consequence.BROKEN),
    Code("bad-acknowledgement", SentIn.FAILED, Consequence.BROKEN),
    Code("bad-tag", SentIn.CLIENT, Consequence.BROKEN),
    Code("bad-count", SentIn.CLIENT, Consequence.BROKEN),
    Code("unknown-message", SentIn.LOGIN | SentIn.REFUSED, Consequence.REFUSED),
    # accounts and devices
    Code("bad-token", SentIn.FAILED, Consequence.FATAL),
    Code("registration-closed", SentIn.FAILED | SentIn.REFUSED, Consequence.FATAL),
    Code("illegal-name", SentIn.FAILED | SentIn.LOCAL, Consequence.FATAL | Consequence.UNREADABLE),
    Code("reserved-name", SentIn.FAILED, Consequence.FATAL),
    Code("name-taken", SentIn.FAILED, Consequence.FATAL),
    Code("mailbox-not-empty", SentIn.FAILED, Consequence.FATAL),
    Code("bad-device-list", SentIn.FAILED | SentIn.REFUSED | SentIn.LOCAL, Consequence.FATAL | Consequence.DISTRUSTED),
    Code(
        "unauthentic",
        SentIn.FAILED | SentIn.REFUSED | SentIn.LOCAL,
        Consequence.REFUSED | Consequence.RESET | Consequence.DISTRUSTED,
    ),
    Code("stale-list", SentIn.REFUSED, Consequence.RETRY),
    Code("forbidden", SentIn.FAILED | SentIn.ANSWER, Consequence.REFUSED),
    Code("no-such-account", SentIn.ANSWER | SentIn.MISSED, Consequence.REFUSED),
    Code("account-active", SentIn.REFUSED, Consequence.REFUSED),
    Code("no-such-device", SentIn.REFUSED, Consequence.REFUSED),
    Code("no-prekeys", SentIn.REFUSED, Consequence.RETRY),
    Code("too-many-prekeys", SentIn.REFUSED, Consequence.RETRY),
    Code("too-many-invites", SentIn.REFUSED, Consequence.RETRY),
    # short invites
    Code("too-many-codes", SentIn.REFUSED, Consequence.RETRY),
    Code("no-such-code", SentIn.FAILED | SentIn.REFUSED, Consequence.REFUSED),
    Code("wrong-words", SentIn.FAILED, Consequence.REFUSED),
    Code("no-answer", SentIn.FAILED | SentIn.LOCAL, Consequence.REFUSED),
    Code("server-without-codes", SentIn.LOCAL, Consequence.REFUSED),
    # deposits
    Code("rate-limited", SentIn.FAILED | SentIn.ANSWER, Consequence.RETRY),
    Code("retry-later", SentIn.FAILED | SentIn.ANSWER, Consequence.RETRY),
    Code("mailbox-full", SentIn.ANSWER | SentIn.MISSED, Consequence.RETRY),
    Code("stale-devices", SentIn.DEPOSIT, Consequence.RETRY),
    Code("stale-room", SentIn.DEPOSIT, Consequence.RETRY),
    Code("no-rooms", SentIn.MISSED, Consequence.REFUSED),
    Code("conflict", SentIn.DEPOSIT, Consequence.REFUSED),
    Code("too-large", SentIn.ANSWER, Consequence.REFUSED),
    Code("bad-request", SentIn.ANSWER, Consequence.REFUSED),
    # the lobby
    Code("no-lobby", SentIn.LOBBY, Consequence.REFUSED),
    Code("lobby-full", SentIn.LOBBY, Consequence.REFUSED),
    Code("lobby-busy", SentIn.LOBBY, Consequence.REFUSED),
    Code("not-in-lobby", SentIn.LOBBY, Consequence.REFUSED),
    Code("lobby-too-large", SentIn.LOBBY | SentIn.LOCAL, Consequence.REFUSED),
    Code("lobby-keep", SentIn.LOCAL, Consequence.REFUSED),
    # rooms
    Code("server-without-rooms", SentIn.LOCAL, Consequence.RETRY),
    Code("room-behind", SentIn.LOCAL, Consequence.WAITS),
    Code("room-removal-waits", SentIn.LOCAL, Consequence.RETRY),
    Code("room-forked", SentIn.LOCAL, Consequence.WAITS),
    Code("room-broken", SentIn.LOCAL, Consequence.REFUSED),
    Code("room-changed", SentIn.LOCAL, Consequence.REFUSED),
    Code("bad-room-list", SentIn.LOCAL, Consequence.REFUSED),
    Code("not-in-room", SentIn.LOCAL, Consequence.REFUSED),
    Code("expired", SentIn.LOCAL, Consequence.REFUSED),
    Code("contact-blocked", SentIn.LOCAL, Consequence.REFUSED),
    Code("busy", SentIn.LOCAL, Consequence.RETRY),
    Code("unknown-account", SentIn.LOCAL, Consequence.RETRY),
    # what a client makes of what it receives
    Code("identity-changed", SentIn.LOCAL, Consequence.HELD),
    Code("catching-up", SentIn.LOCAL, Consequence.RETRY),
    Code("suite-unavailable", SentIn.LOCAL, Consequence.HELD),
    Code("wrong-key", SentIn.LOCAL, Consequence.HELD),
    Code("own-account", SentIn.LOCAL, Consequence.UNREADABLE),
    Code("bad-content", SentIn.LOCAL, Consequence.UNREADABLE),
    Code("list-forked", SentIn.LOCAL, Consequence.UNREADABLE | Consequence.DISTRUSTED),
    Code("list-rolled-back", SentIn.LOCAL, Consequence.UNREADABLE | Consequence.DISTRUSTED),
    Code("spent-bundle", SentIn.LOCAL, Consequence.DISTRUSTED),
    Code("stale-bundle", SentIn.LOCAL, Consequence.DISTRUSTED),
    Code("bad-envelope", SentIn.LOCAL, Consequence.RESET),
    Code("no-session", SentIn.LOCAL, Consequence.RESET),
    Code("too-many-sessions", SentIn.LOCAL, Consequence.RESET),
    Code("too-many-skipped", SentIn.LOCAL, Consequence.RESET),
    Code("unknown-device", SentIn.LOCAL, Consequence.RESET),
    Code("unknown-prekey", SentIn.LOCAL, Consequence.RESET),
)


def codes(kind: Consequence) -> frozenset[str]:
    """The codes of any of these kinds."""
    return frozenset(code.name for code in TABLE if code.kind & kind)


FATAL = codes(Consequence.FATAL)
HELD = codes(Consequence.HELD)
WAITS = codes(Consequence.WAITS)
NO_RESET = codes(Consequence.HELD | Consequence.UNREADABLE | Consequence.WAITS)
DISTRUSTED = codes(Consequence.DISTRUSTED)
# The server never takes this message.
UNDELIVERABLE = frozenset(code.name for code in TABLE if code.said & SentIn.DEPOSIT and code.kind & Consequence.REFUSED)
