"""
The contact C{server}: the operator's endpoint, a client like any other, which lives in a thread of the daemon.

It is made here, from client and store, and connected by the daemon. The server itself cannot read messages to this contact:
they are encrypted like all others.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from attrs import define, field, frozen
from twisted.logger import Logger

from securemsg.client import messages
from securemsg.client.agent import LOCAL_ERROR, Agent
from securemsg.client.autoresponder import Autoresponder, Source
from securemsg.client.events import Changed, Disconnected, Event, Failed, Ready
from securemsg.client.messages import Received
from securemsg.client.relay import Relay
from securemsg.client.sessions import guests
from securemsg.client.state.profile import Profile, create_profile, load_profile, save_profile
from securemsg.client.state.retention import Retention
from securemsg.client.state.vault import KEY_FILE, create_vault, open_vault
from securemsg.crypto.keyfile import SharedKey
from securemsg.daemon.folder import StateError
from securemsg.daemon.printer import Printer, record_line
from securemsg.daemon.worker import Call, Worker
from securemsg.interfaces import no_step
from securemsg.protocol.devices import SERVER_NAME
from securemsg.protocol.invite import InviteLink
from securemsg.storage.errors import StorageError
from securemsg.storage.jsonlog import LineFile
from securemsg.storage.profile import ProfileStore
from securemsg.storage.profile import create_profile as create_profile_store

# Seconds between two sweeps of old messages; those above the limit are dropped with every answer.
SWEEP_PERIOD = 6 * 3600
# Errors of the disk: temporary, or for the operator to fix.
EXPECTED_ERRORS = (OSError, StorageError)


@frozen
class ContactOptions:
    """
    What the operator has chosen for the contact.

    @ivar answers: makes the source of answers.
    @ivar record: where a line is written for each message; C{None}: nowhere.
    @ivar prints: whether each message is printed on standard output.
    @ivar key: of the key file that admits guests; C{None}: no guests.
    @ivar lobby: whether there is a lobby.
    """

    answers: Callable[[Callable[[Call], None]], Source]
    record: LineFile | None = None
    prints: bool = False
    key: SharedKey | None = None
    lobby: bool = False


@define(eq=False)
class Contact:
    """
    The contact C{server}: a client like any other, which lives in a thread of this process.

    @ivar on_login: called with an empty code after a login, with the code of a refusal, or with C{local-error} if the profile
        cannot be used.
    """

    _log = Logger()
    _store: ProfileStore
    _profile: Profile
    _worker: Worker
    _on_login: Callable[[str], None]
    _source: Source
    _retention: Retention
    _record: LineFile | None
    _printer: Printer | None
    peer: Agent = field(init=False)
    answerer: Autoresponder = field(init=False)
    _swept_at: float = field(default=0.0, init=False)
    _is_held_up: bool = field(default=False, init=False)
    _was_ready: bool = field(default=False, init=False)
    _has_logged_failure: bool = field(default=False, init=False)
    _is_closed: bool = field(default=False, init=False)

    def on_event(self, event: Event) -> None:
        """Act on an event of the agent, after the agent's current step."""
        if isinstance(event, Changed):
            self._has_logged_failure = False
            self._worker.do(self._answer)
        elif isinstance(event, Ready):
            self._was_ready = True
            self._on_login("")
            self._worker.do(self._answer)
        elif isinstance(event, Failed):
            self._on_login(event.code)
        elif isinstance(event, Disconnected) and event.code == LOCAL_ERROR:
            # It connects again every second, and may get as far as this each time. Before the first login the start fails.
            if self._was_ready and not self._has_logged_failure:
                self._has_logged_failure = True
                problem = str(self.peer.local_error)
                self._log.error("the contact server does not work until this is fixed: {problem}", problem=problem)
            self._on_login(event.code)

    def tick(self) -> None:
        """Do what is due; called every second."""
        now = time.time()
        if abs(now - self._swept_at) >= SWEEP_PERIOD:
            self._swept_at = now
            self._retention.sweep(self._store, now)
        self.peer.tick()
        if self._is_held_up:
            self._answer()

    def forget_gone(self, present: frozenset[bytes]) -> None:
        """
        Forget guests who have left. If the disk fails, the next call does it.

        @param present: the devices of those who are connected.
        """
        if self._is_closed:
            return
        try:
            guests.forget_gone(self._store, time.time(), present)
        except EXPECTED_ERRORS as error:
            self._log.warn("guests who have left cannot be forgotten: {problem}", problem=str(error))

    def stop(self) -> None:
        """Stop answering, and end running commands. From any thread."""
        self._source.stop()

    def close(self) -> None:
        """Close everything."""
        self._is_closed = True
        self.stop()
        if self._printer is not None:
            self._printer.stop()
        if self._record is not None:
            self._record.close()
        self._store.close()

    def reply(self, account: str, text: str, present: frozenset[bytes]) -> None:
        """
        Send the operator's text as a message from the contact.

        @param present: the connected devices of guests; of a guest, the one that wrote last gets the text.
        @raise Refusal: C{no-such-account}, where no connected guest has written; or see L{messages.compose_in}.
        @raise Exception: one of L{EXPECTED_ERRORS}; nothing was sent.
        """
        with self._store.writing() as records:
            device = guests.latest_of(records, account, present)
            conversation = self._profile.conversation(account, device)
            messages.compose_in(records, conversation, text, now=int(time.time()))
        self.peer.pump()

    def copy(self, path: Path) -> None:
        """See L{ProfileStore.copy}."""
        self._store.copy(path, no_step)

    def attempt(self, call: Callable[[], object]) -> None:
        """Make a call that answers messages. If the disk fails, nothing is lost: it is tried again every second."""
        if self._is_closed:
            return
        try:
            call()
        except EXPECTED_ERRORS as error:
            if not self._is_held_up:
                self._log.error("the contact server cannot answer until this is fixed: {problem}", problem=str(error))
            self._is_held_up = True
        else:
            if self._is_held_up:
                self._log.info("the contact server answers again")
            self._is_held_up = False

    def on_received(self, messages: list[Received]) -> None:
        """
        Record and print messages, see L{Autoresponder}.

        @raise StateUnusable: it cannot be recorded.
        """
        if self._record is not None:
            self._record.append(record_line(message) for message in messages)
        if self._printer is not None:
            self._printer.print(messages)

    def _answer(self) -> None:
        self.attempt(self.answerer.run)
        if self.answerer.is_unfinished and not self._is_held_up and not self._is_closed:
            self._worker.do(self._answer)


