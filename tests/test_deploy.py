"""The service unit says what the daemon understands, and hardens it no further than it can bear."""

from __future__ import annotations

import configparser
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

# What systemd before 254 says, and ignores.
UNKNOWN = re.compile(r"Unknown key( name)? '(RestartSteps|RestartMaxDelaySec)' in section .Service., ignoring")
UNIT = Path(__file__).resolve().parent.parent / "deploy" / "securemsg.service"


def parse(text: str) -> configparser.ConfigParser:
    """Read a unit file: keys keep their case and percent signs mean nothing here."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    return parser


class UnitTests(SynchronousTestCase):
    """C{deploy/securemsg.service}."""

    def setUp(self) -> None:
        """Read it."""
        self.unit = parse(UNIT.read_text(encoding="utf-8"))
        self.service = self.unit["Service"]

    def test_command_understood(self) -> None:
        """C{twistd} and our plugin understand every option of the command line."""
        program, *arguments = shlex.split(self.service["ExecStart"].replace("%H", "host.example"))
        options = ServerOptions()
        options.parseOptions(arguments)
        self.assertEqual(Path(program).name, "twistd")
        self.assertEqual(options.subCommand, "securemsg")
        self.assertTrue(options["nodaemon"])
        self.assertEqual(options["pidfile"], "")

    def test_steps_lead_there(self) -> None:
        """The environment that the steps at its top make is the one that the unit starts from."""
        program = Path(shlex.split(self.service["ExecStart"])[0])
        steps = [line.lstrip("# ") for line in UNIT.read_text(encoding="utf-8").partition("[Unit]")[0].splitlines()]
        self.assertIn(f"/usr/bin/python3 -m venv {program.parent.parent}", steps)
        self.assertTrue(any(step.startswith(f"{program.parent}/pip install . ") for step in steps))
        self.assertTrue(any(step.startswith(f"{program} --help ") for step in steps))

    def test_state_private(self) -> None:
        """The state folder is systemd's to make, and for nobody else's eyes."""
        self.assertEqual(self.service["StateDirectory"], "securemsg")
        self.assertEqual(self.service["StateDirectoryMode"], "0700")
        self.assertEqual(self.service["UMask"], "0077")
        self.assertEqual(self.service["DynamicUser"], "yes")
        self.assertNotIn("--state", self.service["ExecStart"])

    def test_no_core(self) -> None:
        """No crash writes the daemon's memory to disk."""
        self.assertEqual(self.service["LimitCORE"], "0")

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

    def test_sockets_allowed(self) -> None:
        """Both internet families and the socket of the admin commands are allowed, and no other."""
        self.assertEqual(set(self.service["RestrictAddressFamilies"].split()), {"AF_INET", "AF_INET6", "AF_UNIX"})

    @skipUnless(shutil.which("systemd-analyze"), "needs systemd")
    def test_systemd_agrees(self) -> None:
        """systemd has nothing to say against the unit, once the program is where it says; older ones ignore how delays grow."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / UNIT.name
            program = shlex.split(self.service["ExecStart"])[0]
            copy.write_text(UNIT.read_text(encoding="utf-8").replace(program, sys.executable), encoding="utf-8")
            done = subprocess.run(
                ["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True, timeout=60, check=False
            )
        complaints = [line for line in done.stderr.splitlines() if not UNKNOWN.search(line)]
        self.assertEqual((done.returncode, done.stdout, complaints), (0, "", []))
