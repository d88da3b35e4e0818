"""The clock of the machine is set, by people, by NTP or by a virtual machine that was suspended: nobody stands still."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.functional.support import HOST, SECUREMSG, TWISTD, Daemon, Person, Place, Running, is_listening, until

# Seconds that the clock is set back: far more than a test may take.
BACK = 3600
# The wall clock of a program: the true one, moved by what a file says. Before anything else is imported.
STEPPING = """
import time
true = time.time
def stepped():
    with open({path!r}) as file:
        return true() + float(file.read() or 0)
time.time = stepped
"""


class StepTests(SynchronousTestCase):
    """A daemon and clients whose wall clock is set back while they work."""

    def setUp(self) -> None:
        """The daemon listens."""
        self.place = Place.make()
        self.addCleanup(self.place.forget)
        self.step(0)
        self.daemon = Daemon(self.place)
        options = ("--host", HOST, "--port", str(self.daemon.port), "--state", str(self.daemon.state))
        self.daemon.running = self.start("twistd", TWISTD, "-n", "securemsg", *options)
        until(lambda: (self.daemon.state / "control").exists() and is_listening(self.daemon.port), "a daemon that listens")
        invite = self.daemon.invite(2)
        self.ann, self.ben = (Person(self.place, name).join(invite) for name in ("ann", "ben"))
        self.ben.run("settings", "receipts", "everybody")

    @property
    def clock(self) -> Path:
        """What moves the clock of all that L{start} starts."""
        return self.place.folder / "clock"

    def step(self, seconds: float) -> None:
        """Set it."""
        draft = self.clock.with_suffix(".new")
        draft.write_text(str(seconds), "utf-8")
        draft.rename(self.clock)

    def start(self, name: str, code: str, *arguments: str, profile: Path | None = None) -> Running:
        """Start a program with this clock."""
        code = STEPPING.format(path=str(self.clock)) + code
        return self.place.start(name, code, *arguments, SECUREMSG_PROFILE=str(profile or ""))

    def test_busy(self) -> None:
        """A daemon and a reader that are at work when it happens go on."""
        reader = self.start("reader", SECUREMSG, "recv", "--follow", profile=self.ben.profile)
        self.ann.send("ben", "before", "--wait", "delivered")
        self.step(-BACK)
        for text in ("one", "two", "three"):
            self.ann.send("ben", text, "--wait", "delivered")
        until(lambda: reader.line_count == 4, "four lines of the reader")
        self.step(BACK)
        self.ann.send("ben", "after", "--wait", "delivered")
        self.daemon.stop()
