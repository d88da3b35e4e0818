"""
Many clients in one process, each with an agent, a profile in memory and a TLS connection of its own: as many processes would
take a minute to start.

It is told on standard input what to do, a line at a time, and answers each with a line of JSON; the test says what that ought
to be.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineReceiver
from zope.interface import implementer

from securemsg.client import messages
from securemsg.client.agent import Agent
from securemsg.client.messages import Received, Sent
from securemsg.client.requests import Answer
from securemsg.client.state.profile import create_profile, save_profile
from securemsg.crypto.keys import spki_digest
from securemsg.errors import Refusal
from securemsg.net.clock import monotonic_seconds
from securemsg.net.dialer import Dialer, tcp_route
from securemsg.net.turn import Turn
from securemsg.protocol import messages as m
from securemsg.protocol.channel import IChannel, IPeer
from securemsg.protocol.invite import InviteLink, parse_invite
from securemsg.storage.memory import MemoryProfile
from tests.client.rig import outbox_rows

# Seconds between two looks.
LOOK = 0.02
# The name of the contact that lives in the daemon.
SERVER = "server"


@implementer(IPeer)
@define(eq=False)
class Member:
    """
    One client: an agent, and an ear on what it hears.

    @ivar channel: its connection; C{None} before TLS stands.
    @ivar code: how its connection ended; C{None} while it lives.
    @ivar kept_away: deliveries that its agent was not told of; C{None}: it is told of all.
    """

    name: str
    link: InviteLink
    reactor: Any
    turn: Turn
    channel: IChannel | None = field(init=False, default=None)
    code: str | None = field(init=False, default=None)
    kept_away: int | None = field(init=False, default=None)
    store: MemoryProfile = field(init=False, factory=MemoryProfile)
    agent: Agent = field(init=False)
    _dialer: Dialer = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Make keys."""
        profile = create_profile(self.link, self.name, int(time.time()))
        with self.store.writing() as records:
            save_profile(records, profile)
        parts = self.store, profile
        self.agent = Agent(*parts, now=time.time, seconds=monotonic_seconds, soon=self.turn.later, notify=lambda event: None)

    def connect(self) -> None:
        """Go to the daemon, and register there if that was not done yet."""
        self.channel, self.code, self.kept_away = None, None, None
        route = tcp_route(self.reactor, self.link.host, self.link.port, spki_digest)
        self._dialer = Dialer([route], self, self.reactor, self.turn, lambda code: setattr(self, "code", code))
        self._dialer.start()

    def leave(self) -> Deferred[None]:
        """Hang up."""
        return self._dialer.stop()

    def opened(self, channel: IChannel) -> None:
        """See L{IPeer.opened}."""
        self.channel = channel
        self.agent.opened(channel)

    def received(self, message: m.Message | m.Unknown) -> None:
        """See L{IPeer.received}."""
        if self.kept_away is not None and isinstance(message, m.Deliver):
            self.kept_away += 1
        else:
            self.agent.received(message)

    def writable(self, yes: bool) -> None:
        """See L{IPeer.writable}."""
        self.agent.writable(yes)

    def closed(self, code: str) -> None:
        """See L{IPeer.closed}."""
        self.code = code
        self.agent.closed(code)

    def write(self, to: str, text: str) -> None:
        """Write a message."""
        messages.compose(self.store, to, text, now=int(time.time()))

    def lines(self, name: str) -> list[str]:
        """The texts that came from somebody, in order."""
        return [line.text for line in messages.history(self.store, name) if isinstance(line, Received)]

    def outcomes(self, name: str) -> list[str]:
        """What became of the messages to somebody, in order."""
        return [line.status for line in messages.history(self.store, name) if isinstance(line, Sent)]


