"""What C{securemsg respond} reports."""

from __future__ import annotations

import io
import json
import sys

from twisted.trial.unittest import SynchronousTestCase

from securemsg.cli.commands.respond import ReportingWork, report_answer
from securemsg.client.messages import Received
from securemsg.protocol.envelope import Kind
from securemsg.responders.errors import AnswerFailed

QUESTION = Received(1, bytes(16), "ada", "bix", 0, 0, "a secret", Kind.TEXT, False, "pqxdh", 0, "")


class Failing:
    """Work that always fails."""

    is_stopped = False
    problem = ""

    def __init__(self, code: str = "status 3", reason: str = "") -> None:
        self._failure = AnswerFailed(code, reason)

    def __call__(self, reactor: object, question: Received) -> str | None:
        """
        Fail.

        @raise AnswerFailed: always.
        """
        raise self._failure from ValueError("the text of an exception")

    def stop(self) -> None:
        """It is over."""
        self.is_stopped = True


class SayingTests(SynchronousTestCase):
    """Lines on standard error."""

    def setUp(self) -> None:
        """Capture them."""
        self.err = io.StringIO()
        self.patch(sys, "stderr", self.err)

    def test_answered(self) -> None:
        """One line names the sender and the length of the answer, if any, and nothing of its text."""
        report_answer(QUESTION, "größer")
        report_answer(QUESTION, None)
        self.assertEqual(self.err.getvalue(), "answered ada (8 bytes)\nno answer to ada\n")

    def test_failure(self) -> None:
        """A failure is reported with its code, and passed on."""
        work = Failing()
        self.assertRaises(AnswerFailed, ReportingWork(work, True), None, QUESTION)
        said = json.loads(self.err.getvalue())
        self.assertEqual((said["code"], said["name"]), ("answer-failed", "ada"))
        self.assertIn("status 3", said["warning"])
        self.assertIn("try the command by hand", said["hint"])
        self.assertNotIn("secret", self.err.getvalue())

    def test_reason(self) -> None:
        """Its reason is reported; the traceback only with C{--debug}, which the hint names."""
        work = Failing("exception", "ValueError in its.py:3")
        self.assertRaises(AnswerFailed, ReportingWork(work, True), None, QUESTION)
        said = json.loads(self.err.getvalue())
        self.assertIn("exception (ValueError in its.py:3)", said["warning"])
        self.assertIn("--debug", said["hint"])
        self.assertNotIn("the text of an exception", self.err.getvalue())
        self.assertRaises(AnswerFailed, ReportingWork(work, False, True), None, QUESTION)
        self.assertIn("ValueError: the text of an exception", self.err.getvalue())

    def test_stop(self) -> None:
        """Stopping stops the work itself."""
        work = Failing()
        ReportingWork(work, False).stop()
        self.assertTrue(work.is_stopped)
