"""
The newcomer's end of a short invite: it turns a number and words into the invite that they stand for.

It has neither profile nor pin. The server that it asks is trusted with nothing: the invite comes from whoever has the same
words, and names the server that it is for. Source: C{docs/protocol.md}, section "Short invites".
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from zope.interface import implementer

from securemsg.client.login import check_any_challenge, greeting
from securemsg.crypto.pake import Agreed, Exchange
from securemsg.errors import Refusal, RemoteProtocolError, Unauthentic
from securemsg.protocol import messages as m
from securemsg.protocol.channel import IChannel, IPeer
from securemsg.protocol.invite import InviteLink, parse_invite


@implementer(IPeer)
@define(eq=False)
class Newcomer:
    """
    Asks once.

    @ivar done: called once, with the invite, or with why there is none: C{server-identity}: the server that passed it on is not
        the one that it is for; C{server-without-codes}; C{wrong-words}, C{no-answer}: and the number is used up;
        C{bad-invite}; or the code with which the connection ended.
    """

    _number: int
    _words: bytes = field(repr=False)
    _done: Callable[[InviteLink | Refusal], None]
    _channel: IChannel = field(init=False)
    _identity: bytes = field(default=b"", init=False)
    # Set once the number is used up.
    _agreed: Agreed | None = field(default=None, init=False)
    _is_over: bool = field(default=False, init=False)

    def opened(self, channel: IChannel) -> None:
        """See L{IPeer.opened}."""
        self._channel = channel
        try:
            channel.send(greeting("newcomer", channel.binding))
        except Refusal as refusal:
            self._end(refusal)

    def received(self, message: m.Message | m.Unknown) -> None:
        """
        See L{IPeer.received}.

        @raise RemoteProtocolError: the server broke the protocol.
        """
        step = _ON_MESSAGE.get(type(message))
        if step is None:
            raise RemoteProtocolError("out-of-turn")
        try:
            step(self, message)
        except Refusal as refusal:
            self._end(refusal)

    def writable(self, yes: bool) -> None:
        """See L{IPeer.writable}."""

    def closed(self, code: str) -> None:
        """See L{IPeer.closed}."""
        if self._agreed is not None and code in ("timeout", "lost"):
            code = "no-answer"
        elif not self._identity and code == "malformed":
            # A server that does not know the role in Hello.
            code = "server-without-codes"
        self._end(Refusal(code))

    def _challenged(self, challenge: m.Challenge) -> None:
        """
        Note which server this is, and ask.

        @raise Refusal: C{server-identity}: somebody is between us and it; C{server-without-codes}.
        @raise RemoteProtocolError: C{unsupported-version}.
        """
        connection = self._channel.connection
        check_any_challenge(connection.hello, challenge, self._channel.binding)
        self._identity = challenge.identity
        if not connection.has_short_invites:
            raise Refusal("server-without-codes")
        self._channel.send(m.AskCode(self._number))

    def _told(self, message: m.CodeMessage) -> None:
        """
        Answer the inviter.

        @raise RemoteProtocolError: C{malformed}: no inviter has said that.
        """
        exchange = Exchange(self._words, False)
        try:
            self._agreed = exchange.finish(message.pake, self._number)
        except Unauthentic:
            raise RemoteProtocolError("malformed") from None
        self._channel.send(m.UseCode(exchange.message, self._agreed.proof()))

    def _answered(self, answer: m.CodeAnswer) -> None:
        """
        Open the invite.

        @raise Refusal: C{wrong-words}: whoever answers does not have them; C{bad-invite}, C{server-identity}.
        """
        assert self._agreed is not None, "the phases put CodeMessage first"
        try:
            link = parse_invite(self._agreed.unseal(answer.sealed).decode())
        except Unauthentic:
            raise Refusal("wrong-words") from None
        except UnicodeDecodeError:
            raise Refusal("bad-invite") from None
        if link.pin != self._identity:
            raise Refusal("server-identity")
        self._end(link)

    def _end(self, result: InviteLink | Refusal) -> None:
        """Hang up, and report."""
        if not self._is_over:
            self._is_over = True
            self._channel.close()
            self._done(result)


# What a newcomer does with each message of the server.
_ON_MESSAGE: dict[type, Callable[..., None]] = {
    m.Challenge: Newcomer._challenged,
    m.CodeMessage: Newcomer._told,
    m.CodeAnswer: Newcomer._answered,
}
