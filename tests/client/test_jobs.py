"""Errands between processes of one profile."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from securemsg.client import jobs
from securemsg.client.jobs import OUTCOME_LIFE
from securemsg.storage.memory import MemoryProfile

NOW = 1_800_000_000.0


class ErrandTests(SynchronousTestCase):
    """Asker and runner over one store."""

    def setUp(self) -> None:
        """A store with nothing in it."""
        self.store = MemoryProfile()

    def test_there_and_back(self) -> None:
        """An errand is seen by the runner, its outcome by the asker, and nothing is left of either."""
        number = jobs.leave(self.store, "fetch", "bob", now=NOW, timeout=30)
        self.assertIsNone(jobs.collect(self.store, number))
        (job,) = jobs.waiting(self.store, now=NOW)
        self.assertEqual((job.number, job.kind, job.argument), (number, "fetch", "bob"))
        jobs.settle(self.store, number, "", {"a": "b"}, now=NOW)
        self.assertEqual(jobs.waiting(self.store, now=NOW), [])
        outcome = jobs.collect(self.store, number)
        assert outcome is not None
        self.assertEqual((outcome.code, outcome.facts), ("", {"a": "b"}))
        self.assertIsNone(jobs.collect(self.store, number))

    def test_in_order(self) -> None:
        """Errands are numbered as they come, and a number never comes again."""
        first = jobs.leave(self.store, "ping", now=NOW, timeout=30)
        jobs.settle(self.store, first, "", {}, now=NOW)
        jobs.collect(self.store, first)
        later = [jobs.leave(self.store, "ping", now=NOW, timeout=30) for _ in range(3)]
        self.assertEqual([job.number for job in jobs.waiting(self.store, now=NOW)], later)
        self.assertNotIn(first, later)

    def test_given_up(self) -> None:
        """What the asker gave up is neither run nor answered."""
        number = jobs.leave(self.store, "ping", now=NOW, timeout=30)
        jobs.give_up(self.store, number)
        self.assertEqual(jobs.waiting(self.store, now=NOW), [])
        jobs.settle(self.store, number, "", {}, now=NOW)
        self.assertIsNone(jobs.collect(self.store, number))

    def test_asker_died(self) -> None:
        """What nobody waits for any more is cleared away: errands after their deadline, outcomes after a while."""
        number = jobs.leave(self.store, "ping", now=NOW, timeout=30)
        self.assertEqual(jobs.waiting(self.store, now=NOW + 60), [])
        with self.store.reading() as records:
            self.assertEqual(records.scan("meta", jobs.JOBS), [])
        number = jobs.leave(self.store, "ping", now=NOW, timeout=30)
        jobs.settle(self.store, number, "", {}, now=NOW)
        jobs.waiting(self.store, now=NOW + OUTCOME_LIFE + 1)
        self.assertIsNone(jobs.collect(self.store, number))

    def test_no_secret_shown(self) -> None:
        """An outcome may hold the token of an invite: its representation does not."""
        number = jobs.leave(self.store, "invite", now=NOW, timeout=30)
        jobs.settle(self.store, number, "", {"token": "secret"}, now=NOW)
        self.assertNotIn("secret", repr(jobs.collect(self.store, number)))
