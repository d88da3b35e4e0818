"""What is measured of the daemon and of its peers, with the load of L{bench.load}: round by round, one after the other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec
from attrs import define, field

from bench import machine, served
from bench.jobs import ASIDE, LOGIN_ACCOUNTS, LOGINS, MAILBOXES, QUEUE, TALKERS, Job, Phase, Reading
from bench.machine import Unmeasurable
from bench.peers import BARE, DAEMON, STOCK, Peer, start_own
from bench.report import Figure
from bench.scale import Scale
from bench.served import Served

WINDOWS = (1, 4, 16, 64)
RATES = (500, 2000, 5000, 10_000)
# So many messages a second are stored for absent devices while the delays of others are measured.
ASIDE_RATE = 5000
FEW = 100
GROWTH_RATE = 2000
MAILBOX_PAIRS = 16
# The mailbox that a long one is compared with.
SHORT_QUEUE = 20_000
MICRO = 1e6
OTHER_SIZE = "daemon, 200 bytes in all"
BESIDE = "daemon, beside 5,000 a second stored"
CPU_AIMS = {1: "1.5 x bare path, 1.6 x mosquitto QoS 1", 16: "3.5 x bare path, 0.75 x mosquitto QoS 1"}
PACED_AIMS = {2000: "100", 5000: "80"}

# What gives a reading of each server.
Contestants = dict[str, Callable[[], list[Reading]]]
# What was read of each server: the phases of each round.
Seen = dict[str, list[list[Reading]]]


@define
class Rows:
    """
    The parts whose load goes over TCP.

    @ivar peers: what the daemon is compared with.
    @ivar say: takes progress.
    """

    scale: Scale
    peers: Sequence[Peer]
    say: Callable[[str], None]
    _folder: Path
    _cores: machine.Cores
    daemon: Served = field(init=False)
    _base: int = field(init=False, default=TALKERS)
    _load: subprocess.Popen[bytes] | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        """Have a daemon with accounts."""
        self.daemon = served.start_with_accounts(self._folder, self._cores.server, TALKERS + self._talkers, self._clients)

    @property
    def _talkers(self) -> int:
        """Accounts, so many that none sends more than the daemon allows it."""
        return 2 * self.scale.most + 100

    @property
    def _clients(self) -> int:
        """No account and no tree of accounts may take all connections."""
        return self.scale.most + 1000

    def restart(self, mailbox: int = 0) -> Served:
        """Have a fresh process of the daemon, with the same accounts."""
        self.daemon.stop()
        self.daemon = served.start_daemon(self._folder, self._cores.server, self._clients, mailbox=mailbox)
        return self.daemon

    # --- asking ---------------------------------------------------------------------------------------------------

    def ask(self, peer: Peer, kind: str, job: Mapping[str, object]) -> list[Reading]:
        """
        Have the load do something.

        @raise Unmeasurable: it could not.
        """
        work = Job(peer.speaks, kind, peer.served.port, peer.served.pid, **job)  # type: ignore[arg-type]
        if self._load is None:
            argv = [sys.executable, "-m", "bench.load"]
            with machine.pinned(self._cores.load):
                self._load = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=served.ROOT)
        assert self._load.stdin is not None and self._load.stdout is not None
        self._load.stdin.write(msgspec.json.encode(work) + b"\n")
        self._load.stdin.flush()
        answer = self._load.stdout.readline()
        if not answer:
            raise Unmeasurable(f"no figure of {peer.name}: see above")
        return msgspec.json.decode(answer, type=list[Reading])

    def stop(self) -> None:
        """End the daemon, and the load."""
        self.daemon.stop()
        if self._load is not None:
            self._load.terminate()
            self._load.communicate()

    def talk(self, peer: Peer, pairs: int, *phases: Phase, size: str = "text", aside: float = 0) -> list[Reading]:
        """Let so many pairs talk."""
        if self._base + 2 * pairs > TALKERS + self._talkers:
            self._base = TALKERS
        # Peers have no limits, but one that keeps something for each recipient would pay for new ones.
        base = self._base if peer.speaks == self.ours.speaks else TALKERS
        job = {"base": base, "pairs": pairs, "phases": phases, "size": size, "aside": aside, "aside_base": ASIDE}
        self._base += 2 * pairs
        return self.ask(peer, "talk", job)

    def rounds(self, what: str, contestants: Contestants, rounds: int = 0) -> Seen:
        """Ask all of them in turn, as often as there are rounds."""
        seen: Seen = {name: [] for name in contestants}
        for number in range(rounds or self.scale.rounds):
            for name, ask in contestants.items():
                seen[name].append(ask())
                for one in seen[name][-1]:
                    self.say(
                        f"{number + 1}: {what}: {name}: {one.cost:,.1f}; {one.rate:,.0f}/s,"
                        f" p50 {one.p50:.2f}, p99 {one.p99:.2f} ms; load {one.busy:.0%}, others {one.others:.0%}"
                    )
        return seen

    def talking(self, phase: Phase, pairs: int, peers: Sequence[Peer]) -> Contestants:
        """Each of these asked the same."""
        return {peer.name: partial(self.talk, peer, pairs, phase) for peer in peers}

    @property
    def everybody(self) -> list[Peer]:
        """The daemon and all peers."""
        return [self.ours, *self.peers]

    @property
    def ours(self) -> Peer:
        """The daemon, whichever process it is now."""
        return Peer(DAEMON, self.daemon, "securemsg")

    def peer(self, name: str) -> Peer:
        """One of the others."""
        return next(peer for peer in self.peers if peer.name == name)

    # --- the parts ------------------------------------------------------------------------------------------------

    def cost(self) -> list[Figure]:
        """Server CPU a message, with so many in flight on each pair."""
        figures = []
        for window in WINDOWS:
            phase = Phase(self.scale.seconds, window)
            contestants = self.talking(phase, self.scale.pairs, self.everybody)
            contestants[OTHER_SIZE] = partial(self.talk, self.ours, self.scale.pairs, phase, size="total")
            seen = self.rounds(f"{window} in flight, us", contestants)
            label = f"server CPU a message, {window} in flight"
            figures.append(made(f"cpu_{window}", label, "us", seen, lambda one: one.cost, CPU_AIMS.get(window, "")))
            figures.append(made(f"rate_{window}", f"messages a second, {window} in flight", "1/s", seen, lambda one: one.rate))
        return figures

    def latency(self) -> list[Figure]:
        """From the moment a message is due to the moment the recipient has it; and what it costs at that pace."""
        figures = []
        for rate in RATES:
            contestants = self.talking(Phase(self.scale.seconds, 0, rate), self.scale.pairs, self.everybody)
            seen = self.rounds(f"{rate:,} a second, us", contestants)
            label, aim = f"server CPU a message at {rate:,} a second", PACED_AIMS.get(rate, "")
            figures.append(made(f"cpu_at_{rate}", label, "us", seen, lambda one: one.cost, aim))
            figures.append(made(f"p50_{rate}", f"p50 at {rate:,} a second", "ms", seen, lambda one: one.p50))
            aim = "1.5 x stock relay" if rate in PACED_AIMS else ""
            figures.append(made(f"p99_{rate}", f"p99 at {rate:,} a second", "ms", seen, lambda one: one.p99, aim))
        return [*figures, *map(self._beside, PACED_AIMS)]

    def _beside(self, rate: int) -> Figure:
        """The same while messages are stored for others; who stores nothing has only the others to show."""
        phase, pairs = Phase(self.scale.seconds, 0, rate), self.scale.pairs
        contestants: Contestants = {BESIDE: partial(self.talk, self.ours, pairs, phase, aside=ASIDE_RATE)}
        contestants |= self.talking(phase, pairs, [self.ours, self.peer(STOCK)])
        seen = self.rounds(f"{rate:,} a second beside {ASIDE_RATE:,} stored, us", contestants)
        label = f"p99 at {rate:,} a second while {ASIDE_RATE:,} are stored for others"
        return made(f"p99_{rate}_beside", label, "ms", seen, lambda one: one.p99, "1.5 x stock relay")

    def idle(self) -> list[Figure]:
        """Memory of connections that do nothing, in fresh processes: what older ones have freed would hide what is taken."""
        return [self._idle(count) for count in self.scale.connections]

    def _idle(self, count: int) -> Figure:
        job = {"base": TALKERS, "pairs": count, "seconds": min(2, self.scale.seconds)}
        contestants: Contestants = {
            DAEMON: partial(self._fresh, job),
            STOCK: partial(self._fresh_own, STOCK, job),
        }
        seen = self.rounds(f"{count:,} idle, kB each", contestants)
        label = f"memory an idle connection, {count:,} of them"
        return made(f"idle_kb_{count}", label, "kB", seen, lambda one: one.cost, "24")

    def _fresh(self, job: Mapping[str, object]) -> list[Reading]:
        self.restart()
        return self.ask(self.ours, "idle", job)

    def _fresh_own(self, name: str, job: Mapping[str, object]) -> list[Reading]:
        """As L{_fresh}, with a second process of a yardstick."""
        peer = start_own(name, self._folder, self._cores.server)
        try:
            return self.ask(peer, "idle", job)
        finally:
            peer.served.stop()

    def logins(self) -> list[Figure]:
        """How many logins a second of server CPU pays for; who has none has a TLS handshake to show."""
        job = {"base": LOGINS, "pairs": LOGIN_ACCOUNTS, "seconds": self.scale.seconds}
        seen = self.rounds("logins, us", {peer.name: partial(self.ask, peer, "logins", job) for peer in self.everybody})
        return [made("logins", "logins a second of server CPU", "1/s", seen, lambda one: MICRO / one.cost, "1,500")]

    def mailbox(self) -> list[Figure]:
        """Messages for devices that are away; then the devices come. Nobody else has a queue that fsyncs."""
        each = self.scale.messages // MAILBOX_PAIRS
        seen = self.rounds("mailboxes, us", {DAEMON: partial(self._through, MAILBOXES, MAILBOX_PAIRS, each)})
        figures = []
        for phase, (name, done, aim) in enumerate((("stored", "stored", "60,000"), ("drained", "drained", "120,000"))):
            label = f"messages {done} for absent devices" if not phase else "messages drained by them"
            figures.append(made(name, label, "1/s", seen, lambda one: one.rate, aim, phase))
            figures.append(made(f"{name}_cpu", f"server CPU a message {done}", "us", seen, lambda one: one.cost, "", phase))
        return figures

    def _through(self, base: int, recipients: int, each: int) -> list[Reading]:
        """Store and drain."""
        job = {"base": base, "pairs": MAILBOX_PAIRS, "recipients": recipients, "each": each}
        stored = self.ask(self.ours, "store", job)
        return stored + self.ask(self.ours, "drain", {**job, "pairs": recipients, "recipients": MAILBOX_PAIRS})

    def queue(self) -> list[Figure]:
        """One long mailbox and one short one, each written to by sixteen and drained by one."""
        count = self.scale.queue - self.scale.queue % MAILBOX_PAIRS
        short = min(SHORT_QUEUE, count)
        self.restart(mailbox=count)
        before = self.daemon.state_size()
        sizes: list[int] = []

        def long() -> list[Reading]:
            """Its disk is looked at while it is full."""
            job = {"base": QUEUE, "pairs": MAILBOX_PAIRS, "recipients": 1, "each": count}
            stored = self.ask(self.ours, "store", job)
            sizes.append(self.daemon.state_size() - before)
            return stored + self.ask(self.ours, "drain", {**job, "pairs": 1, "recipients": MAILBOX_PAIRS})

        name = f"a mailbox of {short:,}"
        seen = self.rounds("one mailbox, us", {DAEMON: long, name: partial(self._through, QUEUE, 1, short)}, 1)
        self.restart()
        figures = [
            made(f"queue_{what}", f"messages {what}, one mailbox of {count:,}", "1/s", seen, lambda one: one.rate, aim, phase)
            for phase, (what, aim) in enumerate((("stored", ""), ("drained", "1")))
        ]
        disk = {DAEMON: [size / count for size in sizes]}
        return [*figures, Figure("queue_disk", "disk a message in that mailbox", "bytes", disk)]

    def growth(self) -> list[Figure]:
        """The same load over few and over many connections: what do the connections themselves cost?"""
        many = self.scale.growth
        few = min(FEW, many // 2)
        phases = Phase(self.scale.seconds, 0, GROWTH_RATE), Phase(self.scale.seconds, 1)

        def grown(peer: Peer) -> list[Reading]:
            """Ratios of costs."""
            both = zip(self.talk(peer, few // 2, *phases), self.talk(peer, many // 2, *phases), strict=True)
            return [msgspec.structs.replace(large, cost=large.cost / small.cost) for small, large in both]

        contestants: Contestants = {peer.name: partial(grown, peer) for peer in (self.ours, self.peer(STOCK), self.peer(BARE))}
        seen = self.rounds(f"{many:,} connections over {few}, x", contestants)
        label = f"cost a message at {many:,} connections over that at {few}"
        paced, saturated = f"{label}, {GROWTH_RATE:,} a second", f"{label}, 1 in flight"
        return [
            made("growth", paced, "x", seen, lambda one: one.cost, "1.15", 0),
            made("growth_saturated", saturated, "x", seen, lambda one: one.cost, "1.5", 1),
        ]


def made(
    key: str, label: str, unit: str, seen: Seen, pick: Callable[[Reading], float], aim: str = "", phase: int = 0
) -> Figure:
    """
    A row of the table.

    @param pick: gives the value of a reading.
    @param phase: which of the readings of a round.
    """
    samples = {name: [pick(readings[phase]) for readings in rounds] for name, rounds in seen.items()}
    others = max(readings[phase].others for rounds in seen.values() for readings in rounds)
    load = max(readings[phase].busy for readings in next(iter(seen.values())))
    return Figure(key, label, unit, samples, aim, round(others, 3), round(load, 3))
