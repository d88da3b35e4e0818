"""A world with the contact C{server}, which keeps a lobby as in the daemon."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client import lobby, messages
from securemsg.client.autoresponder import Autoresponder, Immediate
from securemsg.client.events import Changed, Event, Ready
from securemsg.client.messages import Received
from securemsg.client.relay import Relay
from securemsg.client.state.lobby import LobbyState
from securemsg.client.state.records import INBOUND, ROWS
from securemsg.client.state.retention import Retention
from securemsg.protocol.auth import Binding
from securemsg.protocol.devices import LOBBY_NAME, SERVER_NAME
from tests.client.rig import User, World

MEMORY = Binding("memory", "none", b"", b"")


class Alarm(list[Event]):
    """What happens to the contact: after each change it looks at what has come, in the same turn."""

    def __init__(self, contact: Contact) -> None:
        """It has not rung."""
        super().__init__()
        self._contact = contact

    def append(self, event: Event) -> None:
        """Something happened."""
        super().append(event)
        if isinstance(event, Changed | Ready):
            self._contact.world.later(self._contact.answer)


@define(eq=False)
class Contact:
    """
    The contact C{server} of a world.

    @ivar shown: what an operator's record would have.
    @ivar is_held: it looks at nothing for now.
    @ivar turns: how many messages were done with in each look.
    """

    world: World
    is_open: bool = True
    retention: Retention = field(factory=Retention)
    shown: list[Received] = field(factory=list)
    is_held: bool = False
    turns: list[int] = field(factory=list)
    user: User = field(init=False)
    relay: Relay = field(init=False)
    _answerer: Autoresponder | None = field(default=None, init=False)
    _process: object = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """It joins, and connects."""
        self.user = self.world.user(SERVER_NAME, connect=False)
        self.user.binding = MEMORY
        self.user.events = Alarm(self)
        self.user.connect()

    def answer(self) -> None:
        """Look at what has come. A new process knows nothing of what the one before had in memory."""
        user = self.user
        if user.agent is None or self.is_held:
            return
        if self._answerer is None or self._process is not user.agent:
            self._process = user.agent
            self.relay = Relay(self.is_open, self.world.now, self.world.seconds, self.retention)
            self._answerer = Autoresponder(
                user.store,
                Immediate(lambda question: f"re: {question.text}"),
                self.world.now,
                user.agent.pump,
                self.shown.extend,
                self.retention,
                relay=self.relay.handle,
            )
        before = self._unread()
        self._answerer.run()
        self.turns.append(before - self._unread())
        if self._answerer.is_unfinished:
            self.world.later(self.answer)


    def _unread(self) -> int:
        with self.user.store.reading() as records:
            return records.count(INBOUND, ROWS)


class LobbyCase(SynchronousTestCase):
    """Alice, Bob and Carol have joined, and are connected; nobody is in the lobby."""

    is_open = True

    def setUp(self) -> None:
        """Make the world."""
        self.world = World()
        self.contact = Contact(self.world, self.is_open)
        self.alice, self.bob, self.carol = (self.world.user(name) for name in ("alice", "bob", "carol"))

    def enter(self, *users: User) -> None:
        """Some enter."""
        for user in users:
            lobby.enter(user.store, self.world.clock)
            user.pump()

    def say(self, user: User, text: str, **options: Any) -> bytes:
        """Somebody says something in the lobby."""
        return user.send(LOBBY_NAME, text, **options)

    def heard(self, user: User) -> list[tuple[str, str]]:
        """What somebody has heard there, with who said it; events have no text."""
        return [
            (line.sender, lobby.event_text(line, user.name) or line.text)
            for line in messages.history(user.store, LOBBY_NAME, 1000)
            if isinstance(line, Received)
        ]

    def state(self, user: User) -> LobbyState:
        """What somebody knows of the lobby."""
        return lobby.state_of(user.store)
