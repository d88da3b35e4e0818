"""The service unit says what the daemon understands, and hardens it no further than it can bear."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import skipUnless

from twisted.scripts.twistd import ServerOptions  # type: ignore[attr-defined]
from twisted.trial.unittest import SynchronousTestCase

from securemsg.daemon import options as options_module
from securemsg.daemon.configsample import sample_config
from securemsg.daemon.options import WILDCARDS
from securemsg.daemon.service import SPARE_FILES, STOP_TIME
from securemsg.manpages import CONFIG_FILE
from tests.functional.sandbox import read_unit

# What systemd before 254 says, and ignores.
UNKNOWN = re.compile(r"Unknown key( name)? '(RestartSteps|RestartMaxDelaySec)' in section .Service., ignoring")
FOLDER = Path(__file__).resolve().parent.parent / "deploy"
UNIT, SOCKET, OUTGOING = FOLDER / "securemsg.service", FOLDER / "securemsg.socket", FOLDER / "outgoing.conf"
CONTAINERFILE = FOLDER / "Containerfile"
EXPOSURE = re.compile(r"Overall exposure level for [a-z.]+: ([0-9.]+)")


def instructions() -> list[tuple[str, str]]:
    """The instructions of the last stage of C{deploy/Containerfile}, in order."""
    text = re.sub(r"(?m)^#.*\n", "", CONTAINERFILE.read_text("utf-8")).replace("\\\n", "")
    stage = text[text.rindex("FROM ") :]
    return [(name, " ".join(rest.split())) for name, _, rest in (line.partition(" ") for line in stage.splitlines() if line)]


class UnitTests(SynchronousTestCase):
    """C{deploy/securemsg.service}."""

    def setUp(self) -> None:
        """Read it."""
        self.unit = read_unit(UNIT)
        self.service = self.unit["Service"]

    def test_command_understood(self) -> None:
        """C{twistd} and our plugin understand every option of the command line."""
        folder = tempfile.mkdtemp()
        Path(folder, "securemsg.conf").write_text(sample_config(), "utf-8")
        program, *arguments = shlex.split(self.service["ExecStart"].replace("/etc/securemsg", folder))
        # There is no socket here.
        self.patch(options_module, "address_of", lambda descriptor, option="--port": ("::", descriptor))
        options = ServerOptions()
        options.parseOptions(arguments)
        self.assertEqual(Path(program).name, "twistd")
        self.assertEqual(options.subCommand, "securemsg")
        self.assertTrue(options["nodaemon"])
        self.assertEqual(options["pidfile"], "")
        self.assertEqual(options.subOptions.setup.descriptor, 3)

    def test_files_installed(self) -> None:
        """The configuration and the TLS settings that it names are those that an installation writes."""
        script = (FOLDER / "install.sh").read_text("utf-8")
        self.assertIn(f"config={CONFIG_FILE}\n", script)
        self.assertIn("PREFIX=${PREFIX:-/opt/securemsg}\n", script)
        self.assertRegex(script, r'install -m 644 deploy/openssl\.cnf .*"\$venv/share/securemsg"\n')
        self.assertEqual(self.service["Environment"], "OPENSSL_CONF=/opt/securemsg/share/securemsg/openssl.cnf")

    def test_room(self) -> None:
        """The unit gives the daemon time for an orderly end, and files and a queue for those who come at once."""
        self.assertGreater(int(self.service["TimeoutStopSec"]), STOP_TIME)
        self.assertEqual(self.service["TimeoutStartSec"], "infinity")
        self.assertGreaterEqual(int(self.service["LimitNOFILE"]), 2 * 1000 + SPARE_FILES)
        self.assertGreaterEqual(int(read_unit(FOLDER / "securemsg.socket")["Socket"]["Backlog"]), 1024)

    def test_state_private(self) -> None:
        """The state folder is systemd's to make, and for nobody else's eyes."""
        self.assertEqual(self.service["StateDirectory"], "securemsg")
        self.assertEqual(self.service["StateDirectoryMode"], "0700")
        self.assertEqual(self.service["UMask"], "0077")
        self.assertEqual(self.service["DynamicUser"], "yes")
        self.assertNotIn("--state", self.service["ExecStart"])

    def test_no_core(self) -> None:
        """Neither a crash nor the want of memory writes the daemon's memory to disk."""
        self.assertEqual((self.service["LimitCORE"], self.service["MemorySwapMax"]), ("0", "0"))

    def test_restarts(self) -> None:
        """A daemon that fails comes back, for ever and ever more slowly, unless its options are wrong."""
        self.assertEqual(self.service["Restart"], "on-failure")
        self.assertEqual(self.unit["Unit"]["StartLimitIntervalSec"], "0")
        self.assertNotIn("StartLimitBurst", self.unit["Unit"])
        self.assertEqual(self.service["RestartPreventExitStatus"], "2")
        self.assertGreaterEqual(int(self.service["RestartSec"]), 5)
        self.assertGreater(int(self.service["RestartMaxDelaySec"]), int(self.service["RestartSec"]))
        self.assertGreater(int(self.service["RestartSteps"]), 1)
        self.assertEqual(self.unit["Install"]["WantedBy"], "multi-user.target")

    def test_tls_survives(self) -> None:
        """Memory that is written and then executed stays allowed, for without it every TLS connection breaks."""
        self.assertNotIn("MemoryDenyWriteExecute", self.service)

    def test_told(self) -> None:
        """systemd learns when it is ready, and that it is alive; it gets SIGHUP for a reload."""
        self.assertEqual((self.service["Type"], self.service["WatchdogSec"]), ("notify", "60"))
        self.assertEqual(self.service["ExecReload"], "/bin/kill -HUP $MAINPID")

    def test_socket(self) -> None:
        """Another unit listens, which the service needs; the socket for UDP comes second."""
        unit = read_unit(SOCKET)
        self.assertEqual(unit["Socket"]["ListenStream"], "8443")
        self.assertEqual(unit["Install"]["WantedBy"], "sockets.target")
        self.assertEqual((self.unit["Unit"]["Requires"], self.unit["Unit"]["After"]), (SOCKET.name, SOCKET.name))
        text = SOCKET.read_text("utf-8")
        self.assertLess(text.index("ListenStream="), text.index("ListenDatagram="))

    def exposure(self, *dropins: Path) -> float:
        """What systemd thinks of the sandbox, from 0 (best) to 10."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / UNIT.name
            copy.write_text("\n".join(path.read_text("utf-8") for path in (UNIT, *dropins)), "utf-8")
            done = subprocess.run(
                ["systemd-analyze", "security", "--offline=true", "--no-pager", copy],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        found = EXPOSURE.search(done.stdout)
        assert found is not None, done
        return float(found[1])

    @skipUnless(shutil.which("systemd-analyze"), "needs systemd")
    def test_exposure(self) -> None:
        """It is exposed as little as such a service can be, also if it connects to other machines."""
        self.assertLessEqual(self.exposure(), 0.5)
        self.assertLessEqual(self.exposure(OUTGOING), 1.0)

    @skipUnless(shutil.which("systemd-analyze"), "needs systemd")
    def test_systemd_agrees(self) -> None:
        """systemd has nothing to say against the units, once the program is there; older ones ignore how delays grow."""
        with tempfile.TemporaryDirectory() as folder:
            copies = [Path(folder) / path.name for path in (UNIT, SOCKET)]
            program = shlex.split(self.service["ExecStart"])[0]
            for path, copy in zip((UNIT, SOCKET), copies, strict=True):
                copy.write_text(path.read_text("utf-8").replace(program, sys.executable), "utf-8")
            done = subprocess.run(
                ["systemd-analyze", "verify", "--man=no", *copies], capture_output=True, text=True, timeout=60, check=False
            )
        complaints = [line for line in done.stderr.splitlines() if not UNKNOWN.search(line)]
        self.assertEqual((done.returncode, done.stdout, complaints), (0, "", []))


class ContainerTests(SynchronousTestCase):
    """C{deploy/Containerfile}."""

    def test_contained(self) -> None:
        """No root, one folder for state, which is where it looks for it, and no shell between the engine and the daemon."""
        found = dict(instructions())
        user, group = map(int, found["USER"].split(":"))
        self.assertTrue(user and group)
        self.assertEqual(found["VOLUME"], "/var/lib/securemsg")
        self.assertIn("STATE_DIRECTORY=/var/lib/securemsg", found["ENV"].split())
        self.assertIn("OPENSSL_CONF=/opt/securemsg/share/securemsg/openssl.cnf", found["ENV"].split())
        self.assertEqual(found["STOPSIGNAL"], "SIGTERM")
        self.assertEqual(json.loads(found["HEALTHCHECK"].partition("CMD ")[2])[0], "/opt/securemsg/bin/securemsg")
        program, *words = json.loads(found["ENTRYPOINT"])
        self.assertEqual(program, "/opt/securemsg/bin/twistd")
        options = ServerOptions()
        options.parseOptions([*words, "--advertise", "chat.example"])
        self.assertTrue(options["nodaemon"])
        self.assertIn(options.subOptions.setup.host, WILDCARDS)

    def test_ignored(self) -> None:
        """What the build needs is handed to it, and neither a profile nor an environment of this checkout is."""
        lines = CONTAINERFILE.with_name("Containerfile.dockerignore").read_text("utf-8").splitlines()
        self.assertEqual(lines[0], "*")
        packed = re.search(r"\n +(pyproject[^|]+) \|", (FOLDER / "install.sh").read_text("utf-8"))
        assert packed is not None, "it makes a copy of these"
        self.assertEqual({line[1:] for line in lines if line.startswith("!")}, {*packed[1].split(), "docs/operations.md"})


@skipUnless(shutil.which("dpkg-deb"), "needs dpkg")
class PackageTests(SynchronousTestCase):
    """What C{deploy/deb.sh} makes of a folder; tests/functional/test_deb.py installs what C{make deb} makes."""

    def setUp(self) -> None:
        """A folder like one that C{install.sh} has filled."""
        self.folder = Path(tempfile.mkdtemp())
        self.root = self.folder / "root"
        for name in ("opt/securemsg/bin", "etc/securemsg"):
            (self.root / name).mkdir(parents=True)
        self.python = self.root / "opt/securemsg/bin/python"
        self.python.symlink_to("/usr/bin/python3.99")
        (self.root / "etc/securemsg/securemsg.conf").write_text(sample_config(), "utf-8")

    def pack(self, status: int = 0) -> str:
        """Pack it, and give what is said."""
        env = {**os.environ, "DEB_VERSION": "1.2~rc1"}
        argv = ["sh", str(FOLDER / "deb.sh"), "pack", str(self.root)]
        done = subprocess.run(argv, cwd=self.folder, env=env, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stdout.strip() if status == 0 else done.stderr

    def ask(self, *arguments: str | Path) -> str:
        """Ask dpkg-deb."""
        return subprocess.run(["dpkg-deb", *arguments], capture_output=True, text=True, timeout=60, check=True).stdout

    def test_packed(self) -> None:
        """It needs the Python that the environment has, protects the configuration, and belongs to root."""
        deb = self.folder / self.pack()
        fields = dict(line.split(": ", 1) for line in self.ask("--field", deb).splitlines() if line[0] != " ")
        self.assertEqual((fields["Package"], fields["Version"]), ("securemsg", "1.2~rc1"))
        self.assertTrue(fields["Depends"].startswith("python3.99, "), fields)
        self.assertLess({"Architecture", "Maintainer", "Section", "Priority", "Description", "Installed-Size"}, fields.keys())
        self.ask("--control", deb, self.folder / "control")
        self.assertEqual((self.folder / "control" / "conffiles").read_text("utf-8"), f"{CONFIG_FILE}\n")
        owners = {line.split()[1] for line in self.ask("--contents", deb).splitlines()}
        self.assertEqual(owners, {"root/root"})
        for name in ("postinst", "prerm", "postrm"):
            script = self.folder / "control" / name
            self.assertTrue(os.access(script, os.X_OK), name)
            subprocess.run(["sh", "-n", script], check=True, timeout=60)

    def test_other_python(self) -> None:
        """A Python that Debian has not installed cannot be depended on."""
        self.python.unlink()
        self.python.symlink_to("/usr/local/bin/python3.99")
        self.assertIn("needs Debian's own Python", self.pack(status=1))
