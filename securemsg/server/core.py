"""The server's domain as one object: it is handed its stores, its key, its time and its room, and hands out callers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from attrs import define, field

from securemsg.crypto.keys import SigningKey, verify
from securemsg.interfaces import IServerStore
from securemsg.server.accounts import AccountCache
from securemsg.server.admin import Operator, Say, refuse_reply
from securemsg.server.clock import ExpiryClock
from securemsg.server.commands import command_table
from securemsg.server.commits import GroupCommit
from securemsg.server.connection import ClientConnection, Command, Role
from securemsg.server.delivery import Router
from securemsg.server.directory import Directory
from securemsg.server.guests import Guests, KeyFile
from securemsg.server.limits import Buckets, DiskGuard, Rate, Settings
from securemsg.server.login import Logins
from securemsg.server.mailbox import Mailboxes
from securemsg.server.prekeys import Prekeys
from securemsg.server.registration import Invites, Registrations

# Expired messages that one transaction deletes, so that deposits do not wait for it.
EXPIRE_LIMIT = 500


@define(eq=False)
class Server:
    """
    Everything but the network.

    @ivar soon: runs a function at the end of this reactor turn.
    @ivar spawn: runs a coroutine to its end; what it raises is a bug.
    @ivar free_space: bytes that are left where the store lies.
    @ivar verify: checks signatures of logins.
    @ivar key_file: what is to be known of the key file that admits callers without an account; C{None}: there is none.
    @ivar reply: has the contact C{server} say something to an account, for the operator; it raises Refusal to say no. Of those
        who have a key file it is handed the devices that are connected. It may be set later, for the contact comes after the
        server it lives in.
    @ivar address: what invites name.
    """

    stores: IServerStore
    settings: Settings
    identity: SigningKey
    now: Callable[[], float]
    soon: Callable[[Callable[[], None]], None]
    spawn: Callable[[Coroutine[Any, Any, None]], None]
    free_space: Callable[[], int]
    verify: Callable[..., None] = verify
    key_file: KeyFile | None = None
    reply: Say = field(default=refuse_reply, repr=False)
    address: tuple[str, int] = field(init=False)
    _callers: set[ClientConnection] = field(init=False, factory=set, repr=False)
    _accounts: AccountCache = field(init=False, repr=False)
    _batches: GroupCommit = field(init=False, repr=False)
    _router: Router = field(init=False, repr=False)
    _clock: ExpiryClock = field(init=False, repr=False)
    _guests: Guests = field(init=False, repr=False)
    _tables: Mapping[Role, Mapping[type, Command]] = field(init=False, repr=False)
    _expiring: bool = field(init=False, default=False)
    _stopped: str = field(init=False, default="")

    def __attrs_post_init__(self) -> None:
        """Put the parts together."""
        settings, stores, now = self.settings, self.stores, self.now
        identity = self.identity.public
        self.address = (settings.host, settings.port)
        self._clock = clock = ExpiryClock(now, stores.last_clock())
        self._accounts = accounts = AccountCache(stores, settings.cached_accounts)
        self._router = router = Router(stores, settings)
        self._batches = batches = GroupCommit(stores, settings, now, self.soon)
        self._guests = guests = Guests(self.key_file, identity, router, batches.waits, settings.max_expiry, now)
        requests = self._bucket(settings.requests)
        directory = Directory(accounts, stores, requests, identity)
        logins = Logins(self.identity, accounts, stores, router, guests, now, self.verify)
        registration_rates = self._bucket(settings.registrations), self._bucket(settings.failures)
        self._tables = command_table(
            logins=logins,
            registrations=Registrations(identity, settings, accounts, stores, logins, router, *registration_rates, now),
            mailboxes=Mailboxes(
                accounts,
                batches,
                stores,
                settings,
                DiskGuard(self.free_space, stores.wal_size, now),
                requests,
                self._bucket(settings.deposits),
                clock,
                guests,
                now,
            ),
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
            operator=Operator(accounts, stores, identity, lambda: self.address, settings.accounts_page, guests, self._reply),
            guests=guests,
            now=now,
        )

    @property
    def connected(self) -> int:
        """Callers that are here, logged in or not."""
        return len(self._callers)

    @property
    def logged_in(self) -> int:
        """Devices that are logged in; the contact that lives in this process is not counted."""
        return self._router.logged_in

    @property
    def visiting(self) -> frozenset[bytes]:
        """Devices of those who are here with the key file."""
        return self._guests.devices

    def caller(self, *, operator: bool = False) -> ClientConnection:
        """
        Somebody connects.

        @param operator: through the operator's door, which has proved who it is.
        """
        settings = self.settings
        return ClientConnection(
            self._tables, self.spawn, self.soon, self._join, self._leave, settings.max_backlog, settings.max_queued, operator
        )

    def tick(self) -> None:
        """To be called about once a minute: the expiry clock is kept, and what has expired by it is deleted."""
        self._clock.tick()
        if not self._expiring and not self._stopped:
            self._expiring = True
            self.spawn(self._expire())

    def stop(self, code: str = "stopping") -> None:
        """Say goodbye to everybody, and let nobody in any more."""
        self._stopped = code
        for caller in list(self._callers):
            caller.end(code)
        self._batches.stop()

    def _bucket(self, rate: Rate) -> Buckets:
        """Count something by device."""
        return Buckets(rate, self.now, self.settings.rated)

    def _join(self, caller: ClientConnection) -> None:
        """A channel stands."""
        self._callers.add(caller)
        if self._stopped:
            caller.end(self._stopped)

    def _leave(self, caller: ClientConnection) -> None:
        """A caller is gone."""
        self._callers.discard(caller)
        if caller.subscription is not None:
            caller.subscription.left()
        self._guests.leave(caller)

    async def _reply(self, account: str, text: str, present: frozenset[bytes]) -> None:
        """Whoever says it now."""
        await self.reply(account, text, present)

    async def _expire(self) -> None:
        """Delete what has expired, in small steps."""
        try:
            full = True
            while full and not self._stopped:
                clock = self._clock
                forget_before = clock.now - self.settings.forget_after
                taken = await self.stores.expire(clock.reading, clock.date, forget_before, EXPIRE_LIMIT)
                for mailbox, (messages, size) in taken.items():
                    device = self._accounts.mailbox(mailbox)
                    if device is not None:
                        device.messages = max(0, device.messages - messages)
                        device.size = max(0, device.size - size)
                full = sum(messages for messages, _ in taken.values()) >= EXPIRE_LIMIT
        finally:
            self._expiring = False
