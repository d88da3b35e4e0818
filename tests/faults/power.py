"""Rounds in which the power goes off, or the disk is full."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from tests.faults.disk import FOLDERS, LOSSES, ORDERED, SIZE
from tests.faults.processes import DAEMON
from tests.faults.rounds import SPAN, Rounds, up_to
from tests.faults.verdict import Verdict
from tests.faults.world import World
from tests.functional.support import Running

# Bytes that a full disk may still have.
ROOM = 200_000


def cut(rounds: Rounds, chance: random.Random) -> Verdict:
    """The power goes off at the daemon, at somebody's, or everywhere, right before the n-th change of that disk."""
    with rounds.world(chance.choice(FOLDERS)) as world:
        for _ in range(rounds.faults):
            rounds.start(world, chance)
            world.note_accepted()
            tree = chance.choice((DAEMON, DAEMON, "ada", "ben", "bix", "", ""))
            left = chance.choice((up_to(400, chance), chance.randrange(400)))
            _cut(rounds, world, tree, left, chance, lambda: world.talk(rounds.lines))
        verdict = rounds.finish(world)
    verdict.cuts = rounds.faults
    return verdict


def first_cut(rounds: Rounds, chance: random.Random) -> Verdict:
    """The power goes off during the very first start, and during a join."""
    with rounds.world(chance.choice(FOLDERS), "") as world:
        for _ in range(rounds.faults - 1):
            _cut(rounds, world, DAEMON, up_to(700, chance), chance, lambda: world.start("daemon", may_end=True))
        world.start("daemon")
        invite = world.daemon.invite(9)
        joining: list[Running] = []

        def join() -> None:
            joining.append(world.command("new", "join", invite, "new"))

        _cut(rounds, world, "", up_to(300, chance), chance, join)
        world.start("daemon")
        if joining[0].out:
            world.greet("new")
        verdict = rounds.begin(world)
    verdict.cuts = rounds.faults
    return verdict


def _cut(rounds: Rounds, world: World, tree: str, left: int, chance: random.Random, work: Callable[[], object]) -> None:
    """Cut the power of a tree while something goes on."""
    assert world.mount is not None
    how = chance.choice(LOSSES)
    rounds.note += f"{tree or 'everything'}: {how} after {left} changes; "
    world.mount.order("arm", tree, left)
    work()
    deadline = time.monotonic() + SPAN
    while not world.mount.is_off and time.monotonic() < deadline:
        time.sleep(0.01)
    for running in world.of(tree):
        running.kill()
    world.mount.order("cut", tree, how, chance.randrange(1 << 32))


def full(rounds: Rounds, chance: random.Random) -> Verdict:
    """The disk has no room for a while."""
    with rounds.world(ORDERED) as world:
        assert world.mount is not None
        world.start_all()
        world.talk(rounds.lines)
        room = chance.randrange(ROOM)
        rounds.note = f"{room} bytes of room"
        world.mount.order("set_room", room)
        world.talk(rounds.lines)
        time.sleep(SPAN)
        world.mount.order("set_room", SIZE)
        verdict = rounds.finish(world)
    verdict.failures = 1
    return verdict
