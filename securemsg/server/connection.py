"""
The server's side of one connection.

The commands of a connection are carried out one after the other. While one waits for the store, or the peer does not read the
answers, later ones wait in a bounded backlog, and the channel is not read from.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from attrs import define, field
from zope.interface import Attribute, Interface, implementer

from securemsg.errors import Refusal, RemoteProtocolError
from securemsg.protocol.channel import IChannel, IPeer
from securemsg.protocol.connection import Connection
from securemsg.protocol.messages import Deposit, DepositRefused, Hello, Message, Refused, Unknown
from securemsg.server.accounts import DeviceState

# What is left to do of a command, and the answer it ends in, if any.
Work = Coroutine[Any, Any, Message | None]
# What a message does: at once, or in work that is left.
Command = Callable[["ClientConnection", Message | Unknown], Work | None]

# Why a channel is not read from; it is read from again when no reason is left.
WAITING = 1     # a command runs, or we have said much, and more came behind
FULL = 2        # the peer does not take what we have for it
UNANSWERED = 4  # many of its deposits wait for the commit
CROWDED = 8     # many deposits of all wait for the commit


class Role(enum.Enum):
    """What a connection has proved to be."""

    STRANGER = "stranger"
    DEVICE = "device"
    OPERATOR = "operator"
    GUEST = "guest"


class ISubscription(Interface):
    """What a connection that is logged in as a device needs of its delivery."""

    device: DeviceState = Attribute("The device.")

    def acknowledge(tag: int) -> list[tuple[int, int]]:
        """
        Everything up to this tag is committed at the reader's.

        @return: position and size of what was not acknowledged before, in order.
        @raise RemoteProtocolError: C{bad-acknowledgement}: this was never sent.
        """

    def deliver_pending() -> None:
        """Deliver what waits in the store, if there is room for it."""

    def left() -> None:
        """The connection is gone. It still knows which device it was, for what it began may be running."""


@implementer(IPeer)
@define(eq=False)
class ClientConnection:
    """
    The server's side of a connection.

    @ivar operator: it came in through the operator's door.
    @ivar hello: who it says it is.
    @ivar subscription: who it is, once it is logged in as a device.
    @ivar is_open: whether anything is said or heard any more.
    @ivar is_full: the peer takes nothing for now.
    @ivar unanswered: deposits that wait for their answer.
    """

    _tables: Mapping[Role, Mapping[type, Command]]
    _spawn: Callable[[Coroutine[Any, Any, None]], None]
    _soon: Callable[[Callable[[], None]], None]
    _on_open: Callable[[ClientConnection], None]
    _on_end: Callable[[ClientConnection], None]
    _max_backlog: int
    _max_queued: int
    operator: bool
    role: Role = field(default=Role.STRANGER, init=False)
    hello: Hello | None = field(default=None, init=False, repr=False)
    subscription: ISubscription | None = field(default=None, init=False, repr=False)
    is_open: bool = field(default=False, init=False)
    is_full: bool = field(default=False, init=False)
    unanswered: int = field(default=0, init=False)
    _commands: Mapping[type, Command] = field(init=False, repr=False)
    _channel: IChannel | None = field(default=None, init=False, repr=False)
    _connection: Connection = field(init=False, repr=False)
    _running: bool = field(default=False, init=False)
    _going_on: bool = field(default=False, init=False)
    _due: bool = field(default=False, init=False)
    _paused: int = field(default=0, init=False)
    _backlog: deque[Message | Unknown] = field(factory=deque, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        """Nobody knows who it is."""
        self.become(Role.STRANGER)

    # --- what the network tells us ----------------------------------------------------------------------------------

    def opened(self, channel: IChannel) -> None:
        """The channel stands."""
        self._channel = channel
        self._connection = channel.connection
        self.is_open = True
        self._on_open(self)

    def received(self, message: Message | Unknown) -> None:
        """
        Carry out a command, or put it behind the one that runs.

        @raise RemoteProtocolError: the connection is to be told the code and disconnected.
        """
        if not self.is_open:
            return
        try:
            if not self._running and not self._backlog and self._has_room():
                self._dispatch(message)
                return
            if len(self._backlog) >= self._max_backlog:
                raise RemoteProtocolError("rate-limited", "backlog")
        except RemoteProtocolError:
            self._stop()
            raise
        self._backlog.append(message)
        self.pause(WAITING)
        self._go_on_later()

    def writable(self, yes: bool) -> None:
        """Neither deliver nor listen while the peer takes nothing."""
        self.is_full = not yes
        if not yes:
            self.pause(FULL)
            return
        self.resume(FULL)
        if self.subscription is not None and self.is_open:
            self.subscription.deliver_pending()
        self._go_on_later()

    def closed(self, code: str) -> None:
        """The channel is gone."""
        self._stop()

    # --- what the server wants of it --------------------------------------------------------------------------------

    @property
    def channel(self) -> IChannel:
        """The wire."""
        assert self._channel is not None, "nobody opened it"
        return self._channel

    @property
    def device(self) -> DeviceState:
        """Who is logged in."""
        assert self.subscription is not None, "nobody is logged in"
        return self.subscription.device

    @property
    def is_local(self) -> bool:
        """Is this the contact that the operator hosts in this very process? It takes nobody's place, and may have its name."""
        return bool(self.channel.binding.transport == "memory")

    def become(self, role: Role) -> None:
        """It has proved what it is, and may say from now on what that may."""
        self.role = role
        self._commands = self._tables[role]

    def send(self, message: Message) -> None:
        """Say something, if anybody listens."""
        if self.is_open:
            self.channel.send(message)

    def end(self, code: str) -> None:
        """Hang up, and say why."""
        if self.is_open:
            self._stop()
            self.channel.close(code)

    def pause(self, reason: int) -> None:
        """Do not read, for this reason too."""
        if not self._paused and self.is_open:
            self.channel.pause(True)
        self._paused |= reason

    def resume(self, reason: int) -> None:
        """This is no reason any more."""
        if self._paused & reason:
            self._paused &= ~reason
            if not self._paused and self.is_open:
                self.channel.pause(False)

    def run(self, work: Work) -> None:
        """Run something that ends with this connection, and send the message that it returns, if any."""
        self._spawn(self._guarded(work))

    # --- inside -----------------------------------------------------------------------------------------------------

    def _dispatch(self, message: Message | Unknown) -> None:
        """Look the command up, and begin it."""
        command = self._commands.get(type(message))
        if command is None:
            self._refuse(message, "unknown-message" if type(message) is Unknown else "forbidden")
            return
        try:
            work = command(self, message)
        except Refusal as refusal:
            self._refuse(message, refusal.code)
            return
        if work is not None:
            self._running = True
            self._spawn(self._guarded(self._finish(work, message)))

    async def _finish(self, work: Work, message: Message | Unknown) -> None:
        """See a command through to its answer, then go on with what came behind it."""
        try:
            reply = await work
        except Refusal as refusal:
            self._refuse(message, refusal.code)
        else:
            if reply is not None:
                self.send(reply)
        self._running = False
        self._go_on()

    async def _guarded(self, work: Work) -> None:
        """An error that is the connection's is told to the connection; any other is a bug, which ends this connection alone."""
        try:
            message = await work
            if message is not None:
                self.send(message)
        except RemoteProtocolError as error:
            self.end(error.code)
        except Exception:
            self.end("internal")
            raise

    def _has_room(self) -> bool:
        """Does the peer take our answers?"""
        return not self.is_full and self._connection.queued < self._max_queued

    def _go_on_later(self) -> None:
        """Look at the backlog again when this turn's answers have been written, unless something else will."""
        if self._backlog and not self._running and not self.is_full and not self._due:
            self._due = True
            self._soon(self._look_again)

    def _look_again(self) -> None:
        """The turn is over."""
        self._due = False
        if not self._running and self.is_open:
            self.run(self._resume())

    async def _resume(self) -> None:
        """L{_go_on} as something that may be guarded."""
        self._go_on()

    def _go_on(self) -> None:
        """
        Work through the backlog up to the next command that has to wait, or to as many answers as the peer may leave lying.
        """
        if self._going_on:
            return  # a command ended at once, inside the loop below
        self._going_on = True
        try:
            while self._backlog and not self._running and self.is_open and self._has_room():
                self._dispatch(self._backlog.popleft())
        finally:
            self._going_on = False
        if not self._backlog:
            self.resume(WAITING)
        self._go_on_later()

    def _refuse(self, message: Message | Unknown, code: str) -> None:
        """
        Say no in the words that belong to the question.

        @raise RemoteProtocolError: there are none, or nobody has logged in yet.
        """
        if self.role is Role.STRANGER:
            raise RemoteProtocolError(code)
        if isinstance(message, Deposit):
            self.send(DepositRefused(message.deposit_id, code, []))
        elif (request := getattr(message, "request", None)) is not None:
            self.send(Refused(request, code))
        else:
            raise RemoteProtocolError(code)

    def _stop(self) -> None:
        """From now on nothing is heard, and nothing waits for this connection."""
        if self.is_open:
            self.is_open = False
            self._backlog.clear()
            self._on_end(self)
