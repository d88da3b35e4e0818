"""
Guests: clients that have the server's key file.

They have no account. Each connection of a guest is a device of its own, without a mailbox, that exchanges messages with the
contact C{server} only and is forgotten when the connection ends. The server gets only the name and the login key of the file,
so that it cannot read what was encrypted with it.

What limits a guest: the commands of its role (L{securemsg.server.commands}), the contact C{server} as its only recipient
(L{GuestMailboxes}), the rates of a rate key (L{Guests}), and C{--max-clients}, among which it counts
(L{securemsg.server.delivery}). Source: C{docs/protocol.md}, section "Login with a key file".
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field, frozen

from securemsg.crypto import keys
from securemsg.errors import Refusal, RemoteProtocolError
from securemsg.protocol.auth import KEY_CHALLENGE_LABEL, KEY_PROOF_LABEL, proof_parts
from securemsg.protocol.devices import SERVER_NAME
from securemsg.protocol.messages import (
    Acceptance,
    Accepted,
    AccountRecord,
    Acknowledge,
    Challenge,
    Deposit,
    Missed,
    PrekeyStock,
    Proof,
    SignedDeviceList,
    Welcome,
    decode_message,
)
from securemsg.server.accounts import AccountState, DeviceState
from securemsg.server.acks import PendingAcks
from securemsg.server.connection import ClientConnection, Role, Work
from securemsg.server.delivery import Delivery, Subscription
from securemsg.server.deposits import digest_of
from securemsg.server.mailbox import Mailboxes

LOGIN_SIZE = 64
# Guests have no entry in the directory.
NO_RECORD = AccountRecord("", bytes(32), SignedDeviceList(b"", bytes(64)))


@frozen
class KeyFile:
    """
    The part of a key file that the server needs: enough to recognise guests, and nothing to read their messages with.

    @ivar name: the account name that guests appear under.
    @ivar login: 64 bytes, with which each side proves to the other that it has the file.
    """

    name: str
    login: bytes = field(repr=False, eq=False)


@define(eq=False)
class GuestSubscription(Subscription):
    """The delivery to a guest: at once or not at all, because there is no mailbox."""

    _forget: Callable[[DeviceState], None] = field(repr=False)

    def left(self) -> None:
        """The connection is gone, and the device with it."""
        super().left()
        self._forget(self.device)


@define(eq=False)
class GuestMailboxes(Mailboxes):
    """Deposits of guests, which go to the contact only, and acknowledgements of guests, who have no mailbox."""

    def deposit(self, connection: ClientConnection, message: Deposit) -> Work | None:
        """
        Store a message for the contact C{server}.

        @raise Refusal: it is not stored; C{forbidden}: it is for somebody else.
        """
        if [destination.account for destination in message.to] != [SERVER_NAME]:
            raise Refusal("forbidden")
        assert self._acks is not None, "the answers of guests wait"
        digest = self._acks.digest(connection, message.deposit_id)
        if digest is None:
            return super().deposit(connection, message)
        if digest != digest_of(message):
            raise Refusal("conflict")
        # It was repeated, and is answered when the contact acknowledges it.
        return None

    def acknowledge(self, connection: ClientConnection, message: Acknowledge) -> None:
        """
        Make room for more deliveries.

        @raise RemoteProtocolError: C{bad-acknowledgement}.
        """
        assert connection.subscription is not None, "the command table asks for a guest"
        connection.subscription.acknowledge(message.tag)


@define(eq=False)
class Guests:
    """
    The guests who are connected, and their login.

    @ivar _identity: the server's identity.
    """

    _file: KeyFile | None
    _identity: bytes
    _delivery: Delivery
    _acks: PendingAcks
    _max_expiry: int
    _now: Callable[[], float]
    _login: bytes = field(init=False, repr=False)
    _account: AccountState = field(init=False, repr=False)
    _subscriptions: dict[bytes, GuestSubscription] = field(init=False, factory=dict, repr=False)
    # Rate keys are used again when a guest has left, so that a new connection does not get round a limit.
    _free_rate_keys: list[str | int] = field(init=False, factory=list)
    _last_rate_key: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        """Without a file, use a key that nobody has: the login then fails in the same way, after the same work."""
        self._login = self._file.login if self._file is not None else keys.random_bytes(LOGIN_SIZE)
        self._account = AccountState(self._file.name if self._file is not None else "", b"", NO_RECORD, version=0, root=0)

    @property
    def devices(self) -> frozenset[bytes]:
        """The devices of all guests who are connected."""
        return frozenset(self._subscriptions)

    def devices_of(self, name: str) -> frozenset[bytes]:
        """The devices of the guests with this account name."""
        return self.devices if name == self._account.name else frozenset()

    # --- login ------------------------------------------------------------------------------------------------------

    def challenge(self, parts: tuple[bytes, ...]) -> bytes:
        """Prove that the server has the file: 64 bytes, in place of the signature by the server's identity."""
        return keys.mac(self._login, KEY_CHALLENGE_LABEL, *parts)

    def prove(self, connection: ClientConnection, message: Proof) -> None:
        """
        Log in a guest who proves to have the file.

        @raise RemoteProtocolError: C{login-failed}, C{server-full}.
        """
        wire, binding = connection.channel.connection, connection.channel.binding
        parts = proof_parts(wire.hello, wire.challenge, self._identity, "", b"", message.highest, binding)
        proved = keys.same(keys.mac(self._login, KEY_PROOF_LABEL, *parts), message.signature)
        if not proved or message.highest or self._file is None:
            raise RemoteProtocolError("login-failed")
        self._delivery.check_room(connection)
        hello, challenge = connection.hello, decode_message(wire.challenge)
        assert hello is not None, "the phases put Hello first"
        assert isinstance(challenge, Challenge), "the server has sent it"
        device = self._device(keys.guest_device(keys.connection_nonce(hello.nonce, challenge.nonce, binding.exporter)))
        subscription = GuestSubscription(device, connection, self._delivery, self._forget)
        self._subscriptions[device.id] = subscription
        self._delivery.subscribe(subscription)
        connection.become(Role.GUEST)
        connection.hello = None
        connection.send(Welcome(0, int(self._now()), PrekeyStock(0, 0, 0, 0), []))
        subscription.deliver_pending()

    def _device(self, device_id: bytes) -> DeviceState:
        if self._free_rate_keys:
            rate_key = self._free_rate_keys.pop()
        else:
            self._last_rate_key += 1
            rate_key = self._last_rate_key
        # A number that no mailbox has. It differs for each connection, also after a restart, so that a deposit of one guest is
        # never taken for a repetition of another's.
        number = -1 - (int.from_bytes(device_id[:8], "big") >> 1)
        return DeviceState(
            self._account, device_id, b"", number,
            highest=0, messages=0, size=0, last_position=0, committed=0, submitted=0, rate_key=rate_key,
            is_highest_queued=True,
        )  # fmt: skip

    def _forget(self, device: DeviceState) -> None:
        subscription = self._subscriptions.pop(device.id)
        self._free_rate_keys.append(device.rate_key)
        self._acks.forget(subscription.connection)

    # --- messages from the contact ----------------------------------------------------------------------------------

    def deliver(self, connection: ClientConnection, message: Deposit) -> bool:
        """
        Deliver a deposit of the contact C{server} to guests: now, or not at all, because they have no mailbox.

        @return: whether it is from the contact, and all its recipients are guests who are connected.
        @raise Refusal: C{mailbox-full}: none of them has room for it now; C{bad-request}.
        """
        sender, to = connection.device, message.to[0]
        if len(message.to) != 1 or to.account != self._account.name or sender.account.name != SERVER_NAME:
            return False
        if any(part.device not in self._subscriptions for part in to.parts):
            return False
        if not 0 < message.expiry <= self._max_expiry or len({part.device for part in to.parts}) != len(to.parts):
            raise Refusal("bad-request")
        now = int(self._now())
        missed = []
        for part in to.parts:
            subscription = self._subscriptions[part.device]
            if subscription.has_room():
                position = subscription.cursor + 1
                subscription.deliver(
                    position, sender.account.name, sender.id, message.deposit_id, now, message.common, part.own
                )
            else:
                missed.append(Missed(to.account, part.device, "mailbox-full"))
        if len(missed) == len(to.parts):
            raise Refusal("mailbox-full")
        connection.send(Accepted(now, [Acceptance(message.deposit_id, missed, stored=False)]))
        return True
