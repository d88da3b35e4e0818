"""What is measured: each part sets up its load, lets it settle, and takes the figures."""

from __future__ import annotations

import resource
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import define, evolve, frozen

from bench.devices import MESSAGE_SIZE, PARTS, Daemon
from bench.flows import Flow, Pace, percentile
from bench.garbage import measure as measure_garbage
from bench.lobby import measure as measure_lobby
from bench.machine import Unmeasurable
from bench.report import Figure
from bench.suites import measure as measure_suites
from bench.target import Target, Waiting

PAIRS = 50
WINDOWS = (1, 16)
RATES = (500, 5000)
FEW_CONNECTIONS = 100
# The load of the comparison between few and many connections: about a third of what one core can do.
SCALE_RATE = 2000
# Nothing is measured while the first messages fill caches and pools.
SETTLE = 0.15
# Logins under way at once.
LOGIN_WORKERS = 8
# Connections that make a process load and allocate what it needs once.
WARM_UP = 10
# Pairs, and messages in flight of each, of the mailbox part: the daemon should have something to put into each commit.
MAILBOX_PAIRS = 16
MAILBOX_WINDOW = 128
# Processor time is counted in steps of this, seconds: a run too short may see none.
TICK = 0.01
# A rate was held if so much of it was.
HELD = 0.98
MICRO = 1e6
MILLI = 1e3


@frozen
class Scale:
    """
    How long and how much.

    @ivar seconds: of each single measurement.
    @ivar connections: how many are many.
    @ivar messages: that go through the mailboxes.
    """

    seconds: float = 10
    connections: int = 1000
    messages: int = 50_000
    pairs: int = PAIRS


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


