"""What both ends of C{securemsg pipe} need."""

from __future__ import annotations

from securemsg.account.bytelocks import ByteLocks
from securemsg.account.connection import AccountConnection
from securemsg.account.errors import SecuremsgError, error_for
from securemsg.cli.context import CommandContext
from securemsg.cli.output import json_line
from securemsg.protocol.envelope import PipeEnd

# In the profile's folder.
LOCK = "pipe.lock"
# Bytes that are read at once of what was sent or written before.
PIECE = 256 * 1024
# As programs read it; an open stream can be continued.
STATUSES = {PipeEnd.NONE: "open", PipeEnd.COMPLETE: "complete", PipeEnd.CUT: "cut", PipeEnd.REFUSED: "refused"}


def locks_of(context: CommandContext) -> ByteLocks:
    """The locks that keep two processes of a profile from one end of a stream."""
    return ByteLocks(None if context.folder is None else context.folder / LOCK)


def timed_out(connection: AccountConnection, name: str, code: str = "stream-waits") -> SecuremsgError:
    """Why nothing has moved in time."""
    return error_for(connection.last_failure, connection.where) if connection.last_failure else error_for(code, name)


def problem_of(end: int, name: str) -> SecuremsgError:
    """Why a stream is not complete."""
    return error_for("stream-refused" if end == PipeEnd.REFUSED else "stream-cut", name)


def record_of(stream: bytes, size: int, end: int) -> str:
    """What became of a stream, for a program."""
    return json_line({"id": stream.hex(), "bytes": size, "status": STATUSES[PipeEnd(end)]})
