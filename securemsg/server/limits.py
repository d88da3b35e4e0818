"""The limits of the server that options can change, with their reasons: bounds on memory, disk and rates."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Literal

from attrs import define, field, frozen

from securemsg.protocol.messages import MAX_EXPIRY, MAX_OPEN_INVITES

KIB = 1024
MIB = 1024 * KIB
MINUTE = 60
HOUR = 3600
DAY = 86400

# With less free space than this new deposits are refused: even deleting needs some.
MIN_FREE_SPACE = 64 * MIB
# A checkpoint may copy the write-ahead log into the database while a new one grows.
WAL_FACTOR = 4
# Deposits at once, however many a day there may be.
DEPOSIT_BURST = 200_000
# Claims of one-time prekeys beyond the daily one, for sessions that were lost.
CLAIM_RESERVE = 2
# How often free space is measured, seconds.
DISK_SAMPLE = 1


@frozen
class Rate:
    """A rate limit: C{burst} times at once, then once every C{seconds}."""

    burst: int
    seconds: float


@frozen
class Settings:
    """
    Everything that an operator or a test may set.

    @ivar host: with C{port} and C{udp_port}, the address in invites; 0: no UDP.
    @ivar registration: who may register: holders of a token, everybody, or only those whom the operator has invited.
    @ivar users_invite: whether users may issue tokens.
    @ivar max_clients: how many devices may be logged in at once.
    """

    host: str = "127.0.0.1"
    port: int = 8443
    udp_port: int = 0
    registration: Literal["invite", "open", "closed"] = "invite"
    users_invite: bool = True
    max_clients: int = 1000

    # From one address: half of the 2,064 connections that 1000 clients may have open, so that all who are logged in may be
    # behind one address, and no address keeps out the others; 0: any number.
    max_address_connections: int = 1032
    # Connections made from one address, counted before the handshake, which costs some 2 ms; C{None}: any number. An office may
    # come all at once.
    address_connections: Rate | None = Rate(1000, 0.06)
    # Logins from one address that fail. Beyond this no login from there is checked.
    address_failed_logins: Rate | None = Rate(1000, 3.6)
    # Registrations from one address: a class or an office joins within an hour.
    address_registrations: Rate | None = Rate(500, 7.2)

    # The quota of one mailbox: a device that never comes back must not fill the disk.
    mailbox_messages: int = 100_000
    mailbox_size: int = 256 * MIB
    # The longest expiry, as published in the protocol.
    max_expiry: int = MAX_EXPIRY
    # How long deposit ids are kept to recognise repetitions: longer than any outbox keeps a message.
    forget_after: int = 60 * DAY

    # Delivered and not acknowledged, for each connection: a slow reader costs rows in the store, not memory.
    window_frames: int = 64
    window_size: int = 256 * KIB
    # Unanswered deposits of one connection. It is not read from while there are this many.
    max_unanswered: int = 1024
    # Bytes that wait to be written to one connection. Commands are short and answers long: beyond this, further commands wait.
    max_queued: int = 256 * KIB
    # Bytes of all deposits that are held or being committed: above the first the depositors are not read from, above the second
    # their deposits are refused.
    crowded_size: int = 32 * MIB
    max_pending_size: int = 64 * MIB
    # Short invites at one time: each is a hundred bytes or so, and an account has one.
    max_short_invites: int = 1000
    # Accounts in one answer to the operator: far smaller than the largest frame.
    accounts_page: int = 500
    # Accounts kept in memory besides those that are pinned.
    cached_accounts: int = 10_000
    # Likewise rooms. A row in memory takes some 400 bytes.
    cached_rooms: int = 10_000

    # Unclaimed one-time prekeys of one kind for one device: two full uploads more than a client keeps on the server.
    max_prekeys: int = 300
    # How many registrations a user's token may admit, and for how long. An operator's may admit any number.
    user_invite_uses: int = 16
    # How many inviters may stand in a row, behind whom the operator invited; 0: any number.
    user_invite_depth: int = 0
    # Good tokens that one account may have out.
    user_open_invites: int = MAX_OPEN_INVITES
    user_invite_lifetime: int = 30 * DAY

    # All rates that somebody uses up are counted by account: a device costs nothing, so a new one must not begin them anew.
    # Logins that have proved the device's key: each replaces a connection, is written, and begins the delivery anew. A script
    # that runs five commands a second is no nuisance.
    logins: Rate = Rate(300, 0.2)
    # Lookups in the directory; a refused deposit that is answered with device lists counts as one.
    requests: Rate = Rate(600, 0.1)
    # Deposits. Each that is written (not acknowledged within some 20 ms, or missed by a mailbox) leaves a row of about 120
    # bytes for 60 days, however soon it is delivered then, and less than that for each mailbox that was full, which counts as
    # one more: so an account can make the database grow by 25 MB at once and then by 40 MB a day, besides what waits in
    # mailboxes. The disk guard keeps the rest.
    deposits: Rate = Rate(DEPOSIT_BURST, 0.25)
    # Of these, deposits for the contact C{server}, which takes a few milliseconds for each and has one mailbox for everybody:
    # so an account keeps the others waiting for a second or two, and fills no more than a part of that mailbox.
    contact_deposits: Rate = Rate(500, 0.1)
    # Rooms that are made. Each leaves a row of about 120 bytes for good: an account makes the database grow by 17 kB a day.
    rooms: Rate = Rate(30, 600)
    # Steps of rooms, refused ones included. Each has everybody in the room begin again with what was on its way: so nobody can
    # keep a room from its messages, and an admin can still add everybody one by one.
    room_steps: Rate = Rate(120, 10)
    # Uploads of prekeys, enough for ten devices at once: each has up to a hundred signatures to check.
    uploads: Rate = Rate(30, 20)
    # Claims beyond these get the last-resort bundle. Of one device's prekeys by all devices of one account: one a day, and
    # L{CLAIM_RESERVE} more at once, because only the client knows that a session was lost, or that a device is new. One account
    # so never uses up the 50 prekeys that a client keeps here.
    claims_between: Rate = Rate(1 + CLAIM_RESERVE, DAY)
    # Of one device's prekeys by everybody: many accounts together do not use up 50 in a day either. A device that is connected
    # is told, and uploads more. A smaller limit would not be better, because it would refuse honest users too.
    claims_of: Rate = Rate(20, 3600)
    # A device with fewer one-time prekeys of a kind than this is told so.
    low_stock: int = 20
    # Registrations with one valid token, or of everybody where none is needed. Each costs a commit. An invalid token is refused
    # before it is counted, and so keeps nobody out.
    registrations: Rate = Rate(2000, 0.05)
    # Failed registrations of everybody, and likewise numbers of short invites that there are not. Beyond this rate those that
    # fail, and no others, are told to try again later.
    failures: Rate = Rate(1000, 0.1)
    # Accounts, or pairs of account and device, that one rate limit remembers.
    rate_keys: int = 20_000

    # No account may hold more than half of the connections, and no tree of inviters more than three quarters.
    @property
    def account_limit(self) -> int:
        """How many connections one account may have at once; at least one."""
        return max(1, self.max_clients // 2)

    @property
    def tree_limit(self) -> int:
        """How many connections an account may have together with all whom it invited, directly or indirectly; at least one."""
        return max(1, self.max_clients * 3 // 4)


@define(eq=False)
class Buckets:
    """
    A token bucket for each key. The table is bounded: the key that was not used for longest is dropped, and starts with a full
    bucket again.
    """

    _rate: Rate
    _seconds: Callable[[], float]
    _capacity: int
    # By key: how many tokens there were, and when.
    _levels: OrderedDict[Hashable, list[float]] = field(init=False, factory=OrderedDict)
    _last: Hashable = field(init=False, default=None)

    def consume(self, key: Hashable, count: int = 1) -> bool:
        """Consume tokens; C{False}: there are not that many, and none was consumed."""
        now, rate, levels = self._seconds(), self._rate, self._levels
        entry = levels.get(key)
        if entry is None:
            entry = levels[key] = [float(rate.burst), now]
            if len(levels) > self._capacity:
                levels.popitem(last=False)
        elif key != self._last:
            levels.move_to_end(key)
        self._last = key
        level = entry[0] + (now - entry[1]) / rate.seconds
        if level > rate.burst:
            level = float(rate.burst)
        taken = level >= count
        entry[0], entry[1] = level - count if taken else level, now
        return taken

    def has_room(self, key: Hashable) -> bool:
        """Whether there is a token to consume."""
        return self.consume(key, 0) and self._levels[key][0] >= 1

    def __len__(self) -> int:
        """The number of keys in the table."""
        return len(self._levels)


@define(eq=False)
class DiskGuard:
    """Watches the free disk space, which it measures at most once in L{DISK_SAMPLE} seconds."""

    _free_space: Callable[[], int]
    _wal_size: Callable[[], int]
    _seconds: Callable[[], float]
    _sampled_at: float = field(init=False, default=float("-inf"))
    _room: bool = field(init=False, default=True)

    def has_room(self) -> bool:
        """Whether there is room to store something new."""
        now = self._seconds()
        if now - self._sampled_at >= DISK_SAMPLE:
            self._sampled_at = now
            self._room = self._free_space() >= max(MIN_FREE_SPACE, WAL_FACTOR * self._wal_size())
        return self._room
