"""
The private halves of our prekeys, from their generation until no message can need them.

A private half is committed before its public key is uploaded, under an id that is never used again. A one-time prekey is
deleted in the transaction that uses it. A rotating one, or one that was claimed and not used, is kept until no message can
name it any more. Rotation goes by our own clock and sequence: neither the server's clock nor its silence holds it up.
Source: C{docs/protocol.md}, sections "Prekeys" and "Envelopes".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from attrs import field, frozen

from securemsg.client.state.profile import DAY, Private, Profile
from securemsg.client.state.records import load, load_all, load_number, save, save_number
from securemsg.crypto import pqxdh
from securemsg.crypto.keys import SigningKey, random_bytes
from securemsg.crypto.pqxdh import PrekeyBundle, PublicPrekey
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import PrekeyHeader
from securemsg.protocol.messages import Bundle, Prekey, PrekeyStock, Upload

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
# A number, before the name of a kind for one use: when its last batch was made.
BATCHED = b"batched/"

ROTATION = 7 * DAY
# A bundle is warned of, or refused, when its signed or last-resort prekey is this old: two or four rotations were missed.
OLD_BUNDLE = 14 * DAY
MAX_BUNDLE_AGE = 30 * DAY
# Clock skew that is believed, seconds: a prekey made further ahead of our clock was made by a wrong clock.
MAX_CLOCK_SKEW = DAY
# The server may fail to confirm for so long before the user hears of it.
UNCONFIRMED = 14 * DAY
# With fewer than this left on the server we make a batch; a batch fits one upload.
LOW = 20
BATCH = 50
# A batch of a kind, and a prekey in place of one that only the server knows, at most this often, whatever the server says that
# it has. Honest servers hand out 20 at once, then one an hour.
BATCH_PAUSE = 3600
# A bundle may be claimed a day after it was handed out first, and an opening made with it repeated for a week; then the message
# may wait for a month with its sender, and for another on the server.
RETIRED_LIFE = DAY + 7 * DAY + 30 * DAY + 30 * DAY
# Of a rotating kind the newest are kept whatever any clock says: as many as are alive in the weeks of a retired one's life. And
# never more than twice as many, however often a clock that jumps makes us rotate.
KEPT_ROTATING = 11
MAX_ROTATING = 2 * KEPT_ROTATING
# Halves of one kind for one use: what strangers claim within the life of a half, and a limit to what a server that always says
# it has none left makes us keep. With so many there the last resort has to do.
MAX_HALVES = 1000
# Ids begin with the time in seconds, shifted by this many bits, so that they do not repeat after an older state was restored.
ID_SHIFT = 20
# A random number below this begins the rest, so that two copies of a profile do not give the same ids in the same second. The
# other half is room for those that follow.
RANDOM_IDS = 2 ** (ID_SHIFT - 1)


class PrivatePrekey(Private, frozen=True):
    """
    A prekey of ours, both halves.

    @ivar private: X25519 private key (32 bytes) or ML-KEM-768 seed (64 bytes).
    @ivar uploaded: the server has confirmed it.
    @ivar retired_at: since when a newer one stands in its place, or, where it is for one use, since when the server is known to
        have handed it out; 0: it may be handed out yet.
    @ivar serial: counts those of a rotating kind as they were made; ids follow a clock, which may have been wrong.
    """

    private: bytes
    key: bytes
    signature: bytes
    made_at: int
    uploaded: bool = False
    retired_at: int = 0
    serial: int = 0


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
    if signed is None and last_resort is None and not one_time and not kem and not replace:
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
        confirmed = None if newest is None else find(records, kind, newest.id)
        for number, half in _in_sequence(records, kind) if confirmed is not None else ():
            if confirmed is not None and half.serial < confirmed.serial and not half.retired_at:
                save(records, TABLE, kind, msgspec.structs.replace(half, retired_at=now), number)
    if upload.replace:
        records.delete(TABLE, REPLACE)


def discard_one_time(records: IRecords) -> None:
    """
    This state was restored: some of its prekeys for one use have been used already. Drop them all, here and on the server.

    When the last batch was made stays: the server decides how often this is called.
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
    """Delete the private halves that no message can name any more; of those that rotate the newest stay."""
    for kind in ROTATING:
        halves = _in_sequence(records, kind)
        for index, (number, half) in enumerate(halves[:-KEPT_ROTATING]):
            # No sender takes one that is older, whether or not the server confirms what came after it.
            retired_at = half.retired_at or half.made_at + MAX_BUNDLE_AGE
            if _is_over(retired_at, now) or index < len(halves) - MAX_ROTATING:
                records.delete(TABLE, kind, number)
    for kind in FOR_ONE_USE:
        for number, half in load_all(records, PrivatePrekey, TABLE, kind):
            if half.retired_at and _is_over(half.retired_at, now):
                records.delete(TABLE, kind, number)


