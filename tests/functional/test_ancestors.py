"""
What C{docs/ancestors.md} shows is what happens: each section is replayed in a folder of its own.

The format of the transcripts stands in L{tests.functional.transcript}.
"""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from tests.functional.support import ROOT, Place
from tests.functional.transcript import replay, steps

TEXT = (ROOT / "docs" / "ancestors.md").read_text("utf-8")


def section(letter: str) -> str:
    """The section of one ancestor."""
    found = re.search(rf"^## {letter}\. .*?(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    assert found is not None, f"{letter} has no section"
    return found[0]


class AncestorTests(SynchronousTestCase):
    """The stories of the ancestors, with real processes."""

    def replay(self, letter: str, *told: str) -> None:
        """
        Replay a section.

        @param told: what stands in its commands, so that a story does not lose its point unseen.
        """
        place = Place.make()
        self.addCleanup(place.forget)
        text = section(letter)
        self.assertGreater(replay(text, place), 5)
        commands = "\n".join(step.text for step in steps(text))
        for words in told:
            self.assertIn(words, commands)

    def test_shared_key_file(self) -> None:
        """A: sender and server share a file, and nothing else; so do two people."""
        self.replay("A", "--key-file shared.key --print", '"Hello Server!"', "chat --key-file", "--suite psk", "# status 8")

    def test_record(self) -> None:
        """B: the server acknowledges and records; C{--host} and C{--port} go before what the profile says."""
        self.replay("B", "--record", "cat messages.jsonl", "--port 9 ")

    def test_relay(self) -> None:
        """C: five processes over UDP, with nothing at the TCP port that they are told; everybody reads everybody."""
        self.replay("C", "--udp-port", "--advertise 127.0.0.1:9 ", "--lobby", "--suite rsa --cipher a128")

    def test_store_and_forward(self) -> None:
        """D: what is sent to somebody who is away waits, through C{kill -9}; a server that is full lets one wait for a turn."""
        self.replay("D", "kill -9", "--max-clients 1", "--retry", "accounts")

    def test_request_and_answer(self) -> None:
        """E: a command answers for the server and for a person; the wire is shown; the operator speaks."""
        self.replay("E", "exec:", "respond --exec", "--show-wire", "admin --state state reply")
