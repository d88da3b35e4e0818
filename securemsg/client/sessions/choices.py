"""
Which suite a conversation has: chosen by the user, pinned, and never changed by what anybody else says.

What is sent uses the pinned suite and no other. What comes may be of suite C{pqxdh} always, and of suite C{psk} from a name
for which a key file is pinned; what was sealed under another file waits in quarantine until that one is pinned.
Source: C{docs/protocol.md}, section "Suites".
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from securemsg.client.state import quarantine
from securemsg.client.state.profile import Private
from securemsg.client.state.records import bucket_of, load, save
from securemsg.crypto import keys
from securemsg.crypto.keyfile import NAME_PREFIX, SECRET_SIZE, SharedKey
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import PQXDH, PSK, SUITES

__all__ = ["PQXDH", "PSK", "Chosen", "choose", "chosen", "is_caller", "sharing"]

TABLE = "suites"  # bucket = name of the contact

class Chosen(Private, frozen=True):
    """
    What the user chose for a contact.

    @ivar key: the secret of the key file, for suite C{psk}; else empty.
    """

    suite: Annotated[str, Meta(max_length=16)] = PQXDH
    key: bytes = b""

    @property
    def shared(self) -> SharedKey:
        """The key file; of suite C{psk} alone."""
        return SharedKey(self.key)

    @property
    def key_file(self) -> bytes:
        """Fingerprint of the key file; empty where the suite has none."""
        return self.shared.fingerprint if self.suite == PSK else b""


def chosen(records: IRecords, name: str) -> Chosen:
    """The suite of a conversation; C{pqxdh} where nothing was chosen."""
    return load(records, Chosen, TABLE, bucket_of(name)) or Chosen()


def choose(records: IRecords, name: str, suite: str, key: bytes = b"") -> None:
    """
    The user chooses a suite. What was sealed before goes out as it is; what lies in quarantine is tried again.

    @param key: the secret of a key file, for suite C{psk}; without one the one that there is stays.
    @raise Refusal: C{suite-unavailable}: there is no such suite. C{bad-request}: suite C{psk} without a key, another with one,
        or a key of another size.
    """
    if suite not in SUITES:
        raise Refusal("suite-unavailable")
    if suite == PSK and not key:
        key = chosen(records, name).key
    if len(key) != (SECRET_SIZE if suite == PSK else 0):
        raise Refusal("bad-request")
    save(records, TABLE, bucket_of(name), Chosen(suite, key))
    quarantine.try_again(records, name)


def forget(records: IRecords, name: str) -> None:
    """Nothing is chosen for this name any more."""
    records.delete(TABLE, bucket_of(name))


def sharing(records: IRecords, name: str) -> list[str]:
    """The other contacts for whom the same key file was given as for this one."""
    key = chosen(records, name).key
    names = sorted({bucket.decode("utf-8") for bucket, _, _ in records.scan(TABLE)} - {name})
    return [other for other in names if key and keys.same(chosen(records, other).key, key)]


def is_caller(name: str) -> bool:
    """Is this the name of whoever holds a key file, without an account?"""
    return name.startswith(NAME_PREFIX)
