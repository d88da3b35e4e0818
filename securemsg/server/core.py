"""The server as one object, without the network: it is given stores, a key and a clock, and makes connections."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from attrs import define, field

from securemsg.counters import ServerCounters
from securemsg.crypto.keys import SigningKey, verify
from securemsg.interfaces import IServerStore
from securemsg.server.accounts import AccountCache, DeviceState
from securemsg.server.addresses import Addresses
from securemsg.server.admin import Operator, SendReply, refuse_reply
from securemsg.server.audit import Audit, no_audit
from securemsg.server.clock import ExpiryClock
from securemsg.server.commands import LogPeers, LogRefusal, command_table, log_no_refusal
from securemsg.server.commits import GroupCommit
from securemsg.server.connection import WINDING_UP, ClientConnection, Command, Role
from securemsg.server.delivery import Delivery
from securemsg.server.directory import Directory
from securemsg.server.guests import GuestMailboxes, Guests, KeyFile
from securemsg.server.limits import Buckets, DiskGuard, Rate, Settings
from securemsg.server.login import Logins
from securemsg.server.mailbox import Mailboxes
from securemsg.server.operations import Operations, Snapshot, refuse_snapshot
from securemsg.server.prekeys import Prekeys
from securemsg.server.registration import Invites, Registrations
from securemsg.server.rooms import Rooms
from securemsg.server.shortinvites import ShortInvites

# Expired messages that one transaction deletes at most, so that deposits do not wait long for it.
EXPIRE_LIMIT = 500
# Codes of a request that exceeds what an account may have or do.
LIMIT_CODES = frozenset(
    {"rate-limited", "mailbox-full", "retry-later", "too-many-invites", "too-many-codes", "too-many-prekeys"}
)
# Seconds after which the store learns again that a device is still logged in: it counts as seen, also after a crash.
SEEN_AGAIN = 86400


@define(eq=False)
class Server:
    """
    All parts of the server except the network.

    @ivar now: the wall clock.
    @ivar seconds: monotonic time, for rates.
    @ivar soon: runs a function at the end of this reactor turn.
    @ivar later: runs a function after so many seconds.
    @ivar spawn: runs a coroutine to its end; an exception from it is a bug.
    @ivar free_space: free bytes on the store's disk.
    @ivar verify: checks the signatures of logins.
    @ivar key_file: the public part of the key file that admits guests; C{None}: there are none.
    @ivar log_account: logs for the operator that an account was C{registered} or C{removed}.
    @ivar log_refusal: logs for the operator what was refused, to whom and why: a C{login}, a C{registration}, or a C{request}
        that exceeds a limit.
    @ivar log_peers: logs for the operator who writes to whom; C{None}: nobody is to know.
    @ivar audit: is told what the operator does.
    @ivar set_log_level: has the log begin at another level; raises Refusal if it cannot.
    @ivar counters: counts what is done.
    @ivar take_snapshot: copies the databases for a backup, or raises Refusal; set later, as C{reply}.
    @ivar rotate_key: makes the TLS key anew; raises Refusal if it cannot.
    @ivar certificate_expires_at: when the certificate for new connections expires, Unix time; 0: there is none.
    @ivar reply: sends a text from the contact C{server}; the third argument lists the connected guests if the text is for them.
        Raises Refusal. It may be set later, because the contact is started after the server.
    @ivar address: host and ports for invites, TCP's and UDP's.
    @ivar disk: whether it has room for something new.
    @ivar addresses: what is counted by address; whoever accepts connections asks it.
    @ivar accounts: accounts in memory.
    @ivar commits: deposits that are held, or on their way to the store.
    @ivar clock: the clock for expiry.
    @ivar commands: what each role may say.
    """

    stores: IServerStore
    settings: Settings
    identity: SigningKey
    now: Callable[[], float]
    seconds: Callable[[], float]
    soon: Callable[[Callable[[], None]], None]
    later: Callable[[float, Callable[[], None]], object]
    spawn: Callable[[Coroutine[Any, Any, None]], None]
    free_space: Callable[[], int]
    verify: Callable[..., None] = verify
    key_file: KeyFile | None = None
    log_account: Callable[[str, str], None] = lambda event, name: None
    log_refusal: LogRefusal = log_no_refusal
    log_peers: LogPeers | None = None
    audit: Audit = no_audit
    set_log_level: Callable[[str], None] = lambda level: None
    counters: ServerCounters = field(factory=ServerCounters, repr=False)
    take_snapshot: Snapshot = field(default=refuse_snapshot, repr=False)
    rotate_key: Callable[[], None] = lambda: None
    certificate_expires_at: Callable[[], float] = lambda: 0
    reply: SendReply = field(default=refuse_reply, repr=False)
    address: tuple[str, int, int] = field(init=False)
    _connections: set[ClientConnection] = field(init=False, factory=set, repr=False)
    addresses: Addresses = field(init=False, repr=False)
    disk: DiskGuard = field(init=False, repr=False)
    accounts: AccountCache = field(init=False, repr=False)
    commits: GroupCommit = field(init=False, repr=False)
    _delivery: Delivery = field(init=False, repr=False)
    clock: ExpiryClock = field(init=False, repr=False)
    _guests: Guests = field(init=False, repr=False)
    _short_invites: ShortInvites = field(init=False, repr=False)
    _operations: Operations = field(init=False, repr=False)
    commands: Mapping[Role, Mapping[type, Command]] = field(init=False, repr=False)
    _expiring: bool = field(init=False, default=False)
    _stopped: str = field(init=False, default="")
    _refused: str = field(init=False, default="")

    def __attrs_post_init__(self) -> None:
        settings, stores, now = self.settings, self.stores, self.now
        identity = self.identity.public
        self.address = (settings.host, settings.port, settings.udp_port)
        self.addresses = addresses = Addresses(settings, self.seconds)
        self.clock = clock = ExpiryClock(now, stores.last_clock())
        self.accounts = accounts = AccountCache(stores, settings.cached_accounts)
        self._delivery = delivery = Delivery(stores, settings, self.counters)
        self.commits = commits = GroupCommit(
            stores, settings, now, self.seconds, self.soon, self.later, self.counters
        )
        self._guests = guests = Guests(self.key_file, identity, delivery, commits.acks, settings.max_expiry, now)
        requests = self._bucket(settings.requests)
        rooms = Rooms(stores, settings.cached_rooms, self._bucket(settings.room_steps), self._bucket(settings.rooms))
        directory = Directory(accounts, stores, requests, identity)
        self._short_invites = ShortInvites(settings, directory, self._bucket(settings.failures), self.seconds)
        logins = Logins(
            self.identity, accounts, stores, delivery, commits, guests, addresses, self._bucket(settings.logins), now,
            self.verify,
        )  # fmt: skip
        self.disk = DiskGuard(self.free_space, stores.wal_size, self.seconds)
        mailbox_parts = (
            accounts, commits, stores, settings, self.disk, requests,
            self._bucket(settings.deposits), clock, guests.deliver, now, rooms, self._bucket(settings.contact_deposits),
        )  # fmt: skip
        self._operations = Operations(
            self._connections, stores, guests, self.free_space, now, int(now()), self.set_log_level, self.rotate_key,
            self.certificate_expires_at, lambda: self.take_snapshot(),
        )  # fmt: skip
        self.commands = command_table(
            logins=logins,
            registrations=Registrations(
                identity=identity,
                settings=settings,
                accounts=accounts,
                store=stores,
                logins=logins,
                delivery=delivery,
                addresses=addresses,
                rate=self._bucket(settings.registrations),
                failures=self._bucket(settings.failures),
                now=now,
                log_account=self.log_account,
                counters=self.counters,
            ),
            mailboxes=Mailboxes(*mailbox_parts),
            guest_mailboxes=GuestMailboxes(*mailbox_parts, commits.acks),
            directory=directory,
            prekeys=Prekeys(
                accounts,
                stores,
                directory,
                settings,
                self._bucket(settings.uploads),
                self._bucket(settings.claims_between),
                self._bucket(settings.claims_of),
                clock.read,
            ),
            invites=Invites(settings, stores, directory, now),
            short_invites=self._short_invites,
            operations=self._operations,
            operator=Operator(
                accounts=accounts,
                store=stores,
                tokens=stores,
                identity=identity,
                address=lambda: self.address,
                settings=settings,
                guests=guests,
                reply=self._reply,
                log_account=self.log_account,
                now=now,
            ),
            now=now,
            audit=self.audit,
            log_refusal=self.log_refusal,
            log_peers=self.log_peers,
        )

    @property
    def connected(self) -> int:
        """The number of connections, logged in or not."""
        return len(self._connections)

    @property
    def logged_in(self) -> int:
        """The number of devices that are logged in, without the contact in this process."""
        return self._delivery.logged_in

    @property
    def guests(self) -> frozenset[bytes]:
        """The devices of all guests who are connected."""
        return self._guests.devices

    def connect(self, *, operator: bool = False) -> ClientConnection:
        """
        Make the server's side of a new connection.

        @param operator: whether it came through the operator's socket, which proves who it is.
        """
        return ClientConnection(
            self.commands, self.spawn, self.soon, self._opened, self._ended, self._refusal, self.settings.max_queued, operator,
            self.counters,
        )  # fmt: skip

    @property
    def is_draining(self) -> bool:
        """Whether the operator lets nobody in."""
        return self._operations.is_draining

    def tick(self) -> None:
        """To be called about once a minute: keep the expiry clock going, write logins, and delete what has expired."""
        self.clock.tick()
        seen_before = self.now() - SEEN_AGAIN
        for connection in self._connections:
            if connection.role is Role.DEVICE and connection.device.last_seen < seen_before:
                self._note_seen(connection.device)
        self.commits.flush()
        if not self._expiring and not self._stopped:
            self._expiring = True
            self.spawn(self._expire())

    def wind_up(self) -> None:
        """
        Take no new connections, and no commands but those of the contact in this process. What was taken is carried out,
        committed and answered: L{is_settled} says when that is done.
        """
        self._stopped = "stopping"
        for connection in self._connections:
            if not connection.is_local:
                connection.pause(WINDING_UP)
        self.commits.commit_soon()

    @property
    def is_settled(self) -> bool:
        """Whether everything that was taken is answered. The deposits of guests may wait for the contact, however long."""
        return self.commits.is_idle and not any(connection.is_busy for connection in self._connections)

    def stop(self) -> None:
        """End all connections, and let nobody in later."""
        self._stopped = "stopping"
        self._operations.send_away(list(self._connections))
        self.commits.stop()

    def refuse_connections(self, code: str) -> None:
        """End new connections with this code; with an empty one, no longer."""
        self._refused = code

    def _bucket(self, rate: Rate) -> Buckets:
        return Buckets(rate, self.seconds, self.settings.rate_keys)

    def _opened(self, connection: ClientConnection) -> None:
        self._connections.add(connection)
        connection.since = int(self.now())
        if code := self._stopped or self._refused:
            connection.end(code)
        elif not self._operations.admits(connection):
            connection.end("stopping")

    def _ended(self, connection: ClientConnection) -> None:
        self._connections.discard(connection)
        self._short_invites.left(connection)
        if connection.subscription is not None:
            connection.subscription.left()
        if connection.role is Role.DEVICE:
            self._note_seen(connection.device)

    def _refusal(self, connection: ClientConnection, code: str) -> None:
        """Log for the operator that an account has reached a limit; not what it wanted, and of whom."""
        if code in LIMIT_CODES and connection.role is Role.DEVICE and not connection.is_local:
            self.log_refusal("request", connection.device.account.name, code)

    def _note_seen(self, device: DeviceState) -> None:
        device.last_seen = int(self.now())
        self.commits.keep_logins(device)

    async def _reply(self, account: str, text: str, present: frozenset[bytes]) -> None:
        # Looked up at each call, because `reply` may be set later.
        await self.reply(account, text, present)

    async def _expire(self) -> None:
        """Delete expired messages in small transactions."""
        try:
            full = True
            while full and not self._stopped:
                clock = self.clock
                forget_before = clock.now - self.settings.forget_after
                taken = await self.stores.expire(clock.reading, clock.date, forget_before, EXPIRE_LIMIT)
                for mailbox, (messages, size) in taken.items():
                    device = self.accounts.mailbox(mailbox)
                    if device is not None:
                        device.messages = max(0, device.messages - messages)
                        device.size = max(0, device.size - size)
                full = sum(messages for messages, _ in taken.values()) >= EXPIRE_LIMIT
        finally:
            self._expiring = False
