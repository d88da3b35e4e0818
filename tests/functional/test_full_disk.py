"""A disk of the daemon that has not one byte left: nothing ends, and everything goes on by itself once there is room."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from pathlib import Path
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from tests.functional.support import HOST, Daemon, Person, Place, Running, until

# Bytes; below it the daemon accepts no message.
SIZE = 96 * 2**20


class MountedDaemon(Daemon):
    """A daemon that sees a disk which others reach through a process only."""

    def launch(self, stdout: int | None = None) -> Running:
        """See L{Daemon.launch}."""
        _, _, holder, _, inside = str(self.state).split("/", 4)
        options = f"--host {HOST} --port {self.port} --state /{inside}"
        self.running = self.place.start_shell("twistd", f"exec nsenter -t {holder} -m twistd -n securemsg {options}")
        return self.running


@skipUnless(sys.platform == "linux" and os.geteuid() == 0 and shutil.which("nsenter"), "only root may mount a small disk")
class FullDiskTests(SynchronousTestCase):
    """The state folder is on a disk of its own, which goes with the process for which it was mounted."""

    def setUp(self) -> None:
        """Mount it, start the daemon there."""
        self.place = Place.make()
        self.addCleanup(self.place.forget)
        disk = self.place.folder / "disk"
        disk.mkdir()
        mount = f"mount -t tmpfs -o size={SIZE},mode=700 none {disk} && echo mounted && exec sleep 600"
        holder = self.place.start_shell("disk", f"exec unshare -m sh -c '{mount}'")
        until(lambda: holder.out or not holder.is_alive, "the disk")
        if not holder.is_alive:
            self.skipTest(f"a small disk cannot be mounted here: {holder.err}")
        self.disk = Path(f"/proc/{holder.process.pid}/root{disk}")
        self.daemon = MountedDaemon(self.place, name=f"{self.disk}/state")
        self.daemon.start()
        self.ada, self.bob = (Person(self.place, name).join(self.daemon.invite()) for name in ("ada", "bob"))

    def fill(self) -> None:
        """Leave nothing."""
        with (self.disk / "filler").open("ab", buffering=0) as file:
            for size in (2**20, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def make_room(self) -> None:
        """Give it back."""
        (self.disk / "filler").unlink()

    def wait_for(self, line: str) -> None:
        """Wait until it stands in the log."""
        until(lambda: line in self.daemon.log, line)

    def assert_refused(self) -> None:
        """The daemon does not start, and says what to do, in one line."""
        said = self.daemon.launch().wait()
        log = [line for line in self.daemon.log.splitlines() if "free some space" in line]
        self.assertEqual((said.status, len(log)), (1, 1), said)

    def test_recovery(self) -> None:
        """The daemon waits with what it cannot write, says so once, and goes on by itself; nothing is shown twice."""
        self.ada.send("bob", "one")
        self.fill()
        self.assertEqual(self.bob.texts(1), ["one"])
        self.wait_for("the disk is full")
        self.assertEqual(self.ada.error("send", "bob", "two", status=6)["code"], "retry-later")
        self.assertIn("retry-later", self.daemon.admin("accounts", status=6).err)
        self.make_room()
        self.wait_for("has room again")
        self.ada.send("server", "three")
        self.assertEqual(len(self.ada.texts(1)), 1)
        self.assertEqual(self.bob.texts(1), ["two"])
        self.assertTrue(self.daemon.running.is_alive)
        for line in ("the disk is full", "has room again"):
            self.assertEqual(self.daemon.log.count(line), 1)

    def test_stopped(self) -> None:
        """It stops in order while it waits, with what it has accepted."""
        for text in ("one", "two"):
            self.ada.send("bob", text)
        self.fill()
        self.assertEqual(self.bob.texts(1), ["one"])
        self.wait_for("the disk is full")
        self.daemon.stop()
        self.assert_refused()
        self.make_room()
        self.daemon.start()
        self.assertEqual(self.bob.texts(1), ["two"])

    def test_start(self) -> None:
        """Whether it was stopped or killed before, or never ran, a start on a full disk says what to do."""
        self.ada.send("bob", "one")
        self.daemon.stop()
        self.fill()
        self.assert_refused()
        self.make_room()
        self.daemon.start()
        self.daemon.kill()
        self.fill()
        self.assert_refused()
        self.make_room()
        self.daemon.start()
        self.bob.run("ping", "--retry")
        self.assertEqual(self.bob.texts(1), ["one"])
        self.daemon.stop()
        shutil.rmtree(self.daemon.state)
        self.fill()
        self.assert_refused()
