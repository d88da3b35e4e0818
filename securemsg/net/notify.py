"""
What the daemon tells the service manager, and whoever looks at C{systemctl status} (sd_notify(3)); without one, nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from time import CLOCK_MONOTONIC, clock_gettime_ns

_MICROSECOND = 1000  # nanoseconds


class Supervisor:
    """
    The process that has started us.

    @ivar watchdog: how often it wants to hear that we are alive, at most so many seconds apart; 0: it does not.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        """
        @param environment: of this process.
        """
        path = environment.get("NOTIFY_SOCKET", "")
        # An abstract one begins with a zero byte, which no environment can hold.
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        period, owner = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
        is_ours = bool(path) and period.isdecimal() and owner in ("", str(os.getpid()))
        # Kept open: there may be no descriptor left when it is needed most.
        self._socket: socket.socket | None = None
        self.watchdog = int(period) / 1e6 / 2 if is_ours else 0.0

    def ready(self, status: str) -> None:
        """We serve, from now on or again."""
        self._say(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """We read our configuration again; L{ready} follows."""
        # systemd tells this reload from others by this clock, which stands still while a machine sleeps.
        self._say(f"RELOADING=1\nMONOTONIC_USEC={clock_gettime_ns(CLOCK_MONOTONIC) // _MICROSECOND}")

    def stopping(self) -> None:
        """We end."""
        self._say("STOPPING=1\nSTATUS=closing connections")

    def alive(self) -> None:
        """We are alive."""
        self._say("WATCHDOG=1")

    def status(self, text: str) -> None:
        """A line for people."""
        self._say(f"STATUS={text}")

    def _say(self, text: str) -> None:
        if not self._address:
            return
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._socket.setblocking(False)
            self._socket.sendto(text.encode(), self._address)
        except OSError:
            # It has gone, or does not listen: there is nobody to tell.
            return
