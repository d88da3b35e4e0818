"""
The suite of a conversation: chosen by the user, pinned, and never changed by anybody else.

Sent messages use the pinned suite and no other. Received messages may always use the suites C{pqxdh} and C{rsa}, and suite
C{psk} if a key file is pinned for the sender; messages under another file wait in quarantine until that file is pinned. What
comes in another suite than the pinned one is marked.
Source: C{docs/protocol.md}, section "Suites".
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from securemsg.client.state import quarantine
from securemsg.client.state.conversations import Conversation, account_of, direct
from securemsg.client.state.integrity import note, row_digest
from securemsg.client.state.profile import Private
from securemsg.client.state.records import load, save
from securemsg.crypto import keys
from securemsg.crypto.keyfile import SECRET_SIZE, SharedKey
from securemsg.errors import Refusal, Unauthentic
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import CIPHERS, KEY_SIZES, PQXDH, PSK, RSA, SUITES

DEFAULT_CIPHER = "a256"
TABLE = "suites"  # bucket = that of the conversation

# Suites that need a key file; the size of its secret.
SECRET_SIZES = {PSK: SECRET_SIZE}
# What a suite lacks that C{pqxdh} has.
FORWARD_SECRECY, POST_QUANTUM = "forward-secrecy", "post-quantum"
LACKS: dict[str, tuple[str, ...]] = {PQXDH: (), PSK: (FORWARD_SECRECY,), RSA: (FORWARD_SECRECY, POST_QUANTUM)}


class WrongKey(Unauthentic):
    """The message was not sealed for us with the key file that is pinned for its sender: another file, or other bytes."""

    def __init__(self) -> None:
        super().__init__("key file")
        self.code = "wrong-key"

class Chosen(Private, frozen=True):
    """
    What the user chose for a conversation.

    @ivar key: the secret of the key file, where the suite has one; else empty.
    @ivar cipher: one of L{CIPHERS}, for suites that leave the choice.
    """

    suite: Annotated[str, Meta(max_length=16)] = PQXDH
    key: bytes = b""
    cipher: Annotated[str, Meta(max_length=16)] = DEFAULT_CIPHER

    @property
    def key_size(self) -> int:
        """Of the keys that messages are encrypted with, which says with which cipher."""
        sizes, wanted = KEY_SIZES[self.suite], CIPHERS[self.cipher]
        return wanted if wanted in sizes else sizes[0]

    @property
    def lacks(self) -> tuple[str, ...]:
        """What the suite lacks."""
        return LACKS[self.suite]

    @property
    def shared(self) -> SharedKey:
        """The key file, where the suite has one."""
        return SharedKey(self.key)

    @property
    def key_file(self) -> bytes:
        """Fingerprint of the key file; empty where the suite has none."""
        return self.shared.fingerprint if self.key else b""


def pinned_suite(records: IRecords, conversation: Conversation) -> Chosen:
    """The suite of a conversation; C{pqxdh} where nothing was chosen."""
    return load(records, Chosen, TABLE, conversation.bucket) or Chosen()


def pin_suite(
    records: IRecords, conversation: Conversation, suite: str, key: bytes = b"", cipher: str = DEFAULT_CIPHER
) -> None:
    """
    Pin the suite that the user chose. Sealed messages are sent unchanged; messages in quarantine are tried again.

    @param key: the secret of a key file, for suite C{psk}; without one the pinned key stays.
    @param cipher: one of L{CIPHERS}.
    @raise Refusal: C{suite-unavailable}: there is no such suite or cipher. C{bad-request}: suite C{psk} without a key, another
        with one, or a key of another size.
    """
    if suite not in SUITES or cipher not in CIPHERS:
        raise Refusal("suite-unavailable")
    size = SECRET_SIZES.get(suite, 0)
    if size and not key:
        key = pinned_suite(records, conversation).key
    if len(key) != size:
        raise Refusal("bad-request")
    before = records.get(TABLE, conversation.bucket)
    save(records, TABLE, conversation.bucket, Chosen(suite, key, cipher))
    _note(records, conversation, before)
    quarantine.mark_for_retry(records, conversation.account)


def forget(records: IRecords, conversation: Conversation) -> None:
    """Unpin the suite of a conversation."""
    before = records.get(TABLE, conversation.bucket)
    records.delete(TABLE, conversation.bucket)
    _note(records, conversation, before)


def _note(records: IRecords, conversation: Conversation, before: bytes | None) -> None:
    """Note that the row of a conversation has changed, or is gone, among what decides whom we trust."""
    after = records.get(TABLE, conversation.bucket)
    digests = [row_digest(each) if each else b"" for each in (before, after)]
    note(records, TABLE, conversation.bucket, *digests)


def sharing(records: IRecords, name: str) -> list[str]:
    """The other accounts for which the same key file is pinned as for this one, known as contacts or not."""
    key = pinned_suite(records, direct(name)).key
    others = sorted({account_of(bucket) for bucket, _, _ in records.scan(TABLE)} - {name})
    return [other for other in others if key and keys.same(pinned_suite(records, direct(other)).key, key)]
