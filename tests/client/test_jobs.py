"""Jobs between processes of one profile."""

from __future__ import annotations

from contextlib import AbstractContextManager

from twisted.trial.unittest import SynchronousTestCase

from securemsg.client import jobs
from securemsg.client.jobs import OUTCOME_LIFE
from securemsg.interfaces import IRecords
from securemsg.storage.memory import MemoryProfile

NOW = 1_800_000_000.0


class JobTests(SynchronousTestCase):
    """Asker and runner over one store."""

    def setUp(self) -> None:
        """A store with nothing in it."""
        self.store = MemoryProfile()

    def test_there_and_back(self) -> None:
        """A job is seen by the runner, its outcome by the asker, and nothing is left of either."""
        number = jobs.request(self.store, "fetch", "bob", seconds=NOW, timeout=30)
        self.assertIsNone(jobs.pop_outcome(self.store, number))
        (job,) = jobs.pending(self.store, clock=lambda: NOW)
        self.assertEqual((job.number, job.kind, job.argument), (number, "fetch", "bob"))
        jobs.finish(self.store, number, "", {"a": "b"}, seconds=NOW)
        self.assertEqual(jobs.pending(self.store, clock=lambda: NOW), [])
        outcome = jobs.pop_outcome(self.store, number)
        assert outcome is not None
        self.assertEqual((outcome.code, outcome.facts), ("", {"a": "b"}))
        self.assertIsNone(jobs.pop_outcome(self.store, number))

    def test_in_order(self) -> None:
        """Jobs are numbered as they come, and a number never comes again."""
        first = jobs.request(self.store, "ping", seconds=NOW, timeout=30)
        jobs.finish(self.store, first, "", {}, seconds=NOW)
        jobs.pop_outcome(self.store, first)
        later = [jobs.request(self.store, "ping", seconds=NOW, timeout=30) for _ in range(3)]
        self.assertEqual([job.number for job in jobs.pending(self.store, clock=lambda: NOW)], later)
        self.assertNotIn(first, later)

    def test_given_up(self) -> None:
        """What the asker gave up is neither run nor answered."""
        number = jobs.request(self.store, "ping", seconds=NOW, timeout=30)
        jobs.cancel(self.store, number)
        self.assertEqual(jobs.pending(self.store, clock=lambda: NOW), [])
        jobs.finish(self.store, number, "", {}, seconds=NOW)
        self.assertIsNone(jobs.pop_outcome(self.store, number))

    def test_asker_died(self) -> None:
        """What nobody waits for any more is cleared away: jobs after their deadline, outcomes after a while."""
        number = jobs.request(self.store, "ping", seconds=NOW, timeout=30)
        self.assertEqual(jobs.pending(self.store, clock=lambda: NOW + 60), [])
        with self.store.reading() as records:
            self.assertEqual(records.scan("meta", jobs.JOBS), [])
        number = jobs.request(self.store, "ping", seconds=NOW, timeout=30)
        jobs.finish(self.store, number, "", {}, seconds=NOW)
        jobs.pending(self.store, clock=lambda: NOW + OUTCOME_LIFE + 1)
        self.assertIsNone(jobs.pop_outcome(self.store, number))

    def test_asked_meanwhile(self) -> None:
        """A job that comes while the runner waits for the store is run, although it is younger than the runner's look."""
        now = NOW
        reading = self.store.reading

        def slow() -> AbstractContextManager[IRecords]:
            nonlocal now
            now += 0.2
            jobs.request(self.store, "link", seconds=now, timeout=5)
            now += 0.1
            return reading()

        self.patch(self.store, "reading", slow)
        self.assertEqual([job.kind for job in jobs.pending(self.store, clock=lambda: now)], ["link"])

    def test_restarted_machine(self) -> None:
        """What was asked before the machine started anew, whose clock began again with that, is run no more."""
        jobs.finish(self.store, jobs.request(self.store, "ping", seconds=NOW, timeout=30), "", {}, seconds=NOW)
        jobs.request(self.store, "remove-device", "ab", seconds=NOW, timeout=30)
        self.assertEqual(jobs.pending(self.store, clock=lambda: 60), [])
        with self.store.reading() as records:
            self.assertEqual(records.scan("meta", jobs.JOBS) + records.scan("meta", jobs.OUTCOMES), [])

    def test_no_secret_shown(self) -> None:
        """An outcome may hold the token of an invite: its representation does not."""
        number = jobs.request(self.store, "invite", seconds=NOW, timeout=30)
        jobs.finish(self.store, number, "", {"token": "secret"}, seconds=NOW)
        self.assertNotIn("secret", repr(jobs.pop_outcome(self.store, number)))
