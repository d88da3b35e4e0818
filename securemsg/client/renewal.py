"""
A new identity for our account: all its keys are made anew, and the old identity signs the new one.

The steps are durable one after the other. The new keys are committed in place of the old ones, which are kept beside them
(L{begin}); the server is told by a registration that names the identity before, and may be repeated; when it has answered, what
belonged to the old keys is deleted (L{finish}). If it refuses, the old keys come back, and the new ones are kept beside them
(L{swap_keys}) until a login shows that the server has told the truth (L{drop_new}). Source: C{docs/protocol.md}, section
"Identities that are renewed".
"""

from __future__ import annotations

import msgspec
from attrs import evolve

from securemsg.client.sessions import initiations, prekeys, store
from securemsg.client.state.profile import TABLE, Private, Profile, next_incarnation, save_profile, sign_list
from securemsg.client.state.records import (
    COUNTERS,
    NUMBER,
    OUTBOX,
    ROWS,
    STORED,
    OutboxRow,
    load,
    load_all,
    load_number,
    save,
    save_number,
)
from securemsg.client.state.rsakeys import BUCKET as RSA
from securemsg.client.state.rsakeys import save_rsa_key
from securemsg.client.state.successions import successions_of
from securemsg.crypto.keys import AgreementKey, SigningKey, random_id, sha256
from securemsg.crypto.rsa import RsaKey
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.protocol.devices import Device

OTHER = b"other-keys"
# Tables with what was agreed on with the old keys.
SESSION_TABLES = (prekeys.TABLE, initiations.TABLE, store.TABLE, store.SKIPPED, store.EPOCHS)


class OtherKeys(Private, frozen=True):
    """
    The keys that are not in use in a renewal. Table C{profile}, bucket C{OTHER}.

    @ivar profile: the profile, as it was kept; C{rsa_key}: likewise, empty where there was none.
    @ivar is_new: the new keys, and the server says that it has not taken them; else the old ones.
    """

    profile: bytes
    rsa_key: bytes
    is_new: bool = False


def is_begun(records: IRecords) -> bool:
    """Whether a renewal was begun, and the server has neither confirmed nor refused it."""
    other = _other(records)
    return other is not None and not other.is_new


def is_refused(records: IRecords) -> bool:
    """Whether the server says that it has not taken the new keys, and no login with the old ones has shown that."""
    other = _other(records)
    return other is not None and other.is_new


def begin(records: IRecords, profile: Profile, rsa_key: RsaKey | None, now: int) -> Profile:
    """
    Make all keys of our account anew, with one device.

    @param rsa_key: a new one, where the device had one.
    @raise Refusal: C{messages-wait}: something is sealed with the old keys.
    """
    if any(row.sealed for _, row in load_all(records, OutboxRow, OUTBOX, ROWS)):
        raise Refusal("messages-wait")
    save(records, TABLE, OTHER, _current(records, is_new=False))
    identity, device_key, agreement = SigningKey.generate(), SigningKey.generate(), AgreementKey.generate()
    device = Device(random_id(), device_key.public, agreement.public, None if rsa_key is None else rsa_key.public)
    following = msgspec.structs.replace(
        profile.listing,
        version=profile.listing.version + 1,
        previous=sha256(profile.devices.body),
        issued_at=now,
        devices=[device],
        successions=successions_of(profile, identity.public),
    )
    renewed = evolve(
        next_incarnation(profile, load_number(records, COUNTERS, NUMBER)),
        registered=False,
        token=b"",
        identity=identity,
        device_id=device.id,
        device_key=device_key,
        agreement=agreement,
        devices=sign_list(identity, following),
    )
    records.delete(TABLE, RSA)
    if rsa_key is not None:
        save_rsa_key(records, rsa_key)
    save_profile(records, renewed)
    return renewed


def swap_keys(records: IRecords) -> None:
    """Put the other keys in the place of those in use: the old ones, or, if the server knows these no more, the new ones."""
    other = _other(records)
    assert other is not None, "a renewal was begun"
    save(records, TABLE, OTHER, _current(records, is_new=not other.is_new))
    records.put(TABLE, b"", other.profile)
    records.delete(TABLE, RSA)
    if other.rsa_key:
        records.put(TABLE, RSA, other.rsa_key)


def drop_new(records: IRecords) -> None:
    """The server has let us in with the old keys: it has not taken the new ones."""
    if is_refused(records):
        records.delete(TABLE, OTHER)


def finish(records: IRecords) -> None:
    """The server has confirmed our keys: if they are new, delete the old ones, and all that was agreed on with them."""
    if not is_begun(records):
        return
    records.delete(TABLE, OTHER)
    for table in SESSION_TABLES:
        for bucket, order, _ in records.scan(table):
            records.delete(table, bucket, order)
    # The server stores nothing of the new device yet.
    save_number(records, COUNTERS, STORED, 0)


def _other(records: IRecords) -> OtherKeys | None:
    return load(records, OtherKeys, TABLE, OTHER)


def _current(records: IRecords, *, is_new: bool) -> OtherKeys:
    """The keys in use."""
    profile = records.get(TABLE, b"")
    assert profile is not None, "there is one"
    return OtherKeys(profile, records.get(TABLE, RSA) or b"", is_new)
