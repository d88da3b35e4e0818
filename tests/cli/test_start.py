"""The console script's entry."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from securemsg.account.errors import Exit
from securemsg.cli.start import INTERRUPTED

ROOT = Path(__file__).resolve().parent.parent.parent
# Ctrl-C comes while the command line is being imported: at the first import of something that is not at hand.
INTERRUPTED_EARLY = """
import os, signal, sys
from securemsg.cli.start import main
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "securemsg.cli.main":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
main()
"""
LIGHT = """
import sys
import securemsg.cli.start
print([name for name in sys.modules if name.partition(".")[0] in ("click", "twisted", "cryptography", "msgspec", "attrs")])
"""

CORE = """
import ctypes, resource, sys
from securemsg.cli.main import main
sys.argv[1:] = ["--version"]
try:
    main()
except SystemExit:
    print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3))  # PR_GET_DUMPABLE
"""
AT_HAND = """
import sys
from securemsg.cli.main import run
run({arguments})
print([name for name in sys.modules if name.startswith(("twisted", "cryptography", "securemsg.client.agent"))])
"""


class StartTests(SynchronousTestCase):
    """Ctrl-C during the imports."""

    def start(self, code: str) -> tuple[int, bytes, bytes]:
        """
        Run a program to its end.

        @return: status, standard output, standard error.
        """
        settings = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=settings, timeout=60)
        return done.returncode, done.stdout, done.stderr

    def test_interrupted(self) -> None:
        """Ctrl-C during the imports ends it with 130 and without output."""
        # Whoever runs the tests in the background has it ignored, and what we start would inherit that.
        self.addCleanup(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler))
        self.assertEqual(self.start(INTERRUPTED_EARLY), (130, b"", b""))

    def test_ignored(self) -> None:
        """A signal that is ignored, as it is for a job in the background of a script, stays ignored."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            status, out, err = self.start(INTERRUPTED_EARLY.replace("main()", "sys.argv[1:] = ['--version']; main()"))
        finally:
            signal.signal(signal.SIGINT, before)
        self.assertEqual((status, err), (0, b""))
        self.assertIn(b"version", out)

    def test_light(self) -> None:
        """The entry itself imports nothing slow."""
        self.assertEqual(self.start(LIGHT), (0, b"[]\n", b""))

    @skipUnless(sys.platform == "linux", "prctl is Linux's")
    def test_no_core(self) -> None:
        """The command line dumps no memory, and lets nobody look into it."""
        status, out, err = self.start(CORE)
        self.assertEqual((status, out.splitlines()[-1]), (0, b"(0, 0) 0"), err)

    def test_help(self) -> None:
        """Version, help and a mistyped command import neither the agent nor the network."""
        for arguments in (["--version"], ["--help"], ["sned"], []):
            status, out, err = self.start(AT_HAND.format(arguments=arguments))
            self.assertEqual(out.splitlines()[-1], b"[]", err)

    def test_status(self) -> None:
        """Its exit status is that of the table, which it cannot import."""
        self.assertEqual(INTERRUPTED, Exit.INTERRUPTED)
