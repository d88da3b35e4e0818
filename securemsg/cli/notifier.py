"""
Tells the user's desktop, or a command of the user's, of messages that come while a chat or C{recv --follow} runs.

The command learns who has written and where, and never the text unless the user wants that. It is bounded as a command that
answers: so many at once, each for so many seconds; what comes meanwhile is counted.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from securemsg.account.connection import AccountConnection
from securemsg.account.errors import SecuremsgError
from securemsg.account.names import aliases, shown_name
from securemsg.cli.context import CommandContext
from securemsg.client import messages
from securemsg.client.messages import Received
from securemsg.client.state import preferences, settings
from securemsg.responders.command import LANGUAGE, LIMIT, CommandRun, current_folder
from securemsg.responders.errors import AnswerFailed
from securemsg.storage.errors import StorageError

# Commands that run at the same time, and messages that wait for one.
CAPACITY = 4
MAX_WAITING = 100
# Messages that are looked at in one go.
PAGE = 64
# The desktop's own command, and what of our environment it needs to find the desktop.
DESKTOP = "notify-send"
PASSED_ON = ("PATH", "HOME", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "DISPLAY", "WAYLAND_DISPLAY")


class Notifier:
    """Runs a command for each message that comes."""

    def __init__(
        self, context: CommandContext, reactor: Any, complain: Callable[[str], object], *, on_desktop: bool = False
    ) -> None:
        """
        @param complain: is told, once, that a command cannot be run, or has failed.
        @param on_desktop: use the desktop's notification service as well.
        """
        self._context = context
        self._reactor = reactor
        self._complain = complain
        self._on_desktop = on_desktop
        self._waiting: deque[tuple[list[str], dict[str, str]]] = deque()
        self._running = 0
        self._has_complained = False
        self._last = messages.last_unread(context.store)
        self._has_dropped = False

    def watch(self, connection: AccountConnection) -> Deferred[None]:
        """
        Notify the user of what comes while this process has the connection.

        @return: never fires; to be cancelled.
        """
        # What ends the connection for good is for whoever else waits for it.
        watching = Deferred.fromCoroutine(connection.until(partial(self._look, connection), None))
        return watching.addErrback(lambda failure: failure.trap(CancelledError, SecuremsgError, StorageError))

    def _look(self, connection: AccountConnection) -> None:
        if connection.is_owner:
            self.check()
        else:
            # Another process notifies the user of these.
            self._last = messages.last_unread(self._context.store)

    def check(self) -> None:
        """Notify the user of what has come since the last time."""
        with self._context.store.reading() as records:
            chosen = settings.get(records)
        if not chosen.notify and not self._on_desktop:
            return
        while found := messages.unread(self._context.store, limit=PAGE, after=self._last):
            self._last = found[-1].seq
            for message in found:
                if message.event is None and not self._is_muted(message):
                    self._notify(message, chosen.notify, chosen.notify_text)

    def _is_muted(self, message: Received) -> bool:
        with self._context.store.reading() as records:
            return preferences.get(records, message.sender).is_muted

    def _notify(self, message: Received, command: str, with_text: bool) -> None:
        if command:
            self._enqueue(shlex.split(command), message, with_text)
        if self._on_desktop:
            name = shown_name(message.sender, aliases(self._context.store))
            where = f" in {message.room}" if message.room else ""
            self._enqueue([DESKTOP, "--app-name=securemsg", f"Message from {name}{where}"], message, False)

    def _enqueue(self, argv: list[str], message: Received, with_text: bool) -> None:
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        environment |= {
            "LANG": LANGUAGE,
            "SECUREMSG_FROM": message.sender,
            "SECUREMSG_CONVERSATION": message.conversation.name,
            "SECUREMSG_ID": message.id.hex(),
        }
        if with_text:
            environment["SECUREMSG_TEXT"] = message.text.replace("\0", "\ufffd")
        if len(self._waiting) >= MAX_WAITING:
            if not self._has_dropped:
                self._has_dropped = True
                self._complain(f"more than {MAX_WAITING} notifications were waiting; the rest were skipped")
            return
        self._waiting.append((argv, environment))
        self._start()

    def _start(self) -> None:
        """Run as many as may run at once."""
        while self._waiting and self._running < CAPACITY:
            argv, environment = self._waiting.popleft()
            self._running += 1
            Deferred.fromCoroutine(self._run(argv, environment))

    async def _run(self, argv: list[str], environment: dict[str, str]) -> None:
        try:
            run = CommandRun(self._reactor, b"", LIMIT)
            run.start(argv, self._folder(), environment)
            await run.ended
        except AnswerFailed as failure:
            if not self._has_complained:
                self._has_complained = True
                reason = f" ({failure.reason})" if failure.reason else ""
                self._complain(f"{argv[0]} failed for a notification: {failure.code}{reason}; see: securemsg settings notify")
        finally:
            self._running -= 1
            self._start()

    @staticmethod
    def _folder() -> Path:
        try:
            return current_folder()
        except ValueError:
            return Path("/")


def has_desktop() -> bool:
    """Whether the desktop's command is installed."""
    return shutil.which(DESKTOP) is not None
