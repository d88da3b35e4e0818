"""
Jobs that a process leaves to the process that owns the connection: ping, fetch, invites, changes of our device list, and
questions about the connection.

Both lie in the store's table C{META}: the job with a timeout, then its outcome, which the asking process removes. Messages
need no job: the owner sends every draft in the outbox.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from attrs import field, frozen

from securemsg.client.state.profile import Private
from securemsg.client.state.records import META, load, load_all, save
from securemsg.interfaces import IProfileStore

JOBS = b"jobs"
OUTCOMES = b"outcomes"
# Seconds after which an outcome is deleted that nobody collected: the process that asked is gone.
OUTCOME_LIFE = 600


class Job(Private, frozen=True):
    """
    A request. Order: its number.

    @ivar kind: C{drained}, C{ping}, C{fetch}, C{invite}, C{short-invite}, C{link}, C{accept-device}, C{remove-device},
        C{publish-key}, C{send-now}.
    @ivar argument: the name to fetch, the lifetime of the invite, the words of a short one and the invite, the id of the device
        in hex; mostly empty.
    @ivar asked_at: on the monotonic clock of this machine, which a restart of it begins anew.
    @ivar timeout: seconds after which the process that asked stops waiting.
    """

    kind: str
    argument: str
    asked_at: float
    timeout: float


class Outcome(Private, frozen=True):
    """
    The outcome of a job. Order: the number of the job.

    @ivar code: why it failed; empty: it is done.
    @ivar facts: names and values; which ones depends on the kind of job.
    """

    code: str
    facts: dict[str, str]
    at: float


@frozen
class PendingJob:
    """A job to be run."""

    number: int
    kind: str
    argument: str = field(repr=False)


def request(store: IProfileStore, kind: str, argument: str = "", *, seconds: float, timeout: float) -> int:
    """
    Leave a job to the owner of the connection.

    @return: the number to ask L{pop_outcome} with.
    """
    with store.writing() as records:
        number = records.last(META, JOBS) + 1
        save(records, META, JOBS, Job(kind, argument, seconds, timeout), number)
        return number


def pop_outcome(store: IProfileStore, number: int) -> Outcome | None:
    """Return and delete the outcome, once there is one."""
    with store.reading() as records:
        if records.get(META, OUTCOMES, number) is None:
            return None
    with store.writing() as records:
        outcome = load(records, Outcome, META, OUTCOMES, number)
        records.delete(META, OUTCOMES, number)
        return outcome


def cancel(store: IProfileStore, number: int) -> None:
    """Delete a job that nobody waits for any more."""
    with store.writing() as records:
        records.delete(META, JOBS, number)
        records.delete(META, OUTCOMES, number)


def pending(store: IProfileStore, *, clock: Callable[[], float]) -> list[PendingJob]:
    """
    The jobs to be run, oldest first. Jobs and outcomes that nobody waits for are deleted.

    @param clock: gives the seconds now. It is asked once the rows are here: opening the store may have taken a while, in which
        another process asked.
    """
    with store.reading() as records:
        rows = load_all(records, Job, META, JOBS)
        outcomes = load_all(records, Outcome, META, OUTCOMES)
        seconds = clock()
    stale = [number for number, job in rows if not 0 <= seconds - job.asked_at <= job.timeout]
    unwanted = [number for number, outcome in outcomes if not 0 <= seconds - outcome.at <= OUTCOME_LIFE]
    if stale or unwanted:
        with store.writing() as records:
            for number in stale:
                records.delete(META, JOBS, number)
            for number in unwanted:
                records.delete(META, OUTCOMES, number)
    return [PendingJob(number, job.kind, job.argument) for number, job in rows if number not in stale]


def finish(store: IProfileStore, number: int, code: str, facts: dict[str, str], *, seconds: float) -> None:
    """Save the outcome of a job, unless it was cancelled."""
    with store.writing() as records:
        if records.get(META, JOBS, number) is None:
            return
        records.delete(META, JOBS, number)
        outcome = Outcome(code, facts, seconds)
        records.put(META, OUTCOMES, msgspec.msgpack.encode(outcome), number)
