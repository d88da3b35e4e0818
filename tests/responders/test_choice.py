"""Tests of L{securemsg.responders.choice}: what can be named."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.autoresponder import Immediate
from securemsg.responders.choice import ANSWERS, BadAnswer, prepare
from securemsg.responders.pool import ThreadPool


def never(call: Callable[[], None]) -> None:
    """For sources that answer at once."""
    raise AssertionError("nothing is called later")


class ChoiceTests(SynchronousTestCase):
    """What C{--answer} names."""

    def test_words(self) -> None:
        """The words answer at once."""
        for word in ANSWERS:
            self.assertIsInstance(prepare(word)(None, never), Immediate)

    def test_machines(self) -> None:
        """Commands and functions answer a few questions at once, in threads."""
        for text in ("exec:/bin/true", "python:json.dumps"):
            source = prepare(text)(None, never)
            self.assertIsInstance(source, ThreadPool)
            self.assertEqual(source.capacity, 4)
            source.stop()

    def test_none_of_these(self) -> None:
        """Whatever else is named is refused in one line."""
        for text in ("", "all", "exec:", "exec: ", "exec:'x", "python:", "python:json", "python:no.such", "python:json.x"):
            with self.assertRaises(BadAnswer) as caught:
                prepare(text)
            self.assertIn("--answer", str(caught.exception))
            self.assertNotIn("\n", str(caught.exception))


    def test_folder_is_gone(self) -> None:
        """A current folder that was removed is an error: nothing can be found from there."""

        def gone() -> Path:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

        self.patch(Path, "cwd", gone)
        for text in ("exec:/bin/true", "python:json.dumps"):
            self.assertIn("the current folder", str(self.assertRaises(BadAnswer, prepare, text)))
