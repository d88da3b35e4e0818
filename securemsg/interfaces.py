"""
The interfaces between storage and the domains of server and client, and the records that they exchange.

Storage sees opaque bytes. Every C{Awaitable} of a store ends in its result or in the error named here; an input/output error
never gets that far: it ends the process (C{docs/protocol.md}, section "Server: order of durable steps").
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager

from msgspec import Struct
from zope.interface import Interface

CLAIM_KEPT = 86400  # how long the same requester is given the same bundle

# Takes how many steps of long work were done since it was called last.
Step = Callable[[int], object]


def no_step(count: int) -> None:
    """Show no progress."""


# --- the server's records -------------------------------------------------------------------------------------------


class StoreRecord(Struct, frozen=True, gc=False):
    """A record of a store. Its C{repr} leaves out all bytes: they may be keys, tokens or envelopes."""

    def __repr__(self) -> str:
        values = ((name, getattr(self, name)) for name in self.__struct_fields__)
        shown = ", ".join(f"{name}={value!r}" for name, value in values if not isinstance(value, bytes))
        return f"{type(self).__name__}({shown})"


class StoredDevice(StoreRecord, frozen=True):
    """
    A device of an account, with what its mailbox holds.

    @ivar mailbox: the store's own number of the device; never used again after a removal.
    @ivar highest: the highest C{n} committed for deposits of this device.
    @ivar messages: how many wait, those that expired and are not deleted yet included.
    @ivar size: their own parts and common parts together; a common part counts in every mailbox.
    @ivar last_position: of the newest message in the mailbox; 0 where it is empty.
    @ivar logins: its last ones, together; empty before the first.
    @ivar has_rooms: whether it announced rooms at the last one.
    @ivar last_seen: when it was last known to be logged in, by the wall clock; 0: not yet.
    """

    device: bytes
    signing_key: bytes
    mailbox: int
    highest: int
    messages: int
    size: int
    last_position: int
    logins: bytes = b""
    has_rooms: bool = False
    last_seen: int = 0


class StoredAccount(StoreRecord, frozen=True):
    """
    An account as the directory keeps it; C{body} and C{signature} are its signed device list, C{version} that of the list.

    @ivar root: number of the account that its inviters go back to, whom nobody or the operator invited; the same for all of
        its tree.
    @ivar suspended: whether the operator keeps it from logging in.
    @ivar quota: how many messages each of its mailboxes may hold; 0: as many as any.
    @ivar depth: how many inviters there are up to C{root}.
    """

    name: str
    identity: bytes
    body: bytes
    signature: bytes
    version: int
    created_at: int
    devices: tuple[StoredDevice, ...]
    root: int = 0
    suspended: bool = False
    quota: int = 0
    depth: int = 0


class AccountSummary(StoreRecord, frozen=True):
    """
    An account as the operator sees it.

    @ivar last_seen: the latest of its devices; 0: none was ever.
    @ivar quota: as in L{StoredAccount}.
    @ivar fullest_messages: the most that one of its mailboxes holds; C{fullest_size}: likewise, in bytes.
    """

    name: str
    created_at: int
    devices: int
    messages: int
    size: int
    last_seen: int = 0
    suspended: int = 0
    quota: int = 0
    fullest_messages: int = 0
    fullest_size: int = 0


class OpenInvite(StoreRecord, frozen=True):
    """
    An invite that admits somebody still, as the operator sees it.

    @ivar digest: SHA-256 of its token.
    @ivar uses: how many it still admits.
    @ivar creator: the account that issued it; empty: the operator.
    """

    digest: bytes
    uses: int
    expires_at: int
    creator: str


class Totals(StoreRecord, frozen=True):
    """How much there is; C{messages} and C{size} wait in all mailboxes together, C{invites} are good tokens."""

    accounts: int
    devices: int
    messages: int
    size: int
    invites: int


class NewAccount(StoreRecord, frozen=True):
    """
    A registration that is to be made in one transaction: use of the token, account, list.

    @ivar token: SHA-256 of the token; empty where none is needed.
    @ivar devices: pairs of device id and signing key, as the list says.
    @ivar former: the identity that the account has, where this is the next one; empty: there is no such account so far.
    """

    name: str
    identity: bytes
    body: bytes
    signature: bytes
    version: int
    devices: tuple[tuple[bytes, bytes], ...]
    token: bytes
    now: int
    former: bytes = b""


class StoredPrekey(StoreRecord, frozen=True):
    """A public prekey."""

    id: int
    key: bytes
    signature: bytes


class StoredBundle(StoreRecord, frozen=True):
    """What a claim hands out."""

    signed: StoredPrekey
    kem: StoredPrekey
    kem_is_last_resort: bool
    one_time: StoredPrekey | None


class StoredStock(StoreRecord, frozen=True):
    """The prekeys that are left for a device; an id of 0 says: none."""

    signed_id: int
    last_resort_id: int
    one_time: int
    kem: int


class StoredLogin(StoreRecord, frozen=True):
    """What a login needs to know: the account, and what prekeys are left for the device."""

    account: StoredAccount
    stock: StoredStock


class ClockReading(StoreRecord, frozen=True):
    """
    The expiry clock, which counts seconds from 0 where a store is new, never goes back and is no date; and the wall clock at
    the same moment, by which the next process sees how long nobody counted.
    """

    now: int
    wall: int


class MailboxRow(StoreRecord, frozen=True):
    """
    One message in one mailbox.

    @ivar position: rises within the mailbox; delivery follows it.
    """

    mailbox: int
    position: int
    own: bytes


class StoredRoom(StoreRecord, frozen=True):
    """
    The newest member list of a room.

    @ivar room: the id of the room.
    @ivar digest: SHA-256 of the list.
    @ivar next: SHA-256 of the proof that the next step must show.
    """

    room: bytes
    n: int
    digest: bytes
    next: bytes


class DepositRow(StoreRecord, frozen=True):
    """
    One deposit: the row by which a repetition is recognised, the common part, and a row for each mailbox. All of it or nothing.

    @ivar sender: mailbox number of the depositing device.
    @ivar digest: SHA-256 over recipients, expiry, bytes and room; behind it which mailboxes missed the deposit, if any did.
    @ivar arrived_at: by the wall clock, for people; nothing is decided by it.
    @ivar expires_at: on the expiry clock: when what is left of it may be dropped.
    @ivar forget_at: on the expiry clock, not before C{expires_at}: from when on a repetition is not recognised.
    @ivar room: the item of a room, encoded; empty: it is of none.
    @ivar step: what its room's row becomes with it.
    """

    sender: int
    deposit_id: bytes
    digest: bytes
    n: int
    account: str
    device: bytes
    arrived_at: int
    expires_at: int
    forget_at: int
    common: bytes
    rows: tuple[MailboxRow, ...]
    room: bytes = b""
    step: StoredRoom | None = None


class WriteBatch(StoreRecord, frozen=True):
    """
    Everything one commit carries, in this order: deposits, acknowledgements, highest C{n}, logins.

    Mailboxes that are gone by then are passed over.

    @ivar acknowledged: mailbox number to the position up to which everything is deleted.
    @ivar highest: mailbox number of a sender to the highest C{n} seen, also of deposits that were never written; the C{n} of
        the deposits of the batch itself counts anyway.
    @ivar logins: mailbox number of a device to its last logins, together, whether it announced rooms at the last one, and when
        it was last seen.
    """

    deposits: tuple[DepositRow, ...]
    acknowledged: dict[int, int]
    highest: dict[int, int]
    logins: dict[int, tuple[bytes, bool, int]] = {}


class WriteOutcome(StoreRecord, frozen=True):
    """
    A committed batch.

    @ivar known: index of a deposit that was stored already, to the C{DepositRow.digest} that it was stored with; nothing of it
        was written.
    """

    known: dict[int, bytes]


class StoredMessage(StoreRecord, frozen=True):
    """
    A message that waits, as it will be delivered.

    @ivar room: as in L{DepositRow}.
    """

    position: int
    account: str
    device: bytes
    deposit_id: bytes
    arrived_at: int
    expires_at: int
    common: bytes
    own: bytes
    room: bytes = b""


class IDirectoryStore(Interface):
    """Accounts and their device lists."""

    def load_account(name: str) -> Awaitable[StoredAccount | None]:
        """The account of this name, with the state of its mailboxes as last committed."""

    def find_device(name: str, device: bytes) -> Awaitable[bytes | None]:
        """The signing key of a device of this account. The work is the same whether account and device exist or not."""

    def load_login(name: str, device: bytes) -> Awaitable[StoredLogin | None]:
        """The account of this name as L{load_account} gives it, and a device's prekeys; C{None}: it has no such device."""

    def register(account: NewAccount) -> Awaitable[None]:
        """
        Make an account, in the tree of whoever issued the token. The same name, identity and token again is success without a
        second use, also when the token is no good any more.

        @raise Refusal: C{bad-token} (unknown, used up, expired; checked first), C{name-taken}.
        """

    def publish(
        name: str, replaced: int, version: int, body: bytes, signature: bytes, devices: tuple[tuple[bytes, bytes], ...]
    ) -> Awaitable[None]:
        """
        Replace the device list by compare-and-set: C{replaced} must be the version of the stored one, unless that is the very
        same as the new one. A device that is no longer on it, or has another key, loses its mailbox.

        @raise Refusal: C{stale-list}, C{no-such-account}.
        """

    def remove_account(name: str) -> Awaitable[AccountSummary]:
        """
        Delete the account, its devices, prekeys, mailboxes and open invites.

        @return: the account as it was.
        @raise Refusal: C{no-such-account}.
        """

    def set_suspended(name: str, suspended: bool) -> Awaitable[None]:
        """
        Keep whether the account is suspended.

        @raise Refusal: C{no-such-account}.
        """

    def set_quota(name: str, messages: int) -> Awaitable[None]:
        """
        Keep how many messages each mailbox of the account may hold; 0: as many as any.

        @raise Refusal: C{no-such-account}.
        """

    def totals(now: int) -> Awaitable[Totals]:
        """How much there is."""

    def list_accounts(after: str, limit: int) -> Awaitable[list[AccountSummary]]:
        """Up to C{limit} accounts whose names come after this one, in order."""


