"""Registration of accounts, and the tokens that admit them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from attrs import define

from securemsg.counters import ServerCounters
from securemsg.crypto import keys
from securemsg.errors import Refusal, RemoteProtocolError
from securemsg.interfaces import IServerStore, ITokenStore, NewAccount
from securemsg.protocol.auth import REGISTER_DEVICE_LABEL, REGISTER_IDENTITY_LABEL, register_parts
from securemsg.protocol.devices import (
    SERVER_NAME,
    SUCCESSION_LABEL,
    DeviceList,
    check_name,
    decode_device_list,
    is_reserved,
    succession_parts,
)
from securemsg.protocol.messages import Invite, Invited, Register
from securemsg.server.accounts import AccountCache, AccountState
from securemsg.server.addresses import Addresses
from securemsg.server.connection import ClientConnection, Role
from securemsg.server.delivery import Delivery
from securemsg.server.directory import Directory, check_list, device_keys
from securemsg.server.limits import Buckets, Settings
from securemsg.server.login import Logins

# Too long to guess, and short in an invite. Bytes.
TOKEN_SIZE = 16
# The key of the one bucket that all failures share.
EVERYBODY = 0


@define(eq=False)
class Registrations:
    """
    Makes accounts.

    @ivar _rate: limits, for each token, registrations that reach the store.
    @ivar _failures: limits those that fail before.
    """

    _identity: bytes
    _settings: Settings
    _accounts: AccountCache
    _store: IServerStore
    _logins: Logins
    _delivery: Delivery
    _addresses: Addresses
    _rate: Buckets
    _failures: Buckets
    _now: Callable[[], float]
    _log_account: Callable[[str, str], None]
    _counters: ServerCounters

    async def register(self, connection: ClientConnection, message: Register) -> None:
        """
        Make an account, and log its first device in. It may be repeated after a lost answer.

        @raise Refusal: the registration is refused.
        @raise RemoteProtocolError: C{out-of-turn}: the Hello announced no registration; C{server-full}; C{login-failed}: the
            account exists and has other devices by now.
        """
        hello = connection.hello
        assert hello is not None, "the phases put Hello first"
        if hello.role != "register":
            raise RemoteProtocolError("out-of-turn")
        if _names_former(message):
            await self._renew(connection, message)
            return
        token = self._token_of(connection, message)
        with self._counting_failures():
            # The token first: without a valid one nobody learns which names exist, and it costs one lookup.
            closed = self._settings.registration == "closed"
            if token and not await self._store.admits(message.account, message.identity, token, int(self._now()), closed):
                raise Refusal("registration-closed" if closed else "bad-token")
            devices = self._check(connection, message)
        # After the checks, so that a registration that is not allowed is refused as such; and before a token is used up.
        self._delivery.check_room(connection)
        if not self._addresses.count_registration(connection.channel.source):
            raise Refusal("rate-limited")
        if not connection.is_local and not self._rate.consume(token):
            raise Refusal("rate-limited")
        await self._store.register(self._new_account(message, devices, token=token))
        if not connection.is_local:
            self._counters.registrations += 1
        await self._welcome(connection, message, devices, "registered")

    async def _welcome(self, connection: ClientConnection, message: Register, devices: DeviceList, event: str) -> None:
        found = await self._accounts.load_login(message.account, message.device)
        if found is None or (found[0].id, found[0].signing_key) not in device_keys(devices):
            raise RemoteProtocolError("login-failed")
        self._log_account(event, message.account)
        await self._logins.welcome(connection, *found, 0)

    async def _renew(self, connection: ClientConnection, message: Register) -> None:
        """
        Give an account another identity, which the one before has signed, and log its device in. It may be repeated after a
        lost answer.

        @raise Refusal: C{login-failed}: there is no such account, or its identity has not signed this one.
            C{mailbox-not-empty}: something waits for a device, or one is logged in. C{bad-device-list}. C{rate-limited}.
            C{suspended}.
        """
        account = await self._accounts.load(message.account)
        with self._counting_failures():
            devices = self._check_signatures(connection, message)
            if account is None or account.name == SERVER_NAME:
                raise Refusal("login-failed")
            if account.identity != message.identity:
                self._check_succession(account, devices, message)
            if account.suspended:
                raise Refusal("suspended")
        self._delivery.check_room(connection)
        if account.identity != message.identity:
            if account.is_renewing or any(each.messages or each.reader for each in account.devices.values()):
                raise Refusal("mailbox-not-empty")
            if not self._rate.consume(account.name.encode()):
                raise Refusal("rate-limited")
            # From here on until its devices are exchanged nothing comes for them, so that nothing is lost with them.
            account.is_renewing = True
            account.pins += 1
            try:
                await self._store.register(self._new_account(message, devices, account.identity))
                await self._accounts.read(account.name)
            finally:
                account.pins -= 1
                account.is_renewing = False
        await self._welcome(connection, message, devices, "renewed")

    @contextmanager
    def _counting_failures(self) -> Iterator[None]:
        """Count a check that fails, for everybody together; with too many of them, that alone is said."""
        try:
            yield
        except Refusal as refusal:
            raise refusal if self._failures.consume(EVERYBODY) else Refusal("rate-limited") from None

    def _check_succession(self, account: AccountState, devices: DeviceList, message: Register) -> None:
        """Check that an account's identity has signed the new one, and that the new list follows the present one."""
        last = devices.successions[-1]
        if last.identity != account.identity:
            raise Refusal("login-failed")
        parts = succession_parts(self._identity, account.name, message.identity)
        keys.verify(last.identity, last.signature, SUCCESSION_LABEL, *parts)
        is_next = devices.version == account.version + 1 and devices.previous == keys.sha256(account.record.devices.body)
        if not is_next or any(device.id in account.devices for device in devices.devices):
            raise Refusal("bad-device-list")

    def _new_account(self, message: Register, devices: DeviceList, former: bytes = b"", token: bytes = b"") -> NewAccount:
        return NewAccount(
            name=message.account,
            identity=message.identity,
            body=message.devices.body,
            signature=message.devices.signature,
            version=devices.version,
            devices=device_keys(devices),
            token=token,
            now=int(self._now()),
            former=former,
        )

    def _token_of(self, connection: ClientConnection, message: Register) -> bytes:
        """The SHA-256 of the token, as the store has it; empty where none is needed."""
        if connection.is_local:
            return b""
        return b"" if self._settings.registration == "open" else keys.sha256(message.token)

    def _check(self, connection: ClientConnection, message: Register) -> DeviceList:
        """Check everything that needs no store: signatures, device list and name."""
        devices = self._check_signatures(connection, message)
        if devices.version != 1 or devices.previous or devices.successions:
            raise Refusal("bad-device-list")
        check_name(message.account)
        if is_reserved(message.account) and not (message.account == SERVER_NAME and connection.is_local):
            raise Refusal("reserved-name")
        return devices

    def _check_signatures(self, connection: ClientConnection, message: Register) -> DeviceList:
        """Check that identity and device have signed, and the list."""
        wire = connection.channel.connection
        parts = register_parts(wire.hello, wire.challenge, self._identity, message, connection.channel.binding)
        keys.verify(message.identity, message.identity_signature, REGISTER_IDENTITY_LABEL, *parts)
        devices = check_list(message.devices, message.identity, self._identity, message.account)
        device = next((device for device in devices.devices if device.id == message.device), None)
        if device is None:
            raise Refusal("bad-device-list")
        keys.verify(device.signing_key, message.device_signature, REGISTER_DEVICE_LABEL, *parts)
        return devices


