"""
Questions with choices, as user interfaces ask and answer them, in any process.

Source: C{docs/protocol.md}, section "Questions".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from attrs import field, frozen

from securemsg.client.messages import Sent, own_profile, sent, write_in
from securemsg.client.state import contacts, disappearing, preferences, questions
from securemsg.client.state.conversations import Conversation, account_of, direct
from securemsg.client.state.questions import Asked
from securemsg.client.state.receipts import asks
from securemsg.client.state.records import HISTORY, QUESTIONS, HistoryRow, Outcome, find_sent, save
from securemsg.errors import Refusal
from securemsg.interfaces import IProfileStore, IRecords
from securemsg.protocol.envelope import Kind, Question, encode_record
from securemsg.protocol.messages import MAX_EXPIRY, MAX_TEXT, MIN_EXPIRY

# Hex digits that name a question, at least.
MIN_DIGITS = 4


@frozen
class Draft:
    """
    A question that is to be asked.

    @ivar message_id: the same one asks the same question, and no other.
    """

    to: str
    message_id: bytes
    text: str = field(repr=False)
    choices: tuple[str, ...] = field(repr=False)


class NotAsked(Exception):
    """
    Nothing was asked.

    @ivar to: whom the question was for; C{refusal}: why it is refused.
    """

    def __init__(self, to: str, refusal: Refusal) -> None:
        super().__init__(to)
        self.to = to
        self.refusal = refusal


def ask(store: IProfileStore, drafts: Iterable[Draft], until: int, *, now: float) -> None:
    """
    Ask, in one transaction. What was asked before under the same id stays as it is, with the time it had.

    @param until: when it is over, by our clock.
    @raise NotAsked: C{conflict}: the id belongs to another message; for other codes see
        L{securemsg.client.messages.compose_in}.
    """
    with store.writing() as records:
        for draft in drafts:
            try:
                _ask(records, draft, until, int(now))
            except Refusal as refusal:
                raise NotAsked(draft.to, refusal) from refusal


def _ask(records: IRecords, draft: Draft, until: int, now: int) -> None:
    to, found = direct(draft.to), find_sent(records, draft.message_id)
    asked = None if found is None else questions.asked_in(found[1])
    if found is not None and asked is not None and (asked.text, asked.choices) == (draft.text, draft.choices):
        until = asked.until
        if found[0].conversation == to and found[1].content.kind == Kind.QUESTION and not asked.is_open(now):
            # Nothing is to be sent again.
            return
    body = encode_record(Question(draft.text, draft.choices, until))
    if len(body) > MAX_TEXT:
        raise Refusal("too-large")
    left, keep = max(until - now, 0), disappearing.chosen(records, to)
    write_in(
        records,
        to,
        body,
        now=now,
        message_id=draft.message_id,
        wants_receipt=asks(records, own_profile(records), to),
        expiry=min(max(left, MIN_EXPIRY), MAX_EXPIRY),
        kind=Kind.QUESTION,
        # It is not to disappear before it is over.
        keep=max(keep, left) if keep else 0,
    )


def close(store: IProfileStore, message_id: bytes) -> Sent | None:
    """
    Take no answer any more, unless there is one.

    @return: the question; C{None}: it has disappeared.
    """
    with store.writing() as records:
        found = find_sent(records, message_id)
        if found is not None and found[1].outcome is None:
            closed = msgspec.structs.replace(found[1], outcome=Outcome(closed=True))
            save(records, HISTORY, found[0].conversation.bucket, closed, found[0].history)
    return sent(store, message_id)


class NotAnswered(Exception):
    """
    No answer was given.

    @ivar code: C{no-question}: there is none. C{question-answered}, C{question-over}: it is not open any more.
        C{several-questions}: it is not clear which one is meant. C{not-a-choice}.
    @ivar name: who has asked; C{asked}: the questions that may be meant.
    """

    def __init__(self, code: str, name: str, asked: Sequence[Asked] = ()) -> None:
        super().__init__(code)
        self.code = code
        self.name = name
        self.asked = asked


def answer(store: IProfileStore, who: str, choice: str, *, now: float) -> tuple[str, bytes]:
    """
    Answer a question; that it is answered is noted in the same transaction.

    @param who: the name or the alias of who has asked; or, if that account has asked nothing, the first digits of the
        question's id.
    @param choice: see L{index_of}.
    @return: whom, and the message id of the answer.
    @raise NotAnswered: for one of its codes.
    @raise Refusal: see L{securemsg.client.messages.compose_in}.
    """
    with store.writing() as records:
        found = _find(records, who)
        if not found:
            raise NotAnswered("no-question", who)
        may_be_meant = [each for each in found if each[3].is_open(now)]
        to, seq, question, asked = may_be_meant[0] if may_be_meant else found[-1]
        if not may_be_meant:
            raise NotAnswered("question-answered" if asked.choice else "question-over", to.name, [asked])
        if len(may_be_meant) > 1:
            raise NotAnswered("several-questions", to.name, [each[3] for each in may_be_meant])
        index = index_of(asked.choices, choice)
        if index is None:
            raise NotAnswered("not-a-choice", to.name, [asked])
        profile, contact = own_profile(records), contacts.get_contact(records, to.account)
        assert contact is not None, "has asked"
        body = encode_record(questions.choose(profile, contact, question, index))
        message_id = write_in(
            records,
            to,
            body,
            now=int(now),
            wants_receipt=asks(records, profile, to),
            expiry=min(max(asked.until - int(now), MIN_EXPIRY), MAX_EXPIRY),
            kind=Kind.CHOICE,
        )
        written = find_sent(records, message_id)
        assert written is not None, "just now"
        known, row = written
        row = questions.note(records, to, seq, question, row, known.history)
        save(records, HISTORY, to.bucket, row, known.history)
    return to.name, message_id


def index_of(choices: Sequence[str], text: str) -> int | None:
    """Which choice is meant, by its text, its number from 1, or its text in another case; C{None}: none, or several."""
    if text in choices:
        return choices.index(text)
    if text.isascii() and text.isdigit() and len(text) <= 2 and 1 <= int(text) <= len(choices):
        return int(text) - 1
    alike = [index for index, choice in enumerate(choices) if choice.casefold() == text.casefold()]
    return alike[0] if len(alike) == 1 else None


def _find(records: IRecords, who: str) -> list[tuple[Conversation, int, HistoryRow, Asked]]:
    """The questions that may be meant, the oldest first."""
    to = direct(preferences.account_of(records, who))
    found = _listed(records, to)
    if found or len(who) < MIN_DIGITS:
        return found
    by_id = [_listed(records, direct(account_of(bucket))) for bucket in records.buckets(QUESTIONS)]
    return [each for listed in by_id for each in listed if each[3].id.hex().startswith(who)]


def _listed(records: IRecords, to: Conversation) -> list[tuple[Conversation, int, HistoryRow, Asked]]:
    rows = [(seq, row, questions.asked_in(row)) for seq, row in questions.listed(records, to.bucket)]
    return [(to, seq, row, asked) for seq, row, asked in rows if asked is not None]
