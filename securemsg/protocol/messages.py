"""
Every message of the wire: one tagged union of structs, so that one decoder validates everything.

A message is a msgpack array whose first item is the tag. Sizes are in bytes, times in seconds since 1970 (UTC), durations in
seconds. Source: C{docs/protocol.md}, section "Messages".
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from attrs import frozen
from msgspec import Meta, Struct

from securemsg.errors import RemoteProtocolError

# Text of one message: what a person may send.
MAX_TEXT = 48 * 1024
# The encrypted content: the text, what stands around it, and its padding (see L{securemsg.protocol.envelope}).
MAX_COMMON = 56 * 1024
# A session message to one device: keys of a first message and a signed list of ten devices fit.
MAX_OWN = 8 * 1024
MAX_DEVICES = 10
# Accounts that one deposit may address.
MAX_DESTINATIONS = 64
# Keys of one kind in one upload: fifty ML-KEM keys stay under the largest frame.
MAX_PREKEYS_A_PAGE = 50
MAX_LIST_BODY = 8 * 1024
# The highest n that a device may reach: more than it will ever send, and so far below the largest number that the next fits.
MAX_N = 2**40 - 1
# How long the server keeps an undelivered message, seconds: at most, and at least if a client asks.
MAX_EXPIRY = 30 * 86400
MIN_EXPIRY = 60
# Connections that are listed for the operator at once: far fewer bytes than the largest frame.
MAX_CONNECTION_ROWS = 500
# How many people one invite may admit, and how many good invites an account may have out; an operator is not counted.
MAX_USES = 10_000
MAX_OPEN_INVITES = 100
# Messages in one mailbox: the most that an operator may allow.
MAX_QUOTA = 10_000_000
# The longest that a server may have a client wait before it connects again, milliseconds.
MAX_RETRY_AFTER = 60_000
# Of devices, deposits and messages.
ID_SIZE = 16
NONCE_SIZE = 32
# How many logins of a device the server remembers, and names in Welcome: a client misses one only if as many answers in a row
# are lost.
MAX_LOGINS = 8

# A short invite: how long it stands for an invite, seconds; the highest number that one can have, and the number of its words.
CODE_LIFETIME = 600
MAX_CODE_NUMBER = 9999
CODE_WORDS = 6
# What each end sends of SPAKE2, and the largest encrypted invite: 2,048 characters, and what A256CBC-HS512 adds.
PAKE_SIZE = 33
MAX_SEALED_INVITE = 2048 + 64

Id = Annotated[bytes, Meta(min_length=ID_SIZE, max_length=ID_SIZE)]
Key = Annotated[bytes, Meta(min_length=32, max_length=32)]
Nonce = Annotated[bytes, Meta(min_length=NONCE_SIZE, max_length=NONCE_SIZE)]
Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]
Token = Annotated[bytes, Meta(max_length=64)]
Name = Annotated[str, Meta(max_length=32)]
Code = Annotated[str, Meta(max_length=64)]
Counter = Annotated[int, Meta(ge=0, le=2**63 - 1)]
# Signed as four bytes.
Version = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Request = Annotated[int, Meta(ge=0, le=2**31 - 1)]
CodeNumber = Annotated[int, Meta(ge=1, le=MAX_CODE_NUMBER)]
RetryAfter = Annotated[int, Meta(ge=1, le=MAX_RETRY_AFTER)]
Pake = Annotated[bytes, Meta(min_length=PAKE_SIZE, max_length=PAKE_SIZE)]
Own = Annotated[bytes, Meta(max_length=MAX_OWN)]
Common = Annotated[bytes, Meta(max_length=MAX_COMMON)]


class Record(Struct, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """A part of a message: a msgpack array without a tag."""


class Discreet(Record, frozen=True):
    """A record with something that is not for logs: it shows which fields it has, and how long they are."""

    def __repr__(self) -> str:
        """Names and sizes."""
        shown = []
        for name in self.__struct_fields__:
            value = getattr(self, name)
            shown.append(f"{name} ({len(value)})" if isinstance(value, bytes | str) else name)
        return f"<{type(self).__name__}: {', '.join(shown)}>"


class SignedDeviceList(Record, frozen=True):
    """A device list as it was signed: the exact bytes, and the account's signature over them."""

    body: Annotated[bytes, Meta(max_length=MAX_LIST_BODY)]
    signature: Signature


