"""What C{securemsg doctor} finds out without the server: versions, the profile, the clock, and what waits."""

from __future__ import annotations

import platform
from collections import Counter
from importlib import metadata
from pathlib import Path

from attrs import frozen

from securemsg import __version__
from securemsg.account.errors import Exit, SecuremsgError, error_for
from securemsg.account.tracking import held_up_in
from securemsg.cli.context import CommandContext
from securemsg.cli.rendering import amount
from securemsg.client import messages, unsent
from securemsg.client.state.contacts import all_contacts
from securemsg.net.tls import openssl_version

# Libraries whose versions decide what works; the last is an extra.
LIBRARIES = ("twisted", "cryptography", "pyopenssl", "msgspec", "aioquic")
# Seconds by which a clock may be wrong without harm to anybody.
CLOCK_TOLERANCE = 60
# Names that are shown of those to whom messages wait.
MAX_SHOWN = 5
DAY = 86400


@frozen
class Finding:
    """
    The result of a check.

    @ivar text: what was found.
    @ivar problem: what is wrong, with what to do; C{None}: nothing.
    """

    check: str
    text: str
    problem: SecuremsgError | None = None

    @property
    def status(self) -> Exit:
        """That of the problem, for other commands."""
        return Exit.DONE if self.problem is None else self.problem.status


def failed(check: str, problem: SecuremsgError) -> Finding:
    """The result of a check that found a problem."""
    return Finding(check, problem.text, problem)


def versions() -> Finding:
    """What is installed."""
    found = [f"securemsg {__version__}", f"Python {platform.python_version()}", openssl_version()]
    for name in LIBRARIES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"no {name}")
    return Finding("versions", ", ".join(found))


def profile(context: CommandContext) -> Finding:
    """Whose profile it is, and how it is protected."""
    return Finding("profile", f"{context.profile.name} in {context.folder}, keys protected {context.protection}")


def clock(now: float, known: float, of_server: bool) -> Finding:
    """
    Compare the clock with a time that is known.

    @param known: the server's time now; or a moment that has passed, as this profile knows, which the clock may not be before.
    """
    behind = known - now
    what = "the server's" if of_server else "what this profile has seen"
    if abs(behind) <= CLOCK_TOLERANCE or (not of_server and behind < 0):
        return Finding("clock", f"agrees with {what}")
    text = f"the clock is {_duration(abs(behind))} {'behind' if behind > 0 else 'ahead of'} {what}"
    hint = "set the clock of this machine, for example: timedatectl set-ntp true"
    return failed("clock", SecuremsgError(Exit.NOT_CONNECTED, "clock", text, hint))


def newest_time(context: CommandContext) -> int:
    """The latest moment that this profile knows of: when a message came, or was accepted."""
    with context.store.reading() as records:
        names = [contact.name for contact in all_contacts(records)]
    last = [line for name in names for line in messages.history(context.store, name, 1)]
    return max((line.accepted_at if isinstance(line, messages.Sent) else line.received_at for line in last), default=0)


def outbox(context: CommandContext) -> Finding:
    """What waits to be sent, and why."""
    found, now = unsent.waiting(context.store), context.now()
    later = sum(message.at > now for message in found.messages)
    if found.count == later:
        return Finding("outbox", f"{amount(later, 'message')} to be sent later" if later else "empty")
    with context.store.reading() as records:
        waiting = Counter((message.to, held_up_in(records, message)) for message in found.messages if message.at <= now)
    parts = [f"{count} to {name}{_why(code)}" for (name, code), count in waiting.items()]
    text = f"{found.count - later} waiting: {_listed(parts)}"
    held = next(((name, code) for name, code in waiting if code), None)
    if held is None:
        return Finding("outbox", f"{text}; sent with the next connection")
    problem = error_for(held[1], held[0])
    return failed("outbox", SecuremsgError(problem.status, problem.code, text, problem.hint))


def quarantine(context: CommandContext) -> Finding:
    """Which messages could not be opened, and why."""
    peers = messages.held_back(context.store)
    if not peers:
        return Finding("held back", "nothing")
    reasons = {peer.name: "identity-changed" if peer.identity else "needs a key file" if peer.locked else "" for peer in peers}
    text = f"{amount(sum(peer.rows for peer in peers), 'message')}: " + _listed(
        [f"{peer.rows} from {peer.name}{_why(reasons[peer.name])}" for peer in peers]
    )
    changed = next((peer.name for peer in peers if peer.identity), "")
    locked = next((peer.name for peer in peers if peer.locked), "")
    if changed:
        problem = error_for("identity-changed", changed)
        return failed("held back", SecuremsgError(problem.status, problem.code, text, problem.hint))
    if locked:
        hint = f"name the file: securemsg contacts {locked} --set-suite psk --key-file FILE"
        return failed("held back", SecuremsgError(Exit.REFUSED, "key-file-needed", text, hint))
    return Finding("held back", f"{text}; asked for again")


def configuration(path: Path | None) -> Finding:
    """Which file of defaults is in use."""
    return Finding("configuration", "no file" if path is None else str(path))


def _why(code: str) -> str:
    return f" ({code})" if code else ""


def _listed(parts: list[str]) -> str:
    """Some of them, and how many more there are."""
    more = len(parts) - MAX_SHOWN
    return ", ".join(parts[:MAX_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _duration(seconds: float) -> str:
    """A duration for people, in one unit."""
    for size, unit in ((DAY, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} seconds"
