"""Exit statuses, and what is said with them: one table for scripts, one for people."""

from __future__ import annotations

import enum
import re

from attrs import field, frozen

from securemsg.errors import RemoteProtocolError


class Exit(enum.IntEnum):
    """The statuses of every command; scripts depend on them."""

    DONE = 0
    INTERNAL = 1
    USAGE = 2
    NO_CONTACT = 3
    IDENTITY_CHANGED = 4
    REFUSED = 5
    NOT_CONNECTED = 6
    TIMED_OUT = 7
    WRONG_SERVER = 8
    PROFILE = 9
    INTERRUPTED = 130


MEANINGS: dict[Exit, str] = {
    Exit.DONE: "done",
    Exit.INTERNAL: "internal error",
    Exit.USAGE: "wrong usage",
    Exit.NO_CONTACT: "no such contact",
    Exit.IDENTITY_CHANGED: "the identity of the contact has changed; the message names the command that accepts it",
    Exit.REFUSED: "refused for good; the code is printed, the message is marked failed and leaves the outbox"
    " (it stays where the server refuses the whole account)",
    Exit.NOT_CONNECTED: "not connected, lost, or told to retry later; the message stays in the outbox"
    " (with --key-file by itself nothing is kept)",
    Exit.TIMED_OUT: "not delivered, or fewer messages received, within --timeout",
    Exit.WRONG_SERVER: "the server's identity does not match the pin, or it does not hold the key file",
    Exit.PROFILE: "profile damaged, wrong passphrase, key or passphrase readable by others, or a second recv or respond"
    " at once",
    Exit.INTERRUPTED: "interrupted",
}


# What admits to a server, wherever an invite stands: an argument in the wrong place is repeated in the answer, and answers go
# into logs.
_TOKEN = re.compile(r"(token=)[^&\s'\"]+", re.IGNORECASE)


class SecuremsgError(Exception):
    """
    Why a command ends: what happened, and what to do next. Everything that is not this is a bug. Tokens are left out.

    @ivar code: for scripts.
    """

    def __init__(self, status: Exit, code: str, text: str, hint: str = "") -> None:
        self.text = _TOKEN.sub(r"\1...", text)
        self.hint = _TOKEN.sub(r"\1...", hint)
        super().__init__(self.text)
        self.status = status
        self.code = code


@frozen
class _Meaning:
    """What a code means at the command line. C{{name}} stands for whom it is about."""

    status: Exit
    text: str
    hint: str = field(default="")


_NOT_NOW = "try again later"
_KEEP_COPY = "do not delete anything; restore the folder from a copy, or join anew with another --profile"

