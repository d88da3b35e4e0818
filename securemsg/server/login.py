"""
The login: the server proves its identity, then the device proves its own.

The answer is the same, after the same work, whether the account or device does not exist or the signature is wrong.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from securemsg.crypto import keys
from securemsg.errors import RemoteProtocolError, Unauthentic
from securemsg.interfaces import IPrekeyStore, StoredStock
from securemsg.protocol.auth import (
    CHALLENGE_LABEL,
    FEATURES,
    PROOF_LABEL,
    VERSION,
    challenge_parts,
    proof_parts,
)
from securemsg.protocol.devices import NAME_PATTERN
from securemsg.protocol.messages import ID_SIZE, MAX_LOGINS, Challenge, Hello, PrekeyStock, Proof, Welcome
from securemsg.server.accounts import AccountCache, DeviceState
from securemsg.server.addresses import Addresses
from securemsg.server.commits import GroupCommit
from securemsg.server.connection import ClientConnection, Role
from securemsg.server.delivery import Delivery, Subscription
from securemsg.server.guests import Guests
from securemsg.server.limits import Buckets


@define(eq=False)
class Logins:
    """
    Logs connections in.

    @ivar _identity: the server's key, which invites pin.
    @ivar _rate: limits, for each account, logins that have proved the device's key; others cannot use it up.
    @ivar _verify: L{keys.verify}, or a replacement that counts its calls.
    """

    _identity: keys.SigningKey
    _accounts: AccountCache
    _prekeys: IPrekeyStore
    _delivery: Delivery
    _commits: GroupCommit
    _guests: Guests
    _addresses: Addresses
    _rate: Buckets
    _now: Callable[[], float]
    _verify: Callable[..., None]
    # Nobody has the private half: a signature under it is always wrong, and takes as long to verify as a right one.
    _decoy: bytes = field(init=False, factory=lambda: keys.SigningKey.generate().public)

    def greet(self, connection: ClientConnection, message: Hello) -> None:
        """
        Answer Hello with a Challenge that proves the server's identity.

        @raise RemoteProtocolError: C{unsupported-version}; C{forbidden}: this role is not for this socket.
        """
        channel = connection.channel
        if VERSION not in message.versions:
            raise RemoteProtocolError("unsupported-version")
        if connection.operator is not (message.role == "operator") or message.transport != channel.binding.transport:
            raise RemoteProtocolError("forbidden")
        connection.hello = message
        features = [feature for feature in FEATURES if feature in message.features]
        nonce = keys.nonce()
        identity = self._identity.public
        parts = challenge_parts(channel.connection.hello, VERSION, features, nonce, identity, channel.binding)
        by_key = message.role == "key"
        signature = self._guests.challenge(parts) if by_key else self._identity.sign(CHALLENGE_LABEL, *parts)
        connection.send(Challenge(VERSION, features, nonce, identity, signature))

    async def prove(self, connection: ClientConnection, message: Proof) -> None:
        """
        Log in a device that proves its key, a guest who proves to have the key file, or the operator, whom the socket proves.

        @raise RemoteProtocolError: C{login-failed}; C{server-full}; C{suspended}; C{rate-limited}: too many logins of this
            account, or from this address too many that failed; C{out-of-turn}: the Hello announced no login; C{malformed}: a
            device that does not name itself, or anybody else who names one.
        """
        source = connection.channel.source
        if not self._addresses.may_log_in(source):
            raise RemoteProtocolError("rate-limited")
        try:
            await self._check(connection, message)
        except RemoteProtocolError as error:
            if error.code == "login-failed":
                self._addresses.count_failed_login(source)
            raise

    async def _check(self, connection: ClientConnection, message: Proof) -> None:
        """See L{prove}."""
        hello = connection.hello
        assert hello is not None, "the phases put Hello first"
        if hello.role in ("register", "newcomer"):
            raise RemoteProtocolError("out-of-turn")
        if hello.role == "device":
            named = len(message.device) == ID_SIZE and NAME_PATTERN.fullmatch(message.account) is not None
        else:
            named = not message.account and not message.device
        if not named:
            raise RemoteProtocolError("malformed")
        if hello.role == "key":
            self._guests.prove(connection, message)
            return
        if connection.operator:
            connection.become(Role.OPERATOR)
            connection.send(Welcome(0, int(self._now()), PrekeyStock(0, 0, 0, 0), []))
            return
        # Nothing depends on whether it exists before the signature is verified: not the store's work, and not the cache.
        key = await self._accounts.find_device(message.account, message.device)
        wire = connection.channel.connection
        parts = proof_parts(
            wire.hello, wire.challenge, self._identity.public, message.account, message.device, message.highest,
            connection.channel.binding,
        )  # fmt: skip
        try:
            self._verify(key or self._decoy, message.signature, PROOF_LABEL, *parts)
        except Unauthentic:
            raise RemoteProtocolError("login-failed") from None
        found = await self._accounts.load_login(message.account, message.device)
        if found is None or found[0].signing_key != key:
            raise RemoteProtocolError("login-failed")
        if not connection.is_local and not self._rate.consume(found[0].rate_key):
            raise RemoteProtocolError("rate-limited")
        await self.welcome(connection, *found, message.highest)

    async def welcome(
        self, connection: ClientConnection, device: DeviceState, stock: StoredStock, highest: int
    ) -> None:
        """
        Log in a connection that has proved to be this device, and deliver what waits for it.

        @param stock: what prekeys are left for it.
        @param highest: the highest C{n} that it knows of. Behind ours, it has come back with an older state, and does not know
            which bundles it has used since.
        @raise RemoteProtocolError: C{server-full}; C{login-failed}: the device was removed meanwhile; C{suspended}.
        """
        hello = connection.hello
        assert hello is not None, "it has not logged in yet"
        self._delivery.check_room(connection, device)
        if highest < device.highest:
            device.account.pins += 1
            try:
                await self._prekeys.forget_claims(device.mailbox)
            finally:
                device.account.pins -= 1
            if self._accounts.mailbox(device.mailbox) is not device:
                raise RemoteProtocolError("login-failed")
            self._delivery.check_room(connection, device)
        if device.account.suspended:
            raise RemoteProtocolError("suspended")
        if not connection.is_open:
            return
        if device.unsettled:
            # What the device has not acknowledged is delivered again, once it is committed.
            self._commits.commit_soon()
        subscription = Subscription(device, connection, self._delivery)
        self._delivery.subscribe(subscription)
        connection.become(Role.DEVICE)
        before, device.logins = device.logins, (*device.logins, hello.login)[-MAX_LOGINS:]
        device.has_rooms = connection.channel.connection.has_rooms and not connection.is_local
        device.last_seen = int(self._now())
        self._commits.keep_logins(device)
        connection.hello = None
        left = PrekeyStock(stock.signed_id, stock.last_resort_id, stock.one_time, stock.kem)
        connection.send(Welcome(device.highest, int(self._now()), left, list(before)))
        subscription.deliver_pending()
