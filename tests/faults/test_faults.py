"""A short run of each kind, with fixed seeds; C{make faults} is the long one."""

from __future__ import annotations

import errno
import stat
from itertools import product

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.faults.disk import LOSSES, SECTOR, TORN, WHOLE, Disk, Node
from tests.faults.kinds import run, skip_reason
from tests.faults.rounds import Rounds
from tests.faults.verdict import Verdict, judge, printed


class FaultTests(SynchronousTestCase):
    """A few rounds, with few faults each: nothing is lost, doubled, reordered or silent."""

    def run_rounds(self, *rounds: tuple[str, int]) -> Verdict:
        """Run rounds of these kinds with these seeds, if they can be run here."""
        for kind, _ in rounds:
            if why := skip_reason(kind):
                raise SkipTest(why)
        total = Verdict()
        with Rounds.make(faults=2, lines=8) as place:
            for kind, seed in rounds:
                verdict = run(place, kind, seed)
                self.assertFalse(verdict.is_bad, f"{kind} {seed}: {place.note}\n{verdict}")
                total.add(verdict)
        return total

    def test_calls(self) -> None:
        """Processes are killed at a system call, or it fails."""
        total = self.run_rounds(("kill", 2), ("kill", 3), ("fail", 48))
        self.assertGreater(total.kills, 1)
        self.assertGreater(total.failures, 1)

    def test_power(self) -> None:
        """The power is cut at the daemon, at clients, and during the first start."""
        self.assertGreater(self.run_rounds(("cut", 1), ("cut", 2), ("first-cut", 0)).cuts, 5)

    def test_strangers(self) -> None:
        """Files are damaged; strangers do their worst."""
        self.assertEqual(self.run_rounds(("damage", 0), ("damage", 1), ("abuse", 0)).corruptions, 2)


class JudgeTests(SynchronousTestCase):
    """The verdict sees what it should see."""

    def counts(self, verdict: Verdict) -> tuple[int, int, int, int, int]:
        """What matters."""
        return verdict.lost, verdict.doubled, verdict.reordered, verdict.told, verdict.silent

    def test_fine(self) -> None:
        """All came, in order; what came without having been told of is no fault."""
        self.assertFalse(judge("", ["a", "c"], ["a", "b", "c"], ["a", "b", "c"]).is_bad)

    def test_faults(self) -> None:
        """Each fault is counted."""
        told = ["a", "b"]
        for came, expected in ((["a"], (1, 0, 0, 0, 0)), (["a", "b", "a"], (0, 1, 0, 0, 0)), (["b", "a"], (0, 0, 1, 0, 0))):
            verdict = judge("", told, told, came)
            self.assertEqual(self.counts(verdict), expected)
            self.assertTrue(verdict.is_bad)

    def test_damage(self) -> None:
        """A loss by damage is fine if somebody was told."""
        self.assertEqual(self.counts(judge("", ["a"], ["a"], [], True, True)), (0, 0, 0, 1, 0))
        self.assertEqual(self.counts(judge("", ["a"], ["a"], [], True, False)), (0, 0, 0, 0, 1))

    def test_printed(self) -> None:
        """One that was killed may leave its last message, and no other, to the next."""
        self.assertEqual(printed([["a", "b"], ["b", "c"]]), ["a", "b", "c"])
        self.assertEqual(printed([["a", "b"], ["a", "c"]]), ["a", "b", "a", "c"])


class DiskTests(SynchronousTestCase):
    """A power cut takes what was not synchronised, and nothing else."""

    def disk(self, strict: bool) -> tuple[Disk, Node]:
        """A disk with an empty file that no fsync covered."""
        disk, node = Disk(strict), Node(stat.S_IFREG)
        disk.change_names((disk.root, "file", node))
        return disk, node

    def test_writes(self) -> None:
        """Of three sectors the first, which was synchronised, is always there; the others go in every manner."""
        found: dict[str, set[bytes]] = {how: set() for how in LOSSES}
        for how in LOSSES:
            for seed in range(50):
                disk, node = self.disk(strict=False)
                node.change(0, b"a" * SECTOR)
                disk.sync(node)
                node.change(SECTOR, b"b" * SECTOR)
                node.change(2 * SECTOR, b"c" * SECTOR)
                disk.cut("", how, seed)
                found[how].add(bytes(node.data[::SECTOR]))
        self.assertEqual(list(found.values()), [{b"a"}, {b"a", b"ab", b"abc"}, {b"a", b"ab", b"abc", b"a\0c"}])

    def test_torn(self) -> None:
        """A write is torn where the sectors of the disk end, wherever it began."""
        found = set()
        for seed in range(50):
            disk, node = self.disk(strict=False)
            node.change(0, bytes(1100))
            disk.sync(node)
            node.change(100, b"b" * 1000)
            disk.cut("", TORN, seed)
            found.add(bytes(node.data))
        sizes = (412, 512, 76)
        every = {
            bytes(100) + b"".join(bytes([98 * bit]) * size for bit, size in zip(bits, sizes, strict=True))
            for bits in product((0, 1), repeat=3)
        }
        self.assertEqual(found, every)

    def test_names(self) -> None:
        """A strict folder keeps a name once it is synchronised itself; an ordered one once anything is."""
        for strict, sync_root, expected in ((True, False, False), (True, True, True), (False, False, True)):
            disk, node = self.disk(strict)
            disk.sync(disk.root if sync_root else node)
            disk.cut("", WHOLE, 0)
            self.assertEqual("file" in disk.root.names, expected)

    def test_off(self) -> None:
        """After so many changes there is no power, until the cut."""
        disk, _ = self.disk(strict=False)
        disk.arm("", 1)
        disk.before_change("/file")
        self.assertEqual(self.assertRaises(OSError, disk.before_change, "/file").errno, errno.EIO)
        disk.cut("", WHOLE, 0)
        disk.before_change("/")
