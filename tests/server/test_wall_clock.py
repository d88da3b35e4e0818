"""A wall clock that is wrong, or set, in front of the whole server: what it accepted is delivered, over either store."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from twisted.trial.unittest import SynchronousTestCase

from securemsg.protocol.messages import Acknowledge, Deliver, Deposit, Drained
from securemsg.server.limits import Settings
from securemsg.storage.sqlite.memory import MemoryServerStore
from tests.server.disk import DiskRig, disk_rig
from tests.server.rig import DAY, Client, Rig

MINUTE = 60
HOUR = 3600
YEAR = 365 * DAY


class WallClockContract(SynchronousTestCase):
    """Alice writes to Bob, who is away."""

    __test__ = False

    def make(self) -> Rig:
        """The server."""
        raise NotImplementedError

    def setUp(self) -> None:
        """Both have an account."""
        self.rig = self.make()
        self.addCleanup(lambda: self.assertEqual(self.rig.failures, []))
        self.alice, self.sender = self.rig.register("alice")
        self.bob, reader = self.rig.register("bob")
        self.rig.commit()
        self.rig.lose(reader)

    def accept(self, *texts: bytes, expiry: int = DAY) -> list[Deposit]:
        """Have these accepted."""
        deposits = [self.sender.deposit(self.bob, text=text, expiry=expiry) for text in texts]
        self.sender.send(*deposits)
        self.rig.commit()
        self.assertEqual(self.sender.accepted(), [deposit.deposit_id for deposit in deposits])
        return deposits

    def pass_time(self, seconds: int, step: int = MINUTE) -> None:
        """Let time pass, with the server's work of every minute."""
        for _ in range(seconds // step):
            self.rig.set_clock(step)
            self.tick()

    def tick(self) -> None:
        """The work of a minute."""
        self.rig.server.tick()
        self.rig.commit()

    def set_clock(self, seconds: int) -> None:
        """Somebody sets the clock, and the server runs on."""
        self.rig.set_clock(seconds)
        self.tick()

    def restart(self) -> None:
        """The server is killed and started."""
        self.rig.commit()
        self.rig.crash()
        self.sender = self.rig.login(self.alice)

    def read(self) -> list[bytes]:
        """Bob comes, takes all there is, and goes."""
        reader = self.rig.login(self.bob)
        self.rig.commit()
        deliveries = reader.pop(Deliver)
        reader.one(Drained)
        if deliveries:
            reader.ask(Acknowledge(deliveries[-1].tag))
        self.rig.commit()
        self.rig.lose(reader)
        return [delivery.common for delivery in deliveries]

    def test_set_back(self) -> None:
        """What was accepted after the clock was set back half an hour, for ten minutes, is delivered."""
        self.pass_time(5 * MINUTE)
        self.rig.set_clock(-30 * MINUTE)
        self.accept(b"short", expiry=10 * MINUTE)
        self.accept(b"long")
        self.assertEqual(self.read(), [b"short", b"long"])

    def test_set_back_restart(self) -> None:
        """So it is when the server was restarted in between, before and after."""
        self.pass_time(5 * MINUTE)
        self.rig.set_clock(-30 * MINUTE)
        self.restart()
        self.accept(b"short", expiry=10 * MINUTE)
        self.accept(b"long")
        self.tick()
        self.restart()
        self.pass_time(8 * MINUTE)
        self.assertEqual(self.read(), [b"short", b"long"])

    def test_set_back_in_window(self) -> None:
        """An acknowledgement deletes nothing that its reader was not given, wherever the clock was when it came."""
        reader = self.rig.login(self.bob)
        self.pass_time(5 * MINUTE)
        window = self.rig.settings.window_frames
        self.accept(*(b"%d" % number for number in range(window)))
        self.rig.set_clock(-30 * MINUTE)
        self.accept(b"short", expiry=10 * MINUTE)
        self.accept(b"long")
        self.assertEqual(len(reader.delivered()), window)
        reader.ask(Acknowledge(window))
        self.rig.commit()
        self.assertEqual(reader.delivered(), [b"short", b"long"])

    def test_year_behind(self) -> None:
        """What was accepted while the clock was a year behind survives its correction, and expires in its time."""
        self.set_clock(-YEAR)
        self.accept(b"kept", expiry=3 * HOUR)
        self.accept(b"long")
        self.set_clock(YEAR)
        self.pass_time(2 * HOUR)
        self.restart()
        self.pass_time(HOUR - 10 * MINUTE)
        self.assertEqual(self.read(), [b"kept", b"long"])

    def test_year_behind_from_start(self) -> None:
        """So it is where the clock was wrong from the first start on."""
        self.rig.set_clock(-YEAR)
        self.restart()
        self.accept(b"kept")
        self.rig.set_clock(YEAR)
        self.restart()
        self.pass_time(3 * HOUR)
        self.assertEqual(self.read(), [b"kept"])

    def test_year_behind_known(self) -> None:
        """A deposit that came while the clock was a year behind is known afterwards."""
        self.set_clock(-YEAR)
        (deposit,) = self.accept(b"once", expiry=HOUR)
        self.set_clock(YEAR)
        self.assertEqual(self.read(), [b"once"])
        self.pass_time(3 * HOUR)
        self.restart()
        self.sender.send(deposit)
        self.rig.commit()
        self.assertEqual(self.sender.accepted(), [deposit.deposit_id])
        self.assertEqual(self.read(), [])

    def test_year_ahead_forgotten(self) -> None:
        """What came while the clock was a year ahead is known for sixty days, and forgotten then; only the newest stays."""
        self.set_clock(YEAR)
        deposit, _ = self.accept(b"once", b"newest", expiry=HOUR)
        self.set_clock(-YEAR)
        self.assertEqual(self.read(), [b"once", b"newest"])
        self.pass_time(60 * DAY - HOUR, HOUR)
        self.assertTrue(self.knows(deposit))
        self.pass_time(2 * HOUR, HOUR)
        self.assertFalse(self.knows(deposit))

    def knows(self, deposit: Deposit) -> bool:
        """Whether the store knows a deposit of Alice."""
        mailbox = self.sender.wire.peer.device.mailbox
        found: list[bytes | None] = []

        async def ask() -> None:
            found.append(await self.rig.store.find_deposit(mailbox, deposit.deposit_id))

        self.rig.server.spawn(ask())
        self.rig.commit()
        return found[0] is not None

    def test_shortest(self) -> None:
        """A message for a minute is there a minute, wherever in the server's minute it came."""
        self.tick()
        self.rig.time += 59
        self.accept(b"short", expiry=MINUTE)
        self.rig.time += 1
        self.tick()
        self.assertEqual(self.read(), [b"short"])
        self.accept(b"late", expiry=MINUTE)
        self.pass_time(2 * MINUTE)
        self.assertEqual(self.read(), [])

    def test_after_step(self) -> None:
        """A clock that was set ahead before a message came takes nothing from its time."""
        self.tick()
        self.rig.time += 50 * MINUTE
        self.accept(b"short", expiry=10 * MINUTE)
        self.tick()
        self.assertEqual(self.read(), [b"short"])

    def test_after_pause(self) -> None:
        """The time that the server was away takes nothing from what came after it."""
        self.tick()
        self.rig.time += 50 * MINUTE
        self.restart()
        self.accept(b"short", expiry=10 * MINUTE)
        self.tick()
        self.assertEqual(self.read(), [b"short"])

    def test_pause_counts(self) -> None:
        """Time that the server was away, up to an hour, counts; more does not."""
        for pause, left in ((50 * MINUTE, []), (10 * DAY, [b"text"])):
            self.tick()
            self.accept(b"text", expiry=HOUR)
            self.rig.time += pause
            self.restart()
            self.pass_time(20 * MINUTE)
            self.assertEqual(self.read(), left)


class WallClockInMemoryTests(WallClockContract):
    """Over dicts."""

    __test__ = True

    def make(self) -> Rig:
        """A store that holds commits back."""
        return Rig(store=MemoryServerStore(manual=True), settings=Settings(registration="open"))


class WallClockOnDiskTests(WallClockContract):
    """Over SQLite."""

    __test__ = True

    def make(self) -> DiskRig:
        """A database of its own."""
        rig = disk_rig()
        self.addCleanup(lambda: rig.store.remove())  # type: ignore[attr-defined]
        return rig


STEPS = st.one_of(
    st.integers(1, 2 * MINUTE),
    st.integers(-2 * HOUR, 2 * HOUR),
    st.sampled_from((-YEAR, YEAR, HOUR, -HOUR, HOUR + 1, -30 * MINUTE)),
)


class ClockMachine(RuleBasedStateMachine):
    """A wall clock that steps as it likes, deposits, readers, and restarts, over SQLite."""

    @initialize()
    def begin(self) -> None:
        """Alice and Bob. Of what was accepted and not read, each text has the time on the expiry clock when it expires."""
        self.rig = disk_rig()
        self.alice, self.sender = self.rig.register("alice")
        self.bob, reader = self.rig.register("bob")
        self.rig.lose(reader)
        self.waiting: dict[bytes, int] = {}
        self.texts = 0
        self.clock = self.rig.server.clock.now

    def teardown(self) -> None:
        """Nothing failed."""
        if hasattr(self, "rig"):
            self.rig.store.remove()  # type: ignore[attr-defined]
            assert self.rig.failures == []

    def login(self) -> Client:
        """Alice comes back."""
        return self.rig.login(self.alice)

    @rule(step=STEPS)
    def step(self, step: int) -> None:
        """The clock goes, or is set."""
        self.rig.set_clock(step)

    @rule(step=STEPS)
    def tick(self, step: int) -> None:
        """
        A minute of the server's, whatever the clock says. The expiry clock follows believable steps alone, and never goes back.
        """
        self.rig.server.tick()
        self.rig.commit()
        before = self.rig.server.clock.now
        assert before >= self.clock
        self.rig.set_clock(step)
        self.rig.server.tick()
        self.rig.commit()
        self.clock = self.rig.server.clock.now
        assert self.clock - before == (step if 0 < step <= HOUR else 0)

    @rule(expiry=st.sampled_from((MINUTE, 10 * MINUTE, HOUR, DAY, 30 * DAY)))
    def accept(self, expiry: int) -> None:
        """A message is accepted."""
        self.texts += 1
        text = b"%d" % self.texts
        self.sender.send(self.sender.deposit(self.bob, text=text, expiry=expiry))
        self.rig.commit()
        assert len(self.sender.accepted()) == 1
        self.clock = self.rig.server.clock.now
        self.waiting[text] = self.clock + expiry

    @rule(count=st.integers(0, 3))
    def read(self, count: int) -> None:
        """Bob comes and gets, in order, all but what expired; he acknowledges some of it."""
        reader = self.rig.login(self.bob)
        self.rig.commit()
        delivered = reader.delivered()
        must = [text for text, expires_at in self.waiting.items() if expires_at > self.clock]
        assert [text for text in delivered if text in must] == must, (delivered, must)
        assert set(delivered) <= self.waiting.keys()
        reader.one(Drained)
        if delivered[:count]:
            reader.ask(Acknowledge(len(delivered[:count])))
            self.rig.commit()
            for text in delivered[:count]:
                del self.waiting[text]
        self.rig.lose(reader)

    @rule()
    def restart(self) -> None:
        """The server is killed and started. What it counted since it last wrote that down may not have passed."""
        self.rig.commit()
        self.rig.crash()
        self.sender = self.login()
        self.clock = min(self.clock, self.rig.server.clock.now)


ClockMachineTests = ClockMachine.TestCase
ClockMachineTests.settings = settings(
    max_examples=20, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
