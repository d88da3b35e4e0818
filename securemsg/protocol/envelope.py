"""
What travels inside the encryption: the content that all devices share, and the session message of each.

Source: C{docs/protocol.md}, section "Envelopes".
"""

from __future__ import annotations

import enum
from typing import Annotated, TypeVar
from unicodedata import category

import msgspec
from attrs import frozen
from msgspec import Meta

from securemsg.errors import LocalProtocolError, Refusal
from securemsg.protocol.messages import (
    MAX_TEXT,
    Code,
    Counter,
    Discreet,
    Id,
    Key,
    ListMark,
    Name,
    Nonce,
    Record,
    Signature,
    SignedDeviceList,
    Version,
)
from securemsg.protocol.rooms import (
    LeaveStatement,
    ListRequest,
    RoomAccept,
    RoomInvite,
    RoomLists,
    SignedMemberList,
)

# Padded sizes: doubling while small, then in steps, so that a length says little and costs little.
SMALL_BUCKETS = (256, 512, 1024, 2048, 4096)
BUCKET_STEP = 4096
# Around the text: ids, hashes, marks. More than enough; asserted by a test.
MAX_CONTENT = MAX_TEXT + 1024
_PAD_MARK = b"\x80"

PQXDH = "pqxdh"
PSK = "psk"
RSA = "rsa"
# The suites of session messages, and the version of each that we speak.
SUITES = {PQXDH: 1, PSK: 1, RSA: 1}
# How large the keys of a suite are, bytes, the usual size first. The size says what they are for: A256CBC-HS512 (64) or
# A128CBC-HS256 (32).
KEY_SIZES: dict[str, tuple[int, ...]] = {PQXDH: (64,), PSK: (32,), RSA: (64, 32)}
# What users call these sizes, where they have the choice.
CIPHERS = {"a256": 64, "a128": 32}
MAX_RECEIPT_IDS = 2_000
MAX_RESET_COUNTERS = 512
# Streams of one conversation that a reset speaks of, the newest; two have two conversations at most, with the lobby.
MAX_RESET_STREAMS = 16
MAX_RESET_ENTRIES = 2 * MAX_RESET_STREAMS
# Of the lobby: who is in it at once, because each line is encrypted for each; and the text of a line, because a relayed one
# names its author as well.
MAX_LOBBY_MEMBERS = 100
MAX_LOBBY_TEXT = MAX_TEXT - 128
# How long the ends may keep a message that disappears, seconds: at least, and at most.
MIN_KEEP = 10
MAX_KEEP = 366 * 86_400
# Of a question: how many choices it may have, and how long each may be, bytes of UTF-8.
MAX_CHOICES = 16
MAX_CHOICE = 64
CHOICE_LABEL = b"securemsg/1 choice"
# Streams that a content says its own goes on from: what the oldest of these continues, its own contents say.
MAX_CONTINUED = 8
# Bytes of a piped stream in one part, which lies within one block of the stream: the first block begins with it.
BLOCK = 32 * 1024


class Kind(enum.IntEnum):
    """What a message is for. A number that is not known here is shown as unsupported, never dropped."""

    TEXT = 1
    ANSWER = 2      # by a machine; never answered
    RECEIPT = 3     # these message ids are committed here
    RESET = 4       # asks for what did not arrive
    VOID = 5        # fills the counter of a message that will never come
    JOINED = 6      # proves that the sender joined with an invite of the recipient
    # of the lobby, from a member to `server`, where texts and answers go as well
    ENTER = 7       # the sender enters
    LEAVE = 8       # the sender leaves
    # of the lobby, from `server` to a member
    RELAYED = 9     # a text or an answer of another member
    ENTERED = 10    # somebody has come in
    LEFT = 11       # somebody is gone
    MEMBERS = 12    # answers an `ENTER`: who is in it, or why the sender is not
    REFUSED = 13    # a text or an answer was not relayed
    CONFIRMED = 14  # a text or an answer of the recipient was relayed
    # of rooms: to all members
    LIST = 15       # the next member list
    LEAVING = 16    # the sender leaves
    # of rooms: between two
    INVITE = 17     # an admin asks the recipient to join
    ACCEPT = 18     # the sender wants to be added
    ASK = 19        # which lists came after the one that the sender has?
    LISTS = 20      # answers an `ASK`; or, to whoever was taken out, which list says so
    HEARD = 21      # the sender has got something of the recipient: sessions heal with an answer
    # between two
    READ = 22       # these message ids were shown to the sender's user
    QUESTION = 23   # asks the recipient's user to choose
    CHOICE = 24     # what the sender's user has chosen
    PART = 25       # a part of a piped stream
    TAKEN = 26      # how far the recipient of a piped stream has taken it


