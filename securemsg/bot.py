"""
An account for programs: it sends messages, and receives and answers them.

This is the public interface for embedding; C{docs/embedding.md} lists the names that are stable. A crash loses nothing:
the outbox is sent with the next connection, and a message whose handling was cut short is received again.
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

from securemsg.account.address import address_of
from securemsg.account.compose import check_draft, commit_all, draft_of
from securemsg.account.connection import AccountConnection, make_connection
from securemsg.account.errors import SecuremsgError, explain
from securemsg.account.flush import flush
from securemsg.account.folder import open_joined, storage_error
from securemsg.account.names import full_name
from securemsg.account.reader import MessageReader
from securemsg.account.readlocks import ReadLocks, take_read_lock
from securemsg.account.rooms import is_room
from securemsg.account.tracker import Tracker
from securemsg.account.tracking import ACCEPTED, DELIVERED, follow
from securemsg.client import messages
from securemsg.client.autoresponder import answer_id, commit_answer
from securemsg.client.events import Warned
from securemsg.client.messages import Draft, Received, Sent
from securemsg.client.state.profile import Profile
from securemsg.client.state.vault import VaultError
from securemsg.errors import Refusal
from securemsg.interfaces import IProfileStore
from securemsg.protocol.envelope import Kind
from securemsg.protocol.hosts import parse_host
from securemsg.protocol.messages import MAX_EXPIRY
from securemsg.storage.errors import StorageError
from securemsg.storage.files import FileLock

__all__ = ["Bot", "Received", "SecuremsgError", "Sent", "open_bot"]

NONE = "none"
WAITS = (ACCEPTED, DELIVERED, NONE)
# Default timeout of L{Bot.send}, seconds.
SEND_TIMEOUT = 30
# Messages that are committed in one transaction.
MAX_TOGETHER = 256

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
    Open the account whose profile C{securemsg join} has created in a folder; use the result with C{async with}.

    @param passphrase: of the profile, if it has one.
    @param host: host to connect to, instead of the one in the invite; C{port} likewise.
    @param warn: called with each warning for the user; by default warnings are logged.
    @raise SecuremsgError: there is no such profile, or it cannot be opened.
    """
    path = Path(folder)
    elsewhere = None if host is None else parse_host(host)
    store, profile = open_joined(path, passphrase.encode("utf-8") if isinstance(passphrase, str) else passphrase)
    server = address_of(profile, elsewhere, port)
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
    _drafts: list[tuple[Draft, Deferred[bytes]]] = field(factory=list, init=False)
    _tracker: Tracker = field(init=False)
    _trigger: Any = field(default=None, init=False)
    _stopped: Deferred[None] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """Create the read locks: a process must have only one L{ReadLocks} for a profile."""
        self._read_locks = ReadLocks(self._folder, self._store)
        self._tracker = Tracker(self._reactor, self._store, self._connection)

    @property
    def name(self) -> str:
        """The name of the account."""
        return self._profile.name

    async def __aenter__(self) -> Self:
        """
        Connect; this does not wait for the server.

        @raise SecuremsgError: the folder cannot be used.
        """
        # Runs on every shutdown. It ends the loop over `messages`, so that the code inside can finish.
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
        Leave: give the outbox a few seconds to be sent, then hang up.

        @return: whether C{error} only means that the reactor is stopping.
        """
        was_stopped = self._connection.is_stopped
        try:
            if error is None and not was_stopped:
                await flush(self._reactor, self._store, self._connection, self._now)
        finally:
            await self._leave()
        return was_stopped and isinstance(error, SecuremsgError) and error.code == "stopped"

    async def send(
        self,
        name: str,
        text: str,
        *,
        wait: str = ACCEPTED,
        id: bytes | None = None,  # noqa: A002 - the name that options and JSON use, too
        timeout: float | None = SEND_TIMEOUT,
        expires: int = MAX_EXPIRY,
        to_newcomers: bool = False,
    ) -> Sent:
        """
        Send a message. First it is committed to the outbox, together with what else is sent in this turn of the reactor: from
        then on it is sent with the next connection, even if this program dies.

        @param wait: C{accepted}: the server has it on disk, or all devices of the recipient have it; in a room it was relayed,
            too. C{delivered}: a device of the recipient's has it. C{none}.
        @param id: 16 bytes of your own; sending again with the same id cannot duplicate the message.
        @param timeout: seconds; C{None}: forever.
        @param to_newcomers: in a room: it may go to members who join before it is accepted; else it waits if somebody does.
        @param expires: how long the server keeps it, seconds; thirty days at most, and by default.
        @return: the message as it stands.
        @raise SecuremsgError: it was refused, or did not get that far in time; then it is still in the outbox, or on its way.
        """
        if wait not in WAITS:
            raise ValueError(f"wait is one of {', '.join(WAITS)}, not {wait!r}")
        check_draft(self.name, name, text, id, expires)
        with _explained():
            draft = draft_of(name, text, wait, message_id=id, expiry=expires, to_newcomers=to_newcomers)
            message_id = await self._commit(draft)
            if wait != NONE and id is not None:
                return await follow(self._store, self._connection, message_id, wait, timeout)
            if wait != NONE:
                return await self._tracker.follow(name, message_id, wait, timeout)
            sent = messages.sent(self._store, message_id)
            assert sent is not None, "it was committed just now"
            return sent

    def _commit(self, draft: Draft) -> Deferred[bytes]:
        """
        Commit a message at the end of this turn, together with others.

        @return: fires with its id, once it is committed.
        """
        if not self._drafts:
            self._connection.at_end_of_turn(self._commit_drafts)
        committed: Deferred[bytes] = Deferred()
        self._drafts.append((draft, committed))
        return committed

    def _commit_drafts(self) -> None:
        """Commit what was given in this turn."""
        drafts, self._drafts = self._drafts, []
        results: list[bytes | Exception] = []
        while len(results) < len(drafts):
            page = [draft for draft, _ in drafts[len(results) : len(results) + MAX_TOGETHER]]
            results += self._commit_page(page)
        try:
            self._connection.nudge()
        except StorageError as error:
            results = [error] * len(drafts)
        for (_, committed), result in zip(drafts, results, strict=True):
            if committed.called:
                # The program has cancelled it meanwhile.
                continue
            if isinstance(result, Exception):
                committed.errback(result)
            else:
                committed.callback(result)

    def _commit_page(self, page: list[Draft]) -> list[bytes | Exception]:
        """Commit some messages in one transaction; if one is so bad that it fails, each alone."""
        try:
            return [*commit_all(self._store, page, now=self._now())]
        except (Refusal, StorageError) as error:
            return [error] * len(page)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is given to whoever waits
            return [error] if len(page) == 1 else [result for draft in page for result in self._commit_page([draft])]

    def messages(self, sender: str | None = None, *, rooms: bool = False) -> MessageReader:
        """
        Received messages, one at a time and in order, for C{async for}. A message counts as handled when the next one is asked
        for, or when it is passed to L{done} or L{answer}.

        The loop ends when the reactor stops. If an exception or C{break} ends it, its last message is received again.

        @param sender: messages of this account only, or in this room; others stay.
        @param rooms: with what is said and what happens in rooms; else that stays, unless C{sender} is a room.
        @raise SecuremsgError: C{second-recv}: another process reads the messages of this profile. C{no-such-room}.
        """
        if sender is not None:
            sender = full_name(self._store, sender)
        if self._reader is None:
            self._reader = take_read_lock(self._folder)
        if self._messages is not None:
            self._messages.end()
        in_rooms = rooms or is_room(sender)
        self._messages = MessageReader(self._store, self._connection, self._read_locks, sender, in_rooms)
        return self._messages

    def done(self, message: Received) -> None:
        """
        Mark a message as handled: it is not received again. Within a loop this is committed at the end of the turn.

        @raise SecuremsgError: the profile cannot be written; within a loop the next request for a message may raise it instead.
        """
        with _explained():
            if self._messages is None:
                messages.mark_read(self._store, [message.seq], now=self._now())
            else:
                self._messages.handled(message)

    def answer(self, message: Received, text: str | None) -> bytes | None:
        """
        Answer a message, and mark it as handled. Both are committed together, and the answer is sent once, in a room to all its
        members. Answers are never answered themselves, so that two bots do not talk forever.

        @param text: cut off at the largest size of a message; C{None}: no answer.
        @return: the id of the answer, if there is one to be sent.
        @raise SecuremsgError: the profile cannot be written.
        """
        with _explained():
            written = commit_answer(self._store, message, text if message.kind == Kind.TEXT else None, self._now())
            self._let_go(message)
            if not written:
                return None
            self._connection.nudge()
        return answer_id(message.sender, message.id)

    def _let_go(self, message: Received) -> None:
        """Release a message, if the loop still holds it."""
        if self._messages is not None:
            self._messages.let_go(message)

    async def _leave(self) -> None:
        """
        Hang up, and free the locks and the profile.

        @raise SecuremsgError: the files cannot be closed.
        """
        try:
            await self._hang_up()
        finally:
            # A trigger that has fired, or is firing, cannot be removed.
            trigger, self._trigger = self._trigger, None
            if trigger is not None:
                self._reactor.removeSystemEventTrigger(trigger)
            with _explained():
                self._close()

    def _shut_down(self) -> Deferred[None]:
        self._trigger = None
        return self._hang_up()

    def _close(self) -> None:
        if self._drafts:
            self._commit_drafts()
        if self._messages is not None:
            self._messages.end()
        if self._reader is not None:
            self._reader.free()
        self._read_locks.close()
        self._store.close()

    def _hang_up(self) -> Deferred[None]:
        """End the connection, once."""
        # Stopping wakes waiting coroutines, which may call this again before it returns.
        if self._stopped is None:
            self._stopped = stopped = Deferred[None]()
            self._connection.stop().addBoth(lambda result: stopped.callback(None))
        waiting: Deferred[None] = Deferred()
        self._stopped.addCallback(waiting.callback)
        return waiting


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Turn every expected error into a L{SecuremsgError}."""
    try:
        yield
    except Refusal as refusal:
        raise explain(refusal) from None
    except (VaultError, StorageError) as error:
        raise storage_error(error) from error


def _log_warning(event: Warned) -> None:
    """The default for C{warn}: log the warning."""
    _log.warn("about {name}: {text} [{code}]", name=event.name, text=event.text, code=event.code)