class AccountRecord(Record, frozen=True):
    """What the directory says of an account. Nothing in it is to be believed before the signature was checked."""

    name: Name
    identity: Key
    devices: SignedDeviceList


class Prekey(Record, frozen=True):
    """A public prekey: X25519 (32 bytes) or ML-KEM-768 (1,184 bytes), signed by the device key under the label of its kind."""

    id: Counter
    key: Annotated[bytes, Meta(min_length=32, max_length=1184)]
    signature: Signature


class Part(Record, frozen=True):
    """The own part of one device: a session message that carries the key of the common part."""

    device: Id
    own: Own


class Destination(Record, frozen=True):
    """All devices of one account, each with its own part. Of the sender's own account, in a room, there may be no other."""

    account: Name
    parts: Annotated[list[Part], Meta(max_length=MAX_DEVICES)]


class ListMark(Record, frozen=True):
    """
    Which list its sender means: of the devices of an account, or of the members of a room.

    @ivar version: 0: there is none.
    @ivar digest: SHA-256 of the body; empty where there is none.
    """

    version: Counter
    digest: Annotated[bytes, Meta(max_length=32)]


class RoomStep(Record, frozen=True):
    """
    A deposit is the next step of its room.

    @ivar proof: SHA-256 of it is the C{next} of the step before.
    @ivar next: SHA-256 of the proof that the following step will show.
    """

    proof: Key
    next: Key


class RoomItem(Record, frozen=True):
    """
    What the server orders the deposits of a room by.

    @ivar n: of the member list that the deposit goes by; of a step: of the list that it brings.
    @ivar digest: SHA-256 of the body of that list.
    """

    room: Id
    n: Annotated[int, Meta(ge=1, le=2**62)]
    digest: Key
    step: RoomStep | None


class Missed(Record, frozen=True):
    """A device whose mailbox did not take a deposit that others took."""

    account: Name
    device: Id
    code: Code


class Acceptance(Record, frozen=True):
    """
    The server answers for a deposit.

    @ivar missed: the mailboxes that it could not be put into.
    @ivar stored: whether the server answers because it has committed the deposit. C{False}: because all devices that are not in
        C{missed} have acknowledged it, or because it was handed to guests; the server need not keep it.
    """

    deposit_id: Id
    missed: list[Missed]
    stored: bool


class PrekeyStock(Record, frozen=True):
    """What prekeys of the device the server holds; an id of 0 says: none."""

    signed_id: Counter
    last_resort_id: Counter
    one_time: Counter
    kem: Counter


class AccountRow(Record, frozen=True):
    """
    An account as the operator sees it.

    @ivar last_seen: when one of its devices was last known to be logged in; 0: none was ever.
    @ivar online: how many of its devices are logged in.
    @ivar used: of its fullest mailbox, the percentage of the quota that is used.
    @ivar suspended: whether the operator keeps it from logging in.
    """

    name: Name
    created_at: Counter
    devices: Counter
    messages: Counter
    size: Counter
    last_seen: Counter
    online: Counter
    used: Counter
    suspended: bool


class ConnectionRow(Record, frozen=True):
    """A connection that is logged in as a device, as the operator sees it: no address."""

    account: Name
    device: Id
    since: Counter
    transport: Code


class DeviceRow(Record, frozen=True):
    """A device of an account as the operator sees it, with what waits for it. C{last_seen} as in L{AccountRow}."""

    device: Id
    last_seen: Counter
    online: bool
    messages: Counter
    size: Counter


class InviteRow(Record, frozen=True):
    """
    An open invite as the operator sees it.

    @ivar digest: SHA-256 of its token.
    @ivar creator: the account that issued it; empty: the operator.
    """

    digest: Key
    uses: Counter
    expires_at: Counter
    creator: Name


class Hello(Struct, tag=1, array_like=True, frozen=True, gc=False):
    """
    Client: versions and features. The account is named in Proof or Register, once the server has proved itself.

    More items are ignored.
    """

    versions: Annotated[list[Version], Meta(min_length=1, max_length=16)]
    features: Annotated[list[Code], Meta(max_length=64)]
    role: Literal["device", "register", "operator", "key", "newcomer"]
    transport: Literal["tcp", "quic", "unix", "memory"]
    nonce: Nonce

    @property
    def login(self) -> bytes:
        """The first 16 bytes of the nonce, by which Welcome names a login."""
        return self.nonce[:ID_SIZE]


