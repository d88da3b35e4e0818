"""
The command of C{deploy/Containerfile} as process 1, on a root folder that it cannot write. The image itself is not built: there
is no network in tests.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from tests.functional.support import HOST, TWISTD, Daemon, Person, Place, Running, is_listening, until
from tests.test_deploy import instructions

UNSHARE = ("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
# Its argument stays writable, as a volume does.
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro / && exec "$@"'
START = f"import os, sys; os.execvp('unshare', [*{UNSHARE}, 'sh', '-c', {READ_ONLY!r}, *sys.argv[1:]])"
# Seconds that a shutdown with nothing to do may take on a busy machine; podman kills after 10 by default.
QUICK = 10


def is_allowed() -> bool:
    """Whether the kernel gives this user namespaces, and lets a root folder be read only there."""
    if not shutil.which(UNSHARE[0]):
        return False
    argv = [*UNSHARE, "sh", "-c", READ_ONLY, "/var", "true"]
    return subprocess.run(argv, capture_output=True, check=False, timeout=60).returncode == 0


class ContainerTests(SynchronousTestCase):
    """One volume."""

    @skipUnless(is_allowed(), "the kernel allows no user namespaces")
    def test_process_one(self) -> None:
        """It serves and says how it is, comes back after SIGKILL with what it has, and ends in order and quickly."""
        place = Place.make()
        self.addCleanup(place.forget)
        daemon = Daemon(place)
        daemon.state.mkdir(0o700)
        running = self.start(daemon)
        self.assertEqual(self.inside(running, "status").partition("NSpid:")[2].split("\n")[0].split()[-1], "1")
        roots = [line.split()[5] for line in self.inside(running, "mountinfo").splitlines() if line.split()[4] == "/"]
        self.assertTrue(roots[-1].startswith("ro"), roots)
        ann = Person(place, "ann").join((daemon.state / "first-invite").read_text("utf-8").strip())
        os.kill(self.process_of(running), signal.SIGKILL)
        self.assertNotEqual(running.wait().status, 0)
        running = self.start(daemon)
        [words] = [json.loads(text.partition("CMD ")[2]) for name, text in instructions() if name == "HEALTHCHECK"]
        self.assertEqual(words[1:], ["admin", "--state", "/var/lib/securemsg", "stats"])
        self.assertIn("accounts", daemon.admin("stats").out)
        ann.send("server", "hello", "--wait", "delivered")
        os.kill(self.process_of(running), signal.SIGTERM)
        self.assertEqual(running.wait(QUICK).status, 0)

    def start(self, daemon: Daemon) -> Running:
        """Start what the image starts, with a port and an address, and wait until it listens."""
        [entry] = [json.loads(text) for name, text in instructions() if name == "ENTRYPOINT"]
        options = ("--advertise", HOST, "--port", str(daemon.port))
        command = (str(daemon.state), sys.executable, "-c", TWISTD, *entry[1:], *options)
        running = daemon.place.start("container", START, *command, STATE_DIRECTORY=str(daemon.state))
        until(lambda: not running.is_alive or (self.has_invite(daemon) and is_listening(daemon.port)), "a daemon that listens")
        self.assertTrue(running.is_alive, running.out + running.err)
        return running

    def has_invite(self, daemon: Daemon) -> bool:
        """Whether the first start is through."""
        return (daemon.state / "first-invite").exists()

    def process_of(self, running: Running) -> int:
        """The daemon, by its number outside."""
        [child] = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text("ascii").split()
        return int(child)

    def inside(self, running: Running, name: str) -> str:
        """What the kernel says of the daemon."""
        return Path(f"/proc/{self.process_of(running)}/{name}").read_text("utf-8")