def unconfirmed_since(records: IRecords) -> int | None:
    """
    When the oldest signed prekey was made that the server has not confirmed, of those after the last that it has; C{None}: it
    has confirmed the newest.
    """
    since = None
    for _, half in _in_sequence(records, SIGNED):
        since = None if half.uploaded else since or half.made_at
    return since


def bundle_age(bundle: Bundle, now: int) -> int:
    """
    The age of a bundle that verifies: of its signed prekey or last resort, whichever is older. The ids say when they were made.

    @return: seconds; negative if the device's clock is ahead of ours.
    @raise Refusal: C{stale-bundle}: it is too old, or from the future.
    """
    ids = [bundle.signed.id, bundle.kem.id] if bundle.kem_is_last_resort else [bundle.signed.id]
    ages = [now - (prekey_id >> ID_SHIFT) for prekey_id in ids]
    if max(ages) > MAX_BUNDLE_AGE or min(ages) < -MAX_CLOCK_SKEW:
        raise Refusal("stale-bundle")
    return max(ages)


def find(records: IRecords, kind: bytes, prekey_id: int) -> PrivatePrekey | None:
    """A prekey of ours, if we still have it."""
    return load(records, PrivatePrekey, TABLE, kind, prekey_id)


def newest_serial(records: IRecords) -> int:
    """The number of our newest signed prekey in the sequence in which they were made; 0: there is none."""
    return max((half.serial for _, half in load_all(records, PrivatePrekey, TABLE, SIGNED)), default=0)


def sequence_of(records: IRecords, signed_id: int) -> int:
    """The number of a signed prekey in that sequence; 0: it is gone."""
    half = find(records, SIGNED, signed_id)
    return 0 if half is None else half.serial


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
    halves = _in_sequence(records, kind)
    if halves:
        number, newest = halves[-1]
        age = now - newest.made_at
        is_current = -MAX_CLOCK_SKEW <= age < ROTATION
        # If not, the server's is of a later state of ours, and we do not have its private half.
        is_stocked_ours = not stocked or find(records, kind, stocked) is not None
        is_just_made = 0 <= age < BATCH_PAUSE
        if is_current and (is_stocked_ours or is_just_made):
            is_uploaded = newest.uploaded and stocked == number
            return None if is_uploaded else Prekey(number, newest.key, newest.signature)
    return _made(records, profile, kind, 1, now)[0]


def _batch(records: IRecords, profile: Profile, kind: bytes, left: int, now: int) -> list[Prekey]:
    """Prekeys for one use: those that were never confirmed, else new ones if few are left."""
    halves = load_all(records, PrivatePrekey, TABLE, kind)
    waiting = [Prekey(number, half.key, half.signature) for number, half in halves if not half.uploaded]
    made_at = load_number(records, TABLE, BATCHED + kind)
    is_soon = bool(made_at) and 0 <= now - made_at < BATCH_PAUSE
    if waiting or left >= LOW or len(halves) + BATCH > MAX_HALVES or is_soon:
        return waiting
    save_number(records, TABLE, BATCHED + kind, now)
    return _made(records, profile, kind, BATCH, now)


def _made(records: IRecords, profile: Profile, kind: bytes, count: int, now: int) -> list[Prekey]:
    last = records.last(TABLE, kind)
    end = (now + MAX_CLOCK_SKEW + 1) << ID_SHIFT
    if last >= end:
        # Made while our clock was far ahead: nobody would believe the ids after it.
        last = max((number for _, number, _ in records.scan(TABLE, kind) if number < end), default=0)
    first = max(last + 1, (now << ID_SHIFT) + int.from_bytes(random_bytes(4), "big") % RANDOM_IDS)
    halves = _in_sequence(records, kind)
    serial = halves[-1][1].serial + 1 if halves else 1
    prekeys = []
    for number in range(first, first + count):
        private, public = _MAKERS[kind](profile.device_key, number)
        save(records, TABLE, kind, PrivatePrekey(private, public.key, public.signature, now, serial=serial), number)
        prekeys.append(Prekey(number, public.key, public.signature))
    return prekeys


def _in_sequence(records: IRecords, kind: bytes) -> list[tuple[int, PrivatePrekey]]:
    """Those of a kind, by id, as they were made."""
    return sorted(load_all(records, PrivatePrekey, TABLE, kind), key=lambda item: item[1].serial)


def _is_over(retired_at: int, now: int) -> bool:
    """Whether a retired half can go; one that is said to retire long from now retired when our clock was wrong."""
    return abs(now - retired_at) >= RETIRED_LIFE


def _both_halves(records: IRecords, kind: bytes, prekey_id: int) -> tuple[bytes, PublicPrekey]:
    """A prekey that must be there."""
    half = find(records, kind, prekey_id)
    if half is None:
        raise Refusal("unknown-prekey")
    return half.private, PublicPrekey(prekey_id, half.key, half.signature)
