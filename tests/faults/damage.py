"""Rounds with flipped bits and cut files, while nothing runs."""

from __future__ import annotations

import random
from pathlib import Path

from tests.faults.processes import DAEMON, RECORD
from tests.faults.rounds import Rounds
from tests.faults.verdict import Verdict
from tests.faults.world import World

# Empty files that processes lock or listen on, and what SQLite makes anew.
SPARED = ("lock", "recv.lock", "read.lock", "wake", "control", "server.db-shm")
# Exit statuses.
WRONG_SERVER, PROFILE_UNUSABLE = 8, 9


def files(disk: Path, record: str) -> list[Path]:
    """The files that hold something of somebody's; nobody checks what was written for other programs."""
    found = sorted(path for path in disk.rglob("*") if path.is_file() and path.name not in (*SPARED, record))
    return [path for path in found if path.stat().st_size]


def harm(path: Path, chance: random.Random) -> str:
    """Flip one bit of a file, or cut it off somewhere; what was done."""
    content = bytearray(path.read_bytes())
    place = chance.randrange(len(content))
    if chance.random() < 0.6:
        bit = chance.randrange(8)
        content[place] ^= 1 << bit
        what = f"bit {bit} of byte {place} of {len(content)} flipped in"
    else:
        what = f"{len(content)} bytes cut to {place}:"
        del content[place:]
    path.write_bytes(content)
    return f"{what} {path.parent.name}/{path.name}"


def damage(rounds: Rounds, chance: random.Random) -> Verdict:
    """A file is damaged: whoever opens it says so, and goes on once it is put back; or nothing is lost; or that is told."""
    ledger = rounds.use()
    with rounds.world(disk="used") as world:
        world.resume(ledger)
        tree = chance.choice((DAEMON, DAEMON, "ada", "ben", "bix"))
        path = chance.choice(files(world.disk / tree, RECORD))
        content = path.read_bytes()
        rounds.note = harm(path, chance)
        is_refused = _is_refused(world, path)
        if is_refused:
            rounds.note += "; refused"
            world.kill()
            path.write_bytes(content)
        try:
            world.start_all()
            world.talk(rounds.lines)
            verdict = rounds.finish(world, not is_refused)
        except AssertionError:
            # It may become known only at work.
            if is_refused or not _is_named(world, path):
                raise
            verdict = Verdict()
    verdict.corruptions = 1
    return verdict


def _is_refused(world: World, path: Path) -> bool:
    """Whether the daemon does not start, or a client does not go on, and says which file it is."""
    world.start("daemon", may_end=True)
    if not world.running["daemon"].is_alive:
        assert _is_named(world, path), f"the daemon does not name the file: {world.running['daemon'].out}"
        return True
    refused = False
    for name in ("ada", "ben", "bix"):
        done = world.call(name, "ping")
        if done.status == PROFILE_UNUSABLE:
            assert path.name in done.err or str(path.parent) in done.err, f"{name} does not name the file: {done.err}"
        refused |= done.status in (PROFILE_UNUSABLE, WRONG_SERVER)
    return refused


def _is_named(world: World, path: Path) -> bool:
    """Whether the daemon has said which file it is."""
    log = world.running["daemon"].out + world.running["daemon"].err
    return str(path.parent) in log and path.name.removesuffix("-wal").removesuffix("-journal") in log
