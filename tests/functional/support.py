"""
The real daemon and the real commands, as processes on loopback, in a folder that passes.

Everything that waits has a bound, every process that is started is ended, by its own id, when its test ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field, frozen
from twisted.trial.unittest import SynchronousTestCase

from tests.functional.nursery import Born, Nursery

ROOT = Path(__file__).resolve().parent.parent.parent
HOST = "127.0.0.1"
# Below those of outgoing connections, on Linux and elsewhere.
PORTS = (10_000, 32_000)
# Seconds until something that should have happened long ago is a failure; a busy machine may take its time.
LIMIT = 60
# Seconds between two looks.
LOOK = 0.02
# Questions between two blows, and how long after them the blow comes, seconds, at most; and how long the last answer may take.
QUESTIONS = 8
SPAN = 0.5
LAST_ANSWER = 180
SECUREMSG = "import sys; sys.argv[0] = 'securemsg'; from securemsg.cli.start import main; main()"
TWISTD = "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"

Json = dict[str, Any]

_NURSERY = Nursery()


def until(condition: Callable[[], object], what: str, limit: float = LIMIT) -> None:
    """
    Wait for a condition.

    @raise AssertionError: it did not come true in time.
    """
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"no end in sight after {limit:g} s: {what}")
        time.sleep(LOOK)


def free_port() -> int:
    """
    A port of loopback that nobody uses now, and that the system gives to no outgoing connection: one of those to a port where
    nobody listens yet may be connected to itself.
    """
    while True:
        port = random.SystemRandom().randrange(*PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port


def is_listening(port: int) -> bool:
    """Whether somebody answers there."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
        return True
    return False


def environment(folder: Path) -> dict[str, str]:
    """Settings of our own user, who lives in C{folder}."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SECUREMSG", "XDG", "STATE_"))}
    return {**kept, "PYTHONPATH": str(ROOT), "HOME": str(folder), "PYTHONUNBUFFERED": "1"}


@frozen
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def rows(self) -> list[Json]:
        """What it printed with C{--json}."""
        return [json.loads(line) for line in self.out.splitlines()]


@define(eq=False)
class Running:
    """A process under way. Its output goes to files, so that it never waits for us."""

    name: str
    process: subprocess.Popen[bytes] | Born
    _out: Path
    _err: Path

    @property
    def out(self) -> str:
        """Standard output so far."""
        return self._out.read_text("utf-8", "replace")

    @property
    def err(self) -> str:
        """Standard error so far."""
        return self._err.read_text("utf-8", "replace")

    @property
    def lines(self) -> list[str]:
        """The complete lines of standard output so far."""
        return self.out.rpartition("\n")[0].splitlines() if "\n" in self.out else []

    @property
    def line_count(self) -> int:
        """How many complete lines that is; cheap enough to be asked again and again."""
        return self._out.read_bytes().count(b"\n")

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def type(self, text: str) -> None:
        """Write to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def wrote(self, data: bytes) -> None:
        """Take output that went elsewhere."""
        with self._out.open("ab") as out:
            out.write(data)

    def end_input(self) -> None:
        """Close its standard input."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def wait(self, limit: float = LIMIT) -> Done:
        """Wait for its end."""
        try:
            status = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end in {limit:g} s\n{self.out[-2000:]}\n{self.err[-2000:]}") from None
        return Done(status, self.out, self.err)

    def interrupt(self) -> Done:
        """As Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        return self.wait()

    def interrupt_group(self) -> None:
        """As Ctrl-C does at a terminal: whatever it has started hears of it, too."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGINT)

    def kill(self) -> None:
        """As the power cut does."""
        self.process.kill()
        self.process.wait()
        self.close()

    def close(self) -> None:
        """End it, and whatever it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


