"""
Answers by machine, with real commands: what they are given, what becomes of what they say, and how they are ended.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shlex
import sys
import tempfile
import threading
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from securemsg.answers.command import Command
from securemsg.answers.failure import AnswerFailed, Stopped
from securemsg.client.journal import Received
from securemsg.protocol.messages import MAX_TEXT
from tests.functional.support import LIMIT, Daemon, Person, Place, until


def message(text: str) -> Received:
    """
    A message of Ada's.
    """
    return Received(1, b"\xab" * 16, "ada", "server", 1_795_255_200, 1_795_255_300, text, 1, True, "pqxdh", 0, "")


def is_running(pid: int) -> bool:
    """
    Whether there is such a process, other than a dead one that nobody has asked about.
    """
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    return False


def python(code: str) -> str:
    """
    A command line that runs some Python.
    """
    return shlex.join([sys.executable, "-c", code])


class CommandTests(SynchronousTestCase):
    """
    One command.
    """

    def run_command(self, line: str, text: str = "hello", limit: float = LIMIT) -> str | None:
        """
        What a command answers.
        """
        return Command(line, limit)(message(text))

    def failure(self, line: str, text: str = "hello", limit: float = LIMIT) -> str:
        """
        The code that a command ends with.
        """
        with self.assertRaises(AnswerFailed) as caught:
            self.run_command(line, text, limit)
        return str(caught.exception)

    def pid_file(self) -> Path:
        """
        A file for the number of a process.
        """
        folder = tempfile.TemporaryDirectory(prefix="sm-")
        self.addCleanup(folder.cleanup)
        return Path(folder.name) / "pid"

    def test_text(self) -> None:
        """
        The text is the standard input, byte for byte; the output is the answer, but for one line end.
        """
        self.assertEqual(self.run_command("cat", "grüß\n dich "), "grüß\n dich ")
        self.assertEqual(self.run_command("cat", "two\n\n"), "two\n")
        self.assertEqual(self.run_command("wc -c", "€"), "3")

    def test_environment(self) -> None:
        """
        Of our environment it gets nothing but a place for programs, a home and a language.
        """
        self.patch(os, "environ", {**os.environ, "TOKEN": "secret", "SECUREMSG_PROFILE": "/p"})
        shown = self.run_command("env")
        assert shown is not None
        variables = dict(line.split("=", 1) for line in shown.splitlines())
        self.assertEqual(variables["SECUREMSG_SENDER"], "ada")
        self.assertEqual(variables["SECUREMSG_ID"], "ab" * 16)
        self.assertEqual(variables["SECUREMSG_TIME"], "2026-11-21T10:00:00Z")
        self.assertEqual(set(variables), {"PATH", "HOME", "LANG", "SECUREMSG_SENDER", "SECUREMSG_ID", "SECUREMSG_TIME"})

    def test_no_shell(self) -> None:
        """
        Words are split as a shell does, and nothing else is done to them.
        """
        self.assertEqual(self.run_command("echo 'a  b' $HOME; `id` > x"), "a  b $HOME; `id` > x")

    def test_no_descriptor(self) -> None:
        """
        Nothing that is open here is open there.
        """
        with tempfile.TemporaryFile() as file:
            os.set_inheritable(file.fileno(), True)
            shown = self.run_command("ls /proc/self/fd")
        assert shown is not None
        # The fourth is that of the folder it lists.
        self.assertEqual(shown.split(), ["0", "1", "2", "3"])

    def test_long(self) -> None:
        """
        What is more than a message holds is thrown away, without holding up the command.
        """
        self.assertEqual(self.run_command(python("import sys; sys.stdout.write('x' * 5_000_000)")), "x" * MAX_TEXT)

    def test_no_half_character(self) -> None:
        """
        The end is not within a character; what is no text is marked.
        """
        code = "import sys; sys.stdout.buffer.write(b'x' + '\u20ac'.encode() * 20_000)"
        self.assertEqual(self.run_command(python(code)), "x" + "\u20ac" * ((MAX_TEXT - 1) // 3))
        self.assertEqual(self.run_command("printf 'a\\377b\\342\\202'"), "a\ufffdb\ufffd")

    def test_nothing(self) -> None:
        """
        No output is no answer, and neither is an empty line.
        """
        self.assertIsNone(self.run_command("true"))
        self.assertIsNone(self.run_command("echo"))

    def test_deaf(self) -> None:
        """
        A command need not read what it is given, and may answer first.
        """
        self.assertEqual(self.run_command("echo no", "x" * MAX_TEXT), "no")
        self.assertEqual(self.run_command("head -c 1", "x" * MAX_TEXT), "x")
        self.assertEqual(self.run_command("cat", "x" * MAX_TEXT), "x" * MAX_TEXT)

    def test_silent_about_errors(self) -> None:
        """
        Standard error goes nowhere.
        """
        self.assertEqual(self.run_command("sh -c 'echo plain >&2; readlink /proc/$$/fd/2'"), "/dev/null")

    def test_failures(self) -> None:
        """
        Each way to fail has its code, whatever was written before.
        """
        self.assertEqual(self.failure("sh -c 'echo x; exit 3'"), "status 3")
        self.assertEqual(self.failure("sh -c 'echo x; kill -9 $$'"), "signal 9")
        self.assertEqual(self.failure("/no/such/command"), "not-started")
        self.assertEqual(self.failure("/etc/passwd"), "not-started")
        self.assertEqual(self.failure("sh -c 'echo x; sleep 1000'", limit=0.3), "timeout")
        self.assertEqual(self.failure("sh -c 'exec >&-; sleep 1000'", limit=0.3), "timeout")
        self.assertEqual(self.failure("yes", limit=0.3), "timeout")

    def test_children(self) -> None:
        """
        At the limit its children are killed with it.
        """
        path = self.pid_file()
        self.assertEqual(self.failure(f"sh -c 'sleep 1000 & echo $! > {path}; wait'", limit=1), "timeout")
        pid = int(path.read_text("ascii"))
        until(lambda: not is_running(pid), "the end of the child")

    def test_child_stays_behind(self) -> None:
        """
        A child that holds the output open when the command has ended is not waited for, and is killed.
        """
        path = self.pid_file()
        self.assertEqual(self.run_command(f"sh -c 'sleep 1000 & echo $! > {path}; echo done'"), "done")
        pid = int(path.read_text("ascii"))
        until(lambda: not is_running(pid), "the end of the child")

    def test_child_that_left(self) -> None:
        """
        Nor is one that has left the group, and goes on writing.
        """
        path = self.pid_file()
        script = f"setsid sh -c \"echo $$ > {path}; exec yes\" & while [ ! -s {path} ]; do sleep 0.01; done; exit 0"
        answer = self.run_command(f"sh -c {shlex.quote(script)}")
        pid = int(path.read_text("ascii"))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
        self.assertEqual(set(answer or "y"), {"y", "\n"} if answer else {"y"})

    def test_stop(self) -> None:
        """
        Who stops leaves nothing running, and nothing begins after it.
        """
        path = self.pid_file()
        command = Command(f"sh -c 'sleep 1000 & echo $! > {path}.new; mv {path}.new {path}; wait'", 1000)
        ends: queue.Queue[BaseException | str | None] = queue.Queue()

        def run() -> None:
            try:
                ends.put(command(message("")))
            except Stopped as error:
                ends.put(error)

        threading.Thread(target=run, daemon=True).start()
        until(path.exists, "a command that runs")
        command.stop()
        self.assertIsInstance(ends.get(timeout=LIMIT), Stopped)
        pid = int(path.read_text("ascii"))
        until(lambda: not is_running(pid), "the end of the child")
        self.assertRaises(Stopped, command, message(""))


# What the daemon's command does, by the text that it is given.
SCRIPT = """
text=$(cat)
echo "$text" >> asked
case "$text" in
    hello) echo "hello, $SECUREMSG_SENDER" ;;
    fail) echo "plain text of $SECUREMSG_SENDER" >&2; exit 3 ;;
    die) kill -9 $$ ;;
    quiet) ;;
    wait*) echo $$ > "$text.pid"; while [ ! -e "$text.go" ]; do sleep 0.02; done; echo "$text" ;;
    *) echo "you said: $text" ;;
