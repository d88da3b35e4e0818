"""
Transcripts of terminals: read from a text, replayed with real processes, compared.

The format
==========

A transcript is what stands in blocks fenced as C{console} in which at least one line begins with the prompt of a named
terminal. All blocks of a text are one transcript, in one folder, told in one go:

    ```console
    server$ twistd -n securemsg --port 8443 --state state
    ...
    alice$ export SECUREMSG_PROFILE=alice
    alice$ securemsg join - alice < state/first-invite
    alice$ securemsg chat bob
    alice> hello
    bob$ securemsg recv
    [...] alice: hello
    alice> ^D
    bob$ securemsg send nobody hi        # status 3
    securemsg: no such account: nobody...
    ```

A line that begins with
  - C{NAME$ } runs a command in the terminal NAME, once the command before it there has ended, with status 0 or with the one
    that a comment C{# status N} names. Commands are the shell's, but C{cd} is not among them, and C{export NAME=VALUE} stands
    alone.
  - C{NAME> } types a line into the command that runs in that terminal. C{^D} ends its input, C{^C} interrupts it; nothing after
    C{NAME>} types nothing: what follows is more output of that terminal.
  - C{# } is a remark.
A command has ended before the next step, in whatever terminal, unless it stays: a daemon, a chat, a responder, a
C{--follow}, or one that is typed into. Every other line is output, standard output and standard error as they come, of the
terminal named last. In it C{...} stands for anything; alone in a line, for any number of lines. Output that is not shown must
not come either, unless C{...} allows it; but what a command prints after the last line of its terminal that the transcript
shows is not looked at if it is still running at the end of the transcript.

Output goes to a wide terminal, and input comes through a pipe: what a chat shows only with a keyboard in front of it cannot
stand in a transcript. Each terminal has a home folder of its own, as if it belonged to another user. When replayed, port 8443
is another port, and the server's name C{chat.example.org}, like all its addresses, is loopback. Commands that still run at the
end are interrupted.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import termios
import threading

from attrs import define, field, frozen

from tests.functional.support import HOST, LIMIT, Place, Running, free_port, is_listening, until

DOCUMENTED_PORT = "8443"
# What the documents call the server's machine, and all its addresses.
DOCUMENTED_HOSTS = re.compile(r"chat\.example\.org|0\.0\.0\.0")
ROWS, COLUMNS = 50, 400
# Commands that stay, so that the next step does not wait for their end.
DAEMON = re.compile(r"\btwistd |\bsecuremsg serve\b")
STAYING = re.compile(rf"{DAEMON.pattern}|\bsecuremsg (chat|respond) |--follow\b")
ANYTHING = "..."
_FENCE = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"([a-z][a-z0-9-]*)\$ (.+)")
_TYPED = re.compile(r"([a-z][a-z0-9-]*)>(?: (.*))?")
_STATUS = re.compile(r"#\s*status (\d+)\s*$")
_EXPORT = re.compile(r"export ([A-Z_]+)=(\S+)")


@frozen
class Step:
    """
    Something that is done at a terminal, and what comes of it.

    @ivar command: whether C{text} is a command; else it is typed into the one that runs.
    @ivar line: where it stands in the text.
    """

    terminal: str
    command: bool
    text: str
    output: list[str]
    line: int


def steps(text: str) -> list[Step]:
    """Read a transcript."""
    found: list[Step] = []
    for block in _FENCE.finditer(text):
        if not any(_COMMAND.match(line) for line in block[1].splitlines()):
            continue
        first = text[: block.start(1)].count("\n") + 1
        begun = len(found)
        for number, line in enumerate(block[1].splitlines(), first):
            command, typed = _COMMAND.fullmatch(line), _TYPED.fullmatch(line)
            if command:
                found.append(Step(command[1], True, command[2], [], number))
            elif typed:
                found.append(Step(typed[1], False, typed[2] or "", [], number))
            elif not line.startswith("# "):
                assert len(found) > begun, f"line {number}: output before any command"
                found[-1].output.append(line)
    return found


def pattern(lines: list[str]) -> str:
    """A regular expression for output that is written with C{...}."""
    parts = []
    for line in lines:
        if line.strip() == ANYTHING:
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(".*?".join(re.escape(part) for part in line.split(ANYTHING)) + r"\n")
    return "".join(parts)


class _Screen:
    """The screen of a terminal on which a command writes; what is written is copied to where the output of commands goes."""

    def __init__(self) -> None:
        self._ours, self.descriptor = pty.openpty()
        termios.tcsetwinsize(self.descriptor, (ROWS, COLUMNS))
        settings = termios.tcgetattr(self.descriptor)
        # No carriage returns before line feeds.
        settings[1] &= ~termios.OPOST
        termios.tcsetattr(self.descriptor, termios.TCSANOW, settings)
        self._copier: threading.Thread | None = None

    def copy(self, running: Running) -> None:
        """Copy until nobody writes any more."""
        os.close(self.descriptor)
        self._copier = threading.Thread(target=self._copy, args=(running,), daemon=True)
        self._copier.start()

    def _copy(self, running: Running) -> None:
        with os.fdopen(self._ours, "rb", 0) as screen, contextlib.suppress(OSError):
            while data := screen.read(65536):
                running.wrote(data)

    def drain(self) -> None:
        """Wait until everything is copied that was written before the command ended."""
        if self._copier is not None:
            self._copier.join(LIMIT)


@define
class Terminal:
    """
    One terminal.

    @ivar expected: the output that the transcript shows of the command that runs.
    """

    name: str
    place: Place
    environment: dict[str, str] = field(factory=dict)
    expected: list[str] = field(factory=list)
    running: Running | None = None
    _screen: _Screen | None = None
    status: int = 0
    line: int = 0

    def run(self, command: str, line: int) -> None:
        """Run a command, once the one before has ended."""
        self.finish()
        export = _EXPORT.fullmatch(command)
        if export:
            self.environment[export[1]] = export[2]
            return
        status = _STATUS.search(command)
        self.status, self.line, self.expected = int(status[1]) if status else 0, line, []
        # Both outputs in the order in which they come, as a terminal shows them.
        script = f"{{ {_STATUS.sub('', command)}\n}} 2>&1"
        home = self.place.folder / f"home-{self.name}"
        home.mkdir(exist_ok=True)
        screen = _Screen()
        environment = {"HOME": str(home), **self.environment}
        self.running = self.place.start_shell(self.name, script, pipe=True, stdout=screen.descriptor, **environment)
        screen.copy(self.running)
        self._screen = screen

    def type(self, text: str, line: int) -> None:
        """Type into the command that runs."""
        running = self.running
        assert running is not None and running.is_alive, f"line {line}: nothing runs in {self.name}"
        if text == "^D":
            running.end_input()
        elif text == "^C":
            running.interrupt_group()
        elif text:
            running.type(text + "\n")

    def expect(self, output: list[str]) -> None:
        """Wait for more output."""
        self.expected += output
        shown = re.compile(pattern(self.expected))
        running = self.running
        if running is None:
            assert not output, f"{self.name} has printed nothing"
            return
        try:
            until(lambda: shown.match(running.out) or not running.is_alive, "output")
            self._drain()
            assert shown.match(running.out)
        except AssertionError:
            raise AssertionError(self._difference()) from None

    def finish(self) -> None:
        """Wait for the end of the command."""
        if self.running is None:
            return
        self.running.end_input()
        self.running.wait(LIMIT)
        self._drain()
        done = self.running.wait()
        assert re.fullmatch(pattern(self.expected), done.out), self._difference()
        assert done.status == self.status, f"line {self.line}: status {done.status}, not {self.status}\n{done.out}"
        self.running = None

    def _drain(self) -> None:
        """Have all output of a command that has ended."""
        if self.running is not None and not self.running.is_alive and self._screen is not None:
            self._screen.drain()

    def _difference(self) -> str:
        """What was to come, and what came."""
        assert self.running is not None
        return f"line {self.line}: expected\n{chr(10).join(self.expected)}\n--- but got\n{self.running.out}"


def replay(text: str, place: Place) -> int:
    """
    Replay a transcript.

    @return: how many steps it had.
    @raise AssertionError: something else came of it than it shows.
    """
    port = str(free_port())
    terminals: dict[str, Terminal] = {}
    told = steps(DOCUMENTED_HOSTS.sub(HOST, text.replace(DOCUMENTED_PORT, port)))
    for step, later in zip(told, [*told[1:], None], strict=True):
        terminal = terminals.setdefault(step.terminal, Terminal(step.terminal, place))
        if step.command:
            terminal.run(step.text, step.line)
        else:
            terminal.type(step.text, step.line)
        terminal.expect(step.output)
        if step.command and DAEMON.search(step.text):
            # A reader sees it start, and types no faster than that.
            until(lambda: is_listening(int(port)), f"line {step.line}: the daemon")
        is_typed_into = later is not None and later.terminal == step.terminal and not later.command
        has_ended = not step.command and step.text == "^D"
        if has_ended or (step.command and later is not None and not STAYING.search(step.text) and not is_typed_into):
            terminal.finish()
    for terminal in terminals.values():
        if terminal.running is not None:
            terminal.running.interrupt_group()
            terminal.running.wait()
    return len(told)
