"""The process that has the profile's lock: it runs the agent, keeps it connected, and serves the processes that have not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from securemsg.client import jobs
from securemsg.client.agent import Agent
from securemsg.client.events import Changed, Disconnected, Drained, Event, Failed, Ready, Warned
from securemsg.client.jobs import Waiting
from securemsg.client.requests import Question
from securemsg.client.state.contacts import DIRECTORY, IdentityChanged, adopt
from securemsg.client.state.profile import Profile
from securemsg.errors import Refusal
from securemsg.interfaces import IProfileStore
from securemsg.net.link import LinkInfo
from securemsg.protocol import messages as m
from securemsg.protocol.channel import IPeer
from securemsg.storage.errors import StorageError

# A ring may get lost; the agent has its own timers, too.
TICK = 1.0


class Dialing(Protocol):
    """What keeps the agent connected (L{securemsg.net.dialer.Dialer})."""

    def start(self) -> None:
        """Connect now."""

    def stop(self, code: str = "") -> Deferred[None]:
        """Hang up, and stay away."""


Dial = Callable[[IPeer, Callable[[str], None], bool], Dialing]


@define(eq=False)
class Holder:
    """
    @ivar watch: is shown what goes over the wire, where somebody wants to see it.
    @ivar link: how the connection is protected, once there was one.
    @ivar is_ready: logged in just now.
    @ivar was_ready: logged in now or before.
    @ivar is_drained: everything that waited on the server is here.
    @ivar fatal: the code of a failure that connecting again would not mend; empty: none.
    @ivar last_failure: why there is no connection; empty while there is one, or the first attempt still runs.
    """

    _clock: Any
    _store: IProfileStore
    _profile: Profile
    _now: Callable[[], float]
    _soon: Callable[[Callable[[], None]], None]
    _dial: Dial
    _listen: Callable[[Callable[[], None]], Any]
    _changed: Callable[[], None]
    _warn: Callable[[Warned], None]
    _watch: Callable[[m.Message | m.Unknown], None] | None = None
    link: LinkInfo | None = field(default=None, init=False)
    is_ready: bool = field(default=False, init=False)
    was_ready: bool = field(default=False, init=False)
    is_drained: bool = field(default=False, init=False)
    fatal: str = field(default="", init=False)
    last_failure: str = field(default="", init=False)
    _agent: Agent = field(init=False)
    _dialer: Dialing | None = field(default=None, init=False)
    _wake_fifo: Any = field(default=None, init=False)
    _beat: LoopingCall = field(init=False)
    _is_told: bool = field(default=False, init=False)
    _running: set[int] = field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        """Make the agent."""
        self._agent = Agent(
            self._store,
            self._profile,
            now=self._now,
            soon=self._soon,
            notify=self._heard,
            troubles=(OSError, StorageError),
            watch=self._watch,
        )
        self._beat = LoopingCall(self._tick)
        self._beat.clock = self._clock

    def start(self, again: bool) -> None:
        """Connect, and listen to the bell."""
        self._wake_fifo = self._listen(self.look)
        self._dialer = self._dial(self._agent, self._not_connected, again)
        self._beat.start(TICK, now=False)
        self._dialer.start()

    def stop(self) -> Deferred[None]:
        """Hang up."""
        if self._beat.running:
            self._beat.stop()
        if self._wake_fifo is not None:
            self._wake_fifo.close()
        assert self._dialer is not None, "stopped, so it was started"
        return self._dialer.stop()

    def look(self) -> None:
        """Somebody wrote into the store: send, and run errands."""
        self._agent.pump()
        try:
            for job in jobs.waiting(self._store, now=self._now()):
                self._run(job)
        except StorageError:
            # The disk is full, or somebody is at the profile for long. It must end neither beat nor bell: the next look may see
            # more, and a command that cannot go on meets the same error itself.
            return

    @property
    def local_error(self) -> Exception | None:
        """What is wrong with the profile itself, if that ended the connection."""
        return self._agent.local_error

    def _tick(self) -> None:
        """A second has passed."""
        self._agent.tick()
        self.look()

    def _heard(self, event: Event) -> None:
        """What the agent has to say."""
        match event:
            case Ready(link):
                self.is_ready = self.was_ready = True
                self.last_failure = ""
                self.link = link if isinstance(link, LinkInfo) else None
            case Drained():
                self.is_drained = True
            case Failed(code):
                self.fatal = self.fatal or code
            case Disconnected(code):
                self.is_ready = self.is_drained = False
                self.last_failure = code or "lost"
                # Connecting again would only throw the other one out, which would do the same.
                self.fatal = self.fatal or (code if code == "replaced" else "")
                self._running.clear()
            case Warned():
                self._warn(event)
            case Changed():
                pass
        if isinstance(event, Ready | Drained):
            self._soon(self.look)
        self._tell()

    def _not_connected(self, code: str) -> None:
        """An attempt to connect came to nothing."""
        self.last_failure = code
        self._tell()

    def _tell(self) -> None:
        """Let the command look, once this turn is done: the agent is in the midst of something."""
        if not self._is_told:
            self._is_told = True
            self._soon(self._told)

    def _told(self) -> None:
        """The turn is done."""
        self._is_told = False
        self._changed()

    # --- errands --------------------------------------------------------------------------------------------------

    def _run(self, job: Waiting) -> None:
        """Run an errand, if it can be run now and does not run already."""
        if job.number in self._running or not self.is_ready:
            return
        if job.kind == "drained":
            if self.is_drained:
                self._settle(job, "", {})
        elif job.kind == "link":
            self._settle(job, "", self.facts())
        else:
            question = _QUESTIONS.get(job.kind)
            if question is None:
                self._settle(job, "unknown-message", {})
                return
            self._running.add(job.number)
            asked = self._clock.seconds()
            self._agent.ask(question(job.argument), lambda answer: self._answered(job, asked, answer))

    def facts(self) -> dict[str, str]:
        """How the connection stands."""
        link = self.link
        if link is None:
            return {}
        return {"tls": link.version, "cipher": link.cipher, "group": link.group}

    def _answered(self, job: Waiting, asked: float, answer: object) -> None:
        """The server answered an errand's question."""
        self._running.discard(job.number)
        code, facts = "", dict[str, str]()
        match answer:
            case Refusal(code=refused):
                code = refused
            case m.Pong(now=server_now):
                facts = {"seconds": json.dumps(self._clock.seconds() - asked), "now": str(server_now)}
            case m.Invited(token=token, expires_at=expires_at):
                facts = {"token": token.hex(), "expires_at": str(expires_at)}
            case m.Account(record=record):
                code = self._adopt(record)
            case _:
                code = "out-of-turn"
        self._settle(job, code, facts)

    def _adopt(self, record: m.AccountRecord) -> str:
        """
        Take in what the directory says.

        @return: why not, or nothing.
        """
        try:
            with self._store.writing() as records:
                try:
                    adopt(records, self._profile, record, int(self._now()), DIRECTORY)
                except IdentityChanged:
                    # The claim is kept: whoever asked sees it in the contact.
                    return ""
        except Refusal as refusal:
            return refusal.code
        return ""

    def _settle(self, job: Waiting, code: str, facts: dict[str, str]) -> None:
        """Leave the outcome where its asker finds it."""
        jobs.settle(self._store, job.number, code, facts, now=self._now())
        self._tell()


def _invite(argument: str) -> Question:
    """An invite that serves once."""
    return m.Invite(0, 1, int(argument))


_QUESTIONS: dict[str, Callable[[str], Question]] = {
    "ping": lambda argument: m.Ping(0),
    "invite": _invite,
    "fetch": lambda argument: m.Fetch(0, argument),
}
