"""Tests of L{securemsg.responders.function}."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.messages import Received
from securemsg.responders.errors import AnswerFailed
from securemsg.responders.function import Function, load_function
from tests.net.fakes import scratch
from tests.responders.question import SECRET, message


class FunctionTests(SynchronousTestCase):
    """A Python function."""

    def test_called(self) -> None:
        """It gets the message, and its answer is the answer; an empty one is none."""
        self.assertEqual(Function(lambda got: f"{got.sender}: {got.text}")(None, message()), "ada: hello")
        self.assertIsNone(Function(lambda got: None)(None, message()))
        self.assertIsNone(Function(lambda got: "")(None, message()))

    def test_exception(self) -> None:
        """
        An exception of any kind is a code, and so is a result that is not a text; only its type is reported, and where it was
        raised.
        """

        def leave(got: Received) -> object:
            raise SystemExit(got.text)

        def fail(got: Received) -> object:
            raise ValueError(got.text)

        here = f"{__file__}:{fail.__code__.co_firstlineno + 1}"
        calls: list[tuple[Callable[[Any], object], str]] = [
            (leave, "SystemExit in "),
            (fail, f"ValueError in {here}"),
            (lambda got: got.text.encode(), "it returned bytes, not a text"),
            (cast(Any, lambda: None), "TypeError when it was called"),
        ]
        for call, reason in calls:
            with self.assertRaises(AnswerFailed) as caught:
                Function(call)(None, message(SECRET))
            self.assertEqual(caught.exception.code, "exception")
            self.assertIn(reason, caught.exception.reason)
            self.assertNotIn(SECRET, repr(caught.exception) + caught.exception.reason)

    def test_current_folder(self) -> None:
        """A module of the current folder is found."""
        folder = scratch(self)
        (folder / "its_answers.py").write_text("def answer(message):\n    return message.text.upper()\n", "utf-8")
        self.patch(sys, "path", list(sys.path))
        self.addCleanup(sys.modules.pop, "its_answers", None)
        self.patch(Path, "cwd", lambda: folder)
        self.assertEqual(load_function("its_answers.answer")(None, message()), "HELLO")

    def test_broken_module(self) -> None:
        """A module that cannot be imported, for whatever reason, is one line."""
        folder = scratch(self)
        self.patch(sys, "path", [str(folder), *sys.path])
        for number, source in enumerate(("raise SystemExit(0)", "raise ValueError('a\\nb')", "def")):
            (folder / f"broken_{number}.py").write_text(source, "utf-8")
            with self.assertRaises(ValueError) as caught:
                load_function(f"broken_{number}.answer")
            self.assertIn("cannot be imported", str(caught.exception))
            self.assertIn(f"python -c 'from broken_{number} import answer'", str(caught.exception))
            self.assertNotIn("\n", str(caught.exception))
