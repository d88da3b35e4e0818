"""People in one room, of whom anybody may die at any moment: what they do, and what must be true in the end."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client import messages
from securemsg.client.messages import Received
from securemsg.client.rooms import changes, joining, steps, store
from securemsg.client.rooms.changes import ChangeKind, PendingChange
from securemsg.client.rooms.store import Room, RoomState
from securemsg.client.state.profile import Profile, resigned, save_profile
from securemsg.crypto.keys import sha256
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from tests.client.rig import User
from tests.client.rooms.ledger import RoomWorld, knows, room_of


@define(eq=False)
class Story:
    """
    People in the room C{#team}, which Ada makes.

    @ivar gone: people whose accounts were removed; others have their names now.
    @ivar log: what was done, for whoever looks for the reason of a failure.
    @ivar is_restored: the server was put back to an older copy.
    @ivar id: of the room.
    @ivar count: how much was written.
    """

    test: SynchronousTestCase
    world: RoomWorld = field(factory=RoomWorld)
    gone: list[User] = field(factory=list)
    log: list[str] = field(factory=list)
    is_restored: bool = False
    id: bytes = b""
    count: int = 0

    # --- what people do -------------------------------------------------------------------------------------------

    def user(self, name: str) -> User:
        """Somebody."""
        return self.world.users[name]

    def create(self) -> None:
        """Ada makes the room."""
        ada = self.user("ada")

        def make(records: IRecords, profile: Profile, now: int) -> None:
            if not store.all_rooms(records):
                steps.create(records, profile, "team", "Team", now)

        self.change(ada, make)
        self.id = room_of(ada).id

    def add(self, *names: str) -> None:
        """Ada invites people, who accept, and are added."""
        ada = self.user("ada")
        for name in names:
            self.change(ada, joining.invite, self.room(ada), name)
            self.accept(self.user(name))
        self.wait(12)

    def room(self, user: User) -> Room:
        """The room, whatever somebody calls it."""
        with user.store.inner.reading() as records:
            found = store.get_room(records, self.id)
        assert found is not None, "it knows the room"
        return found

    def state(self, user: User) -> str:
        """What somebody is in the room; empty: it does not know it."""
        with user.store.inner.reading() as records:
            found = store.get_room(records, self.id)
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

    def decide(self, user: User, kind: ChangeKind, whom: str = "", text: str = "") -> None:
        """Somebody wants something changed."""

        def add(records: IRecords, profile: Profile, now: int) -> None:
            changes.add(records, store.find_room(records, "team"), PendingChange(kind, whom, text=text, is_ours=True))

        if self.state(user) == RoomState.IN:
            self.change(user, add)

    def write(self, user: User, text: str = "") -> None:
        """Somebody says something in the room."""
        if self.state(user) != RoomState.IN:
            return
        text = text or f"{user.name} {self.count}"
        self.count += 1
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

    def renew(self, name: str) -> None:
        """Somebody's device list is signed again."""
        user = self.user(name)
        renewed = resigned(user.profile(), int(self.world.now()))
        with user.store.inner.writing() as records:
            save_profile(records, renewed)
        user.die()
        self.world.survive(lambda: user.connect(settle=False))

    def wait(self, seconds: int, ticks: int = 0) -> None:
        """Time passes."""
        for _ in range(ticks or seconds):
            self.world.clock += seconds / (ticks or seconds)

            def tick() -> None:
                for user in self.world.users.values():
                    if user.agent is not None:
                        user.agent.tick()

            self.world.survive(tick)

    # --- what must be true ----------------------------------------------------------------------------------------

    def check(self) -> None:
        """Everything that was promised."""
        ledger, row = self.world.ledger, self.world.ledger.row(self.id)
        states = {user.name: self.state(user) for user in self.world.users.values()}
        self.test.assertNotIn(RoomState.BROKEN, states.values(), states)
        if not self.is_restored:
            # Else who knew a step alone sees another one in its place.
            self.test.assertNotIn(RoomState.FORKED, states.values(), states)
        newest = ledger.lists[row.digest]
        for user in (*self.world.users.values(), *self.gone):
            with user.store.inner.reading() as records:
                known = store.get_room(records, self.id)
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
        row = self.world.ledger.row(self.id)
        newest = self.world.ledger.lists[row.digest]
        there = [user for user in self.world.users.values() if self.state(user) == RoomState.IN and self.room(user).mark == row]
        for user, other in permutations(there, 2):
            if newest.stands(user.name, user.profile().identity.public) and knows(user, other) and knows(other, user):
                lines = [line for line in other.lines("#team") if isinstance(line, Received)]
                gaps = [line.gap_before for line in lines if line.text == f"very last of {user.name}"]
                self.test.assertEqual(gaps, [0], f"what {user.name} says to {other.name}")
