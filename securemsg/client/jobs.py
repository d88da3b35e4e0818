"""
What a process without the connection asks of the one that has it: to ping, to fetch, to invite, to say how things stand.

Both lie in the store's table C{META}: the job with a deadline, then its outcome, which the asker takes away. Messages need
none of this: a draft in the outbox is a job of its own.
"""

from __future__ import annotations

import msgspec
from attrs import field, frozen

from securemsg.client.state.profile import Private
from securemsg.client.state.records import META, load, load_all, save
from securemsg.interfaces import IProfileStore

JOBS = b"jobs"
OUTCOMES = b"outcomes"
# An outcome that nobody took away: its asker is gone.
OUTCOME_LIFE = 600


class Job(Private, frozen=True):
    """
    A request. Order: its number.

    @ivar kind: C{drained}, C{ping}, C{fetch}, C{invite}, C{link}.
    @ivar argument: the name to fetch, the lifetime of the invite; mostly empty.
    @ivar deadline: after which nobody waits for it any more.
    """

    kind: str
    argument: str
    deadline: int


class Outcome(Private, frozen=True):
    """
    What came of it. Order: the number of the job.

    @ivar code: empty: done; else why not.
    @ivar facts: names and values, as the kind of job has them.
    """

    code: str
    facts: dict[str, str]
    at: int


@frozen
class PendingJob:
    """A job that is to be run."""

    number: int
    kind: str
    argument: str = field(repr=False)


def request(store: IProfileStore, kind: str, argument: str = "", *, now: float, timeout: float) -> int:
    """
    Ask whoever has the connection.

    @return: the number to ask L{pop_outcome} with.
    """
    with store.writing() as records:
        number = records.last(META, JOBS) + 1
        save(records, META, JOBS, Job(kind, argument, int(now + timeout) + 1), number)
        return number


def pop_outcome(store: IProfileStore, number: int) -> Outcome | None:
    """Take the outcome away, once there is one."""
    with store.reading() as records:
        if records.get(META, OUTCOMES, number) is None:
            return None
    with store.writing() as records:
        outcome = load(records, Outcome, META, OUTCOMES, number)
        records.delete(META, OUTCOMES, number)
        return outcome


def cancel(store: IProfileStore, number: int) -> None:
    """Nobody waits for this one any more."""
    with store.writing() as records:
        records.delete(META, JOBS, number)
        records.delete(META, OUTCOMES, number)


def pending(store: IProfileStore, *, now: float) -> list[PendingJob]:
    """The jobs to be run, oldest first; what nobody waits for any more is cleared away."""
    with store.reading() as records:
        rows = load_all(records, Job, META, JOBS)
        stale = [number for number, job in rows if job.deadline < now]
        unwanted = [seq for seq, outcome in load_all(records, Outcome, META, OUTCOMES) if outcome.at < now - OUTCOME_LIFE]
    if stale or unwanted:
        with store.writing() as records:
            for number in stale:
                records.delete(META, JOBS, number)
            for number in unwanted:
                records.delete(META, OUTCOMES, number)
    return [PendingJob(number, job.kind, job.argument) for number, job in rows if number not in stale]


def finish(store: IProfileStore, number: int, code: str, facts: dict[str, str], *, now: float) -> None:
    """Save the outcome of a job, unless it was cancelled."""
    with store.writing() as records:
        if records.get(META, JOBS, number) is None:
            return
        records.delete(META, JOBS, number)
        outcome = Outcome(code, facts, int(now))
        records.put(META, OUTCOMES, msgspec.msgpack.encode(outcome), number)
