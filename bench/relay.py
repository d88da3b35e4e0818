"""
C{make bench}: what the relay costs, beside a stock Twisted TLS relay, a bare path and the peers that are installed, measured in
the same run, in turn.

The servers have one core, the load another. The table goes to standard output, progress to standard error, and everything to a
JSON file, with two plots beside it. What the figures mean, and how they came out, is in C{docs/performance.md}.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import click
from attrs import asdict, evolve
from twisted.internet.interfaces import IReactorTCP, IReactorTime

from bench import clients, garbage, lobby, loss, machine, plots, report, rooms, served, starts, suites
from bench.ancestors import Ancestors
from bench.parts import Bench
from bench.peers import BARE, PEERS, STOCK, Peer, start_installed, start_own
from bench.report import Figure
from bench.rows import Rows
from bench.running import run, say
from bench.scale import QUICK, Scale
from bench.sizes import SIZES
from bench.target import Waiting
from bench.udp import Udp

DEFAULT_JSON = served.ROOT / "build" / "bench.json"
# In the order in which they are measured: memory first, in fresh processes.
OVER_TCP = ("idle", "cost", "latency", "logins", "mailbox", "queue", "growth", "ancestors")
# Those that need the peers.
BESIDE_PEERS = ("cost", "latency", "logins")
PARTS = (*OVER_TCP, "clients", "starts", "udp", "rooms", "loss", "garbage", "lobby", "suites")
# Of one core, what a machine that does nothing else spends on itself, writing to disk included.
DISTURBED = 0.15
A_FILE = click.Path(path_type=Path, dir_okay=False)
A_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)


def measure(folder: Path, cores: machine.Cores, scale: Scale, parts: tuple[str, ...], peers: Collection[str]) -> list[Figure]:
    """Every part that is wanted, in the order of the table."""
    figures: list[Figure] = []
    if {*OVER_TCP, "udp", "rooms"} & set(parts):
        figures += relayed(folder, cores, scale, parts, peers)

    def rounds(usual: int) -> int:
        """Of a run that is short in all, as few."""
        return usual if scale.seconds >= 1 else scale.rounds

    alone: dict[str, Callable[[], list[Figure]]] = {
        "clients": lambda: clients.Clients(made(folder / "people"), cores.server, scale.lines).measure(scale.rounds, say),
        "starts": lambda: starts.Starts(made(folder / "starts"), cores.server).measure(rounds(starts.ROUNDS), say),
        "loss": lambda: loss.measure(scale, folder, cores),
        "garbage": lambda: garbage.measure(folder / "victim"),
        "lobby": lambda: lobby.measure(folder / "contact"),
        "suites": lambda: suites.measure(rounds(suites.ROUNDS)),
    }
    with machine.pinned(cores.load):
        for part, run_part in alone.items():
            if part in parts:
                say(f"measuring {part}")
                figures += run_part()
    return figures


def relayed(folder: Path, cores: machine.Cores, scale: Scale, parts: tuple[str, ...], peers: Collection[str]) -> list[Figure]:
    """What needs a running daemon with accounts."""
    figures: list[Figure] = []
    running: list[Peer] = []
    rows = Rows(scale, running, say, folder, cores)
    try:
        running += [start_own(name, folder, cores.server) for name in (STOCK, BARE)]
        if set(BESIDE_PEERS) & set(parts):
            running += start_installed(folder, cores.server, peers, say)
        runs: dict[str, Callable[[], list[Figure]]] = {
            "idle": rows.idle,
            "cost": rows.cost,
            "latency": rows.latency,
            "logins": rows.logins,
            "mailbox": rows.mailbox,
            "queue": rows.queue,
            "growth": rows.growth,
            "ancestors": Ancestors(rows).measure,
        }
        for part, run_part in runs.items():
            if part in parts:
                figures += run_part()
        if {"udp", "rooms"} & set(parts):
            figures += on_twisted(rows, cores, parts)
    finally:
        rows.stop()
        for peer in running:
            peer.served.stop()
    return figures


def on_twisted(rows: Rows, cores: machine.Cores, parts: Collection[str]) -> list[Figure]:
    """What has its load on Twisted: UDP beside TCP, for QUIC is there; and a room of fifty, with what it costs clients."""

    async def compare(reactor: IReactorTCP) -> list[Figure]:
        """With the reactor running."""
        assert IReactorTime.providedBy(reactor)
        bench = Bench(rows.scale, Waiting(reactor), say)
        figures = await Udp(bench, reactor).measure(rows.restart) if "udp" in parts else []
        if "rooms" in parts:
            figures += await rooms.Rooms(bench, reactor).measure(rows.restart())
            figures += rooms.measure_clients(rows.scale.rounds)
        return figures

    with machine.pinned(cores.load):
        return run(compare)


def made(folder: Path) -> Path:
    """A folder that is there."""
    folder.mkdir()
    return folder


def counts(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """
    Numbers with commas between them.

    @raise click.BadParameter: they are none.
    """
    if text is None:
        return None
    words = text.split(",")
    if not all(word.isdecimal() and int(word) >= 20 for word in words):
        raise click.BadParameter("numbers from 20 on, with commas between them")
    return tuple(int(word) for word in words)


@click.command()
@click.option("--quick", is_flag=True, help="Two minutes in all; the figures are rough.")
@click.option("--parts", default=",".join(PARTS), show_default=True, help="What to measure.")
@click.option("--peers", default=",".join(PEERS), show_default=True, help="Which programs stand beside it, if installed.")
@click.option("--seconds", type=click.FloatRange(0.1), help=f"Of each measurement.  [default: {Scale().seconds:g}]")
@click.option("--rounds", type=click.IntRange(1), help=f"How often each is made, in turn.  [default: {Scale().rounds}]")
@click.option("--connections", callback=counts, help="Idle ones.  [default: 1000,10000]")
@click.option("--growth", type=click.IntRange(20), help=f"Connections that are many.  [default: {Scale().growth}]")
@click.option("--messages", type=click.IntRange(16), help=f"Through the mailboxes.  [default: {Scale().messages}]")
@click.option("--queue", type=click.IntRange(16), help=f"In one mailbox, 1.1 kB each.  [default: {Scale().queue}]")
@click.option("--lines", type=click.IntRange(1), help=f"That one profile sends.  [default: {Scale().lines}]")
@click.option("--pairs", type=click.IntRange(1), help=f"That talk at once.  [default: {Scale().pairs}]")
@click.option("--json", "path", type=A_FILE, default=DEFAULT_JSON, help="For the figures.  [default: build/bench.json]")
@click.option("--folder", type=A_FOLDER, help="For state that passes.  [default: the temporary folder]")
def main(quick: bool, parts: str, peers: str, path: Path, folder: Path | None, **sizes: Any) -> None:
    """Measure what the relay costs, beside others."""
    wanted = tuple(parts.split(","))
    if set(wanted) - set(PARTS):
        raise click.UsageError(f"--parts takes some of {','.join(PARTS)}")
    given = {name: size for name, size in sizes.items() if size is not None}
    scale = evolve(QUICK if quick else Scale(), **given)
    cores = machine.choose_cores()
    if not cores.apart:
        say("there is one core only: server and load disturb each other")
    try:
        machine.allow_files(scale.most)
        # A short path, for the daemon keeps a socket in it.
        with tempfile.TemporaryDirectory(prefix="securemsg-bench-", dir=folder) as home:
            about = machine.describe(Path(home))
            began, own, everybody = time.monotonic(), machine.own_time(), machine.all_time()
            figures = measure(Path(home), cores, scale, wanted, peers.split(","))
            others = (machine.all_time() - everybody - machine.own_time() + own) / (time.monotonic() - began)
    except machine.Unmeasurable as problem:
        raise click.ClickException(str(problem)) from problem
    options = {
        **asdict(scale),
        "parts": list(wanted),
        "quick": quick,
        "message_sizes": SIZES,
        "apart": cores.apart,
        "others": round(others, 3),
    }
    report.write_json(path, report.as_json(figures, about, options))
    report.print_table(figures)
    if others > DISTURBED:
        say(f"others used {others:.0%} of a core meanwhile: rates and delays would be better without them")
    for kept in (path, *plots.write(path.parent, figures)):
        say(f"kept in {kept}")


if __name__ == "__main__":
    main()
