"""
A program's own account: it sends, and answers what comes.

This is what programs embed; C{docs/embedding.md} lists the names that stay as they are. Whatever dies in between: what was sent
goes out, and a message counts as handled only after it was, so that one whose handling was cut short comes again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from securemsg.account.compose import check_draft, commit
from securemsg.account.connection import AccountConnection, make_connection
from securemsg.account.errors import SecuremsgError, explain
from securemsg.account.flush import flush
from securemsg.account.folder import open_joined, storage_error
from securemsg.account.reader import MessageReader
from securemsg.account.readlocks import ReadLocks, take_read_lock
from securemsg.account.tracking import ACCEPTED, DELIVERED, follow
from securemsg.client import messages
from securemsg.client.autoresponder import answer_id, commit_answer
from securemsg.client.events import Warned
from securemsg.client.messages import DEFAULT_EXPIRY, Received, Sent
from securemsg.client.state.profile import Profile
from securemsg.client.state.vault import VaultError
from securemsg.errors import Refusal
from securemsg.interfaces import IProfileStore
from securemsg.protocol.envelope import Kind
from securemsg.storage.errors import StorageError
from securemsg.storage.files import FileLock

__all__ = ["Bot", "Received", "SecuremsgError", "Sent", "open_bot"]

NONE = "none"
WAITS = (ACCEPTED, DELIVERED, NONE)
# Seconds that C{send} waits unless told otherwise.
SEND_TIMEOUT = 30

_log = Logger()


def open_bot(
    reactor: Any,
    folder: str | Path,
    passphrase: str | bytes | None = None,
    *,
    host: str | None = None,
    port: int | None = None,
    warn: Callable[[Warned], None] | None = None,
) -> Bot:
    """
    The account whose profile lies in a folder, where C{securemsg join} has put it; to be entered with C{async with}.

    @param passphrase: of the profile, if it has one.
    @param host: where the server is, if not where the invite said; C{port} likewise.
    @param warn: is told what people should know; else the log is.
    @raise SecuremsgError: there is no such profile, or it cannot be opened.
    """
    path = Path(folder)
    store, profile = open_joined(path, passphrase.encode("utf-8") if isinstance(passphrase, str) else passphrase)
    server = (host or profile.host, port or profile.port)
    connection = make_connection(reactor, path, store, profile, server, now=time.time, again=True, warn=warn or _log_warning)
    return Bot(reactor, path, store, profile, connection)


@define(eq=False)
class Bot:
    """
    An account at work. It connects when it is entered, connects again whenever the connection is lost, and shares its profile
    with the commands that run beside it.
    """

    _reactor: Any
    _folder: Path
    _store: IProfileStore
    _profile: Profile
    _connection: AccountConnection
    _now: Callable[[], float] = time.time
    _read_locks: ReadLocks = field(init=False)
    _reader: FileLock | None = field(default=None, init=False)
    _messages: MessageReader | None = field(default=None, init=False)
    _trigger: Any = field(default=None, init=False)
    _stopped: Deferred[None] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """One turn-taker a process."""
        self._read_locks = ReadLocks(self._folder, self._store)

    @property
    def name(self) -> str:
        """The name of the account."""
        return self._profile.name

    async def __aenter__(self) -> Self:
        """
        Connect; this does not wait for the server.

        @raise SecuremsgError: the folder cannot be used.
        """
        # Runs however we end; before that the loop over `messages` ends, and whoever is inside can come out.
        self._trigger = self._reactor.addSystemEventTrigger("before", "shutdown", self._shut_down)
        try:
            with _explained():
                self._connection.start()
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """
        Leave: see off what is in the outbox, as far as that goes within seconds, then hang up.

        @return: whether C{error} only says that the reactor stops.
        """
        was_stopped = self._connection.is_stopped
        try:
            if error is None and not was_stopped:
                await flush(self._reactor, self._store, self._connection)
        finally:
            await self._leave()
        return was_stopped and isinstance(error, SecuremsgError) and error.code == "stopped"

    async def send(
        self,
        name: str,
        text: str,
        *,
        wait: str = ACCEPTED,
        id: bytes | None = None,  # noqa: A002 - it is called so everywhere else
        timeout: float | None = SEND_TIMEOUT,
        expires: int = DEFAULT_EXPIRY,
    ) -> Sent:
        """
        Send a message. It is committed before anything is waited for: from then on it goes out with the next connection,
        whatever becomes of this program.

        @param wait: C{accepted}: by the server, which has it on disk; C{delivered}: to a device of the recipient's; C{none}.
        @param id: 16 bytes of your own, which make it safe to send the same again: it is the same message.
        @param timeout: seconds; C{None}: for ever.
        @param expires: seconds that the server keeps it, at most and by default thirty days.
        @return: the message as it stands.
        @raise SecuremsgError: it was refused; or it did not come as far in time: then it is in the outbox, or on its way.
        """
        if wait not in WAITS:
            raise ValueError(f"wait is one of {', '.join(WAITS)}, not {wait!r}")
        check_draft(self.name, name, text, id, expires)
        with _explained():
            number = commit(self._store, name, text, wait, now=self._now(), message_id=id, expiry=expires)
            self._connection.nudge()
            if wait != NONE:
                return await follow(self._store, self._connection, number, wait, timeout)
            sent = messages.sent(self._store, number)
            assert sent is not None, "it was committed just now"
            return sent

    def messages(self, sender: str | None = None) -> MessageReader:
        """
        What comes, one message at a time and in order, for C{async for}. A message counts as handled when the next one is asked
        for, or L{done} or L{answer} is called with it.

        The loop ends when the reactor stops. Left by an exception or by C{break}, it leaves its last message to come again.

        @param sender: messages of this account only; others stay.
        @raise SecuremsgError: C{second-recv}: another process reads the messages of this profile.
        """
        if self._reader is None:
            self._reader = take_read_lock(self._folder)
        if self._messages is not None:
            self._messages.end()
        self._messages = MessageReader(self._store, self._connection, self._read_locks, sender)
        return self._messages

    def done(self, message: Received) -> None:
        """
        This message is handled: it does not come again.

        @raise SecuremsgError: that cannot be written.
        """
        with _explained():
            messages.mark_read(self._store, [message.seq])
        self._let_go(message)

    def answer(self, message: Received, text: str | None) -> bytes | None:
        """
        This message is handled, and this is the answer, which goes out once. Both are committed together. What is an answer
        itself is never answered, so that two bots do not talk for ever.

        @param text: what is longer than a message holds is cut off; C{None}: there is no answer.
        @return: the id of the answer, if there is one to be sent.
        @raise SecuremsgError: that cannot be written.
        """
        with _explained():
            written = commit_answer(self._store, message, text if message.kind == Kind.TEXT else None, self._now())
            self._let_go(message)
            if not written:
                return None
            self._connection.nudge()
        return answer_id(message.sender, message.id)

    def _let_go(self, message: Received) -> None:
        """Nobody has this message in hand any more."""
        if self._messages is not None:
            self._messages.let_go(message)

    async def _leave(self) -> None:
        """
        Hang up, and leave everything to others.

        @raise SecuremsgError: the files cannot be closed.
        """
        try:
            await self._hang_up()
        finally:
            # One that is being pulled cannot be taken away any more.
            trigger, self._trigger = self._trigger, None
            if trigger is not None:
                self._reactor.removeSystemEventTrigger(trigger)
            with _explained():
                self._close()

    def _shut_down(self) -> Deferred[None]:
        self._trigger = None
        return self._hang_up()

    def _close(self) -> None:
        if self._messages is not None:
            self._messages.end()
        if self._reader is not None:
            self._reader.free()
        self._read_locks.close()
        self._store.close()

    def _hang_up(self) -> Deferred[None]:
        """End the connection, once."""
        # Those who wait are woken, and may come here again before this returns.
        if self._stopped is None:
            self._stopped = stopped = Deferred[None]()
            self._connection.stop().addBoth(lambda result: stopped.callback(None))
        waiting: Deferred[None] = Deferred()
        self._stopped.addCallback(waiting.callback)
        return waiting


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Let every error that is no bug come out as L{SecuremsgError}."""
    try:
        yield
    except Refusal as refusal:
        raise explain(refusal) from None
    except (VaultError, StorageError) as error:
        raise storage_error(error) from error


def _log_warning(event: Warned) -> None:
    """What people should know, if nobody else tells them."""
    _log.warn("about {name}: {text} [{code}]", name=event.name, text=event.text, code=event.code)
