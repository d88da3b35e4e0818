"""
The device lists that were once current, ours and those of contacts: what a message says of an old one can still be judged.

Source: C{docs/protocol.md}, section "Device lists".
"""

from __future__ import annotations

import msgspec

from securemsg.crypto import keys
from securemsg.errors import Refusal, Unauthentic
from securemsg.interfaces import IRecords
from securemsg.protocol.devices import DEVICE_LIST_LABEL, Device, DeviceList, decode_device_list
from securemsg.protocol.messages import Record, SignedDeviceList

# Bucket = account, order = version.
LISTS = "lists"
# A list is signed again at this age in seconds, so that an old one cannot be shown for long.
LIST_AGE = 7 * 86400
# A list as old as this has missed several renewals: somebody keeps us from the newer ones, or its owner is away.
LIST_WARNING = 30 * 86400
DIGEST_SIZE = 32


class SeenList(Record, frozen=True):
    """
    A device list that was once current.

    @ivar digest: SHA-256 of its body.
    @ivar devices: those on it, as L{device_digest} names them.
    @ivar seen_at: when we saw it first, by our own clock: C{issued_at} is what its signer says.
    """

    digest: bytes
    issued_at: int
    devices: tuple[bytes, ...] = ()
    seen_at: int = 0


def verified_list(account: str, identity: bytes, server: bytes, signed: SignedDeviceList) -> DeviceList:
    """
    Check a device list in itself.

    @param identity: that must have signed it; C{server}: the identity of the server that it must be of.
    @raise Unauthentic: another identity has.
    @raise Refusal: C{bad-device-list}: for another account or server, or malformed.
    """
    try:
        keys.verify(identity, signed.signature, DEVICE_LIST_LABEL, signed.body)
    except Unauthentic:
        raise Unauthentic("device list") from None
    listing = decode_device_list(signed.body)
    if listing.account != account or listing.server != server:
        raise Refusal("bad-device-list", "of another account or server")
    if len(listing.previous) != (DIGEST_SIZE if listing.version > 1 else 0):
        raise Refusal("bad-device-list", "a list that follows none")
    if not all(keys.are_device_keys(row.signing_key, row.agreement_key, row.rsa_key) for row in listing.devices):
        raise Refusal("bad-device-list", "an invalid key")
    return listing


def remember_list(records: IRecords, listing: DeviceList, body: bytes, now: int) -> None:
    """Keep the digest of a list that was current, ours or a contact's, and when we saw it first."""
    digest, known = keys.sha256(body), seen_list(records, listing.account, listing.version)
    if known is not None and known.digest == digest:
        return
    seen = SeenList(digest, listing.issued_at, tuple(device_digest(device) for device in listing.devices), now)
    records.put(LISTS, listing.account.encode(), msgspec.msgpack.encode(seen), listing.version)


def seen_list(records: IRecords, account: str, version: int) -> SeenList | None:
    """The list that we once saw with this version."""
    data = records.get(LISTS, account.encode(), version)
    return None if data is None else msgspec.msgpack.decode(data, type=SeenList)


def forget_lists(records: IRecords, account: str) -> None:
    """Forget every list of an account: they were another identity's."""
    for bucket, version, _ in records.scan(LISTS, account.encode()):
        records.delete(LISTS, bucket, version)


def first_seen(records: IRecords, account: str, device: Device) -> int:
    """When we first saw a list with this device; 0: never."""
    digest = device_digest(device)
    rows = records.scan(LISTS, account.encode())
    lists = (msgspec.msgpack.decode(value, type=SeenList) for _, _, value in rows)
    return next((seen.seen_at for seen in lists if digest in seen.devices), 0)


def device_digest(device: Device) -> bytes:
    """SHA-256 of what makes a device: its id and keys."""
    return keys.digest(*device.keys)
