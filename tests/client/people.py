"""People for the tests of the client: each with a profile in memory, and with prekeys on a shelf like the server's."""

from __future__ import annotations

from attrs import define, field, frozen

from securemsg.client.sessions import guests, initiations, pins, pqxdh, prekeys, psk, store, suites
from securemsg.client.sessions.addresses import DeviceAddress, Opened, Recipient
from securemsg.client.sessions.pqxdh import NeedBundle
from securemsg.client.sessions.store import EPOCHS, SKIPPED, Session
from securemsg.client.sessions.store import TABLE as SESSIONS
from securemsg.client.state import contacts, lists, profile, rsakeys
from securemsg.client.state.conversations import direct
from securemsg.client.state.profile import Profile, create_profile, resigned, save_profile
from securemsg.client.state.records import SEEN
from securemsg.crypto.keyfile import SharedKey
from securemsg.crypto.keys import SigningKey, sha256
from securemsg.crypto.rsa import RsaKey
from securemsg.interfaces import IRecords
from securemsg.protocol.devices import Device
from securemsg.protocol.envelope import ContentKey, Introduction
from securemsg.protocol.invite import InviteLink
from securemsg.protocol.messages import AccountRecord, Bundle, Prekey, PrekeyStock, Upload
from securemsg.storage.memory import MemoryProfile

NOW = 1_800_000_000
SERVER = SigningKey.generate()
LINK = InviteLink("example.net", 8443, SERVER.public, b"token")

TABLES = (
    profile.TABLE,
    lists.LISTS,
    contacts.TABLE,
    prekeys.TABLE,
    initiations.TABLE,
    SESSIONS,
    pins.TABLE,
    EPOCHS,
    SKIPPED,
    guests.TABLE,
    SEEN,
)

Dump = dict[str, list[tuple[bytes, int, bytes]]]


@define
class Shelf:
    """Prekeys of one device, as a server hands them out."""

    signed: Prekey | None = None
    last_resort: Prekey | None = None
    one_time: dict[int, Prekey] = field(factory=dict)
    kem: dict[int, Prekey] = field(factory=dict)
    claims: dict[str, Bundle] = field(factory=dict)

    def take(self, upload: Upload) -> None:
        """Put an upload on the shelf."""
        self.signed = upload.signed or self.signed
        self.last_resort = upload.last_resort or self.last_resort
        if upload.replace:
            self.one_time, self.kem = {}, {}
        self.one_time.update({prekey.id: prekey for prekey in upload.one_time})
        self.kem.update({prekey.id: prekey for prekey in upload.kem})

    def claim(self, requester: str, spent: int = 0) -> Bundle:
        """The bundle of this requester; a new one if it has used the last."""
        claim = self.claims.get(requester)
        if claim is not None and claim.kem.id != spent:
            return claim
        assert self.signed is not None and self.last_resort is not None
        one_time = self.one_time.pop(min(self.one_time)) if self.one_time else None
        kem = self.kem.pop(min(self.kem)) if self.kem else None
        bundle = Bundle(0, self.signed, kem or self.last_resort, kem is None, one_time)
        if kem is not None:
            self.claims[requester] = bundle
        return bundle

    def stock(self) -> PrekeyStock:
        """What is left."""
        return PrekeyStock(
            self.signed.id if self.signed else 0,
            self.last_resort.id if self.last_resort else 0,
            len(self.one_time),
            len(self.kem),
        )

    def sell_out(self) -> None:
        """Nothing for one use is left."""
        self.one_time, self.kem = {}, {}


def seal_part(
    records: IRecords, own: Profile, contact: contacts.Contact, device: bytes, content_key: ContentKey, now: int = NOW
) -> bytes:
    """Seal for one device of a contact, in the suite that was chosen."""
    recipient = Recipient(contact, (device,), introduction=Introduction(own.identity.public, own.devices))
    choice = pins.pinned_suite(records, direct(contact.name))
    return suites.plan(records, own, choice, recipient, now)[device].seal(records, content_key)


def seal_with_file(
    records: IRecords,
    key: SharedKey,
    sender: DeviceAddress,
    recipient: DeviceAddress,
    content_key: ContentKey,
    now: int = NOW,
    *,
    introduction: Introduction | None = None,
    connection: bytes = b"",
) -> bytes:
    """Seal with a key file, from anybody to anybody."""
    epoch = psk.next_epoch(records, recipient, connection, now)
    return psk.Plan(key, sender, recipient, epoch, introduction).seal(records, content_key)


@frozen
class Sender:
    """A message on its way, as the server sees it."""

    account: str
    device: bytes
    own: bytes
    common: bytes


