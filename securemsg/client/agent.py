"""
The agent: the client's side of a connection, and the only code that uses sessions.

It turns drafts into ciphertext and deliveries into history, and reports what changed. Only the process that holds the
profile's lock may run it. It is driven by a channel (L{securemsg.protocol.channel.IPeer}) and by its owner, with L{Agent.pump}
and L{Agent.tick}. It outlives its connections: after C{closed} it may be opened again.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from zope.interface import implementer

from securemsg.client.context import Context
from securemsg.client.events import Disconnected, Event, Failed, Ready
from securemsg.client.guest import GuestLogin
from securemsg.client.login import AccountLogin, Login
from securemsg.client.maintenance import GuestMaintenance, Maintenance
from securemsg.client.owndevices import OwnDevices
from securemsg.client.receiving.receiver import Receiver
from securemsg.client.requests import Answer, Callback, Question
from securemsg.client.sending.sender import Sender
from securemsg.client.shortinvites import ShortInvites
from securemsg.client.state.contacts import IdentityChanged
from securemsg.client.state.profile import Profile, load_profile
from securemsg.client.trustcheck import check_trust
from securemsg.crypto.keys import random_bytes
from securemsg.errors import Refusal, RemoteProtocolError
from securemsg.interfaces import IProfileStore
from securemsg.protocol import messages as m
from securemsg.protocol.channel import IChannel, IPeer
from securemsg.protocol.codes import FATAL
from securemsg.protocol.states import Phase

LOCAL_ERROR = "local-error"
# The server hangs up on a device that says nothing for 15 minutes.
KEEP_ALIVE = 5 * 60


def random_jitter() -> float:
    """A random number, at least 0 and below 1, so that many clients do not try again at once."""
    return int.from_bytes(random_bytes(4), "big") / 2**32


@implementer(IPeer)
@define(eq=False)
class Agent:
    """
    @ivar local_error: what went wrong on this machine, where that ended the connection; else C{None}.
    """

    _store: IProfileStore
    _profile: Profile
    # The wall clock and monotonic time: see L{Context}.
    _now: Callable[[], float] = field(kw_only=True)
    _seconds: Callable[[], float] = field(kw_only=True)
    _soon: Callable[[Callable[[], None]], None] = field(kw_only=True)
    _notify: Callable[[Event], None] = field(kw_only=True)
    # What the store may raise when the disk is full or gone. Anything else is a bug, and is raised after we hung up.
    _expected_errors: tuple[type[Exception], ...] = field(kw_only=True, default=(OSError,))
    _jitter: Callable[[], float] = field(kw_only=True, default=random_jitter)
    # Called with every message after the login, in both directions: see L{securemsg.client.wiredump}.
    _watch: Callable[[m.Message | m.Unknown], None] | None = field(kw_only=True, default=None)
    local_error: Exception | None = field(default=None, init=False)
    _context: Context = field(init=False)
    _sender: Sender = field(init=False)
    _receiver: Receiver = field(init=False)
    _login: Login = field(init=False)
    _short_invites: ShortInvites = field(init=False)
    # A guest has none.
    _own_devices: OwnDevices | None = field(default=None, init=False)
    _maintenance: Maintenance | GuestMaintenance = field(init=False)
    _is_scheduled: bool = field(default=False, init=False)
    _has_failed: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._context = Context(self._store, self._profile, self._now, self._seconds, self._soon, self._watch)
        self._sender = Sender(self._context, self._jitter)
        self._receiver = Receiver(self._context)
        self._context.is_caught_up = lambda: self._receiver.is_idle
        self._short_invites = ShortInvites(self._context)
        is_guest = self._profile.is_guest
        self._login = GuestLogin() if is_guest else AccountLogin()
        if is_guest:
            self._maintenance = GuestMaintenance(self._context)
        else:
            self._own_devices = OwnDevices(self._context)
            self._maintenance = Maintenance(self._context, self._own_devices)

    @property
    def phase(self) -> Phase:
        """How far the connection has come."""
        channel = self._context.channel
        return Phase.CLOSED if channel is None else channel.connection.phase

    @property
    def is_ready(self) -> bool:
        """Whether the connection is logged in."""
        return self.phase is Phase.READY

    @property
    def is_drained(self) -> bool:
        """Whether everything that waited for this login is committed."""
        return self.is_ready and self._receiver.is_drained

    @property
    def profile(self) -> Profile:
        """The profile as it is committed."""
        return self._context.profile

    # --- IPeer ----------------------------------------------------------------------------------------------------

    def opened(self, channel: IChannel) -> None:
        """See L{IPeer.opened}."""
        self._context.channel = channel
        self._context.is_writable = True
        self._has_failed = False
        self.local_error = None
        self._guarded(self._greet)

    def received(self, message: m.Message | m.Unknown) -> None:
        """
        See L{IPeer.received}.

        @raise RemoteProtocolError: the server broke the protocol.
        """
        if self._context.channel is None:
            return
        if self._watch is not None:
            self._watch(message)
        step = _ON_MESSAGE.get(type(message))
        if step is None:
            if isinstance(message, m.Unknown):
                # From a newer server; nothing depends on it.
                return
            raise RemoteProtocolError("out-of-turn")
        self._guarded(lambda: step(self, message))

    def writable(self, yes: bool) -> None:
        """See L{IPeer.writable}."""
        self._context.is_writable = yes
        if yes:
            self.pump()

    def closed(self, code: str) -> None:
        """See L{IPeer.closed}."""
        self._context.channel = None
        self._guarded(lambda: self._end(code))

    # --- for the owner --------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Send what was written to the store, and what rooms have to say."""
        if self.is_ready:
            self._guarded(self._maintain_rooms)
            self._guarded(self._pump)

    @property
    def quiet_since(self) -> float:
        """See L{Sender.quiet_since}."""
        return self._sender.quiet_since

    def retry(self) -> bool:
        """
        Try again what is in quarantine, where the user has accepted an identity or given a key.

        @return: whether nothing is left to try.
        """
        if self.is_ready:
            self._guarded(self._receiver.refresh)
            self.pump()
        return not self._receiver.is_retrying

    def send_now(self) -> None:
        """Send what waits without the pauses after refusals: the user has asked for it."""
        self._sender.end_pauses()
        self.pump()

    def tick(self) -> None:
        """Do what is due; to be called about once a second."""
        self._context.note_movement()
        self._guarded(self._tick if self.is_ready else self._maintenance.idle)

    def ask(self, question: Question, callback: Callback) -> None:
        """
        Ask the server something on the user's behalf.

        @param question: its request number is filled in.
        @param callback: called once, with the answer or with the L{Refusal}; C{not-connected}, C{timeout} and how the
            connection ended are refusals as well.
        """
        if not self.is_ready:
            callback(Refusal("not-connected"))
            return
        self._context.ask(question, callback)

    def open_short_invite(self, words: str, invite: str, callback: Callback) -> None:
        """
        Have a number and these words stand for an invite, in place of those that do. Its end is reported
        (L{securemsg.client.events.ShortInviteEnded}).

        @param callback: see L{ask}; it gets L{m.CodeOpened}.
        """
        if not self.is_ready:
            callback(Refusal("not-connected"))
            return
        self._short_invites.open(words, invite, callback)

    def adopt(self, record: m.AccountRecord) -> None:
        """
        Adopt the answer to a question to the directory.

        @raise Refusal: see L{contacts.adopt<securemsg.client.state.contacts.adopt>}. A claim to the name by another identity is
            kept, and no refusal.
        """
        with self._store.writing() as records:
            try:
                self._context.adopt(records, record)
            except IdentityChanged:
                return

    def change_devices(self, kind: str, device_id: bytes, callback: Callback) -> None:
        """
        Change our own device list on the user's behalf.

        @param kind: C{accept-device}, C{remove-device} or C{publish-key}.
        @param callback: see L{ask}.
        """
        devices = self._own_devices
        if devices is None:
            callback(Refusal("forbidden"))
            return
        changes: dict[str, Callable[[], None]] = {
            "accept-device": lambda: devices.accept_device(device_id, callback),
            "remove-device": lambda: devices.remove_device(device_id, callback),
            "publish-key": lambda: devices.publish_key(callback),
        }
        self._guarded(changes[kind])

    def close(self, code: str = "") -> None:
        """Hang up."""
        if self._context.channel is not None:
            self._context.channel.close(code)

    # --- steps ----------------------------------------------------------------------------------------------------

    def _greet(self) -> None:
        with self._store.reading() as records:
            self._context.profile = load_profile(records) or self._context.profile
        check_trust(self._context)
        channel = self._channel()
        try:
            channel.send(self._login.greet(self._context.profile, channel.binding))
        except Refusal as refusal:
            self._fail(refusal.code)

    def _challenged(self, challenge: m.Challenge) -> None:
        """
        Check the server's identity before proving ours.

        @raise RemoteProtocolError: C{unsupported-version}.
        """
        channel = self._channel()
        try:
            answer = self._login.answer(self._store, self._context.profile, channel.connection, challenge, channel.binding)
        except Refusal as refusal:
            self._fail(refusal.code)
            return
        self._context.profile, proof = answer
        channel.send(proof)

    def _welcomed(self, welcome: m.Welcome) -> None:
        """
        Logged in: do the maintenance that is due, then send the outbox.

        @raise RemoteProtocolError: see L{Maintenance.welcome}.
        """
        with self._store.reading() as records:
            profile = load_profile(records)
        if profile is not None and profile.device_id != self._context.profile.device_id:
            # Another process has begun to renew our keys since we greeted: this is a login with those before.
            self.close("replaced")
            return
        self._sender.restart()
        self._receiver.restart()
        self._context.last_sent_at = self._context.seconds()
        self._maintenance.welcome(welcome)
        self._context.notify(Ready(getattr(self._channel(), "link", None)))
        self._pump()

    def _pump(self) -> None:
        for name, version in self._receiver.fetches.items():
            self._sender.fetch_list(name, version)
        self._receiver.fetches.clear()
        if self._own_devices is not None and self._receiver.is_own_list_disputed:
            self._receiver.is_own_list_disputed = False
            self._own_devices.check_own_list()
        self._sender.pump(self._receiver.is_idle)
        if self._receiver.is_busy:
            self._schedule()

    def _maintain_rooms(self) -> None:
        if self._own_devices is not None:
            self._receiver.maintain_rooms()

    def _tick(self) -> None:
        self._context.requests.expire(self._seconds(), self._sender.quiet_since)
        self._sender.commit_accepted()
        self._sender.check_time()
        if self.is_ready:
            self._maintenance.tick()
            self._short_invites.tick()
            self._receiver.refresh()
            if self._seconds() - self._context.last_sent_at >= KEEP_ALIVE:
                self._context.ask(m.Ping(0), self._ponged)
            self._maintain_rooms()
            self._pump()

    def _ponged(self, answer: Answer | Refusal) -> None:
        """Note the server's time, or hang up if it did not answer: then it delivers nothing either."""
        if isinstance(answer, m.Pong):
            self._context.note_server_time(answer.now)
        if isinstance(answer, Refusal) and answer.code == "timeout":
            self.close("timeout")

    def _take_in(self) -> None:
        """Take in what came in this turn, then send what may be sent."""
        self._is_scheduled = False
        if self.is_ready:
            self._guarded(self._receiver.take_in)
        self.pump()

    def _delivered(self, delivery: m.Deliver) -> None:
        """
        A message came.

        @raise RemoteProtocolError: see L{Receiver.delivered}.
        """
        self._receiver.delivered(delivery)
        self._schedule()

    def _drained(self, message: m.Drained) -> None:
        del message
        self._receiver.drained()
        self._schedule()

    def _stock_low(self, message: m.Stock) -> None:
        self._maintenance.stock_low(message)

    def _schedule(self) -> None:
        """Take in everything from this turn together, at its end."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._soon(self._take_in)

    def _accepted(self, message: m.Accepted) -> None:
        self._sender.accepted(message)
        self._pump()

    def _refused(self, message: m.DepositRefused) -> None:
        self._sender.refused(message)
        self._pump()

    def _answered(self, message: m.Account | m.Bundle | m.Done | m.Invited | m.Pong | m.CodeOpened | m.Refused) -> None:
        """
        The server answers a question.

        @raise RemoteProtocolError: C{out-of-turn}: nobody asked that.
        """
        if not self._context.requests.answer(message):
            raise RemoteProtocolError("out-of-turn")
        self._pump()

    def _short_invite_used(self, message: m.CodeUsed) -> None:
        self._short_invites.used(message)

    def _fail(self, code: str) -> None:
        """Report a failure that another connection would meet again, and hang up."""
        self._has_failed = True
        self._context.notify(Failed(code))
        self._channel().close(code)

    def _end(self, code: str) -> None:
        self._sender.commit_accepted()
        self._context.requests.abandon(code or "lost")
        self._short_invites.end(code or "lost")
        if code in FATAL and not self._has_failed:
            self._context.notify(Failed(code))
        if self.local_error is None:
            self._context.notify(Disconnected(code))

    def _channel(self) -> IChannel:
        channel = self._context.channel
        assert channel is not None, "a step without a connection"
        return channel

    def _guarded(self, step: Callable[[], None]) -> None:
        """Make a step. If the store fails, nothing was changed and nothing is acknowledged: hang up, and try again later."""
        try:
            step()
        except RemoteProtocolError:
            raise
        # Whatever it is, nothing may be sent after a step that was not finished. A bug is raised below.
        except Exception as error:
            self.local_error = error
            self._context.pop_events()
            channel, self._context.channel = self._context.channel, None
            self._context.requests.abandon(LOCAL_ERROR)
            if channel is not None:
                channel.close()
            self._notify(Disconnected(LOCAL_ERROR))
            if not isinstance(error, self._expected_errors):
                raise
            return
        for event in self._context.pop_events():
            self._notify(event)


# What the agent does with each message of the server.
_ON_MESSAGE: dict[type, Callable[..., None]] = {
    m.Challenge: Agent._challenged,
    m.Welcome: Agent._welcomed,
    m.Accepted: Agent._accepted,
    m.DepositRefused: Agent._refused,
    m.Deliver: Agent._delivered,
    m.Drained: Agent._drained,
    m.Stock: Agent._stock_low,
    m.Account: Agent._answered,
    m.Bundle: Agent._answered,
    m.Done: Agent._answered,
    m.Invited: Agent._answered,
    m.Pong: Agent._answered,
    m.CodeOpened: Agent._answered,
    m.CodeUsed: Agent._short_invite_used,
    m.Refused: Agent._answered,
}
