"""
The stores in memory, for tests: the same promises as SQLite's, with a crash at hand.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, execute, succeed
from zope.interface import implementer

from securemsg.interfaces import (
    AccountSummary,
    IServerStore,
    NewAccount,
    StoredAccount,
    StoredBundle,
    StoredMessage,
    StoredPrekey,
    StoredStock,
    WriteBatch,
    WriteOutcome,
)
from securemsg.storage.tables import Tables

T = TypeVar("T")


@implementer(IServerStore)
@define(eq=False)
class MemoryServerStore:
    """
    The server's store in dicts.

    Everything is done at once, unless C{manual} is set: then written batches, and whatever is asked behind them, are held back
    until L{flush}, as a commit that takes its time would.
    """

    _manual: bool = False
    _tables: Tables = field(factory=Tables, repr=False)
    _held: deque[Callable[[], object]] = field(factory=deque, repr=False, init=False)

    @property
    def held(self) -> int:
        """
        How many operations wait for L{flush}.
        """
        return len(self._held)

    def flush(self) -> None:
        """
        Do everything that was held back when this was called, in order.
        """
        for _ in range(len(self._held)):
            if self._held:  # a callback may have crashed the store
                self._held.popleft()()

    def crash(self) -> MemoryServerStore:
        """
        Lose what was not committed. Nobody will ever hear of it.

        @return: the store as the next process finds it.
        """
        self._held.clear()
        return MemoryServerStore(self._manual, copy.deepcopy(self._tables))

    def close(self) -> Deferred[None]:
        """
        Do what is held back.
        """
        self.flush()
        return succeed(None)

    def wal_size(self) -> int:
        """
        Bytes of the log that were not moved into the database: here always none.
        """
        return 0

    def _in_turn(self, work: Callable[[], T]) -> Deferred[T]:
        """
        Do something now, or once everything before it is done.
        """
        if not self._held:
            return execute(work)
        result: Deferred[T] = Deferred()
        self._held.append(lambda: execute(work).chainDeferred(result))
        return result

    def load_account(self, name: str) -> Deferred[StoredAccount | None]:
        """
        See L{securemsg.interfaces.IDirectoryStore.load_account}.
        """
        return self._in_turn(lambda: self._tables.load_account(name))

    def register(self, account: NewAccount) -> Deferred[None]:
        """
        See L{securemsg.interfaces.IDirectoryStore.register}.
        """
        return self._in_turn(lambda: self._tables.register(account))

    def publish(
        self, name: str, version: int, body: bytes, signature: bytes, devices: tuple[tuple[bytes, bytes], ...]
    ) -> Deferred[None]:
        """
        See L{securemsg.interfaces.IDirectoryStore.publish}.
        """
        return self._in_turn(lambda: self._tables.publish(name, version, body, signature, devices))

    def remove_account(self, name: str) -> Deferred[None]:
        """
        See L{securemsg.interfaces.IDirectoryStore.remove_account}.
        """
        return self._in_turn(lambda: self._tables.remove_account(name))

    def list_accounts(self, after: str, limit: int) -> Deferred[list[AccountSummary]]:
        """
        See L{securemsg.interfaces.IDirectoryStore.list_accounts}.
        """
        return self._in_turn(lambda: self._tables.list_accounts(after, limit))

    def add_token(self, digest: bytes, uses: int, expires_at: int, creator: str) -> Deferred[None]:
        """
        See L{securemsg.interfaces.ITokenStore.add_token}.
        """
        return self._in_turn(lambda: self._tables.add_token(digest, uses, expires_at, creator))

    def add_prekeys(
        self,
        mailbox: int,
        signed: StoredPrekey | None,
        last_resort: StoredPrekey | None,
        one_time: tuple[StoredPrekey, ...],
        kem: tuple[StoredPrekey, ...],
        limit: int,
        replace: bool,
    ) -> Deferred[None]:
        """
        See L{securemsg.interfaces.IPrekeyStore.add_prekeys}.
        """
        return self._in_turn(lambda: self._tables.add_prekeys(mailbox, signed, last_resort, one_time, kem, limit, replace))

    def claim(self, mailbox: int, requester: int, now: int, fresh: bool, spent: int) -> Deferred[StoredBundle | None]:
        """
        See L{securemsg.interfaces.IPrekeyStore.claim}.
        """
        return self._in_turn(lambda: self._tables.claim(mailbox, requester, now, fresh, spent))

    def stock(self, mailbox: int) -> Deferred[StoredStock]:
        """
        See L{securemsg.interfaces.IPrekeyStore.stock}.
        """
        return self._in_turn(lambda: self._tables.stock(mailbox))

    def write(self, batch: WriteBatch, done: Callable[[WriteOutcome], None]) -> None:
        """
        See L{securemsg.interfaces.IMailboxStore.write}.
        """
        if self._manual:
            self._held.append(lambda: done(self._tables.write(batch)))
        else:
            done(self._tables.write(batch))

    def page(self, mailbox: int, after: int, limit: int, size: int, now: int) -> Deferred[list[StoredMessage]]:
        """
        See L{securemsg.interfaces.IMailboxStore.page}.
        """
        return self._in_turn(lambda: self._tables.page(mailbox, after, limit, size, now))

    def find_deposit(self, sender: int, deposit_id: bytes) -> Deferred[bytes | None]:
        """
        See L{securemsg.interfaces.IMailboxStore.find_deposit}.
        """
        return self._in_turn(lambda: self._tables.find_deposit(sender, deposit_id))

    def expire(self, now: int, forget_before: int, limit: int) -> Deferred[dict[int, tuple[int, int]]]:
        """
        See L{securemsg.interfaces.IMailboxStore.expire}.
        """
        return self._in_turn(lambda: self._tables.expire(now, forget_before, limit))
