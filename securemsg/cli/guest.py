"""The context of a guest: a key file instead of a profile, and nothing is kept once the command has ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from securemsg.account.errors import Exit, SecuremsgError
from securemsg.cli.commands.keygen import check_loose, load_key
from securemsg.cli.context import CommandContext
from securemsg.cli.profiles import opened
from securemsg.cli.settings import Settings
from securemsg.client.state.profile import load_profile
from securemsg.client.state.retention import Retention
from securemsg.protocol.devices import SERVER_NAME
from securemsg.storage.memory import MemoryProfile

if TYPE_CHECKING:
    from securemsg.account.connection import AccountConnection

# The address of a daemon that was started without --host and --port.
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8443

_SAME_FILE = "check --host, --port and the file; start the daemon with: securemsg serve --key-file FILE"
# What these codes mean to a guest.
_WORDS: dict[str, tuple[str, str]] = {
    "server-identity": ("the server at {where} does not have this key file ({name})", _SAME_FILE),
    "login-failed": ("the server at {where} does not admit guests with this key file ({name})", _SAME_FILE),
    "malformed": ("the server at {where} does not admit guests with a key file", "it is older than this client"),
}
# Messages that a long chat keeps in memory.
_RETENTION = Retention()


@frozen
class GuestContext(CommandContext):
    """
    @ivar path: of the key file.
    """

    path: Path = field(kw_only=True)

    def run_connected(self, work: Callable[[Any, AccountConnection], Coroutine[Any, Any, int]], **options: Any) -> int:
        """
        As L{CommandContext.run_connected}, with errors worded for guests.

        @raise SecuremsgError: likewise.
        """
        try:
            return super().run_connected(work, **options)
        except SecuremsgError as problem:
            raise self.reworded(problem) from None

    def reworded(self, problem: SecuremsgError) -> SecuremsgError:
        """The same error in words for guests."""
        words = _WORDS.get(problem.code)
        if words is None:
            return problem
        text, hint = (part.replace("{where}", self.where).replace("{name}", self.profile.name) for part in words)
        return SecuremsgError(problem.status, problem.code, text, hint.replace("FILE", str(self.path)))

    def connection(self) -> bytes:
        """The id of the current connection: a new one after each login, empty before the first."""
        with self.store.reading() as records:
            profile = load_profile(records)
        return b"" if profile is None else profile.connection

    def trim(self) -> None:
        """Drop the oldest messages of a long chat: all of them are in memory."""
        with self.store.writing() as records:
            _RETENTION.trim(records, self.profile.conversation(SERVER_NAME), int(self.now()))


@contextlib.contextmanager
def context_for(settings: Settings, name: str) -> Iterator[CommandContext]:
    """
    The context to write to somebody from: the profile, or a guest where a key file is given without a suite.

    @raise SecuremsgError: there is none.
    """
    check_loose(settings)
    if settings.key_file is None or settings.suite is not None:
        with opened(settings) as context:
            yield context
        return
    if name != SERVER_NAME:
        raise SecuremsgError(
            Exit.USAGE,
            "key-file",
            f"with a key file alone you can only write to `{SERVER_NAME}`, not to {name}",
            f"to write to {name} from your profile, encrypted with this file, add --suite psk",
        )
    if (settings.profile, settings.passphrase_file, settings.passphrase_fd) != (None, None, None):
        raise SecuremsgError(
            Exit.USAGE,
            "usage",
            "with a key file alone no profile is used",
            "omit --profile, --passphrase-file and --passphrase-fd",
        )
    yield guest_context(settings, settings.key_file, settings.host or DEFAULT_HOST, settings.port or DEFAULT_PORT)


def guest_context(settings: Settings, path: Path, host: str = DEFAULT_HOST, port: int = DEFAULT_PORT) -> GuestContext:
    """
    The context of a guest with this key file.

    @raise SecuremsgError: the key file cannot be used.
    """
    # It brings in login and sessions: a command with a profile has no use for them until it connects.
    from securemsg.client import guest

    key = load_key(path, settings.loose)
    store = MemoryProfile()
    profile = guest.prepare(store, key, host, port, int(time.time()))
    return GuestContext(settings, None, store, profile, f"by the key file {path}; nothing else is kept", path=path)
