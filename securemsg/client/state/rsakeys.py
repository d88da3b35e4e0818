"""
The RSA key of this device, for suite C{rsa}: made when the user asks for it, and kept beside the profile.

Whoever makes it need not own the connection: the owner finds it here, and signs its public half into our device list. Source:
C{docs/protocol.md}, sections "Device lists" and "Suites".
"""

from __future__ import annotations

import msgspec

from securemsg.client.state.profile import TABLE, Private, Profile
from securemsg.client.state.records import load, save
from securemsg.crypto.rsa import RsaKey
from securemsg.interfaces import IRecords
from securemsg.protocol.devices import Device

BUCKET = b"rsa"


class StoredRsaKey(Private, frozen=True):
    """The form in which the key is kept. Table C{profile}, bucket C{BUCKET}."""

    private: bytes
    public: bytes


def load_rsa_key(records: IRecords) -> RsaKey | None:
    """Our RSA key, if we have one."""
    kept = load(records, StoredRsaKey, TABLE, BUCKET)
    return None if kept is None else RsaKey(kept.private, kept.public)


def save_rsa_key(records: IRecords, key: RsaKey) -> None:
    """Save our RSA key, unless there is one: contacts know that one."""
    if load_rsa_key(records) is None:
        save(records, TABLE, BUCKET, StoredRsaKey(key.private, key.public))


def with_rsa_key(records: IRecords, profile: Profile) -> list[Device]:
    """The devices on our list, this one with the RSA key that it has, or without any."""
    key = load_rsa_key(records)
    public = None if key is None else key.public
    return [
        msgspec.structs.replace(device, rsa_key=public) if device.id == profile.device_id else device
        for device in profile.listing.devices
    ]
