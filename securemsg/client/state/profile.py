"""
The profile: an account, this device, and the account's server.

A profile is one sealed record. All its keys are generated and committed here before anything is published: the
device list, signed by the account's identity key. Source: C{docs/protocol.md}, section "Device lists".
"""

from __future__ import annotations

from functools import lru_cache

import msgspec
from attrs import evolve, field, frozen

from securemsg.client.state import integrity
from securemsg.client.state.conversations import (
    Conversation,
    ConversationKind,
    direct,
    is_guest,
    lobby,
    with_guest,
)
from securemsg.client.state.lists import LIST_AGE, remember_list
from securemsg.crypto.keys import AgreementKey, SigningKey, random_bytes, random_id, sha256
from securemsg.interfaces import IRecords
from securemsg.protocol.devices import (
    DEVICE_LIST_LABEL,
    LOBBY_NAME,
    SERVER_NAME,
    Device,
    DeviceList,
    check_name,
    decode_device_list,
    encode_device_list,
)
from securemsg.protocol.invite import AUTO, InviteLink
from securemsg.protocol.messages import Counter, ListMark, Record, SignedDeviceList

TABLE = "profile"
PROFILES_KEPT = 8  # that were read: a process works with one or two

DAY = 86400
# The random bits that tell two incarnations apart that begin at the same C{n}: with that they fill the 63 bits of a number.
INCARNATION_BITS = 23


class Private(Record, frozen=True):
    """A record with secrets, which its C{repr} does not show."""

    def __repr__(self) -> str:
        """The kind of record, without its contents."""
        return f"<{type(self).__name__}>"


@frozen
class Profile:
    """
    An account as its own device knows it.

    @ivar udp_port: on the same host; 0: none.
    @ivar transport: C{tcp}, C{udp}, or C{auto} for whichever is faster.
    @ivar pin: the server identity key.
    @ivar contact: identity of the contact C{server}, or empty.
    @ivar token: of the invite; kept until registration is done.
    @ivar incarnation: a number for the counters, replaced by a greater one after a restore; above 0.
    @ivar devices: our own current list.
    @ivar connection: of a guest: which connection it is a device of
        (L{securemsg.crypto.keys.connection_nonce}); empty before the first login, and for accounts.
    """

    name: str
    host: str
    port: int
    pin: bytes
    contact: bytes
    token: bytes = field(repr=False)
    registered: bool
    identity: SigningKey
    device_id: bytes
    device_key: SigningKey
    agreement: AgreementKey
    incarnation: int
    devices: SignedDeviceList = field(repr=False)
    connection: bytes = b""
    udp_port: int = 0
    transport: str = AUTO

    @property
    def is_guest(self) -> bool:
        """Whether this is a guest with a key file and without an account."""
        return is_guest(self.name)

    @property
    def has_trust_record(self) -> bool:
        """Whether it is noted whom we trust: not by C{server}, which many write to and which verifies nobody, nor by guests."""
        return not self.is_guest and self.name != SERVER_NAME

    @property
    def listing(self) -> DeviceList:
        """Our current list, decoded."""
        return decode_device_list(self.devices.body)

    @property
    def mark(self) -> ListMark:
        """Which list of ours is current, for the inside of messages; a guest has none that anybody could be shown."""
        if self.is_guest:
            return ListMark(0, b"")
        return ListMark(self.listing.version, sha256(self.devices.body))

    def conversation(self, name: str, device: bytes = b"") -> Conversation:
        """
        Our conversation with an account, or the room of this name.

        @param device: of a guest: which of its connections.
        """
        if self.is_guest:
            return Conversation(ConversationKind.HOST, name)
        if name == LOBBY_NAME:
            return lobby(SERVER_NAME)
        return with_guest(name, device) if is_guest(name) else direct(name)


class StoredProfile(Private, frozen=True):
    """The form in which a profile is kept; keys are private halves."""

    name: str
    host: str
    port: int
    pin: bytes
    contact: bytes
    token: bytes
    registered: bool
    identity: bytes
    device_id: bytes
    device_key: bytes
    agreement: bytes
    incarnation: int
    devices: SignedDeviceList
    connection: bytes = b""
    udp_port: Counter = 0
    transport: str = AUTO


