"""
Asks questions with choices, and answers them.

Source: C{docs/protocol.md}, section "Questions".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from attrs import field, frozen

from securemsg.account.errors import SecuremsgError, error_for, explain
from securemsg.client.messages import own_profile, write_in
from securemsg.client.state import contacts, disappearing, preferences, questions
from securemsg.client.state.conversations import Conversation, account_of, direct
from securemsg.client.state.questions import SHOWN_QUESTION, Asked
from securemsg.client.state.receipts import asks
from securemsg.client.state.records import HISTORY, QUESTIONS, HistoryRow, Outcome, find_sent, save
from securemsg.client.unsent import SHORTEST_ID
from securemsg.errors import Refusal
from securemsg.interfaces import IProfileStore, IRecords
from securemsg.protocol.devices import ROOM_MARK, SERVER_NAME
from securemsg.protocol.envelope import Kind, Question, encode_record
from securemsg.protocol.messages import MAX_TEXT

# Hex digits of a question's id that are shown.
SHOWN_ID = 8
# Questions that an error lists.
MAX_LISTED = 10


@frozen
class Draft:
    """
    A question that is to be asked.

    @ivar message_id: with the same one it is the same question.
    """

    to: str
    message_id: bytes
    text: str = field(repr=False)
    choices: tuple[str, ...] = field(repr=False)


def ask(store: IProfileStore, drafts: Iterable[Draft], until: int, *, now: float) -> None:
    """
    Ask all of these, or none. What was asked before under the same id stays as it is, with the time it had.

    @param until: when they are over, by our clock.
    @raise SecuremsgError: one is refused. C{conflict}: its id belongs to another message.
    """
    with store.writing() as records:
        for draft in drafts:
            try:
                _ask(records, draft, until, int(now))
            except Refusal as refusal:
                raise explain(refusal, draft.to) from None


def _ask(records: IRecords, draft: Draft, until: int, now: int) -> None:
    if draft.to.startswith(ROOM_MARK) or draft.to == SERVER_NAME:
        raise error_for("no-questions", draft.to)
    to, found = direct(draft.to), find_sent(records, draft.message_id)
    asked = None if found is None else questions.asked_in(found[1])
    if found is not None and asked is not None and (asked.text, asked.choices) == (draft.text, draft.choices):
        until = asked.until
        if found[0].conversation == to and found[1].content.kind == Kind.QUESTION and not asked.is_open(now):
            # Nothing is to be sent again.
            return
    body = encode_record(Question(draft.text, draft.choices, until))
    if len(body) > MAX_TEXT:
        raise error_for("too-large")
    left, keep = until - now, disappearing.chosen(records, to)
    # It is not to disappear before it is over.
    _write(records, to, Kind.QUESTION, body, now, draft.message_id, max(keep, left) if keep else 0)


def _write(
    records: IRecords, to: Conversation, kind: Kind, body: bytes, now: int, message_id: bytes | None = None,
    keep: int | None = None,
) -> bytes:  # fmt: skip
    """Write a message. One that comes too late is delivered, too: else it would be missed."""
    return write_in(
        records,
        to,
        body,
        now=now,
        message_id=message_id,
        wants_receipt=asks(records, own_profile(records), to),
        kind=kind,
        keep=keep,
    )


def close(store: IProfileStore, message_id: bytes) -> None:
    """Take no answer to a question of ours any more, unless there is one."""
    with store.writing() as records:
        found = find_sent(records, message_id)
        if found is not None and found[1].outcome is None:
            closed = msgspec.structs.replace(found[1], outcome=Outcome(closed=True))
            save(records, HISTORY, found[0].conversation.bucket, closed, found[0].history)


def answer(store: IProfileStore, who: str, choice: str, *, now: float, is_account: bool = False) -> tuple[str, bytes]:
    """
    Answer a question; that it is answered is noted in the same transaction.

    @param who: the name or the alias of who has asked; or, if that account has asked nothing, the first digits of the
        question's id.
    @param is_account: C{who} is an account's name, and nothing else.
    @param choice: see L{index_of}.
    @return: whom, and the message id of the answer.
    @raise SecuremsgError: no question can be meant, or several; or it cannot be answered so.
    """
    with store.writing() as records:
        try:
            return _answer(records, who, choice, int(now), is_account)
        except Refusal as refusal:
            raise explain(refusal, who) from None


def _answer(records: IRecords, who: str, choice: str, now: int, is_account: bool) -> tuple[str, bytes]:
    found = _listed(records, direct(who)) if is_account else _find(records, who)
    open_questions = [each for each in found if each[3].is_open(now)]
    if not found:
        raise error_for("no-question", who)
    to, seq, question, asked = (open_questions or found)[-1]
    if len(open_questions) > 1:
        raise _several(to.name, [each[3] for each in open_questions])
    if asked.choice:
        raise error_for("question-answered", to.name, text=f"you have answered {to.name} already: {asked.choice}")
    if not open_questions:
        raise error_for("question-over", to.name)
    index = index_of(asked.choices, choice)
    if index is None:
        listed = ", ".join(f"{number} {each}" for number, each in enumerate(asked.choices, 1))
        raise error_for("not-a-choice", to.name, hint=f"choose one of: {listed}")
    contact = contacts.get_contact(records, to.account)
    assert contact is not None, "has asked"
    body = encode_record(questions.choose(own_profile(records), contact, question, index))
    message_id = _write(records, to, Kind.CHOICE, body, now)
    written = find_sent(records, message_id)
    assert written is not None, "just now"
    known, row = written
    save(records, HISTORY, to.bucket, questions.note(records, to, seq, question, row, known.history), known.history)
    return to.name, message_id


def _several(name: str, asked: Sequence[Asked]) -> SecuremsgError:
    shown = ", ".join(f"{each.id.hex()[:SHOWN_ID]} {each.text[:SHOWN_QUESTION]!r}" for each in asked[-MAX_LISTED:])
    return error_for("several-questions", name, hint=f"answer one by its id: securemsg answer ID CHOICE; they are: {shown}")


def index_of(choices: Sequence[str], text: str) -> int | None:
    """Which choice is meant, by its text, its number from 1, or its text in another case; C{None}: none, or several."""
    if text in choices:
        return choices.index(text)
    if text in map(str, range(1, len(choices) + 1)):
        return int(text) - 1
    alike = [index for index, choice in enumerate(choices) if choice.casefold() == text.casefold()]
    return alike[0] if len(alike) == 1 else None


def _find(records: IRecords, who: str) -> list[tuple[Conversation, int, HistoryRow, Asked]]:
    """The questions that may be meant, with their seqs, the oldest first."""
    found = _listed(records, direct(preferences.account_of(records, who)))
    if found or len(who) < SHORTEST_ID:
        return found
    listed = [_listed(records, direct(account_of(bucket))) for bucket in records.buckets(QUESTIONS)]
    return [each for rows in listed for each in rows if each[3].id.hex().startswith(who.lower())]


def _listed(records: IRecords, to: Conversation) -> list[tuple[Conversation, int, HistoryRow, Asked]]:
    rows = [(seq, row, questions.asked_in(row)) for seq, row in questions.listed(records, to.bucket)]
    return [(to, seq, row, asked) for seq, row, asked in rows if asked is not None]
