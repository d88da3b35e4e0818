"""One measurement of the daemon with load on Twisted, over UDP or TCP: it sets up its load, lets it settle, and watches."""

from __future__ import annotations

import resource
from collections.abc import Callable, Sequence

from attrs import define, evolve, frozen

from bench.devices import Daemon
from bench.flows import Flow, Pace, percentile
from bench.machine import Unmeasurable
from bench.scale import Scale
from bench.target import Waiting

WINDOWS = (1, 16)
# Nothing is measured while the first messages fill caches and pools.
SETTLE = 0.15
# Logins under way at once.
LOGIN_WORKERS = 8
# Connections that make a process load and allocate what it needs once.
WARM_UP = 10
# Processor time may be too little to divide by.
TICK = 0.01
# A rate was held if so much of it was.
HELD = 0.98
MICRO = 1e6
MILLI = 1e3


@frozen
class Sample:
    """
    What was seen in some seconds of load.

    @ivar cost: server CPU a message, microseconds.
    @ivar rate: messages a second.
    @ivar busy: share of the load process's core that it used.
    @ivar delays: sorted.
    """

    cost: float
    rate: float
    busy: float
    delays: list[float]


def own_cpu() -> float:
    """What the load process has used, seconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@define
class Bench:
    """
    The parts, on any target.

    @ivar say: takes progress.
    """

    scale: Scale
    waiting: Waiting
    say: Callable[[str], None]

    async def sample(self, target: Daemon, flows: Sequence[Flow]) -> Sample:
        """Watch a load that runs already."""
        seconds = self.scale.seconds
        await self.waiting.sleep(seconds * SETTLE)
        for flow in flows:
            flow.delays.clear()
        now = self.waiting.reactor.seconds
        before = sum(flow.done for flow in flows)
        began, server, own = now(), target.served.cpu(), own_cpu()
        await self.waiting.sleep(seconds)
        wall, server, own = now() - began, target.served.cpu() - server, own_cpu() - own
        count = sum(flow.done for flow in flows) - before
        delays = sorted(delay for flow in flows for delay in flow.delays)
        if not count or not delays:
            raise Unmeasurable(f"no message came through the {target.name} in {seconds:g} s")
        return Sample(server / count * MICRO, count / wall, own / wall, delays)

    async def settle(self, flows: Sequence[Flow]) -> None:
        """Wait until nothing is in flight: all that was sent has come, and has been answered for."""
        for flow in flows:
            flow.window = 0
        await self.waiting.until(lambda: all(flow.done == flow.sent for flow in flows), "messages in flight")

    async def closed(self, target: Daemon, window: int, size: str) -> Sample:
        """So many in flight on each pair."""
        flows = await target.flows(self.scale.pairs, size)
        for flow in flows:
            flow.window = window
            flow.refill()
        sample = await self.sample(target, flows)
        await self.settle(flows)
        await target.hang_up()
        self.say(
            f"{target.name}: {window} in flight: {sample.cost:.1f} us, {sample.rate:,.0f}/s,"
            f" p50 {percentile(sample.delays, 0.5) * MILLI:.2f} ms, load {sample.busy:.0%}"
        )
        return sample

    async def paced(self, target: Daemon, pairs: int, rate: float) -> Sample:
        """
        So many a second.

        @raise Unmeasurable: the server did not keep up.
        """
        flows = await target.flows(pairs, "text")
        pace = Pace(self.waiting.reactor, flows, rate)
        pace.start()
        try:
            sample = await self.sample(target, flows)
        finally:
            pace.stop()
        await self.settle(flows)
        # What was still in flight has waited longest, and belongs to the delays.
        sample = evolve(sample, delays=sorted(delay for flow in flows for delay in flow.delays))
        await target.hang_up()
        self.say(
            f"{target.name}: {rate:,}/s over {pairs} pairs: {sample.cost:.1f} us,"
            f" p50 {percentile(sample.delays, 0.5) * MILLI:.2f} ms, p99 {percentile(sample.delays, 0.99) * MILLI:.2f} ms"
        )
        if sample.rate < rate * HELD:
            self.say(f"{target.name}: NOT HELD: {sample.rate:,.0f} of {rate:,} messages a second")
        return sample

    async def memory(self, target: Daemon) -> float:
        """What each of many idle connections takes, kB."""
        await target.idle(WARM_UP)
        await self.waiting.sleep(0.5)
        before = target.served.resident()
        await target.idle(self.scale.few_connections)
        await self.waiting.sleep(min(3, self.scale.seconds))
        each = (target.served.resident() - before) / self.scale.few_connections / 1000
        await target.hang_up()
        self.say(f"{target.name}: {each:.1f} kB for each of {self.scale.few_connections} idle connections")
        return each

    async def log_ins(self, target: Daemon) -> float:
        """Connect and disconnect for some seconds: how often that goes in a second of the server's CPU."""
        now = self.waiting.reactor.seconds
        end = now() + self.scale.seconds
        numbers = iter(range(1_000_000))
        counts: list[int] = []

        async def work() -> None:
            """One after the other."""
            while now() < end:
                counts.append(await target.log_in(next(numbers)))

        before = target.served.cpu()
        await self.waiting.each([work] * LOGIN_WORKERS)
        rate = sum(counts) / max(target.served.cpu() - before, TICK)
        self.say(f"{target.name}: {rate:,.0f} logins a second of CPU")
        return rate
