"""What the prompt makes of what is typed."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from securemsg.cli.chat.bindings import pasted_text


class PasteTests(SynchronousTestCase):
    """What is pasted."""

    def test_last_line_end(self) -> None:
        """A paste loses its last line end, whichever it is, and no other."""
        for end in ("\n", "\r", "\r\n"):
            self.assertEqual(pasted_text(f"one{end}two{end}"), "one\ntwo")
