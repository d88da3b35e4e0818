"""
The load: a process of its own, with one epoll over all its connections.

C{python -m bench.load} reads a L{Job} from each line of standard input, and writes a list of L{Reading}, one for each phase.
"""

from __future__ import annotations

import gc
import select
import sys
import time
from collections.abc import Callable, Sequence

import msgspec
from attrs import define, field
from OpenSSL import SSL

from bench import machine, mqtt, nats, xmpp
from bench.bare import BareEnd
from bench.depositor import Depositor
from bench.end import End, Flow
from bench.jobs import Job, Phase, Reading
from bench.machine import Unmeasurable
from bench.strings import StringEnd

SPOKEN: dict[str, type[End]] = {
    "securemsg": Depositor,
    "strings": StringEnd,
    "bare": BareEnd,
    "mqtt0": mqtt.Unanswered,
    "mqtt1": mqtt.Answered,
    "nats": nats.Core,
    "jetstream": nats.JetStream,
    "xmpp": xmpp.XmppEnd,
}
# Nothing is measured while the first messages fill caches and pools: a share of the measured time.
SETTLE = 0.2
# Seconds until what should have happened long ago is a failure; and for as much as a mailbox holds.
LIMIT = 60
LONG = 1200
# Messages in flight of each sender while mailboxes are filled: the daemon should have something to put into each commit.
FILLING = 128
WARM_UP = 10
MICRO, MILLI = 1e6, 1e3
_EVENTS = 512
# Seconds between two looks at a clock, where nothing else wakes us.
_LOOK = 0.05


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all, which are sorted, does not exceed."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


@define
class Usage:
    """Processor time of the server, of the load and of all, from when it is made."""

    _pid: int
    _began: float = field(factory=time.monotonic)
    _before: tuple[float, float, float] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._before = self._now()

    def _now(self) -> tuple[float, float, float]:
        return machine.cpu_time(self._pid), time.process_time(), machine.all_time()

    def reading(self, count: int, delays: Sequence[float] = ()) -> Reading:
        """
        What was used for so many messages.

        @raise Unmeasurable: there were none.
        """
        wall = time.monotonic() - self._began
        server, own, everybody = (now - then for now, then in zip(self._now(), self._before, strict=True))
        if not count:
            raise Unmeasurable(f"nothing came through in {wall:.1f} s")
        p50, p99 = (percentile(delays, share) * MILLI for share in (0.5, 0.99))
        others = max(0.0, everybody - server - own) / wall
        return Reading(server / count * MICRO, count / wall, own / wall, others, p50, p99)


@define
class Pace:
    """An open loop: so many messages a second are due, over all flows in turn, whether the server keeps up or not."""

    _flows: Sequence[Flow]
    _rate: float
    _began: float = field(factory=time.monotonic)
    _count: int = 0

    def push_due(self) -> None:
        """Send what is due. A delay counts from that moment, so a server that stalls does not stop the clock."""
        due = int((time.monotonic() - self._began) * self._rate)
        while self._count < due:
            self._count += 1
            self._flows[self._count % len(self._flows)].push(1, self._began + self._count / self._rate)


