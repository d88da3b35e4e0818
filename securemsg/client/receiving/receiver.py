"""Incoming: saves deliveries, many in one transaction, acknowledges them, and retries the quarantine."""

from __future__ import annotations

from collections import deque
from itertools import islice

from attrs import define, field

from securemsg.client.context import Context
from securemsg.client.events import Changed, Drained
from securemsg.client.receiving import inbox, rooms
from securemsg.client.receiving.inbox import Change, Retry
from securemsg.client.state import contacts
from securemsg.client.state.records import load_totals
from securemsg.errors import RemoteProtocolError
from securemsg.interfaces import IRecords
from securemsg.protocol.messages import Acknowledge, Deliver

# Deliveries that are committed together.
BATCH = 64
# A server that sends more than this without an acknowledgement ignores its own window, and has to wait.
MAX_WAITING = 256
# Warnings that say so of our own list.
DISPUTED = frozenset({"own-list-unknown", "own-list-forked"})


@define(eq=False)
class Receiver:
    """
    The incoming half of an agent.

    @ivar is_drained: everything that waited for this login is committed, and what is in quarantine was tried again.
    @ivar fetches: accounts with a newer device list than ours, and its version.
    @ivar is_own_list_disputed: a contact was shown a device list of ours that we never made.
    """

    _context: Context
    is_drained: bool = field(default=False, init=False)
    fetches: dict[str, int] = field(factory=dict, init=False)
    is_own_list_disputed: bool = field(default=False, init=False)
    _waiting: deque[Deliver] = field(factory=deque, init=False)
    _retries: deque[Retry] = field(factory=deque, init=False)
    _last_tag: int = field(default=0, init=False)
    _was_drained: bool = field(default=False, init=False)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be taken in, and no more is coming at once."""
        return self.is_drained and not self._waiting

    @property
    def is_retrying(self) -> bool:
        """Whether messages in quarantine are to be tried again."""
        return bool(self._retries)

    @property
    def is_busy(self) -> bool:
        """Whether there is anything left to do."""
        return bool(self._waiting or self._retries or self._was_drained > self.is_drained)

    def restart(self) -> None:
        """Start over on a new connection: what was not acknowledged is delivered again."""
        self._waiting.clear()
        self._retries.clear()
        self._last_tag = 0
        self._was_drained = self.is_drained = False
        with self._context.store.reading() as records:
            self._retries.extend(Retry(peer.name) for peer in load_totals(records).peers)

    def delivered(self, delivery: Deliver) -> None:
        """
        Queue a delivery.

        @raise RemoteProtocolError: C{bad-tag}: the server skipped or repeated a tag.
        """
        if delivery.tag != self._last_tag + 1:
            raise RemoteProtocolError("bad-tag")
        self._last_tag = delivery.tag
        self._waiting.append(delivery)
        if len(self._waiting) == MAX_WAITING and self._context.channel is not None:
            self._context.channel.pause(True)

    def drained(self) -> None:
        """Note that everything that waited for this login was delivered."""
        self._was_drained = True

    def take_in(self) -> None:
        """Commit and acknowledge what was delivered; if nothing was, retry some of the quarantine."""
        if self._waiting or self._retries:
            self._commit()
        if self._was_drained and not self._waiting and not self._retries and not self.is_drained:
            self.is_drained = True
            self._context.notify(Drained())

    def maintain_rooms(self) -> None:
        """Do what is due in rooms."""
        context = self._context
        with context.store.reading() as records:
            is_due = rooms.is_due(records)
        if is_due:
            with context.store.writing() as records:
                rooms.maintain(
                    records, context.profile, context.time(), is_drained=self.is_idle, has_rooms=context.has_rooms
                )

    def refresh(self) -> None:
        """Check whether the user has accepted an identity or given a key that opens messages in quarantine."""
        with self._context.store.reading() as records:
            for peer in load_totals(records).peers:
                contact = contacts.get_contact(records, peer.name) if peer.identity else None
                is_queued = any(retry.name == peer.name and not retry.device for retry in self._retries)
                is_settled = contact is not None and contact.identity != peer.identity and not contact.has_changed
                if (is_settled or peer.again) and not is_queued:
                    self._retries.append(Retry(peer.name))

    def _commit(self) -> None:
        """Process a batch of deliveries, or a page of the quarantine, in one transaction."""
        context, now = self._context, self._context.time()
        batch = list(islice(self._waiting, BATCH))
        with context.store.writing() as records:
            if batch:
                changes = [inbox.receive(records, context.profile, delivery, now) for delivery in batch]
            else:
                changes = self._retry(records, now)
            for account in {change.account for change in changes}:
                # Also of what was refused: the device list that it came with may have been adopted.
                context.announce(records, account)
            for change in changes:
                for code in change.warnings:
                    context.warn(records, code, change.account)
        if batch:
            self._acknowledge(batch)
        for change in changes:
            self._apply(change)

    def _acknowledge(self, batch: list[Deliver]) -> None:
        was_full = len(self._waiting) >= MAX_WAITING
        for _ in batch:
            self._waiting.popleft()
        self._context.send(Acknowledge(batch[-1].tag))
        if was_full and len(self._waiting) < MAX_WAITING and self._context.channel is not None:
            self._context.channel.pause(False)

    def _retry(self, records: IRecords, now: int) -> list[Change]:
        wanted = self._retries.popleft()
        changes, following = inbox.retry(records, self._context.profile, wanted, now)
        self._context.announce(records, wanted.name)
        if following is not None:
            self._retries.append(following)
        return changes

    def _apply(self, change: Change) -> None:
        """Report what a committed delivery has changed, and act on it."""
        if change.shown or change.warnings:
            self._context.notify(Changed())
        if change.behind:
            self.fetches[change.account] = change.behind
        self.is_own_list_disputed |= not DISPUTED.isdisjoint(change.warnings)
        if change.began and (retry := Retry(change.account, change.began)) not in self._retries:
            self._retries.append(retry)