class ITokenStore(Interface):
    """What admits registrations."""

    def add_token(digest: bytes, uses: int, expires_at: int, creator: str, limit: int) -> Awaitable[None]:
        """
        Keep the SHA-256 of a token, how often and until when it is good, and which account issued it (empty: the operator).

        @param limit: of the good ones that an account may have; the operator may have any number.
        @raise Refusal: C{too-many-invites}: this account has so many already.
        """

    def admits(name: str, identity: bytes, token: bytes, now: int, operators_only: bool) -> Awaitable[bool]:
        """
        Would a registration with the token of this digest get as far as its name: is the token good, or was it what this very
        account was registered with?

        @param operators_only: whether tokens that accounts issued are no good.
        """

    def list_tokens(after: bytes, now: int, limit: int) -> Awaitable[list[OpenInvite]]:
        """Up to C{limit} good tokens whose digests come after this one, in order."""

    def revoke_token(digest: bytes) -> Awaitable[None]:
        """Delete the token of this digest, if it is there."""


class IPrekeyStore(Interface):
    """Public prekeys of devices."""

    def add_prekeys(
        mailbox: int,
        signed: StoredPrekey | None,
        last_resort: StoredPrekey | None,
        one_time: tuple[StoredPrekey, ...],
        kem: tuple[StoredPrekey, ...],
        limit: int,
        replace: bool,
    ) -> Awaitable[None]:
        """
        Keep prekeys; one-time prekeys that are there already, claimed or not, are passed over. Of signed and last-resort
        prekeys only the last one is kept. For a mailbox that is gone nothing happens.

        @param limit: the most of one kind that a device may have unclaimed.
        @param replace: drop unclaimed one-time prekeys (both kinds) that are not among these, and forget who got which bundle,
            and which ones the device got: its state is an older one, and it does not know what it has used.
        @raise Refusal: C{too-many-prekeys}.
        """

    def load_claim(name: str, device: bytes, requester: int, now: int, spent: int) -> Awaitable[StoredBundle | None]:
        """
        The bundle of this device of this account that the requester got within L{CLAIM_KEPT} seconds and has not used up; see
        L{claim}.
        """

    def claim(mailbox: int, requester: int, now: int, fresh: bool, spent: int) -> Awaitable[StoredBundle | None]:
        """
        Hand out prekeys; one-time prekeys move to I{claimed by requester} and that is committed first. The same requester gets
        the same bundle for L{CLAIM_KEPT} seconds, unless the signed prekey has rotated. C{None}: the device has none.

        @param fresh: C{False}: one-time prekeys are not touched; the last-resort bundle is given, unless there is a bundle
            that this requester got already.
        @param spent: id of a KEM prekey: if the bundle that this requester got holds it, that bundle is used up, and a new one
            is made; 0: none.
        """

    def forget_claims(requester: int) -> Awaitable[None]:
        """Forget which bundles a device got, before anything else is answered: it may not know what it has used."""

    def stock(mailbox: int) -> Awaitable[StoredStock]:
        """What is left."""