class Challenge(Struct, tag=2, array_like=True, frozen=True, gc=False):
    """
    Server: what we speak, and the proof that the server identity answers in this very handshake.

    @ivar signature: by the server identity over L{securemsg.protocol.auth.challenge_parts}; for the role C{key} a MAC.
    """

    version: Version
    features: Annotated[list[Code], Meta(max_length=64)]
    nonce: Nonce
    identity: Key
    signature: Signature


class Proof(Record, tag=3, frozen=True):
    """
    Client: the device key signs L{securemsg.protocol.auth.proof_parts}; for the role C{key} it is a MAC. An operator's
    signature is empty.

    @ivar account: who logs in; empty for an operator, and for the role C{key}.
    @ivar device: likewise.
    @ivar highest: the highest C{n} that this device has committed; 0 for the role C{key}.
    """

    account: Name
    device: Annotated[bytes, Meta(max_length=ID_SIZE)]
    highest: Counter
    signature: Annotated[bytes, Meta(max_length=64)]


class Register(Discreet, tag=4, frozen=True):
    """
    Client: a new account, with proofs that both keys are at hand (L{securemsg.protocol.auth.register_parts}).

    @ivar device: the one on the list that registers.
    @ivar token: from an invite; empty where registration is open.
    """

    account: Name
    device: Id
    token: Token
    identity: Key
    devices: SignedDeviceList
    identity_signature: Signature
    device_signature: Signature


class Welcome(Record, tag=5, frozen=True):
    """
    Server: logged in.

    @ivar highest: the highest C{n} the server has committed for this device.
    @ivar now: the server's clock.
    @ivar logins: the last ones of this device before this one, as far as the server knows, the newest last (L{Hello.login});
        of an operator or a guest none.
    """

    highest: Counter
    now: Counter
    stock: PrekeyStock
    logins: Annotated[list[Id], Meta(max_length=MAX_LOGINS)]


class Failed(Record, tag=6, frozen=True):
    """
    Either side: the last message before hanging up.

    @ivar retry_after: when the client is to connect again, milliseconds from now; said by a server only.
    """

    code: Code
    retry_after: RetryAfter | None = None


class Deposit(Record, tag=10, frozen=True):
    """
    Client: keep this for these devices.

    @ivar n: rises with every deposit of this device, up to L{MAX_N}.
    @ivar expiry: how long to keep it, from arrival.
    @ivar room: what the server orders it by, if it is one of a room.
    """

    deposit_id: Id
    n: Counter
    expiry: Counter
    common: Common
    to: Annotated[list[Destination], Meta(min_length=1, max_length=MAX_DESTINATIONS)]
    room: RoomItem | None = None


class Accepted(Record, tag=11, frozen=True):
    """
    Server: these deposits are stored, acknowledged by all their devices, or handed to guests; to a guest: the contact C{server}
    has committed them. Answers of one moment are sent together.

    @ivar now: the server's clock.
    """

    now: Counter
    deposits: list[Acceptance]


class DepositRefused(Record, tag=12, frozen=True):
    """
    Server: nothing of this deposit is kept.

    @ivar accounts: with C{stale-devices}: accounts whose devices differ, as they are now (all, or as many as fit the frame);
        with C{no-such-account}: those that are gone, with an empty list body.
    @ivar room: with C{stale-room}: the newest list that the server knows of.
    """

    deposit_id: Id
    code: Code
    accounts: list[AccountRecord]
    room: ListMark | None = None


class Deliver(Record, tag=13, frozen=True):
    """
    Server: a message from the mailbox.

    @ivar tag: counts from 1 within the connection.
    @ivar time: when the server took the deposit.
    @ivar room: as in the deposit.
    """

    tag: Counter
    account: Name
    device: Id
    deposit_id: Id
    time: Counter
    common: Common
    own: Own
    room: RoomItem | None = None


class Acknowledge(Record, tag=14, frozen=True):
    """Client: everything delivered up to this tag is committed here."""

    tag: Counter


class Drained(Record, tag=15, frozen=True):
    """Server, once a connection: all that was stored before this login has been delivered."""


