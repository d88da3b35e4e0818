"""What the same service costs over UDP, beside TCP in the same run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from attrs import define
from twisted.internet.interfaces import IReactorTime

from bench.devices import Daemon, over_tcp, over_udp
from bench.flows import percentile
from bench.parts import MILLI, WINDOWS, Bench
from bench.report import Figure, figure
from bench.served import Served

# Messages a second of the comparison of delays.
RATE = 500
BESIDE = "over TCP"


@define
class Udp:
    """The figures of one daemon, over both."""

    _bench: Bench
    _reactor: IReactorTime

    async def measure(self, restart: Callable[[], Served]) -> list[Figure]:
        """
        All of them.

        @param restart: gives a fresh process of the daemon.
        """
        bench, connections = self._bench, self._bench.scale.few_connections
        figures = []
        held = await bench.memory(self._over_udp(restart()))
        daemon = self._over_tcp(restart())
        beside = await bench.memory(daemon)
        label = f"memory an idle connection over UDP, {connections:,} of them"
        figures.append(figure("udp_idle_kb", label, "kB", held, beside, beside=BESIDE))
        udp = self._over_udp(daemon.served)
        for window in WINDOWS:
            ours, tcp = [await bench.closed(target, window, "text") for target in (udp, daemon)]
            label = f"server CPU a message over UDP, {window} in flight"
            figures.append(figure(f"udp_cpu_{window}", label, "us", ours.cost, tcp.cost, beside=BESIDE))
            label = f"messages a second over UDP, {window} in flight"
            figures.append(figure(f"udp_rate_{window}", label, "1/s", ours.rate, tcp.rate, beside=BESIDE))
        samples = [await bench.paced(target, bench.scale.pairs, RATE) for target in (udp, daemon)]
        for share in (50, 99):
            ours_ms, tcp_ms = (percentile(sample.delays, share / 100) * MILLI for sample in samples)
            label = f"p{share} over UDP at {RATE} a second"
            figures.append(figure(f"udp_p{share}_{RATE}", label, "ms", ours_ms, tcp_ms, beside=BESIDE))
        logins = [await bench.log_ins(target) for target in (udp, daemon)]
        label = "logins over UDP a second of server CPU"
        figures.append(figure("udp_logins", label, "1/s", logins[0], logins[1], beside=BESIDE))
        return figures

    def _over_udp(self, served: Served) -> Daemon:
        return Daemon(served, partial(over_udp, self._reactor), self._bench.waiting, name="daemon over UDP")

    def _over_tcp(self, served: Served) -> Daemon:
        return Daemon(served, partial(over_tcp, self._reactor), self._bench.waiting, name="daemon over TCP")
