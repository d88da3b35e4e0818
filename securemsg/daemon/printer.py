"""
What the operator sees of messages to the daemon's contact: a line of JSON in a file, or a line on standard output.

Neither goes through the log, which is for others to read.
"""

from __future__ import annotations

import json
import os
import queue
import select
import threading
import time
from collections.abc import Sequence

from twisted.logger import Logger

from securemsg.client.escape import escape
from securemsg.client.messages import Received
from securemsg.client.times import iso
from securemsg.protocol.envelope import Kind

STANDARD_OUTPUT = 1
# Lines that wait for whoever reads our output, and for how many seconds those that come together may hold up whoever prints
# them: then lines are left out until there is room.
ROOM = 1000
PATIENCE = 5
# Seconds for what is left, at the end.
LAST_TIME = 1
KINDS = {kind.value: kind.name.lower() for kind in Kind}


def record_line(message: Received) -> bytes:
    """A message for programs, under the names that C{recv --json} uses."""
    record = {
        "id": message.id.hex(),
        "from": message.sender,
        "device": message.device.hex(),
        "sent_at": iso(message.sent_at),
        "received_at": iso(message.received_at),
        "kind": KINDS.get(message.kind, f"kind-{message.kind}"),
        "suite": message.suite,
        "text": message.text,
    }
    return json.dumps(record).encode("ascii")


def printed_line(message: Received) -> str:
    """A message for people, in one line whatever it holds."""
    return f"[{iso(message.sent_at)}] {escape(message.sender)}: {escape(message.text)}"


class Printer:
    """Writes lines to standard output, in a thread of its own: whoever does not read it holds up nobody."""

    _log = Logger()

    def __init__(self, descriptor: int = STANDARD_OUTPUT, timeouts: float = PATIENCE, room: int = ROOM) -> None:
        """
        @param descriptor: where to write; C{sys.stdout} is the log's in a daemon.
        """
        self._descriptor = descriptor
        self._timeouts = timeouts
        self._lines: queue.Queue[str | None] = queue.Queue(room)
        self._omitted = 0
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="print", daemon=True)
        self._thread.start()

    def put(self, messages: Sequence[Received]) -> None:
        """Print messages, in order. Never called by two threads at once."""
        deadline = time.monotonic() + self._timeouts
        for index, message in enumerate(messages):
            left = 0 if self._omitted else max(deadline - time.monotonic(), 0)
            try:
                self._lines.put(printed_line(message), timeout=left)
            except queue.Full:
                if not self._omitted:
                    self._log.warn("standard output is not read: messages are not printed until it is")
                self._omitted += len(messages) - index
                return
            if self._omitted:
                self._log.info("standard output is read again; {count} messages were not printed", count=self._omitted)
                self._omitted = 0

    def stop(self) -> None:
        """Print what is left, if that can be done at once."""
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(LAST_TIME)

    def _run(self) -> None:
        """The thread."""
        while (line := self._lines.get()) is not None:
            if not self._is_over:
                try:
                    self._write(f"{line}\n".encode())
                except OSError as error:
                    self._is_over = True
                    self._log.warn("messages are not printed any more: {problem}", problem=error.strerror)

    def _write(self, data: bytes) -> None:
        """Write a line, however long that takes."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                # Whoever shares it with us made it so.
                select.select([], [self._descriptor], [])