class Stock(Record, tag=16, frozen=True):
    """Server, unasked: the device's one-time prekeys run low. Said once, then not before its next L{Upload}."""

    stock: PrekeyStock


class Fetch(Record, tag=20, frozen=True):
    """Client: what does the directory say of this account?"""

    request: Request
    account: Name


class Account(Record, tag=21, frozen=True):
    """Server: answer to L{Fetch}."""

    request: Request
    record: AccountRecord


class Claim(Record, tag=22, frozen=True):
    """
    Client: prekeys of this device, to start a session with it. The same claim again brings the same bundle for a day.

    @ivar spent: id of the one-time KEM prekey of the last bundle that was claimed I{and used} for this device, so that a new
        one is wanted; 0 where there was none.
    """

    request: Request
    account: Name
    device: Id
    spent: Counter


class Bundle(Record, tag=23, frozen=True):
    """
    Server: answer to L{Claim}.

    @ivar kem_is_last_resort: which label the KEM prekey was signed under.
    """

    request: Request
    signed: Prekey
    kem: Prekey
    kem_is_last_resort: bool
    one_time: Prekey | None


class Upload(Record, tag=24, frozen=True):
    """
    Client: more prekeys of this device. The same upload again changes nothing.

    @ivar replace: drop the one-time prekeys of both kinds that are there and not in this upload: their private halves are gone.
    """

    request: Request
    signed: Prekey | None
    last_resort: Prekey | None
    one_time: Annotated[list[Prekey], Meta(max_length=MAX_PREKEYS_A_PAGE)]
    kem: Annotated[list[Prekey], Meta(max_length=MAX_PREKEYS_A_PAGE)]
    replace: bool


class Publish(Record, tag=25, frozen=True):
    """Client: the next version of this account's device list."""

    request: Request
    devices: SignedDeviceList


class Invite(Record, tag=26, frozen=True):
    """Client or operator: a registration token, good for C{uses} registrations during C{lifetime}."""

    request: Request
    uses: Annotated[int, Meta(ge=1, le=MAX_USES)]
    lifetime: Annotated[int, Meta(ge=60, le=366 * 86400)]


class Invited(Discreet, tag=27, frozen=True):
    """Server: answer to L{Invite}."""

    request: Request
    token: Token
    expires_at: Counter


class Ping(Record, tag=28, frozen=True):
    """Client: are you there?"""

    request: Request


class Pong(Record, tag=29, frozen=True):
    """Server: answer to L{Ping}, with its clock."""

    request: Request
    now: Counter


class Done(Record, tag=30, frozen=True):
    """Server: the request is done, and committed where it changes anything."""

    request: Request


class Refused(Record, tag=31, frozen=True):
    """Server: the request is not done, and nothing has changed."""

    request: Request
    code: Code


class ListAccounts(Record, tag=40, frozen=True):
    """Operator: the accounts whose names come after this one."""

    request: Request
    after: Name


class Accounts(Record, tag=41, frozen=True):
    """Server: one page of L{ListAccounts}, in order of names."""

    request: Request
    rows: list[AccountRow]
    more: bool


class RemoveAccount(Record, tag=42, frozen=True):
    """
    Operator: delete the account, its devices and what waits for them.

    @ivar unseen_since: only if none of its devices was logged in from then on; 0: in any case.
    """

    request: Request
    account: Name
    unseen_since: Counter = 0


class GetAddress(Record, tag=43, frozen=True):
    """Operator: where and who is this server?"""

    request: Request


class Address(Record, tag=44, frozen=True):
    """
    Server: answer to L{GetAddress}.

    @ivar udp_port: 0: none.
    @ivar pin: the server identity key.
    @ivar contact: the identity key of the contact C{server}; empty where there is none.
    """

    request: Request
    host: Annotated[str, Meta(max_length=255)]
    port: Annotated[int, Meta(ge=1, le=65535)]
    udp_port: Annotated[int, Meta(ge=0, le=65535)]
    pin: Key
    contact: Annotated[bytes, Meta(max_length=32)]


class Reply(Discreet, tag=45, frozen=True):
    """
    Operator: the contact C{server} is to say this to an account.

    @ivar text: at most L{MAX_TEXT} bytes of UTF-8, which L{Done} says the contact has committed; nobody has it yet.
    """

    request: Request
    account: Name
    text: Annotated[str, Meta(max_length=MAX_TEXT)]


