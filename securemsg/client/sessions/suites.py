"""
Which suite a conversation has: chosen by the user, pinned, and never changed by what anybody else says.

What is sent uses the pinned suite and no other. What comes may be of suite C{pqxdh} always, and of suite C{psk} from a name
whose key file we were given; also under a file that was replaced not long ago, for what was sealed before is still on its way.
Source: C{docs/protocol.md}, section "Suites".
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from securemsg.client.state import quarantine
from securemsg.client.state.profile import DAY, Private
from securemsg.client.state.records import bucket_of, load, save
from securemsg.crypto import keys
from securemsg.crypto.keyfile import NAME_PREFIX, SECRET_SIZE, SharedKey
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import PQXDH, PSK, SUITES
from securemsg.protocol.messages import Counter

__all__ = ["PQXDH", "PSK", "Chosen", "choose", "chosen", "is_caller", "sharing"]

TABLE = "suites"  # bucket = name of the contact

# For how long a key opens what comes after it was replaced: as long as the server keeps that.
FORMER_AGE = 30 * DAY
# Keys of a contact that do.
MAX_FORMER = 2


class Former(Private, frozen=True):
    """
    A key that another choice has replaced.

    @ivar at: when.
    """

    key: bytes
    at: Counter

    def is_good(self, now: int) -> bool:
        """Is that not too long ago?"""
        return abs(now - self.at) <= FORMER_AGE


class Chosen(Private, frozen=True):
    """
    What the user chose for a contact.

    @ivar key: the secret of the key file, for suite C{psk}; else empty.
    @ivar former: what was here before, the newest first.
    """

    suite: Annotated[str, Meta(max_length=16)] = PQXDH
    key: bytes = b""
    former: tuple[Former, ...] = ()

    @property
    def shared(self) -> SharedKey:
        """The key file; of suite C{psk} alone."""
        return SharedKey(self.key)

    @property
    def key_file(self) -> bytes:
        """Fingerprint of the key file; empty where the suite has none."""
        return self.shared.fingerprint if self.suite == PSK else b""

    def opening(self, now: int) -> list[SharedKey]:
        """The key files under which what comes is opened: the present one, if there is one, and those from before."""
        present = [self.key] if self.suite == PSK else []
        return [SharedKey(key) for key in (*present, *(former.key for former in self.former if former.is_good(now)))]


def chosen(records: IRecords, name: str) -> Chosen:
    """The suite of a conversation; C{pqxdh} where nothing was chosen."""
    return load(records, Chosen, TABLE, bucket_of(name)) or Chosen()


def choose(records: IRecords, name: str, suite: str, key: bytes = b"", *, now: int) -> None:
    """
    The user chooses a suite. What was sealed before goes out as it is; what lies in quarantine is tried again.

    @param key: the secret of a key file, for suite C{psk}; without one the one that there is stays. One that is replaced, also
        by C{pqxdh}, seals nothing any more, and opens what comes for a while yet.
    @raise Refusal: C{suite-unavailable}: there is no such suite. C{bad-request}: suite C{psk} without a key, another with one,
        or a key of another size.
    """
    if suite not in SUITES:
        raise Refusal("suite-unavailable")
    before = chosen(records, name)
    if suite == PSK and not key:
        key = before.key
    if len(key) != (SECRET_SIZE if suite == PSK else 0):
        raise Refusal("bad-request")
    replaced = [Former(before.key, now)] if before.key else []
    former = [other for other in (*replaced, *before.former) if other.key != key and other.is_good(now)]
    save(records, TABLE, bucket_of(name), Chosen(suite, key, tuple(former[:MAX_FORMER])))
    quarantine.try_again(records, name)


def forget(records: IRecords, name: str) -> None:
    """Nothing is chosen for this name any more."""
    records.delete(TABLE, bucket_of(name))


def prune(records: IRecords, now: int) -> None:
    """Forget the keys that were replaced too long ago."""
    for bucket, _, _ in records.scan(TABLE):
        choice = load(records, Chosen, TABLE, bucket)
        if choice is not None and not all(former.is_good(now) for former in choice.former):
            former = tuple(former for former in choice.former if former.is_good(now))
            save(records, TABLE, bucket, msgspec.structs.replace(choice, former=former))


def sharing(records: IRecords, name: str) -> list[str]:
    """The other contacts for whom the same key file was given as for this one."""
    key = chosen(records, name).key
    names = sorted({bucket.decode("utf-8") for bucket, _, _ in records.scan(TABLE)} - {name})
    return [other for other in names if key and keys.same(chosen(records, other).key, key)]


def is_caller(name: str) -> bool:
    """Is this the name of whoever holds a key file, without an account?"""
    return name.startswith(NAME_PREFIX)
