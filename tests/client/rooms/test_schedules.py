"""
Whatever happens in a room, in whatever order: its members agree in the end, and have all that was said to them, and nobody else
has.

Each schedule follows a number, but keys and some pauses are random, so the same number may lead elsewhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client import messages
from securemsg.client.messages import Received
from securemsg.client.rooms import joining, steps, store
from securemsg.client.rooms.store import Room, RoomState, Wish, WishKind
from securemsg.client.state.profile import Profile, resigned, save_profile
from securemsg.crypto.keys import sha256
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.server.limits import Settings
from tests.client.rig import MortalServerStore, User
from tests.client.rooms.ledger import RoomWorld, knows, room_of

NAMES = ("ada", "ben", "cleo", "dan", "eve")
STEPS = 150
# In a mailbox that is full for a while.
FULL = 3


@define(eq=False)
class Schedule:
    """
    People in a room, and what happens to them.

    @ivar gone: people whose accounts were removed; others have their names now.
    @ivar absent: who is away until the end.
    @ivar log: what was done, for whoever looks for the reason of a failure.
    """

    test: SynchronousTestCase
    dice: random.Random
    world: RoomWorld = field(factory=RoomWorld)
    gone: list[User] = field(factory=list)
    absent: set[str] = field(factory=set)
    log: list[str] = field(factory=list)
    is_restored: bool = False
    copy: MortalServerStore | None = None
    _room: bytes = b""
    _count: int = 0

    def begin(self) -> None:
        """Ada makes the room, and some join at once."""
        for name in NAMES:
            self.world.user(name)
        ada = self.world.users["ada"]
        self.change(ada, steps.create, "team", "Team")
        self._room = room_of(ada).id
        for name in NAMES[1:3]:
            self.change(ada, joining.invite, self.room(ada), name)
            self.accept(self.world.users[name])
        self.wait(12)
        if self.dice.random() < 0.3:
            self.absent = {self.dice.choice(NAMES[1:3])}
            self.world.users[min(self.absent)].disconnect()
        self.world.settle()

    # --- what people do -------------------------------------------------------------------------------------------

    def room(self, user: User) -> Room:
        """The room, whatever somebody calls it."""
        with user.store.inner.reading() as records:
            found = store.get_room(records, self._room)
        assert found is not None, "it knows the room"
        return found

    def state(self, user: User) -> str:
        """What somebody is in the room; empty: it does not know it."""
        with user.store.inner.reading() as records:
            found = store.get_room(records, self._room)
        return "" if found is None else found.state

    def change(self, user: User, call: Callable[..., Any], *arguments: Any) -> None:
        """The user does something, which may not be possible; then the agent looks."""

        def attempt() -> None:
            profile = user.profile()
            try:
                with user.store.writing() as records:
                    call(records, profile, *arguments, int(self.world.now()))
            except Refusal as refusal:
                self.log.append(f"  refused: {refusal}")
            if user.agent is not None:
                user.agent.pump()

        self.world.survive(attempt)

    def accept(self, user: User) -> None:
        """Somebody accepts, if it was asked."""
        if self.state(user) == RoomState.INVITED:
            alias = "" if self.room(user).alias else "team"
            self.change(user, joining.accept, self.room(user), alias)

    def wish(self, user: User, kind: WishKind, whom: str = "", text: str = "") -> None:
        """Somebody wants something changed."""

        def add(records: IRecords, profile: Profile, now: int) -> None:
            store.add_wish(records, store.named(records, "team"), Wish(kind, now, whom, text=text, is_ours=True))

        if self.state(user) == RoomState.IN:
            self.change(user, add)

    def write(self, user: User, text: str = "") -> None:
        """Somebody says something in the room."""
        if self.state(user) != RoomState.IN:
            return
        text = text or f"{user.name} {self._count}"
        self._count += 1
        message_id = sha256(text.encode())[:16]

        def send() -> None:
            try:
                messages.compose(user.store, "#team", text, now=self.world.now(), message_id=message_id)
            except Refusal as refusal:
                # It was taken out before it could say it again.
                self.log.append(f"  refused: {refusal}")
            if user.agent is not None:
                user.agent.pump()

        self.world.survive(send)

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

    def wait(self, seconds: int, ticks: int = 0) -> None:
        """Time passes."""
        for _ in range(ticks or seconds):
            self.world.clock += seconds / (ticks or seconds)

            def tick() -> None:
                for user in self.world.users.values():
                    if user.agent is not None:
                        user.agent.tick()

            self.world.survive(tick)

    def act(self) -> None:
        """One thing happens."""
        deeds: dict[Callable[[], None], int] = {
            self.say: 10,
            self.go: 4,
            self.come: 5,
            self.pass_time: 6,
            self.invite: 5,
            self.accept_all: 5,
            self.decide: 6,
            self.leave: 1,
            self.let_go: 1,
            self.doom: 4,
            self.renew: 1,
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

    def decide(self) -> None:
        """Somebody wants something changed, often what it may not, or two want something at once."""
        for _ in range(self.dice.choice((1, 2))):
            kind = self.dice.choice((WishKind.REMOVE, WishKind.ADMIN, WishKind.ADMIN, WishKind.NO_ADMIN, WishKind.TITLE))
            self.wish(self.somebody_in(), kind, self.dice.choice(NAMES), f"Title {self._count}")

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

    def renew(self) -> None:
        """Somebody's device list is signed again."""
        user = self.anybody()
        renewed = resigned(user.profile(), int(self.world.now()))
        with user.store.inner.writing() as records:
            save_profile(records, renewed)
        user.die()
        self.world.survive(lambda: user.connect(settle=False))

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
        removed: Deferred[None] = self.world.store.remove_account(user.name)
        self.test.successResultOf(removed)
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
        row = self.world.ledger.row(self._room)
        self.world.store = self.copy
        self.world.restart_server()
        # Who has stepped and was not told of it knows the newest list, too, but has to be told first.
        first = [user for user in self.world.users.values() if self.state(user) == "in" and self.room(user).mark == row]
        for user in (*first, *online):
            self.world.survive(lambda user=user: user.connect(settle=False))  # type: ignore[misc]
            self.write(user)
            self.wait(12)

    # --- what must be true ----------------------------------------------------------------------------------------

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

    def check(self) -> None:
        """Everything that was promised."""
        ledger, row = self.world.ledger, self.world.ledger.row(self._room)
        states = {user.name: self.state(user) for user in self.world.users.values()}
        self.test.assertNotIn(RoomState.BROKEN, states.values(), states)
        if not self.is_restored:
            # Else who knew a step alone sees another one in its place.
            self.test.assertNotIn(RoomState.FORKED, states.values(), states)
        newest = ledger.lists[row.digest]
        for user in (*self.world.users.values(), *self.gone):
            with user.store.inner.reading() as records:
                known = store.get_room(records, self._room)
            if known is not None and known.alias:
                ledger.check_nobody_else(self.test, user)
                ledger.check_order(self.test, user)
        for user in self.world.users.values():
            if states[user.name] != RoomState.IN:
                continue
            if self.room(user).mark != row and not ledger.may_catch_up(user, newest):
                continue
            if self.is_restored and self.room(user).mark.version > row.version:
                # The server lacks lists from before it joined, and nobody else has brought them.
                continue
            self.test.assertTrue(newest.stands(user.name, user.profile().identity.public), f"{user.name} is out, unknowing")
            self.test.assertEqual(self.room(user).mark, row, f"{user.name} does not know the newest list")
            ledger.check_nothing_lost(self.test, user)
            self.test.assertEqual(messages.quarantined(user.store)[1], 0)
        self.check_all_talk()

    def check_all_talk(self) -> None:
        """In the end what one member says the others get."""
        row = self.world.ledger.row(self._room)
        newest = self.world.ledger.lists[row.digest]
        there = [user for user in self.world.users.values() if self.state(user) == RoomState.IN and self.room(user).mark == row]
        for user, other in permutations(there, 2):
            if newest.stands(user.name, user.profile().identity.public) and knows(user, other) and knows(other, user):
                lines = [line for line in other.lines("#team") if isinstance(line, Received)]
                gaps = [line.gap_before for line in lines if line.text == f"very last of {user.name}"]
                self.test.assertEqual(gaps, [0], f"what {user.name} says to {other.name}")


class ScheduleTests(SynchronousTestCase):
    """Schedules that nobody thought of."""

    @pytest.fixture(autouse=True)
    def _take_examples(self, examples: int) -> None:
        """How many to look at."""
        self.examples = examples

    def run_schedule(self, seed: int) -> None:
        """One schedule."""
        schedule = Schedule(self, random.Random(seed))
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
