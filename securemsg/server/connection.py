"""
The server's side of one connection.

The commands of a connection are carried out one after the other. While one waits for the store, or the client does not read the
answers, the channel is paused: later commands wait there, undecoded and bounded.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from attrs import define, field
from zope.interface import implementer

from securemsg.counters import ServerCounters
from securemsg.errors import Refusal, RemoteProtocolError
from securemsg.protocol.channel import IChannel, IPeer
from securemsg.protocol.connection import Connection
from securemsg.protocol.messages import Deposit, DepositRefused, Hello, Message, Refused, Unknown
from securemsg.server.accounts import DeviceState
from securemsg.server.reader import ISubscription

# The rest of a command; it returns the answer, if any.
Work = Coroutine[Any, Any, Message | None]
# Carries a message out: at once, or in a coroutine that is left to be run.
Command = Callable[["ClientConnection", Message | Unknown], Work | None]

# Reasons to pause a channel; it goes on when none is left.
BUSY = 1        # a command waits for the store
FULL = 2        # the client does not read what was written
UNWRITTEN = 4   # many answers wait for the end of this turn
UNANSWERED = 8  # many deposits of this connection wait for an answer
CROWDED = 16    # the deposits of all connections that wait for an answer take much memory
WINDING_UP = 32  # the server stops


class Role(enum.Enum):
    """What the other end of a connection has proved to be."""

    STRANGER = "stranger"
    DEVICE = "device"
    OPERATOR = "operator"
    GUEST = "guest"


@implementer(IPeer)
@define(eq=False)
class ClientConnection:
    """
    The server's side of a connection.

    @ivar operator: whether it came through the operator's socket.
    @ivar hello: the greeting, until the login is done.
    @ivar channel: the channel to the client, once it was opened.
    @ivar device: the device that it is logged in as, once it is.
    @ivar subscription: the delivery to that device.
    @ivar is_open: whether it has begun and not ended.
    @ivar is_full: whether the client does not read what was written.
    @ivar since: when it was opened, by the wall clock.
    @ivar unanswered: the number of deposits that wait for an answer.
    """

    _tables: Mapping[Role, Mapping[type, Command]]
    _spawn: Callable[[Coroutine[Any, Any, None]], None]
    _soon: Callable[[Callable[[], None]], None]
    _on_open: Callable[[ClientConnection], None]
    _on_end: Callable[[ClientConnection], None]
    _on_refusal: Callable[[ClientConnection, str], None]
    _max_queued: int
    operator: bool
    _counters: ServerCounters
    role: Role = field(default=Role.STRANGER, init=False)
    hello: Hello | None = field(default=None, init=False, repr=False)
    channel: IChannel = field(init=False, repr=False)
    device: DeviceState = field(init=False, repr=False)
    subscription: ISubscription | None = field(default=None, init=False, repr=False)
    is_open: bool = field(default=False, init=False)
    is_full: bool = field(default=False, init=False)
    unanswered: int = field(default=0, init=False)
    since: int = field(default=0, init=False)
    _commands: Mapping[type, Command] = field(init=False, repr=False)
    _connection: Connection = field(init=False, repr=False)
    _is_busy: bool = field(default=False, init=False)
    _paused: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.become(Role.STRANGER)

    # --- IPeer ------------------------------------------------------------------------------------------------------

    def opened(self, channel: IChannel) -> None:
        """See L{IPeer.opened}."""
        self.channel = channel
        self._connection = channel.connection
        self.is_open = True
        self._on_open(self)

    def received(self, message: Message | Unknown) -> None:
        """
        Carry out a command, and pause the channel if the next one has to wait.

        @raise RemoteProtocolError: the client is to be told the code and disconnected.
        """
        if not self.is_open:
            return
        work = None
        try:
            try:
                command = self._commands.get(type(message))
                if command is None:
                    raise Refusal("unknown-message" if type(message) is Unknown else "forbidden")
                work = command(self, message)
            except Refusal as refusal:
                self._refuse(message, refusal.code)
        except RemoteProtocolError:
            self._stop()
            raise
        if work is not None:
            self._wait_for(work, message)
        if self._connection.queued >= self._max_queued:
            self.pause(UNWRITTEN)
            self._soon(self._written)

    def writable(self, yes: bool) -> None:
        """See L{IPeer.writable}; nothing is delivered or received while the client does not read."""
        self.is_full = not yes
        if not yes:
            self.pause(FULL)
            return
        self.resume(FULL)
        if self.subscription is not None and self.is_open:
            self.subscription.deliver_pending()

    def closed(self, code: str) -> None:
        """See L{IPeer.closed}."""
        self._stop()

    # --- for the server ---------------------------------------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        """Whether a command is being carried out."""
        return self._is_busy

    @property
    def is_local(self) -> bool:
        """Whether it is the contact in this process, which is not counted, and may use the reserved name."""
        return bool(self.channel.binding.transport == "memory")

    def become(self, role: Role) -> None:
        """Allow the commands of this role from now on."""
        self.role = role
        self._commands = self._tables[role]

    def send(self, message: Message) -> None:
        """Send a message, unless the connection has ended."""
        if self.is_open:
            self.channel.send(message)

    def refuse_deposit(self, refusal: DepositRefused) -> None:
        """Refuse a deposit, and count that."""
        self._counters.refusals[refusal.code] += 1
        self.send(refusal)

    def end(self, code: str, retry_after: int | None = None) -> None:
        """Hang up with this code; see L{IChannel.close}."""
        if self.is_open:
            self._stop()
            self.channel.close(code, retry_after)

    def pause(self, reason: int) -> None:
        """Pause the channel for this reason."""
        if not self._paused and self.is_open:
            self.channel.pause(True)
        self._paused |= reason

    def resume(self, reason: int) -> None:
        """Drop this reason to pause the channel."""
        if self._paused & reason:
            self._paused &= ~reason
            if not self._paused and self.is_open:
                self.channel.pause(False)

    def run(self, work: Work) -> None:
        """Run a coroutine as part of the connection, and send the message that it returns, if any."""
        self._spawn(self._guarded(work))

    # --- inside -----------------------------------------------------------------------------------------------------

    def _wait_for(self, work: Work, message: Message | Unknown) -> None:
        """Run the rest of a command; the next one waits."""
        self._is_busy = True
        self._spawn(self._guarded(self._finish(work, message)))
        # Before the login nothing may come behind a command: it is out of turn, and must be seen to be.
        if self._is_busy and self.role is not Role.STRANGER:
            self.pause(BUSY)

    async def _finish(self, work: Work, message: Message | Unknown) -> None:
        """Run the rest of a command, send the answer, and go on with the next command."""
        try:
            reply = await work
        except Refusal as refusal:
            self._refuse(message, refusal.code)
        else:
            if reply is not None:
                self.send(reply)
        self._is_busy = False
        self.resume(BUSY)

    async def _guarded(self, work: Work) -> None:
        """End the connection, and no other, if the work fails."""
        try:
            message = await work
            if message is not None:
                self.send(message)
        except RemoteProtocolError as error:
            self.end(error.code)
        except Exception:
            self.end("internal")
            raise

    def _written(self) -> None:
        self.resume(UNWRITTEN)

    def _refuse(self, message: Message | Unknown, code: str) -> None:
        """
        Refuse a command with the message that belongs to it.

        @raise RemoteProtocolError: there is none, or the connection is not logged in yet.
        """
        if self.role is Role.STRANGER:
            raise RemoteProtocolError(code)
        self._on_refusal(self, code)
        if isinstance(message, Deposit):
            self.refuse_deposit(DepositRefused(message.deposit_id, code, []))
        elif (request := getattr(message, "request", None)) is not None:
            self._counters.refusals[code] += 1
            self.send(Refused(request, code))
        else:
            raise RemoteProtocolError(code)

    def _stop(self) -> None:
        if self.is_open:
            self.is_open = False
            self._on_end(self)