class OpenCode(Record, tag=50, frozen=True):
    """
    Client: a number for a short invite, in place of the one that this account may have already.

    @ivar pake: side A of SPAKE2, made with the words.
    """

    request: Request
    pake: Pake


class CodeOpened(Record, tag=51, frozen=True):
    """Server: answer to L{OpenCode}. The number is good for L{CODE_LIFETIME}, and no longer than the connection."""

    request: Request
    number: CodeNumber


class CodeUsed(Record, tag=52, frozen=True):
    """Server, unasked: a newcomer has used the number, which is good for nobody else any more. As in L{UseCode}."""

    number: CodeNumber
    pake: Pake
    proof: Signature


class AnswerCode(Record, tag=53, frozen=True):
    """
    Client: the newcomer's words were right, or not.

    @ivar sealed: the encrypted invite; empty: they were not.
    """

    request: Request
    number: CodeNumber
    sealed: Annotated[bytes, Meta(max_length=MAX_SEALED_INVITE)]


class AskCode(Record, tag=54, frozen=True):
    """Newcomer, in place of a login: what did the inviter say who has this number?"""

    number: CodeNumber


class CodeMessage(Record, tag=55, frozen=True):
    """Server: answer to L{AskCode}. C{pake} as in L{OpenCode}."""

    pake: Pake


class UseCode(Record, tag=56, frozen=True):
    """
    Newcomer: side B of SPAKE2, made with the words, and the proof of having them. There is one try.

    @ivar proof: L{securemsg.crypto.pake.Agreed.proof}.
    """

    pake: Pake
    proof: Signature


class CodeAnswer(Record, tag=57, frozen=True):
    """Server: the last message to a newcomer whose words were right. C{sealed} as in L{AnswerCode}."""

    sealed: Annotated[bytes, Meta(min_length=1, max_length=MAX_SEALED_INVITE)]


@frozen
class Unknown:
    """
    A well-formed message with a tag that this version does not know.

    @ivar request: the second item where that is a request number, so that the refusal finds its question; else 0.
    """

    tag: int
    request: int


class ListInvites(Record, tag=60, frozen=True):
    """Operator: the open invites whose digests come after this one."""

    request: Request
    after: Annotated[bytes, Meta(max_length=32)]


class Invites(Record, tag=61, frozen=True):
    """Server: one page of L{ListInvites}, in order of digests."""

    request: Request
    rows: list[InviteRow]
    more: bool


class RevokeInvite(Record, tag=62, frozen=True):
    """Operator: the invite with this digest admits nobody any more."""

    request: Request
    digest: Key


class GetDetails(Record, tag=63, frozen=True):
    """Operator: what is known of this account?"""

    request: Request
    account: Name


class Details(Record, tag=64, frozen=True):
    """
    Server: answer to L{GetDetails}.

    @ivar quota_messages: how many messages each of its mailboxes may hold; C{quota_size}: how many bytes.
    @ivar is_default: whether that is the quota of any account.
    """

    request: Request
    account: AccountRow
    devices: Annotated[list[DeviceRow], Meta(max_length=MAX_DEVICES)]
    quota_messages: Counter
    quota_size: Counter
    is_default: bool


class SetSuspended(Record, tag=65, frozen=True):
    """Operator: keep an account from logging in, or let it again. What is sent to it is kept meanwhile."""

    request: Request
    account: Name
    suspended: bool


class SetQuota(Record, tag=66, frozen=True):
    """Operator: how many messages each mailbox of an account may hold; 0: as many as any."""

    request: Request
    account: Name
    messages: Annotated[int, Meta(ge=0, le=MAX_QUOTA)]


class Kick(Record, tag=67, frozen=True):
    """Operator: end all connections of an account, which may log in again."""

    request: Request
    account: Name


class Removed(Record, tag=68, frozen=True):
    """Server: answer to L{RemoveAccount}: what was taken away with the account."""

    request: Request
    devices: Counter
    messages: Counter
    size: Counter


class ListConnections(Record, tag=69, frozen=True):
    """Operator: who is connected?"""

    request: Request


class Connections(Record, tag=70, frozen=True):
    """
    Server: answer to L{ListConnections}.

    @ivar total: how many connections are open; C{devices}: how many of them are logged in as a device.
    @ivar rows: the first of these, by account.
    """

    request: Request
    total: Counter
    devices: Counter
    rows: Annotated[list[ConnectionRow], Meta(max_length=MAX_CONNECTION_ROWS)]


