"""What the ancestors of this program claimed, tried on it: many clients at once, bad company, a long queue."""

from __future__ import annotations

from attrs import define
from twisted.internet.interfaces import IReactorTCP

from bench.devices import Daemon
from bench.flows import percentile
from bench.nuisances import Company
from bench.parts import MILLI, Bench
from bench.report import Figure
from bench.target import Target

# Messages a second, of all clients together.
RATE = 500
# Clients at once, of few and of many; no more than the scale has.
FEW, MANY = 50, 500
# What an ancestor claimed for its fifty, milliseconds.
CLAIM = "50"
# How often the load runs without bad company and with it, in turn: what else goes on here then falls on both.
TURNS = 3
# p99 in bad company over p99 without.
COMPANY_AIM = "1.5"
# One queue is twice as long as all mailboxes of the mailbox part; no mailbox takes more than this.
QUEUE_FACTOR = 2
MAX_QUEUE = 100_000


@define
class Ancestors:
    """Their claims, one after the other."""

    _bench: Bench
    _reactor: IReactorTCP

    async def measure(self, daemon: Daemon, yardstick: Target) -> list[Figure]:
        """All of them."""
        figures = []
        few, many = (min(clients, self._bench.scale.connections) for clients in (FEW, MANY))
        for key, clients in (("few", few), ("many", many)):
            figures += await self.crowd(daemon, yardstick, key, clients)
        figures += await self.company(daemon, few)
        return figures + await self.flow(daemon)

    async def crowd(self, daemon: Daemon, yardstick: Target, key: str, clients: int) -> list[Figure]:
        """
        So many clients, half of which write to the other half at a steady rate. A message's delay counts from the moment it was
        due.
        """
        samples = [await self._bench.paced(target, clients // 2, RATE) for target in (daemon, yardstick)]
        figures = []
        for share in (50, 99):
            ours, stock = (percentile(sample.delays, share / 100) * MILLI for sample in samples)
            label = f"p{share}, {clients} clients, {RATE} a second in all"
            figures.append(Figure(f"p{share}_{key}", label, "ms", ours, stock, CLAIM if share == 99 else ""))
        return figures

    async def company(self, daemon: Daemon, clients: int) -> list[Figure]:
        """The same load of so many clients without and with bad company, in turn."""
        alone: list[float] = []
        beside: list[float] = []
        company = Company(daemon.served, self._reactor, self._bench.waiting)
        for _ in range(TURNS):
            alone += (await self._bench.paced(daemon, clients // 2, RATE)).delays
            await company.come()
            beside += (await self._bench.paced(daemon, clients // 2, RATE)).delays
            piled = await company.go()
            self._bench.say(f"daemon: nuisances thrown out {company.thrown_out} times so far; {piled:,} messages piled up")
        before, after = (percentile(sorted(delays), 0.99) * MILLI for delays in (alone, beside))
        return [
            Figure("p99_alone", f"p99, {clients} clients, without bad company", "ms", before),
            Figure("p99_beside", f"p99, {clients} clients, with four nuisances", "ms", after),
            Figure("company", "p99 with nuisances over that without", "x", after / before, None, COMPANY_AIM),
        ]

    async def flow(self, daemon: Daemon) -> list[Figure]:
        """One client is away while another writes to it as fast as it can; then it comes, and gets all in order."""
        count = min(QUEUE_FACTOR * self._bench.scale.messages, MAX_QUEUE)
        before = daemon.served.state_size()
        flow = await self._bench.store_and_drain(daemon, 1, count)
        return [
            Figure("queue_stored", f"{count:,} messages stored for one absent client", "1/s", flow.stored),
            Figure("queue_drained", "the same, drained in order", "1/s", flow.drained),
            Figure("queue_disk", "disk a message in that queue", "bytes", (flow.disk - before) / count),
        ]
