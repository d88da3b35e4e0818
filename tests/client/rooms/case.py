"""People in rooms, in the world in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.messages import Received
from securemsg.client.rooms import changes, joining, lists, steps, store
from securemsg.client.rooms.changes import ChangeKind, PendingChange
from securemsg.client.rooms.lists import RoomList
from securemsg.client.rooms.store import Room, RoomState
from securemsg.interfaces import IRecords
from tests.client.rig import User, World


class RoomCase(SynchronousTestCase):
    """Some people, and the room C{#team}."""

    def setUp(self) -> None:
        """A world."""
        self.world = World()

    def people(self, *names: str) -> list[User]:
        """New people."""
        return [self.world.user(name) for name in names]

    def change(self, user: User, call: Callable[..., Any], *arguments: Any) -> Any:
        """What the user does in the store: C{call(records, profile, *arguments, now)}; then the agent looks."""
        profile = user.profile()
        with user.store.writing() as records:
            result = call(records, profile, *arguments, int(self.world.now()))
        user.pump()
        return result

    def room(self, user: User, name: str = "team") -> Room:
        """A room as somebody knows it."""
        with user.store.inner.reading() as records:
            return store.find_room(records, name)

    def newest(self, user: User, name: str = "team") -> RoomList:
        """The newest list that somebody has."""
        with user.store.inner.reading() as records:
            found = store.newest(records, store.find_room(records, name))
        assert found is not None, "there is one"
        return found

    def members(self, user: User, name: str = "team") -> list[str]:
        """Who is in a room, as somebody knows it."""
        return [member.account for member in self.newest(user, name).body.members]

    def decide(self, user: User, kind: ChangeKind, account: str = "", **options: Any) -> None:
        """Want something of the room C{#team}."""

        def add(records: IRecords, profile: object, now: int) -> None:
            change = PendingChange(kind, account, is_ours=True, **options)
            changes.add(records, store.find_room(records, "team"), change)

        self.change(user, add)
        self.pass_time()

    def create(self, user: User, name: str = "team", title: str = "Team") -> Room:
        """Somebody makes a room."""
        self.change(user, steps.create, name, title)
        return self.room(user, name)

    def add(self, admin: User, *users: User, name: str = "team") -> None:
        """An admin invites, they accept, and are added."""
        room = self.room(admin, name)
        for user in users:
            self.change(admin, joining.invite, room, user.name)
            self.change(user, joining.accept, self.room(user, room.id.hex()), name)
        self.pass_time()
        for user in users:
            self.assertEqual(self.room(user, name).state, RoomState.IN)

    def pass_time(self, seconds: int = 12) -> None:
        """Time passes, a second at a time."""
        self.world.advance(seconds, ticks=seconds)

    def room_of(self, *names: str) -> list[User]:
        """People in one room, of which the first is the admin."""
        users = self.people(*names)
        self.create(users[0])
        self.add(users[0], *users[1:])
        for user in users:
            user.read()
        return users

    def said(self, user: User, name: str = "#team") -> list[str]:
        """What others said in a room."""
        return [line.text for line in user.lines(name) if isinstance(line, Received) and line.event is None]

    def assert_agreed(self, *users: User) -> None:
        """All have the same newest list."""
        self.assertEqual(len({lists.digits(self.newest(user).digest) for user in users}), 1)
