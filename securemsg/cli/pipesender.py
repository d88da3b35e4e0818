"""The sending end of C{securemsg pipe}. After a kill it skips what it had committed."""

from __future__ import annotations

import os
import select
import stat
from typing import Any

from twisted.internet.defer import CancelledError

from securemsg.account.connection import AccountConnection
from securemsg.account.errors import Exit, SecuremsgError, error_for, explain
from securemsg.account.names import find_contact
from securemsg.cli.context import CommandContext
from securemsg.cli.interrupts import was_terminated
from securemsg.cli.output import report, report_note, write_line
from securemsg.cli.pipeends import PIECE, locks_of, problem_of, record_of, timed_out
from securemsg.cli.progress import progress
from securemsg.cli.threads import in_thread
from securemsg.client.state import outpipes
from securemsg.client.state.outpipes import OutPipe
from securemsg.client.state.pipes import Chain
from securemsg.crypto.keys import random_id
from securemsg.errors import Refusal
from securemsg.interfaces import Step
from securemsg.protocol.envelope import PipeEnd

STDIN = 0


class PipeSender:
    """One run of C{securemsg pipe NAME}."""

    _reactor: Any
    _connection: AccountConnection

    def __init__(self, context: CommandContext, name: str, stream: bytes | None) -> None:
        """
        @param stream: the id of one to go on with, or to begin; C{None}: a new one.
        """
        self._context = context
        self._name = name
        self._stream = random_id() if stream is None else stream
        self._is_named = stream is not None
        self._has_begun = False
        self._locks = locks_of(context)
        # How much of the input was read.
        self._at = 0

    def run(self) -> int:
        """
        Send standard input to its end, and wait until all of it was taken.

        @raise SecuremsgError: that did not happen.
        """
        try:
            return self._context.run_connected(self.work, again=True)
        finally:
            row = self._row()
            if self._context.settings.as_json and self._has_begun:
                is_cut = row.end == PipeEnd.CUT and not row.outcome
                write_line(record_of(self._stream, row.taken, PipeEnd.CUT if is_cut else row.outcome))

    def _begin(self) -> None:
        """
        Begin the stream, or go on with it, and say how to do that later.

        @raise SecuremsgError: C{conflict}; C{contact-blocked}; C{second-pipe}.
        """
        if not self._locks.take(f"out/{self._stream.hex()}"):
            raise error_for("second-pipe")
        with self._context.store.writing() as records:
            try:
                outpipes.begin(records, self._context.profile, self._name, self._stream, int(self._context.now()))
            except Refusal as refusal:
                raise explain(refusal, self._name) from None
        self._has_begun = True
        if self._row().outcome:
            return
        again = f"securemsg pipe {self._name} --id {self._stream.hex()}"
        text = f"if this is killed, run it again with the same input: {again}"
        report_note("stream", text, self._context.settings.as_json, self._name, again)

    async def work(self, reactor: Any, connection: AccountConnection) -> int:
        """
        Send it, with a connection.

        @return: the exit status.
        @raise SecuremsgError: as L{run}.
        """
        self._reactor, self._connection = reactor, connection
        try:
            if find_contact(self._context.store, self._name) is None:
                await connection.ask("fetch", self._name, timeout=self._context.settings.time_limit)
            self._begin()
            with progress("KiB", unit=1024, is_active=not os.isatty(STDIN)) as step:
                await self._send(step)
        except CancelledError:
            row = self._row()
            if row.end or row.outcome:
                raise
            if self._is_named and was_terminated():
                # A machine that is shut down, or a job that is stopped, comes again.
                again = "the stream stays open; run the same command again to continue"
                report_note("stream-open", again, self._context.settings.as_json)
                raise
            self._end(row, PipeEnd.CUT)
            return self._ended(error_for("stream-cut", text="interrupted: the stream was cut"))
        row = self._row()
        if row.outcome == PipeEnd.COMPLETE:
            return Exit.DONE
        if row.end == PipeEnd.CUT:
            return self._ended(error_for("stream-cut", text="the stream was cut at this end"))
        return self._ended(error_for(row.code, self._name) if row.code else problem_of(row.outcome, self._name))

    def _ended(self, problem: SecuremsgError) -> int:
        """Report why the stream has ended; what is in the outbox is still sent."""
        report(problem, self._context.settings.as_json)
        return problem.status

    async def _send(self, step: Step) -> None:
        """Send what comes, as fast as it is taken, then the end, and wait for the recipient's."""
        row = self._row()
        if row.outcome == PipeEnd.COMPLETE:
            await self._compare(row)
        elif not row.outcome and (not row.end or _is_file(STDIN)):
            await self._skip(row)
        while not row.end and not row.outcome:
            if not row.room:
                await self._moved(row)
            elif data := await self._next_input(row.room):
                with self._context.store.writing() as records:
                    profile, now = self._context.profile, int(self._context.now())
                    outpipes.send(records, profile, self._stream, self._at, data, now)
                self._at += len(data)
                self._connection.nudge()
                step(len(data))
            elif not self._row().outcome:
                self._end(row, PipeEnd.COMPLETE)
            row = self._row()
        while not row.outcome:
            row = await self._moved(row)

    async def _skip(self, row: OutPipe) -> None:
        """
        Read again what was sent before, and send again what may be lost of it.

        @raise SecuremsgError: C{other-input}.
        """
        untaken = bytearray()
        chain = await self._read_again(row, untaken)
        if chain != row.chain:
            if row.end:
                # There is nothing more to send, and only the recipient's word to wait for.
                return
            raise error_for("other-input")
        with self._context.store.writing() as records:
            profile, now = self._context.profile, int(self._context.now())
            outpipes.repeat(records, profile, self._stream, row.taken, bytes(untaken), now)
        self._connection.nudge()

    async def _compare(self, row: OutPipe) -> None:
        """
        See whether the input is that of a stream which was taken as a whole.

        @raise SecuremsgError: C{other-input}.
        """
        chain = await self._read_again(row, bytearray())
        if chain.value != row.chain.digest or await self._piece(1):
            raise error_for("other-input", text="this stream has ended, and was of another input; nothing was sent")

    async def _read_again(self, row: OutPipe, untaken: bytearray) -> Chain:
        """
        Read what was sent before.

        @param untaken: gets what of it was not taken.
        @return: the digest of what there is of it.
        """
        chain = Chain()
        with progress("KiB sent before", unit=1024) as step:
            while self._at < row.offset and (data := await self._piece(row.offset - self._at)):
                chain = chain.add(data)
                untaken += data[max(row.taken - self._at, 0) :]
                self._at += len(data)
                step(len(data))
        return chain

    async def _piece(self, most: int) -> bytes:
        return await in_thread(self._reactor, read_input, min(most, PIECE))

    async def _next_input(self, most: int) -> bytes:
        """The next bytes, as soon as there are any; empty: the input, or the stream, has ended."""
        found: list[bytes] = []
        problems: list[BaseException] = []
        reading = in_thread(self._reactor, read_input, most)
        reading.addCallbacks(found.append, lambda failure: problems.append(failure.value))
        reading.addCallback(lambda ignored: self._connection.changed())
        await self._connection.until(lambda: found or problems or self._look().outcome or None, None)
        if problems:
            raise SecuremsgError(Exit.USAGE, "input-failed", f"cannot read standard input: {problems[0]}", "give another one")
        return found[0] if found else b""

    async def _moved(self, before: OutPipe) -> OutPipe:
        """
        Wait until something was taken, or the stream has ended.

        @raise SecuremsgError: not within C{--timeout}.
        """

        def look() -> OutPipe | None:
            row = self._look()
            return row if (row.taken, row.outcome) != (before.taken, before.outcome) else None

        row = await self._connection.until(look, self._context.settings.timeout)
        if row is None:
            raise timed_out(self._connection, self._name)
        return row

    def _look(self) -> OutPipe:
        contact = find_contact(self._context.store, self._name)
        if contact is not None and contact.has_changed:
            raise error_for("identity-changed", self._name)
        return self._row()

    def _end(self, row: OutPipe, how: PipeEnd) -> None:
        with self._context.store.writing() as records:
            outpipes.end(records, self._context.profile, self._stream, row.offset, how, int(self._context.now()))
        self._connection.nudge()

    def _row(self) -> OutPipe:
        with self._context.store.reading() as records:
            # One that many newer ones have displaced was cut.
            return outpipes.get(records, self._stream) or OutPipe(self._name, outcome=PipeEnd.CUT)


def _is_file(descriptor: int) -> bool:
    """Whether what is read there can be read again from its beginning."""
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def read_input(most: int) -> bytes:
    """What comes on standard input, whether it blocks or not."""
    while True:
        try:
            return os.read(STDIN, most)
        except BlockingIOError:
            # Another process that shares it has made it non-blocking.
            select.select([STDIN], [], [])