class IMailboxStore(Interface):
    """What waits for devices."""

    def write(batch: WriteBatch, done: Callable[[WriteOutcome], None]) -> None:
        """
        Commit a batch, then call C{done}, in order of the calls. Nothing else is ever reported: see the module's docstring.
        """

    def page(mailbox: int, after: int, limit: int, size: int) -> Awaitable[list[StoredMessage]]:
        """
        What waits behind position C{after}, in order: at most C{limit} messages, and no more once C{size} bytes are reached
        (so there is at least one, however long). Nothing is left out: an acknowledgement of what comes later would delete it.
        """

    def find_deposit(sender: int, deposit_id: bytes) -> Awaitable[bytes | None]:
        """The C{DepositRow.digest} that a deposit was stored with, if it was."""

    def last_clock() -> ClockReading:
        """
        The expiry clock as it was last written before this store was opened; 0 in a new store.
        """

    def expire(clock: ClockReading, date: int, forget_before: int, limit: int) -> Awaitable[dict[int, tuple[int, int]]]:
        """
        Keep the expiry clock, and in the same transaction delete up to C{limit} messages that expired by it; then what is of no
        more use by it: deposits that are to be forgotten, prekeys claimed before C{forget_before}, bundles kept for a
        repeated claim.

        @param date: tokens that were good until then are deleted as well: they go by the calendar.
        @return: mailbox number to (messages, bytes) that were taken out of it.
        """