class PipeEnd(enum.IntEnum):
    """How a piped stream ends."""

    NONE = 0        # it goes on
    COMPLETE = 1    # nothing is missing
    CUT = 2         # one side has given it up
    REFUSED = 3     # its recipient does not take it


class StreamEnd(Record, frozen=True):
    """
    How far a device's stream in a conversation had come in an earlier incarnation, as far as that device knows.

    @ivar counter: the last that it used; C{digest}: SHA-256 of the encoded content with it, as in C{Content.previous}.
    """

    incarnation: Counter
    counter: Counter
    digest: Annotated[bytes, Meta(max_length=32)]


class Content(Discreet, frozen=True):
    """
    The content of a message, the same for all devices it goes to.

    @ivar message_id: made once per message, whatever becomes of its deposits.
    @ivar conversation: of two: derived from both identities.
    @ivar device: the sender's.
    @ivar incarnation: in which incarnation of the sender's state the counter was used; a later one has a greater number.
    @ivar counter: counts from 1 within (device, incarnation, conversation); 0 for kinds outside the counters.
    @ivar previous: SHA-256 of the encoded content with the counter before; empty for the first.
    @ivar continues: what the stream goes on from, in every content of it: the streams before, the newest first.
    @ivar own_list: the sender's list, as the sender has it.
    @ivar peer_list: the recipient's list, as the sender has it.
    @ivar sent_at: the sender's clock.
    @ivar wants_receipt: tell me when it is committed.
    @ivar keep: for how long both ends keep it: here from its acceptance, there from when it is read, seconds; 0, which is never
        on the wire: as long as each likes.
    """

    message_id: Id
    kind: Counter
    conversation: Id
    device: Id
    incarnation: Counter
    counter: Counter
    previous: Annotated[bytes, Meta(max_length=32)]
    continues: Annotated[tuple[StreamEnd, ...], Meta(max_length=MAX_CONTINUED)]
    own_list: ListMark
    peer_list: ListMark
    sent_at: Counter
    wants_receipt: bool
    body: Annotated[bytes, Meta(max_length=MAX_TEXT)]
    keep: Annotated[int, Meta(ge=0, le=MAX_KEEP)] = 0


class Receipt(Record, frozen=True):
    """Body of a C{RECEIPT} or C{READ}: the ids of all messages that asked for a receipt and have not had this one."""

    message_ids: Annotated[list[Id], Meta(max_length=MAX_RECEIPT_IDS)]


class Missing(Record, frozen=True):
    """Counters of one conversation that did not arrive: those listed, and all from C{next} on."""

    conversation: Id
    incarnation: Counter
    counters: Annotated[list[Counter], Meta(max_length=MAX_RESET_COUNTERS)]
    next: Counter


class Reset(Record, frozen=True):
    """Body of a C{RESET}: asks for these to be sent again."""

    missing: Annotated[list[Missing], Meta(max_length=MAX_RESET_ENTRIES)]


