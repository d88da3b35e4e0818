"""New accounts, and the tokens that admit them."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from securemsg.crypto import keys
from securemsg.errors import Refusal, RemoteProtocolError
from securemsg.interfaces import IServerStore, ITokenStore, NewAccount
from securemsg.protocol.auth import REGISTER_DEVICE_LABEL, REGISTER_IDENTITY_LABEL, register_parts
from securemsg.protocol.devices import SERVER_NAME, DeviceList, check_name, is_reserved
from securemsg.protocol.messages import Hello, Invite, Invited, Register
from securemsg.server.accounts import AccountCache
from securemsg.server.connection import ClientConnection, Role
from securemsg.server.delivery import Router
from securemsg.server.directory import Directory, check_list, device_keys
from securemsg.server.limits import Buckets, Settings
from securemsg.server.login import Logins

# Enough that nobody guesses one, and short in an invite.
TOKEN_SIZE = 16
# All failures share one bucket.
EVERYBODY = 0


@define(eq=False)
class Registrations:
    """
    Makes accounts.

    @ivar _rate: counts by token what got as far as the store.
    @ivar _failures: counts what did not; it makes answers to failures later, and nothing else.
    """

    _identity: bytes
    _settings: Settings
    _accounts: AccountCache
    _store: IServerStore
    _logins: Logins
    _router: Router
    _rate: Buckets
    _failures: Buckets
    _now: Callable[[], float]

    async def register(self, caller: ClientConnection, message: Register) -> None:
        """
        Make an account, and log its first device in. The same once more, after a lost answer, does the same.

        @raise Refusal: why not.
        @raise RemoteProtocolError: C{out-of-turn}: the greeting spoke of no registration; C{server-full}; C{login-failed}: the
            account exists and has another device by now.
        """
        hello = caller.hello
        assert hello is not None, "the phases put Hello first"
        if hello.role != "register":
            raise RemoteProtocolError("out-of-turn")
        token = self._token_of(caller, message)
        try:
            # The token first: whoever has none learns nothing of names, and costs us one look.
            if token and not await self._store.admits(hello.account, message.identity, token, int(self._now())):
                raise Refusal("bad-token")
            devices = self._check(caller, hello, message)
        except Refusal as refusal:
            raise refusal if self._failures.take(EVERYBODY) else Refusal("rate-limited") from None
        # After the proofs, so that who may not register hears that; and before anything is used up.
        self._router.check_room(caller)
        if not caller.is_local and not self._rate.take(token):
            raise Refusal("rate-limited")
        await self._store.register(
            NewAccount(
                name=hello.account,
                identity=message.identity,
                body=message.devices.body,
                signature=message.devices.signature,
                version=devices.version,
                devices=device_keys(devices),
                token=token,
                now=int(self._now()),
            )
        )
        account = await self._accounts.read(hello.account)
        device = account.devices.get(hello.device) if account is not None else None
        if device is None or (device.id, device.signing_key) not in device_keys(devices):
            raise RemoteProtocolError("login-failed")
        await self._logins.enter(caller, device)

    def _token_of(self, caller: ClientConnection, message: Register) -> bytes:
        """The SHA-256 of the token, as the store knows it; empty where none is needed."""
        if caller.is_local:
            return b""
        if self._settings.registration == "closed":
            raise Refusal("registration-closed")
        return keys.sha256(message.token) if self._settings.registration == "invite" else b""

    def _check(self, caller: ClientConnection, hello: Hello, message: Register) -> DeviceList:
        """Check everything that needs no store: proofs, list, name."""
        connection = caller.channel.connection
        parts = register_parts(connection.hello, connection.challenge, self._identity, message, caller.channel.binding)
        keys.verify(message.identity, message.identity_signature, REGISTER_IDENTITY_LABEL, *parts)
        devices = check_list(message.devices, message.identity, self._identity, hello.account)
        device = next((device for device in devices.devices if device.id == hello.device), None)
        if devices.version != 1 or devices.previous or device is None:
            raise Refusal("bad-device-list")
        keys.verify(device.signing_key, message.device_signature, REGISTER_DEVICE_LABEL, *parts)
        check_name(hello.account)
        if is_reserved(hello.account) and not (hello.account == SERVER_NAME and caller.is_local):
            raise Refusal("reserved-name")
        return devices


@define(eq=False)
class Invites:
    """Issues tokens."""

    _settings: Settings
    _store: ITokenStore
    _directory: Directory
    _now: Callable[[], float]

    async def invite(self, caller: ClientConnection, message: Invite) -> Invited:
        """
        Make a token. Only its hash is kept.

        @raise Refusal: C{registration-closed}: it would admit nobody; C{forbidden}: users do not invite here; C{bad-request}:
            more than they may; C{too-many-invites}.
        """
        if self._settings.registration == "closed":
            raise Refusal("registration-closed")
        creator = ""
        if caller.role is Role.DEVICE:
            if not self._settings.users_invite:
                raise Refusal("forbidden")
            self._directory.count(caller)
            creator = caller.device.account.name
            if message.uses > self._settings.user_invite_uses or message.lifetime > self._settings.user_invite_lifetime:
                raise Refusal("bad-request")
        token = keys.random_bytes(TOKEN_SIZE)
        expires_at = int(self._now()) + message.lifetime
        await self._store.add_token(keys.sha256(token), message.uses, expires_at, creator)
        return Invited(message.request, token, expires_at)
