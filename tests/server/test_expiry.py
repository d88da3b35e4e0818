"""What nobody fetches in time, and clocks that jump."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from securemsg.interfaces import ClockReading
from securemsg.protocol.messages import Drained
from securemsg.server.clock import CALM_TICKS, JUMP, ExpiryClock
from securemsg.server.limits import Settings
from tests.server.case import TwoPeople
from tests.server.rig import DAY, START

HOUR = 3600


class ExpiryTests(TwoPeople):
    """Bob is away."""

    def settings(self) -> Settings:
        """Two messages fit."""
        return Settings(registration="open", mailbox_messages=2)

    def setUp(self) -> None:
        """He left."""
        super().setUp()
        self.rig.lose(self.reader)

    def pass_time(self, seconds: int, step: int = 60) -> None:
        """Let time pass as it does."""
        for _ in range(seconds // step):
            self.rig.time += step
            self.rig.server.tick()
            self.rig.commit()

    def test_expired(self) -> None:
        """What has expired is not delivered, what has not is."""
        self.store([b"short"], expiry=HOUR)
        self.store([b"long"], expiry=DAY)
        self.pass_time(2 * HOUR)
        self.assertEqual(self.rig.login(self.bob).delivered(), [b"long"])

    def test_expired_before_tick(self) -> None:
        """
        What has expired and lies there still is delivered; what was deleted before is passed over, and the reader counts as
        drained.
        """
        self.store([b"short"], expiry=30)
        self.store([b"long"], expiry=DAY)
        self.rig.time += 60
        reader = self.rig.login(self.bob)
        self.rig.commit()
        self.assertEqual(reader.delivered(), [b"short", b"long"])
        self.rig.lose(reader)
        self.rig.server.tick()
        self.rig.commit()
        reader = self.rig.login(self.bob)
        self.rig.commit()
        reader.one(Drained)
        self.assertEqual(reader.delivered(), [b"long"])
        reader.acknowledge(1)
        self.rig.commit()
        # Nothing is left in the mailbox, and nothing takes room there.
        self.store([b"1", b"2"])
        self.assertEqual(reader.delivered(), [b"1", b"2"])

    def test_expired_between_pages(self) -> None:
        """What expires while its reader has a page in hand is passed over; what lies behind is not, nor is what comes."""
        self.rig.settings = Settings(registration="open", window_frames=2)
        self.rig.crash()
        self.sender = self.rig.login(self.alice)
        self.store([b"1", b"2"])
        self.store([b"short"], expiry=30)
        self.store([b"4"])
        reader = self.rig.login(self.bob)
        self.rig.commit()
        self.assertEqual(reader.delivered(), [b"1", b"2"])
        self.pass_time(120)
        reader.acknowledge(2)
        self.store([b"5"])
        self.assertEqual(reader.delivered(), [b"4", b"5"])
        reader.acknowledge(4)
        self.rig.commit()
        self.assertEqual(self.rig.store.query("SELECT * FROM messages"), [])

    def test_expired_in_hand(self) -> None:
        """What expires after its delivery can be acknowledged, and nothing else is deleted by that."""
        self.store([b"short"], expiry=30)
        reader = self.rig.login(self.bob)
        self.rig.commit()
        self.assertEqual(reader.delivered(), [b"short"])
        self.pass_time(120)
        self.store([b"next"])
        reader.acknowledge(1)
        self.rig.commit()
        self.rig.crash()
        self.assertEqual(self.rig.login(self.bob).delivered(), [b"next"])

    def test_room_again(self) -> None:
        """What has expired takes no room."""
        self.store([b"1", b"2"], expiry=HOUR)
        self.pass_time(2 * HOUR)
        self.store([b"3", b"4"])
        self.assertEqual(self.refused(self.sender.deposit(self.bob)), "mailbox-full")

    def test_many(self) -> None:
        """More than one step deletes is deleted in several."""
        self.rig.settings = Settings(registration="open")
        self.rig.crash()
        self.sender = self.rig.login(self.alice)
        self.store([b"%d" % number for number in range(1200)], expiry=HOUR)
        self.pass_time(2 * HOUR)
        self.assertEqual(self.rig.store.query("SELECT * FROM messages"), [])

    def test_jump(self) -> None:
        """A clock that jumps ahead deletes nothing, and takes nothing from the time that is left."""
        self.store([b"kept"], expiry=HOUR)
        self.rig.time += 365 * DAY
        self.pass_time(HOUR - 60)
        self.assertEqual(self.rig.login(self.bob).delivered(), [b"kept"])

    def test_jump_back(self) -> None:
        """When it was set right again nothing has happened."""
        self.store([b"kept"], expiry=DAY)
        self.rig.time += 365 * DAY
        self.pass_time(HOUR // 2)
        self.rig.time -= 365 * DAY
        self.pass_time(2 * HOUR)
        self.assertEqual(self.rig.login(self.bob).delivered(), [b"kept"])

    def test_jump_expires(self) -> None:
        """From a jump on time goes on: what is left of a message's time passes."""
        self.store([b"old"], expiry=HOUR)
        self.rig.time += 365 * DAY
        self.pass_time(2 * HOUR)
        self.assertEqual(self.rig.login(self.bob).delivered(), [])