class RelayedLine(Discreet, frozen=True):
    """
    Body of a C{RELAYED}: what a member has written.

    @ivar author: its account, whose session brought it to C{server}.
    @ivar message_id: that its author gave it; C{sent_at}: by its author's clock.
    @ivar kind: C{TEXT} or C{ANSWER}.
    """

    author: Name
    message_id: Id
    sent_at: Counter
    kind: Annotated[int, Meta(ge=1, le=2)]
    text: Annotated[bytes, Meta(max_length=MAX_LOBBY_TEXT)]


class Person(Record, frozen=True):
    """Body of an C{ENTERED} or a C{LEFT}: who it was."""

    name: Name


class Members(Record, frozen=True):
    """
    Body of a C{MEMBERS}.

    @ivar code: why the recipient is not in the lobby; empty: it is.
    @ivar names: of those who are in it, the recipient included.
    """

    code: Code
    names: Annotated[list[Name], Meta(max_length=MAX_LOBBY_MEMBERS)]


class RefusedLine(Record, frozen=True):
    """Body of a C{REFUSED}: which message was not relayed, and why."""

    code: Code
    message_id: Id


class ConfirmedLine(Record, frozen=True):
    """Body of a C{CONFIRMED}: which message was relayed."""

    message_id: Id


class Question(Discreet, frozen=True):
    """
    Body of a C{QUESTION}.

    @ivar until: when it is over, by its sender's clock.
    """

    text: str
    choices: Annotated[tuple[str, ...], Meta(min_length=2, max_length=MAX_CHOICES)]
    until: Counter

    def __post_init__(self) -> None:
        """
        Check the choices; a body that is read is malformed then.

        @raise ValueError: two are the same; or one is empty, too long, or has control characters.
        """
        if len(set(self.choices)) < len(self.choices):
            raise ValueError("two choices are the same")
        for choice in self.choices:
            if not choice or any(category(character) == "Cc" for character in choice):
                raise ValueError("a choice is empty, or has control characters")
            if len(choice.encode("utf-8", "surrogatepass")) > MAX_CHOICE:
                raise ValueError(f"a choice has more than {MAX_CHOICE} bytes")


class Choice(Record, frozen=True):
    """
    Body of a C{CHOICE}.

    @ivar question: the message id of the question.
    @ivar index: of the choice, from 0.
    @ivar signature: of the sender's device over L{CHOICE_LABEL}, account and identity of who has asked, account, identity and
        device of who answers, C{question}, H(body of the question), and C{u64(index)}.
    """

    question: Id
    index: Annotated[int, Meta(ge=0, lt=MAX_CHOICES)]
    signature: Signature


class PipePart(Discreet, frozen=True):
    """
    Body of a C{PART}.

    @ivar stream: made once for each stream; C{offset}: in it, of the first byte of C{data}.
    @ivar data: lies within one block; empty in the last part alone.
    @ivar end: C{COMPLETE} or C{CUT} in the last part; else C{NONE}.
    @ivar digest: with C{COMPLETE}: of the whole stream; else empty.
    """

    stream: Id
    offset: Counter
    data: Annotated[bytes, Meta(max_length=BLOCK)]
    end: Annotated[int, Meta(ge=0, le=2)] = PipeEnd.NONE
    digest: Annotated[bytes, Meta(max_length=32)] = b""

    @property
    def is_sound(self) -> bool:
        """Whether its fields go together."""
        if self.end:
            return not self.data and len(self.digest) == (32 if self.end == PipeEnd.COMPLETE else 0)
        return 0 < len(self.data) <= BLOCK - self.offset % BLOCK and not self.digest


class PipeTaken(Record, frozen=True):
    """
    Body of a C{TAKEN}.

    @ivar offset: all before it was taken.
    @ivar end: whether that is the end; C{COMPLETE}: of the whole stream, whose digest was right.
    """

    stream: Id
    offset: Counter
    end: Annotated[int, Meta(ge=0, le=3)]


@frozen
class KindRules:
    """
    What holds for the messages of a kind.

    @ivar counted: its contents have counters.
    @ivar shown: it is shown to people; others are silent, and are never confirmed.
    @ivar record: what its body must encode; C{None}: anything.
    @ivar size: of its body; 0: any.
    """

    counted: bool = True
    shown: bool = True
    record: type[Record] | None = None
    size: int = 0