class GetStats(Record, tag=71, frozen=True):
    """Operator: how much is there?"""

    request: Request


class Stats(Record, tag=72, frozen=True):
    """
    Server: answer to L{GetStats}.

    @ivar messages: that wait, in all mailboxes; C{size}: in bytes.
    @ivar free_space: on the disk of the store, bytes.
    @ivar certificate_expires_at: when the certificate of new connections expires; 0: there is none.
    """

    request: Request
    started_at: Counter
    connections: Counter
    logged_in: Counter
    guests: Counter
    accounts: Counter
    devices: Counter
    messages: Counter
    size: Counter
    invites: Counter
    free_space: Counter
    draining: bool
    certificate_expires_at: Counter


class SetDraining(Record, tag=73, frozen=True):
    """Operator: end all connections and let nobody in, or let everybody in again."""

    request: Request
    draining: bool


class SetLogLevel(Record, tag=74, frozen=True):
    """Operator: log events from this level on, until the daemon is started again."""

    request: Request
    level: Literal["debug", "info", "warn", "error"]


class TakeSnapshot(Record, tag=75, frozen=True):
    """Operator: copy the databases into a folder of the state, for a backup; it is answered when that is done."""

    request: Request


class RotateKey(Record, tag=76, frozen=True):
    """Operator: make the daemon's own TLS key anew, for new connections."""

    request: Request


Message = (
    Hello
    | Challenge
    | Proof
    | Register
    | Welcome
    | Failed
    | Deposit
    | Accepted
    | DepositRefused
    | Deliver
    | Acknowledge
    | Drained
    | Stock
    | Fetch
    | Account
    | Claim
    | Bundle
    | Upload
    | Publish
    | Invite
    | Invited
    | Ping
    | Pong
    | Done
    | Refused
    | ListAccounts
    | Accounts
    | RemoveAccount
    | GetAddress
    | Address
    | Reply
    | OpenCode
    | CodeOpened
    | CodeUsed
    | AnswerCode
    | AskCode
    | CodeMessage
    | UseCode
    | CodeAnswer
    | ListInvites
    | Invites
    | RevokeInvite
    | GetDetails
    | Details
    | SetSuspended
    | SetQuota
    | Kick
    | Removed
    | ListConnections
    | Connections
    | GetStats
    | Stats
    | SetDraining
    | SetLogLevel
    | TakeSnapshot
    | RotateKey
)

KNOWN_TAGS = frozenset([*range(1, 7), *range(10, 17), *range(20, 32), *range(40, 46), *range(50, 58), *range(60, 77)])

# Their last items belong to a feature, and are left out where they are C{None}: peers without the feature do not know them.
_LAST_ITEMS = {Deposit: "room", DepositRefused: "room", Deliver: "room", Failed: "retry_after"}

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


def encode_message(message: Message) -> bytes:
    """Make the payload of a frame."""
    payload = _encode(message)
    last = _LAST_ITEMS.get(type(message))
    if last is not None and getattr(message, last) is None:
        # The number of items is in the first byte, and the last item is one byte.
        return bytes((payload[0] - 1,)) + payload[1:-1]
    return payload


def decode_message(payload: bytes) -> Message | Unknown:
    """
    Read and validate the payload of a frame.

    @raise RemoteProtocolError: C{malformed}: not msgpack, not an array, an item of another type or size, too few items, or
        too many or another encoding than the canonical one (but for Hello and Challenge).
    """
    try:
        message: Message = _decode(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return _unknown(payload)
    if encode_message(message) != payload and isinstance(message, Record):
        return _unknown(payload)
    return message


def _unknown(payload: bytes) -> Unknown:
    """A payload that is none of our messages: tell a newer message from a broken one."""
    try:
        items = msgspec.msgpack.decode(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise RemoteProtocolError("malformed") from error
    if not isinstance(items, list) or not items or type(items[0]) is not int or items[0] in KNOWN_TAGS:
        raise RemoteProtocolError("malformed")
    request = items[1] if len(items) > 1 and type(items[1]) is int and 0 <= items[1] < 2**31 else 0
    return Unknown(items[0], request)
