"""
The long run: C{make faults ROUNDS=}.

It ends with status 1 if anything was lost, doubled, reordered or silent, or did not go on. Each such round is printed with its
seed; the same kind and seed make the same choices again.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import threading
import time
from collections.abc import Iterator

from attrs import asdict
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tests.faults.kinds import KINDS, run, skip_reason
from tests.faults.rounds import Rounds
from tests.faults.verdict import Verdict

# The order of kinds, repeated: what there is most to choose from comes most often.
CYCLE = (
    *("kill", "damage", "kill", "cut", "kill", "damage", "kill", "fail", "damage", "kill"),
    *("first", "damage", "kill", "first-cut", "kill", "damage", "clock", "kill", "abuse", "damage", "kill", "full"),
)


def plan(rounds: int, seed: int, kind: str) -> Iterator[tuple[str, int]]:
    """Kinds and seeds."""
    for number in range(rounds):
        yield kind or CYCLE[number % len(CYCLE)], seed + number


def table(verdicts: dict[str, Verdict]) -> Table:
    """What came of it, for people."""
    counts = [name for name, number in asdict(Verdict()).items() if isinstance(number, int)]
    made = Table()
    for name in ("", *counts):
        made.add_column(name, justify="left" if not name else "right")
    total = Verdict()
    for kind, verdict in sorted(verdicts.items()):
        made.add_row(kind, *(f"{getattr(verdict, name):,}" for name in counts))
        total.add(verdict)
    made.add_section()
    made.add_row("all", *(f"{getattr(total, name):,}" for name in counts))
    return made


def main() -> int:
    """Run them, as many at a time as there are processors."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None, help="of the first round; the next ones have the next numbers")
    parser.add_argument("--kind", choices=sorted(KINDS), default="", help="only rounds of this kind")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="rounds at the same time")
    options = parser.parse_args()
    for kind in sorted({options.kind} - {""} or KINDS):
        if why := skip_reason(kind):
            parser.exit(2, f"{kind}: {why}\n")
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    console = Console(stderr=True)
    console.print(f"seed {seed}", highlight=False)
    planned, lock = plan(options.rounds, seed, options.kind), threading.Lock()
    verdicts: dict[str, Verdict] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("rounds", total=options.rounds)

        def work() -> None:
            with Rounds.make() as rounds:
                while True:
                    with lock:
                        kind, number = next(planned, ("", 0))
                    if not kind:
                        return
                    began = time.monotonic()
                    verdict = run(rounds, kind, number)
                    with lock:
                        verdicts.setdefault(kind, Verdict()).add(verdict)
                        bad = sum(found.is_bad for found in verdicts.values())
                        progress.update(task, advance=1, description=f"rounds, {bad} bad" if bad else "rounds")
                    if verdict.is_bad:
                        again = f"make faults ROUNDS=1 KIND={kind} SEED={number}"
                        took = f"{time.monotonic() - began:.0f} s"
                        console.print(f"{kind}, {took}: {rounds.note}\n    again: {again}", markup=False, highlight=False)

        threads = [threading.Thread(target=work) for _ in range(min(options.jobs, options.rounds))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    Console(width=max(console.width, 120)).print(table(verdicts))
    print(f"seed {seed}")
    done = sum(found.rounds for found in verdicts.values())
    return done < options.rounds or any(found.is_bad for found in verdicts.values())


if __name__ == "__main__":
    sys.exit(main())
