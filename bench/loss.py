"""
Throughput through a network that loses packets (L{bench.lossy}), over UDP beside TCP.

It runs in a network namespace of its own, as a program of its own: C{python -m bench.loss}.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from attrs import asdict, evolve
from twisted.internet.interfaces import IReactorTCP, IReactorTime

from bench import machine, served
from bench.accounts import write_accounts
from bench.devices import Daemon, over_tcp, over_udp
from bench.jobs import TALKERS
from bench.lossy import FAR, LOSS, NEAR
from bench.parts import Bench
from bench.report import Figure, figure
from bench.running import run, say
from bench.scale import Scale
from bench.target import Waiting
from bench.udp import BESIDE

# One pair with so many in flight: that more connections share the losses would hide what one of them suffers.
WINDOW = 128
# Seconds of a measurement, at least: after a loss TCP may be silent for longer than a tenth of one.
LEAST = 1.0
APART = ["unshare", "--map-root-user", "--net"]


def measure(scale: Scale, folder: Path, cores: machine.Cores) -> list[Figure]:
    """
    Measure, where that is possible.

    @param folder: for the daemon's state.
    """
    if not is_possible():
        say("loss: left out, for it needs a network namespace with an interface of its own: run as root on Linux")
        return []
    argv = [str(folder), str(scale.seconds), str(cores.server), str(cores.load)]
    done = subprocess.run(_apart("bench.loss", *argv), cwd=served.ROOT, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise machine.Unmeasurable("no figure of a network that loses packets: see above")
    return [Figure(**fields) for fields in json.loads(done.stdout)]


def is_possible() -> bool:
    """Whether such a network can be had here."""
    with contextlib.suppress(OSError):
        quiet = subprocess.DEVNULL
        argv = _apart("bench.lossy")
        return not subprocess.call(argv, cwd=served.ROOT, stdin=quiet, stdout=quiet, stderr=quiet)
    return False


def _apart(module: str, *argv: str) -> list[str]:
    """The command that runs one of our programs in a namespace of its own."""
    return [*APART, sys.executable, "-m", module, *argv]


async def compare(reactor: IReactorTCP, folder: Path, cores: machine.Cores, seconds: float) -> list[Figure]:
    """In the namespace: a daemon, and the load."""
    assert IReactorTime.providedBy(reactor)
    waiting = Waiting(reactor)
    bench = Bench(evolve(Scale(), seconds=max(seconds, LEAST), pairs=1), waiting, say)
    served.start_daemon(folder, cores.server, 100, host=NEAR).stop()
    write_accounts(folder / served.STATE, TALKERS + 4)
    daemon = served.start_daemon(folder, cores.server, 100, host=NEAR)
    rates = []
    try:
        for base, name, way in ((TALKERS, "daemon over UDP", over_udp), (TALKERS + 2, "daemon over TCP", over_tcp)):
            target = Daemon(daemon, partial(way, reactor, host=FAR), waiting, base, name)
            rates.append((await bench.closed(target, WINDOW, "text")).rate)
    finally:
        daemon.stop()
    label = f"messages a second over UDP, {LOSS:.0%} of packets lost, one pair"
    return [figure("udp_loss", label, "1/s", rates[0], rates[1], beside=BESIDE)]


def main(folder: Path, seconds: float, cores: machine.Cores) -> None:
    """Print the figures as JSON."""
    with subprocess.Popen([sys.executable, "-m", "bench.lossy"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as network:
        assert network.stdout is not None
        network.stdout.readline()
        with tempfile.TemporaryDirectory(prefix="loss-", dir=folder) as home, machine.pinned(cores.load):
            figures = run(lambda reactor: compare(reactor, Path(home), cores, seconds))
    print(json.dumps([asdict(figure) for figure in figures]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), machine.Cores(int(sys.argv[3]), int(sys.argv[4])))
