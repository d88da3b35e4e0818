"""Answers by machine, with real commands: their input, their output, and how they are ended."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from attrs import define
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.messages import Received
from securemsg.protocol.messages import MAX_TEXT
from securemsg.responders import launcher
from securemsg.responders.command import Command
from securemsg.responders.errors import AnswerFailed, Stopped
from tests.functional.support import HOST, LIMIT, TIME, Daemon, Json, Person, Place, Running, checked, until


def message(text: str) -> Received:
    """A message of Ada's."""
    return Received(1, b"\xab" * 16, "ada", "server", 1_795_255_200, 1_795_255_300, text, 1, True, "pqxdh", 0, "")


def is_running(pid: int) -> bool:
    """Whether there is such a process, and it is not a zombie."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    return False


def python(code: str) -> str:
    """A command line that runs some Python."""
    return shlex.join([sys.executable, "-c", code])


def answer(command: Command, text: str = "hello") -> str | None:
    """What a command answers, in a thread beside a reactor of its own."""
    reactor: Any = SelectReactor()
    ends: list[str | Failure | None] = []

    def begin() -> None:
        """Once the reactor runs."""
        ended = deferToThreadPool(reactor, reactor.getThreadPool(), command, reactor, message(text))
        ended.addBoth(ends.append).addBoth(lambda ignored: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()
    (end,) = ends
    if isinstance(end, Failure):
        end.raiseException()
    return end


class CommandTests(SynchronousTestCase):
    """One command."""

    def run_command(self, line: str, text: str = "hello", limit: float = LIMIT) -> str | None:
        """What a command answers."""
        return answer(Command(line, limit), text)

    def failure(self, line: str, text: str = "hello", limit: float = LIMIT) -> str:
        """The code that a command ends with."""
        with self.assertRaises(AnswerFailed) as caught:
            self.run_command(line, text, limit)
        return str(caught.exception)

    def pid_file(self) -> Path:
        """A file for the number of a process."""
        folder = tempfile.TemporaryDirectory(prefix="sm-")
        self.addCleanup(folder.cleanup)
        return Path(folder.name) / "pid"

    def test_text(self) -> None:
        """The text is the standard input, byte for byte; the output is the answer, but for one line end."""
        self.assertEqual(self.run_command("cat", "grüß\n dich "), "grüß\n dich ")
        self.assertEqual(self.run_command("cat", "two\n\n"), "two\n")
        self.assertEqual(self.run_command("wc -c", "€"), "3")

    def test_environment(self) -> None:
        """Of our environment it gets nothing but a place for programs, a home and a language."""
        self.patch(os, "environ", {**os.environ, "TOKEN": "secret", "SECUREMSG_PROFILE": "/p"})
        shown = self.run_command("env")
        assert shown is not None
        variables = dict(line.split("=", 1) for line in shown.splitlines())
        self.assertEqual(variables["SECUREMSG_SENDER"], "ada")
        self.assertEqual(variables["SECUREMSG_ID"], "ab" * 16)
        self.assertEqual(variables["SECUREMSG_TIME"], "2026-11-21T10:00:00Z")
        self.assertEqual(set(variables), {"PATH", "HOME", "LANG", "SECUREMSG_SENDER", "SECUREMSG_ID", "SECUREMSG_TIME"})

    def test_no_shell(self) -> None:
        """Words are split as a shell does, and nothing else is done to them."""
        self.assertEqual(self.run_command("echo 'a  b' $HOME; `id` > x"), "a  b $HOME; `id` > x")

    def test_no_descriptor(self) -> None:
        """Nothing that is open here is open there."""
        with tempfile.TemporaryFile() as file:
            os.set_inheritable(file.fileno(), True)
            shown = self.run_command("ls /proc/self/fd")
        assert shown is not None
        # The fourth is that of the folder it lists.
        self.assertEqual(shown.split(), ["0", "1", "2", "3"])

    def test_long(self) -> None:
        """What is more than a message holds is thrown away, without holding up the command."""
        self.assertEqual(self.run_command(python("import sys; sys.stdout.write('x' * 5_000_000)")), "x" * MAX_TEXT)

    def test_no_half_character(self) -> None:
        """The end is not within a character; what is no text is marked."""
        code = "import sys; sys.stdout.buffer.write(b'x' + '\u20ac'.encode() * 20_000)"
        self.assertEqual(self.run_command(python(code)), "x" + "\u20ac" * ((MAX_TEXT - 1) // 3))
        self.assertEqual(self.run_command("printf 'a\\377b\\342\\202'"), "a\ufffdb\ufffd")

    def test_nothing(self) -> None:
        """No output is no answer, and neither is an empty line."""
        self.assertIsNone(self.run_command("true"))
        self.assertIsNone(self.run_command("echo"))

    def test_unread_input(self) -> None:
        """A command need not read what it is given, and may answer first."""
        self.assertEqual(self.run_command("echo no", "x" * MAX_TEXT), "no")
        self.assertEqual(self.run_command("head -c 1", "x" * MAX_TEXT), "x")
        self.assertEqual(self.run_command("cat", "x" * MAX_TEXT), "x" * MAX_TEXT)

    def test_silent_about_errors(self) -> None:
        """Standard error goes nowhere."""
        self.assertEqual(self.run_command("sh -c 'echo plain >&2; readlink /proc/$$/fd/2'"), "/dev/null")

    def test_files(self) -> None:
        """
        It may open as many files as is usual, and not as many as the daemon: many programs walk through all that there may be.
        """
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, limits[1]), limits[1]))
        self.assertEqual(self.run_command("sh -c 'ulimit -n'"), str(launcher.FILES))

    def test_signals(self) -> None:
        """Signals mean to it what they usually mean."""
        for name in ("TERM", "INT", "HUP"):
            number = signal.Signals[f"SIG{name}"].value
            self.assertEqual(self.failure(f"sh -c 'kill -{name} $$; sleep 1000'"), f"signal {number}")
        for row in ("SigBlk", "SigIgn"):
            shown = self.run_command(f"grep {row} /proc/self/status")
            assert shown is not None
            # Those from 32 on are the C library's own.
            self.assertEqual(int(shown.split()[1], 16) & 0x7FFFFFFF, 0, shown)

    def test_session(self) -> None:
        """It leads a session of its own: nothing that is typed at our terminal reaches it."""
        self.assertEqual(self.run_command(python("import os; print(os.getsid(0) == os.getpgrp() == os.getpid())")), "True")

    def test_orphan(self) -> None:
        """
        A command whose parent does not kill it ends at its limit, and so do its children, also those that outlive it. One whose
        parent has ended already does not begin.
        """
        launch = (sys.executable, "-I", "-S", launcher.__file__)
        for line, status in (("sleep 1000 & echo $!; wait", -signal.SIGKILL), ("sleep 1000 >&- & echo $!", 0)):
            arguments = [*launch, str(os.getpid()), "0.5", "/", "sh", "-c", line]
            ended = subprocess.run(arguments, stdout=subprocess.PIPE)
            self.assertEqual(ended.returncode, status)
            child = int(ended.stdout)
            until(lambda: not is_running(child), "the end of the child", 5)  # noqa: B023 - called at once
        ended = subprocess.run([*launch, "1", "1000", "/", "sleep", "1000"])
        self.assertEqual(ended.returncode, 1)

    def test_reason(self) -> None:
        """Why a command could not be started is reported with the code."""
        for line, reason in (("/no/such/command", errno.ENOENT), ("/etc/passwd", errno.EACCES)):
            error = self.assertRaises(AnswerFailed, answer, Command(line))
            assert isinstance(error, AnswerFailed)
            self.assertEqual((error.code, error.reason), ("not-started", os.strerror(reason)))

    def test_failures(self) -> None:
        """Each way to fail has its code, whatever was written before."""
        self.assertEqual(self.failure("sh -c 'echo x; exit 3'"), "status 3")
        self.assertEqual(self.failure("sh -c 'echo x; kill -9 $$'"), "signal 9")
        self.assertEqual(self.failure("/no/such/command"), "not-started")
        self.assertEqual(self.failure("/etc/passwd"), "not-started")
        self.assertEqual(self.failure("sh -c 'echo x; sleep 1000'", limit=0.3), "timeout")
        self.assertEqual(self.failure("sh -c 'exec >&-; sleep 1000'", limit=0.3), "timeout")
        self.assertEqual(self.failure("yes", limit=0.3), "timeout")

    def test_children(self) -> None:
        """At the limit its children are killed with it."""
        path = self.pid_file()
        self.assertEqual(self.failure(f"sh -c 'sleep 1000 & echo $! > {path}; wait'", limit=1), "timeout")
        pid = int(path.read_text("ascii"))
        until(lambda: not is_running(pid), "the end of the child")

    def test_child_stays_behind(self) -> None:
        """A child that holds the output open when the command has ended is not waited for, and is killed."""
        path = self.pid_file()
        self.assertEqual(self.run_command(f"sh -c 'sleep 1000 & echo $! > {path}; echo done'"), "done")
        pid = int(path.read_text("ascii"))
        until(lambda: not is_running(pid), "the end of the child")

    def test_child_that_left(self) -> None:
        """Nor is one that has left the group, and goes on writing."""
        path = self.pid_file()
        script = f"setsid sh -c \"echo $$ > {path}; exec yes\" & while [ ! -s {path} ]; do sleep 0.01; done; exit 0"
        said = self.run_command(f"sh -c {shlex.quote(script)}")
        pid = int(path.read_text("ascii"))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self.assertLessEqual(set(said or ""), {"y", "\n"})

    def test_silent_child_that_left(self) -> None:
        """Nor is one that has left the group, and says nothing: the answer is what was written until then."""
        path = self.pid_file()
        left = f"setsid sh -c \"echo \\$\\$ > {path}; exec sleep 1000\""
        script = f"{left} & while [ ! -s {path} ]; do sleep 0.01; done; echo done"
        began = time.monotonic()
        said = self.run_command(f"sh -c {shlex.quote(script)}")
        took = time.monotonic() - began
        os.kill(int(path.read_text("ascii")), signal.SIGKILL)
        self.assertEqual(said, "done")
        self.assertLess(took, LIMIT / 2)

    def test_stop(self) -> None:
        """Who stops leaves nothing running, and nothing begins after it."""
        path = self.pid_file()
        command = Command(f"sh -c 'sleep 1000 & echo $! > {path}.new; mv {path}.new {path}; wait'", 1000)

        def stop() -> None:
            until(path.exists, "a command that runs")
            command.stop()

        threading.Thread(target=stop, daemon=True).start()
        self.assertRaises(Stopped, answer, command)
        pid = int(path.read_text("ascii"))
        until(lambda: not is_running(pid), "the end of the child")
        self.assertRaises(Stopped, answer, command)


# What the daemon's command does, by the text that it is given.
SCRIPT = """
text=$(cat)
echo "$text" >> asked
case "$text" in
    hello) echo "hello, $SECUREMSG_SENDER" ;;
    fail) echo "plain text of $SECUREMSG_SENDER" >&2; exit 3 ;;
    die) kill -9 $$ ;;
    quiet) ;;
    nest) sleep 1000 & echo "$$ $!" > nest.new; mv nest.new nest.pid; wait ;;
    wait*) echo $$ > "$text.pid"; while [ ! -e "$text.go" ]; do sleep 0.02; done; echo "$text" ;;
    *) echo "you said: $text" ;;