@define(eq=False)
class Person:
    """Somebody with one device."""

    profile: Profile
    store: MemoryProfile
    shelf: Shelf = field(factory=Shelf)

    @property
    def name(self) -> str:
        """The account's name."""
        return self.profile.name

    @property
    def record(self) -> AccountRecord:
        """What an honest directory says of this person."""
        return AccountRecord(self.name, self.profile.identity.public, self.profile.devices)

    @property
    def device(self) -> Device:
        """The person's device, as others see it."""
        return self.profile.listing.devices[0]

    def stock_up(self, now: int = NOW) -> Upload | None:
        """Upload what the shelf is short of."""
        with self.store.writing() as records:
            upload = prekeys.replenish(records, self.profile, self.shelf.stock(), now)
        if upload is not None:
            self.shelf.take(upload)
            with self.store.writing() as records:
                prekeys.mark_uploaded(records, upload, now)
        return upload

    def meet(self, other: Person, origin: str = contacts.DIRECTORY, now: int = NOW) -> contacts.Contact:
        """Look somebody up."""
        with self.store.writing() as records:
            return contacts.adopt(records, self.profile, other.record, now, origin)

    def contact(self, other: Person) -> contacts.Contact:
        """What this person knows of somebody."""
        with self.store.reading() as records:
            contact = contacts.get_contact(records, other.name)
        assert contact is not None
        return contact

    def begin(self, other: Person, bundle: Bundle, now: int = NOW) -> None:
        """Begin a session with this bundle."""
        contact = self.contact(other)
        with self.store.writing() as records:
            pqxdh.begin(records, self.profile, contact, other.device.id, bundle, now)

    def seal(self, other: Person, text: bytes, now: int = NOW) -> Sender:
        """Seal a text in a session that is there."""
        contact = self.contact(other)
        with self.store.writing() as records:
            common, content_key = suites.make_common(text, pins.pinned_suite(records, direct(other.name)).key_size)
            own = seal_part(records, self.profile, contact, other.device.id, content_key, now)
        return Sender(self.name, self.profile.device_id, own, common)

    def send(self, other: Person, text: bytes, now: int = NOW) -> Sender:
        """Seal a text, after claiming a bundle where one is needed."""
        try:
            return self.seal(other, text, now)
        except NeedBundle as need:
            self.begin(other, other.shelf.claim(self.name, need.spent), now)
            return self.seal(other, text, now)

    def open(self, post: Sender, now: int = NOW) -> Opened:
        """Open the own part of a message."""
        with self.store.writing() as records:
            return suites.open_envelope(records, self.profile, post.account, post.device, post.own, sha256(post.common), now)

    def read(self, post: Sender, now: int = NOW) -> bytes:
        """Open a message whole."""
        opened = self.open(post, now)
        return suites.open_common(post.common, opened.content_key)

    def pin_suite(self, other: Person, suite: str, key: bytes = b"", cipher: str = "a256") -> None:
        """Choose the suite of a conversation."""
        with self.store.writing() as records:
            pins.pin_suite(records, direct(other.name), suite, key, cipher)

    def have_rsa_key(self, key: RsaKey, now: int = NOW) -> None:
        """Get an RSA key, and sign it into the list."""
        with self.store.writing() as records:
            rsakeys.save_rsa_key(records, key)
            listed = rsakeys.with_rsa_key(records, self.profile)
        self.renew(resigned(self.profile, now, listed))

    def forget(self, other: Person) -> None:
        """Begin anew with the next message."""
        with self.store.writing() as records:
            suites.archive(records, other.name, other.device.id)

    def renew(self, renewed: Profile) -> None:
        """Go on with another profile."""
        with self.store.writing() as records:
            save_profile(records, renewed)
        self.profile = renewed

    def dump(self) -> Dump:
        """Everything in the store."""
        with self.store.reading() as records:
            return {table: sorted(records.scan(table)) for table in TABLES}

    def restore(self, backup: MemoryProfile) -> None:
        """Put an older state back."""
        self.store = backup.snapshot()


def sessions_of(one: Person, other: Person) -> dict[int, Session]:
    """The sessions that somebody has with somebody's device."""
    with one.store.reading() as records:
        return store.all_sessions(records, store.bucket_of(other.name, other.device.id))


def chosen_by(one: Person, other: Person) -> bytes | None:
    """The ephemeral key that names the session on which the next message would go."""
    with one.store.reading() as records:
        bucket = store.bucket_of(other.name, other.device.id)
        chosen = store.load_session(records, bucket, store.load_index(records, bucket).current)
    return None if chosen is None else chosen.ephemeral


def person(name: str, link: InviteLink = LINK, now: int = NOW) -> Person:
    """Somebody new, with prekeys on the shelf."""
    made = Person(create_profile(link, name, now), MemoryProfile())
    made.renew(made.profile)
    made.stock_up(now)
    return made


def friends() -> tuple[Person, Person]:
    """Two people who looked each other up."""
    alice, bob = person("alice"), person("bob")
    alice.meet(bob)
    bob.meet(alice)
    return alice, bob
