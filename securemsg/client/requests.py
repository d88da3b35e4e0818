"""Questions to the server that wait for their answers."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from attrs import define, field

from securemsg.errors import Refusal
from securemsg.protocol import messages as m

Question = m.Fetch | m.Claim | m.Upload | m.Publish | m.Invite | m.Ping | m.OpenCode | m.AnswerCode
Answer = m.Account | m.Bundle | m.Done | m.Invited | m.Pong | m.CodeOpened
Callback = Callable[[Answer | Refusal], None]

# How long an answer may take while no bytes move, seconds. The server has little work with each.
TIMEOUT = 30
# Open questions: the user asks few, and the agent asks one for each conversation that waits.
MAX_OPEN = 256

# Which answer belongs to which question.
ANSWERS: dict[type, type] = {
    m.Fetch: m.Account,
    m.Claim: m.Bundle,
    m.Upload: m.Done,
    m.Publish: m.Done,
    m.Invite: m.Invited,
    m.Ping: m.Pong,
    m.OpenCode: m.CodeOpened,
    m.AnswerCode: m.Done,
}


@define(eq=False)
class Requests:
    """The questions of one connection, by number."""

    _last: int = 0
    _open: dict[int, tuple[type, Callback, float, int]] = field(init=False, factory=dict, repr=False)

    def number(self, question: Question, callback: Callback, seconds: float) -> Question | None:
        """
        Give a question its number.

        @return: what is to be sent; C{None}: there are too many, and the callback got the refusal C{busy}.
        """
        if len(self._open) >= MAX_OPEN:
            callback(Refusal("busy"))
            return None
        self._last += 1
        numbered = msgspec.structs.replace(question, request=self._last)
        self._open[self._last] = (ANSWERS[type(question)], callback, seconds, len(m.encode_message(numbered)))
        return numbered

    def answer(self, message: Answer | m.Refused) -> bool:
        """
        Pass an answer of the server to the callback of its question.

        @return: whether it was asked. An answer that comes too late is ignored.
        """
        found = self._open.pop(message.request, None)
        if found is None:
            return 0 < message.request <= self._last
        expected, callback, *_ = found
        if isinstance(message, m.Refused):
            callback(Refusal(message.code))
        elif type(message) is expected:
            callback(message)
        else:
            callback(Refusal("malformed"))
            return False
        return True

    @property
    def size(self) -> int:
        """The bytes of all open questions."""
        return sum(size for *_, size in self._open.values())

    def expire(self, seconds: float, quiet_since: float) -> None:
        """Give up on what was not answered in time, which counts from when nothing was on its way any more."""
        for number, (_, callback, asked_at, _) in list(self._open.items()):
            if seconds - max(asked_at, quiet_since) >= TIMEOUT:
                del self._open[number]
                callback(Refusal("timeout"))

    def abandon(self, code: str) -> None:
        """Refuse all open questions: the connection is gone."""
        waiting = list(self._open.values())
        self._open.clear()
        for _, callback, *_ in waiting:
            callback(Refusal(code))