def _names_former(message: Register) -> bool:
    """Whether this is for an account that is there, under another identity; nothing is checked."""
    if message.token:
        return False
    try:
        return bool(decode_device_list(message.devices.body).successions)
    except Refusal:
        return False


@define(eq=False)
class Invites:
    """Issues tokens."""

    _settings: Settings
    _store: ITokenStore
    _directory: Directory
    _now: Callable[[], float]

    async def invite(self, connection: ClientConnection, message: Invite) -> Invited:
        """
        Issue a token. Only its hash is kept.

        @raise Refusal: C{registration-closed}, but not to the operator; C{forbidden}: users may not invite here, or not at this
            depth; C{bad-request}: more uses or a longer lifetime than a user may give; C{too-many-invites}.
        """
        creator = ""
        if connection.role is Role.DEVICE:
            if self._settings.registration == "closed":
                raise Refusal("registration-closed")
            depth = self._settings.user_invite_depth
            if not self._settings.users_invite or (depth and connection.device.account.depth >= depth):
                raise Refusal("forbidden")
            self._directory.count(connection)
            creator = connection.device.account.name
            if message.uses > self._settings.user_invite_uses or message.lifetime > self._settings.user_invite_lifetime:
                raise Refusal("bad-request")
        token = keys.random_bytes(TOKEN_SIZE)
        expires_at = int(self._now()) + message.lifetime
        limit = self._settings.user_open_invites
        await self._store.add_token(keys.sha256(token), message.uses, expires_at, creator, limit)
        return Invited(message.request, token, expires_at)
