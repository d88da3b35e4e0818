"""
C{make bench}: what the relay costs, beside a stock Twisted TLS relay measured in the same run.

The server has one core, the load another. The table goes to standard output, progress to standard error, and everything to a
JSON file. What the figures mean, and how they came out, is in C{docs/performance.md}.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import click
from attrs import asdict
from twisted.internet.interfaces import IReactorTCP, IReactorTime

from bench import machine, report, served
from bench.ancestors import Ancestors
from bench.devices import Daemon, over_tcp
from bench.loss import measure as measure_loss
from bench.parts import WARM_UP, Bench, Scale, sizes
from bench.report import Figure
from bench.running import run, say
from bench.strings import Yardstick
from bench.target import Waiting
from bench.udp import Udp

DEFAULT_JSON = served.ROOT / "build" / "bench.json"
PARTS = ("cost", "latency", "idle", "logins", "mailbox", "growth", "udp", "loss", "garbage", "lobby", "suites", "ancestors")
# Of one core, what a machine that does nothing else spends on itself, writing to disk included.
DISTURBED = 0.15
A_FILE = click.Path(path_type=Path, dir_okay=False)
A_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)
QUICK = Scale(seconds=1, connections=200, messages=4000, pairs=20)


async def measure(
    reactor: IReactorTCP, folder: Path, cores: machine.Cores, scale: Scale, parts: tuple[str, ...], profile: Path | None
) -> list[Figure]:
    """Every part that is wanted, in the order of the table."""
    assert IReactorTime.providedBy(reactor)
    waiting = Waiting(reactor)
    bench = Bench(scale, waiting, say)
    # Sockets that were just closed still count for a moment.
    clients = 2 * scale.connections
    figures: list[Figure] = []

    daemon = Daemon(served.start_daemon(folder, cores.server, clients), partial(over_tcp, reactor), waiting)
    yardstick = Yardstick(served.start_yardstick(folder, cores.server), reactor, waiting)

    def restart() -> None:
        """Memory is asked of a fresh process: what an older one has freed would hide what is taken."""
        daemon.served.stop()
        daemon.move(served.start_daemon(folder, cores.server, clients, profile))

    try:
        if {"idle", "udp"} & set(parts):
            say(f"daemon: registering {scale.connections} accounts")
            await daemon.register(scale.connections + WARM_UP)
        if "idle" in parts or profile is not None:
            restart()
        runs: dict[str, Callable[[], Awaitable[list[Figure]]]] = {
            "idle": lambda: bench.idle(daemon, yardstick),
            "cost": lambda: bench.cost(daemon, yardstick),
            "latency": lambda: bench.latency(daemon, yardstick),
            "logins": lambda: bench.logins(daemon, yardstick),
            "mailbox": lambda: bench.mailbox(daemon),
            "growth": lambda: bench.growth(daemon, yardstick),
            "udp": lambda: Udp(bench, reactor).measure(daemon, restart),
            "loss": lambda: measure_loss(bench, folder, cores),
            "garbage": lambda: bench.garbage(folder),
            "lobby": lambda: bench.lobby(folder),
            "suites": bench.suites,
            "ancestors": lambda: Ancestors(bench, reactor).measure(daemon, yardstick),
        }
        found = {part: await run() for part, run in runs.items() if part in parts}
        for part in PARTS:
            figures += found.get(part, [])
    finally:
        daemon.served.stop()
        yardstick.served.stop()
    return figures


@click.command()
@click.option("--quick", is_flag=True, help="A minute in all; the figures are rough.")
@click.option("--parts", default=",".join(PARTS), show_default=True, help="What to measure.")
@click.option("--seconds", type=click.FloatRange(0.1), help=f"Of each measurement.  [default: {Scale().seconds:g}]")
@click.option("--connections", type=click.IntRange(20), help=f"How many are many.  [default: {Scale().connections}]")
@click.option("--messages", type=click.IntRange(16), help=f"Through the mailboxes.  [default: {Scale().messages}]")
@click.option("--pairs", type=click.IntRange(1), help=f"That talk at once.  [default: {Scale().pairs}]")
@click.option("--json", "path", type=A_FILE, default=DEFAULT_JSON, help="For the figures.  [default: build/bench.json]")
@click.option("--folder", type=A_FOLDER, help="For state that passes.  [default: the temporary folder]")
@click.option("--profile", type=A_FILE, help="Where to keep what cProfile sees of the daemon; it spoils the figures.")
def main(
    quick: bool,
    parts: str,
    seconds: float | None,
    connections: int | None,
    messages: int | None,
    pairs: int | None,
    path: Path,
    folder: Path | None,
    profile: Path | None,
) -> None:
    """Measure what the relay costs, beside a stock relay."""
    wanted = tuple(parts.split(","))
    if set(wanted) - set(PARTS):
        raise click.UsageError(f"--parts takes some of {','.join(PARTS)}")
    plain = QUICK if quick else Scale()
    scale = Scale(
        seconds or plain.seconds, connections or plain.connections, messages or plain.messages, pairs or plain.pairs
    )
    cores = machine.choose_cores()
    if not cores.apart:
        say("there is one core only: server and load disturb each other")
    try:
        machine.allow_files(2 * scale.connections)
        # A short path, for the daemon keeps a socket in it.
        with tempfile.TemporaryDirectory(prefix="securemsg-bench-", dir=folder) as home:
            about = machine.describe(Path(home))
            began, own, everybody = time.monotonic(), machine.own_time(), machine.all_time()
            with machine.pinned(cores.load):
                figures = run(lambda reactor: measure(reactor, Path(home), cores, scale, wanted, profile))
            others = (machine.all_time() - everybody - machine.own_time() + own) / (time.monotonic() - began)
    except machine.Unmeasurable as problem:
        raise click.ClickException(str(problem)) from problem
    options = {
        **asdict(scale),
        "parts": list(wanted),
        "quick": quick,
        "message_sizes": sizes(),
        "apart": cores.apart,
        "others": round(others, 3),
    }
    report.write_json(path, report.as_json(figures, about, options))
    report.print_tables(figures)
    if others > DISTURBED:
        say(f"others used {others:.0%} of a core meanwhile: rates and delays would be better without them")
    say(f"kept in {path}")


if __name__ == "__main__":
    main()