esac
"""
FUNCTION = '''
def answer(message):
    if message.text == "quiet":
        return None
    return f"{message.sender} {len(message.id)} {message.sent_at > 0} {1 / len(message.text):g}"
'''


class AnsweringDaemonCase(SynchronousTestCase):
    """
    A daemon with a machine that answers.

    @cvar answer: which.
    """

    answer = "exec:sh answer.sh"

    def setUp(self) -> None:
        """
        Start it, with Ada and Ben.
        """
        self.place = Place.make()
        self.addCleanup(self.place.forget)
        (self.place.folder / "answer.sh").write_text(SCRIPT, "utf-8")
        (self.place.folder / "its_answers.py").write_text(FUNCTION, "utf-8")
        self.daemon = Daemon(self.place, ["--answer", self.answer])
        self.daemon.start()
        invite = self.daemon.invite(2)
        self.ada, self.ben = (Person(self.place, name).join(invite) for name in ("ada", "ben"))

    def talk(self, person: Person, *texts: str) -> list[str]:
        """
        What somebody is answered.
        """
        for text in texts:
            person.send("server", text)
        return person.texts(len(texts), "--from", "server")


class ExecTests(AnsweringDaemonCase):
    """
    A command answers.
    """

    def test_answers(self) -> None:
        """
        Whatever it does is answered in order: with what it says, or with a code; and the log knows none of it.
        """
        said = self.talk(self.ada, "hello", "fail", "die", "a\nb")
        self.assertEqual(said, ["hello, ada", "error: status 3", "error: signal 9", "you said: a\nb"])
        self.ada.send("server", "quiet")
        self.assertEqual(self.talk(self.ada, "still there?"), ["you said: still there?"])
        self.assertEqual(self.daemon.log.count("could not be answered by machine"), 2)
        for word in ("plain text", "you said", "hello, ada"):
            self.assertNotIn(word, self.daemon.log)

    def test_side_by_side(self) -> None:
        """
        Who waits for a slow answer holds up nobody else, and gets the answers in order.
        """
        folder = self.place.folder
        self.ada.send("server", "wait")
        self.ada.send("server", "hello")
        until((folder / "wait.pid").exists, "a command that runs")
        self.assertEqual(self.talk(self.ben, "hello"), ["hello, ben"])
        self.assertEqual(self.ada.recv(), [])
        (folder / "wait.go").touch()
        self.assertEqual(self.ada.texts(2), ["wait", "hello, ada"])

    def test_killed(self) -> None:
        """
        A daemon that is killed meanwhile asks again, and the answer is sent once.
        """
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

    def test_stopped(self) -> None:
        """
        A daemon that is stopped takes the command with it, and does not wait for it.
        """
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
    """
    A function answers.
    """

    answer = "python:its_answers.answer"

    def test_answers(self) -> None:
        """
        It is found in the folder where the daemon was started, knows the message, and may fail.
        """
        self.assertEqual(self.talk(self.ada, "four", "", "xx"), ["ada 16 True 0.25", "error: exception", "ada 16 True 0.5"])
        self.ada.send("server", "quiet")
        self.assertEqual(self.talk(self.ben, "x"), ["ben 16 True 1"])
        self.assertEqual(self.ada.recv(), [])