@define
class Load:
    """
    All connections of one job.

    @ivar done: how many messages are not in flight any more, of those that recipients wait for.
    """

    job: Job
    done: int = 0
    delays: list[float] = field(factory=list, repr=False)
    _epoll: select.epoll = field(factory=select.epoll)
    _ends: dict[int, End] = field(factory=dict, repr=False)

    @property
    def ends(self) -> list[End]:
        """Everybody who is connected."""
        return list(self._ends.values())

    def join(self, number: int, receives: bool = True) -> End:
        """Connect one more."""
        end = SPOKEN[self.job.speaks](self.job.port, number, receives)
        end.stream.watch(self._epoll)
        self._ends[end.stream.descriptor] = end
        # What came together with the end of the login.
        end.take(b"")
        return end

    def flows(self, base: int, pairs: int, away: bool = False) -> list[Flow]:
        """Connect so many pairs, or only those who send."""
        pairs_of_ends = []
        for number in range(base, base + 2 * pairs, 2):
            pairs_of_ends.append((self.join(number, receives=False), None if away else self.join(number + 1)))
        self.until(lambda: all(end.is_ready for end in self._ends.values()), "logins")
        if any(end.delivered for both in pairs_of_ends for end in both if end is not None):
            raise Unmeasurable("a mailbox was not empty")
        for sender, _ in pairs_of_ends:
            sender.address(sender.number + 1, self.job.size)
        return [self.flow(*both) for both in pairs_of_ends]

    def flow(self, sender: End, recipient: End | None) -> Flow:
        """The way from one to another."""
        flow = sender.outgoing = Flow(sender, awaits_delivery=recipient is not None)
        if recipient is not None:
            recipient.incoming = flow
        return flow

    def turn(self, wait: float) -> None:
        """Take what has come, and fill windows."""
        changed: set[Flow] = set()
        for descriptor, events in self._epoll.poll(wait, _EVENTS):
            end = self._ends[descriptor]
            if events & select.EPOLLOUT:
                end.stream.go_on_writing()
                if events == select.EPOLLOUT:
                    continue
            data = end.stream.read()
            if data is None:
                continue
            if not data:
                raise Unmeasurable(f"the server hung up on number {end.number}")
            accepted, delivered = end.take(data)
            if delivered and end.incoming is not None:
                self._arrived(end.incoming, delivered)
                changed.add(end.incoming)
            if accepted and end.outgoing is not None:
                end.outgoing.accepted += accepted
                changed.add(end.outgoing)
        for flow in changed:
            room = flow.room()
            if room > 0:
                flow.push(room, time.monotonic())

    def _arrived(self, flow: Flow, count: int) -> None:
        now, flow.delivered = time.monotonic(), flow.delivered + count
        take = flow.stamps.popleft
        self.delays += [now - take() for _ in range(count)]

    def until(self, condition: Callable[[], bool], what: str, limit: float = LIMIT) -> None:
        """
        Go on until this is so.

        @raise Unmeasurable: it takes too long.
        """
        deadline = time.monotonic() + limit
        while not condition():
            if time.monotonic() > deadline:
                raise Unmeasurable(f"no end in sight after {limit:g} s: {what}")
            self.turn(_LOOK)

    def run(self, flows: Sequence[Flow], phase: Phase, aside: Sequence[Flow]) -> Reading:
        """Load the server for some seconds; then wait for what is in flight, which belongs to the delays."""
        paces = [Pace(aside, self.job.aside)] if aside else []
        if phase.window:
            for flow in flows:
                flow.window = phase.window
                flow.push(phase.window, time.monotonic())
        else:
            paces.append(Pace(flows, phase.rate))
        counted = [*flows, *aside]
        self._spin(paces, phase.seconds * SETTLE)
        self.delays.clear()
        usage, before = Usage(self.job.pid), sum(flow.done for flow in counted)
        self._spin(paces, phase.seconds)
        reading = usage.reading(sum(flow.done for flow in counted) - before)
        for flow in flows:
            flow.window = 0
        self.until(lambda: all(flow.done == flow.sent for flow in counted), "messages in flight")
        self.delays.sort()
        p50, p99 = (percentile(self.delays, share) * MILLI for share in (0.5, 0.99))
        return msgspec.structs.replace(reading, p50=p50, p99=p99)

    def _spin(self, paces: Sequence[Pace], seconds: float) -> None:
        """Go on for so long; where a pace is kept, without sleeping, because a sleeper wakes up late."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for pace in paces:
                pace.push_due()
            self.turn(0 if paces else _LOOK)

    def leave(self) -> None:
        """Hang up."""
        for end in self._ends.values():
            end.stream.close()
        self._ends.clear()


def talk(job: Job) -> list[Reading]:
    """Pairs talk, one phase after the other."""
    load = Load(job)
    flows = load.flows(job.base, job.pairs)
    aside = load.flows(job.aside_base, job.pairs, away=True) if job.aside else []
    readings = [load.run(flows, phase, aside) for phase in job.phases]
    load.leave()
    return readings


def logins(job: Job) -> list[Reading]:
    """Connect and hang up for some seconds, one after the other."""
    usage, count, end = Usage(job.pid), 0, time.monotonic() + job.seconds
    while time.monotonic() < end:
        SPOKEN[job.speaks](job.port, job.base + count % job.pairs, False).stream.close()
        count += 1
    # The server notices the last of them.
    time.sleep(_LOOK)
    return [usage.reading(count)]


def idle(job: Job) -> list[Reading]:
    """What a connection holds that does nothing, kB: resident memory with many, less that with few."""
    load = Load(job)
    for number in range(job.base, job.base + WARM_UP):
        load.join(number)
    time.sleep(0.3)
    before, usage = machine.resident(job.pid), Usage(job.pid)
    for number in range(job.base + WARM_UP, job.base + WARM_UP + job.pairs):
        load.join(number)
    load.until(lambda: all(end.is_ready for end in load.ends), "logins")
    time.sleep(job.seconds)
    reading = usage.reading(job.pairs)
    grown = machine.resident(job.pid) - before
    load.leave()
    return [msgspec.structs.replace(reading, cost=grown / job.pairs / 1000)]


def store(job: Job) -> list[Reading]:
    """Messages for devices that are away, until all are accepted."""
    load = Load(job)
    total, flows = job.recipients * job.each, []
    for number in range(job.pairs):
        sender = load.join(job.base + 2 * number, receives=False)
        sender.address(job.base + 2 * (number % job.recipients) + 1, job.size)
        flows.append(load.flow(sender, None))
    usage = Usage(job.pid)
    for flow in flows:
        flow.window, flow.limit = FILLING, total // job.pairs
        flow.push(flow.room(), 0)
    load.until(lambda: all(flow.accepted == flow.limit for flow in flows), "deposits to be accepted", LONG)
    reading = usage.reading(sum(flow.accepted for flow in flows))
    load.leave()
    return [reading]


def drain(job: Job) -> list[Reading]:
    """The devices come, until everything is delivered, and acknowledged: a ping after the last acknowledgement is answered."""
    load = Load(job)
    usage, ends = Usage(job.pid), []
    Depositor.is_ordered = job.recipients == job.pairs
    for number in range(job.pairs):
        end = load.join(job.base + 2 * number + 1)
        assert isinstance(end, Depositor)
        ends.append(end)
    load.until(lambda: all(end.delivered >= job.each for end in ends), "the mailboxes", LONG)
    for end in ends:
        end.ping()
    load.until(lambda: all(end.pongs and end.is_ready for end in ends), "the last acknowledgements")
    reading = usage.reading(job.each * job.pairs)
    if any(end.delivered != job.each for end in ends):
        raise Unmeasurable(f"of {job.each} messages each, these came: {[end.delivered for end in ends]}")
    load.leave()
    return [reading]


KINDS: dict[str, Callable[[Job], list[Reading]]] = {
    "talk": talk, "logins": logins, "idle": idle, "store": store, "drain": drain,
}  # fmt: skip


def main() -> None:
    """Do what each line of standard input says, and answer with a line."""
    for line in sys.stdin.buffer:
        job = msgspec.json.decode(line, type=Job)
        try:
            machine.allow_files(job.pairs + WARM_UP if job.kind == "idle" else 2 * job.pairs * (1 + bool(job.aside)))
            readings = KINDS[job.kind](job)
        except (Unmeasurable, OSError, SSL.Error) as problem:
            raise SystemExit(f"{job.kind}: {problem!r}") from problem
        sys.stdout.buffer.write(msgspec.json.encode(readings) + b"\n")
        sys.stdout.buffer.flush()
        gc.collect()


if __name__ == "__main__":
    main()
