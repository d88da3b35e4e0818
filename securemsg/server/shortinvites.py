"""
Short invites: a number that stands for an account's invite for ten minutes, and two messages that pass under it.

The server knows the number and neither the words nor the invite. All of it is in memory, and ends with the connection of the
inviter. Each number is good for one try of one newcomer, who needs no account.

Source: C{docs/protocol.md}, section "Short invites".
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from securemsg.crypto import keys
from securemsg.errors import Refusal, RemoteProtocolError
from securemsg.protocol.messages import (
    CODE_LIFETIME,
    MAX_CODE_NUMBER,
    AnswerCode,
    AskCode,
    CodeAnswer,
    CodeMessage,
    CodeOpened,
    CodeUsed,
    Done,
    OpenCode,
    UseCode,
)
from securemsg.server.connection import ClientConnection, Role
from securemsg.server.directory import Directory
from securemsg.server.limits import Buckets, Settings

# The key of the one bucket that all newcomers share.
EVERYBODY = 0


@define(eq=False)
class ShortInvite:
    """
    A number that is taken.

    @ivar pake: what the inviter says to whoever asks.
    @ivar opened_at: in monotonic seconds.
    @ivar newcomer: who has used the number and waits for an answer.
    """

    number: int
    inviter: ClientConnection = field(repr=False)
    pake: bytes
    opened_at: float
    newcomer: ClientConnection | None = field(default=None, repr=False)

    def is_unused(self, now: float) -> bool:
        """Whether nobody has used it, and its time is not over."""
        return self.newcomer is None and now < self.opened_at + CODE_LIFETIME


@define(eq=False)
class ShortInvites:
    """
    Gives numbers, and passes messages between an inviter and a newcomer.

    @ivar _failures: limits newcomers who ask for numbers that there are not.
    """

    _settings: Settings
    _directory: Directory
    _failures: Buckets
    _seconds: Callable[[], float]
    _by_number: dict[int, ShortInvite] = field(init=False, factory=dict, repr=False)
    _by_account: dict[str, ShortInvite] = field(init=False, factory=dict, repr=False)
    # What each newcomer has asked for.
    _asked: dict[ClientConnection, ShortInvite] = field(init=False, factory=dict, repr=False)

    def __len__(self) -> int:
        """The number of short invites that are in memory."""
        return len(self._by_number)

    # --- the inviter ------------------------------------------------------------------------------------------------

    def open(self, connection: ClientConnection, message: OpenCode) -> None:
        """
        Give an account a number, in place of the one that it has.

        @raise Refusal: C{forbidden}: the client did not announce short invites; C{rate-limited}; C{too-many-codes}.
        """
        if not connection.channel.connection.has_short_invites:
            raise Refusal("forbidden")
        self._directory.count(connection)
        name = connection.device.account.name
        if (replaced := self._by_account.get(name)) is not None:
            self._drop(replaced)
        now = self._seconds()
        for old in [old for old in self._by_number.values() if old.newcomer is None and not old.is_unused(now)]:
            self._drop(old)
        if len(self._by_number) >= self._settings.max_short_invites:
            raise Refusal("too-many-codes")
        made = ShortInvite(self._free_number(), connection, message.pake, now)
        self._by_number[made.number] = self._by_account[name] = made
        connection.send(CodeOpened(message.request, made.number))

    def answer(self, connection: ClientConnection, message: AnswerCode) -> None:
        """
        Pass the encrypted invite on to the newcomer, or say that the words were wrong.

        @raise Refusal: C{no-such-code}: the newcomer is gone, or there never was one.
        """
        found = self._by_number.get(message.number)
        if found is None or found.inviter is not connection or found.newcomer is None:
            raise Refusal("no-such-code")
        newcomer, found.newcomer = found.newcomer, None
        self._drop(found)
        if message.sealed:
            newcomer.send(CodeAnswer(message.sealed))
            newcomer.end("")
        else:
            newcomer.end("wrong-words")
        connection.send(Done(message.request))

    # --- the newcomer -----------------------------------------------------------------------------------------------

    def ask(self, connection: ClientConnection, message: AskCode) -> None:
        """
        Tell a newcomer what the inviter said.

        @raise Refusal: C{no-such-code}; C{rate-limited}: many others have asked in vain.
        @raise RemoteProtocolError: C{out-of-turn}: the Hello announced something else.
        """
        hello = connection.hello
        assert hello is not None, "the phases put Hello first"
        if hello.role != "newcomer" or not connection.channel.connection.has_short_invites:
            raise RemoteProtocolError("out-of-turn")
        found = self._asked[connection] = self._unused(self._by_number.get(message.number))
        connection.send(CodeMessage(found.pake))

    def use(self, connection: ClientConnection, message: UseCode) -> None:
        """
        Pass a newcomer's message on to the inviter. The number is used up, whatever becomes of it.

        @raise Refusal: C{no-such-code}: somebody else was faster, or it has ended; C{rate-limited}.
        """
        found = self._unused(self._asked[connection])
        found.newcomer = connection
        found.inviter.send(CodeUsed(found.number, message.pake, message.proof))

    # --- both -------------------------------------------------------------------------------------------------------

    def left(self, connection: ClientConnection) -> None:
        """A connection has ended: so has its short invite, or the wait for an answer."""
        found = self._asked.pop(connection, None)
        if found is not None and found.newcomer is connection:
            found.newcomer = None
            self._drop(found)
        if connection.role is Role.DEVICE:
            own = self._by_account.get(connection.device.account.name)
            if own is not None and own.inviter is connection:
                self._drop(own)

    def _unused(self, found: ShortInvite | None) -> ShortInvite:
        """
        A short invite that somebody may ask for or use.

        @raise Refusal: C{no-such-code}, C{rate-limited}: it is none.
        """
        if found is not None and self._by_number.get(found.number) is found and found.is_unused(self._seconds()):
            return found
        raise Refusal("no-such-code" if self._failures.consume(EVERYBODY) else "rate-limited")

    def _free_number(self) -> int:
        """A number with as few digits as there are; which one is random, so that an old one is seldom somebody else's now."""
        first, free = 1, list[int]()
        while not free:
            last = min(10 * first - 1, MAX_CODE_NUMBER)
            free = [number for number in range(first, last + 1) if number not in self._by_number]
            first *= 10
        return free[int.from_bytes(keys.random_bytes(8), "big") % len(free)]

    def _drop(self, made: ShortInvite) -> None:
        """Free the number; a newcomer who waits hears that nobody answers."""
        if self._by_number.get(made.number) is made:
            del self._by_number[made.number]
            del self._by_account[made.inviter.device.account.name]
        newcomer, made.newcomer = made.newcomer, None
        if newcomer is not None:
            newcomer.end("no-answer")
