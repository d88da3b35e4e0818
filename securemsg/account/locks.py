"""The locks of a profile."""

from __future__ import annotations

# In a profile's folder: who has the connection, and who gives out the messages of all in order.
LOCK = "lock"
RECV_LOCK = "recv.lock"


class OwnLock:
    """The lock of what lies in the memory of one process: nobody else can want it."""

    def take(self) -> bool:
        """Take it."""
        return True

    def free(self) -> None:
        """Nobody waits for it."""
