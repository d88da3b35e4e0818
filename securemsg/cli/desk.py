"""
What a command works with once its profile is open: store, profile, uplink, clock; composed here and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from attrs import frozen

from securemsg.cli.output import report_warning
from securemsg.cli.run import run
from securemsg.cli.settings import Settings
from securemsg.client.profile import Profile
from securemsg.client.records import HISTORY, OUTBOX, RECEIPTS, ROWS, HistoryRow, OutboxRow, bucket_of, load, load_all
from securemsg.client.trust import get_contact
from securemsg.interfaces import IProfileStore, IRecords
from securemsg.station.composing import RECV_LOCK, make_uplink, ring_at, written
from securemsg.station.locks import FileLock
from securemsg.station.troubles import Trouble, trouble
from securemsg.station.uplink import Uplink
from securemsg.storage.errors import StorageError

# A command that is done stays for what else is in the outbox: this long at most, and not if nothing moves.
SEEING_OFF = 10
STANDSTILL = 2


@frozen
class Desk:
    """
    @ivar protection: how the keys are protected, in words.
    """

    settings: Settings
    folder: Path
    store: IProfileStore
    profile: Profile
    protection: str
    now: Callable[[], float] = time.time

    @property
    def host(self) -> str:
        """
        Where the server is: as the options say, else the invite.
        """
        return self.settings.host or self.profile.host

    @property
    def port(self) -> int:
        """
        Likewise.
        """
        return self.settings.port or self.profile.port

    @property
    def where(self) -> str:
        """
        Both, as they are written.
        """
        return written(self.host, self.port)

    def check_joined(self) -> None:
        """
        Most commands need an account.

        @raise Trouble: C{not-joined}.
        """
        if not self.profile.registered:
            raise trouble("not-joined")

    def ring(self) -> bool:
        """
        Tell whoever has the connection to look into the store.
        """
        return ring_at(self.folder)

    def lock_reading(self) -> FileLock:
        """
        Be the only one that gives messages out in order.

        @raise Trouble: C{second-recv}, or the folder is not writable.
        """
        lock = FileLock(self.folder / RECV_LOCK)
        try:
            taken = lock.take()
        except OSError as error:
            raise trouble("profile-unreadable", text=f"the profile cannot be locked: {error.strerror}") from None
        if not taken:
            raise trouble("second-recv")
        return lock

    def connected(
        self, work: Callable[[Any, Uplink], Coroutine[Any, Any, int]], *, again: bool = False, prompt: bool = False
    ) -> int:
        """
        Run a command that needs the server, in the reactor.

        @param again: connect again after a failure, for as long as it takes.
        @param prompt: it uses a prompt of asyncio's.
        @return: its exit status.
        """

        async def whole(reactor: Any) -> int:
            uplink = make_uplink(
                reactor,
                self.folder,
                self.store,
                self.profile,
                (self.host, self.port),
                now=self.now,
                again=again,
                warn=lambda event: report_warning(event, self.settings.as_json),
            )
            # Runs however we end: done, failed or interrupted.
            reactor.addSystemEventTrigger("before", "shutdown", uplink.stop)
            uplink.start()
            status = await work(reactor, uplink)
            await self._see_off(reactor, uplink)
            return status

        return run(whole, debug=self.settings.debug, as_json=self.settings.as_json, prompt=prompt)

    async def _see_off(self, reactor: Any, uplink: Uplink) -> None:
        """
        Let what else is in the outbox go out, as long as it goes; what becomes of it changes nothing for the command.
        """
        end = reactor.seconds() + SEEING_OFF
        left = unsent(self.store)
        while left and uplink.holder is not None and uplink.holder.is_ready and reactor.seconds() < end:
            before = left

            def moved(before: int = before) -> int | None:
                now = unsent(self.store)
                return now if now != before else None

            try:
                found = await uplink.until(moved, STANDSTILL)
            except (Trouble, StorageError):
                return
            if found is None:
                return
            left = found


def unsent(store: IProfileStore) -> int:
    """
    How many rows wait that nothing is known to hold up: drafts, sealed messages, receipts. Those to an identity that the
    user has accepted meanwhile are among them.
    """
    with store.reading() as records:
        receipts = records.count(RECEIPTS, ROWS)
        if not records.count(OUTBOX, ROWS):
            return receipts
        rows = [row for _, row in load_all(records, OutboxRow, OUTBOX, ROWS)]
        held_up = {row.to for row in rows if _waits_for_something(records, row)}
        return sum(1 for row in rows if row.to not in held_up) + receipts


def _waits_for_something(records: IRecords, row: OutboxRow) -> bool:
    """
    Whether its contact or its history says why this row waits.
    """
    contact = get_contact(records, row.to)
    if contact is not None and contact.is_blocked:
        return True
    said = load(records, HistoryRow, HISTORY, bucket_of(row.to), row.history) if row.history else None
    return said is not None and said.code not in ("", "identity-changed")
