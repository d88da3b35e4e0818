"""The kinds of round: each makes a world, does its worst, lets all settle, and counts. All choices come from its seed."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import define

from tests.faults import calls, mount
from tests.faults.abuse import abused
from tests.faults.calls import Fault, Traced, stopped
from tests.faults.damage import files, harm
from tests.faults.disk import FOLDERS, LOSSES, ORDERED, SIZE
from tests.faults.verdict import Verdict
from tests.faults.world import DAEMON, PASSING, RECORD, Ledger, World, make_base
from tests.functional.support import Running, until

# See L{Rounds}.
FAULTS, LINES = 4, 30
# Seconds after which a fault that has not happened will not.
SPAN = 2
# Of each process the calls to count, and how many of them a round sees at most.
CALLS = {
    "daemon": {"write": 60, "pwrite64": 500, "fdatasync": 80, "fsync": 1, "unlink": 3, "ftruncate": 12, "sendto": 60},
    "reader": {"write": 60, "pwrite64": 400, "fdatasync": 120, "ftruncate": 30, "sendto": 10},
    "machine": {"write": 8, "pwrite64": 120, "fdatasync": 40, "ftruncate": 8, "sendto": 9},
    "chat": {"pwrite64": 500, "fdatasync": 100, "ftruncate": 25, "sendto": 12},
    "send": {"write": 2, "pwrite64": 60, "fdatasync": 16, "ftruncate": 4, "sendto": 5},
    "recv": {"write": 12, "pwrite64": 60, "fdatasync": 16, "ftruncate": 4, "sendto": 5},
    "join": {"write": 5, "pwrite64": 230, "fdatasync": 34, "fsync": 4, "unlink": 2, "mkdir": 3, "link": 1, "sendto": 7},
}
FIRST = {"write": 30, "pwrite64": 400, "fdatasync": 54, "fsync": 18, "unlink": 11, "mkdir": 5, "rename": 5, "link": 3}
# Messages that a round names, at most.
NOTES = 8
# Bytes that a full disk may still have.
ROOM = 200_000
# Exit statuses.
WRONG_SERVER, PROFILE_UNUSABLE = 8, 9
# Seconds that a clock is set by, either way.
STEPS = (1, 60, 3600, 86400, 40 * 86400)


def _up_to(limit: int, chance: random.Random) -> int:
    """A number, small ones as likely as large ones."""
    return min(limit, int(limit ** chance.random() * (1 + chance.random())))


def _call(of: dict[str, int], chance: random.Random) -> tuple[str, int]:
    kind = chance.choice(sorted(of))
    return kind, _up_to(of[kind], chance)


@define(eq=False)
class Rounds:
    """
    @ivar faults: of one round: more of them in one world cost less, and meet what earlier ones left behind.
    @ivar lines: that Ada types between two of them.
    @ivar note: what the round did, for whoever must repeat it.
    """

    _folder: Path
    _port: int
    faults: int
    lines: int
    _used: Ledger | None = None
    note: str = ""

    @classmethod
    @contextlib.contextmanager
    def make(cls, faults: int = FAULTS, lines: int = LINES) -> Iterator[Rounds]:
        """Make the disk that rounds begin with."""
        folder = Path(tempfile.mkdtemp(prefix="faults-"))
        try:
            yield cls(folder, make_base(folder / "base"), faults, lines)
        finally:
            shutil.rmtree(folder)

    def _use(self) -> Ledger:
        """Make a disk that was in use when everything was killed, once: messages wait at the daemon and with their sender."""
        if self._used is None:
            with self._world() as world:
                world.start_all()
                world.talk(self.lines)
                world.settle()
                world.kill("reader", "machine")
                world.start("chat")
                world.talk(self.lines)
                until(lambda: world.is_quiet, "messages that wait")
                world.hear()
                world.kill()
                self._used = world.ledger()
                shutil.copytree(world.disk, self._folder / "used", ignore=PASSING)
        return self._used

    def _world(self, folders: str = "", disk: str = "base") -> contextlib.AbstractContextManager[World]:
        return World.make(self._folder / disk if disk else None, self._port, folders)

    def run(self, kind: str, seed: int) -> Verdict:
        """Run a round; what stops or misbehaves is counted, and noted."""
        self.note = ""
        try:
            verdict = KINDS[kind](self, random.Random(f"{kind} {seed}"))
        except AssertionError as error:
            self.note += f"; {error}"
            verdict = Verdict(broken=1)
        verdict.rounds = 1
        self.note += "".join(f"\n    {note}" for note in verdict.notes[:NOTES])
        return verdict

    def _start(self, world: World, chance: random.Random) -> None:
        """Start everything, or everything but those who receive: then messages wait at the daemon."""
        world.start_all()
        if chance.random() < 0.5:
            world.kill("reader", "machine")

    def _finish(self, world: World, is_damaged: bool = False) -> Verdict:
        """Let everything settle, and count."""
        world.settle()
        log = world.running["daemon"].out + world.running["daemon"].err
        assert "Traceback" not in log, log
        return world.verdict(is_damaged)

    # --- kills and failing calls --------------------------------------------------------------------------------------

    def kill(self, chance: random.Random) -> Verdict:
        """Processes are killed right before the n-th call of a kind."""
        return self._calls(chance, lambda kind, number: Fault(kind, number), sorted(calls.KINDS))

    def fail(self, chance: random.Random) -> Verdict:
        """The n-th call that reaches for the disk fails, or all from there on."""

        def make(kind: str, number: int) -> Fault:
            return Fault(kind, number, f"error={chance.choice(('EIO', 'ENOSPC'))}", chance.choice(("", "+")))

        return self._calls(chance, make, ["pwrite64", "fdatasync", "fsync"])

    def _calls(self, chance: random.Random, make: Callable[[str, int], Fault], kinds: list[str]) -> Verdict:
        hits = 0
        with self._world() as world:
            invite = ""
            for number in range(self.faults):
                self._start(world, chance)
                invite = invite or world.daemon.invite(self.faults * 2)
                victim = chance.choice(sorted(CALLS))
                fault = make(*_call({kind: CALLS[victim][kind] for kind in CALLS[victim] if kind in kinds}, chance))
                self.note += f"{victim}: {fault}; "
                if victim in world.running:
                    traced = world.start(victim, fault)
                    world.talk(self.lines)
                elif victim == "join":
                    traced = self._traced_command(world, f"new{number}", fault, "join", invite, f"new{number}")
                elif victim == "send":
                    world.talk(self.lines)
                    world.kill("chat")
                    traced = self._traced_command(world, "ada", fault, "send", "bix", f"between {number}")
                else:
                    world.kill("reader")
                    world.talk(self.lines)
                    traced = self._traced_command(world, "ben", fault, "recv")
                assert traced is not None
                hits += self._await(traced)
                if victim == "join":
                    again = world.call(f"new{number}", "join", invite, f"new{number}")
                    assert again.status == 0, f"join after {fault}: {again}"
                    world.greet(f"new{number}")
                elif victim not in world.running:
                    traced.running.wait()
            verdict = self._finish(world)
        verdict.kills, verdict.failures = (hits, 0) if "mkdir" in kinds else (0, hits)
        return verdict

    def _traced_command(self, world: World, who: str, fault: Fault, *arguments: str) -> Traced:
        with stopped(world.place):
            running = world.command(who, *arguments)
        return world.trace(running, fault)

    def _await(self, traced: Traced, span: float = SPAN) -> bool:
        """Wait for what should happen; whatever lives then is killed."""
        deadline = time.monotonic() + span
        while traced.running.is_alive and time.monotonic() < deadline:
            time.sleep(0.02)
        was_hit = traced.was_hit
        traced.running.kill()
        traced.close()
        return was_hit

    def first(self, chance: random.Random) -> Verdict:
        """The very first start is killed; the next one goes on, and people can join."""
        hits = 0
        with self._world(disk="") as world:
            for _ in range(self.faults):
                fault = Fault(*_call(FIRST, chance))
                self.note += f"first start: {fault}; "
                traced = world.start("daemon", fault)
                assert traced is not None
                hits += self._await(traced, 0)
            verdict = self._begin(world)
        verdict.kills = hits
        return verdict

    def _begin(self, world: World) -> Verdict:
        """People join a daemon whose first start was cut short."""
        world.start("daemon")
        invite = world.daemon.invite(9)
        for name in ("ada", "ben", "bix"):
            world.person(name).join(invite)
        world.start_all()
        world.talk(1)
        return self._finish(world)

    # --- power cuts ---------------------------------------------------------------------------------------------------

    def cut(self, chance: random.Random) -> Verdict:
        """The power goes off at the daemon, at somebody's, or everywhere, right before the n-th change of that disk."""
        with self._world(chance.choice(FOLDERS)) as world:
            for _ in range(self.faults):
                self._start(world, chance)
                world.hear()
                tree = chance.choice((DAEMON, DAEMON, "ada", "ben", "bix", "", ""))
                left = chance.choice((_up_to(400, chance), chance.randrange(400)))
                self._cut(world, tree, left, chance, lambda: world.talk(self.lines))
            verdict = self._finish(world)
        verdict.cuts = self.faults
        return verdict

    def first_cut(self, chance: random.Random) -> Verdict:
        """The power goes off during the very first start, and during a join."""
        with self._world(chance.choice(FOLDERS), "") as world:
            for _ in range(self.faults - 1):
                self._cut(world, DAEMON, _up_to(700, chance), chance, lambda: world.start("daemon", may_end=True))
            world.start("daemon")
            invite = world.daemon.invite(9)
            joining: list[Running] = []

            def join() -> None:
                joining.append(world.command("new", "join", invite, "new"))

            self._cut(world, "", _up_to(300, chance), chance, join)
            world.start("daemon")
            if joining[0].out:
                world.greet("new")
            verdict = self._begin(world)
        verdict.cuts = self.faults
        return verdict

    def _cut(self, world: World, tree: str, left: int, chance: random.Random, work: Callable[[], object]) -> None:
        """Cut the power of a tree while something goes on."""
        assert world.mount is not None
        how = chance.choice(LOSSES)
        self.note += f"{tree or 'everything'}: {how} after {left} changes; "
        world.mount.order("arm", tree, left)
        work()
        deadline = time.monotonic() + SPAN
        while not world.mount.is_off and time.monotonic() < deadline:
            time.sleep(0.01)
        for running in world.of(tree):
            running.kill()
        world.mount.order("cut", tree, how, chance.randrange(1 << 32))

    def full(self, chance: random.Random) -> Verdict:
        """The disk has no room for a while."""
        with self._world(ORDERED) as world:
            assert world.mount is not None
            world.start_all()
            world.talk(self.lines)
            room = chance.randrange(ROOM)
            self.note = f"{room} bytes of room"
            world.mount.order("set_room", room)
            world.talk(self.lines)
            time.sleep(SPAN)
            world.mount.order("set_room", SIZE)
            verdict = self._finish(world)
        verdict.failures = 1
        return verdict

    # --- damage, clocks, abuse ----------------------------------------------------------------------------------------

    def damage(self, chance: random.Random) -> Verdict:
        """A file is damaged: whoever opens it says so, and goes on once it is put back; or nothing is lost; or that is told."""
        ledger = self._use()
        with self._world(disk="used") as world:
            world.resume(ledger)
            tree = chance.choice((DAEMON, DAEMON, "ada", "ben", "bix"))
            path = chance.choice(files(world.disk / tree, RECORD))
            content = path.read_bytes()
            self.note = harm(path, chance)
            is_refused = self._is_refused(world, path)
            if is_refused:
                self.note += "; refused"
                world.kill()
                path.write_bytes(content)
            try:
                world.start_all()
                world.talk(self.lines)
                verdict = self._finish(world, not is_refused)
            except AssertionError:
                # It may become known only at work.
                if is_refused or not self._is_named(world, path):
                    raise
                verdict = Verdict()
        verdict.corruptions = 1
        return verdict

    def _is_refused(self, world: World, path: Path) -> bool:
        """Whether the daemon does not start, or a client does not go on, and says which file it is."""
        world.start("daemon", may_end=True)
        if not world.running["daemon"].is_alive:
            assert self._is_named(world, path), f"the daemon does not name the file: {world.running['daemon'].out}"
            return True
        refused = False
        for name in ("ada", "ben", "bix"):
            done = world.call(name, "ping")
            if done.status == PROFILE_UNUSABLE:
                assert path.name in done.err or str(path.parent) in done.err, f"{name} does not name the file: {done.err}"
            refused |= done.status in (PROFILE_UNUSABLE, WRONG_SERVER)
        return refused

    def _is_named(self, world: World, path: Path) -> bool:
        """Whether the daemon has said which file it is."""
        log = world.running["daemon"].out + world.running["daemon"].err
        return str(path.parent) in log and path.name.removesuffix("-wal").removesuffix("-journal") in log

    def clock(self, chance: random.Random) -> Verdict:
        """Clocks are set while everything is at work."""
        with self._world() as world:
            world.clock = world.place.folder / "clock"
            offset = 0
            for _ in range(self.faults):
                draft = world.clock.with_suffix(".new")
                draft.write_text(str(offset), "utf-8")
                draft.rename(world.clock)
                self.note += f"clock {offset:+}; "
                world.start_all()
                world.talk(self.lines)
                time.sleep(0.5)
                offset = chance.choice((1, -1)) * chance.choice(STEPS)
            return self._finish(world)

    def abuse(self, chance: random.Random) -> Verdict:
        """Strangers do their worst, and a reader is deaf for a while."""
        with self._world() as world:
            world.start_all()
            with abused(world.daemon.port, chance):
                world.talk(self.lines)
                reader = world.running["reader"].process
                reader.send_signal(signal.SIGSTOP)
                for _ in range(self.faults):
                    world.talk(self.lines)
                    time.sleep(0.3)
                reader.send_signal(signal.SIGCONT)
                return self._finish(world)


KINDS: dict[str, Callable[[Rounds, random.Random], Verdict]] = {
    "kill": Rounds.kill,
    "first": Rounds.first,
    "fail": Rounds.fail,
    "cut": Rounds.cut,
    "first-cut": Rounds.first_cut,
    "full": Rounds.full,
    "damage": Rounds.damage,
    "clock": Rounds.clock,
    "abuse": Rounds.abuse,
}

# What a kind needs of the machine.
NEEDS = {
    **dict.fromkeys(("kill", "first", "fail"), calls.skip_reason),
    **dict.fromkeys(("cut", "first-cut", "full"), mount.skip_reason),
}


def skip_reason(kind: str) -> str:
    """Why rounds of a kind cannot be run here; empty if they can."""
    return NEEDS[kind]() if kind in NEEDS else ""
