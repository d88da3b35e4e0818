"""
The private halves of our prekeys, from their generation until no message can need them.

A private half is committed before its public key is uploaded, under an id that is never used again. A one-time prekey is
deleted in the transaction that uses it. A rotating one, or one that was claimed and not used, is kept until no message can
name it any more. Source: C{docs/protocol.md}, sections "Suites" and "Receiving".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from attrs import field, frozen

from securemsg.client.state.profile import DAY, Private, Profile
from securemsg.client.state.records import load, load_all, save
from securemsg.crypto import pqxdh
from securemsg.crypto.keys import SigningKey
from securemsg.crypto.pqxdh import PrekeyBundle, PublicPrekey
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import PrekeyHeader
from securemsg.protocol.messages import Prekey, PrekeyStock, Upload

TABLE = "prekeys"  # bucket = kind, order = id

# Kinds: which are for one use, and which rotate.
SIGNED = b"signed"
LAST_RESORT = b"last-resort"
ONE_TIME = b"one-time"
KEM = b"kem"
ROTATING = (SIGNED, LAST_RESORT)
FOR_ONE_USE = (ONE_TIME, KEM)
# A flag, not a kind: the next upload replaces the one-time prekeys on the server.
REPLACE = b"replace"

ROTATION = 7 * DAY
# With fewer than this left on the server we make a batch; a batch fits one upload.
LOW = 20
BATCH = 50
# A bundle may be claimed a day after it was handed out first, and an opening made with it repeated for a week; then the message
# may wait for a month with its sender, and for another on the server.
RETIRED_LIFE = DAY + 7 * DAY + 30 * DAY + 30 * DAY
# Halves of one kind for one use: what strangers claim within the life of a half, and a limit to what a server that always says
# it has none left makes us keep. With so many there the last resort has to do.
MAX_HALVES = 1000
# Ids begin with the time in seconds, shifted by this many bits, so that they do not repeat after an older state was restored.
ID_SHIFT = 20


class PrivatePrekey(Private, frozen=True):
    """
    A prekey of ours, both halves.

    @ivar private: X25519 private key (32 bytes) or ML-KEM-768 seed (64 bytes).
    @ivar uploaded: the server has confirmed it.
    @ivar retired_at: since when a newer one stands in its place, or, where it is for one use, since when the server is known to
        have handed it out; 0: it may be handed out yet.
    """

    private: bytes
    key: bytes
    signature: bytes
    made_at: int
    uploaded: bool = False
    retired_at: int = 0


@frozen
class ResponderKeys:
    """
    Our prekeys that an initiation names.

    @ivar bundle: the bundle that the initiator got, as we made it.
    """

    bundle: PrekeyBundle
    signed: bytes = field(repr=False)
    kem: bytes = field(repr=False)
    one_time: bytes | None = field(repr=False)


_MAKERS: dict[bytes, Callable[[SigningKey, int], tuple[bytes, PublicPrekey]]] = {
    SIGNED: pqxdh.make_signed_prekey,
    LAST_RESORT: pqxdh.make_last_resort_prekey,
    ONE_TIME: pqxdh.make_one_time_prekey,
    KEM: pqxdh.make_kem_prekey,
}


def replenish(records: IRecords, profile: Profile, stock: PrekeyStock, now: int) -> Upload | None:
    """
    Generate the prekeys that the server needs. They must be committed before they are sent; unconfirmed ones are sent again.

    @param stock: as the server said last.
    @return: an upload without its request number; C{None}: nothing is needed.
    """
    replace = records.get(TABLE, REPLACE) is not None
    signed = _rotated(records, profile, SIGNED, stock.signed_id, now)
    last_resort = _rotated(records, profile, LAST_RESORT, stock.last_resort_id, now)
    one_time = _batch(records, profile, ONE_TIME, 0 if replace else stock.one_time, now)
    kem = _batch(records, profile, KEM, 0 if replace else stock.kem, now)
    if signed is None and last_resort is None and not one_time and not kem:
        return None
    return Upload(0, signed, last_resort, one_time, kem, replace)


def mark_uploaded(records: IRecords, upload: Upload, now: int) -> None:
    """The server has confirmed an upload: older prekeys retire."""
    sets: dict[bytes, Sequence[Prekey | None]] = {
        SIGNED: [upload.signed],
        LAST_RESORT: [upload.last_resort],
        ONE_TIME: upload.one_time,
        KEM: upload.kem,
    }
    for kind, prekeys in sets.items():
        for prekey in prekeys:
            half = None if prekey is None else find(records, kind, prekey.id)
            if prekey is not None and half is not None:
                save(records, TABLE, kind, msgspec.structs.replace(half, uploaded=True), prekey.id)
    for kind, newest in ((SIGNED, upload.signed), (LAST_RESORT, upload.last_resort)):
        for number, half in load_all(records, PrivatePrekey, TABLE, kind) if newest is not None else ():
            if newest is not None and number < newest.id and not half.retired_at:
                save(records, TABLE, kind, msgspec.structs.replace(half, retired_at=now), number)
    if upload.replace:
        records.delete(TABLE, REPLACE)


def discard_one_time(records: IRecords) -> None:
    """
    This state was restored: some of its prekeys for one use have been used already. Drop them all, here and on the server.
    """
    for kind in FOR_ONE_USE:
        for bucket, number, _ in records.scan(TABLE, kind):
            records.delete(TABLE, bucket, number)
    records.put(TABLE, REPLACE, b"")


def retire_claimed(records: IRecords, stock: PrekeyStock, now: int) -> None:
    """
    Retire the one-time prekeys that were claimed: the server hands out the oldest first, and has only the newest left.

    @param stock: as the server counted it.
    """
    for kind, left in ((ONE_TIME, stock.one_time), (KEM, stock.kem)):
        halves = [(number, half) for number, half in load_all(records, PrivatePrekey, TABLE, kind) if half.uploaded]
        for number, half in halves[: max(len(halves) - left, 0)]:
            if not half.retired_at:
                save(records, TABLE, kind, msgspec.structs.replace(half, retired_at=now), number)


def prune(records: IRecords, now: int) -> None:
    """Delete the private halves that no message can name any more."""
    for kind in (*ROTATING, *FOR_ONE_USE):
        for number, half in load_all(records, PrivatePrekey, TABLE, kind):
            if half.retired_at and now - half.retired_at >= RETIRED_LIFE:
                records.delete(TABLE, kind, number)


def find(records: IRecords, kind: bytes, prekey_id: int) -> PrivatePrekey | None:
    """A prekey of ours, if we still have it."""
    return load(records, PrivatePrekey, TABLE, kind, prekey_id)


def responder_keys(records: IRecords, header: PrekeyHeader) -> ResponderKeys:
    """
    The private halves that an initiation names.

    @raise Refusal: C{unknown-prekey}: one was used, discarded, or never ours.
    """
    kem_kind = LAST_RESORT if header.kem_is_last_resort else KEM
    signed, signed_public = _both_halves(records, SIGNED, header.signed_id)
    kem, kem_public = _both_halves(records, kem_kind, header.kem_id)
    one_time, one_time_public = None, None
    if header.one_time_id is not None:
        one_time, one_time_public = _both_halves(records, ONE_TIME, header.one_time_id)
    bundle = PrekeyBundle(signed_public, kem_public, header.kem_is_last_resort, one_time_public)
    return ResponderKeys(bundle, signed, kem, one_time)


def spend(records: IRecords, header: PrekeyHeader) -> None:
    """An initiation has made its session: delete its one-time prekeys."""
    if header.one_time_id is not None:
        records.delete(TABLE, ONE_TIME, header.one_time_id)
    if not header.kem_is_last_resort:
        records.delete(TABLE, KEM, header.kem_id)


def _rotated(records: IRecords, profile: Profile, kind: bytes, stocked: int, now: int) -> Prekey | None:
    """The prekey of a rotating kind that the server should have and has not."""
    halves = load_all(records, PrivatePrekey, TABLE, kind)
    if halves:
        number, newest = halves[-1]
        is_young = now - newest.made_at < ROTATION
        if not newest.uploaded or (is_young and stocked < number):
            return Prekey(number, newest.key, newest.signature)
        if is_young and stocked == number:
            return None
    # There is none, or it is old, or the server has one of a later life of ours whose private half we do not have.
    return _made(records, profile, kind, 1, now)[0]


def _batch(records: IRecords, profile: Profile, kind: bytes, left: int, now: int) -> list[Prekey]:
    """Prekeys for one use: those that were never confirmed, else new ones if few are left."""
    halves = load_all(records, PrivatePrekey, TABLE, kind)
    waiting = [Prekey(number, half.key, half.signature) for number, half in halves if not half.uploaded]
    if waiting or left >= LOW or len(halves) + BATCH > MAX_HALVES:
        return waiting
    return _made(records, profile, kind, BATCH, now)


def _made(records: IRecords, profile: Profile, kind: bytes, count: int, now: int) -> list[Prekey]:
    first = max(records.last(TABLE, kind) + 1, now << ID_SHIFT)
    prekeys = []
    for number in range(first, first + count):
        private, public = _MAKERS[kind](profile.device_key, number)
        save(records, TABLE, kind, PrivatePrekey(private, public.key, public.signature, now), number)
        prekeys.append(Prekey(number, public.key, public.signature))
    return prekeys


def _both_halves(records: IRecords, kind: bytes, prekey_id: int) -> tuple[bytes, PublicPrekey]:
    """A prekey that must be there."""
    half = find(records, kind, prekey_id)
    if half is None:
        raise Refusal("unknown-prekey")
    return half.private, PublicPrekey(prekey_id, half.key, half.signature)
