"""Standard streams that are closed from the start, as cron jobs and broken wrappers have them: they change no exit status."""

from __future__ import annotations

import shlex
from itertools import cycle

from tests.functional.support import Done, Person, PlaceCase, checked

CLOSED = ("<&-", ">&-", "2>&-", "<&- >&- 2>&-")


class ClosedTests(PlaceCase):
    """Two people."""

    def run_closed(self, who: Person, line: str, status: int = 0) -> Done:
        """Run a line of the shell as somebody."""
        line = f"exec securemsg --profile {shlex.quote(str(who.profile))} {line}"
        return checked(self.place.start_shell("closed", line).wait(), status, (line,))

    def test_send(self) -> None:
        """A message that was accepted is sent once: a script that sees another status would send it again."""
        una, rex = self.person("una"), self.person("rex")
        for closed in CLOSED:
            self.run_closed(una, f"send rex {shlex.quote(closed)} {closed}")
            self.run_closed(una, f"send rex {shlex.quote(closed)} --json {closed}")
        self.assertEqual(rex.texts(2 * len(CLOSED)), [text for text in CLOSED for _ in range(2)])
        self.run_closed(una, "send nobody x 2>&-", status=3)

    def test_reader_gone(self) -> None:
        """A reader that has gone, or a full disk below standard error, changes no status either."""
        ivo, ada = self.person("ivo"), self.person("ada")
        for line, status in (
            ("send nobody x --json | true", 3),
            ("send ada x --json --wait delivered --timeout 1 | true", 7),
            ("send nobody x 2>/dev/full", 3),
            ("ask ada 'Now?' --timeout 1 --json | true", 7),
            ("send ada x 2>/dev/full", 0),
        ):
            whole = f"securemsg --profile {shlex.quote(str(ivo.profile))} {line}; exit ${{PIPESTATUS[0]}}"
            checked(self.place.start_shell("gone", whole).wait(), status, (line,))
        del ada

    def test_recv(self) -> None:
        """Messages are printed without the other streams; without a standard output none is taken as read."""
        ida, max_ = self.person("ida"), self.person("max")
        for text in ("one", "two", "three"):
            ida.send("max", text)
        self.assertIn("one", self.run_closed(max_, "recv --count 1 2>&-").out)
        self.run_closed(max_, "recv --count 1 >&-", status=1)
        self.assertIn("two", self.run_closed(max_, "recv --count 1 <&-").out)
        self.assertIn("three", self.run_closed(max_, "recv --count 1 <&- 2>&-").out)

    def test_others(self) -> None:
        """Whatever the command."""
        kim = self.person("kim")
        self.person("lea")
        kim.send("lea", "hello")
        commands = ("status", "whoami", "contacts", "history lea", "verify lea", "devices", "ping", "--help", "--version")
        # All of them once, and each way once with the first.
        for command, closed in [*zip(commands, cycle(CLOSED), strict=False), *((commands[0], closed) for closed in CLOSED[1:])]:
            self.run_closed(kim, f"{command} {closed}")
        for closed in ("2>&-", ">&-"):
            self.run_closed(kim, f"chat lea {closed} <<< piped")
