"""
Counters inside the encryption, which reveal lost, repeated and forked messages; the server cannot change them.

A stream is what one device sends in one conversation in one incarnation; its counters run from 1. Contents are chained by
C{previous}, and streams by C{continues}: so a new incarnation, for which a lie of the server is enough, hides nothing that the
one before has sent. Here are the names of streams, how they are stored, and our own; L{securemsg.client.state.gaps} has those
that come in.
"""

from __future__ import annotations

from securemsg.client.state.conversations import Conversation, ConversationKind, is_guest, lobby
from securemsg.client.state.profile import Profile
from securemsg.client.state.records import (
    COUNTERS,
    HISTORY,
    SENT,
    HistoryRow,
    SentRow,
    Status,
    load,
    load_number,
    save,
    save_number,
)
from securemsg.crypto import keys
from securemsg.interfaces import IRecords
from securemsg.protocol.devices import SERVER_NAME
from securemsg.protocol.envelope import MAX_CONTINUED, Content, Kind, Share, StreamEnd, encode_record
from securemsg.protocol.messages import Counter, Record

# Buckets of the table C{COUNTERS}, each with the prefix and what follows. Conversation and incarnation: how far we have come.
STREAM_OUT = b"out/"
# Device of the peer, and conversation: where the share of this device begins.
BASES = b"base/"
# Conversation of a room, and account: where the share of each of its devices begins that it has then.
ACCOUNT_BASES = b"account/"
# Stream: how far it has come in. Stream, with counters as order: what is missing.
STREAM_IN = b"in/"
GAPS = b"gap/"
# Conversation: how many counters are missing; the names of the streams that come in.
OPEN = b"open/"
STREAMS = b"streams/"


class OutStream(Record, frozen=True):
    """
    The state of our stream in a conversation. Bucket: C{STREAM_OUT}, conversation, incarnation; without the incarnation:
    the number of the last one that used a counter.

    @ivar digest: of the content with this counter; empty before the first.
    @ivar continues: how far the streams of earlier incarnations had come, the newest first.
    """

    counter: Counter = 0
    digest: bytes = b""
    continues: tuple[StreamEnd, ...] = ()


class Begin(Record, frozen=True, order=True):
    """
    Where the share of a device of the peer begins, in our streams of a conversation. Bucket: C{BASES}, device, conversation.

    @ivar counter: before the first that this device gets in this incarnation; of earlier ones it gets nothing.
    """

    incarnation: Counter
    counter: Counter


def conversation_of(own: bytes, peer: bytes, kind: ConversationKind = ConversationKind.DIRECT) -> bytes:
    """The conversation of two identities, the same on both sides: 16 bytes. The lobby has one of its own."""
    label = keys.LOBBY_CONVERSATION if kind is ConversationKind.LOBBY else keys.CONVERSATION
    return keys.digest(label, *sorted((own, peer)))[: keys.ID_SIZE]


def conversations_with(profile: Profile, name: str, identity: bytes, device: bytes = b"") -> dict[bytes, Conversation]:
    """
    All conversations that there can be with somebody: that of the two, and, where one of them is C{server}, the lobby.

    @param device: of a guest: which of its connections.
    """
    own = profile.identity.public
    found = {conversation_of(own, identity): profile.conversation(name, device)}
    if SERVER_NAME in (profile.name, name) and not (profile.is_guest or is_guest(name)):
        found[conversation_of(own, identity, ConversationKind.LOBBY)] = lobby(name)
    return found


def stream_of(content: Content) -> bytes:
    """The name of the stream that a content belongs to."""
    return stream_name(content.device, content.incarnation, content.conversation)


def stream_name(device: bytes, incarnation: int, conversation: bytes) -> bytes:
    """The name of the stream of a device in a conversation in one incarnation: 40 bytes."""
    return device + incarnation.to_bytes(8, "big") + conversation


def incarnation_of(stream: bytes) -> int:
    """The incarnation in the name of a stream."""
    return int.from_bytes(stream[keys.ID_SIZE : keys.ID_SIZE + 8], "big")


def out_bucket(conversation: bytes, incarnation: int) -> bytes:
    """The bucket of our own stream."""
    return STREAM_OUT + conversation + incarnation.to_bytes(8, "big")


def out_stream(records: IRecords, conversation: bytes, incarnation: int) -> OutStream:
    """The state of our stream in a conversation; of one that has not begun: what it will continue."""
    known = load(records, OutStream, COUNTERS, out_bucket(conversation, incarnation))
    if known is not None:
        return known
    last = load_number(records, COUNTERS, STREAM_OUT + conversation)
    before = load(records, OutStream, COUNTERS, out_bucket(conversation, last))
    if before is None:
        return OutStream()
    return OutStream(continues=(StreamEnd(last, before.counter, before.digest), *before.continues)[:MAX_CONTINUED])


def own_incarnations(records: IRecords, profile: Profile, conversation: bytes) -> list[int]:
    """The last incarnations in which we may have sent something in a conversation, the newest first."""
    stream = out_stream(records, conversation, profile.incarnation)
    return [profile.incarnation, *(end.incarnation for end in stream.continues)]


