"""Incoming: deliveries are taken in, many in one transaction, and acknowledged; what could not be opened is tried again."""

from __future__ import annotations

from collections import deque

from attrs import define, field

from securemsg.client.context import Context
from securemsg.client.events import Changed, Drained
from securemsg.client.receiving import inbox
from securemsg.client.receiving.inbox import Taken
from securemsg.client.state import contacts
from securemsg.client.state.records import load_totals
from securemsg.errors import RemoteProtocolError
from securemsg.protocol.messages import Acknowledge, Deliver

# Deliveries that are committed together.
BATCH = 64
# A server that sends more than this without an acknowledgement does not keep its own window: it has to wait.
MAX_WAITING = 256


@define(eq=False)
class Receiver:
    """
    The incoming half of an agent.

    @ivar is_drained: everything that waited for this login is committed.
    @ivar fetches: accounts whose newer lists were mentioned, with the version.
    """

    _context: Context
    is_drained: bool = field(default=False, init=False)
    fetches: dict[str, int] = field(factory=dict, init=False)
    _waiting: deque[Deliver] = field(factory=deque, init=False)
    _retries: deque[tuple[str, int]] = field(factory=deque, init=False)
    _last_tag: int = field(default=0, init=False)
    _was_drained: bool = field(default=False, init=False)

    @property
    def is_idle(self) -> bool:
        """Is there nothing to take in, and nothing more to come at once?"""
        return self.is_drained and not self._waiting

    @property
    def is_busy(self) -> bool:
        """Is there anything left to do?"""
        return bool(self._waiting or self._retries or self._was_drained > self.is_drained)

    def restart(self) -> None:
        """A new connection: whatever was not acknowledged comes again."""
        self._waiting.clear()
        self._retries.clear()
        self._last_tag = 0
        self._was_drained = self.is_drained = False
        with self._context.store.reading() as records:
            self._retries.extend((peer.name, -1) for peer in load_totals(records).peers)

    def delivered(self, delivery: Deliver) -> None:
        """
        A message came.

        @raise RemoteProtocolError: C{bad-tag}: the server does not count.
        """
        if delivery.tag != self._last_tag + 1:
            raise RemoteProtocolError("bad-tag")
        self._last_tag = delivery.tag
        self._waiting.append(delivery)
        if len(self._waiting) == MAX_WAITING and self._context.channel is not None:
            self._context.channel.pause(True)

    def drained(self) -> None:
        """What comes from now on was sent after the login."""
        self._was_drained = True

    def step(self) -> None:
        """Take in what came, or try some of the quarantine again."""
        if self._waiting:
            self._take()
        elif self._retries:
            self._retry()
        if self._was_drained and not self._waiting and not self.is_drained:
            self.is_drained = True
            self._context.tell(Drained())

    def look(self) -> None:
        """See whether the user has accepted an identity under which messages lie in quarantine, or gave a key for them."""
        with self._context.store.reading() as records:
            for peer in load_totals(records).peers:
                contact = contacts.get_contact(records, peer.name) if peer.identity else None
                is_queued = any(name == peer.name for name, _ in self._retries)
                is_settled = contact is not None and contact.identity != peer.identity and not contact.is_blocked
                if (is_settled or peer.again) and not is_queued:
                    self._retries.append((peer.name, -1))

    def _take(self) -> None:
        """Commit a batch, then acknowledge it."""
        context = self._context
        was_full = len(self._waiting) >= MAX_WAITING
        batch = [self._waiting[index] for index in range(min(BATCH, len(self._waiting)))]
        now = context.time()
        with context.store.writing() as records:
            results = [inbox.take(records, context.profile, delivery, now) for delivery in batch]
            for taken in results:
                for code in taken.warnings:
                    context.warn(records, code, taken.account)
        for _ in batch:
            self._waiting.popleft()
        context.send(Acknowledge(batch[-1].tag))
        if was_full and len(self._waiting) < MAX_WAITING and context.channel is not None:
            context.channel.pause(False)
        self._follow(results)

    def _retry(self) -> None:
        """Try a page of the quarantine again."""
        context = self._context
        name, after = self._retries.popleft()
        with context.store.writing() as records:
            results, following = inbox.retry(records, context.profile, name, after, context.time())
            for taken in results:
                for code in taken.warnings:
                    context.warn(records, code, taken.account)
        if following is not None:
            self._retries.append((name, following))
        self._follow(results)

    def _follow(self, results: list[Taken]) -> None:
        """See to what follows from deliveries that are committed."""
        for taken in results:
            if taken.shown or taken.warnings:
                self._context.tell(Changed())
            if taken.behind:
                self.fetches[taken.account] = taken.behind
            if taken.began and (taken.account, -1) not in self._retries:
                self._retries.append((taken.account, -1))
