"""
Questions with choices, and the signed answers to them.

What has become of a question stands in its history row. A table lists the questions that we were asked, so that they are found.
Source: C{docs/protocol.md}, section "Questions".
"""

from __future__ import annotations

import msgspec
from attrs import field, frozen

from securemsg.client.state import contacts
from securemsg.client.state.contacts import Contact
from securemsg.client.state.conversations import Conversation, direct
from securemsg.client.state.profile import Profile
from securemsg.client.state.records import HISTORY, QUESTIONS, HistoryRow, Outcome, find_sent, load, save
from securemsg.crypto import keys
from securemsg.errors import Refusal, Unauthentic
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import CHOICE_LABEL, Choice, Content, Kind, Question, decode_record

# Questions of one contact that can be answered: the newest.
MAX_QUESTIONS = 100
# Characters of a question that are shown where it is only named.
SHOWN_QUESTION = 40
# Why an answer is ignored: codes of warnings.
BAD, LATE = "bad-answer", "late-answer"


@frozen
class Asked:
    """
    A question, as the message that asks it or answers it says.

    @ivar id: of the question; C{until}: when it is over; the rest is as in L{Outcome}.
    @ivar said: the text of the message: the question, or what was chosen.
    """

    id: bytes
    text: str = field(repr=False)
    choices: tuple[str, ...] = field(repr=False)
    until: int
    said: str = field(repr=False)
    outcome: Outcome

    @property
    def choice(self) -> str:
        """What was chosen; empty: nothing, yet."""
        return "" if self.outcome.choice is None else self.choices[self.outcome.choice]

    def is_open(self, now: float) -> bool:
        """Whether it can be answered."""
        return self.outcome.choice is None and not self.outcome.closed and now < self.until


def asked_in(row: HistoryRow) -> Asked | None:
    """The question that a message asks or answers; C{None}: it does neither."""
    content, outcome = row.content, row.outcome or Outcome()
    if content.kind == Kind.QUESTION:
        try:
            question = decode_record(Question, content.body)
        except Refusal:
            # An earlier release took it for a kind that nobody knows, and has not looked into it.
            return None
        return Asked(content.message_id, question.text, question.choices, question.until, question.text, outcome)
    if content.kind == Kind.CHOICE and outcome.choice is not None:
        question, chosen = decode_record(Question, outcome.question), decode_record(Choice, content.body)
        said = question.choices[outcome.choice]
        return Asked(chosen.question, question.text, question.choices, question.until, said, outcome)
    return None


def received(records: IRecords, conversation: Conversation, seq: int, message_id: bytes) -> None:
    """We were asked: list the question, in place of the oldest one of this contact if there are too many."""
    records.put(QUESTIONS, conversation.bucket, message_id, seq)
    if records.count(QUESTIONS, conversation.bucket) > MAX_QUESTIONS:
        [(_, oldest, _)] = records.scan(QUESTIONS, conversation.bucket, limit=1)
        records.delete(QUESTIONS, conversation.bucket, oldest)


def choose(profile: Profile, contact: Contact, question: HistoryRow, index: int) -> Choice:
    """Our answer to a question of a contact, signed."""
    content, own = question.content, profile.identity.public
    ends = contact.name, contact.identity, profile.name, own, profile.device_id
    parts = signed_parts(*ends, content.message_id, content.body, index)
    return Choice(content.message_id, index, profile.device_key.sign(CHOICE_LABEL, *parts))


def problem_of(records: IRecords, profile: Profile, contact: Contact, content: Content, now: int) -> str:
    """
    Why an answer is ignored: L{BAD}: it is none to a question that we have asked this contact, or is not signed by the device
    that sent it. L{LATE}: the question was answered, or is over. Empty: it counts.
    """
    chosen = decode_record(Choice, content.body)
    found = find_sent(records, chosen.question)
    if found is None or found[0].conversation != direct(contact.name):
        return BAD
    question = found[1].content
    asked, device = asked_in(found[1]), contacts.device(contact, content.device)
    if asked is None or device is None or chosen.index >= len(asked.choices):
        return BAD
    ends = profile.name, profile.identity.public, contact.name, contact.identity, device.id
    parts = signed_parts(*ends, question.message_id, question.body, chosen.index)
    try:
        keys.verify(device.signing_key, chosen.signature, CHOICE_LABEL, *parts)
    except Unauthentic:
        return BAD
    return "" if asked.is_open(now) else LATE


def answered(records: IRecords, answer: HistoryRow, seq: int) -> HistoryRow:
    """
    Note at our question that it is answered.

    @param seq: of the answer.
    @return: the answer, with what it answers.
    """
    chosen = decode_record(Choice, answer.content.body)
    found = find_sent(records, chosen.question)
    assert found is not None, "checked"
    known, question = found
    return note(records, known.conversation, known.history, question, answer, seq)


def note(
    records: IRecords, conversation: Conversation, place: int, question: HistoryRow, answer: HistoryRow, seq: int
) -> HistoryRow:
    """
    Note at a question that it is answered.

    @param place: seq of the question, C{seq}: of the answer.
    @return: the answer, with what it answers.
    """
    chosen = decode_record(Choice, answer.content.body)
    outcome = Outcome(chosen.index, answer.at, seq, chosen.signature, answer.content.device)
    save(records, HISTORY, conversation.bucket, msgspec.structs.replace(question, outcome=outcome), place)
    of_answer = msgspec.structs.replace(outcome, question=question.content.body)
    return msgspec.structs.replace(answer, outcome=of_answer)


def listed(records: IRecords, bucket: bytes) -> list[tuple[int, HistoryRow]]:
    """The questions that we were asked in a conversation, and their seqs, the oldest first."""
    rows = [(seq, load(records, HistoryRow, HISTORY, bucket, seq)) for _, seq, _ in records.scan(QUESTIONS, bucket)]
    return [(seq, row) for seq, row in rows if row is not None]


def signed_parts(
    asker: str, asker_identity: bytes, name: str, identity: bytes, device: bytes, question: bytes, body: bytes, index: int
) -> tuple[bytes, ...]:
    """
    What the signature of an answer covers, behind its label.

    @param asker: the account that has asked; C{name}: the one that answers, with C{device}.
    @param question: its message id; C{body}: of the question.
    @param index: of the choice.
    """
    ends = asker.encode(), asker_identity, name.encode(), identity, device
    return *ends, question, keys.sha256(body), index.to_bytes(8, "big")
