"""Rounds in which clocks are set."""

from __future__ import annotations

import random
import time

from tests.faults.rounds import Rounds
from tests.faults.verdict import Verdict

# Seconds that a clock is set by, either way.
STEPS = (1, 60, 3600, 86400, 40 * 86400)


def clock(rounds: Rounds, chance: random.Random) -> Verdict:
    """Clocks are set while everything is at work."""
    with rounds.world() as world:
        world.clock = world.place.folder / "clock"
        offset = 0
        for _ in range(rounds.faults):
            draft = world.clock.with_suffix(".new")
            draft.write_text(str(offset), "utf-8")
            draft.rename(world.clock)
            rounds.note += f"clock {offset:+}; "
            world.start_all()
            world.talk(rounds.lines)
            time.sleep(0.5)
            offset = chance.choice((1, -1)) * chance.choice(STEPS)
        return rounds.finish(world)