# Codes of the wire, of the client and of this command line alike.
_CODES: dict[str, _Meaning] = {
    # who
    "no-such-account": _Meaning(Exit.NO_CONTACT, "nobody here is called {name}", "check the name; see: securemsg contacts"),
    "illegal-name": _Meaning(
        Exit.USAGE,
        "{name} is not a possible name",
        "a name is 1 to 32 characters of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit",
    ),
    "reserved-name": _Meaning(Exit.REFUSED, "the name {name} is reserved", "take another name"),
    "name-taken": _Meaning(Exit.REFUSED, "the name {name} is taken", "take another name, with the same invite"),
    "own-name": _Meaning(Exit.USAGE, "{name} is your own name", "name somebody else"),
    # trust
    "identity-changed": _Meaning(
        Exit.IDENTITY_CHANGED,
        "the identity of {name} has changed: a new device or account, or somebody in between",
        "compare the numbers of `securemsg verify {name}` with {name}, then: securemsg verify {name} --accept",
    ),
    "list-rolled-back": _Meaning(
        Exit.REFUSED, "the server shows an older device list of {name} than before", "ask {name} and the operator"
    ),
    "list-forked": _Meaning(
        Exit.REFUSED, "the server shows another device list of {name} than before", "ask {name} and the operator"
    ),
    "server-identity": _Meaning(
        Exit.WRONG_SERVER,
        "the server is not the one this profile is pinned to",
        "check --host and --port; if the server was really replaced, ask its operator for a new invite",
    ),
    "bad-device-list": _Meaning(Exit.REFUSED, "the device list of {name} is not well formed or not signed", "ask the operator"),
    "unauthentic": _Meaning(Exit.REFUSED, "what the server sent about {name} is not signed as it must be", "ask the operator"),
    # joining
    "bad-invite": _Meaning(
        Exit.USAGE, "that is not a whole invite", "it looks like securemsg://host:port/#...; quote it, or use -"
    ),
    "bad-token": _Meaning(
        Exit.REFUSED, "the invite is unknown, expired or used up", "ask for a new one; nothing here was lost, so join again"
    ),
    "registration-closed": _Meaning(Exit.REFUSED, "the server takes no new accounts", "its operator chose that"),
    "no-profile": _Meaning(Exit.PROFILE, "there is no profile in this folder yet", "make one: securemsg join INVITE NAME"),
    "not-joined": _Meaning(Exit.PROFILE, "this profile is not registered yet", "repeat the join with the same invite and name"),
    "other-name": _Meaning(
        Exit.REFUSED, "this profile belongs to another name already: {name}", "use another folder: --profile DIR"
    ),
    "other-server": _Meaning(
        Exit.REFUSED, "this profile belongs to another server already", "use another folder: --profile DIR"
    ),
    # the profile
    "wrong-passphrase": _Meaning(Exit.PROFILE, "the passphrase is wrong", "see --passphrase-file"),
    "passphrase-needed": _Meaning(
        Exit.PROFILE, "this profile is sealed with a passphrase", "give --passphrase-file FILE or $SECUREMSG_PASSPHRASE_FILE"
    ),
    "no-passphrase-there": _Meaning(
        Exit.PROFILE, "the keys in this folder were made without a passphrase", "leave it away, or use another --profile"
    ),
    "profile-damaged": _Meaning(Exit.PROFILE, "the profile is damaged", _KEEP_COPY),
    "profile-newer": _Meaning(Exit.PROFILE, "the profile was written by a newer version", "install that version again"),
    "profile-unreadable": _Meaning(Exit.PROFILE, "the profile cannot be read", "check owner and mode of the folder"),
    "key-exposed": _Meaning(Exit.PROFILE, "others may read the key file", "make it yours alone: chmod 600"),
    "passphrase-exposed": _Meaning(
        Exit.PROFILE, "others may read the passphrase file {name}", "make it yours alone: chmod 600 {name}"
    ),
    "profile-busy": _Meaning(Exit.PROFILE, "another process keeps this profile locked", _NOT_NOW),
    "second-recv": _Meaning(
        Exit.PROFILE,
        "another recv, respond or bot reads the messages of this profile",
        "end it first: each message is given once",
    ),
    # the message
    "too-large": _Meaning(Exit.REFUSED, "the text is longer than 48 KiB (49152 bytes of UTF-8)", "send it in parts"),
    "not-utf8": _Meaning(Exit.USAGE, "the text is not UTF-8", "convert it, or encode it, for example with base64"),
    "no-text": _Meaning(Exit.USAGE, "there is no text to send", "give TEXT, or write it to standard input"),
    "bad-text": _Meaning(Exit.USAGE, "the text is not valid", "give UTF-8 text"),
    "conflict": _Meaning(Exit.REFUSED, "this --id was used for another message already", "leave --id away, or make a new one"),
    "withdrawn": _Meaning(Exit.REFUSED, "the message with this --id was withdrawn", "send it under a new id"),
    "bad-request": _Meaning(Exit.REFUSED, "the server did not accept the request", "check the versions of both sides"),
    "forbidden": _Meaning(Exit.REFUSED, "the server does not allow that to this account", "ask its operator"),
    "too-many-invites": _Meaning(Exit.REFUSED, "too many of your invites are open", "wait until they are used or expire"),
    "no-prekeys": _Meaning(Exit.REFUSED, "{name} has put no keys on the server yet", "try again once {name} was online"),
    "unknown-message": _Meaning(Exit.REFUSED, "the server does not know this request", "it is older than this client"),
    "expired": _Meaning(Exit.REFUSED, "the message waited longer than it may", "send it again"),
    # the line
    "busy": _Meaning(Exit.NOT_CONNECTED, "too many questions wait for the server", _NOT_NOW),
    "retry-later": _Meaning(Exit.NOT_CONNECTED, "the server cannot take it now", _NOT_NOW),
    "mailbox-full": _Meaning(Exit.NOT_CONNECTED, "the mailbox of {name} is full", _NOT_NOW),
    "rate-limited": _Meaning(Exit.NOT_CONNECTED, "the server asks to go slower", _NOT_NOW),
    "stale-devices": _Meaning(Exit.NOT_CONNECTED, "the devices of {name} changed just now", _NOT_NOW),
    "not-connected": _Meaning(
        Exit.NOT_CONNECTED, "no connection to {name}", "is the server running, and are host and port right?"
    ),
    "not-accepted": _Meaning(Exit.NOT_CONNECTED, "the server has not accepted the message in time", _NOT_NOW),
    "not-answered": _Meaning(Exit.NOT_CONNECTED, "{name} has not answered in time", _NOT_NOW),
    "lost": _Meaning(Exit.NOT_CONNECTED, "the connection was lost", _NOT_NOW),
    "timeout": _Meaning(Exit.NOT_CONNECTED, "the server did not answer in time", _NOT_NOW),
    "stopping": _Meaning(Exit.NOT_CONNECTED, "the server is stopping", _NOT_NOW),
    "server-full": _Meaning(Exit.NOT_CONNECTED, "the server is full", _NOT_NOW),
    "replaced": _Meaning(
        Exit.NOT_CONNECTED,
        "the same device logged in from elsewhere",
        "is a copy of this profile in use? one device, one folder",
    ),
    "local-trouble": _Meaning(Exit.PROFILE, "the profile could not be written", "check free space and the folder's owner"),
    "tls": _Meaning(Exit.NOT_CONNECTED, "no TLS connection to {name}", "is it a securemsg server that listens there?"),
    "login-failed": _Meaning(
        Exit.REFUSED,
        "the server does not know this account or device",
        "this account may have been removed; ask the operator",
    ),
    "removed": _Meaning(Exit.REFUSED, "this account was removed from the server", "ask its operator for a new invite"),
    "unsupported-version": _Meaning(
        Exit.REFUSED, "the server speaks no version of the protocol that we do", "update the older side"
    ),
    "internal": _Meaning(Exit.NOT_CONNECTED, "the server has a problem of its own", "tell its operator, and try again later"),
    # the operator's socket
    "no-daemon": _Meaning(
        Exit.NOT_CONNECTED,
        "no daemon answers in {name}",
        "start it: securemsg serve --state {name}; or name another --state",
    ),
    "no-permission": _Meaning(Exit.REFUSED, "no permission to use {name}", "run it as the user of the daemon, or as root"),
    "path-too-long": _Meaning(Exit.USAGE, "the path of the socket is longer than 107 bytes: {name}", "use a shorter --state"),
    # output
    "output-failed": _Meaning(Exit.INTERNAL, "the output could not be written", "what was not written stays ungiven"),
    # the end
    "stopped": _Meaning(
        Exit.INTERRUPTED, "it was stopped meanwhile", "what is in the outbox goes out with the next connection"
    ),
    # time
    "not-delivered": _Meaning(
        Exit.TIMED_OUT, "accepted by the server, but not delivered to {name} in time", "it is delivered once {name} is online"
    ),
    "too-few": _Meaning(Exit.TIMED_OUT, "fewer messages came than wanted", ""),
}


def error_for(code: str, name: str = "", status: Exit | None = None, text: str = "", hint: str = "") -> SecuremsgError:
    """
    What a code means here.

    @param name: whom or what it is about.
    @param status: another status than the table says.
    @param text: other words than the table says.
    """
    meaning = _CODES.get(code) or _Meaning(Exit.REFUSED, f"refused: {code}")
    return SecuremsgError(
        meaning.status if status is None else status,
        code,
        (text or meaning.text).replace("{name}", name or "it"),
        (hint or meaning.hint).replace("{name}", name or "NAME"),
    )


def explain(error: Exception, name: str = "") -> SecuremsgError:
    """The same for an error with a code: a refusal, or the end of a conversation."""
    code = getattr(error, "code", "internal")
    if isinstance(error, RemoteProtocolError) and code not in _CODES:
        return SecuremsgError(
            Exit.NOT_CONNECTED, code, f"the server broke the protocol ({code})", "check the versions of both sides"
        )
    return error_for(code, name)


def is_known(code: str) -> bool:
    """Whether the table has words for this code."""
    return code in _CODES


def table() -> str:
    """The statuses as they stand in the help."""
    return "\n".join(f"  {status.value:>3}  {meaning}" for status, meaning in MEANINGS.items())