# A kind that is not known may also come without a counter.
UNKNOWN = KindRules()
KINDS: dict[int, KindRules] = {
    Kind.TEXT: KindRules(),
    Kind.ANSWER: KindRules(),
    Kind.RECEIPT: KindRules(counted=False, shown=False, record=Receipt),
    Kind.RESET: KindRules(counted=False, shown=False, record=Reset),
    # The digest of what it stands for.
    Kind.VOID: KindRules(shown=False, size=32),
    Kind.JOINED: KindRules(counted=False, shown=False),
    Kind.ENTER: KindRules(),
    Kind.LEAVE: KindRules(),
    Kind.RELAYED: KindRules(record=RelayedLine),
    Kind.ENTERED: KindRules(record=Person),
    Kind.LEFT: KindRules(record=Person),
    Kind.MEMBERS: KindRules(shown=False, record=Members),
    Kind.REFUSED: KindRules(record=RefusedLine),
    Kind.CONFIRMED: KindRules(shown=False, record=ConfirmedLine),
    Kind.LIST: KindRules(counted=False, shown=False, record=SignedMemberList),
    Kind.LEAVING: KindRules(counted=False, shown=False, record=LeaveStatement),
    Kind.INVITE: KindRules(counted=False, record=RoomInvite),
    Kind.ACCEPT: KindRules(counted=False, shown=False, record=RoomAccept),
    Kind.ASK: KindRules(counted=False, shown=False, record=ListRequest),
    Kind.LISTS: KindRules(counted=False, shown=False, record=RoomLists),
    Kind.HEARD: KindRules(counted=False, shown=False),
    Kind.READ: KindRules(counted=False, shown=False, record=Receipt),
    Kind.QUESTION: KindRules(record=Question),
    Kind.CHOICE: KindRules(record=Choice),
    # Offsets and digest show what is missing; what has counters would have to stay in the history.
    Kind.PART: KindRules(counted=False, shown=False, record=PipePart),
    Kind.TAKEN: KindRules(counted=False, shown=False, record=PipeTaken),
}
# Who says what in the lobby: its members; its members alone; the contact `server` alone.
LINES = frozenset({Kind.TEXT, Kind.ANSWER})
TO_LOBBY = frozenset({Kind.ENTER, Kind.LEAVE})
# Between two accounts alone.
ONLY_DIRECT = frozenset({Kind.QUESTION, Kind.CHOICE})
# With a text that people read, which its writer may have disappear.
WITH_TEXT = LINES | ONLY_DIRECT
# In a room; and what two say of rooms, which is no part of what they write to each other.
ONLY_IN_ROOM = frozenset({Kind.LIST, Kind.LEAVING})
IN_ROOM = LINES | {Kind.VOID} | ONLY_IN_ROOM
PIPED = frozenset({Kind.PART, Kind.TAKEN})
ABOUT_ROOMS = frozenset({Kind.INVITE, Kind.ACCEPT, Kind.ASK, Kind.LISTS, Kind.HEARD})
FROM_LOBBY = frozenset({Kind.RELAYED, Kind.ENTERED, Kind.LEFT, Kind.MEMBERS, Kind.REFUSED, Kind.CONFIRMED})


class Share(Record, frozen=True):
    """
    Where the share of a device begins: what it gets of a conversation.

    @ivar back: in which stream: 0: in that of the content; else how far back in its C{continues}, from 1.
    @ivar counter: before the first that this device gets of that stream.
    """

    back: Counter
    counter: Counter


# Where a message stands among all from its sender's device to its recipient's: places are compared item by item.
Place = tuple[Counter, Counter]


