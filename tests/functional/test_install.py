"""C{make install} and C{make uninstall}, below a folder, with the libraries of the running environment."""

from __future__ import annotations

import os
import shlex
import socket
import stat
import subprocess
import sys
import sysconfig
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.functional.sandbox import read_unit
from tests.functional.support import HOST, LIMIT, ROOT, Place, until
from tests.functional.test_packaging import lend_twistd, settings

# What the program of a service unit finds as its third descriptor.
PASS = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.argv[2], sys.argv[2:])"
CONFIG = "etc/securemsg/securemsg.conf"
PLACED = {
    "man": "usr/local/share/man/man1/securemsg.1",
    "page of the configuration": "usr/local/share/man/man5/securemsg.conf.5",
    "completion": "usr/local/share/bash-completion/completions/securemsg",
    "socket": "usr/local/lib/systemd/system/securemsg.socket",
    "service": "usr/local/lib/systemd/system/securemsg.service",
    "groups": "opt/other/share/securemsg/openssl.cnf",
}


class InstallTests(SynchronousTestCase):
    """One installation."""

    def setUp(self) -> None:
        """A machine's root folder, empty."""
        self.place = Place.make()
        self.addCleanup(self.place.forget)
        self.root = self.place.folder / "root"
        self.venv = self.root / "opt" / "other"
        libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        self.settings = {**settings(), "PYTHONPATH": ":".join(sorted(libraries)), "HOME": str(self.place.folder)}
        self.pip = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}

    def make(self, target: str, *more: str, status: int = 0) -> str:
        """Run make as a user does, and give what it says."""
        argv = ("make", "-s", "-C", str(ROOT), target, f"DESTDIR={self.root}", "PREFIX=/opt/other", f"PYTHON={sys.executable}")
        env = {**self.settings, **self.pip}
        done = subprocess.run([*argv, *more], capture_output=True, text=True, check=False, env=env, timeout=240)
        self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
        return done.stderr

    def test_life(self) -> None:
        """Installed, it serves by its own unit; installed again, configuration stays; uninstalled, nothing else does."""
        self.assertIn("enable --now securemsg.socket securemsg.service", self.make("install"))
        for what, path in PLACED.items():
            self.assertEqual(stat.S_IMODE((self.root / path).stat().st_mode), 0o644, what)
        self.assertEqual(os.readlink(self.root / "usr/local/bin/securemsg"), "/opt/other/bin/securemsg")
        programs = (self.venv / "bin" / "securemsg").read_text("utf-8") + (self.venv / "pyvenv.cfg").read_text("utf-8")
        self.assertIn("#!/opt/other/bin/python", programs)
        self.assertNotIn(str(self.root), programs)
        self.assertTrue([*self.venv.glob("lib/python*/site-packages/twisted/plugins/dropin.cache")])
        self.assertTrue([*self.venv.glob("lib/python*/site-packages/securemsg/__pycache__/tap.*.pyc")])
        config = self.root / CONFIG
        config.write_text("[securemsg]\nadvertise = 127.0.0.1\n", "utf-8")
        self.serves()
        self.assertIn("securemsg.conf.new", self.make("install"))
        self.assertIn("advertise = 127.0.0.1", config.read_text("utf-8"))
        self.assertIn("#advertise =", config.with_name("securemsg.conf.new").read_text("utf-8"))
        self.assertIn("/var/lib/private/securemsg", self.make("uninstall"))
        left = {str(path.relative_to(self.root)) for path in self.root.rglob("*") if not path.is_dir()}
        self.assertEqual(left, {CONFIG, f"{CONFIG}.new"})
        self.assertFalse(self.venv.exists())
        self.assertIn("is not an installation", self.make("uninstall", status=2))

    def test_refused(self) -> None:
        """A folder with something else in it is neither filled nor removed, and PREFIX is a path of a folder."""
        self.venv.mkdir(parents=True)
        (self.venv / "mine").touch()
        self.assertIn("holds something else", self.make("install", status=2))
        self.assertIn("is not an installation", self.make("uninstall", status=2))
        for prefix in ("/", "opt", "/opt/a b", "/opt/$x"):
            self.assertIn("PREFIX ", self.make("install", f"PREFIX={prefix.replace('$', '$$')}", status=2))
        self.assertEqual([path.name for path in self.root.rglob("*") if not path.is_dir()], ["mine"])

    def serves(self) -> None:
        """Start it as the unit says, and join."""
        service = read_unit(self.root / PLACED["service"])["Service"]
        python = self.venv / "bin" / "python"
        lend_twistd(python)
        name, _, value = service["Environment"].partition("=")
        argv = [f"{self.root}{word}" if word.startswith("/") else word for word in shlex.split(service["ExecStart"])]
        self.assertTrue(Path(f"{self.root}{value}").is_file())
        state = self.place.folder / "state"
        env = {**self.settings, name: f"{self.root}{value}", "STATE_DIRECTORY": str(state)}
        with socket.create_server((HOST, 0)) as listening, (self.place.folder / "log").open("wb") as log:
            number = str(listening.fileno())
            running = subprocess.Popen(
                [python, "-c", PASS, number, *argv],
                pass_fds=(listening.fileno(),), env=env, cwd=self.place.folder, stdout=log, stderr=log,
            )
        self.addCleanup(running.wait)
        self.addCleanup(running.kill)
        until(lambda: running.poll() is not None or (state / "first-invite").exists(), "a daemon that listens")
        self.assertIsNone(running.poll(), (self.place.folder / "log").read_text("utf-8"))
        invite = (state / "first-invite").read_text("utf-8").strip()
        profile = ("--profile", str(self.place.folder / "ann"))
        securemsg = (python, self.venv / "bin" / "securemsg", *profile)
        joined = subprocess.run(
            [*securemsg, "join", invite, "ann"], capture_output=True, text=True, check=False, env=env, timeout=LIMIT
        )
        self.assertEqual(joined.returncode, 0, joined.stderr)
        status = subprocess.run([*securemsg, "status"], capture_output=True, text=True, check=True, env=env, timeout=LIMIT)
        self.assertIn("X25519MLKEM768", status.stdout)
        running.terminate()
        running.wait(LIMIT)
