"""C{make install} and C{make uninstall}, below a folder, with the libraries of the running environment."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import sysconfig

from twisted.trial.unittest import SynchronousTestCase

from tests.functional.installed import Installed
from tests.functional.support import ROOT, Place
from tests.functional.test_packaging import lend_twistd, settings

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
        argv = ("make", "-s", "-C", str(ROOT), target, f"DESTDIR={self.root}/", "PREFIX=/opt/other", f"PYTHON={sys.executable}")
        env = {**self.settings, **self.pip}
        done = subprocess.run([*argv, *more], capture_output=True, text=True, check=False, env=env, timeout=240)
        self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
        return done.stderr

    def test_life(self) -> None:
        """Installed, it serves by its own unit; installed again, configuration stays; uninstalled, nothing else does."""
        # What an installation that was interrupted has left.
        self.venv.mkdir(parents=True)
        (self.venv / "pyvenv.cfg").touch()
        unfinished = self.venv.with_name("other.unfinished")
        unfinished.touch()
        self.assertIn("installed below", self.make("install"))
        self.assertFalse(unfinished.exists())
        for name in ("alerts.yml", "grafana.json", "outgoing.conf", "operations.md"):
            self.assertTrue((self.venv / "share" / "securemsg" / name).is_file(), name)
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
        lend_twistd(self.venv / "bin" / "python")
        installed = Installed(self.root, PLACED["service"], self.place.folder, self.settings)
        with installed.running():
            installed.run("join", (installed.state / "first-invite").read_text("utf-8").strip(), "ann")
            self.assertIn("X25519MLKEM768", installed.run("status"))
        [module] = self.venv.glob("lib/python*/site-packages/securemsg/tap.py")
        module.write_text("an older one", "utf-8")
        # Libraries have pages, too.
        (self.venv / "share" / "man" / "man1" / "segno.1").touch()
        self.assertIn("securemsg.conf.new", self.make("install"))
        self.assertEqual(module.read_text("utf-8"), (ROOT / "securemsg" / "tap.py").read_text("utf-8"))
        self.assertFalse((self.root / "usr/local/share/man/man1/segno.1").exists())
        self.assertIn("advertise = 127.0.0.1", config.read_text("utf-8"))
        self.assertIn("#advertise =", config.with_name("securemsg.conf.new").read_text("utf-8"))
        self.assertIn("/var/lib/private/securemsg", self.make("uninstall"))
        left = {str(path.relative_to(self.root)) for path in self.root.rglob("*") if not path.is_dir()}
        self.assertEqual({path for path in left if not path.startswith("var/")}, {CONFIG, f"{CONFIG}.new"})
        self.assertTrue((installed.state / "server.db").exists())
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
