"""Messages that are kept unopened because a key file is missing, or another was given: whose they are, and what opens them."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field

from securemsg.cli.context import CommandContext
from securemsg.cli.output import report_warning
from securemsg.client.events import Warned
from securemsg.client.state import quarantine
from securemsg.client.state.quarantine import Locked

_REASONS = {
    "suite-unavailable": "encrypted with a key file that was not given here, or for a newer version",
    "wrong-key": "encrypted with another key file than the one that was given for them, or changed on the way",
}


@define(eq=False)
class LockedMessages:
    """
    Says so, once in a run for each contact and reason: in the run in which they came, and in every one while they are kept.

    @ivar sender: of whom alone; C{None}: of all.
    """

    _context: CommandContext
    _sender: str | None = None
    _told: set[tuple[str, str]] = field(factory=set, init=False)

    def has_news(self) -> bool:
        """Whether there is something that was not said yet."""
        return bool(self._fresh())

    def tell(self) -> None:
        """Say it, on standard error."""
        for row in self._fresh():
            self._told.add((row.name, row.code))
            report_warning(Warned(row.code, row.name, text_of(row)), self._context.settings.as_json, remedy(row.name))

    def _fresh(self) -> list[Locked]:
        """What is kept of which we said nothing."""
        return [
            row for row in kept(self._context) if self._sender in (None, row.name) and (row.name, row.code) not in self._told
        ]


def kept(context: CommandContext) -> list[Locked]:
    """Which messages wait for a key file."""
    if context.folder is None:
        # A caller has its file, and no command to give another.
        return []
    with context.store.reading() as records:
        return quarantine.locked(records)


def counted(rows: Iterable[Locked]) -> dict[str, int]:
    """How many of whom, whatever the reason."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.name] = counts.get(row.name, 0) + row.count
    return counts


def remedy(name: str) -> str:
    """The command that opens them."""
    return f"securemsg contacts {name} --set-suite psk --key-file FILE"


def text_of(row: Locked) -> str:
    """What there is to know, in words."""
    what = f"1 message of {row.name} is" if row.count == 1 else f"{row.count} messages of {row.name} are"
    return f"{what} kept unopened: {_REASONS[row.code]}; give the file that {row.name} uses: {remedy(row.name)}"