@define(eq=False)
class Place:
    """
    A folder with everything of one small world: the daemon's state, profiles, logs.

    @ivar settings: more environment of the commands that are started.
    """

    folder: Path
    settings: dict[str, str] = field(factory=dict)
    _count: int = 0
    _running: list[Running] = field(factory=list)

    @classmethod
    def make(cls) -> Place:
        """A new one. Its path is short, for the daemon keeps a socket in it."""
        return cls(Path(tempfile.mkdtemp(prefix="securemsg-")))

    def start(
        self,
        name: str,
        code: str,
        *arguments: str,
        pipe: bool = False,
        stdout: int | None = None,
        pass_fds: Sequence[int] = (),
        **extra: str,
    ) -> Running:
        """
        Start a Python program.

        @param pipe: whether it gets a standard input that we write to; else it is empty.
        @param stdout: a descriptor for its output, instead of a file.
        @param pass_fds: descriptors that it inherits.
        @param extra: more environment.
        """
        return self._start(name, [sys.executable, "-c", code, *arguments], pipe, stdout, extra, pass_fds)

    def start_command(
        self,
        name: str,
        *arguments: str,
        program: str = "securemsg",
        pipe: bool = False,
        stdout: int | None = None,
        **extra: str,
    ) -> Running:
        """Start C{securemsg}, or C{twistd}; otherwise as L{start}."""
        out, err = self._logs(name)
        with out.open("wb") as out_file, err.open("wb") as err_file:
            output = out_file.fileno() if stdout is None else stdout
            settings = {**environment(self.folder), **self.settings, **extra}
            process = _NURSERY.start([program, *arguments], self.folder, settings, pipe, output, err_file.fileno())
        return self._keep(Running(name, process, out, err))

    def start_shell(
        self, name: str, script: str, *, pipe: bool = False, stdout: int | None = None, **extra: str
    ) -> Running:
        """Start a line of the shell, which finds our programs by their names."""
        path = f"{self.programs()}:{os.environ['PATH']}"
        return self._start(name, ["bash", "-c", script], pipe, stdout, {"PATH": path, **extra})

    def programs(self) -> Path:
        """A folder with our two programs, as an installation makes it."""
        folder = self.folder / "bin"
        if not folder.is_dir():
            folder.mkdir()
            for name, code in (("securemsg", SECUREMSG), ("twistd", TWISTD)):
                program = folder / name
                program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{code}" "$@"\n', "utf-8")
                program.chmod(0o755)
        return folder

    def _start(
        self,
        name: str,
        argv: list[str],
        pipe: bool,
        stdout: int | None,
        extra: dict[str, str],
        pass_fds: Sequence[int] = (),
    ) -> Running:
        """Start a program, as the leader of a group of its own."""
        out, err = self._logs(name)
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen(
                argv,
                cwd=self.folder,
                env={**environment(self.folder), **extra},
                stdin=subprocess.PIPE if pipe else subprocess.DEVNULL,
                stdout=out_file if stdout is None else stdout,
                stderr=err_file,
                start_new_session=True,
                pass_fds=pass_fds,
            )
        return self._keep(Running(name, process, out, err))

    def _logs(self, name: str) -> tuple[Path, Path]:
        """Where a program's output goes."""
        self._count += 1
        out, err = (self.folder / f"log.{self._count}.{name}.{kind}" for kind in ("out", "err"))
        return out, err

    def _keep(self, running: Running) -> Running:
        """See to it that it ends with us."""
        self._running.append(running)
        return running

    def forget(self) -> None:
        """End what was started and remove what was written."""
        for running in self._running:
            running.close()
        shutil.rmtree(self.folder)


@define(eq=False)
class Daemon:
    """C{twistd securemsg}."""

    place: Place
    options: Sequence[str] = ()
    name: str = "state"
    port: int = field(factory=free_port)
    running: Running = field(init=False)

    @property
    def state(self) -> Path:
        """Its state folder."""
        return self.place.folder / self.name

    def launch(self, stdout: int | None = None) -> Running:
        """
        Start it, and do not wait.

        @param stdout: a descriptor for its log, instead of a file.
        """
        arguments = ("-n", "securemsg", "--host", HOST, "--port", str(self.port), "--state", str(self.state))
        self.running = self.place.start_command("twistd", *arguments, *self.options, program="twistd", stdout=stdout)
        return self.running

    def start(self, stdout: int | None = None) -> None:
        """
        Start it, and wait until it answers.

        @raise AssertionError: it does not.
        """
        running = self.launch(stdout)
        control = self.state / "control"
        until(lambda: not running.is_alive or (control.exists() and is_listening(self.port)), "a daemon that listens")
        assert running.is_alive, f"the daemon ended with {running.process.returncode}\n{self.log}"

    def stop(self) -> None:
        """
        End it in order.

        @raise AssertionError: it did not end well; C{twistd}, once all is done, ends itself by the signal that it got.
        """
        self.running.process.terminate()
        done = self.running.wait()
        assert done.status in (0, -signal.SIGTERM), done

    def kill(self) -> None:
        """End it without order."""
        self.running.kill()

    @property
    def log(self) -> str:
        """What it said since it was started last."""
        return self.running.out + self.running.err

    def admin(self, *arguments: str, status: int = 0) -> Done:
        """Run an operator's command."""
        done = self.place.start_command("admin", "admin", "--state", str(self.state), *arguments).wait()
        return checked(done, status, ("admin", *arguments))

    def invite(self, uses: int = 1) -> str:
        """A new invite."""
        return self.admin("invite", "--uses", str(uses)).out.strip()


def checked(done: Done, status: int, what: Sequence[str]) -> Done:
    """See to it that a command ended as it should, and never with a traceback."""
    assert done.status == status, f"{' '.join(what)}: status {done.status}, not {status}\n{done.out}\n{done.err}"
    assert "Traceback" not in done.err + done.out, f"{' '.join(what)}: {done.err}"
    return done


