"""
The slash commands of a chat. No terminal, no network.

A line is text, unless it begins with a slash: then it is a command of L{COMMANDS}. C{//} begins a text with one slash.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import click
from attrs import frozen

from securemsg.cli.times import OFF, KeepTime, duration_text
from securemsg.client.escape import escape
from securemsg.crypto import keys
from securemsg.protocol.devices import LOBBY_NAME, NAME_PATTERN, ROOM_MARK
from securemsg.protocol.envelope import MAX_KEEP, MIN_KEEP
from securemsg.protocol.messages import MAX_TEXT

# Lines of /last and /more where no number is given, and the most that may be asked for.
LAST_LINES = 20
MAX_LAST_LINES = 1000
# What stands before our own lines at a terminal, in words.
MARKS_MEAN = (
    "Before your own lines: · waiting, ✓ accepted by the server, ✓✓ delivered, ✓r read, ✗ not sent, – withdrawn",
    "(where the terminal is not set to UTF-8: . + ++ +r x -).",
)
# Leaves the chat as well, on a line of its own; from the first clients.
LEAVING_WORD = "exit"


@frozen
class Say:
    """Send this text."""

    text: str


@frozen
class Leave:
    """End the chat."""


@frozen
class Explain:
    """Show the commands."""


@frozen
class ShowLast:
    """Show the last lines of this conversation."""

    lines: int


@frozen
class ShowMore:
    """Show what was said before that."""


@frozen
class Search:
    """Show the messages of this conversation in which these words occur."""

    words: tuple[str, ...]


@frozen
class ShowContacts:
    """Show contacts with their marks and unread counts."""


@frozen
class ShowSafety:
    """Show the safety number of this contact."""


@frozen
class Confirm:
    """
    Mark this contact as verified.

    @ivar digits: the number as the contact sees it; empty: it was compared with the one that was shown.
    """

    digits: str


@frozen
class AcceptKeys:
    """Accept the new keys of this contact."""


@frozen
class ChooseKeep:
    """
    Choose for how long what is written here from now on is kept.

    @ivar keep: seconds; 0: as long as each end likes; C{None}: only show it.
    """

    keep: int | None


@frozen
class AnswerQuestion:
    """Answer the question of this contact that is open."""

    choice: str


@frozen
class SwitchTo:
    """Talk with somebody else."""

    name: str


@frozen
class ShowMembers:
    """Show who is in this room."""


@frozen
class LeaveRoom:
    """Leave this room for good."""


@frozen
class JoinRoom:
    """
    Accept an invitation to a room.

    @ivar alias: what to call it; empty: as its title, or else its id, proposes.
    """

    room: str
    alias: str = ""


@frozen
class InviteToRoom:
    """Invite these accounts to this room."""

    names: tuple[str, ...]


@frozen
class RenameRoom:
    """Give this room another title."""

    title: str


@frozen
class ReleaseHeld:
    """
    Send what waits because somebody has joined this room.

    @ivar drop: withdraw it instead.
    """

    drop: bool


@frozen
class ShowState:
    """Show connection and outbox."""


@frozen
class Misunderstood:
    """
    Nothing was done.

    @ivar reason: a sentence for the person who typed.
    """

    reason: str


Intention = (
    Say
    | Leave
    | Explain
    | ShowLast
    | ShowMore
    | Search
    | ShowContacts
    | ShowSafety
    | Confirm
    | AcceptKeys
    | ChooseKeep
    | AnswerQuestion
    | SwitchTo
    | ShowMembers
    | LeaveRoom
    | InviteToRoom
    | JoinRoom
    | RenameRoom
    | ReleaseHeld
    | ShowState
    | Misunderstood
)


@frozen
class Command:
    """
    One command of the chat.

    @ivar arguments: how they are written in the help.
    @ivar parse: from the words after the command.
    """

    arguments: str
    summary: str
    parse: Callable[[list[str]], Intention]


def _alone(intention: Intention) -> Callable[[list[str]], Intention]:
    """A command that takes no words."""
    return lambda words: Misunderstood("this command takes no arguments") if words else intention


def _last(words: list[str]) -> Intention:
    if not words:
        return ShowLast(LAST_LINES)
    if len(words) > 1 or not (words[0].isascii() and words[0].isdigit()) or len(words[0]) > 4 or int(words[0]) < 1:
        return Misunderstood("usage: /last [LINES]")
    return ShowLast(min(int(words[0]), MAX_LAST_LINES))


def _search(words: list[str]) -> Intention:
    return Search(tuple(words)) if words else Misunderstood("usage: /search WORDS")


def _verify(words: list[str]) -> Intention:
    if not words:
        return ShowSafety()
    digits = keys.digits_in(words)
    if digits or words in (["confirm"], ["--confirm"]):
        return Confirm(digits)
    return Misunderstood("usage: /verify, then /verify confirm once you have compared the numbers, or /verify DIGITS")


def _keep(words: list[str]) -> Intention:
    if not words:
        return ChooseKeep(None)
    try:
        keep = KeepTime().convert(words[0], None, None)
    except click.UsageError:
        keep = -1
    if len(words) > 1 or keep < 0:
        span = f"{duration_text(MIN_KEEP)} to {duration_text(MAX_KEEP)}"
        return Misunderstood(f"usage: /keep {span}, such as /keep 1d, or /keep {OFF}")
    return ChooseKeep(keep)


def _answer(words: list[str]) -> Intention:
    return AnswerQuestion(" ".join(words)) if words else Misunderstood("usage: /answer CHOICE, or the number of the choice")


def _switch(words: list[str]) -> Intention:
    # As typed in a shell, or without the quotes that only a shell needs.
    name = words[0].strip("'\"") if len(words) == 1 else ""
    # The names of rooms, without their mark, are like those of accounts.
    if not NAME_PATTERN.fullmatch(name.removeprefix(ROOM_MARK)):
        what = f"invalid name: {escape(name)} (a-z, 0-9, . _ - only); " if name else ""
        return Misunderstood(f"{what}usage: /to NAME, or /to {LOBBY_NAME}")
    return SwitchTo(name)


def _invite(words: list[str]) -> Intention:
    if not words or not all(NAME_PATTERN.fullmatch(word) for word in words):
        return Misunderstood("usage: /invite NAME...")
    return InviteToRoom(tuple(dict.fromkeys(words)))


def _join(words: list[str]) -> Intention:
    match [word.strip("'\"") for word in words]:
        case [room]:
            return JoinRoom(room)
        case [room, "--as", alias]:
            return JoinRoom(room, alias)
    return Misunderstood("usage: /join ROOM, or /join ROOM --as NAME")


def _rename(words: list[str]) -> Intention:
    return RenameRoom(" ".join(words)) if words else Misunderstood("usage: /title TEXT")


def _release(words: list[str]) -> Intention:
    if words not in ([], ["drop"]):
        return Misunderstood("usage: /release, or /release drop to withdraw what waits")
    return ReleaseHeld(bool(words))


COMMANDS: dict[str, Command] = {
    "/help": Command("", "show this list", _alone(Explain())),
    "/last": Command("[LINES]", f"show the last lines of this conversation ({LAST_LINES})", _last),
    "/more": Command("", "show what was said before that", _alone(ShowMore())),
    "/search": Command("WORDS", "show the messages here in which all these words occur", _search),
    "/who": Command("", "list contacts and rooms: who is unverified or has new keys, unread", _alone(ShowContacts())),
    "/to": Command("NAME", f"chat with somebody else, or in a room such as {LOBBY_NAME}", _switch),
    "/members": Command("", "list who is in this room", _alone(ShowMembers())),
    "/invite": Command("NAME...", "invite somebody to this room", _invite),
    "/title": Command("TEXT", "change the title of this room", _rename),
    "/release": Command("[drop]", "send what waits because somebody has joined; drop: withdraw it", _release),
    "/join": Command("ROOM [--as NAME]", "accept an invitation to a room", _join),
    "/leave": Command("", "leave this room, and receive nothing more from it", _alone(LeaveRoom())),
    "/verify": Command("[confirm|DIGITS]", "show the safety number; confirm: both sides have the same", _verify),
    "/accept": Command("", "accept the new keys of this contact, unverified", _alone(AcceptKeys())),
    "/keep": Command("[TIME|off]", "delete what you write here from now on at both ends TIME after it was read", _keep),
    "/answer": Command("CHOICE", "answer the question that was asked here; signed: it can be shown to others", _answer),
    "/status": Command("", "show the connection, and what is waiting", _alone(ShowState())),
    "/quit": Command("", f"leave; so do `{LEAVING_WORD}` and the end of the input", _alone(Leave())),
}


def understand(line: str) -> Intention | None:
    """What a typed line means; C{None}: nothing was typed."""
    if line.strip() == LEAVING_WORD:
        return Leave()
    if line.startswith("//"):
        return text_of(line[1:])
    if line.startswith("/"):
        word, *words = line.split()
        command = COMMANDS.get(word)
        if command is None:
            return Misunderstood(f"unknown command {escape(word)}; see /help, or type // to begin a message with a slash")
        return command.parse(words)
    return text_of(line)


def is_command(line: str) -> bool:
    """Whether a line is no text, if lines are understood."""
    return line.startswith("/") and not line.startswith("//")


def text_of(line: str) -> Intention | None:
    """What a line of data means, whatever it looks like; C{None}: it is blank."""
    if not line.strip():
        return None
    try:
        size = len(line.encode("utf-8"))
    except UnicodeEncodeError:
        return Misunderstood("not sent: the line is not UTF-8; set your terminal to UTF-8")
    if size > MAX_TEXT:
        return Misunderstood(f"not sent: the line is longer than {MAX_TEXT} bytes")
    return Say(line)


def complete(line: str, names: Iterable[str]) -> list[str]:
    """What the last word of a line may become: a command at the line's start, a name after C{/to}, C{/invite} or C{@}."""
    head, _, word = line.rpartition(" ")
    if not head and word.startswith("/"):
        return [command for command in COMMANDS if command.startswith(word)]
    if head.strip() == "/to":
        return sorted(name for name in names if name.startswith(word))
    if head.partition(" ")[0] == "/invite":
        return sorted(name for name in names if name.startswith(word) and not name.startswith(ROOM_MARK))
    if head.strip() == "/verify":
        return [choice for choice in ("confirm",) if choice.startswith(word)]
    if word.startswith("@"):
        return sorted("@" + name for name in names if name.startswith(word[1:]))
    return []


def mentions(text: str, name: str) -> bool:
    """Whether a text has this name with an C{@} before it, as a word of its own."""
    return re.search(rf"(?<![a-z0-9._-])@{re.escape(name)}(?!\.?[a-z0-9_-])", text, re.IGNORECASE) is not None


def help_lines() -> list[str]:
    """The list of commands."""
    titles = {name: f"{name} {command.arguments}".rstrip() for name, command in COMMANDS.items()}
    width = max(map(len, titles.values()))
    return [*(f"{titles[name]:<{width}}  {command.summary}" for name, command in COMMANDS.items()), *MARKS_MEAN]


def unread_text(unread: dict[str, int]) -> str:
    """Who has written, in the order of names; empty where nobody has."""
    others = [f"{escape(name)} {count}" for name, count in sorted(unread.items()) if count]
    return "unread: " + ", ".join(others) if others else ""
