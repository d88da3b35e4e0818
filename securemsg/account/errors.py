"""Exit statuses and error messages: one table for scripts, one for people."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable

from attrs import frozen

from securemsg.errors import RemoteProtocolError
from securemsg.protocol.devices import LOBBY_NAME
from securemsg.protocol.envelope import MAX_LOBBY_TEXT
from securemsg.protocol.messages import MAX_DEVICES
from securemsg.protocol.rooms import MAX_MEMBERS, MAX_ROOM_DEVICES


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
    SECOND_CHOICE = 10
    # EX_IOERR of sysexits.h.
    CUT = 74
    INTERRUPTED = 130


# The mildest first: what may come right by itself counts less than a refusal, and what is not listed counts most.
_BY_SEVERITY = (Exit.DONE, Exit.TIMED_OUT, Exit.NOT_CONNECTED, Exit.IDENTITY_CHANGED, Exit.NO_CONTACT, Exit.REFUSED)


def worst(statuses: Iterable[int]) -> int:
    """The worst of several exit statuses; 0: there is none."""
    return max(statuses, key=_severity, default=Exit.DONE)


def _severity(status: int) -> int:
    return _BY_SEVERITY.index(Exit(status)) if status in _BY_SEVERITY else len(_BY_SEVERITY)


MEANINGS: dict[Exit, str] = {
    Exit.DONE: "done",
    Exit.INTERNAL: "internal error; search: nothing was found",
    Exit.USAGE: "wrong usage",
    Exit.NO_CONTACT: "no such account or contact",
    Exit.IDENTITY_CHANGED: "the contact's keys have changed; the message names the command that accepts them",
    Exit.REFUSED: "refused for good; the code is printed, the message is marked as failed and leaves the outbox"
    " (it stays if the server refuses the whole account, the recipient has no RSA key, or room release has to let it go)",
    Exit.NOT_CONNECTED: "not connected, connection lost, or told to retry later; the message stays in the outbox"
    " (with --key-file alone nothing is kept)",
    Exit.TIMED_OUT: "not delivered, not answered, not added to a room, too few messages received, or a stream that does not go"
    " on, within --timeout",
    Exit.WRONG_SERVER: "the server's identity does not match the pin, or the server does not have the key file",
    Exit.PROFILE: "profile damaged, wrong passphrase, key or passphrase file that another user owns or can read, or"
    " another recv or respond, or pipe of the same stream, is running",
    Exit.SECOND_CHOICE: "ask: the second choice, 11 the third, and so on; 0 is the first",
    Exit.CUT: "pipe: the stream was cut; what came before was written",
    Exit.INTERRUPTED: "interrupted",
}


# The token and the secret in an invite: error messages may quote an argument, and end up in logs.
_TOKEN = re.compile(r"((?:token|secret)=)[^&\s'\"]+", re.IGNORECASE)


class SecuremsgError(Exception):
    """
    Why a command failed: what happened, and what to do next. Any other exception is a bug. Invites are masked.

    @ivar code: for scripts.
    """

    def __init__(self, status: Exit, code: str, text: str, hint: str = "") -> None:
        self.text = _TOKEN.sub(r"\1...", text)
        self.hint = _TOKEN.sub(r"\1...", hint)
        super().__init__(self.text)
        self.status = status
        self.code = code


@frozen
class _Words:
    """The message for a code. C{{name}} stands for the account, address or path that it is about."""

    status: Exit
    text: str
    hint: str = ""


_LATER = "try again later"
_KEEP_COPY = "do not delete anything; restore the folder from a copy, or join again with another --profile"

# Codes of the wire and of a client (L{securemsg.protocol.codes}), then those of this process alone.
WORDS: dict[str, _Words] = {
    # the connection and its login
    "unsupported-version": _Words(
        Exit.REFUSED, "no protocol version in common with the server", "update whichever side is older"
    ),
    "login-failed": _Words(
        Exit.REFUSED,
        "the server does not know this account or device",
        "the account or this device may have been removed, or its keys renewed elsewhere; ask the server's operator",
    ),
    "server-full": _Words(Exit.NOT_CONNECTED, "the server is full", _LATER),
    "replaced": _Words(
        Exit.NOT_CONNECTED,
        "the same device logged in from elsewhere",
        "if a copy of this profile is in use, stop it: every device needs a profile of its own",
    ),
    "removed": _Words(Exit.REFUSED, "this account was removed from the server", "ask its operator for a new invite"),
    "suspended": _Words(
        Exit.REFUSED,
        "the server's operator has suspended this account",
        "ask the operator; what is sent to you is kept as long as any message",
    ),
    "kicked": _Words(Exit.NOT_CONNECTED, "the server's operator ended the connection", _LATER),
    "device-removed": _Words(
        Exit.REFUSED,
        "this device was removed from its account",
        "if you did not do that, somebody has a copy of its keys: ask the server's operator to remove the account",
    ),
    "stopping": _Words(Exit.NOT_CONNECTED, "the server is shutting down", _LATER),
    "timeout": _Words(
        Exit.NOT_CONNECTED,
        "the server did not answer in time",
        "check that the server is running, and --host and --port; or try again later",
    ),
    "server-identity": _Words(
        Exit.WRONG_SERVER,
        "the server is not the one this profile is pinned to",
        "check --host and --port; if the server really was replaced, ask its operator for a new invite",
    ),
    "internal": _Words(Exit.NOT_CONNECTED, "internal server error", "tell the server's operator, and try again later"),
    "no-udp": _Words(Exit.USAGE, "no UDP port is known for {name}", "add --port PORT if you know it, or use --transport tcp"),
    "not-connected": _Words(
        Exit.NOT_CONNECTED, "cannot connect to {name}", "check that the server is running, and --host and --port"
    ),
    "tls": _Words(
        Exit.NOT_CONNECTED, "no TLS connection to {name}", "check that --host and --port are those of a securemsg server"
    ),
    "not-post-quantum": _Words(
        Exit.NOT_CONNECTED,
        "no post-quantum key exchange with {name}",
        "omit --require-pq, or use --transport tcp; over TCP both ends need OpenSSL 3.5 or newer, over UDP there is none",
    ),
    "lost": _Words(Exit.NOT_CONNECTED, "the connection was lost", _LATER),
    "local-error": _Words(Exit.PROFILE, "cannot write to the profile", "check free space and the folder's owner"),
    # accounts and devices
    "bad-token": _Words(
        Exit.REFUSED, "the invite is unknown, expired or used up", "ask for a new one and join with that"
    ),
    "registration-closed": _Words(
        Exit.REFUSED, "the server accepts no new accounts", "its operator has closed registration"
    ),
    "illegal-name": _Words(
        Exit.USAGE,
        "invalid account name: {name}",
        "a name is 1 to 32 characters of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit",
    ),
    "reserved-name": _Words(Exit.REFUSED, "the name {name} is reserved", "choose another name"),
    "name-taken": _Words(
        Exit.REFUSED,
        "the name {name} is taken",
        "join with the same invite and another name; if it was yours and its device is lost, the server's operator can free it",
    ),
    "bad-device-list": _Words(
        Exit.REFUSED, "the device list of {name} is malformed or not signed", "ask the server's operator"
    ),
    "unauthentic": _Words(
        Exit.REFUSED, "what the server says about {name} is not signed by {name}", "ask the server's operator"
    ),
    "stale-list": _Words(Exit.NOT_CONNECTED, "the device list of this account has just changed", _LATER),
    "list-unpublished": _Words(
        Exit.NOT_CONNECTED, "the last change to this account's device list is not published yet", "try again once connected"
    ),
    "forbidden": _Words(Exit.REFUSED, "this account is not allowed to do that", "ask the server's operator"),
    "no-such-account": _Words(
        Exit.NO_CONTACT, "no such account: {name}", "check the name; `securemsg contacts` lists those you know"
    ),
    "account-active": _Words(Exit.REFUSED, "{name} has logged in meanwhile", "it was not removed"),
    "unknown-account": _Words(Exit.NOT_CONNECTED, "the server has not been asked about {name} yet", _LATER),
    "no-such-device": _Words(Exit.REFUSED, "{name} no longer has this device", "send the message again"),
    "unlisted-device": _Words(Exit.REFUSED, "this account has no such device", "list them: securemsg devices"),
    "own-device": _Words(
        Exit.REFUSED, "this is the device that you are using", "remove it with another device of the account"
    ),
    "too-many-devices": _Words(
        Exit.REFUSED, f"this account already has {MAX_DEVICES} devices", "remove one first: securemsg devices remove ID"
    ),
    "no-prekeys": _Words(
        Exit.REFUSED, "{name} has not uploaded any keys yet", "try again once {name} has been online"
    ),
    "too-many-prekeys": _Words(Exit.REFUSED, "the server stores no more prekeys of this device", _LATER),
    "too-many-invites": _Words(
        Exit.REFUSED, "too many of your invites are open", "wait until some are used or expire"
    ),
    # short invites
    "too-many-codes": _Words(Exit.NOT_CONNECTED, "too many short invites are open on the server", _LATER),
    "no-such-code": _Words(
        Exit.REFUSED,
        "the server has no short invite with this number",
        "they work once, for 10 minutes, while the inviter stays connected; ask for a new one",
    ),
    "wrong-words": _Words(
        Exit.REFUSED,
        "these are not the words for this number, which is used up now",
        "ask for a new short invite, or for the long one",
    ),
    "no-answer": _Words(
        Exit.REFUSED,
        "the inviter did not answer, and the number is used up now",
        "ask for a new short invite, or for the long one",
    ),
    "server-without-codes": _Words(
        Exit.REFUSED,
        "this server does not support short invites",
        "use the long invite, which begins with securemsg://",
    ),
    # deposits
    "rate-limited": _Words(Exit.NOT_CONNECTED, "too many requests for the server's rate limit", _LATER),
    "retry-later": _Words(Exit.NOT_CONNECTED, "the server has no room at the moment", _LATER),
    "mailbox-full": _Words(Exit.NOT_CONNECTED, "the mailbox of {name} is full", _LATER),
    "stale-devices": _Words(Exit.NOT_CONNECTED, "the devices of {name} have just changed", _LATER),
    "conflict": _Words(
        Exit.REFUSED, "this --id was already used for another message", "omit --id, or generate a new one"
    ),
    "too-large": _Words(
        Exit.REFUSED, "the text is longer than 48 KiB (49152 bytes of UTF-8)", "send it in parts"
    ),
    "no-lobby": _Words(Exit.REFUSED, "this server has no lobby", "its operator opens one with: securemsg serve --lobby"),
    "lobby-full": _Words(Exit.REFUSED, f"{LOBBY_NAME} is full", "try again once somebody has left"),
    "lobby-busy": _Words(
        Exit.REFUSED, f"too many messages in {LOBBY_NAME}; yours was not relayed", "send it again later"
    ),
    "not-in-lobby": _Words(
        Exit.REFUSED, f"this account is not in {LOBBY_NAME}", f"enter it: securemsg chat '{LOBBY_NAME}'"
    ),
    "lobby-too-large": _Words(
        Exit.REFUSED, f"a text in {LOBBY_NAME} has at most {MAX_LOBBY_TEXT} bytes of UTF-8", "send it in parts"
    ),
    # questions
    "no-questions": _Words(
        Exit.USAGE, "{name} cannot be asked; only people can", "ask each of them: securemsg ask NAME,NAME TEXT --first"
    ),
    "question-unanswered": _Words(
        Exit.TIMED_OUT, "{name} has not answered in time; the question has expired", "ask again, with another --id"
    ),
    "no-question": _Words(
        Exit.USAGE, "there is no question from {name}", "see what was said: securemsg history {name}"
    ),
    "question-answered": _Words(Exit.REFUSED, "you have answered {name} already", "to say more: securemsg send {name}"),
    "question-over": _Words(
        Exit.REFUSED, "the time to answer {name} is over; nothing was sent", "write instead: securemsg send {name}"
    ),
    "several-questions": _Words(Exit.USAGE, "several questions of {name} are open"),
    "not-a-choice": _Words(Exit.USAGE, "not one of the choices of {name}'s question, or ambiguous"),
    # rooms
    "no-such-room": _Words(Exit.NO_CONTACT, "no such room: {name}", "list yours: securemsg room list"),
    "room-unclear": _Words(
        Exit.USAGE, "{name} matches several rooms", "give the first digits of the room's id: securemsg room list"
    ),
    "room-name-taken": _Words(
        Exit.USAGE, "you already call another room {name}", "choose another name; to join: securemsg room join ROOM --as NAME"
    ),
    "too-many-rooms": _Words(
        Exit.REFUSED, "this profile knows too many rooms", "leave some: securemsg room leave ROOM"
    ),
    "not-in-room": _Words(
        Exit.REFUSED, "you are not in {name}", "an admin of the room can invite you; your rooms: securemsg room list"
    ),
    "not-admin": _Words(
        Exit.REFUSED, "only admins of {name} can do that", "ask one of them: securemsg room members '{name}'"
    ),
    "last-admin": _Words(
        Exit.REFUSED,
        "{name} needs an admin",
        "make somebody else an admin first: securemsg room admin '{name}' WHO",
    ),
    "room-full": _Words(
        Exit.REFUSED,
        f"{{name}} is full: a room has at most {MAX_MEMBERS} members with {MAX_ROOM_DEVICES} devices in all",
        "remove somebody first: securemsg room remove '{name}' WHO",
    ),
    "room-forked": _Words(
        Exit.REFUSED,
        "the server shows another member list of {name} than this profile has; nothing is sent there until you decide",
        "compare the digits of `securemsg room members '{name}'` with the others; to go by the server's list:"
        " securemsg room follow '{name}'; to make a new room: securemsg room renew '{name}'",
    ),
    "room-broken": _Words(
        Exit.REFUSED,
        "{name} is broken, and nothing can be sent there",
        "an admin can make a new room for its members: securemsg room renew '{name}'",
    ),
    "room-changed": _Words(
        Exit.REFUSED,
        "somebody has joined {name} since this was written",
        "send it to the new members, too: securemsg room release '{name}'; or withdraw it:"
        " securemsg room release '{name}' --drop",
    ),
    "room-behind": _Words(
        Exit.NOT_CONNECTED,
        "this profile lacks the newest member list of {name}",
        "the other members were asked for it; it comes once one of them is online",
    ),
    "room-removal-waits": _Words(
        Exit.NOT_CONNECTED, "somebody is being removed from {name} first, so that they do not get this", _LATER
    ),
    "stale-room": _Words(Exit.NOT_CONNECTED, "the members of {name} have just changed", _LATER),
    "room-step-waits": _Words(Exit.NOT_CONNECTED, "a change to {name} goes out after the messages before it", _LATER),
    "bad-room-list": _Words(Exit.REFUSED, "a member list of {name} is not valid", "an admin can make a new room"),
    "room-list-missing": _Words(
        Exit.REFUSED, "nobody has the newest member list of {name}", "an admin can make a new room"
    ),
    "room-renewed": _Words(Exit.REFUSED, "another room has taken the place of {name}", "see: securemsg room list"),
    "bad-room-link": _Words(
        Exit.USAGE, "invalid or truncated link", "a link begins with securemsg-room: and has no spaces; ask for it again"
    ),
    "no-room-link": _Words(
        Exit.REFUSED, "there is no link to {name} that this profile knows", "make one: securemsg room link '{name}' --new"
    ),
    "server-without-rooms": _Words(
        Exit.NOT_CONNECTED,
        "this server does not support rooms",
        "ask its operator to upgrade it; what is waiting is sent then",
    ),
    "no-rooms": _Words(Exit.REFUSED, "{name} uses a version without rooms", "ask {name} to update"),
    "not-added": _Words(Exit.TIMED_OUT, "you have asked to be added to {name}, and were not added in time"),
    "bad-request": _Words(Exit.REFUSED, "the server rejected the request", "check the versions of both sides"),
    "unknown-message": _Words(
        Exit.REFUSED, "the server does not know this request", "it is older than this client"
    ),
    "expired": _Words(Exit.REFUSED, "the message expired before it could be sent", "send it again"),
    "busy": _Words(Exit.NOT_CONNECTED, "too many requests are waiting for the server", _LATER),
    # trust
    "identity-changed": _Words(
        Exit.IDENTITY_CHANGED,
        "the keys of {name} have changed: a new device, or somebody posing as {name}",
        "compare the numbers of `securemsg verify {name}` with {name}, then run: securemsg contacts accept {name}",
    ),
    "catching-up": _Words(
        Exit.NOT_CONNECTED, "{name} has new keys, which are used once all waiting messages have come", _LATER
    ),
    "suite-unavailable": _Words(
        Exit.REFUSED,
        "{name} has no RSA key, which suite rsa needs",
        "ask {name} to make one with `securemsg contacts YOUR-NAME --set-suite rsa`, or choose another suite:"
        " securemsg contacts {name} --set-suite pqxdh",
    ),
    "not-shown": _Words(
        Exit.REFUSED,
        "the number with {name} was not shown before, or it has changed since, or {name} has a new device",
        "compare first: securemsg verify {name}",
    ),
    "other-number": _Words(
        Exit.REFUSED,
        "these digits are not the safety number with {name}; nothing was confirmed",
        "check them for a mistake; if {name} really sees these, somebody is in between: see securemsg verify {name}",
    ),
    "list-forked": _Words(
        Exit.REFUSED,
        "the server shows a different device list of {name} than before",
        "ask {name} and the server's operator",
    ),
    "list-rolled-back": _Words(
        Exit.REFUSED,
        "the server shows an older device list of {name} than before",
        "ask {name} and the server's operator",
    ),
    "spent-bundle": _Words(
        Exit.REFUSED, "the server handed out keys of {name} that were used before", "ask the server's operator"
    ),
    "stale-bundle": _Words(
        Exit.NOT_CONNECTED,
        "the keys of {name} that the server shows are more than a month old, or from the future",
        "they are renewed when {name} is online; if {name} is, check this machine's clock and ask the server's operator",
    ),
    "own-account": _Words(Exit.REFUSED, "the server shows this account as somebody else's", "ask the server's operator"),
    # joining
    "bad-invite": _Words(
        Exit.USAGE,
        "invalid or truncated invite",
        "an invite looks like securemsg://host:port/#...; put it in quotes, or use - and paste it",
    ),
    "no-profile": _Words(Exit.PROFILE, "there is no profile in this folder yet", "make one: securemsg join INVITE NAME"),
    "not-joined": _Words(
        Exit.PROFILE,
        "joining was not finished",
        "run join again, with a new invite if the old one was refused",
    ),
    "renewal-unfinished": _Words(
        Exit.PROFILE, "the renewal of this account's keys is not finished", "finish it: securemsg identity renew"
    ),
    "connected-elsewhere": _Words(
        Exit.PROFILE,
        "another process is connected with this profile",
        "stop it first: a recv --follow, respond, gateway, chat or bot",
    ),
    "in-rooms": _Words(
        Exit.REFUSED,
        "the room {name} knows you by your keys",
        "leave it with `securemsg room leave {name}`, and ask to be invited again afterwards",
    ),
    "messages-held": _Words(
        Exit.REFUSED,
        "messages that could not be opened so far will be lost with the old keys",
        "see whose they are with `securemsg doctor`, and accept their keys; or renew anyway: --yes",
    ),
    "mailbox-not-empty": _Words(
        Exit.NOT_CONNECTED,
        "messages for the old keys keep coming, or another process is connected with them",
        "stop that process, or try again later: securemsg identity renew",
    ),
    "other-name": _Words(
        Exit.REFUSED, "this profile already belongs to another name: {name}", "use another folder: --profile DIR"
    ),
    "other-server": _Words(
        Exit.REFUSED, "this profile already belongs to another server", "use another folder: --profile DIR"
    ),
    # the profile
    "no-home": _Words(Exit.PROFILE, "this user has no home folder", "name a folder with {name} DIR"),
    "wrong-passphrase": _Words(Exit.PROFILE, "wrong passphrase", "check the file of --passphrase-file"),
    "passphrase-needed": _Words(
        Exit.PROFILE,
        "this profile is protected by a passphrase",
        "give --passphrase-file FILE, or set $SECUREMSG_PASSPHRASE_FILE",
    ),
    "new-passphrase-needed": _Words(
        Exit.USAGE, "there is no terminal to ask for a passphrase", "nothing was changed; give {name}"
    ),
    "passphrases-differ": _Words(
        Exit.USAGE, "the two passphrases differ", "nothing was changed; run it again, and enter the same one twice"
    ),
    "no-passphrase-there": _Words(
        Exit.PROFILE,
        "a passphrase was given, but this profile is not protected by one",
        "omit it, or set one: securemsg passphrase",
    ),
    "profile-damaged": _Words(Exit.PROFILE, "the profile is damaged", _KEEP_COPY),
    "profile-exists": _Words(
        Exit.REFUSED, "there is a profile in {name} already", "nothing was restored; give another folder: --profile DIR"
    ),
    "backup-damaged": _Words(
        Exit.PROFILE, "this is not a whole backup of a profile", "nothing was restored; use another copy"
    ),
    "state-damaged": _Words(
        Exit.PROFILE, "{name} is damaged", "restore another backup: securemsg admin restore FILE; what is there now is kept"
    ),
    "state-in-use": _Words(
        Exit.REFUSED, "{name} is in use by a daemon, or by another backup", "stop the daemon, or wait for the backup to end"
    ),
    "backup-exists": _Words(Exit.USAGE, "{name} exists", "give another FILE, or --force to replace it"),
    "backup-failed": _Words(Exit.INTERNAL, "cannot write the backup", "check disk and permissions, or give another FILE"),
    "backup-unreadable": _Words(Exit.USAGE, "cannot read the backup", "give another FILE"),
    "restore-failed": _Words(
        Exit.PROFILE, "cannot restore the backup", "nothing was restored; check disk and permissions, or give --profile DIR"
    ),
    "profile-exposed": _Words(
        Exit.PROFILE, "the profile is not as private as it should be", "do what is said above, then check again"
    ),
    "profile-older": _Words(
        Exit.PROFILE, "the profile was written before the first release", "join again with another --profile"
    ),
    "profile-newer": _Words(
        Exit.PROFILE, "the profile was written by a newer version", "install that version again"
    ),
    "profile-unreadable": _Words(
        Exit.PROFILE, "the profile cannot be read", "check owner and permissions of the folder"
    ),
    "key-exposed": _Words(
        Exit.PROFILE, "others can read the key file", "restrict it to yourself: chmod 600 store.key"
    ),
    "profile-busy": _Words(Exit.PROFILE, "another process has locked this profile", _LATER),
    "second-recv": _Words(
        Exit.PROFILE,
        "another recv, respond or bot is reading the messages of this profile",
        "stop it first: each message is delivered once",
    ),
    # what accounts are called, and what is wanted of them
    "contact-blocked": _Words(
        Exit.REFUSED, "you have blocked {name}", "to write to each other again: securemsg contacts unblock {name}"
    ),
    "alias-taken": _Words(
        Exit.USAGE, "{name} is the name or the alias of somebody else", "choose another one; securemsg contacts lists them"
    ),
    "name-unclear": _Words(
        Exit.USAGE,
        "{name} is your alias of one account and the name of another",
        "choose another alias: securemsg contacts alias {name} ALIAS",
    ),
    "too-many-preferences": _Words(
        Exit.REFUSED, "aliases, blocks and mutes are kept for too many accounts", "undo some: securemsg contacts"
    ),
    "messages-wait": _Words(
        Exit.REFUSED, "messages to {name} are waiting to be sent", "wait, or withdraw them: securemsg outbox"
    ),
    # the message
    "not-utf8": _Words(Exit.USAGE, "the text is not UTF-8", "convert it, or encode it, for example with base64"),
    "no-text": _Words(Exit.USAGE, "there is no text to send", "give TEXT, or write it to standard input"),
    "own-name": _Words(Exit.USAGE, "{name} is your own name", "give somebody else's name"),
    "no-receipts": _Words(
        Exit.USAGE,
        "there are no receipts in {name}: messages go to everybody there",
        "omit --wait: by default, send waits until the server has accepted the message, and relayed it in the lobby",
    ),
    "no-such-message": _Words(
        Exit.REFUSED, "no message of yours has an id that begins with {name}", "list what waits: securemsg outbox"
    ),
    "already-accepted": _Words(
        Exit.REFUSED, "message {name} was already accepted", "list what waits: securemsg outbox"
    ),
    "not-waiting": _Words(Exit.REFUSED, "message {name} does not wait", "list what waits: securemsg outbox"),
    "withdrawn": _Words(Exit.REFUSED, "the message with this --id was withdrawn", "send it with a new id"),
    # waiting
    "not-accepted": _Words(Exit.NOT_CONNECTED, "the server did not accept the message in time", _LATER),
    "not-answered": _Words(Exit.NOT_CONNECTED, "{name} did not answer in time", _LATER),
    "disappeared": _Words(
        Exit.TIMED_OUT,
        "the message was accepted, but disappeared here before a receipt came",
        "keep it longer, or do not wait for its delivery",
    ),
    "lobby-keep": _Words(
        Exit.USAGE, "messages in the lobby cannot disappear", "omit --keep, or write to a person or a room"
    ),
    "not-delivered": _Words(
        Exit.TIMED_OUT,
        "accepted by the server, but not delivered to {name} in time",
        "it is delivered as soon as {name} is online; if {name} already has it, {name} sends receipts only to known contacts",
    ),
    "too-few": _Words(Exit.TIMED_OUT, "fewer messages arrived than requested"),
    # streams
    "no-pipe": _Words(
        Exit.USAGE, "streams go between two people, not to {name}", "give the account of somebody else"
    ),
    "other-input": _Words(
        Exit.USAGE,
        "standard input does not begin as this stream did; nothing was sent",
        "give the same input from its beginning, or begin a new stream without --id",
    ),
    "other-output": _Words(
        Exit.USAGE,
        "some of this stream was already written to {name}",
        "run it again with the same --output, or again without one",
    ),
    "output-exists": _Words(Exit.USAGE, "{name} already exists", "give another FILE, or delete it"),
    "output-shorter": _Words(
        Exit.USAGE,
        "{name} is shorter than what was written to it",
        "the missing bytes will not be sent again; begin a new stream",
    ),
    "second-pipe": _Words(
        Exit.PROFILE, "another process of this profile is already using this stream", "stop it, or let it finish"
    ),
    "too-many-pipes": _Words(
        Exit.REFUSED,
        "too many of your streams are unfinished",
        "finish one, with the same --id and input; or run it again and press Ctrl-C to give it up",
    ),
    "output-changed": _Words(
        Exit.USAGE,
        "{name} does not match what this stream has written to it; nothing was changed",
        "restore the file, or begin a new stream",
    ),
    "stream-cut": _Words(
        Exit.CUT, "the stream was cut: {name} gave it up, or its data did not match its digest", "begin a new one"
    ),
    "stream-refused": _Words(
        Exit.CUT,
        "the stream was refused: too many streams from its sender are open, or its parts did not fit together",
        "wait until one has ended, then begin a new one",
    ),
    "stream-waits": _Words(
        Exit.TIMED_OUT, "no data moved within --timeout", "to continue, run the same command again, with --id"
    ),
    "no-stream": _Words(Exit.TIMED_OUT, "no stream came from {name} within --timeout"),
    "stopped": _Words(Exit.INTERRUPTED, "interrupted", "what is in the outbox is sent with the next connection"),
    # the daemon's control socket
    "no-such-invite": _Words(
        Exit.NO_CONTACT, "no open invite begins with {name}", "see: securemsg admin invites"
    ),
    "ambiguous-invite": _Words(Exit.USAGE, "several invites begin with {name}", "give more digits"),
    "no-daemon": _Words(
        Exit.NOT_CONNECTED,
        "no daemon is running in {name}",
        "start it: securemsg serve --state {name}; or name another --state",
    ),
    "no-permission": _Words(Exit.REFUSED, "no permission to use {name}", "run it as the daemon's user, or as root"),
    "path-too-long": _Words(
        Exit.USAGE, "the path of the socket is longer than 107 bytes: {name}", "use a shorter --state"
    ),
    # the process
    "too-many-files": _Words(Exit.INTERNAL, "too many open files", "raise the limit: ulimit -n 1024"),
    # output
    "output-failed": _Words(Exit.INTERNAL, "cannot write the output", "free some disk space, or write it elsewhere"),
}


def error_for(code: str, name: str = "", status: Exit | None = None, text: str = "", hint: str = "") -> SecuremsgError:
    """
    The error for a code.

    @param name: the account, address or path that it is about.
    @param status: replaces the status in the table.
    @param text: replaces the text in the table; C{hint} likewise.
    """
    meaning = WORDS.get(code) or _Words(Exit.REFUSED, f"refused: {code}")
    return SecuremsgError(
        meaning.status if status is None else status,
        code,
        (text or meaning.text).replace("{name}", name or "it"),
        (hint or meaning.hint).replace("{name}", name or "NAME"),
    )


def explain(error: Exception, name: str = "") -> SecuremsgError:
    """The error for an exception with a code: a refusal, or a broken protocol."""
    code = getattr(error, "code", "internal")
    if isinstance(error, RemoteProtocolError) and code not in WORDS:
        return SecuremsgError(
            Exit.NOT_CONNECTED, code, f"the server broke the protocol ({code})", "check the versions of both sides"
        )
    return error_for(code, name)


def table() -> str:
    """The exit statuses, as the help lists them."""
    return "\n".join(f"  {status.value:>3}  {meaning}" for status, meaning in MEANINGS.items())