class ClockTests(SynchronousTestCase):
    """The clock itself."""

    def setUp(self) -> None:
        """It was at 1000 when it was last kept, a minute ago."""
        self.wall = START + 0.9
        self.clock = ExpiryClock(lambda: self.wall, ClockReading(1000, START - 60))

    def test_goes_on(self) -> None:
        """It goes on from where it was, the time since then included."""
        self.assertEqual((self.clock.now, self.clock.reading), (1060, ClockReading(1060, START)))

    def test_goes_on_after_long(self) -> None:
        """More than an hour since then is not counted."""
        for away, now in ((JUMP, 1000 + JUMP), (JUMP + 1, 1000), (-5, 1000)):
            self.assertEqual(ExpiryClock(lambda: self.wall, ClockReading(1000, START - away)).now, now)

    def test_runs(self) -> None:
        """It follows the wall clock by whole seconds, and loses none."""
        for _ in range(100):
            self.wall += 0.75
            self.clock.read()
        self.assertEqual(self.clock.now, 1060 + 75)

    def test_steps(self) -> None:
        """Of a step back, or a jump, nothing is counted, of what comes after it everything."""
        for step in (-1, -JUMP - 1, JUMP + 1, 10**9, -(10**9)):
            before = self.clock.now
            self.wall += step
            self.assertEqual(self.clock.read(), before)
            self.wall += 10
            self.assertEqual(self.clock.read(), before + 10)

    def test_date(self) -> None:
        """After a jump, and after a start that came late, the date is not believed for an hour."""
        self.assertEqual(self.clock.date, START)
        self.wall += JUMP + 1
        for _ in range(CALM_TICKS):
            self.clock.tick()
            self.assertEqual(self.clock.date, 0)
            self.wall += 60
        self.clock.tick()
        self.assertEqual(self.clock.date, int(self.wall))
        self.assertEqual(ExpiryClock(lambda: self.wall, ClockReading(0, 0)).date, 0)

    @given(st.lists(st.tuples(st.integers(-10_000, 10_000), st.booleans()), max_size=50))
    def test_never_back(self, steps: list[tuple[int, bool]]) -> None:
        """
        Whatever the wall clock does, and however often the server is started, it never goes back, nor on by more than an hour.
        """
        wall = [START]
        clock = ExpiryClock(lambda: wall[0], ClockReading(0, START))
        for step, restart in steps:
            before = clock.now
            wall[0] += step
            if restart:
                clock = ExpiryClock(lambda: wall[0], clock.reading)
            self.assertEqual(clock.read() - before, step if 0 < step <= JUMP else 0)
