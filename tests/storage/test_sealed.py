"""What every profile promises, on disk and in memory."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from securemsg.client.state.vault import Vault
from securemsg.errors import LocalProtocolError
from securemsg.interfaces import IProfileStore, IRecords
from securemsg.storage.memory import MemoryProfile
from securemsg.storage.profile import create_profile
from securemsg.storage.sealed import CACHED


class Accident(Exception):
    """Something that goes wrong within a transaction."""


class ProfileContract(SynchronousTestCase):
    """The promises of L{IProfileStore} and L{IRecords}."""

    __test__ = False

    def setUp(self) -> None:
        """A fresh profile."""
        self.store = self.make()
        self.addCleanup(self.store.close)

    def make(self) -> IProfileStore:
        """The profile that is put to the test."""
        raise NotImplementedError

    def put(self, *rows: tuple[str, bytes, int, bytes]) -> None:
        """Commit records, each (table, bucket, order, value)."""
        with self.store.writing() as records:
            for table, bucket, order, value in rows:
                records.put(table, bucket, value, order)

    def test_interfaces(self) -> None:
        """Store and records offer what their interfaces say."""
        verifyObject(IProfileStore, self.store)
        with self.store.reading() as records:
            verifyObject(IRecords, records)

    def test_absent(self) -> None:
        """Where nothing was written there is nothing."""
        with self.store.reading() as records:
            self.assertIsNone(records.get("history", b"bob"))
            self.assertEqual(records.scan("history"), [])
            self.assertEqual(records.last("history", b"bob"), 0)
            self.assertEqual(records.count("history", b"bob"), 0)

    def test_written(self) -> None:
        """A record is found again by table, bucket and order, and by nothing else."""
        self.put(("history", b"bob", 1, b"hello"))
        with self.store.reading() as records:
            self.assertEqual(records.get("history", b"bob", 1), b"hello")
            self.assertIsNone(records.get("history", b"bob"))
            self.assertIsNone(records.get("history", b"carol", 1))
            self.assertIsNone(records.get("outbox", b"bob", 1))

    def test_empty_names(self) -> None:
        """Empty buckets and empty values are as good as any."""
        self.put(("meta", b"", 0, b""))
        with self.store.reading() as records:
            self.assertEqual(records.get("meta", b""), b"")
            self.assertEqual(records.scan("meta"), [(b"", 0, b"")])

    def test_overwritten(self) -> None:
        """The last value counts."""
        self.put(("meta", b"k", 0, b"old"), ("meta", b"k", 0, b"new"))
        with self.store.reading() as records:
            self.assertEqual(records.get("meta", b"k"), b"new")
            self.assertEqual(len(records.scan("meta")), 1)

    def test_deleted(self) -> None:
        """A deleted record is gone; deleting what is not there is no error."""
        self.put(("meta", b"k", 1, b"one"), ("meta", b"k", 2, b"two"))
        with self.store.writing() as records:
            records.delete("meta", b"k", 1)
            records.delete("meta", b"k", 7)
        with self.store.reading() as records:
            self.assertEqual(records.scan("meta", b"k"), [(b"k", 2, b"two")])

    def test_counted(self) -> None:
        """The records of a bucket are counted, and no others."""
        self.put(("meta", b"k", 1, b"one"), ("meta", b"k", 2, b"two"), ("meta", b"l", 3, b""), ("outbox", b"k", 4, b""))
        with self.store.writing() as records:
            records.delete("meta", b"k", 1)
            records.put("meta", b"k", b"four", 4)
            self.assertEqual(records.count("meta", b"k"), 2)

    def test_own_writes_seen(self) -> None:
        """A transaction sees what it has written."""
        with self.store.writing() as records:
            records.put("meta", b"k", b"new", 3)
            self.assertEqual(records.get("meta", b"k", 3), b"new")
            self.assertEqual(records.last("meta", b"k"), 3)
            records.delete("meta", b"k", 3)
            self.assertIsNone(records.get("meta", b"k", 3))

    def test_own_writes_scanned(self) -> None:
        """A transaction that looks through a bucket or a table finds what it has written and deleted itself."""
        self.put(("meta", b"k", 1, b"old"), ("meta", b"k", 2, b"two"))
        with self.store.writing() as records:
            records.put("meta", b"k", b"new", 1)
            records.put("meta", b"l", b"other", 3)
            self.assertEqual(records.scan("meta", b"k"), [(b"k", 1, b"new"), (b"k", 2, b"two")])
            records.delete("meta", b"k", 2)
            self.assertEqual(records.scan("meta"), [(b"k", 1, b"new"), (b"l", 3, b"other")])
            records.put("meta", b"k", b"four", 4)
            self.assertEqual(records.count("meta", b"k"), 2)
            self.assertEqual(records.last("meta", b"k"), 4)

    def test_own_order(self) -> None:
        """A record that is deleted and written anew in one transaction comes after those written meanwhile."""
        self.put(("meta", b"k", 1, b"old"))
        with self.store.writing() as records:
            records.delete("meta", b"k", 1)
            records.put("meta", b"l", b"other", 1)
            records.put("meta", b"k", b"new", 1)
        with self.store.reading() as records:
            self.assertEqual(records.scan("meta"), [(b"l", 1, b"other"), (b"k", 1, b"new")])

    def test_many_written(self) -> None:
        """A transaction may write more than it keeps in memory, and see all of it."""
        with self.store.writing() as records:
            for order in range(1, 2 * CACHED):
                records.put("history", b"bob", b"%d" % order, order)
            self.assertEqual(records.get("history", b"bob", 1), b"1")
            self.assertEqual(records.last("history", b"bob"), 2 * CACHED - 1)
        with self.store.reading() as records:
            self.assertEqual(records.count("history", b"bob"), 2 * CACHED - 1)
            self.assertEqual(records.get("history", b"bob", 7), b"7")

    def test_scan_bucket(self) -> None:
        """The records of a bucket come by order, from behind a place on, as many as asked for."""
        self.put(*(("history", b"bob", order, b"%d" % order) for order in (5, 1, 3, 2**40)), ("history", b"eve", 2, b"x"))
        with self.store.reading() as records:
            self.assertEqual([order for _, order, _ in records.scan("history", b"bob")], [1, 3, 5, 2**40])
            self.assertEqual(records.scan("history", b"bob", after=1, limit=1), [(b"bob", 3, b"3")])
            self.assertEqual(records.scan("history", b"bob", limit=0), [])

    def test_scan_table(self) -> None:
        """The records of all buckets come by order, each with its bucket; what was written first comes first among equals."""
        self.put(
            ("outbox", b"zoe", 1, b"b"), ("outbox", b"eve", 2, b"d"), ("outbox", b"bob", 1, b"c"), ("outbox", b"abe", 0, b"a")
        )
        self.put(("outbox", b"zoe", 1, b"B"), ("inbound", b"bob", 1, b"other table"))
        everything = [(b"abe", 0, b"a"), (b"zoe", 1, b"B"), (b"bob", 1, b"c"), (b"eve", 2, b"d")]
        with self.store.reading() as records:
            self.assertEqual(records.scan("outbox"), everything)
            self.assertEqual(records.scan("outbox", after=0, limit=2), everything[1:3])

    def test_scan_back(self) -> None:
        """The last records of a bucket come in descending order, from below a place on, as many as asked for."""
        self.put(*(("history", b"bob", order, b"%d" % order) for order in (5, 1, 3, 2**40)), ("history", b"eve", 2, b"x"))
        with self.store.writing() as records:
            self.assertEqual([order for order, _ in records.scan_back("history", b"bob", 2**63 - 1, 9)], [2**40, 5, 3, 1])
            self.assertEqual(records.scan_back("history", b"bob", 5, 1), [(3, b"3")])
            self.assertEqual(records.scan_back("history", b"bob", 1, 9), [])
            self.assertEqual(records.scan_back("history", b"bob", 9, 0), [])
            records.put("history", b"bob", b"new", 4)
            self.assertEqual(records.scan_back("history", b"bob", 5, 1), [(4, b"new")], "its own")

    def test_buckets(self) -> None:
        """The buckets of a table are found, each once, and none whose records are gone."""
        self.put(*(("history", name, order, b"x") for name in (b"bob", b"", b"eve", b"zoe") for order in (0, 1, 7)))
        self.put(("outbox", b"other", 1, b"x"))
        with self.store.writing() as records:
            for order in (0, 1, 7):
                records.delete("history", b"eve", order)
            records.put("history", b"amy", b"x", 3)
            self.assertEqual(sorted(records.buckets("history")), [b"", b"amy", b"bob", b"zoe"])
            self.assertEqual(records.buckets("inbound"), [])

    def test_last_survives(self) -> None:
        """The highest order ever used is remembered when its record is gone, for each bucket."""
        self.put(("prekeys", b"kem", 9, b"x"), ("prekeys", b"kem", 4, b"y"), ("prekeys", b"signed", 2, b"z"))
        with self.store.writing() as records:
            records.delete("prekeys", b"kem", 9)
        with self.store.reading() as records:
            self.assertEqual(records.last("prekeys", b"kem"), 9)
            self.assertEqual(records.last("prekeys", b"signed"), 2)
            self.assertEqual(records.last("counters", b"kem"), 0)

    def test_undone(self) -> None:
        """A transaction that fails has changed nothing, sequences included."""
        self.put(("meta", b"k", 1, b"old"))
        with self.assertRaises(Accident), self.store.writing() as records:
            records.put("meta", b"k", b"new", 1)
            records.put("meta", b"k", b"more", 2)
            raise Accident
        with self.store.reading() as records:
            self.assertEqual(records.scan("meta"), [(b"k", 1, b"old")])
            self.assertEqual(records.last("meta", b"k"), 1)

    def test_usable_after_accident(self) -> None:
        """After a transaction that failed the next one works."""
        with self.assertRaises(Accident), self.store.writing():
            raise Accident
        self.put(("meta", b"k", 1, b"new"))
        with self.store.reading() as records:
            self.assertEqual(records.get("meta", b"k", 1), b"new")

    def test_reading_writes(self) -> None:
        """Whoever writes in a transaction for reading hears of it, and nothing is written."""
        with self.store.reading() as records:
            self.assertRaises(LocalProtocolError, records.put, "meta", b"k", b"new")
            self.assertRaises(LocalProtocolError, records.delete, "meta", b"k")
        with self.store.reading() as records:
            self.assertEqual(records.scan("meta"), [])

    def test_no_nesting(self) -> None:
        """A transaction within a transaction is a bug, and does not disturb the outer one."""

        def nested(transaction: AbstractContextManager[IRecords]) -> None:
            with transaction:
                self.fail("it began")

        with self.store.writing() as records:
            self.assertRaises(LocalProtocolError, nested, self.store.writing())
            self.assertRaises(LocalProtocolError, nested, self.store.reading())
            records.put("meta", b"k", b"outer")
        with self.store.reading() as records:
            self.assertEqual(records.get("meta", b"k"), b"outer")

    def test_kept_too_long(self) -> None:
        """Records cannot be used once their transaction is over."""
        with self.store.writing() as records:
            pass
        self.assertRaises(LocalProtocolError, records.get, "meta", b"k")
        self.assertRaises(LocalProtocolError, records.put, "meta", b"k", b"v")

    def test_unknown_table(self) -> None:
        """A table that nobody announced is a bug."""
        with self.store.writing() as records:
            self.assertRaises(LocalProtocolError, records.get, "nonsense", b"k")
            self.assertRaises(LocalProtocolError, records.put, "nonsense", b"k", b"v")
            self.assertRaises(LocalProtocolError, records.scan, "nonsense")
            self.assertRaises(LocalProtocolError, records.last, "nonsense", b"k")


class ProfileContractTests(ProfileContract):
    """The profile on disk."""

    __test__ = True

    def make(self) -> IProfileStore:
        """A profile in a folder that does not exist yet."""
        return create_profile(Path(self.mktemp()), Vault(bytes(32)))


class MemoryContractTests(ProfileContract):
    """The profile in memory."""

    __test__ = True

    def make(self) -> IProfileStore:
        """An empty one."""
        return MemoryProfile()

    def test_killed_before_commit(self) -> None:
        """What is raised before a commit undoes it, as a kill would; readers are not bothered."""

        def kill() -> None:
            raise Accident

        profile = MemoryProfile(before_commit=kill)
        with self.assertRaises(Accident), profile.writing() as records:
            records.put("meta", b"k", b"v")
        with profile.reading() as records:
            self.assertIsNone(records.get("meta", b"k"))

    def test_snapshot(self) -> None:
        """A snapshot and its origin do not touch each other."""
        profile = MemoryProfile()
        with profile.writing() as records:
            records.put("meta", b"k", b"old", 1)
        backup = profile.snapshot()
        with profile.writing() as records:
            records.put("meta", b"k", b"new", 2)
        with backup.writing() as records:
            self.assertEqual(records.scan("meta"), [(b"k", 1, b"old")])
            self.assertEqual(records.last("meta", b"k"), 1)
            records.delete("meta", b"k", 1)
        with profile.reading() as records:
            self.assertEqual(len(records.scan("meta")), 2)
