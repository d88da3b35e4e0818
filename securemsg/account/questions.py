"""Answers to questions, with errors in words."""

from __future__ import annotations

from securemsg.account.errors import error_for, explain
from securemsg.client import questions
from securemsg.client.questions import NotAnswered
from securemsg.errors import Refusal
from securemsg.interfaces import IProfileStore

# Digits of an id that are shown.
SHOWN_ID = 8
# Questions that an error lists, and characters of each.
MAX_LISTED = 10
MAX_SHOWN = 40


def answer(store: IProfileStore, who: str, choice: str, *, now: float) -> tuple[str, bytes]:
    """
    Answer a question; see L{securemsg.client.questions.answer}.

    @return: whom, and the message id of the answer.
    @raise SecuremsgError: it cannot be answered so.
    """
    try:
        return questions.answer(store, who, choice, now=now)
    except Refusal as refusal:
        raise explain(refusal, who) from None
    except NotAnswered as problem:
        code, name, asked = problem.code, problem.name, problem.asked
        hint = ""
        if code == "not-a-choice":
            hint = "choose one of: " + ", ".join(f"{number} {each}" for number, each in enumerate(asked[0].choices, 1))
        if code == "several-questions":
            shown = [f"{each.id.hex()[:SHOWN_ID]} {each.text[:MAX_SHOWN]!r}" for each in asked[-MAX_LISTED:]]
            hint = "answer one by its id: securemsg answer ID CHOICE; they are: " + ", ".join(shown)
        if code == "question-answered":
            raise error_for(code, name, text=f"you have answered {{name}} already: {asked[0].choice}") from None
        raise error_for(code, name, hint=hint) from None
