"""What the ancestors of this program claimed, tried on it: many clients at once, and bad company."""

from __future__ import annotations

from functools import partial

from attrs import define

from bench.jobs import Phase, Reading
from bench.nuisances import company
from bench.peers import DAEMON, STOCK
from bench.report import Figure
from bench.rows import Contestants, Rows, made

# Messages a second, of all clients together.
RATE = 500
# Clients at once, of few and of many; no more than the scale has.
FEW, MANY = 50, 500
# What an ancestor claimed for its fifty, milliseconds.
CLAIM = "50"
# p99 in bad company over p99 without.
COMPANY_AIM = "ratio 1.5"
ALONE = "without bad company"


@define
class Ancestors:
    """Their claims, one after the other."""

    _rows: Rows

    def measure(self) -> list[Figure]:
        """All of them."""
        few, many = (min(clients, self._rows.scale.most) for clients in (FEW, MANY))
        return [*self._crowd("few", few), *self._crowd("many", many), *self._company(few)]

    def _crowd(self, key: str, clients: int) -> list[Figure]:
        """So many clients, half of which write to the other half at a steady rate."""
        rows, phase = self._rows, Phase(self._rows.scale.seconds, 0, RATE)
        contestants = rows.talking(phase, clients // 2, [rows.ours, rows.peer(STOCK)])
        seen = rows.rounds(f"{clients} clients, us", contestants)
        label = f"{clients} clients, {RATE} a second in all"
        return [
            made(f"p50_{key}", f"p50, {label}", "ms", seen, lambda one: one.p50),
            made(f"p99_{key}", f"p99, {label}", "ms", seen, lambda one: one.p99, CLAIM),
        ]

    def _company(self, clients: int) -> list[Figure]:
        """The same load of so many clients without and with bad company, in turn: what else goes on here falls on both."""
        rows, phase = self._rows, Phase(self._rows.scale.seconds, 0, RATE)

        def beside() -> list[Reading]:
            """With all four."""
            with company(rows.daemon.port, rows.daemon.pid, rows.say):
                return rows.talk(rows.ours, clients // 2, phase)

        contestants: Contestants = {
            DAEMON: beside,
            ALONE: partial(rows.talk, rows.ours, clients // 2, phase),
        }
        seen = rows.rounds("bad company, us", contestants)
        return [made("company", f"p99, {clients} clients, beside four nuisances", "ms", seen, lambda one: one.p99, COMPANY_AIM)]
