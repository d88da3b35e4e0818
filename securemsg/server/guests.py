"""
Guests: whoever holds the key file that this server was given.

They have no account. Each connection is a device of its own, without a mailbox, that talks with the contact C{server} alone
and is forgotten with the connection. Nothing of the file but its name and the key for logins comes in here, so that what was
encrypted with the file stays closed to this part. Source: C{docs/protocol.md}, section "Login with a key file".
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
    Hello,
    Missed,
    PrekeyStock,
    Proof,
    SignedDeviceList,
    Welcome,
    decode_message,
)
from securemsg.server.accounts import AccountState, DeviceState
from securemsg.server.acks import PendingAcks
from securemsg.server.connection import ClientConnection, Role
from securemsg.server.delivery import Delivery, Subscription

LOGIN_SIZE = 64
# What there is of an account that is in no directory.
NO_RECORD = AccountRecord("", bytes(32), SignedDeviceList(b"", bytes(64)))


@frozen
class KeyFile:
    """
    What the server's core is given of a key file: enough to know its holders, nothing to read them with.

    @ivar name: the account that they appear as.
    @ivar login: 64 bytes, with which each side proves to the other that it has the file.
    """

    name: str
    login: bytes = field(repr=False, eq=False)


@define(eq=False)
class Guests:
    """
    Who is here with the key file, and how they came in.

    @ivar _identity: the server's.
    """

    _file: KeyFile | None
    _identity: bytes
    _delivery: Delivery
    _acks: PendingAcks
    _max_expiry: int
    _now: Callable[[], float]
    _login: bytes = field(init=False, repr=False)
    _account: AccountState = field(init=False, repr=False)
    _here: dict[bytes, Subscription] = field(init=False, factory=dict, repr=False)
    # What rates are counted by, used again when a guest has left: to come again is no way round them.
    _free_rate_keys: list[int] = field(init=False, factory=list)
    _last_rate_key: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        """Without a file the answer is the same after the same work, under a key that nobody has."""
        self._login = self._file.login if self._file is not None else keys.random_bytes(LOGIN_SIZE)
        self._account = AccountState(self._file.name if self._file is not None else "", b"", NO_RECORD, 0)

    def __len__(self) -> int:
        """How many are here."""
        return len(self._here)

    @property
    def devices(self) -> frozenset[bytes]:
        """The devices of whoever is here."""
        return frozenset(self._here)

    def devices_of(self, name: str) -> frozenset[bytes]:
        """The devices of whoever is here by this name; of another name than the file's there are none."""
        return self.devices if name == self._account.name else frozenset()

    # --- the way in -------------------------------------------------------------------------------------------------

    def check(self, hello: Hello) -> None:
        """
        A greeting with this role names nobody, for the file is all there is.

        @raise RemoteProtocolError: C{malformed}: it does.
        """
        if hello.account or hello.device:
            raise RemoteProtocolError("malformed", "a key file has no account")

    def challenge(self, parts: tuple[bytes, ...]) -> bytes:
        """Prove first that we have the file: 64 bytes, in place of the server identity's signature."""
        return keys.mac(self._login, KEY_CHALLENGE_LABEL, *parts)

    def prove(self, connection: ClientConnection, message: Proof) -> None:
        """
        Let somebody in who proves to have the file too.

        @raise RemoteProtocolError: C{login-failed}, C{server-full}.
        """
        wire, binding = connection.channel.connection, connection.channel.binding
        parts = proof_parts(wire.hello, wire.challenge, self._identity, message.highest, binding)
        proved = keys.same(keys.mac(self._login, KEY_PROOF_LABEL, *parts), message.signature)
        if not proved or message.highest or self._file is None:
            raise RemoteProtocolError("login-failed")
        self._delivery.check_room(connection)
        hello, challenge = connection.hello, decode_message(wire.challenge)
        assert hello is not None, "the phases put Hello first"
        assert isinstance(challenge, Challenge), "we have said it ourselves"
        nonce = keys.connection_nonce(hello.nonce, challenge.nonce, binding.exporter)
        device = self._device(keys.caller_device(nonce))
        subscription = self._here[device.id] = self._delivery.subscribe(connection, device)
        connection.become(Role.GUEST)
        connection.hello = None
        connection.send(Welcome(0, int(self._now()), PrekeyStock(0, 0, 0, 0)))
        subscription.deliver_pending()

    def leave(self, connection: ClientConnection) -> None:
        """A connection is gone, and if it was a guest, everything that was its own."""
        if connection.role is Role.GUEST:
            device = connection.device
            del self._here[device.id]
            self._free_rate_keys.append(device.rate_key)
            self._acks.forget(connection)

    def _device(self, device_id: bytes) -> DeviceState:
        """Make the device of a connection."""
        if self._free_rate_keys:
            place = self._free_rate_keys.pop()
        else:
            self._last_rate_key -= 1
            place = self._last_rate_key
        # No device of an account has a number below 0. It is another one for each connection also after a restart, so that
        # nothing of one guest is ever taken for a repetition of another's.
        number = -1 - (int.from_bytes(device_id[:8], "big") >> 1)
        return DeviceState(
            self._account, device_id, b"", number,
            highest=0, messages=0, size=0, last_position=0, committed=0, is_guest=True, rate_key=place,
        )  # fmt: skip

    # --- what they may do -------------------------------------------------------------------------------------------

    def check_destination(self, message: Deposit) -> None:
        """
        The contact is all that a guest reaches.

        @raise Refusal: C{forbidden}: this is for somebody else.
        """
        if [destination.account for destination in message.to] != [SERVER_NAME]:
            raise Refusal("forbidden")

    def acknowledge(self, connection: ClientConnection, message: Acknowledge) -> None:
        """
        A guest has what it was given; there is no mailbox to take it out of.

        @raise RemoteProtocolError: C{bad-acknowledgement}.
        """
        subscription = connection.subscription
        assert subscription is not None, "the command table asks for a guest"
        subscription.acknowledge(message.tag)

    # --- what the contact may do ------------------------------------------------------------------------------------

    def find(self, sender: DeviceState, message: Deposit) -> list[Subscription] | None:
        """
        Whom a deposit is for, where it comes from the contact and is for guests; C{None}: it does not, or is not, or one of
        them is not here.
        """
        first = message.to[0]
        if len(message.to) != 1 or first.account != self._account.name or sender.account.name != SERVER_NAME:
            return None
        if any(part.device not in self._here for part in first.parts):
            return None
        return [self._here[part.device] for part in first.parts]

    def deliver(self, connection: ClientConnection, message: Deposit, found: list[Subscription]) -> None:
        """
        Give guests what the contact has for them: now, or not at all, for they have no mailbox.

        @raise Refusal: C{mailbox-full}: they do not take it now; C{bad-request}.
        """
        parts = message.to[0].parts
        if not 0 < message.expiry <= self._max_expiry or len(set(found)) != len(found):
            raise Refusal("bad-request")
        sender, now = connection.device, int(self._now())
        missed = [
            Missed(self._account.name, part.device, "mailbox-full")
            for part, subscription in zip(parts, found, strict=True)
            if not subscription.deliver(
                sender.account.name, sender.id, message.deposit_id, now, message.common, part.own
            )
        ]
        if len(missed) == len(found):
            raise Refusal("mailbox-full")
        connection.send(Accepted(now, [Acceptance(message.deposit_id, missed)]))