class IRoomStore(Interface):
    """The rooms' rows, which are written with the deposits that are steps, and never deleted."""

    def load_room(room: bytes) -> Awaitable[StoredRoom | None]:
        """The newest member list of a room; C{None}: it never had one."""


class IServerStore(IDirectoryStore, ITokenStore, IPrekeyStore, IMailboxStore, IRoomStore):
    """Everything the server keeps, in one object."""

    def wal_size() -> int:
        """
        Bytes that are written ahead of the database proper and will need their place in it; 0 where there is no such thing.
        """


# --- the client's profile -------------------------------------------------------------------------------------------


class ISealer(Interface):
    """Encrypts the records of a profile, so that its file reveals nothing without the key."""

    def seal(plaintext: bytes, associated_data: bytes) -> bytes:
        """Encrypt and authenticate, bound to C{associated_data}."""

    def open(sealed: bytes, associated_data: bytes) -> bytes:
        """
        The plaintext again.

        @raise Unauthentic: the bytes were not sealed with this key and this associated data.
        """

    def tag(name: bytes) -> bytes:
        """Stand in for a name: 16 bytes, always the same, that reveal nothing without the key."""


class IRecords(Interface):
    """
    The records of a profile inside one transaction: sealed at rest, found by (table, bucket, order).

    A bucket gathers what belongs together (a conversation, a device); the order sorts within it. Tables are named in
    L{securemsg.storage.sealed}. Bucket names are not readable in the file.
    """

    def get(table: str, bucket: bytes, order: int = 0) -> bytes | None:
        """
        One record.

        @raise ProfileDamaged: it does not open under the store key.
        """

    def put(table: str, bucket: bytes, value: bytes, order: int = 0) -> None:
        """Write or overwrite one record."""

    def delete(table: str, bucket: bytes, order: int = 0) -> None:
        """Remove one record, if it is there."""

    def scan(table: str, bucket: bytes | None = None, after: int = -1, limit: int = -1) -> list[tuple[bytes, int, bytes]]:
        """
        Records as (bucket, order, value) with an order above C{after}, ascending by order (where equal: first written, first);
        of one bucket, or of all. A C{limit} below 0 is none.

        @raise ProfileDamaged: one of them does not open under the store key.
        """

    def scan_back(table: str, bucket: bytes, before: int, limit: int) -> list[tuple[int, bytes]]:
        """
        The last records of a bucket with an order below C{before}, as (order, value), descending.

        @raise ProfileDamaged: one of them does not open under the store key.
        """

    def buckets(table: str) -> list[bytes]:
        """
        The buckets of a table that hold records, in no particular order; one record of each is opened.

        @raise ProfileDamaged: one of them does not open under the store key.
        """

    def count(table: str, bucket: bytes) -> int:
        """How many records a bucket has; none of them is opened, so that a look costs little however much lies there."""

    def last(table: str, bucket: bytes) -> int:
        """The highest order in this bucket that was ever used; 0 where none was."""


class IProfileStore(Interface):
    """The file of a profile, which several processes may hold open."""

    def writing() -> AbstractContextManager[IRecords]:
        """A transaction that no other writer disturbs; committed durably at the end of the block, undone by an exception."""

    def reading() -> AbstractContextManager[IRecords]:
        """A consistent view; writing in it is an error."""

    def close() -> None:
        """Close the file."""
