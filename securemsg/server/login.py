"""
The login: who the server is, who the caller is, and the step from one to the other.

Whether an account does not exist, has no such device, or the signature is wrong: the answer is the same, after the same work.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from securemsg.crypto import keys
from securemsg.errors import RemoteProtocolError, Unauthentic
from securemsg.interfaces import IPrekeyStore
from securemsg.protocol.auth import (
    CHALLENGE_LABEL,
    FEATURES,
    PROOF_LABEL,
    VERSION,
    challenge_parts,
    proof_parts,
)
from securemsg.protocol.messages import Challenge, Hello, PrekeyStock, Proof, Welcome
from securemsg.server.accounts import AccountCache, DeviceState
from securemsg.server.connection import ClientConnection, Role
from securemsg.server.delivery import Router
from securemsg.server.guests import Guests


@define(eq=False)
class Logins:
    """
    The way in.

    @ivar _identity: the server's; invites pin it.
    @ivar _verify: L{keys.verify}, or whoever counts its calls.
    """

    _identity: keys.SigningKey
    _accounts: AccountCache
    _prekeys: IPrekeyStore
    _router: Router
    _guests: Guests
    _now: Callable[[], float]
    _verify: Callable[..., None]
    # Nobody has the other half: what is verified under it is wrong, and takes as long as what is right.
    _nobody: bytes = field(init=False, factory=lambda: keys.SigningKey.generate().public)

    def greet(self, caller: ClientConnection, message: Hello) -> None:
        """
        Answer a greeting with proof of who we are.

        @raise RemoteProtocolError: C{unsupported-version}; C{forbidden}: not through this door; C{malformed}.
        """
        channel = caller.channel
        if VERSION not in message.versions:
            raise RemoteProtocolError("unsupported-version")
        if caller.operator is not (message.role == "operator") or message.transport != channel.binding.transport:
            raise RemoteProtocolError("forbidden")
        by_key = message.role == "key"
        if by_key:
            self._guests.check(message)
        caller.hello = message
        features = [feature for feature in FEATURES if feature in message.features]
        nonce = keys.nonce()
        identity = self._identity.public
        parts = challenge_parts(channel.connection.hello, VERSION, features, nonce, identity, channel.binding)
        signature = self._guests.challenge(parts) if by_key else self._identity.sign(CHALLENGE_LABEL, *parts)
        caller.send(Challenge(VERSION, features, nonce, identity, signature))

    async def prove(self, caller: ClientConnection, message: Proof) -> None:
        """
        Let a device in, or a holder of the key file, or the operator, whom the door proves.

        @raise RemoteProtocolError: C{login-failed}; C{server-full}; C{out-of-turn}: whoever said it registers does not prove.
        """
        hello = caller.hello
        assert hello is not None, "the phases put Hello first"
        if hello.role == "register":
            raise RemoteProtocolError("out-of-turn")
        if hello.role == "key":
            self._guests.prove(caller, message)
            return
        if caller.operator:
            caller.become(Role.OPERATOR)
            caller.send(Welcome(0, int(self._now()), PrekeyStock(0, 0, 0, 0)))
            return
        account = await self._accounts.read(hello.account)
        device = account.devices.get(hello.device) if account is not None else None
        connection = caller.channel.connection
        parts = proof_parts(
            connection.hello, connection.challenge, self._identity.public, message.highest, caller.channel.binding
        )
        try:
            self._verify(device.signing_key if device else self._nobody, message.signature, PROOF_LABEL, *parts)
        except Unauthentic:
            device = None
        if device is None:
            raise RemoteProtocolError("login-failed")
        await self.enter(caller, device)

    async def enter(self, caller: ClientConnection, device: DeviceState) -> None:
        """
        This caller has proved to be this device: welcome it, and deliver what waits.

        @raise RemoteProtocolError: C{server-full}; C{login-failed}: the device was removed just now.
        """
        self._router.check_room(caller, device)
        device.account.holds += 1
        try:
            stock = await self._prekeys.stock(device.mailbox)
        finally:
            device.account.holds -= 1
        if not caller.is_open:
            return
        if self._accounts.mailbox(device.mailbox) is not device:
            raise RemoteProtocolError("login-failed")
        self._router.check_room(caller, device)
        subscription = self._router.subscribe(caller, device)
        caller.become(Role.DEVICE)
        caller.hello = None
        left = PrekeyStock(stock.signed_id, stock.last_resort_id, stock.one_time, stock.kem)
        caller.send(Welcome(device.highest, int(self._now()), left))
        subscription.deliver_pending()
