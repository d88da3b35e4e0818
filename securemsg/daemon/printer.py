"""
Copies of messages to the contact C{server} for the operator: a line of JSON in a file, or a line on standard output.

Neither goes through the log, which others may read.
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
from securemsg.client.lobby import event_text
from securemsg.client.messages import Received
from securemsg.client.times import iso
from securemsg.protocol.envelope import Kind

STANDARD_OUTPUT = 1
# How many lines may wait to be read, and for how many seconds messages that come together may delay the caller; after that,
# lines are left out until there is room.
CAPACITY = 1000
TIMEOUT = 5
# Seconds for what is left, at the end.
LAST_TIME = 1
KINDS = {kind.value: kind.name.lower() for kind in Kind}


def record_line(message: Received) -> bytes:
    """A message for programs, with the same names as in C{recv --json}."""
    record = {
        "id": message.id.hex(),
        "from": message.sender,
        "room": message.room or None,
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
    where = f"{message.room} " if message.room else ""
    event = event_text(message, "")
    said = f"-- {escape(event)}" if event else f"{escape(message.sender)}: {escape(message.text)}"
    return f"[{iso(message.sent_at)}] {where}{said}"


class Printer:
    """Writes lines to standard output, in a thread of its own: output that is not read delays nothing."""

    _log = Logger()

    def __init__(self, descriptor: int = STANDARD_OUTPUT, timeout: float = TIMEOUT, capacity: int = CAPACITY) -> None:
        """
        @param descriptor: where to write; in a daemon C{sys.stdout} belongs to the log.
        """
        self._descriptor = descriptor
        self._timeout = timeout
        self._lines: queue.Queue[str | None] = queue.Queue(capacity)
        self._omitted = 0
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="print", daemon=True)
        self._thread.start()

    def print(self, messages: Sequence[Received]) -> None:
        """Print messages, in order. Not to be called by two threads at once."""
        deadline = time.monotonic() + self._timeout
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
        """Print what is left, if that takes no time."""
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(LAST_TIME)

    def _run(self) -> None:
        """In the thread."""
        while (line := self._lines.get()) is not None:
            if not self._is_over:
                try:
                    self._write(f"{line}\n".encode())
                except OSError as error:
                    self._is_over = True
                    self._log.warn("messages are not printed any more: {problem}", problem=error.strerror)

    def _write(self, data: bytes) -> None:
        """Write a line, waiting for as long as it takes."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                # Another process that shares it made it non-blocking.
                select.select([], [self._descriptor], [])
