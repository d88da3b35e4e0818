"""
The daemon's log: text for people, or a line of JSON for each event; its level, which may change while it runs; and repeats,
which are counted instead of filling it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import IO, Any

from attrs import define, field
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    textFileLogObserver,
)
from zope.interface import implementer

from securemsg.client.times import iso

# Only of our own events the fields are known to be fit for a log.
OWN = "securemsg"
# Of one kind of event so many are written in so many seconds; the others are counted.
BURST = 20
WINDOW = 60
# Of different kinds; each is a format string and a code of ours, so there are never that many.
MAX_KINDS = 1000
# What of an event makes it another kind, besides its form.
TELLING = ("what", "code")
# What the line about repeats takes over from the last of them.
KEPT = ("log_namespace", "log_level", "log_time")


def writes_to_journal() -> bool:
    """Whether standard error is a stream of systemd's journal."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


def json_line(event: LogEvent) -> str:
    """An event as one line of JSON, in ASCII."""
    level, namespace = event.get("log_level", LogLevel.info), str(event.get("log_namespace", ""))
    record: dict[str, object] = {
        "time": iso(event["log_time"]),
        "level": level.name,
        "source": namespace,
        "message": formatEvent(event),
    }
    if namespace.startswith(OWN):
        plain = {name: value for name, value in event.items() if isinstance(value, str | int) and not name.startswith("log_")}
        record |= {name: value for name, value in plain.items() if name not in record}
    if (failure := event.get("log_failure")) is not None:
        record["traceback"] = failure.getTraceback()
    return json.dumps(record)


@implementer(ILogObserver)
@define(eq=False)
class Repeats:
    """Passes the first events of a kind on, and counts the rest of a minute; those with a true C{log_each} all pass."""

    _observer: Callable[[LogEvent], object]
    # By kind: when its minute began, how many came, and the last one.
    _kinds: dict[tuple[str, ...], tuple[float, int, LogEvent]] = field(init=False, factory=dict)

    def __call__(self, event: LogEvent) -> None:
        """See L{ILogObserver}."""
        namespace, form = str(event.get("log_namespace", "")), event.get("log_format")
        if not namespace.startswith(OWN) or not form or event.get("log_each"):
            self._observer(event)
            return
        # Many of one refusal do not hide another.
        kind = namespace, str(form), *(str(event.get(name, "")) for name in TELLING)
        began, count, _ = self._kinds.get(kind, (event["log_time"], 0, event))
        if event["log_time"] - began >= WINDOW:
            self._report(kind)
            began, count = event["log_time"], 0
        if kind in self._kinds or len(self._kinds) < MAX_KINDS:
            self._kinds[kind] = began, count + 1, event
        if count < BURST:
            self._observer(event)

    def report(self, now: float) -> None:
        """Say how many were left out in the minutes that have passed."""
        for kind, (began, _, _) in list(self._kinds.items()):
            if now - began >= WINDOW:
                self._report(kind)

    def _report(self, kind: tuple[str, ...]) -> None:
        _, count, event = self._kinds.pop(kind)
        if count > BURST:
            text = "{count} more like this in the last minute: {last}"
            own: LogEvent = {name: event.get(name) for name in KEPT}
            self._observer(own | {"log_format": text, "count": count - BURST, "last": formatEvent(event)})


@define(eq=False)
class DaemonLogging:
    """
    How the daemon writes its log.

    @ivar as_json: whether as JSON.
    """

    as_json: bool
    _levels: LogLevelFilterPredicate = field(init=False, factory=LogLevelFilterPredicate)
    _repeats: list[Repeats] = field(init=False, factory=list)

    def observer(self, file: IO[Any]) -> ILogObserver:
        """What writes to this file."""
        repeats = Repeats(_json_observer(file) if self.as_json else textFileLogObserver(file))
        self._repeats.append(repeats)
        observer: ILogObserver = FilteringLogObserver(repeats, [self._levels])
        return observer

    def set_level(self, level: str) -> None:
        """Write events from this level on."""
        self._levels.setLogLevelForNamespace("", LogLevel.levelWithName(level))

    def report(self, now: float) -> None:
        """See L{Repeats.report}."""
        for repeats in self._repeats:
            repeats.report(now)


def _json_observer(file: IO[Any]) -> Callable[[LogEvent], None]:
    def observe(event: LogEvent) -> None:
        file.write(json_line(event) + "\n")
        file.flush()

    return observe