@frozen
class Queues:
    """
    What became of messages for devices that were away.

    @ivar stored: messages a second, from the first deposit to the last answer.
    @ivar drained: messages a second, from the logins until the last acknowledgement was taken.
    @ivar stored_cost: server CPU a message, microseconds; likewise C{drained_cost}.
    @ivar disk: bytes of the daemon's state while all of them waited.
    """

    stored: float
    drained: float
    stored_cost: float
    drained_cost: float
    disk: int


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

    async def sample(self, target: Target, flows: Sequence[Flow]) -> Sample:
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

    async def closed(self, target: Target, window: int, size: str) -> Sample:
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

    async def paced(self, target: Target, pairs: int, rate: float) -> Sample:
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

    async def cost(self, daemon: Daemon, yardstick: Target) -> list[Figure]:
        """Server CPU a message."""
        figures = []
        sizes = {"text": f"{MESSAGE_SIZE}-byte text", "total": f"{MESSAGE_SIZE} bytes in all"}
        aims = {1: "3 x", 16: "5 x"}
        for window in WINDOWS:
            stock = await self.closed(yardstick, window, "total")
            for size, name in sizes.items():
                sample = await self.closed(daemon, window, size)
                key = f"cpu_{window}" if size == "text" else f"cpu_{window}_total"
                label = f"server CPU a message, {window} in flight, {name}"
                figures.append(Figure(key, label, "us", sample.cost, stock.cost, aims[window]))
                if size == "text":
                    key, label = f"rate_{window}", f"messages a second, {window} in flight, {name}"
                    figures.append(Figure(key, label, "1/s", sample.rate, stock.rate))
        return figures

    async def latency(self, daemon: Daemon, yardstick: Target) -> list[Figure]:
        """From the moment a message is due to the moment the recipient has it."""
        figures = []
        for rate in RATES:
            samples = [await self.paced(target, self.scale.pairs, rate) for target in (daemon, yardstick)]
            held = "" if samples[0].rate >= rate * HELD else f" (held {samples[0].rate:,.0f})"
            for share in (50, 99):
                ours, stock = (percentile(sample.delays, share / 100) * MILLI for sample in samples)
                figures.append(Figure(f"p{share}_{rate}", f"p{share} at {rate:,} a second{held}", "ms", ours, stock))
        return figures

    async def idle(self, daemon: Daemon, yardstick: Target) -> list[Figure]:
        """Memory of connections that do nothing. To be asked of fresh processes: freed memory would hide what is taken."""
        held = [await self.memory(target) for target in (daemon, yardstick)]
        label = f"memory an idle connection, {self.scale.connections:,} of them"
        return [Figure("idle_kb", label, "kB", held[0], held[1], "45")]

    async def memory(self, target: Target) -> float:
        """What each of many idle connections takes, kB."""
        await target.idle(WARM_UP)
        await self.waiting.sleep(0.5)
        before = target.served.resident()
        await target.idle(self.scale.connections)
        await self.waiting.sleep(min(3, self.scale.seconds))
        each = (target.served.resident() - before) / self.scale.connections / 1000
        await target.hang_up()
        self.say(f"{target.name}: {each:.1f} kB for each of {self.scale.connections} idle connections")
        return each

    async def logins(self, daemon: Daemon, yardstick: Target) -> list[Figure]:
        """How many logins a second of server CPU pays for; the yardstick has a TLS handshake to show."""
        await daemon.register(self.scale.pairs)
        rates = [await self.log_ins(target) for target in (daemon, yardstick)]
        return [Figure("logins", "logins (relay: handshakes) a second of server CPU", "1/s", rates[0], rates[1])]

    async def log_ins(self, target: Target) -> float:
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

    async def store_and_drain(self, daemon: Daemon, pairs: int, each: int) -> Queues:
        """
        Messages for devices that are away, until all are accepted; then the devices come, until all are acknowledged.

        @param pairs: how many devices are away, each with one that writes to it.
        @param each: how many messages wait for each.
        @raise Unmeasurable: one was missing, or came out of order (see L{LoadDevice}).
        """
        now = self.waiting.reactor.seconds
        total = pairs * each
        await daemon.register(2 * pairs)
        away = daemon.accounts[1 : 2 * pairs : 2]
        senders = await daemon.connect(daemon.accounts[: 2 * pairs : 2])
        flows = [daemon.flow(sender, to, "text") for sender, to in zip(senders, away, strict=True)]
        began, cpu, own = now(), daemon.served.cpu(), own_cpu()
        for flow in flows:
            flow.awaits_delivery, flow.window, flow.limit = False, MAILBOX_WINDOW, each
            flow.refill()
        await self.waiting.until(lambda: all(flow.accepted == each for flow in flows), "deposits to be accepted", 600)
        wall, used, own = now() - began, daemon.served.cpu() - cpu, own_cpu() - own
        stored = total / wall
        self.say(f"daemon: stored {stored:,.0f}/s, {used / total * MICRO:.1f} us each, load {own / wall:.0%}")
        await daemon.hang_up()
        disk = daemon.served.state_size()

        began, cpu, own = now(), daemon.served.cpu(), own_cpu()
        recipients = await daemon.connect(away)
        await self.waiting.until(lambda: all(end.received_count == each for end in recipients), "the mailboxes", 600)
        for end in recipients:
            end.ping()
        await self.waiting.until(lambda: all(end.pongs for end in recipients), "the last acknowledgements")
        wall, drain_used, own = now() - began, daemon.served.cpu() - cpu, own_cpu() - own
        drained = total / wall
        self.say(f"daemon: drained {drained:,.0f}/s, {drain_used / total * MICRO:.1f} us each, load {own / wall:.0%}")
        if not all(end.drained for end in recipients):
            raise Unmeasurable("a mailbox was not reported empty")
        await daemon.hang_up()
        return Queues(stored, drained, used / total * MICRO, drain_used / total * MICRO, disk)

    async def mailbox(self, daemon: Daemon) -> list[Figure]:
        """Many mailboxes at once."""
        flows = await self.store_and_drain(daemon, MAILBOX_PAIRS, self.scale.messages // MAILBOX_PAIRS)
        return [
            Figure("stored", "messages stored for absent devices", "1/s", flows.stored, None, "20,000"),
            Figure("drained", "messages drained by them", "1/s", flows.drained, None, "20,000"),
            Figure("stored_cpu", "server CPU a message stored", "us", flows.stored_cost),
            Figure("drained_cpu", "server CPU a message drained", "us", flows.drained_cost),
        ]

    async def growth(self, daemon: Daemon, yardstick: Target) -> list[Figure]:
        """The same load over few and over many connections: what do the connections themselves cost?"""
        ratios = []
        rate, many = SCALE_RATE, self.scale.connections
        few = min(FEW_CONNECTIONS, many // 2)
        for target in (daemon, yardstick):
            with_few = await self.paced(target, few // 2, rate)
            with_many = await self.paced(target, many // 2, rate)
            ratios.append(with_many.cost / max(with_few.cost, MICRO * TICK / (rate * self.scale.seconds)))
        label = f"cost a message at {many:,} connections over that at {few}"
        return [Figure("growth", f"{label}, {rate:,} a second", "x", ratios[0], ratios[1])]

    async def garbage(self, folder: Path) -> list[Figure]:
        """What garbage costs a client. No server is needed for that."""
        return self._told("client", measure_garbage(folder / "victim"))

    async def lobby(self, folder: Path) -> list[Figure]:
        """How much the contact C{server} relays. No server is needed for that either."""
        return self._told("contact", measure_lobby(folder / "contact"))

    async def suites(self) -> list[Figure]:
        """What a message costs its clients in each suite. No server is needed for that either."""
        return self._told("client", measure_suites())

    def _told(self, who: str, figures: list[Figure]) -> list[Figure]:
        for figure in figures:
            self.say(f"{who}: {figure.label}: {figure.daemon:,.1f} {figure.unit}")
        return figures


def sizes() -> dict[str, int]:
    """What the two kinds of message weigh: bytes that are opaque to the server."""
    return {name: len(parts.common) + len(parts.own) for name, parts in PARTS.items()}
