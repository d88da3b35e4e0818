"""What the server allows, and to whom how often. Every bound on memory and disk stands here, with its reason."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Literal

from attrs import define, field, frozen

KIB = 1024
MIB = 1024 * KIB
DAY = 86400

# Below this much free space nothing new is taken: even deleting needs some.
MIN_FREE_SPACE = 64 * MIB
# A checkpoint may copy the write-ahead log into the database while a new one grows.
WAL_FACTOR = 4
# How often, in seconds, the disk is asked.
DISK_SAMPLE = 1


@frozen
class Rate:
    """How often something may be done: C{burst} times at once, then once in C{seconds}."""

    burst: int
    seconds: float


@frozen
class Settings:
    """
    Everything an operator or a test may set.

    @ivar host: what invites name, with C{port}.
    @ivar registration: who may register: holders of a token, everybody, nobody.
    @ivar users_invite: whether devices may issue tokens.
    @ivar max_clients: devices that may be logged in at once.
    """

    host: str = "127.0.0.1"
    port: int = 8443
    registration: Literal["invite", "open", "closed"] = "invite"
    users_invite: bool = True
    max_clients: int = 1000

    # What waits for one device. Beyond it the mailbox is full, for a device that never comes back must not fill the disk.
    mailbox_messages: int = 100_000
    mailbox_size: int = 256 * MIB
    # How long anything waits, as published in the protocol.
    max_expiry: int = 30 * DAY
    # Rows that recognise repetitions outlive every outbox.
    forget_after: int = 60 * DAY

    # What is delivered and not acknowledged, a connection: a slow reader costs rows, not memory.
    window_frames: int = 64
    window_size: int = 256 * KIB
    # Deposits of one connection that are not answered. It is not read from while there are so many.
    max_unanswered: int = 1024
    # What one connection sent behind a command that still runs. It is not read from meanwhile, so this is one read at most;
    # whoever fits more commands into it has none to ask.
    max_backlog: int = 4096
    # What we have said to one caller and its transport has not taken. Commands are short and answers long: beyond this what it
    # asked waits in that backlog, and it is not read from.
    max_queued: int = 256 * KIB
    # Deposits of all connections that wait for a commit: depositors are not read from above the first, and refused above
    # the second.
    crowded_size: int = 32 * MIB
    max_pending_size: int = 64 * MIB
    # Accounts in one answer to the operator: far below the largest frame.
    accounts_page: int = 500
    # Accounts kept in memory besides those that are connected or have something on its way.
    cached_accounts: int = 10_000

    # Unclaimed one-time prekeys of one kind and device: two full uploads above what a client keeps there.
    max_prekeys: int = 300
    # Registrations that one token of a user may admit, and for how long: users invite friends, operators invite fleets.
    user_invite_uses: int = 16
    user_invite_lifetime: int = 30 * DAY

    # Questions to the directory, a device; refusals of deposits that bring lists are answers of the same kind.
    requests: Rate = Rate(600, 0.1)
    # Deposits that are taken, a device. Each leaves a row of about 120 bytes for 60 days, however soon it is delivered, and
    # less than that for each mailbox that missed it, which counts as one more: so a device can make the database grow by
    # 25 MB at once and then by 40 MB a day, besides what waits in mailboxes. The disk guard keeps the rest.
    deposits: Rate = Rate(200_000, 0.25)
    # Up to a hundred signatures are checked in each upload.
    uploads: Rate = Rate(30, 20)
    # Beyond these a claim gets the last-resort bundle. Of one device, by all devices of one account: a session that has to be
    # begun anew now and then, and no more, so that no account can use up the 50 prekeys a client keeps here.
    claims_between: Rate = Rate(3, DAY / 3)
    # Of one device, by everybody: many accounts together do not use up 50 in a day either. A device that is connected is told,
    # and uploads more. Smaller would not be better: what is refused here is refused to honest askers too.
    claims_of: Rate = Rate(20, 3600)
    # Whoever has fewer one-time prekeys of a kind than this is told so.
    low_stock: int = 20
    # Registrations with one token that is good; where none is needed, of everybody. Each costs a commit. Who has no good token
    # does not get as far as this, and so keeps nobody out.
    registrations: Rate = Rate(2000, 0.05)
    # Registrations that failed, of everybody. Beyond it those that fail, and no others, are told to come later.
    failures: Rate = Rate(1000, 0.1)
    # Devices, or pairs of account and device, that one of these remembers.
    rated: int = 20_000


@define
class Buckets:
    """
    A bucket of tokens for each key, refilled by time. The table is bounded: who was not heard of for longest is forgotten,
    and begins with a full bucket again.
    """

    _rate: Rate
    _now: Callable[[], float]
    _capacity: int
    _levels: OrderedDict[Hashable, tuple[float, float]] = field(init=False, factory=OrderedDict)

    def take(self, key: Hashable, count: int = 1) -> bool:
        """Take tokens; C{False}: there are not so many, and none is taken."""
        now = self._now()
        level, then = self._levels.pop(key, (float(self._rate.burst), now))
        # A clock that was set back refills nothing, and takes nothing away.
        level = min(float(self._rate.burst), level + max(0.0, now - then) / self._rate.seconds)
        taken = level >= count
        self._levels[key] = (level - count if taken else level, now)
        if len(self._levels) > self._capacity:
            self._levels.popitem(last=False)
        return taken

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._levels)


@define
class DiskGuard:
    """Is there room for more? Asks at most once in L{DISK_SAMPLE} seconds."""

    _free_space: Callable[[], int]
    _wal_size: Callable[[], int]
    _now: Callable[[], float]
    _sampled_at: float = field(init=False, default=float("-inf"))
    _room: bool = field(init=False, default=True)

    def has_room(self) -> bool:
        """Whether something new may be stored."""
        now = self._now()
        if abs(now - self._sampled_at) >= DISK_SAMPLE:
            self._sampled_at = now
            self._room = self._free_space() >= max(MIN_FREE_SPACE, WAL_FACTOR * self._wal_size())
        return self._room
