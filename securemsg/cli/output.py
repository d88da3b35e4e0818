"""
Output: data goes to standard output, everything else to standard error.

Output may be a pipe whose reader is slow or gone. A thread writes, so that a slow reader holds up nothing but the output. A
reader that is gone is no error; output that cannot be written is.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import shutil
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

import click

from securemsg.account.errors import WORDS, SecuremsgError, error_for
from securemsg.cli.wrapping import fill_all
from securemsg.client.escape import escape
from securemsg.client.warnings import NEWS

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorFromThreads

    from securemsg.client.events import Warned

STDOUT, STDERR = 1, 2


class OutputClosed(Exception):
    """The reader of our output is gone: end quietly."""


class OutputMissing(SecuremsgError):
    """Standard output was closed from the start."""

    def __init__(self) -> None:
        words = WORDS["output-failed"]
        super().__init__(words.status, "output-failed", "standard output is closed", words.hint)


def say(text: str, *, verbatim: bool = False) -> None:
    """
    Write a line for people to standard error, wrapped at a terminal.

    @param verbatim: it is there to be copied, and is not wrapped.
    """
    _echo(text if verbatim else fill_all(text, columns_of(sys.stderr)))


def say_json(record: dict[str, object]) -> None:
    """Write a record for a program to standard error."""
    _echo(json_line(record))


def _echo(text: str) -> None:
    # Standard error may be closed.
    with contextlib.suppress(OSError, ValueError):
        click.echo(text, err=True)


def json_line(record: dict[str, object]) -> str:
    """One JSON object, in one line of ASCII: no terminal is harmed by it, and no reader splits it."""
    return json.dumps(record)


def write_line(text: str) -> None:
    """
    Write a line of data and flush it; for commands that have nothing else to do meanwhile. Whoever started us without a
    standard output does not want it.

    @raise OutputClosed: nobody reads it.
    @raise SecuremsgError: it cannot be written.
    """
    with contextlib.suppress(OutputMissing):
        _write_line(text)


def write_result(text: str) -> None:
    """
    Write a line that tells what a command has done. Its exit status tells it, too: a reader that has gone changes nothing.

    @raise SecuremsgError: it cannot be written.
    """
    try:
        write_line(text)
    except OutputClosed:
        silence()


def write_record(record: dict[str, object], as_json: bool, text: str, *, verbatim: bool = False) -> None:
    """
    Write a record for a program, or for people, wrapped at a terminal.

    @param verbatim: the text is there to be copied, and is not wrapped.
    @raise OutputClosed: nobody reads it.
    @raise SecuremsgError: it cannot be written.
    """
    write_line(json_line(record) if as_json else fill_all(text, 0 if verbatim else columns()))


def always_continue(number: int) -> bool:
    """The default for C{written}: the next line always follows."""
    return True


def write_later(reactor: IReactorFromThreads, *lines: str, written: Callable[[int], bool] = always_continue) -> Deferred[None]:
    """
    As L{write_line}, while the reactor goes on, for messages: without a standard output, they are not taken as read.

    The thread does not hold up the end of the program: a reader that does not read must not keep us.

    @param written: called in the thread with the number of each line once it is out; whether the next one is to follow.
    """
    # Imported only here: it is slow, and help does not need it.
    from twisted.internet.defer import Deferred

    done: Deferred[None] = Deferred()

    def finish(problem: Exception | None) -> None:
        # The Deferred may have been cancelled meanwhile.
        if not done.called:
            done.callback(None) if problem is None else done.errback(problem)

    def work() -> None:
        problem: Exception | None = None
        try:
            for number, line in enumerate(lines):
                _write_line(line)
                if not written(number):
                    break
        except Exception as error:  # noqa: BLE001 - passed to the Deferred
            problem = error
        # The reactor may have ended.
        with contextlib.suppress(RuntimeError):
            reactor.callFromThread(finish, problem)

    threading.Thread(target=work, name="output", daemon=True).start()
    return done


def columns() -> int:
    """The width of the terminal that our output goes to; 0 where it goes elsewhere."""
    return shutil.get_terminal_size().columns if os.isatty(STDOUT) else 0


def columns_of(stream: TextIO) -> int:
    """The width of the terminal that a stream goes to; 0 where it goes elsewhere."""
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 0


def report_note(code: str, text: str, as_json: bool, name: str = "", hint: str = "") -> None:
    """
    Write a note to standard error: one line.

    @param name: the contact it is about, for programs.
    @param hint: what to do about it, for programs; else what the table of codes says, if it does.
    """
    if as_json:
        hint = hint or (error_for(code, name).hint if code in WORDS else "")
        say_json({"warning": text, "code": code, "name": name, "hint": hint})
    else:
        say(f"securemsg: {escape(text)} [{escape(code)}]")


def report_warning(event: Warned, as_json: bool, hint: str = "") -> None:
    """Write a warning to standard error: as L{report_note}, with the name in the text."""
    if as_json or event.code in NEWS:
        report_note(event.code, event.text, as_json, event.name, hint)
    else:
        about = f" ({escape(event.name)})" if event.name else ""
        say(f"securemsg: warning{about}: {escape(event.text)} [{escape(event.code)}]")


def report_elsewhere(as_json: bool) -> None:
    """Report on standard error that nothing of the wire can be shown here: one line."""
    text = (
        "another process has the connection of this profile; its wire data is shown there, if that process was started with"
        " --show-wire"
    )
    report_note("through-another-process", text, as_json)


def report_waiting(code: str, where: str, as_json: bool) -> None:
    """Report on standard error that we keep trying, and why: one line."""
    hope = "waiting for a place" if code == "server-full" else "trying again"
    report_note(code, f"{error_for(code, where).text}; {hope}, Ctrl-C ends", as_json)


def report(problem: SecuremsgError, as_json: bool) -> None:
    """Write an error to standard error: one line."""
    if as_json:
        say_json({"error": problem.text, "code": problem.code, "hint": problem.hint})
    else:
        between = " " if problem.text.endswith((".", "?", "!", ":")) else "; "
        hint = between + problem.hint if problem.hint else ""
        say(f"securemsg: {escape(problem.text)}{escape(hint)} [{escape(problem.code)}]")


def silence(descriptor: int = STDOUT) -> None:
    """Let nothing more go to standard output, or to another, not even what Python flushes at its end."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


def flush_all() -> None:
    """Flush what is left: where that fails, Python would end with a status of its own."""
    for stream, descriptor in ((sys.stdout, STDOUT), (sys.stderr, STDERR)):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            silence(descriptor)


def _write_line(text: str) -> None:
    """Write a line."""
    sys.stdout.flush()
    write_all(STDOUT, text.encode("utf-8", "backslashreplace") + b"\n")


def write_all(descriptor: int, data: bytes) -> None:
    """
    Write data, whether the descriptor blocks or not.

    @raise OutputClosed: nobody reads it.
    @raise SecuremsgError: it cannot be written.
    """
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            # Another process that shares it has made it non-blocking.
            select.select([], [descriptor], [])
        except BrokenPipeError:
            raise OutputClosed from None
        except OSError as error:
            if error.errno == errno.EBADF:
                raise OutputMissing from None
            raise error_for("output-failed", text=f"cannot write the output: {error.strerror}") from None
