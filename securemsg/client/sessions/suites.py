"""
The table of suites: how session messages and common parts are encrypted, one row for each suite.

Every function works inside a transaction. A deposit is planned for all devices before anything changes, and
sealed with that plan. Source: C{docs/protocol.md}, sections "Suites" and "Envelopes".
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from attrs import frozen

from securemsg.client.sessions import pqxdh, psk, rsa
from securemsg.client.sessions.addresses import DeviceAddress, Opened, Recipient
from securemsg.client.sessions.pins import Chosen
from securemsg.client.state.contacts import IdentityChanged
from securemsg.client.state.profile import Profile
from securemsg.crypto import primitives
from securemsg.crypto.keys import COMMON_PART, random_bytes, sha256
from securemsg.errors import Unauthentic
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import (
    KEY_SIZES,
    PQXDH,
    PSK,
    RSA,
    ContentKey,
    Envelope,
    EnvelopeHeader,
    decode_header,
    decode_record,
    pad,
    unpad,
)


class Plan(Protocol):
    """
    How the next message for one device is sealed.

    @ivar lacks_one_time: it opens a session that began without a one-time prekey.
    """

    @property
    def lacks_one_time(self) -> bool:
        """See above."""

    def seal(self, records: IRecords, content_key: ContentKey) -> bytes:
        """Make the own part, once, and save the changed state."""


@frozen
class Suite:
    """
    A row.

    @ivar plan: plans how to seal for a device; nothing changes.
    @ivar open_part: opens an own part with a header of this suite.
    @ivar states_place: its messages state a place, so a reset needs nothing else to move sending.
    @ivar archive: the next message for a device begins anew; C{archive_all}: for all devices.
    """

    plan: Callable[[IRecords, Profile, Chosen, Recipient, bytes, int], Plan]
    open_part: Callable[..., Opened]
    states_place: bool
    archive: Callable[[IRecords, str, bytes], None]
    archive_all: Callable[[IRecords], None]


SUITES: dict[str, Suite] = {
    PQXDH: Suite(pqxdh.plan, pqxdh.open_part, True, pqxdh.archive, pqxdh.archive_all),
    PSK: Suite(psk.plan, psk.open_part, False, psk.archive, psk.archive_all),
    RSA: Suite(rsa.plan, rsa.open_part, False, rsa.archive, rsa.archive_all),
}


def make_common(content: bytes, key_size: int = KEY_SIZES[PQXDH][0]) -> tuple[bytes, ContentKey]:
    """
    Encrypt a content once for all devices, under a key that serves this message alone.

    @param key_size: as the suite of the own parts has it; it says which cipher.
    @return: the common part, and its L{content_key}.
    @raise LocalProtocolError: the content is larger than any we make.
    """
    key = random_bytes(key_size)
    common = primitives.cbc_hmac_encrypt(key, pad(content), COMMON_PART)
    return common, content_key(key, common)


def content_key(key: bytes, common: bytes) -> ContentKey:
    """What each own part carries of a common part and its key, without its C{base} and C{place}."""
    return ContentKey(key, sha256(common), None, (0, 0))


def open_common(common: bytes, content_key: ContentKey) -> bytes:
    """
    The content of a common part. That the key is one of the message's suite was seen when the own part was opened.

    @raise Unauthentic: it is not the one that was sealed with this key.
    @raise Refusal: C{bad-envelope}: its padding is not ours.
    """
    if sha256(common) != content_key.common:
        raise Unauthentic("common part")
    return unpad(primitives.cbc_hmac_decrypt(content_key.key, common, COMMON_PART))


def plan(
    records: IRecords, profile: Profile, choice: Chosen, recipient: Recipient, now: int, kept: Collection[bytes] = ()
) -> dict[bytes, Plan]:
    """
    Plan how a deposit is sealed for all devices of its recipient, before anything is sealed: a refusal half-way would have used
    up message keys.

    @param kept: devices that get bytes they had before.
    @raise IdentityChanged: the user must accept the contact's other identity first.
    @raise NeedBundle: a device has no session.
    @raise Refusal: C{unknown-device}.
    """
    if recipient.contact.has_changed:
        raise IdentityChanged(recipient.contact)
    row = SUITES[choice.suite]
    devices = [device for device in recipient.devices if device not in kept]
    return {device: row.plan(records, profile, choice, recipient, device, now) for device in devices}


def open_envelope(
    records: IRecords, profile: Profile, account: str, device_id: bytes, own: bytes, common_digest: bytes, now: int
) -> Opened:
    """
    Open an own part.

    @param account: of the sender, as the server says; likewise C{device_id}. What opens the part proves both.
    @param common_digest: SHA-256 of the common part that came with it.
    @raise AlreadyUsed: an C{Unauthentic} that was opened before.
    @raise Unauthentic: this device did not make these bytes for us and this common part; L{pins.WrongKey} of suite C{psk}.
    @raise IdentityChanged: it introduces another identity than we know; save its C{contact} to note that.
    @raise Refusal: C{bad-envelope}, C{suite-unavailable}, or as the suite has it.
    """
    envelope = decode_record(Envelope, own)
    header = decode_header(envelope.header)
    conversation, sender = profile.conversation(account, device_id), DeviceAddress(account, device_id, b"")
    return SUITES[header.suite].open_part(records, profile, conversation, sender, envelope, header, common_digest, now)


def introduced(own: bytes) -> bytes:
    """
    The identity by which an own part introduces its sender, whom nothing has proven yet; empty: it introduces nobody.

    @raise Refusal: C{bad-envelope}, C{suite-unavailable}.
    """
    header = decode_header(decode_record(Envelope, own).header)
    introduction = header.prekey if isinstance(header, EnvelopeHeader) else header.introduction
    return b"" if introduction is None else introduction.identity


def archive(records: IRecords, account: str, device_id: bytes) -> None:
    """Begin anew with the next message for this device, in every suite: for resets."""
    for suite in SUITES.values():
        suite.archive(records, account, device_id)


def archive_all(records: IRecords) -> None:
    """Begin anew with the next message for every device: this state was restored, and its keys were used since."""
    for suite in SUITES.values():
        suite.archive_all(records)
