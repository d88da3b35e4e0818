"""
The inviter's end of a short invite: a number and words that stand for an invite for ten minutes, once.

All of it is in memory, and ends with the connection. Source: C{docs/protocol.md}, section "Short invites".
"""

from __future__ import annotations

from attrs import define, field, frozen

from securemsg.client.context import Context
from securemsg.client.events import ShortInviteEnded
from securemsg.client.requests import Answer, Callback
from securemsg.crypto.pake import Exchange
from securemsg.errors import Refusal, Unauthentic
from securemsg.protocol import messages as m

# How one ends other than by its invite being passed on, beside the codes of the wire: its time is over; another one was opened.
OVER = "over"
REPLACED = "replaced"
GUESSED = "words-guessed"


@frozen
class _Opened:
    """A short invite that nobody has used yet."""

    number: int
    exchange: Exchange
    invite: bytes = field(repr=False)
    opened_at: float


@define(eq=False)
class ShortInvites:
    """The one short invite that an account can have."""

    _context: Context
    _opened: _Opened | None = field(default=None, init=False)

    def open(self, words: str, invite: str, callback: Callback) -> None:
        """
        Ask the server for a number.

        @param words: the six, in lower case, with hyphens between them.
        @param callback: gets L{m.CodeOpened}, or why there is none: C{server-without-codes}, or as the server says.
        """
        if not self._context.has_short_invites:
            callback(Refusal("server-without-codes"))
            return
        exchange = Exchange(words.encode(), True)

        def answered(answer: Answer | Refusal) -> None:
            if isinstance(answer, m.CodeOpened):
                self.end(REPLACED)
                self._opened = _Opened(answer.number, exchange, invite.encode(), self._context.seconds())
            callback(answer)

        self._context.ask(m.OpenCode(0, exchange.message), answered)

    def used(self, message: m.CodeUsed) -> None:
        """Somebody used the number: the invite is for whoever proves to have the words. There is no second try."""
        self.tick()
        opened = self._opened
        if opened is None or opened.number != message.number:
            return
        self._opened = None
        try:
            agreed = opened.exchange.finish(message.pake, opened.number)
            agreed.check(message.proof)
        except Unauthentic:
            self._context.ask(m.AnswerCode(0, opened.number, b""), lambda answer: None)
            with self._context.store.writing() as records:
                self._context.warn(records, GUESSED, about=opened.exchange.message)
            self._context.notify(ShortInviteEnded(opened.number, GUESSED))
            return

        def answered(answer: Answer | Refusal) -> None:
            code = answer.code if isinstance(answer, Refusal) else ""
            self._context.notify(ShortInviteEnded(opened.number, code))

        self._context.ask(m.AnswerCode(0, opened.number, agreed.seal(opened.invite)), answered)

    def tick(self) -> None:
        """End what was open for long enough; whatever the server thinks."""
        if self._opened is not None and self._context.seconds() - self._opened.opened_at >= m.CODE_LIFETIME:
            self.end(OVER)

    def end(self, code: str) -> None:
        """End the one that is open, if there is one: its number is gone, as when the connection is."""
        opened, self._opened = self._opened, None
        if opened is not None:
            self._context.notify(ShortInviteEnded(opened.number, code))
