"""
C{make run} from the outside: one command, an answer on standard output, and nothing left running.

Each test has a checkout of its own: Makefile and runner are copied, and C{.venv} is a folder of three small programs that
lead to the interpreter and the modules under test, so that nothing is installed here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.functional.support import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
# Seconds until a command that should have ended long ago is a failure.
LIMIT = 90
ANSWER = r"Message received at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
PROGRAMS = {
    "python": "",
    "securemsg": ' -c "from securemsg.cli.start import main; main()"',
    "twistd": ' -c "from twisted.scripts.twistd import run; run()"',
}


def answers(port: int) -> bool:
    """Whether anything listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class MakeRunTests(SynchronousTestCase):
    """The targets C{run}, C{run-server} and C{run-client}."""

    def setUp(self) -> None:
        """A checkout whose environment is ready."""
        # A short path: the state folder holds a socket.
        self.folder = Path(tempfile.mkdtemp(prefix="securemsg-"))
        self.addCleanup(shutil.rmtree, self.folder)
        for name in ("Makefile", "setup.cfg", "pyproject.toml"):
            shutil.copy(ROOT / name, self.folder)
        shutil.copytree(ROOT / "deploy", self.folder / "deploy")
        programs = self.folder / ".venv" / "bin"
        programs.mkdir(parents=True)
        for name, arguments in PROGRAMS.items():
            program = programs / name
            program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}"{arguments} "$@"\n', "utf-8")
            program.chmod(0o755)
        (self.folder / ".venv" / ".ready-run").touch()
        self.port = free_port()

    def make(self, *arguments: str, text: str = "", port: str = "") -> subprocess.CompletedProcess[str]:
        """
        Run make to its end, with C{text} on standard input.

        @param port: another one than ours.
        """
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "SECUREMSG"))}
        return subprocess.run(
            ["make", *arguments, f"PORT={port or self.port}"],
            cwd=self.folder, env=environment, input=text, timeout=LIMIT, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def wait_for(self, server: subprocess.Popen[bytes]) -> None:
        """Wait until the daemon listens; fail when it ends first, or does not in time."""
        deadline = time.monotonic() + LIMIT
        while not answers(self.port):
            self.assertLess(time.monotonic(), deadline, "the daemon does not listen")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.fail(f"the daemon ended with {server.wait(0.05)}")

    def test_answer_and_end(self) -> None:
        """What is piped in goes to C{server}, its answer alone is on standard output, and the daemon is gone afterwards."""
        done = self.make("run", text="hi\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, ANSWER)
        self.assertEqual(len(done.stdout.splitlines()), 1, done.stdout)
        self.assertFalse(answers(self.port))

    def test_again(self) -> None:
        """The profile and the state are kept, so the second run goes as the first did."""
        for text in ("one\n", "two\n"):
            done = self.make("run", text=text)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stdout, ANSWER)

    def test_nothing_open(self) -> None:
        """Nobody else can read what the runner keeps."""
        self.make("run", text="hi\n")
        kept = self.folder / ".run"
        self.assertTrue((kept / "profile").is_dir())
        for path in (kept, *kept.rglob("*")):
            self.assertEqual(path.lstat().st_mode & 0o077, 0, path)

    def test_port_of_another(self) -> None:
        """A port that another program has is said to be taken; that program goes on."""
        with socket.create_server(("127.0.0.1", self.port)):
            done = self.make("run", text="hi\n")
            self.assertTrue(answers(self.port))
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(done.stdout, "")
        self.foreign(done)

    def test_port_of_another_daemon(self) -> None:
        """So is the port of a daemon with another folder, before we have joined our own and after that."""
        self.make("run", text="hi\n")
        with self.serving("--state", "elsewhere"):
            self.foreign(self.make("run", text="hi\n"))
            shutil.rmtree(self.folder / ".run" / "profile")
            self.foreign(self.make("run", text="hi\n"))
            shutil.rmtree(self.folder / ".run")
            self.foreign(self.make("run", text="hi\n"))

    def foreign(self, done: subprocess.CompletedProcess[str]) -> None:
        """See that it was said, once, that the port is not our daemon's."""
        self.assertNotEqual(done.returncode, 0)
        said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
        self.assertEqual(len(said), 1, done.stderr)
        self.assertIn(f"another program uses 127.0.0.1:{self.port}; stop it", said[0])

    def test_no_port(self) -> None:
        """What is no port is refused with its reason, and no log is named that has none."""
        for port in ("abc", "0", "65536", "9" * 20):
            done = self.make("run", text="hi\n", port=port)
            self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
            said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
            self.assertEqual(len(said), 1, done.stderr)
            self.assertIn("port", said[0].lower())
            self.assertIn("65535", said[0])

    def test_larger_set(self) -> None:
        """An environment that was made for more than running is not set up again to run."""
        (self.folder / ".venv" / ".ready-run").unlink()
        for stamp in (".ready-test", ".ready-dev"):
            path = self.folder / ".venv" / stamp
            path.touch()
            done = self.make("-n", "run")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertNotIn("pip install", done.stdout)
            path.unlink()
        self.assertIn("pip install", self.make("-n", "run").stdout)

    def test_client_alone(self) -> None:
        """A client without a daemon says which command starts one."""
        done = self.make("run-client", text="hi\n")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("make run-server", done.stderr)

    def test_two_terminals(self) -> None:
        """
        C{make run-server} here and C{make run-client} there: clients come and go, C{make run} joins in, and the daemon stays.
        """
        with self.serving():
            for arguments in (("run-client",), ("run-client", "NAME=alice"), ("run",), ("run-client",)):
                done = self.make(*arguments, text="hi\n")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertRegex(done.stdout, ANSWER)
                self.assertTrue(answers(self.port))
        self.assertFalse(answers(self.port))

    @contextlib.contextmanager
    def serving(self, *options: str) -> Iterator[None]:
        """Keep C{make run-server} running."""
        with (self.folder / "log").open("wb") as log:
            server = subprocess.Popen(
                ["make", "run-server", f"PORT={self.port}", f"SERVER_ARGS={' '.join(options)}"],
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            self.wait_for(server)
            yield
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGTERM)
                server.wait(LIMIT)
