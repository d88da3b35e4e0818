"""
To answer by machine: every text gets one answer, whenever the machine died in between.

Answers are of a kind of their own, which nothing answers, so that two machines cannot talk for ever.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from securemsg.client.journal import PAGE, Received, compose_in, ungiven
from securemsg.client.records import INBOUND, INDEX, ROWS
from securemsg.client.retention import Retention
from securemsg.crypto import keys
from securemsg.errors import Refusal
from securemsg.interfaces import IProfileStore
from securemsg.protocol.envelope import Kind
from securemsg.protocol.messages import MAX_TEXT

ANSWER_LABEL = b"securemsg/1 answer"


def answer_id(question: Received) -> bytes:
    """
    The message id of the answer to a question: always the same, so that nothing is answered twice.
    """
    return keys.digest(ANSWER_LABEL, question.sender.encode("utf-8"), question.id)[: keys.ID_SIZE]


@define
class Answerer:
    """
    Reads what came to a store, and writes answers into it.

    @ivar answer: makes the answer to a message, or none. It may be asked again about a message, if we died meanwhile.
    @ivar retention: what is kept of what was answered; C{None}: everything.
    """

    _store: IProfileStore
    _answer: Callable[[Received], str | None]
    _retention: Retention | None = None

    def run(self, now: float) -> int:
        """
        Answer everything that was not given yet. To be called after every change.

        @return: how many answers were written.
        """
        count = 0
        while fresh := ungiven(self._store):
            for question in fresh:
                text = self._answer(question) if question.kind == Kind.TEXT else None
                count += self._settle(question, text, int(now))
            if len(fresh) < PAGE:
                break
        return count

    def _settle(self, question: Received, text: str | None, now: int) -> bool:
        """
        Commit the answer together with the mark that says so.

        @return: whether there is a new one.
        """
        message_id = answer_id(question)
        with self._store.writing() as records:
            if records.get(INBOUND, ROWS, question.order) is None:
                # Another process was faster.
                return False
            records.delete(INBOUND, ROWS, question.order)
            written = text is not None and records.get(INDEX, message_id) is None
            if text is not None and written:
                try:
                    compose_in(records, question.sender, fitting(text), now=now, message_id=message_id, kind=Kind.ANSWER)
                except Refusal:
                    # Nothing can be written to this name; the question is settled all the same.
                    written = False
            if self._retention is not None:
                self._retention.trim(records, question.sender, now)
        return written


def fitting(text: str) -> str:
    """
    As much of a text as one message holds; what is no text becomes question marks.
    """
    return text.encode("utf-8", "replace")[:MAX_TEXT].decode("utf-8", "ignore")