class ContentKey(Discreet, frozen=True):
    """
    The plaintext of an own part: opens the common part.

    @ivar key: used for this message alone; as long as the suite of the own part wants it.
    @ivar common: SHA-256 of the common part, so that no recipient can change it for another.
    @ivar base: where the share of this device begins; C{None} for kinds outside the counters.
    @ivar place: the sender's incarnation, and its generation: how often it has changed the session in which it sends to this
        device, from 1. The content cannot say the first: one that is sent again keeps its own. (0, 0) in the suites C{psk} and
        C{rsa}.
    """

    key: Annotated[bytes, Meta(min_length=32, max_length=64)]
    common: Key
    base: Share | None
    place: Place


class RoomContentKey(ContentKey, frozen=True):
    """
    The plaintext of an own part in a room.

    @ivar room: the member list that the deposit goes by, which must be that of its item: so the server cannot re-date it.
    """

    room: ListMark


# How an array of as many items begins.
_ROOM_KEY = b"\x95"

Positive = Annotated[int, Meta(ge=1, le=2**63 - 1)]


class PrekeyHeader(Record, frozen=True):
    """
    What lets the responder make the same session: repeated until the initiator has decrypted a reply.

    @ivar identity: the initiator's account identity.
    @ivar devices: the initiator's signed device list, in which its device stands.
    """

    identity: Key
    devices: SignedDeviceList
    ephemeral: Key
    signed_id: Positive
    kem_id: Positive
    kem_is_last_resort: bool
    kem_ciphertext: Annotated[bytes, Meta(min_length=1088, max_length=1088)]
    one_time_id: Positive | None

    @property
    def lacks_one_time(self) -> bool:
        """Whether the bundle lacked a one-time prekey: then the prekeys that rotate are all that protect this opening."""
        return self.kem_is_last_resort or self.one_time_id is None


class EnvelopeHeader(Record, frozen=True):
    """
    The clear header of an own part of suite C{pqxdh}; all of it is associated data.

    @ivar ratchet_key: the sender's ratchet key, X25519.
    @ivar previous_length: messages in the sender's previous chain.
    @ivar number: of this message in its chain.
    """

    suite: Annotated[str, Meta(max_length=16)]
    version: Version
    ratchet_key: Key
    previous_length: Annotated[int, Meta(ge=0, le=2**32 - 1)]
    number: Annotated[int, Meta(ge=0, le=2**32 - 1)]
    prekey: PrekeyHeader | None


class Introduction(Record, frozen=True):
    """
    Who sends, for somebody who may never have heard of it.

    @ivar identity: the sender's account identity.
    @ivar devices: the sender's signed device list, in which its device stands.
    """

    identity: Key
    devices: SignedDeviceList


class KeyHeader(Record, frozen=True):
    """
    The clear header of an own part of suite C{psk}; all of it is associated data.

    @ivar nonce: of the sender's epoch, or of the connection of whoever has no account: the salt of the key.
    @ivar epoch: its number; 0 where it is a connection.
    @ivar counter: of this message under this nonce, from 1; no two messages have the same.
    @ivar introduction: repeated until the sender has decrypted something of this device.
    """

    suite: Annotated[str, Meta(max_length=16)]
    version: Version
    nonce: Nonce
    epoch: Counter
    counter: Positive
    introduction: Introduction | None


class Transport(Record, frozen=True):
    """
    How the secret of an epoch of suite C{rsa} travels.

    @ivar ciphertext: the secret, under RSA-OAEP-SHA-256 of the recipient device's RSA key: as many bytes as its modulus.
    @ivar signature: of the sender's device, over both ends, that key, the epoch and the ciphertext.
    """

    ciphertext: Annotated[bytes, Meta(min_length=256, max_length=512)]
    signature: Signature


class RsaHeader(Record, frozen=True):
    """
    The clear header of an own part of suite C{rsa}; all of it is associated data.

    @ivar epoch: its number, above that of every epoch before.
    @ivar counter: of this message in this epoch, from 1; no two messages have the same.
    @ivar key_size: of the keys of this message, which says with which cipher.
    @ivar transport: of the epoch, in each of its messages: whichever comes first can be opened.
    @ivar introduction: repeated until the sender has decrypted something of this device.
    """

    suite: Annotated[str, Meta(max_length=16)]
    version: Version
    epoch: Positive
    counter: Positive
    key_size: Annotated[int, Meta(ge=32, le=64, multiple_of=32)]
    transport: Transport
    introduction: Introduction | None


