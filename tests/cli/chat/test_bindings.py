"""The keys of a chat, in a prompt without a terminal."""

from __future__ import annotations

from prompt_toolkit import PromptSession
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from securemsg.cli.chat.bindings import bindings
from tests.cli.rig import PlaceCase

INTERRUPT = "\x03"


class Left(Exception):
    """The chat was left."""


class KeyTests(PlaceCase):
    """Ctrl-C."""

    def setUp(self) -> None:
        """Ada has a chat."""
        super().setUp()
        self.ada = self.place.person("ada")

    def type(self, keys: str) -> str:
        """Type, and give the line that was entered."""
        with create_pipe_input() as terminal:
            terminal.send_text(keys)
            session: PromptSession[str] = PromptSession(
                input=terminal,
                output=DummyOutput(),
                key_bindings=bindings(self.ada.connection, terminal, lambda: None),
                interrupt_exception=Left,
            )
            return session.prompt()

    def test_clear(self) -> None:
        """What was typed is cleared, and the chat goes on."""
        self.assertEqual(self.type(f"half{INTERRUPT}whole\r"), "whole")

    def test_leave(self) -> None:
        """Where nothing was typed, or it was cleared, the chat is left."""
        for keys in (INTERRUPT, f"half{INTERRUPT}{INTERRUPT}"):
            self.assertRaises(Left, self.type, f"{keys}more\r")
