"""Tests of L{securemsg.daemon.printer}: what the operator sees of messages."""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time

from attrs import evolve
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.messages import Received
from securemsg.client.state.conversations import lobby
from securemsg.daemon.printer import Printer, printed_line, record_line

# The least that a pipe can hold.
PIPE = 4096
EVIL = 'two\nlines \x1b]0;\u202e"\u2028 \u20ac'


def message(text: str, kind: int = 1) -> Received:
    """A message of a guest's."""
    return Received(
        1, b"\xab" * 16, "key-1a2b3c4d", "server", 1_795_255_200, 1_795_255_300, text, kind, True, "psk", 0, "", b"\xcd" * 16
    )


class LineTests(SynchronousTestCase):
    """One message, one line."""

    def test_record(self) -> None:
        """A program reads everything it wants to know, and the text as it was sent."""
        row = record_line(message(EVIL))
        self.assertNotIn(b"\n", row)
        self.assertTrue(row.isascii())
        self.assertEqual(
            json.loads(row),
            {
                "id": "ab" * 16,
                "from": "key-1a2b3c4d",
                "room": None,
                "device": "cd" * 16,
                "sent_at": "2026-11-21T10:00:00Z",
                "received_at": "2026-11-21T10:01:40Z",
                "kind": "text",
                "suite": "psk",
                "text": EVIL,
            },
        )

    def test_kinds(self) -> None:
        """Other kinds have their names, or a number."""
        self.assertEqual([json.loads(record_line(message("", kind)))["kind"] for kind in (2, 77)], ["answer", "kind-77"])

    def test_printed(self) -> None:
        """People read one harmless line."""
        self.assertEqual(printed_line(message("Hello Server!")), "[2026-11-21T10:00:00Z] key-1a2b3c4d: Hello Server!")
        shown = printed_line(message(EVIL))
        self.assertIn("two\\nlines \\x1b]0;\\u202e", shown)
        self.assertTrue(shown.isprintable())


    def test_lobby(self) -> None:
        """What is said in the lobby says so, and so does who comes and goes."""
        said = evolve(message("Hello all!"), sender="alice", conversation=lobby("alice"))
        self.assertEqual(json.loads(record_line(said))["room"], "#lobby")
        self.assertEqual(printed_line(said), "[2026-11-21T10:00:00Z] #lobby alice: Hello all!")
        came = evolve(said, kind=7, text="")
        self.assertEqual((json.loads(record_line(came))["kind"], json.loads(record_line(came))["from"]), ("enter", "alice"))
        self.assertEqual(printed_line(came), "[2026-11-21T10:00:00Z] #lobby -- alice entered")


class PrinterTests(SynchronousTestCase):
    """Standard output."""

    def setUp(self) -> None:
        """It is a pipe."""
        self.reader, self.writer = os.pipe()
        self.addCleanup(os.close, self.reader)

    def test_printed(self) -> None:
        """Lines come out in order, and all of them before the end."""
        printer = Printer(self.writer)
        printer.print([message("1"), message("2")])
        printer.print([message("3")])
        printer.stop()
        os.close(self.writer)
        with open(self.reader, encoding="utf-8", closefd=False) as file:
            self.assertEqual([row[-2] for row in file], ["1", "2", "3"])

    def test_nobody_reads(self) -> None:
        """Output that is not read delays the caller for a short time only; lines left out are counted, and not logged."""
        printer = Printer(self.writer, timeout=0.05, capacity=2)
        long = message("secret " * 20_000)
        with capturedLogs() as events:
            printer.print([long] * 8)
        (event,) = events
        self.assertIn("is not read", str(formatEvent(event)))
        drained = threading.Thread(target=self.drain)
        drained.start()
        with capturedLogs() as events:
            while printer._omitted:
                printer.print([message("again")])
        self.assertIn("were not printed", str(formatEvent(events[-1])))
        printer.stop()
        os.close(self.writer)
        drained.join()

    def test_slow_reader(self) -> None:
        """A slow reader does not delay the caller again for each line."""
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PIPE)
        printer = Printer(self.writer, timeout=1, capacity=2)
        is_over = threading.Event()

        def read() -> None:
            while not is_over.wait(0.3):
                os.read(self.reader, PIPE)

        reading = threading.Thread(target=read)
        reading.start()
        began = time.monotonic()
        # Each line finds room in time, if it is asked for alone: one is read in every third of a second.
        printer.print([message("x" * PIPE)] * 20)
        took = time.monotonic() - began
        is_over.set()
        reading.join()
        self.assertLess(took, 2)
        drained = threading.Thread(target=self.drain)
        drained.start()
        printer.stop()
        os.close(self.writer)
        drained.join()

    def drain(self) -> None:
        """Read everything."""
        while os.read(self.reader, 1 << 20):
            pass

    def test_closed(self) -> None:
        """Who hung up is written to no more; it is said once."""
        reader, writer = os.pipe()
        os.close(reader)
        self.addCleanup(os.close, writer)
        with capturedLogs() as events:
            printer = Printer(writer)
            printer.print([message("1"), message("2")])
            printer.stop()
        (event,) = events
        self.assertIn("not printed any more", str(formatEvent(event)))

    def test_not_blocking(self) -> None:
        """An output that was made non-blocking gets everything as well."""
        os.set_blocking(self.writer, False)
        printer = Printer(self.writer)
        text = "x" * 300_000
        got = bytearray()

        def read() -> None:
            while not got.endswith(b"\n"):
                got.extend(os.read(self.reader, 1 << 16))

        reading = threading.Thread(target=read)
        reading.start()
        printer.print([message(text)])
        reading.join(30)
        printer.stop()
        os.close(self.writer)
        self.assertEqual(got.decode().rpartition(" ")[2], text + "\n")
