"""
The receiving end of C{securemsg pipe}. It commits what it has written.

A file gets each byte once, because it is cut back to what was committed; on standard output, what was written right before a
kill may come again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from securemsg.account.connection import AccountConnection
from securemsg.account.errors import Exit, SecuremsgError, error_for
from securemsg.account.names import find_contact
from securemsg.cli.context import CommandContext
from securemsg.cli.output import STDOUT, OutputClosed, report, report_note, say, write_all, write_line
from securemsg.cli.pipeends import PIECE, locks_of, problem_of, record_of, timed_out
from securemsg.cli.progress import progress
from securemsg.cli.threads import in_thread
from securemsg.client.state.conversations import direct
from securemsg.client.state.inpipes import BEGUN, InPipe, InPipes
from securemsg.client.state.pipes import Chain
from securemsg.client.state.records import OUTBOX, ROWS, OutboxRow, load_all
from securemsg.protocol.envelope import Kind, PipeEnd
from securemsg.storage.files import sync_folder

T = TypeVar("T")


class PipeReceiver:
    """
    One run of C{securemsg pipe --from NAME}.

    @ivar descriptor: of the output. It is closed with the process: when that is interrupted, the thread may still write.
    """

    descriptor: int = STDOUT
    _reactor: Any
    _connection: AccountConnection

    def __init__(self, context: CommandContext, name: str, stream: bytes | None, output: Path | None) -> None:
        """
        @param stream: the id of the one to take; C{None}: the oldest of which there is something.
        @param output: the file to write; C{None}: standard output.
        """
        self._context = context
        self._name = name
        self._stream = stream
        self._output = None if output in (None, Path("-")) else output.absolute()
        self._locks = locks_of(context)

    def run(self) -> int:
        """
        Take a stream to its end.

        @raise SecuremsgError: it was cut, or does not go on.
        """
        try:
            return self._context.run_connected(self.work, again=True, quiet={BEGUN})
        finally:
            if self._context.settings.as_json and self._stream is not None:
                row = self._query(InPipes.get, self._stream) or InPipe()
                line = record_of(self._stream, row.taken, row.end)
                write_line(line) if self._output is not None else say(line, verbatim=True)

    async def work(self, reactor: Any, connection: AccountConnection) -> int:
        """
        Take it, with a connection.

        @return: the exit status.
        @raise SecuremsgError: as L{run}.
        """
        self._reactor, self._connection = reactor, connection
        if self._stream is not None and not self._is_ours(self._stream):
            raise error_for("second-pipe")
        if find_contact(self._context.store, self._name) is None:
            await connection.ask("fetch", self._name, timeout=self._context.settings.time_limit)
        self._check_output()
        self._stream = await self._until(lambda: self._query(self._chosen), "no-stream")
        row = self._get()
        try:
            if not row.end:
                row = await self._take(row)
            else:
                self._say_ended(row)
            problem = problem_of(row.end, self._name)
        except OutputClosed:
            self._change(InPipes.cut, self._stream)
            connection.nudge()
            problem = error_for("stream-cut", text="the stream was cut: nobody reads the output")
        await self._tell()
        if row.end == PipeEnd.COMPLETE:
            return Exit.DONE
        report(problem, self._context.settings.as_json)
        return problem.status

    async def _tell(self) -> None:
        """Wait until the sender is told: where all of the stream was here already, there may be no connection yet."""

        def is_told() -> bool | None:
            with self._context.store.reading() as records:
                rows = load_all(records, OutboxRow, OUTBOX, ROWS)
            return None if any(row.kind == Kind.TAKEN and row.to == direct(self._name) for _, row in rows) else True

        told = None
        with contextlib.suppress(SecuremsgError):
            told = await self._connection.until(is_told, self._context.settings.time_limit)
        if told is None:
            text = f"{self._name} will be told at the next connection"
            report_note("not-told", text, self._context.settings.as_json, self._name)

    def _chosen(self, streams: InPipes) -> bytes | None:
        """The stream to take, once there is anything of it."""
        if self._stream is not None:
            return self._stream if streams.get(self._stream) else None
        return next((stream for stream in streams.waiting() if self._is_ours(stream)), None)

    def _is_ours(self, stream: bytes) -> bool:
        """Whether no other process takes this stream."""
        return self._locks.take(f"in/{self._name}/{stream.hex()}")

    def _check_output(self) -> None:
        """
        See whether the output can be written, before there is anything to write.

        @raise SecuremsgError: it cannot.
        """
        if self._output is None:
            return
        path = str(self._output)
        if not self._output.parent.is_dir():
            raise error_for("output-failed", text=f"there is no folder {self._output.parent}", hint="give another FILE")
        if self._output.exists() and not self._output.is_file():
            raise error_for("output-exists", path, text="{name} is not a regular file")
        is_known = self._query(InPipes.writes_to, path)
        if not is_known and self._output.exists() and self._output.stat().st_size:
            raise error_for("output-exists", path)

    def _say_ended(self, row: InPipe) -> None:
        """
        Say that a stream has ended before.

        @raise SecuremsgError: C{other-output}: it was written elsewhere.
        """
        path = "" if self._output is None else str(self._output)
        if row.end == PipeEnd.COMPLETE and row.output != path:
            raise error_for("other-output", row.output or "standard output")
        if row.end == PipeEnd.COMPLETE:
            where = f", and is in {path}" if path else ""
            report_note("stream-ended", f"this stream was taken before{where}", self._context.settings.as_json)

    async def _take(self, row: InPipe) -> InPipe:
        """Write what there is, and commit it, to the end."""
        stream = self._stream or b""
        self.descriptor = self._open(row)
        if self._output is not None:
            await self._check_written()
        # It may have gone on before the file was ours.
        row = self._get()
        if not self._context.settings.as_json:
            behind = f", from byte {row.taken} on" if row.taken else ""
            say(f"securemsg: taking stream {stream.hex()} from {self._name}{behind}")
        with progress("KiB", unit=1024, is_active=self._output is not None or not os.isatty(STDOUT)) as step:
            while not row.end:
                found = await self._until(partial(self._next, row.taken), "stream-waits")
                if not found:
                    return self._get()
                [data] = found
                await in_thread(self._reactor, self._write, data)
                row = self._change(InPipes.take, stream, row.taken, data)
                self._connection.nudge()
                step(len(data))
        return row

    def _next(self, offset: int) -> tuple[bytes] | tuple[()] | None:
        """
        What can be written, or nothing, if the stream has ended here; C{None}: not yet.

        @raise SecuremsgError: C{second-pipe}: another process has gone on.
        """
        row = self._get()
        if row.end:
            return ()
        if row.taken != offset:
            raise error_for("second-pipe")
        data = self._query(InPipes.data, self._stream)
        return None if data is None else (data,)

    def _write(self, data: bytes) -> None:
        """Write some of it; into a file so that it is still there after a power cut."""
        write_all(self.descriptor, data)
        if self._output is not None:
            os.fsync(self.descriptor)

    def _open(self, row: InPipe) -> int:
        """
        Open the output; a file is cut back to what was committed.

        @raise SecuremsgError: it is no file that this stream was written to, or a new one.
        """
        path = "" if self._output is None else str(self._output)
        if row.taken and row.output != path:
            raise error_for("other-output", row.output or "standard output")
        if self._output is None:
            self._change(InPipes.claim, self._stream, path)
            return STDOUT
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        except OSError as error:
            raise error_for("output-failed", text=f"cannot open {path}: {error.strerror}", hint="give another FILE") from None
        try:
            # Nobody else may write to it, or cut it back.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._check_file(path, os.fstat(descriptor))
            sync_folder(self._output.parent)
        except (SecuremsgError, OSError) as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise error_for("second-pipe") from None
            raise
        return descriptor

    async def _check_written(self) -> None:
        """
        See whether the file holds what the stream has written, and cut it back to that.

        @raise SecuremsgError: C{output-changed}.
        """
        row, chain, left = self._get(), Chain(), self._get().taken
        with progress("KiB written before", unit=1024) as step:
            while left and (data := await in_thread(self._reactor, os.read, self.descriptor, min(left, PIECE))):
                chain, left = chain.add(data), left - len(data)
                step(len(data))
        if chain != row.chain:
            os.close(self.descriptor)
            raise error_for("output-changed", str(self._output))
        os.ftruncate(self.descriptor, row.taken)
        os.lseek(self.descriptor, 0, os.SEEK_END)

    def _check_file(self, path: str, found: os.stat_result) -> None:
        """
        Take a file for the output: it is the stream's, or new and empty.

        @raise SecuremsgError: it is neither.
        """
        row = self._get()
        if not stat.S_ISREG(found.st_mode) or (row.output != path and found.st_size):
            raise error_for("output-exists", path)
        if found.st_size < row.taken:
            raise error_for("output-shorter", path)
        self._change(InPipes.claim, self._stream, path)

    async def _until(self, check: Callable[[], T | None], late: str) -> T:
        """
        Wait.

        @param late: the code of the error for a wait that took too long.
        """
        found = await self._connection.until(check, self._context.settings.timeout)
        if found is None:
            raise timed_out(self._connection, self._name, late)
        return found

    def _get(self) -> InPipe:
        return self._query(InPipes.get, self._stream) or InPipe(end=PipeEnd.CUT)

    def _query(self, question: Callable[..., T], *arguments: Any) -> T:
        """Look at the streams that are here."""
        context = self._context
        with context.store.reading() as records:
            return question(InPipes(records, context.profile, self._name, int(context.now())), *arguments)

    def _change(self, change: Callable[..., T], *arguments: Any) -> T:
        """Change something about them."""
        context = self._context
        with context.store.writing() as records:
            return change(InPipes(records, context.profile, self._name, int(context.now())), *arguments)
