"""
What nobody fetches in time, and clocks that jump.
"""

from __future__ import annotations

from securemsg.protocol.messages import Drained
from securemsg.server.clock import CALM_TICKS, JUMP, ExpiryClock
from securemsg.server.limits import Settings
from tests.server.case import TwoPeople
from tests.server.rig import DAY, START

HOUR = 3600


class ExpiryTests(TwoPeople):
    """
    Bob is away.
    """

    def settings(self) -> Settings:
        """
        Two messages fit.
        """
        return Settings(registration="open", mailbox_messages=2)

    def setUp(self) -> None:
        """
        He left.
        """
        super().setUp()
        self.rig.lose(self.reader)

    def pass_time(self, seconds: int, step: int = 60) -> None:
        """
        Let time pass as it does.
        """
        for _ in range(seconds // step):
            self.rig.time += step
            self.rig.server.tick()
            self.rig.commit()

    def test_expired(self) -> None:
        """
        What has expired is not delivered, what has not is.
        """
        self.store([b"short"], expiry=HOUR)
        self.store([b"long"], expiry=DAY)
        self.pass_time(2 * HOUR)
        self.assertEqual(self.rig.login(self.bob).delivered(), [b"long"])

    def test_expired_before_tick(self) -> None:
        """
        What has expired and lies there still is passed over, and the reader counts as drained.
        """
        self.store([b"short"], expiry=30)
        self.store([b"long"], expiry=DAY)
        self.rig.time += 60
        self.rig.server._clock.tick()
        reader = self.rig.login(self.bob)
        self.rig.commit()
        reader.one(Drained)
        self.assertEqual(reader.delivered(), [b"long"])
        reader.acknowledge(1)
        self.rig.commit()
        # Nothing is left in the mailbox, and nothing takes room there.
        self.store([b"1", b"2"])
        self.assertEqual(reader.delivered(), [b"1", b"2"])

    def test_room_again(self) -> None:
        """
        What has expired takes no room.
        """
        self.store([b"1", b"2"], expiry=HOUR)
        self.pass_time(2 * HOUR)
        self.store([b"3", b"4"])
        self.assertEqual(self.refused(self.sender.deposit(self.bob)), "mailbox-full")

    def test_many(self) -> None:
        """
        More than one step deletes is deleted in several.
        """
        self.rig.settings = Settings(registration="open")
        self.rig.crash()
        self.sender = self.rig.login(self.alice)
        self.store([b"%d" % number for number in range(1200)], expiry=HOUR)
        self.pass_time(2 * HOUR)
        account = self.rig.store._tables.load_account("bob")
        assert account is not None
        self.assertEqual(account.devices[0].messages, 0)

    def test_jump(self) -> None:
        """
        A clock that jumps ahead deletes nothing, and hides nothing.
        """
        self.store([b"kept"], expiry=HOUR)
        self.rig.time += 365 * DAY
        self.pass_time(HOUR // 2)
        self.assertEqual(self.rig.login(self.bob).delivered(), [b"kept"])

    def test_jump_back(self) -> None:
        """
        When it was set right again nothing has happened.
        """
        self.store([b"kept"], expiry=DAY)
        self.rig.time += 365 * DAY
        self.pass_time(HOUR // 2)
        self.rig.time -= 365 * DAY
        self.pass_time(2 * HOUR)
        self.assertEqual(self.rig.login(self.bob).delivered(), [b"kept"])

    def test_new_time_believed(self) -> None:
        """
        A clock that has been calm for an hour is believed.
        """
        self.store([b"old"], expiry=HOUR)
        self.rig.time += 365 * DAY
        self.pass_time(2 * HOUR)
        self.assertEqual(self.rig.login(self.bob).delivered(), [])


class ClockTests(TwoPeople):
    """
    The clock itself.
    """

    def test_runs(self) -> None:
        """
        It follows the wall clock by whole seconds.
        """
        wall = [START + 0.9]
        clock = ExpiryClock(lambda: wall[0])
        self.assertEqual(clock.now, START)
        wall[0] += 60
        clock.tick()
        self.assertEqual(clock.now, START + 60)

    def test_stands_still(self) -> None:
        """
        It stands still from a jump on, either way, until there was none for a while.
        """
        for jump in (JUMP + 1, -JUMP - 1):
            wall = [float(START)]
            clock = ExpiryClock(lambda: wall[0])  # noqa: B023 - used in this round only
            wall[0] += jump
            clock.tick()
            for _ in range(CALM_TICKS - 1):
                wall[0] += 60
                clock.tick()
            self.assertEqual((clock.now, clock.running), (START, False))
            wall[0] += 60
            clock.tick()
            self.assertEqual((clock.now, clock.running), (int(wall[0]), True))
