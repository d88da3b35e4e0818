"""
Everybody, and the server, may die between any two durable steps of a room: its members agree afterwards, nothing that was said
is lost or appears twice, and nobody reads what was not for it.

Each scene begins with the same people in the same room, is played once to count the moments, and then once for some of them;
`make model` takes each.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import define
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client import messages
from securemsg.client.rooms import joining
from securemsg.client.rooms.catchup import ASK_PAUSE
from securemsg.client.rooms.changes import ChangeKind
from securemsg.client.rooms.store import RoomState
from securemsg.crypto.keys import SigningKey
from securemsg.protocol.messages import Deliver, Message
from securemsg.storage.memory import MemoryProfile
from tests.client.rig import Fate, MortalProfile, MortalServerStore, User, outbox_rows
from tests.client.rooms.ledger import Accepted, RoomWorld, said_to
from tests.client.rooms.story import Story

SERVER = "server"
NAMES = ("ada", "ben", "cleo", "dan")


@define(eq=False)
class Scene(Story):
    """A story that is played again and again."""

    def fate(self, who: str) -> Fate:
        """When somebody dies."""
        return self.world.store.fate if who == SERVER else self.user(who).store.fate

    def away(self, name: str) -> None:
        """Somebody loses the connection."""
        self.user(name).disconnect()
        self.world.survive()

    def back(self, name: str) -> None:
        """Somebody connects."""
        self.world.survive(lambda: self.user(name).connect(settle=False))

    def settle(self) -> None:
        """All are there, and nobody dies any more."""
        for name in self.world.users:
            self.back(name)
        self.wait(60)
        for name in (SERVER, *self.world.users):
            self.fate(name).deadline = 0
        for word in ("last", "very last"):
            for user in self.world.users.values():
                self.write(user, f"{word} of {user.name}")
            self.wait(70, 10)
            if word == "last":
                self.wait(3700, 4)
                self.wait(ASK_PAUSE + 1, 2)
            self.wait(12)
        self.world.ledger.look()


@define(eq=False)
class Start:
    """A moment from which scenes go on: what everybody has, and the server."""

    id: bytes
    identity: SigningKey
    clock: float
    server: MortalServerStore
    profiles: dict[str, MemoryProfile]
    accepted: list[Accepted]

    def scene(self, test: SynchronousTestCase) -> Scene:
        """A world of its own, in which all are connected."""
        world = RoomWorld(identity=self.identity, store=self.server.crash(), clock=self.clock)
        world.ledger.accepted += self.accepted
        for name, profile in self.profiles.items():
            world.users[name] = User(world, name, MortalProfile(profile.snapshot()))
        for user in world.users.values():
            user.connect()
        for fate in (world.store.fate, *(user.store.fate for user in world.users.values())):
            fate.moments = 0
        return Scene(test, world=world, id=self.id)


class KillCase(SynchronousTestCase):
    """Ada, who is the admin, Ben, who is one, too, and Cleo are in the room and have talked; Dan is not."""

    @pytest.fixture(autouse=True)
    def _take_every(self, every: int) -> None:
        """At every how many moments somebody dies."""
        self.every = every

    def start(self, *, has_room: bool) -> Start:
        """Where scenes begin."""
        scene = Scene(self)
        for name in NAMES:
            scene.world.user(name)
        if has_room:
            scene.create()
            scene.add("ben", "cleo")
            scene.decide(scene.user("ada"), ChangeKind.ADMIN, "ben")
            scene.wait(2)
            for name in NAMES[:3]:
                scene.write(scene.user(name))
            scene.wait(70, 10)
        world = scene.world
        for user in world.users.values():
            user.disconnect()
        world.settle()
        world.ledger.look()
        profiles = {user.name: user.backup() for user in world.users.values()}
        return Start(scene.id, world.identity, world.clock, world.store, profiles, world.ledger.accepted)

    def play(self, start: Start, plot: Callable[[Scene], None], prepare: Callable[[Scene], None]) -> Scene:
        """Play a scene, and check what was promised."""
        scene = start.scene(self)
        scene.world.ledger.look()
        prepare(scene)
        plot(scene)
        scene.settle()
        scene.check()
        for user in scene.world.users.values():
            self.assertEqual(outbox_rows(user.store), 0, f"{user.name} has something left to send")
            self.assertEqual(messages.quarantined(user.store), (0, 0), f"{user.name} has something it cannot open")
        return scene

    def every_moment(
        self, plot: Callable[[Scene], None], then: Callable[[Scene], None], *who: str, has_room: bool = True
    ) -> None:
        """
        Let somebody die at the moments of a scene.

        @param then: checks what must have come of it.
        """
        start = self.start(has_room=has_room)
        whole = self.play(start, plot, lambda scene: None)
        then(whole)
        for name in (SERVER, *who):
            moments = whole.fate(name).moments
            self.assertGreater(moments, 1, f"{name} does nothing")
            for deadline in range(1, moments + 1, self.every):

                def prepare(scene: Scene, name: str = name, deadline: int = deadline) -> None:
                    scene.fate(name).deadline = deadline
                    scene.world.loses_last_words = deadline % 2 == 0

                try:
                    then(self.play(start, plot, prepare))
                except BaseException as error:
                    error.add_note(f"{name} dies at moment {deadline} of {moments}")
                    raise

    def members(self, scene: Scene) -> set[str]:
        """Who is in the room in the end."""
        row = scene.world.ledger.row(scene.id)
        return {member.account for member in scene.world.ledger.lists[row.digest].members}


class JoinTests(KillCase):
    """How a room begins."""

    def test_create_and_add(self) -> None:
        """A room is made, somebody is invited, accepts and is added, and both talk."""

        def plot(scene: Scene) -> None:
            scene.create()
            scene.add("ben")
            for name in ("ada", "ben"):
                scene.write(scene.user(name), f"from {name}")

        def then(scene: Scene) -> None:
            self.assertEqual(self.members(scene), {"ada", "ben"})
            self.assertIn("from ada", said_to(scene.user("ben")))
            self.assertIn("from ben", said_to(scene.user("ada")))

        self.every_moment(plot, then, "ada", "ben", has_room=False)


class StepTests(KillCase):
    """Steps: accepted, refused, beaten."""

    def test_accepted(self) -> None:
        """An admin changes the title, and all have it."""

        def plot(scene: Scene) -> None:
            scene.decide(scene.user("ada"), ChangeKind.TITLE, text="New")
            scene.wait(8)

        def then(scene: Scene) -> None:
            self.assertEqual({scene.room(scene.user(name)).title for name in NAMES[:3]}, {"New"})

        self.every_moment(plot, then, "ada", "ben")

    def test_beaten(self) -> None:
        """Two admins step at once: one wins, and the other decides anew what is still wanted."""

        def plot(scene: Scene) -> None:
            for name in ("ada", "ben"):
                scene.away(name)
            scene.decide(scene.user("ada"), ChangeKind.TITLE, text="New")
            scene.decide(scene.user("ben"), ChangeKind.REMOVE, "cleo")
            for name in ("ada", "ben"):
                scene.user(name).connect(settle=False)
            scene.world.survive()
            scene.wait(12)

        def then(scene: Scene) -> None:
            self.assertEqual(self.members(scene), {"ada", "ben"})
            self.assertEqual({scene.room(scene.user(name)).title for name in ("ada", "ben")}, {"New"})
            self.assertEqual(scene.state(scene.user("cleo")), RoomState.OUT)

        self.every_moment(plot, then, "ada", "ben", "cleo")

    def test_for_other_devices(self) -> None:
        """A step was sealed for devices that are others now: the same list goes again, with other parts."""

        def plot(scene: Scene) -> None:
            scene.away("ada")
            scene.renew("cleo")
            scene.decide(scene.user("ada"), ChangeKind.TITLE, text="New")
            scene.back("ada")
            scene.wait(8)

        def then(scene: Scene) -> None:
            self.assertEqual({scene.room(scene.user(name)).title for name in NAMES[:3]}, {"New"})

        self.every_moment(plot, then, "ada", "cleo")


class MessageTests(KillCase):
    """Messages that a step overtakes."""

    def test_stale(self) -> None:
        """A message goes by an older list: it is sealed again, and only for those who are in the room now."""

        def plot(scene: Scene) -> None:
            scene.away("cleo")
            scene.decide(scene.user("ada"), ChangeKind.REMOVE, "ben")
            scene.wait(4)
            scene.write(scene.user("cleo"), "for those who are there")
            scene.back("cleo")
            scene.wait(4)

        def then(scene: Scene) -> None:
            self.assertIn("for those who are there", said_to(scene.user("ada")))
            self.assertNotIn("for those who are there", said_to(scene.user("ben")))

        self.every_moment(plot, then, "ada", "cleo")

    def test_room_changed(self) -> None:
        """A message waits because somebody has joined, and goes when its user lets it."""

        def plot(scene: Scene) -> None:
            scene.away("cleo")
            scene.write(scene.user("cleo"), "written before dan came")
            scene.add("dan")
            scene.back("cleo")
            scene.wait(4)
            scene.world.survive(lambda: messages.let_go(scene.user("cleo").store, "#team"))
            scene.world.survive(scene.user("cleo").pump)

        def then(scene: Scene) -> None:
            for name in ("ada", "ben", "dan"):
                self.assertIn("written before dan came", said_to(scene.user(name)))

        self.every_moment(plot, then, "cleo")


class LeaveTests(KillCase):
    """How members go."""

    def test_leave(self) -> None:
        """Somebody leaves: others take it out, once, and it knows."""

        def plot(scene: Scene) -> None:
            cleo = scene.user("cleo")
            scene.change(cleo, joining.leave, scene.room(cleo))
            scene.wait(12)
            scene.write(scene.user("ben"), "without cleo")

        def then(scene: Scene) -> None:
            self.assertEqual(self.members(scene), {"ada", "ben"})
            self.assertEqual(scene.state(scene.user("cleo")), RoomState.OUT)
            self.assertNotIn("without cleo", said_to(scene.user("cleo")))

        self.every_moment(plot, then, "ada", "cleo")

    def test_removed(self) -> None:
        """Somebody is taken out, and is told so."""

        def plot(scene: Scene) -> None:
            scene.decide(scene.user("ada"), ChangeKind.REMOVE, "cleo")
            scene.wait(4)
            scene.write(scene.user("ada"), "without cleo")

        def then(scene: Scene) -> None:
            self.assertEqual(scene.state(scene.user("cleo")), RoomState.OUT)
            self.assertNotIn("without cleo", said_to(scene.user("cleo")))

        self.every_moment(plot, then, "ada", "cleo")


class CatchUpTests(KillCase):
    """Lists that did not come."""

    def test_catching_up(self) -> None:
        """Somebody did not get two steps, asks a member, and opens what waits."""

        def lose(scene: Scene) -> None:
            wire = scene.user("cleo").wire
            if wire is not None:
                wire.to_client = without_steps

        def plot(scene: Scene) -> None:
            lose(scene)
            for title in ("One", "Two"):
                scene.decide(scene.user("ada"), ChangeKind.TITLE, text=title)
                scene.wait(2)
                lose(scene)
                scene.write(scene.user("ben"), f"under {title}")
            scene.wait(4)

        def then(scene: Scene) -> None:
            self.assertEqual(scene.room(scene.user("cleo")).title, "Two")
            for title in ("One", "Two"):
                self.assertIn(f"under {title}", said_to(scene.user("cleo")))

        self.every_moment(plot, then, "ben", "cleo")


def without_steps(message: Message) -> list[Message]:
    """The server says of each step that it is of another room, so it is dropped."""
    if not isinstance(message, Deliver) or message.room is None or message.room.step is None:
        return [message]
    return [replace(message, room=replace(message.room, room=bytes(16)))]
