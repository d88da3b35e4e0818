"""What the load is asked to do, and what it answers: JSON between two processes."""

from __future__ import annotations

from msgspec import Struct

# Which accounts serve for what: those that only log in, those who write to absent ones while others are measured, those of the
# mailboxes, of one long mailbox, and of the nuisances. From the last number on come those who talk.
LOGINS, ASIDE, MAILBOXES, QUEUE, NUISANCES, TALKERS = 0, 100, 300, 400, 500, 600
LOGIN_ACCOUNTS = 100


class Phase(Struct, frozen=True):
    """
    Some seconds of load on connections that are there.

    @ivar window: messages in flight on each pair; 0: C{rate} messages a second are due, over all pairs in turn.
    """

    seconds: float
    window: int = 0
    rate: float = 0


class Job(Struct, frozen=True):
    """
    One measurement.

    @ivar speaks: which protocol; see L{bench.load.SPOKEN}.
    @ivar kind: C{talk}, C{logins}, C{idle}, C{store} or C{drain}.
    @ivar base: number of the first account.
    @ivar pairs: that talk; of C{store}, senders; of C{drain}, recipients; of C{idle}, connections.
    @ivar recipients: of C{store}: how many mailboxes they write to.
    @ivar each: messages for each recipient, of C{store} and C{drain}.
    @ivar aside: so many messages a second are stored for absent recipients meanwhile, by C{pairs} others at C{aside_base}.
    """

    speaks: str
    kind: str
    port: int
    pid: int
    size: str = "text"
    base: int = 0
    pairs: int = 0
    phases: tuple[Phase, ...] = ()
    recipients: int = 0
    each: int = 0
    aside: float = 0
    aside_base: int = 0
    seconds: float = 0


class Reading(Struct, frozen=True):
    """
    What was seen.

    @ivar cost: server CPU a message, or a login, microseconds; of C{idle}: memory a connection, kB.
    @ivar rate: messages a second, or logins.
    @ivar busy: share of its core that the load used: near 1 it is the bottleneck.
    @ivar others: what else the machine did, of one core.
    @ivar p50: delay, milliseconds.
    """

    cost: float
    rate: float = 0
    busy: float = 0
    others: float = 0
    p50: float = 0
    p99: float = 0
