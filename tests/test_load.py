"""The load of C{make bench} gives no figure for messages that are missing, come twice or were not taken."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from bench.depositor import FIRST, Depositor
from bench.machine import Unmeasurable
from bench.plots import plots
from bench.report import Figure, as_json, rows
from bench.sizes import PARTS
from securemsg.protocol import messages as m
from securemsg.protocol.framing import MAX_FRAME, FrameDecoder, encode_frame


@define
class Written:
    """Instead of a connection."""

    frames: FrameDecoder = field(factory=lambda: FrameDecoder(MAX_FRAME))

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.frames.feed(data)

    @property
    def messages(self) -> list[Any]:
        """What was written since the last look."""
        return [m.decode_message(payload) for payload in iter(self.frames.next, None)]


class Unconnected(Depositor):
    """One that has logged in nowhere."""

    def log_in(self, port: int, receives: bool) -> Any:
        """See L{Depositor.log_in}."""
        return Written()


def delivered(*numbers: int) -> bytes:
    """These messages, as the daemon delivers them."""
    parts = PARTS["text"]
    each = [m.Deliver(1, "somebody", bytes(16), number.to_bytes(16, "big"), 0, parts.common, parts.own) for number in numbers]
    return b"".join(encode_frame(m.encode_message(one)) for one in each)


class DepositorTests(SynchronousTestCase):
    """L{Depositor}."""

    def setUp(self) -> None:
        """One end."""
        self.end = Unconnected(0, 1)
        self.wire: Any = self.end.stream

    def test_deposits(self) -> None:
        """What is cut from a template is a deposit like any other, and C{n} rises."""
        self.end.address(7, "text")
        self.wire.write(self.end.frames(2) + self.end.frames(1))
        deposits = self.wire.messages
        self.assertEqual([deposit.n for deposit in deposits], [FIRST + 1, FIRST + 2, FIRST + 3])
        self.assertEqual(len({deposit.deposit_id for deposit in deposits}), 3)
        self.assertEqual({deposit.to[0].account for deposit in deposits}, {"load-7"})

    def test_any_split(self) -> None:
        """Deliveries are counted wherever the network cuts them, and each read is acknowledged once, cumulatively."""
        data = delivered(5, 6)
        for cut in range(0, len(data), 97):
            end = Unconnected(0, 1)
            counts = [end.take(data[:cut])[1], end.take(data[cut:])[1]]
            self.assertEqual(sum(counts), 2)
            wire: Any = end.stream
            self.assertEqual(wire.messages[-1], m.Acknowledge(2))

    def test_missing(self) -> None:
        """A message that is missing is no figure, nor is one that comes twice or out of order."""
        for numbers in ((7,), (5,), (6, 8), (7, 6)):
            end = Unconnected(0, 1)
            end.take(delivered(4, 5))
            self.assertRaises(Unmeasurable, end.take, delivered(*numbers))

    def test_full(self) -> None:
        """A deposit that a mailbox did not take is no figure."""
        missed = [m.Missed("load-7", bytes(16), "mailbox-full")]
        for lost, fails in (([], False), (missed, True)):
            frame = encode_frame(m.encode_message(m.Accepted(0, [m.Acceptance(bytes(16), lost, stored=True)])))
            if fails:
                self.assertRaises(Unmeasurable, self.end.take, frame)
            else:
                self.assertEqual(self.end.take(frame), (1, 0))

    def test_refused(self) -> None:
        """Nor is a refusal."""
        frame = encode_frame(m.encode_message(m.DepositRefused(bytes(16), "retry-later", [])))
        self.assertRaises(Unmeasurable, self.end.take, frame)


class ReportTests(SynchronousTestCase):
    """L{Figure}, the table and the plots."""

    FIGURES = (
        Figure("cpu_1", "cost", "us", {"daemon": [10, 30, 20], "other": [5, 10, 5]}, "2 x"),
        Figure("cpu_16", "cost", "us", {"daemon": [1, 3, 2], "other": [1, 1, 1]}),
    )

    def test_ratio(self) -> None:
        """A ratio is taken round by round; then come median and range."""
        self.assertEqual(self.FIGURES[0].ratios("other"), [2, 3, 4])
        written: Any = as_json(self.FIGURES, {}, {})["figures"]
        self.assertEqual(written[0]["servers"]["other"]["ratio"], {"median": 3, "lowest": 2, "highest": 4})
        self.assertEqual(written[0]["servers"]["daemon"]["rounds"], [10, 30, 20])

    def test_rows(self) -> None:
        """A row has a line for each server."""
        first, second, *_ = rows(self.FIGURES)
        self.assertEqual(first, ("cost, us", "daemon", "20.0", "10.0-30.0", "", "", "2 x"))
        self.assertEqual(second, ("", "other", "5.00", "5.00-10.0", "3.00", "2.00-4.00", ""))

    def test_plots(self) -> None:
        """A plot has a line for each server, of medians; where there is nothing to draw, there is no plot."""
        drawn = plots(self.FIGURES)
        self.assertEqual(list(drawn), ["cost.svg"])
        self.assertEqual(drawn["cost.svg"].lines, {"daemon": [(1, 20), (16, 2)], "other": [(1, 5), (16, 1)]})
        self.assertIn("<polyline", drawn["cost.svg"].svg())
