"""
The Debian package that C{make deb} has built, installed, upgraded, removed and purged below a folder. It is built with what pip
downloads, so it is given: C{--deb dist/securemsg_0.1.0_amd64.deb}.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.functional.installed import Installed
from tests.functional.support import Place
from tests.functional.test_packaging import settings

UNIT = "usr/lib/systemd/system/securemsg.service"
CONFIG = "etc/securemsg/securemsg.conf"
NEEDED = (
    CONFIG,
    UNIT,
    "usr/lib/systemd/system/securemsg.socket",
    "usr/bin/securemsg",
    "usr/share/man/man1/securemsg-admin.1.gz",
    "usr/share/man/man5/securemsg.conf.5.gz",
    "usr/share/bash-completion/completions/securemsg",
    "usr/share/zsh/vendor-completions/_securemsg",
    "opt/securemsg/bin/twistd",
    "opt/securemsg/share/securemsg/openssl.cnf",
)
FORCE = ("--force-not-root", "--force-depends", "--force-script-chrootless", "--force-confold")


class DebTests(SynchronousTestCase):
    """One package, and a later version of it."""

    deb: Path | None

    @pytest.fixture(autouse=True)
    def _take_deb(self, deb: Path | None) -> None:
        """As the command line says."""
        self.deb = deb

    def setUp(self) -> None:
        """A machine's root folder, with nothing but an empty list of packages."""
        if self.deb is None:
            raise SkipTest("needs --deb FILE, from make deb")
        self.place = Place.make()
        self.addCleanup(self.place.forget)
        self.root = self.place.folder / "root"
        for name in ("info", "updates"):
            (self.root / "var/lib/dpkg" / name).mkdir(parents=True)
        (self.root / "var/lib/dpkg/status").touch()

    def dpkg(self, *arguments: str | Path) -> str:
        """Run dpkg on that folder, as somebody who is root there."""
        root = [] if os.getuid() == 0 else ["unshare", "--user", "--map-root-user"]
        argv = [*root, "dpkg", f"--root={self.root}", f"--log={self.place.folder}/dpkg.log", *FORCE, *map(str, arguments)]
        env = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300, env=env)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def later(self) -> Path:
        """The same package with a higher version."""
        assert self.deb is not None, "as setUp has seen"
        folder, path = self.place.folder / "later", self.place.folder / "later.deb"
        subprocess.run(["dpkg-deb", "--raw-extract", str(self.deb), str(folder)], check=True, timeout=300)
        control = folder / "DEBIAN" / "control"
        text = control.read_text("utf-8")
        control.write_text(text.replace("\nVersion: ", "\nVersion: 9+"), "utf-8")
        argv = ["dpkg-deb", "-Zgzip", "-z1", "--root-owner-group", "--build", str(folder), str(path)]
        subprocess.run(argv, check=True, timeout=300, stdout=subprocess.DEVNULL)
        return path

    def test_life(self) -> None:
        """
        Installed, it is enabled and serves; upgraded, it keeps what it has; removed, it leaves state and configuration; purged,
        state alone.
        """
        assert self.deb is not None, "as setUp has seen"
        config, wants = self.root / CONFIG, self.root / "etc/systemd/system/sockets.target.wants/securemsg.socket"
        self.assertIn("first-invite", self.dpkg("--install", self.deb))
        self.assertTrue(wants.is_symlink())
        listed = self.dpkg("--listfiles", "securemsg").split()
        for name in NEEDED:
            self.assertIn(f"/{name}", listed)
        config.write_text("[securemsg]\nadvertise = 127.0.0.1\n", "utf-8")
        installed = Installed(self.root, UNIT, self.place.folder, settings())
        with installed.running():
            installed.run("join", (installed.state / "first-invite").read_text("utf-8").strip(), "ann")
            self.assertIn("X25519MLKEM768", installed.run("status"))
        self.assertNotIn("first-invite", self.dpkg("--install", self.later()))
        self.assertIn("Version: 9+", self.dpkg("--status", "securemsg"))
        self.assertIn("advertise = 127.0.0.1", config.read_text("utf-8"))
        with installed.running():
            installed.run("ping")
        self.dpkg("--remove", "securemsg")
        self.assertFalse((self.root / "opt/securemsg").exists())
        self.assertTrue(config.exists())
        said = self.dpkg("--purge", "securemsg")
        self.assertIn(f"kept in {installed.state}", said)
        self.assertTrue((installed.state / "server.db").exists())
        self.assertFalse(config.parent.exists())
        self.assertFalse(wants.is_symlink())
        self.assertEqual([*self.root.rglob("*securemsg*.service")], [])
