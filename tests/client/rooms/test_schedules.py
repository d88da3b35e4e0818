"""
Whatever happens in a room, in whatever order: its members agree in the end, and have all that was said to them, and nobody else
has.

Each schedule follows a number; only keys differ from run to run.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from attrs import define, evolve, field
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client import messages
from securemsg.client.rooms import joining, store
from securemsg.client.rooms.changes import ChangeKind
from securemsg.client.rooms.store import RoomState
from securemsg.crypto import keys
from securemsg.server.limits import Settings
from tests.client.rig import MortalServerStore, User
from tests.client.rooms.story import Story

NAMES = ("ada", "ben", "cleo", "dan", "eve")
STEPS = 150
# What somebody wants, admins more often.
CHOICES = (ChangeKind.REMOVE, ChangeKind.ADMIN, ChangeKind.ADMIN, ChangeKind.NO_ADMIN, ChangeKind.TITLE)
# In a mailbox that is full for a while.
FULL = 3


@define(eq=False)
class Schedule(Story):
    """
    A story that chance writes.

    @ivar absent: who is away until the end.
    @ivar copy: of the server.
    """

    dice: random.Random = field(kw_only=True)
    absent: set[str] = field(factory=set)
    copy: MortalServerStore | None = None

    def begin(self) -> None:
        """Ada makes the room, and some join at once."""
        for name in NAMES:
            self.world.user(name)
        self.create()
        self.add(*NAMES[1:3])
        if self.dice.random() < 0.3:
            self.absent = {self.dice.choice(NAMES[1:3])}
            self.world.users[min(self.absent)].disconnect()
        self.world.settle()

    def anybody(self) -> User:
        """Somebody who is not away until the end."""
        return self.world.users[self.dice.choice([name for name in NAMES if name not in self.absent])]

    def somebody_in(self) -> User:
        """Mostly an admin, as far as it knows; else anybody."""
        admins = [user for user in map(self.world.users.get, NAMES) if user is not None and self.is_admin(user)]
        there = [user for user in admins if user.name not in self.absent]
        return self.dice.choice(there) if there and self.dice.random() < 0.7 else self.anybody()

    def is_admin(self, user: User) -> bool:
        """Whether somebody believes to be an admin."""
        if self.state(user) != RoomState.IN:
            return False
        room = self.room(user)
        with user.store.inner.reading() as records:
            newest = store.newest(records, room)
        own = None if newest is None else newest.body.member(user.name)
        return own is not None and own.is_admin

    def act(self) -> None:
        """One thing happens."""
        deeds: dict[Callable[[], None], int] = {
            self.say: 10,
            self.go: 4,
            self.come: 5,
            self.pass_time: 6,
            self.invite: 5,
            self.accept_all: 5,
            self.choose: 6,
            self.leave: 1,
            self.let_go: 1,
            self.doom: 4,
            self.renew_list: 1,
            self.fill: 1,
            self.begin_anew: 1,
            self.keep_copy: 1,
            self.put_back: 1,
        }
        deed = self.dice.choices([*deeds], [*deeds.values()])[0]
        self.log.append(deed.__name__)
        deed()
        self.world.ledger.look()

    def say(self) -> None:
        """Somebody writes, or several do at once."""
        for _ in range(self.dice.choice((1, 1, 3))):
            self.write(self.anybody())

    def go(self) -> None:
        """Somebody loses the connection."""
        self.anybody().disconnect()
        self.world.survive()

    def come(self) -> None:
        """Somebody connects."""
        user = self.anybody()
        self.world.survive(lambda: user.connect(settle=False))

    def pass_time(self) -> None:
        """Some time passes."""
        seconds = self.dice.choice((2, 8, 70, 700))
        self.wait(seconds, min(seconds, 4))

    def invite(self) -> None:
        """Somebody invites somebody."""
        user, whom = self.somebody_in(), self.dice.choice(NAMES)
        if self.state(user) == RoomState.IN:
            self.change(user, joining.invite, self.room(user), whom)

    def accept_all(self) -> None:
        """Whoever is invited accepts."""
        for name in NAMES:
            self.accept(self.world.users[name])

    def choose(self) -> None:
        """Somebody wants something changed, often what it may not, or two want something at once."""
        for _ in range(self.dice.choice((1, 2))):
            kind = self.dice.choice(CHOICES)
            self.decide(self.somebody_in(), kind, self.dice.choice(NAMES), f"Title {self.count}")

    def leave(self) -> None:
        """Somebody leaves."""
        user = self.anybody()
        if self.state(user) == RoomState.IN and self.dice.random() < 0.5:
            self.change(user, joining.leave, self.room(user))

    def let_go(self) -> None:
        """Somebody lets everything go that waits."""
        user = self.anybody()
        if self.state(user) == RoomState.IN:
            self.world.survive(lambda: messages.let_go(user.store, "#team"))
            self.world.survive(user.pump)

    def doom(self) -> None:
        """Somebody, or the server, will die soon."""
        fate = self.world.store.fate if self.dice.random() < 0.3 else self.anybody().store.fate
        fate.deadline = fate.moments + self.dice.randint(1, 12)

    def renew_list(self) -> None:
        """Somebody's device list is signed again."""
        self.renew(self.anybody().name)

    def set_limits(self, limits: Settings) -> None:
        """The server starts with other limits."""
        self.world.settings = limits
        self.world.restart_server()
        self.world.survive(self.world.revive)

    def fill(self) -> None:
        """For a while mailboxes take little."""
        is_full = self.world.settings.mailbox_messages == FULL
        self.set_limits(evolve(self.world.settings, mailbox_messages=100_000 if is_full else FULL))

    def begin_anew(self) -> None:
        """An account goes, and another takes its name."""
        if self.gone or self.dice.random() < 0.7:
            return
        user = self.anybody()
        self.log.append(f"  {user.name}")
        user.die()
        user.is_online = False
        self.gone.append(user)
        self.world.survive()
        self.test.successResultOf(self.world.store.remove_account(user.name))
        del self.world.users[user.name]
        self.world.user(user.name, connect=False)
        self.world.restart_server()
        self.world.survive(lambda: self.world.users[user.name].connect(settle=False))
        self.world.survive(self.world.revive)

    def keep_copy(self) -> None:
        """The operator makes a backup."""
        if self.copy is None:
            self.copy = MortalServerStore(False, self.world.store.crash()._connection)

    def put_back(self) -> None:
        """The server is restored from it, once; members who know the newest list are the first to come back."""
        if self.copy is None or self.is_restored or self.gone:
            return
        self.is_restored = True
        online = [user for user in self.world.users.values() if user.is_online]
        for user in online:
            user.disconnect()
        self.world.survive()
        row = self.world.ledger.row(self.id)
        self.world.store = self.copy
        self.world.restart_server()
        # Who has stepped and was not told of it knows the newest list, too, but has to be told first.
        first = [user for user in self.world.users.values() if self.state(user) == "in" and self.room(user).mark == row]
        for user in (*first, *online):
            self.world.survive(lambda user=user: user.connect(settle=False))  # type: ignore[misc]
            self.write(user)
            self.wait(12)

    # --- the end ----------------------------------------------------------------------------------------

    def settle(self) -> None:
        """All live and are there, time passes, and all say a last word."""
        self.world.settings = evolve(self.world.settings, mailbox_messages=100_000)
        for fate in (self.world.store.fate, *(user.store.fate for user in self.world.users.values())):
            fate.deadline = 0
        self.world.restart_server()
        self.absent = set()
        for user in self.world.users.values():
            user.connect()
        self.wait(3 * 701, 36)
        for word in ("last", "very last"):
            for user in self.world.users.values():
                if self.state(user) == RoomState.IN:
                    messages.let_go(user.store, "#team")
                self.write(user, f"{word} of {user.name}")
            self.wait(120, 60)
            self.wait(4 * 3601, 24)
            for user in self.world.users.values():
                if self.state(user) == RoomState.IN:
                    messages.let_go(user.store, "#team")
                    user.pump()
        self.wait(60, 30)
        self.world.ledger.look()


class ScheduleTests(SynchronousTestCase):
    """Schedules that nobody thought of."""

    @pytest.fixture(autouse=True)
    def _take_examples(self, examples: int) -> None:
        """How many to look at."""
        self.examples = examples

    def run_schedule(self, seed: int) -> None:
        """One schedule."""
        # Pauses, too, follow the number.
        self.patch(keys, "random_bytes", random.Random(seed).randbytes)
        schedule = Schedule(self, dice=random.Random(seed))
        try:
            schedule.begin()
            for _ in range(STEPS):
                schedule.act()
            schedule.settle()
            schedule.check()
        except BaseException as error:
            error.add_note(f"schedule {seed}: {schedule.log}")
            raise

    def test_any_schedule(self) -> None:
        """Members agree, have all that was said to them, once and in order, and nobody else has any of it."""
        for seed in range(self.examples // 2):
            self.run_schedule(seed)
