"""What the tests of answers share."""

from __future__ import annotations

from securemsg.client.messages import Received

# Seconds to wait for a thread.
LIMIT = 30
SECRET = "a private text"


def message(text: str = "hello") -> Received:
    """A message of Ada's."""
    return Received(1, bytes(16), "ada", "server", 1, 1_795_255_200, text, 1, True, "pqxdh", 0, "")