esac
"""
FUNCTION = '''
def answer(message):
    if message.text == "quiet":
        return None
    if message.text == "odd":
        raise ValueError(message.text)
    return f"{message.sender} {len(message.id)} {message.sent_at > 0} {1 / len(message.text):g}"
'''


@define(eq=False)
class LoggingDaemon(Daemon):
    """A daemon with a log file, so that its standard output is for messages alone."""

    @property
    def log_file(self) -> Path:
        """Where that is."""
        return self.place.folder / "daemon.log"

    @property
    def log(self) -> str:
        """What it said since it was made."""
        return self.log_file.read_text("utf-8") + self.running.err

    def launch(self, stdout: int | None = None) -> Running:
        """Start it, and do not wait."""
        twistd = ("-n", f"--logfile={self.log_file}", "securemsg")
        state = ("--host", HOST, "--port", str(self.port), "--state", str(self.state))
        self.running = self.place.start_command("twistd", *twistd, *state, *self.options, program="twistd", stdout=stdout)
        return self.running


class AnsweringDaemonCase(SynchronousTestCase):
    """
    A daemon that answers by machine.

    @cvar options: of the daemon.
    """

    options: tuple[str, ...] = ("--answer", "exec:sh answer.sh")

    def setUp(self) -> None:
        """Start it, with Ada and Ben."""
        self.place = Place.make()
        self.addCleanup(self.place.forget)
        (self.place.folder / "answer.sh").write_text(SCRIPT, "utf-8")
        (self.place.folder / "its_answers.py").write_text(FUNCTION, "utf-8")
        self.daemon = LoggingDaemon(self.place, self.options)
        self.daemon.start()
        invite = self.daemon.invite(2)
        self.ada, self.ben = (Person(self.place, name).join(invite) for name in ("ada", "ben"))

    def talk(self, person: Person, *texts: str) -> list[str]:
        """The answers that somebody gets."""
        for text in texts:
            person.send("server", text)
        return person.texts(len(texts), "--from", "server")


class ExecTests(AnsweringDaemonCase):
    """A command answers."""

    def test_answers(self) -> None:
        """Whatever it does is answered in order: with what it says, or with a code; and the log knows none of it."""
        said = self.talk(self.ada, "hello", "fail", "die", "a\nb")
        self.assertEqual(said, ["hello, ada", "error: status 3", "error: signal 9", "you said: a\nb"])
        self.ada.send("server", "quiet")
        self.assertEqual(self.talk(self.ada, "still there?"), ["you said: still there?"])
        self.assertEqual(self.daemon.log.count("could not be answered automatically"), 2)
        for word in ("plain text", "you said", "hello, ada"):
            self.assertNotIn(word, self.daemon.log)

    def test_side_by_side(self) -> None:
        """A sender who waits for a slow answer delays no other, and gets the answers in order."""
        folder = self.place.folder
        self.ada.send("server", "wait")
        self.ada.send("server", "hello")
        until((folder / "wait.pid").exists, "a command that runs")
        self.assertEqual(self.talk(self.ben, "hello"), ["hello, ben"])
        self.assertEqual(self.ada.recv(), [])
        (folder / "wait.go").touch()
        self.assertEqual(self.ada.texts(2), ["wait", "hello, ada"])

    def test_killed(self) -> None:
        """A daemon that is killed meanwhile asks again, and the answer is sent once."""
        folder = self.place.folder
        self.ada.send("server", "wait")
        until((folder / "wait.pid").exists, "a command that runs")
        self.daemon.kill()
        self.daemon.start()
        until(lambda: (folder / "asked").read_text("utf-8") == "wait\nwait\n", "a second run")
        (folder / "wait.go").touch()
        self.assertEqual(self.ada.texts(1), ["wait"])
        self.assertEqual(self.talk(self.ada, "hello"), ["hello, ada"])
        self.assertEqual((folder / "asked").read_text("utf-8"), "wait\nwait\nhello\n")

    def test_killed_with_its_commands(self) -> None:
        """A daemon that is killed takes its commands with it, so that there are never more than there may be."""
        self.ada.send("server", "nest")
        until((self.place.folder / "nest.pid").exists, "a command that runs")
        leader, child = (int(word) for word in (self.place.folder / "nest.pid").read_text("ascii").split())
        self.addCleanup(os.kill, child, signal.SIGKILL)
        self.assertTrue(is_running(leader))
        # The daemon alone, and not its group.
        self.daemon.running.process.kill()
        until(lambda: not is_running(leader), "the end of the command", 5)

    def test_stopped(self) -> None:
        """A daemon that is stopped takes the command with it, and does not wait for it."""
        folder = self.place.folder
        self.ada.send("server", "wait")
        until(lambda: (folder / "wait.pid").exists() and (folder / "wait.pid").read_text("ascii"), "a command that runs")
        pid = int((folder / "wait.pid").read_text("ascii"))
        self.assertTrue(is_running(pid))
        self.daemon.stop()
        self.assertFalse(is_running(pid))
        self.daemon.start()
        (folder / "wait.go").touch()
        self.assertEqual(self.ada.texts(1), ["wait"])


class FunctionTests(AnsweringDaemonCase):
    """A function answers."""

    options = ("--answer", "python:its_answers.answer")

    def test_answers(self) -> None:
        """It is found in the folder where the daemon was started, knows the message, and may fail."""
        self.assertEqual(self.talk(self.ada, "four", "odd", "xx"), ["ada 16 True 0.25", "error: exception", "ada 16 True 0.5"])
        [line] = [line for line in self.daemon.log.splitlines() if "could not be answered" in line]
        self.assertRegex(line, r"exception \(ValueError in .*/its_answers\.py:6\)$")
        self.ada.send("server", "quiet")
        self.assertEqual(self.talk(self.ben, "x"), ["ben 16 True 1"])
        self.assertEqual(self.ada.recv(), [])


class OperatorTests(AnsweringDaemonCase):
    """What the operator sees and sends."""

    options = ("--answer", "echo", "--record", "record.jsonl", "--record-size", "4K", "--print", "--key-file", "shared.key")

    def record(self, whole: bool = False) -> list[Json]:
        """The lines of the record that is in use, or of all."""
        files = sorted(self.place.folder.glob("record.jsonl*" if whole else "record.jsonl"), reverse=True)
        return [json.loads(line) for path in files for line in path.read_text("ascii").splitlines()]

    def call(self, text: str) -> None:
        """Say something with the key file, and no account."""
        where = ("--key-file", "shared.key", "--host", HOST, "--port", str(self.daemon.port))
        checked(self.place.start_command("call", "send", *where, "server", text).wait(), 0, ["send"])

    def test_recorded(self) -> None:
        """
        Each message to the contact has its line in the record, whoever sent it; nothing that others say to each other has.
        """
        self.assertEqual(self.talk(self.ada, "one", "two"), ["one", "two"])
        self.call("three")
        self.ada.send("ben", "between us")
        self.assertEqual(self.ben.texts(1), ["between us"])
        until(lambda: len(self.record()) == 3, "three lines")
        rows = self.record()
        self.assertEqual([row["text"] for row in rows], ["one", "two", "three"])
        self.assertEqual([row["from"] for row in rows[:2]], ["ada", "ada"])
        self.assertEqual([row["suite"] for row in rows], ["pqxdh", "pqxdh", "psk"])
        self.assertRegex(rows[2]["from"], "^key-[0-9a-f]{8}$")
        self.assertEqual(len({row["id"] for row in rows}), 3)
        self.assertEqual(os.stat(self.place.folder / "record.jsonl").st_mode & 0o777, 0o600)

    def test_rotated(self) -> None:
        """A full record is put aside, as private as the new one; nothing is lost on the way."""
        texts = [str(number) * 3000 for number in range(4)]
        self.assertEqual(self.talk(self.ada, *texts), texts)
        found = sorted(self.place.folder.glob("record.jsonl*"), reverse=True)
        self.assertEqual([path.name for path in found], ["record.jsonl.3", "record.jsonl.2", "record.jsonl.1", "record.jsonl"])
        self.assertEqual([json.loads(path.read_text("ascii"))["text"] for path in found], texts)
        self.assertEqual({path.stat().st_mode & 0o777 for path in found}, {0o600})

    def test_killed(self) -> None:
        """A daemon that is killed whenever it is loses no line, and every line behind a torn one is whole."""
        texts = []
        torn = b'{"id": "torn'
        for turn in range(3):
            texts += [f"{turn}.{number}" for number in range(5)]
            for text in texts[-5:]:
                self.ada.send("server", text)
            self.daemon.kill()
            with (self.place.folder / "record.jsonl").open("ab") as file:
                file.write(torn)
            self.daemon.start()
        self.assertEqual(self.ada.texts(15, "--from", "server"), texts)
        for path in self.place.folder.glob("record.jsonl*"):
            path.write_bytes(path.read_bytes().replace(torn + b"\n", b"").removesuffix(torn))
        rows = self.record(whole=True)
        self.assertEqual(list(dict.fromkeys(row["text"] for row in rows)), texts)
        self.assertEqual(len({row["id"] for row in rows}), 15)

    def test_cannot_be_written(self) -> None:
        """
        While the record cannot be written nothing is answered, which is said once; then everything goes on. Nothing is lost.
        """
        self.assertEqual(self.talk(self.ada, "x" * 3900), ["x" * 3900])
        # Something is in the way of the oldest file; a mode would not stop root.
        oldest, blocked = self.place.folder / "record.jsonl.8", self.place.folder / "record.jsonl.9"
        oldest.touch()
        blocked.mkdir()
        for text in ("y" * 3900, "z"):
            self.ada.send("server", text)
        until(lambda: "cannot answer until" in self.daemon.log, "the problem in the log")
        # The next tries are a second apart.
        self.ada.run("recv", "--count", "1", "--timeout", "3", status=7)
        self.assertEqual(self.daemon.log.count("cannot answer until"), 1)
        blocked.rmdir()
        self.assertEqual(self.ada.texts(2), ["y" * 3900, "z"])
        self.assertIn("answers again", self.daemon.log)
        self.assertEqual([row["text"] for row in self.record(whole=True)], ["x" * 3900, "y" * 3900, "z"])

    def test_put_aside_by_others(self) -> None:
        """
        A record that is removed or put aside while the daemon runs is begun anew; while something else has its name nothing is
        answered, which is said once, and nothing is lost.
        """
        path = self.place.folder / "record.jsonl"
        self.assertEqual(self.talk(self.ada, "one"), ["one"])
        path.rename(path.with_name("aside"))
        self.assertEqual(self.talk(self.ada, "two"), ["two"])
        self.assertEqual([row["text"] for row in self.record()], ["two"])
        path.unlink()
        self.assertEqual(self.talk(self.ada, "three"), ["three"])
        self.assertEqual([row["text"] for row in self.record()], ["three"])
        path.unlink()
        path.mkdir()
        self.ada.send("server", "four")
        self.ada.run("recv", "--count", "1", "--timeout", "3", status=7)
        self.assertEqual(self.daemon.log.count("cannot answer until"), 1)
        path.rmdir()
        self.assertEqual(self.ada.texts(1), ["four"])
        self.assertEqual([row["text"] for row in self.record()], ["four"])

    def test_printed(self) -> None:
        """Each message is one line on standard output, as C{recv} prints it; the log knows nothing of it."""
        self.call("Hello Server!")
        self.ada.send("server", "two\nlines \x1b[31m")
        until(lambda: self.daemon.running.line_count == 2, "two lines")
        first, second = self.daemon.running.lines
        self.assertTrue(re.fullmatch(rf"\[{TIME}\] key-[0-9a-f]{{8}}: Hello Server!", first), first)
        self.assertTrue(re.fullmatch(rf"\[{TIME}\] ada: two\\nlines \\x1b\[31m", second), second)
        for word in ("Hello Server!", "two", "31m"):
            self.assertNotIn(word, self.daemon.log)

    def test_key_file(self) -> None:
        """A missing key file is made, private, and said so without its secret; it serves again after a restart."""
        path = self.place.folder / "shared.key"
        secret = path.read_bytes()
        self.assertEqual((len(secret), path.stat().st_mode & 0o777), (32, 0o600))
        [row] = [line for line in self.daemon.log.splitlines() if "key file" in line]
        self.assertRegex(row, rf"{path}; guests who use it appear as key-[0-9a-f]{{8}}$")
        self.assertNotIn(secret.hex(), self.daemon.log)
        self.daemon.stop()
        self.daemon.start()
        self.assertEqual(path.read_bytes(), secret)
        self.call("once more")
        until(lambda: [row["text"] for row in self.record()] == ["once more"], "the message")

    def test_reply(self) -> None:
        """The operator says something as C{server}: to accounts, in the argument or on standard input."""
        said = self.daemon.admin("reply", "ada", "hello, Ada", "--json")
        self.assertEqual(said.rows, [{"to": "ada", "status": "queued"}])
        running = self.place.start_command("admin", "admin", "--state", str(self.daemon.state), "reply", "ada", pipe=True)
        running.type("and more\nto come\n")
        running.end_input()
        checked(running.wait(), 0, ["admin", "reply"])
        rows = self.ada.recv("--count", "2")
        self.assertEqual([row["text"] for row in rows], ["hello, Ada", "and more\nto come"])
        self.assertEqual({row["from"] for row in rows}, {"server"})
        self.assertEqual({row["kind"] for row in rows}, {"text"})

    def test_reply_to_nobody(self) -> None:
        """Who is not there is not replied to: neither an account, nor a guest who never wrote, nor C{server} itself."""
        self.assertIn("admin accounts", self.daemon.admin("reply", "nobody", "hello?", status=3).err)
        self.assertIn("key file", self.daemon.admin("reply", "key-00000000", "hello?", status=3).err)
        self.daemon.admin("reply", "server", "hello?", status=5)
        self.daemon.admin("reply", "ada", "", status=2)
        self.ada.run("send", "server", "", status=2)
        self.assertEqual(self.ada.recv(), [])

    def test_reply_to_guest(self) -> None:
        """A guest gets it in the connection that wrote last and still stands; without one the operator is told so."""
        where = ("--key-file", "shared.key", "--host", HOST, "--port", str(self.daemon.port))
        chat = self.place.start_command("chat", "chat", *where, "server", pipe=True)
        chat.type("anybody here?\n")
        until(lambda: "server: anybody here?" in chat.out, "the echo")
        self.call("wrote later, and left")
        name = self.record()[0]["from"]
        self.daemon.admin("reply", name, "the operator is")
        until(lambda: "server: the operator is" in chat.out, "the reply")
        chat.end_input()
        checked(chat.wait(), 0, ["chat"])
        refused = self.daemon.admin("reply", name, "too late", status=3)
        self.assertIn("no guest with this key file is connected at the moment", refused.err)
        self.assertEqual(refused.out, "")
