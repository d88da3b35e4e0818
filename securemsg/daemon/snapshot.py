"""
Copies of the databases of the running daemon, in a folder of the state, for the operator's C{admin backup} to take away.

The contact's comes last: it is then ahead of the server's, as other clients are of a backup, and has lost nothing.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from securemsg.daemon.folder import CONTACT, DATABASE, SNAPSHOT, StateError, free_space, open_folder
from securemsg.daemon.hosted import HostedContact
from securemsg.daemon.worker import Worker
from securemsg.errors import Refusal
from securemsg.server.limits import MIN_FREE_SPACE
from securemsg.storage.errors import StorageError
from securemsg.storage.profile import PROFILE_FILE
from securemsg.storage.sqlite.store import ServerStore

# What is asked of the disk: room for the copies, and what the server needs to go on.
SPARE_SPACE = 4 * MIN_FREE_SPACE


class Snapshots:
    """Takes one snapshot at a time; each replaces the one before."""

    _log = Logger()

    def __init__(self, state: Path, reactor: Any, store: ServerStore, contact: HostedContact) -> None:
        # A process that was killed left it.
        shutil.rmtree(state / SNAPSHOT, ignore_errors=True)
        self._state = state
        self._reactor = reactor
        self._store = store
        self._contact = contact
        self._is_busy = False

    async def take(self) -> None:
        """
        Copy both databases.

        @raise Refusal: C{retry-later}: one is being taken, or the disk has no room for it; the log says which.
        """
        if self._is_busy:
            raise Refusal("retry-later")
        self._is_busy = True
        worker = Worker(self._reactor, "snapshot")
        worker.start()
        try:
            await worker.call(_clear, self._state)
            await self._store.copy(self._state / SNAPSHOT / DATABASE)
            await self._contact.copy(self._state / SNAPSHOT / CONTACT / PROFILE_FILE)
        except (OSError, StateError, StorageError) as error:
            self._log.error("no snapshot for a backup: {problem}", problem=str(error))
            raise Refusal("retry-later") from None
        finally:
            self._is_busy = False
            worker.stop()


def _clear(state: Path) -> None:
    """
    Make room, and empty folders.

    @raise StateError: there is too little.
    """
    folder = state / SNAPSHOT
    shutil.rmtree(folder, ignore_errors=True)
    names = (DATABASE, f"{DATABASE}-wal", f"{CONTACT}/{PROFILE_FILE}")
    needed = sum(os.stat(state / name).st_size for name in names if (state / name).exists()) + SPARE_SPACE
    if free_space(state) < needed:
        raise StateError(f"{state} has {free_space(state)} bytes free, and a snapshot needs {needed}; free some space")
    open_folder(folder)
    open_folder(folder / CONTACT)