@define(eq=False)
class Crowd:
    """All of them, and what they can be told to do."""

    reactor: Any
    link: InviteLink
    _members: dict[str, Member] = field(init=False, factory=dict)
    _turn: Turn = field(init=False)

    def __attrs_post_init__(self) -> None:
        """All share their turns, and their seconds."""
        self._turn = Turn(self.reactor)
        beat = task.LoopingCall(self._tick)
        beat.clock = self.reactor
        beat.start(1, now=False)

    async def join(self, *names: str) -> object:
        """
        These come, all at once, and get accounts where they have none.

        @return: of each whether TLS stood, whether it is logged in, and else how that ended.
        """
        for name in names:
            if name not in self._members:
                self._members[name] = Member(name, self.link, self.reactor, self._turn)
            self._members[name].connect()
        members = [self._members[name] for name in names]
        await self._until(lambda: all(member.agent.is_ready or member.code is not None for member in members))
        # Answers come in order: with this one the daemon has everybody's prekeys.
        await self._ping([member for member in members if member.agent.is_ready])
        return {member.name: [member.channel is not None, member.agent.is_ready, member.code] for member in members}

    async def leave(self, *names: str) -> object:
        """These hang up."""
        for name in names:
            await self._members[name].leave()
        return list(names)

    async def deafen(self, name: str) -> object:
        """This one does not read any more."""
        channel = self._members[name].channel
        assert channel is not None
        channel.pause(True)
        return name

    async def talk(self, each: str, *deaf: str) -> object:
        """
        Everybody writes so many messages to the next one, to the contact C{server} and to those who do not read, by turns, and
        waits until all are answered for, and until as many have come from the one before and from C{server}.

        @return: of each what became of its messages, and what came.
        """
        names = [name for name in self._members if name not in deaf]
        others = {name: (names[place - 1], names[(place + 1) % len(names)]) for place, name in enumerate(names)}
        members = [self._members[name] for name in names]
        for number in range(int(each)):
            for member in members:
                for to in (others[member.name][1], SERVER, *deaf):
                    member.write(to, f"{number} from {member.name} to {to}")
        for member in members:
            member.agent.pump()
        await self._until(lambda: all(not outbox_rows(member.store) for member in members))
        await self._until(
            lambda: all(
                len(member.lines(name)) >= int(each) for member in members for name in (others[member.name][0], SERVER)
            )
        )
        # Whatever else was on its way, a second copy for instance, comes before this.
        await self._ping(members)
        return {
            member.name: {
                "became": {to: member.outcomes(to) for to in (others[member.name][1], SERVER, *deaf)},
                "came": {name: member.lines(name) for name in (*names, *deaf, SERVER) if member.lines(name)},
            }
            for member in members
        }

    async def hear(self, name: str, count: str) -> object:
        """
        This one, which did not read, looks at what had been sent to it; then it comes anew, and takes so many messages.

        @return: how many deliveries had been sent, and what came of whom.
        """
        member = self._members[name]
        member.kept_away = 0
        assert member.channel is not None
        member.channel.pause(False)
        # The answer comes behind everything that was sent before.
        await self._ping([member])
        sent = member.kept_away
        await member.leave()
        await self.join(name)
        senders = [other for other in self._members if other != name]
        await self._until(lambda: sum(len(member.lines(other)) for other in senders) >= int(count))
        await self._ping([member])
        return {"sent": sent, "came": {other: member.lines(other) for other in senders}}

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait; whoever waits for us has a limit."""
        while not condition():
            await task.deferLater(self.reactor, LOOK)

    async def _ping(self, members: list[Member]) -> None:
        """Have everybody ask for an answer, and wait for all."""
        answers: list[Answer | Refusal] = []
        for member in members:
            member.agent.ask(m.Ping(0), answers.append)
        await self._until(lambda: len(answers) == len(members))
        assert all(isinstance(answer, m.Pong) for answer in answers), answers

    def _tick(self) -> None:
        """A second has passed."""
        for member in self._members.values():
            member.agent.tick()


class Commands(LineReceiver):
    """
    Standard input and output: first the invite, then a command a line.

    @ivar over: fires at the end of the input.
    """

    delimiter = b"\n"
    _crowd: Crowd | None = None

    def __init__(self, reactor: Any) -> None:
        """Wait for the invite."""
        self._reactor = reactor
        self.over: Deferred[None] = Deferred()

    def lineReceived(self, line: bytes) -> None:
        """Do it, and say how it went."""
        words = line.decode().split()
        if self._crowd is None:
            self._crowd = Crowd(self._reactor, parse_invite(words[0]))
            return
        done = Deferred.fromCoroutine(getattr(self._crowd, words[0])(*words[1:]))
        done.addCallback(lambda answer: self.sendLine(json.dumps(answer).encode()))
        done.addErrback(self.over.errback)

    def connectionLost(self, reason: object = None) -> None:
        """Nobody asks for anything any more."""
        if not self.over.called:
            self.over.callback(None)


def main() -> None:
    """Run until the input ends."""

    def run(reactor: Any) -> Deferred[None]:
        """Listen to what is wanted."""
        commands = Commands(reactor)
        StandardIO(commands, reactor=reactor)
        return commands.over

    task.react(run)
