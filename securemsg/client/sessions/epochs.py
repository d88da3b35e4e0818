"""
Epochs: what the suites without a ratchet, C{psk} and C{rsa}, have in common.

A sender's messages to one device belong to an epoch, which has a key, and are counted in it from 1. No two messages have the
same epoch and counter, and none is accepted twice. Source: C{docs/protocol.md}, section "Suites".
"""

from __future__ import annotations

import msgspec
from attrs import frozen

from securemsg.client.sessions.addresses import DeviceAddress
from securemsg.client.sessions.store import EPOCHS, bucket_of
from securemsg.client.state.profile import DAY, Private
from securemsg.client.state.records import SEEN, load, save
from securemsg.crypto import keys
from securemsg.crypto.keys import length_prefixed
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import SUITES, Transport
from securemsg.protocol.messages import Counter

# An epoch of ours ends after this many messages, or at this age in seconds.
MAX_MESSAGES = 100
LIFE = DAY
# What lies in the bucket of a device: our epochs in each suite, and those of suite C{rsa} that we have opened.
PSK_OWN, RSA_OWN, RSA_OPENED = 0, 1, 2


class Epoch(Private, frozen=True):
    """
    The state of our messages to one device.

    @ivar nonce: identifies it: random, the connection's nonce, or the hash of its transport.
    @ivar counter: of the last message.
    @ivar identity: of the device's account.
    @ivar has_replied: we have opened something from this device, so it knows us.
    @ivar is_over: the next message begins a new epoch.
    @ivar secret: under suite C{rsa}: of the epoch; C{transport}: how it travels; C{rsa_key}: hash of the key that it is for.
    """

    nonce: bytes
    number: Counter
    counter: Counter
    began_at: Counter
    identity: bytes
    has_replied: bool = False
    is_over: bool = False
    secret: bytes = b""
    transport: Transport | None = None
    rsa_key: bytes = b""


@frozen
class Epochs:
    """
    Our epochs in one suite.

    @ivar order: where they lie in their buckets, in the table C{EPOCHS}: L{PSK_OWN} or L{RSA_OWN}.
    """

    suite: str
    label: bytes
    order: int

    def current(self, records: IRecords, recipient: DeviceAddress, now: int) -> Epoch | None:
        """The epoch in which the next message for a device may go; C{None}: a new one begins."""
        epoch = self.last(records, recipient.bucket)
        if epoch is None or epoch.is_over or epoch.identity != recipient.identity:
            return None
        return None if epoch.counter >= MAX_MESSAGES or abs(now - epoch.began_at) >= LIFE else epoch

    def new(self, records: IRecords, recipient: DeviceAddress, nonce: bytes, number: int, now: int) -> Epoch:
        """A new epoch for a device, without a message so far."""
        before = self.last(records, recipient.bucket)
        has_replied = before is not None and before.identity == recipient.identity and before.has_replied
        return Epoch(nonce, number, 0, now, recipient.identity, has_replied)

    def next_number(self, records: IRecords, recipient: DeviceAddress) -> int:
        """The number of the next epoch for a device."""
        before = self.last(records, recipient.bucket)
        return 1 if before is None else before.number + 1

    def last(self, records: IRecords, bucket: bytes) -> Epoch | None:
        """The last epoch for a device."""
        return load(records, Epoch, EPOCHS, bucket, self.order)

    def keep(self, records: IRecords, bucket: bytes, epoch: Epoch) -> None:
        """Save the last epoch for a device."""
        save(records, EPOCHS, bucket, epoch, self.order)

    def note_received(self, records: IRecords, sender: DeviceAddress, nonce: bytes, counter: int, now: int) -> None:
        """Note an authentic message: its epoch and counter are never accepted again, and its sender knows us."""
        records.put(SEEN, _seen(sender, nonce), b"", counter)
        epoch = self.last(records, sender.bucket)
        if epoch is None or epoch.identity != sender.identity:
            # Only to remember that; the first message of ours begins an epoch.
            number = 0 if epoch is None else epoch.number
            epoch = Epoch(bytes(keys.NONCE_SIZE), number, 0, now, sender.identity, is_over=True)
        if not epoch.has_replied:
            self.keep(records, sender.bucket, msgspec.structs.replace(epoch, has_replied=True))

    def archive(self, records: IRecords, account: str, device: bytes) -> None:
        """The next message for this device begins an epoch, and introduces us."""
        self._end(records, bucket_of(account, device))

    def archive_all(self, records: IRecords) -> None:
        """The next message for any device begins an epoch: the counters may have been used since this state was saved."""
        for bucket in {bucket for bucket, _, _ in records.scan(EPOCHS)}:
            self._end(records, bucket)

    def associated_data(self, sender: DeviceAddress, recipient: DeviceAddress, header: bytes, common: bytes) -> bytes:
        """The associated data of a message: suite and version, sender and recipient, the clear header and the common part."""
        version = SUITES[self.suite].to_bytes(4, "big")
        return length_prefixed(self.label, self.suite.encode(), version, *sender.parts, *recipient.parts, header, common)

    def _end(self, records: IRecords, bucket: bytes) -> None:
        epoch = self.last(records, bucket)
        if epoch is not None:
            self.keep(records, bucket, msgspec.structs.replace(epoch, has_replied=False, is_over=True))


def was_opened(records: IRecords, sender: DeviceAddress, nonce: bytes, counter: int) -> bool:
    """Whether a message with this epoch and counter came before from a device."""
    return records.get(SEEN, _seen(sender, nonce), counter) is not None


def _seen(sender: DeviceAddress, nonce: bytes) -> bytes:
    """The bucket under which the counters of an epoch are known."""
    return b"epoch/" + length_prefixed(sender.account.encode(), sender.device, nonce)