@define(eq=False)
class Person:
    """Somebody with a profile of their own."""

    place: Place
    name: str

    @property
    def profile(self) -> Path:
        """The folder."""
        return self.place.folder / f"profile-{self.name}"

    def start(self, *arguments: str, pipe: bool = False, stdout: int | None = None) -> Running:
        """Start a command, and do not wait."""
        return self.place.start_command(
            f"{self.name}-{arguments[0]}", *arguments, pipe=pipe, stdout=stdout, SECUREMSG_PROFILE=str(self.profile)
        )

    def run(self, *arguments: str, text: str | None = None, status: int = 0, limit: float = LIMIT) -> Done:
        """
        Run a command to its end, with C{text} on standard input.

        @raise AssertionError: it ended with another status, or with a traceback.
        """
        running = self.start(*arguments, pipe=text is not None)
        if text is not None:
            with contextlib.suppress(BrokenPipeError):
                running.type(text)
            running.end_input()
        return checked(running.wait(limit), status, (self.name, *arguments))

    def error(self, *arguments: str, status: int, text: str | None = None) -> Json:
        """Run a command that fails, and give what it says of that: one line on standard error."""
        done = self.run(*arguments, "--json", text=text, status=status)
        lines: list[Json] = [json.loads(line) for line in done.err.splitlines()]
        [said] = [line for line in lines if "warning" not in line]
        assert set(said) == {"error", "code", "hint"}, said
        return said

    def join(self, invite: str) -> Person:
        """Get an account."""
        self.run("join", "-", self.name, text=invite + "\n")
        return self

    def send(self, to: str, text: str, *options: str, status: int = 0) -> Json:
        """Send a message, and give what became of it."""
        [row] = self.run("send", to, text, "--json", *options, status=status).rows
        return row

    def recv(self, *options: str, status: int = 0) -> list[Json]:
        """Receive, and give the messages."""
        return self.run("recv", "--json", *options, status=status).rows

    def texts(self, count: int, *options: str) -> list[str]:
        """Wait for so many messages, and give their texts."""
        return [row["text"] for row in self.recv("--count", str(count), *options)]

    def history(self, name: str) -> list[Json]:
        """The conversation with somebody."""
        return self.run("history", name, "--json").rows


class PlaceCase(SynchronousTestCase):
    """
    Tests with a daemon that all tests of a class share, so that they need names of their own.

    @cvar options: what to tell the daemon.
    """

    options: Sequence[str] = ()
    place: Place
    daemon: Daemon
    _invite: str

    @classmethod
    def setUpClass(cls) -> None:
        """Start the daemon."""
        cls.place = Place.make()
        try:
            cls.daemon = Daemon(cls.place, cls.options)
            cls.daemon.start()
            cls._invite = cls.daemon.invite(100)
        except BaseException:
            cls.place.forget()
            raise

    @classmethod
    def tearDownClass(cls) -> None:
        """Leave nothing behind."""
        cls.place.forget()

    def person(self, name: str) -> Person:
        """Somebody who has joined."""
        return Person(self.place, name).join(self._invite)

    def assert_time(self, text: object) -> None:
        """A time in UTC, ISO 8601."""
        self.assertIsInstance(text, str)
        assert isinstance(text, str)
        self.assertTrue(re.fullmatch(TIME, text), text)


class RoundsCase(SynchronousTestCase):
    """Tests that kill processes, as often as C{--rounds} says."""

    rounds: int

    @pytest.fixture(autouse=True)
    def _take_rounds(self, rounds: int) -> None:
        """As often as the command line says."""
        self.rounds = rounds


class MachineCase(PlaceCase):
    """A machine that answers, and somebody who asks it."""

    def answers(self, asker: Person, machine: str) -> list[str]:
        """What somebody was answered so far."""
        return [row["text"] for row in asker.history(machine) if row["from"] == machine]


class MachineKillCase(MachineCase, RoundsCase):
    """C{kill -9} of machine and daemon at any moment."""

    def ask_through_kills(self, asker: Person, machine: str, start: Callable[[], Running]) -> tuple[list[str], list[str], str]:
        """
        Ask without a pause, while machine and daemon are killed and started again, until everything is answered.

        @param start: starts the machine.
        @return: the questions, the answers, and a note for whatever fails.
        """
        seed = random.randrange(2**32)
        chance, note = random.Random(seed), f"seed {seed}"
        running = start()
        # Keeps the asker connected, and types through everything.
        chat = asker.start("chat", machine, pipe=True)
        texts: list[str] = []
        for turn in range(max(self.rounds, 4)):
            new = [f"question-{turn}-{number}" for number in range(QUESTIONS)]
            chat.type("".join(f"{text}\n" for text in new))
            texts += new
            time.sleep(chance.uniform(0, SPAN))
            if turn % 2 == 0:
                running.kill()
                running = start()
            if turn % 3 == 1:
                self.daemon.kill()
                self.daemon.start()
        until(lambda: len(self.answers(asker, machine)) >= len(texts), f"all answers ({note})", LAST_ANSWER)
        chat.end_input()
        self.assertEqual(chat.wait().status, 0, chat.err)
        answers = self.answers(asker, machine)
        running.kill()
        return texts, answers, note
