"""The daemon in the sandbox of its unit, as far as a test can enforce that, with a socket that is passed to it."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from unittest import skipUnless

from securemsg.daemon.configsample import sample_config
from tests.functional.sandbox import IS_AVAILABLE
from tests.functional.support import HOST, LIMIT, Person, PlaceCase, until

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "deploy" / "securemsg.service"
# As the service has it.
TLS = {"OPENSSL_CONF": str(ROOT / "deploy" / "openssl.cnf")}
# PrivateUsers=, PrivateNetwork=, for a user whom the kernel lets have them.
UNSHARE = ("unshare", "--user", "--map-current-user", "--net")
CODE = """
import os, sys
for number in (4, 3):
    os.dup2(int(sys.argv.pop(1)), number + 100)
for number in (3, 4):
    os.dup2(number + 100, number)
from pathlib import Path
from securemsg.daemon.configsample import sample_config
from tests.functional.sandbox import enter, read_unit
enter(read_unit(Path(sys.argv.pop(1)))["Service"])
from twisted.scripts.twistd import run
sys.argv[0] = "twistd"
run()
"""


def unshared() -> tuple[str, ...]:
    """What starts a program without users and networks of this machine; nothing, where that is not allowed."""
    if not shutil.which(UNSHARE[0]):
        return ()
    failed = subprocess.run([*UNSHARE, "true"], capture_output=True, check=False, timeout=60).returncode
    return () if failed else UNSHARE


class SandboxTests(PlaceCase):
    """One daemon."""

    @skipUnless(IS_AVAILABLE, "needs systemd-analyze and libseccomp")
    def test_serves(self) -> None:
        """Ann joins over TLS, and asks the contact C{server}; Prometheus is served, too; a shutdown is in order."""
        self.daemon.stop()
        notify = self.place.folder / "notify"
        with (
            socket.create_server((HOST, 0)) as listening,
            socket.create_server((HOST, 0)) as watched,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        ):
            manager.bind(str(notify))
            manager.settimeout(LIMIT)
            self.daemon.name = "sandboxed"
            self.daemon.state.mkdir(0o700)
            with (self.place.folder / "log").open("wb") as log:
                running = subprocess.Popen(
                    [
                        *unshared(), sys.executable, "-c", CODE, str(watched.fileno()), str(listening.fileno()), str(UNIT),
                        *self.command(), "--metrics", "fd:4",
                    ],
                    pass_fds=(listening.fileno(), watched.fileno()),
                    env={**os.environ, "NOTIFY_SOCKET": str(notify), "STATE_DIRECTORY": str(self.daemon.state), **TLS},
                    stdout=log,
                    stderr=log,
                    cwd=ROOT,
                )
            self.addCleanup(running.wait)
            self.addCleanup(running.kill)
            self.assertTrue(manager.recv(1000).startswith(b"READY=1\n"))
            ann = Person(self.place, "ann").join(self.daemon.invite())
            ann.send("server", "hello", "--wait", "delivered")
            self.assertEqual(len(ann.texts(1, "--from", "server")), 1)
            with urllib.request.urlopen(f"http://{HOST}:{watched.getsockname()[1]}/metrics", timeout=LIMIT) as answer:
                self.assertIn(b"securemsg_registrations_total 1.0", answer.read())
            running.terminate()
            until(lambda: manager.recv(1000).startswith(b"STOPPING=1\n"), "the word that it stops")
            running.wait(LIMIT)
            text = (self.place.folder / "log").read_text("utf-8")
        self.assertNotIn("Traceback", text)
        self.assertNotIn("not permitted", text)

    def command(self) -> list[str]:
        """What the unit runs."""
        program, *arguments = shlex.split((UNIT.read_text("utf-8").partition("\nExecStart=")[2]).splitlines()[0])
        self.assertEqual(Path(program).name, "twistd")
        config = self.place.folder / "securemsg.conf"
        config.write_text(sample_config(), "utf-8")
        return [str(config) if each.endswith(config.name) else each for each in arguments]