class _Suited(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Any header, as far as all suites agree; open, so that whatever follows is left to the suite."""

    suite: Annotated[str, Meta(max_length=16)]
    version: Version


Header = EnvelopeHeader | KeyHeader | RsaHeader
HEADERS: dict[str, type[EnvelopeHeader] | type[KeyHeader] | type[RsaHeader]] = {
    PQXDH: EnvelopeHeader,
    PSK: KeyHeader,
    RSA: RsaHeader,
}


class Envelope(Record, frozen=True):
    """
    An own part on the wire.

    @ivar header: an encoded header of its suite, as authenticated.
    @ivar sealed: an encrypted L{ContentKey}.
    """

    header: bytes
    sealed: bytes


T = TypeVar("T", bound=msgspec.Struct)

# How a content begins that does not say how long it is kept: an array with one item less. Of the one that says 0, the last byte
# is that.
_UNLIMITED = b"\x9d"

_encode = msgspec.msgpack.Encoder().encode


def encode_record(record: Record) -> bytes:
    """The bytes of a content, a header or a body."""
    data = _encode(record)
    return data if not isinstance(record, Content) or record.keep else _UNLIMITED + data[1:-1]


def decode_record(kind: type[T], data: bytes) -> T:
    """
    Read a content, a header or a body.

    @raise Refusal: C{bad-envelope}: malformed, or not in its canonical encoding.
    """
    try:
        record = msgspec.msgpack.decode(data, type=kind)
        # Any other struct is open to items of newer peers, which encoding it again would lose.
        if isinstance(record, Record) and encode_record(record) != data:
            raise Refusal("bad-envelope")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Refusal("bad-envelope") from error
    return record


def decode_content_key(data: bytes) -> ContentKey:
    """
    Read the plaintext of an own part: in a room it has one item more.

    @raise Refusal: C{bad-envelope}.
    """
    return decode_record(RoomContentKey if data[:1] == _ROOM_KEY else ContentKey, data)


def suite_of(data: bytes) -> str:
    """
    The suite that a header names, known to us or not.

    @raise Refusal: C{bad-envelope}: malformed.
    """
    return decode_record(_Suited, data).suite


def decode_header(data: bytes) -> Header:
    """
    Read the header of an own part: its first item is the suite, which says what the rest means.

    @raise Refusal: C{suite-unavailable}: a suite, or a version of one, that we do not speak. C{bad-envelope}: malformed.
    """
    suited = decode_record(_Suited, data)
    if SUITES.get(suited.suite) != suited.version:
        raise Refusal("suite-unavailable")
    return decode_record(HEADERS[suited.suite], data)


def bucket(size: int) -> int:
    """The padded size of something of this size, which the mark enlarges by one."""
    for small in SMALL_BUCKETS:
        if size < small:
            return small
    return (size // BUCKET_STEP + 1) * BUCKET_STEP


def pad(data: bytes) -> bytes:
    """
    Fill up to the bucket: 0x80, then zeros (ISO/IEC 7816-4).

    @raise LocalProtocolError: more than C{MAX_CONTENT}.
    """
    if len(data) > MAX_CONTENT:
        raise LocalProtocolError(f"a content of {len(data)} bytes")
    return (data + _PAD_MARK).ljust(bucket(len(data)), b"\x00")


def unpad(data: bytes) -> bytes:
    """
    The reverse of L{pad}.

    @raise Refusal: C{bad-envelope}: no mark, or not the size of a bucket.
    """
    stripped = data.rstrip(b"\x00")
    if not stripped.endswith(_PAD_MARK) or bucket(len(stripped) - 1) != len(data):
        raise Refusal("bad-envelope")
    return stripped[:-1]
