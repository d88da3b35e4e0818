"""Rounds in which system calls kill a process, or fail."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from tests.faults.calls import KINDS, Fault, Traced
from tests.faults.rounds import SPAN, Rounds, up_to
from tests.faults.verdict import Verdict

# Of each process the calls to count, and how many of them a round sees at most.
CALLS = {
    "daemon": {"write": 60, "pwrite64": 500, "fdatasync": 80, "fsync": 1, "unlink": 3, "ftruncate": 12, "sendto": 60},
    "reader": {"write": 60, "pwrite64": 400, "fdatasync": 120, "ftruncate": 30, "sendto": 10},
    "responder": {"write": 8, "pwrite64": 120, "fdatasync": 40, "ftruncate": 8, "sendto": 9},
    "chat": {"pwrite64": 500, "fdatasync": 100, "ftruncate": 25, "sendto": 12},
    "send": {"write": 2, "pwrite64": 60, "fdatasync": 16, "ftruncate": 4, "sendto": 5},
    "recv": {"write": 12, "pwrite64": 60, "fdatasync": 16, "ftruncate": 4, "sendto": 5},
    "join": {"write": 5, "pwrite64": 230, "fdatasync": 34, "fsync": 4, "unlink": 2, "mkdir": 3, "link": 1, "sendto": 7},
}
FIRST = {"write": 30, "pwrite64": 400, "fdatasync": 54, "fsync": 18, "unlink": 11, "mkdir": 5, "rename": 5, "link": 3}


def _call(of: dict[str, int], chance: random.Random) -> tuple[str, int]:
    kind = chance.choice(sorted(of))
    return kind, up_to(of[kind], chance)


def kill(rounds: Rounds, chance: random.Random) -> Verdict:
    """Processes are killed right before the n-th call of a kind."""
    verdict, hits = _calls(rounds, chance, Fault, sorted(KINDS))
    verdict.kills = hits
    return verdict


def fail(rounds: Rounds, chance: random.Random) -> Verdict:
    """The n-th call that reaches for the disk fails, or all from there on."""

    def make(kind: str, number: int) -> Fault:
        return Fault(kind, number, f"error={chance.choice(('EIO', 'ENOSPC'))}", chance.choice(("", "+")))

    verdict, hits = _calls(rounds, chance, make, ["pwrite64", "fdatasync", "fsync"])
    verdict.failures = hits
    return verdict


def _calls(
    rounds: Rounds, chance: random.Random, make: Callable[[str, int], Fault], kinds: list[str]
) -> tuple[Verdict, int]:
    """Have calls go wrong, one process after the other; how many of them did."""
    hits = 0
    with rounds.world() as world:
        invite = ""
        for number in range(rounds.faults):
            rounds.start(world, chance)
            invite = invite or world.daemon.invite(rounds.faults * 2)
            victim = chance.choice(sorted(CALLS))
            fault = make(*_call({kind: CALLS[victim][kind] for kind in CALLS[victim] if kind in kinds}, chance))
            rounds.note += f"{victim}: {fault}; "
            if victim in world.running:
                traced = world.start_traced(victim, fault)
                world.talk(rounds.lines)
            elif victim == "join":
                traced = world.command_traced(f"new{number}", fault, "join", invite, f"new{number}")
            elif victim == "send":
                world.talk(rounds.lines)
                world.kill("chat")
                traced = world.command_traced("ada", fault, "send", "bix", f"between {number}")
            else:
                world.kill("reader")
                world.talk(rounds.lines)
                traced = world.command_traced("ben", fault, "recv")
            hits += _await(traced)
            if victim == "join":
                again = world.call(f"new{number}", "join", invite, f"new{number}")
                assert again.status == 0, f"join after {fault}: {again}"
                world.greet(f"new{number}")
            elif victim not in world.running:
                traced.running.wait()
        return rounds.finish(world), hits


def first(rounds: Rounds, chance: random.Random) -> Verdict:
    """The very first start is killed; the next one goes on, and people can join."""
    hits = 0
    with rounds.world(disk="") as world:
        for _ in range(rounds.faults):
            fault = Fault(*_call(FIRST, chance))
            rounds.note += f"first start: {fault}; "
            traced = world.start_traced("daemon", fault)
            hits += _await(traced, 0)
        verdict = rounds.begin(world)
    verdict.kills = hits
    return verdict


def _await(traced: Traced, span: float = SPAN) -> bool:
    """Wait for what should happen; whatever lives then is killed."""
    deadline = time.monotonic() + span
    while traced.running.is_alive and time.monotonic() < deadline:
        time.sleep(0.02)
    was_hit = traced.was_hit
    traced.running.kill()
    traced.close()
    return was_hit