def create_profile(link: InviteLink, name: str, now: int, rsa_key: bytes | None = None) -> Profile:
    """
    Make all keys of a new account with one device, and its first list.

    @param rsa_key: the public RSA key of the device, if one was made.
    @raise Refusal: C{illegal-name}.
    """
    check_name(name)
    identity, device_key, agreement = SigningKey.generate(), SigningKey.generate(), AgreementKey.generate()
    device = Device(random_id(), device_key.public, agreement.public, rsa_key)
    return Profile(
        name=name,
        host=link.host,
        port=link.port,
        pin=link.pin,
        contact=link.contact,
        token=link.token,
        registered=False,
        identity=identity,
        device_id=device.id,
        device_key=device_key,
        agreement=agreement,
        incarnation=_new_incarnation(0),
        devices=sign_list(identity, DeviceList(link.pin, name, 1, b"", now, [device])),
        udp_port=link.udp_port,
    )


def resigned(
    profile: Profile, now: int, devices: list[Device] | None = None, after: SignedDeviceList | None = None, rise: int = 1
) -> Profile:
    """
    A newer version of our list. To be saved, then published.

    @param devices: those on it; C{None}: the same as now.
    @param after: the list that it follows, whose hash it names; C{None}: ours.
    @param rise: by how much its version is higher.
    """
    before = after or profile.devices
    following = msgspec.structs.replace(
        profile.listing,
        version=decode_device_list(before.body).version + rise,
        previous=sha256(before.body),
        issued_at=now,
        devices=devices or profile.listing.devices,
    )
    return evolve(profile, devices=sign_list(profile.identity, following))


def is_due(profile: Profile, now: int) -> bool:
    """Whether it is time to sign the list again."""
    return now - profile.listing.issued_at >= LIST_AGE


def next_incarnation(profile: Profile, highest: int) -> Profile:
    """
    The same account in a new incarnation, whose counters begin again: for a restored or copied state.

    @param highest: the C{n} that it goes on from.
    """
    return evolve(profile, incarnation=max(_new_incarnation(highest), profile.incarnation + 1))


def save_profile(records: IRecords, profile: Profile) -> None:
    """Keep the profile, and remember its list, so that a contact's mark of it can still be judged when it is old."""
    kept = StoredProfile(
        profile.name,
        profile.host,
        profile.port,
        profile.pin,
        profile.contact,
        profile.token,
        profile.registered,
        profile.identity.private,
        profile.device_id,
        profile.device_key.private,
        profile.agreement.private,
        profile.incarnation,
        profile.devices,
        profile.connection,
        profile.udp_port,
        profile.transport,
    )
    records.put(TABLE, b"", msgspec.msgpack.encode(kept))
    # Every device on our own list was put there by this profile's clock.
    remember_list(records, profile.listing, profile.devices.body, profile.listing.issued_at)
    if profile.has_trust_record and integrity.entries(records) is None:
        integrity.save_entries(records, {})


def load_profile(records: IRecords) -> Profile | None:
    """The profile that is kept here; none before C{join}."""
    data = records.get(TABLE, b"")
    return None if data is None else _read(data)


@lru_cache(PROFILES_KEPT)
def _read(data: bytes) -> Profile:
    """Read a profile. Each transaction asks for it, and to derive the public keys takes longer than all else there."""
    kept = msgspec.msgpack.decode(data, type=StoredProfile)
    return Profile(
        kept.name,
        kept.host,
        kept.port,
        kept.pin,
        kept.contact,
        kept.token,
        kept.registered,
        SigningKey(kept.identity),
        kept.device_id,
        SigningKey(kept.device_key),
        AgreementKey(kept.agreement),
        kept.incarnation,
        kept.devices,
        kept.connection,
        kept.udp_port,
        kept.transport,
    )


def sign_list(identity: SigningKey, devices: DeviceList) -> SignedDeviceList:
    """Encode a list and sign its very bytes."""
    body = encode_device_list(devices)
    return SignedDeviceList(body, identity.sign(DEVICE_LIST_LABEL, body))


def _new_incarnation(highest: int) -> int:
    """A number above those of all incarnations that began at a lower C{n}; never 0."""
    tail: int = int.from_bytes(random_bytes(8), "big") % (2**INCARNATION_BITS - 1)
    return (highest << INCARNATION_BITS) + 1 + tail