def open_contact(
    link: InviteLink,
    options: ContactOptions,
    seconds: Callable[[], float],
    folder: Path,
    worker: Worker,
    on_login: Callable[[str], None],
) -> Contact:
    """
    Open the contact's profile, and make it at the first start.

    @param seconds: monotonic time; called in the worker's thread.
    @raise StateError: the profile is of another server.
    @raise StorageError: or C{VaultError}: it cannot be used, or the record cannot.
    """
    vault = open_vault(folder, None) if (folder / KEY_FILE).exists() else create_vault(folder, None)
    store = create_profile_store(folder, vault)
    try:
        with store.writing() as records:
            profile = load_profile(records)
            if profile is None:
                profile = create_profile(link, SERVER_NAME, int(time.time()))
                save_profile(records, profile)
        if profile.pin != link.pin:
            raise StateError(f"{folder} belongs to another server.key; restore that file from a backup")
        with store.writing() as records:
            if options.key is not None:
                guests.admit(records, options.key, int(time.time()))
            else:
                guests.dismiss(records)
        if options.record is not None:
            options.record.open()
    # Whatever it is, even an interrupt: the store must be closed here. The error is raised again.
    except BaseException:
        store.close()
        raise
    retention = Retention()
    # Answers from other threads are passed to the contact's thread.
    source = options.answers(lambda call: worker.do(partial(contact.attempt, call)))
    printer = Printer() if options.prints else None
    contact = Contact(store, profile, worker, on_login, source, retention, options.record, printer)
    contact.peer = Agent(
        store,
        profile,
        now=time.time,
        seconds=seconds,
        soon=worker.do,
        notify=contact.on_event,
        expected_errors=EXPECTED_ERRORS,
    )
    on_received = contact.on_received if options.record is not None or options.prints else None
    relay = Relay(options.lobby, time.time, seconds, retention)
    contact.answerer = Autoresponder(store, source, time.time, contact.peer.pump, on_received, retention, relay=relay.handle)
    return contact
