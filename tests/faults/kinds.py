"""The kinds of round, by their names. All choices of a round come from its kind and seed."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.faults import abuse, calls, clock, damage, kills, mount, power
from tests.faults.rounds import Rounds
from tests.faults.verdict import Verdict

KINDS: dict[str, Callable[[Rounds, random.Random], Verdict]] = {
    "kill": kills.kill,
    "first": kills.first,
    "fail": kills.fail,
    "cut": power.cut,
    "first-cut": power.first_cut,
    "full": power.full,
    "damage": damage.damage,
    "clock": clock.clock,
    "abuse": abuse.abuse,
}
# What a kind needs of the machine.
NEEDS = {
    **dict.fromkeys(("kill", "first", "fail"), calls.skip_reason),
    **dict.fromkeys(("cut", "first-cut", "full"), mount.skip_reason),
}
# Messages that a round names, at most.
NOTES = 8


def skip_reason(kind: str) -> str:
    """Why rounds of a kind cannot be run here; empty if they can."""
    return NEEDS[kind]() if kind in NEEDS else ""


def run(rounds: Rounds, kind: str, seed: int) -> Verdict:
    """Run a round; what stops or misbehaves is counted, and noted."""
    rounds.note = ""
    try:
        verdict = KINDS[kind](rounds, random.Random(f"{kind} {seed}"))
    except AssertionError as error:
        rounds.note += f"; {error}"
        verdict = Verdict(broken=1)
    verdict.rounds = 1
    rounds.note += "".join(f"\n    {note}" for note in verdict.notes[:NOTES])
    return verdict
