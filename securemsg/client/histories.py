"""
Reads histories of any length: from their beginning, from their end, and for words. None of it needs an index.

A page is a transaction of its own, so that no writer waits for a reader, and memory is bounded. What is written meanwhile may
be missed, or may come last.
"""

from __future__ import annotations

import heapq
import unicodedata
from collections.abc import Iterable, Iterator

from attrs import frozen

from securemsg.client.messages import LAST_SEQ, PAGE, Line, as_line, own_profile
from securemsg.client.rooms import store as rooms
from securemsg.client.rooms.events import RoomEvent
from securemsg.client.state.conversations import Conversation, ConversationKind
from securemsg.client.state.questions import asked_in
from securemsg.client.state.records import HISTORY, HistoryRow, load_all, load_back
from securemsg.interfaces import IProfileStore, IRecords, Step, no_step
from securemsg.protocol.envelope import Kind, RelayedLine, decode_record
from securemsg.protocol.rooms import RoomInvite

# The event in a room whose title is news; the others name it, too.
RETITLED = "title"
# Digits of a room's id in place of the name that is forgotten.
_SHOWN_ID = 8

Row = tuple[int, HistoryRow]


def conversation_of(store: IProfileStore, name: str) -> Conversation:
    """
    Our conversation with an account, or in the room that we call so.

    @raise Refusal: C{no-such-room}; C{room-unclear}.
    """
    with store.reading() as records:
        return rooms.conversation(records, own_profile(records), name)


def conversations(store: IProfileStore) -> list[Conversation]:
    """All conversations with a history, by name."""
    with store.reading() as records:
        found = [_of_bucket(records, bucket) for bucket in records.buckets(HISTORY)]
    return sorted(found, key=lambda conversation: (conversation.name, conversation.kind))


def count(store: IProfileStore, among: Iterable[Conversation]) -> int:
    """How many messages these histories hold."""
    with store.reading() as records:
        return sum(records.count(HISTORY, conversation.bucket) for conversation in among)


def backward(store: IProfileStore, conversation: Conversation, since: int = 0) -> Iterator[list[Row]]:
    """
    The pages of a history, from the newest message to the oldest.

    @param since: seconds. Ends behind a page that was written or received before that throughout, so that a clock that was
        wrong for a while hides nothing.
    """
    before = LAST_SEQ
    while True:
        with store.reading() as records:
            page = load_back(records, HistoryRow, HISTORY, conversation.bucket, before, PAGE)
        if page:
            yield page
        if len(page) < PAGE or all(row.at < since for _, row in page):
            return
        before = page[-1][0]


def start(
    store: IProfileStore, conversation: Conversation, limit: int | None = None, since: int = 0, step: Step = no_step
) -> int:
    """The seq behind which the last messages of a history lie: C{limit} of them, written or received at C{since} or later."""
    if not since and (limit is None or count(store, [conversation]) <= limit):
        return -1
    after, found = LAST_SEQ, 0
    for page in backward(store, conversation, since):
        step(len(page))
        for seq, row in page:
            if row.at >= since:
                after, found = seq - 1, found + 1
                if found == limit:
                    return after
    return after


def forward(store: IProfileStore, conversation: Conversation, after: int = -1, since: int = 0) -> Iterator[list[Line]]:
    """
    The pages of a history, in order.

    @param since: leave out what was written or received before, seconds.
    """
    while True:
        with store.reading() as records:
            profile = own_profile(records)
            page = load_all(records, HistoryRow, HISTORY, conversation.bucket, after, PAGE)
            lines = [as_line(records, profile, conversation, seq, row) for seq, row in page if row.at >= since]
        if lines:
            yield lines
        if len(page) < PAGE:
            return
        after = page[-1][0]


@frozen
class Found:
    """
    What a search has found.

    @ivar lines: in order; C{has_more}: there are older ones.
    """

    lines: list[Line]
    has_more: bool


def search(
    store: IProfileStore,
    among: Iterable[Conversation],
    words: Iterable[str],
    limit: int,
    since: int = 0,
    step: Step = no_step,
) -> Found:
    """
    The newest messages in which all words occur, whatever their case.

    @param since: leave out what was written or received before, seconds.
    """
    wanted = [fold(word) for word in words]
    # The newest so far, one more than wanted: it tells whether there are more. The oldest comes first.
    newest: list[tuple[int, Conversation, HistoryRow]] = []
    for conversation in among:
        for page in backward(store, conversation, since):
            step(len(page))
            for seq, row in page:
                if row.at >= since and _has_all(row, wanted):
                    heapq.heappush(newest, (seq, conversation, row))
                    if len(newest) > limit + 1:
                        heapq.heappop(newest)
            if len(newest) > limit and page[-1][0] < newest[0][0]:
                # The rest of this history is older than what was found.
                break
    newest.sort(key=lambda found: found[0])
    with store.reading() as records:
        profile = own_profile(records)
        lines = [as_line(records, profile, conversation, seq, row) for seq, conversation, row in newest[-limit:]]
    return Found(lines, len(newest) > limit)


def fold(text: str) -> str:
    """A text as it is compared: without case, and each letter written in one way."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _has_all(row: HistoryRow, wanted: list[str]) -> bool:
    """Whether all words occur in a message."""
    folded = fold(_words_of(row))
    return all(word in folded for word in wanted)


def _words_of(row: HistoryRow) -> str:
    """What somebody has written: a text, a question, an answer, or the title of a room."""
    kind, body = row.content.kind, row.content.body
    if kind in (Kind.TEXT, Kind.ANSWER):
        return body.decode("utf-8", "replace")
    asked = asked_in(row)
    if asked is not None:
        return asked.said
    if row.sent:
        return ""
    match kind:
        case Kind.RELAYED:
            return decode_record(RelayedLine, body).text.decode("utf-8", "replace")
        case Kind.LIST:
            event = decode_record(RoomEvent, body)
            return event.title if event.decision == RETITLED else ""
        case Kind.INVITE:
            return decode_record(RoomInvite, body).title
    return ""


def _of_bucket(records: IRecords, bucket: bytes) -> Conversation:
    """The conversation, or with guests all conversations, in a L{Conversation.bucket}."""
    kind, _, account = bucket.decode().partition("/")
    if kind == ConversationKind.ROOM:
        room = rooms.get_room(records, bytes.fromhex(account))
        return Conversation(ConversationKind.ROOM, f"{account}/{account[:_SHOWN_ID]}") if room is None else room.conversation
    return Conversation(ConversationKind(kind), account)