def note_sent(records: IRecords, content: Content, digest: bytes) -> None:
    """A content of ours has used its counter."""
    stream = OutStream(content.counter, digest, content.continues)
    save(records, COUNTERS, out_bucket(content.conversation, content.incarnation), stream)
    if content.counter == 1:
        save_number(records, COUNTERS, STREAM_OUT + content.conversation, content.incarnation)


def chain_digest(content: Content) -> bytes:
    """
    What the next content names as C{previous}. A void names in its body the digest of what it stands for, so that what was
    sealed behind that fits behind the void as well.
    """
    if content.kind == Kind.VOID:
        return content.body
    return keys.sha256(encode_record(content))


def base_for(records: IRecords, device: bytes, content: Content) -> Share | None:
    """
    Where the share of a device of the peer begins that gets this content; C{None} outside the counters. That is kept when
    something is first sealed for a device, so whatever the server says then or later does not change it.
    """
    if not content.counter:
        return None
    bucket, here = BASES + device + content.conversation, Begin(content.incarnation, content.counter - 1)
    begin = load(records, Begin, COUNTERS, bucket)
    if begin is None or here < begin:
        save(records, COUNTERS, bucket, here)
    incarnations = [content.incarnation, *(end.incarnation for end in content.continues)]
    return share_of(records, device, content.conversation, incarnations)


def note_account_base(records: IRecords, profile: Profile, account: str, conversation: bytes, devices: list[bytes]) -> None:
    """
    An account has joined a room: its share begins behind what the server has taken by now, which it did not get.

    @param devices: that it has, as far as we know; what began before for one of them is over.
    """
    stream = out_stream(records, conversation, profile.incarnation)
    begin = Begin(profile.incarnation, _accepted(records, conversation, profile.incarnation, stream.counter))
    save(records, COUNTERS, ACCOUNT_BASES + conversation + account.encode(), begin)
    for device in devices:
        records.delete(COUNTERS, BASES + device + conversation)


def begin_shares(records: IRecords, account: str, conversation: bytes, devices: tuple[bytes, ...]) -> None:
    """Where something is sealed for an account for the first time since it joined a room, its devices begin where it does."""
    begin = load(records, Begin, COUNTERS, ACCOUNT_BASES + conversation + account.encode())
    if begin is not None and not any(records.get(COUNTERS, BASES + device + conversation) for device in devices):
        for device in devices:
            save(records, COUNTERS, BASES + device + conversation, begin)


def _accepted(records: IRecords, conversation: bytes, incarnation: int, last: int) -> int:
    """The last counter before those that wait in the outbox."""
    bucket = out_bucket(conversation, incarnation)
    while last:
        sent = load(records, SentRow, SENT, bucket, last)
        row = sent and load(records, HistoryRow, HISTORY, sent.conversation.bucket, sent.history)
        if not isinstance(row, HistoryRow) or row.status is not Status.QUEUED:
            break
        last -= 1
    return last


def share_of(records: IRecords, device: bytes, conversation: bytes, incarnations: list[int]) -> Share | None:
    """
    Where the share of a device of the peer begins; C{None}: this state has sealed nothing for it.

    @param incarnations: of our streams from which to count back, the newest first.
    """
    begin = load(records, Begin, COUNTERS, BASES + device + conversation)
    if begin is None:
        return None
    return Share(sum(incarnation > begin.incarnation for incarnation in incarnations), begin.counter)


def left_out(base: Share | None, back: int, last: int) -> int:
    """How many counters of the stream that lies so far back, up to its last, come before a share; none if it is not known."""
    if base is None or back < base.back:
        return 0
    return min(base.counter, last) if back == base.back else last


def forget_conversation(records: IRecords, profile: Profile, conversation: bytes, device: bytes) -> None:
    """Forget the counters of a conversation whose only device on the other side is gone for good."""
    outgoing = out_bucket(conversation, profile.incarnation)
    for _, counter, _ in records.scan(SENT, outgoing):
        records.delete(SENT, outgoing, counter)
    forget_streams(records, conversation)
    for bucket in (outgoing, STREAM_OUT + conversation, BASES + device + conversation):
        records.delete(COUNTERS, bucket)


def forget_streams(records: IRecords, conversation: bytes) -> None:
    """Forget how far the streams that come in have come: whatever comes next begins a share."""
    for _, seq, stream in records.scan(COUNTERS, STREAMS + conversation):
        for _, counter, _ in records.scan(COUNTERS, GAPS + stream):
            records.delete(COUNTERS, GAPS + stream, counter)
        records.delete(COUNTERS, STREAM_IN + stream)
        records.delete(COUNTERS, STREAMS + conversation, seq)
    records.delete(COUNTERS, OPEN + conversation)


def forget_devices(records: IRecords, left: set[tuple[bytes, bytes]]) -> None:
    """
    Forget how far the streams from and to devices in conversations have come: somebody else's device may have the same id.
    Their gaps stay, within the conversation's budget: history shows them.

    @param left: devices, and a conversation of each.
    """
    for bucket, order, value in records.scan(COUNTERS):
        for prefix, name in ((STREAM_IN, bucket[len(STREAM_IN) :]), (BASES, bucket[len(BASES) :]), (STREAMS, value)):
            if bucket.startswith(prefix) and (name[: keys.ID_SIZE], name[-keys.ID_SIZE :]) in left:
                records.delete(COUNTERS, bucket, order)
