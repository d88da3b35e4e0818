"""A running chat, independent of its input and output, which are the prompt or the plain console."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol

from attrs import frozen

from securemsg.account.connection import AccountConnection
from securemsg.account.errors import SecuremsgError, error_for, explain
from securemsg.account.names import aliases, full_name, shown_name
from securemsg.account.questions import answer
from securemsg.account.readlocks import ReadLocks
from securemsg.account.rooms import find, is_room
from securemsg.account.rooms import members as members_of
from securemsg.cli.chat import slash
from securemsg.cli.chat.lobby import Lobby
from securemsg.cli.chat.pending import PendingAnswers
from securemsg.cli.chat.room import RoomChat
from securemsg.cli.chat.screen import Screen
from securemsg.cli.chat.scrollback import Scrollback
from securemsg.cli.chat.sentlines import HINTS, SHOWN, SentLines
from securemsg.cli.chat.slash import (
    AcceptKeys,
    AnswerQuestion,
    ChooseKeep,
    Confirm,
    Explain,
    Intention,
    InviteToRoom,
    JoinRoom,
    Leave,
    LeaveRoom,
    Misunderstood,
    ReleaseHeld,
    RenameRoom,
    Say,
    Search,
    ShowContacts,
    ShowLast,
    ShowMembers,
    ShowMore,
    ShowSafety,
    ShowState,
    SwitchTo,
)
from securemsg.cli.chat.unanswered import Unanswered
from securemsg.cli.commands.contacts import accept_keys
from securemsg.cli.commands.verify import confirm_shown, new_devices, remember_shown
from securemsg.cli.context import CommandContext
from securemsg.cli.guest import GuestContext
from securemsg.cli.lobby import announce_lobby
from securemsg.cli.output import always_continue, json_line
from securemsg.cli.rendering import (
    amount,
    contact_record,
    contact_text,
    fact_lines,
    keep_text,
    mark_of,
    received_record,
    received_text,
    remark,
    runs,
    safety_record,
    safety_text,
    screen_text,
    suite_mark,
)
from securemsg.cli.rooms import described, head_text, member_record, member_text
from securemsg.cli.suites import caution, pinned_suite
from securemsg.cli.wrapping import cut, fill_all
from securemsg.client import histories, messages, unsent
from securemsg.client.escape import escape
from securemsg.client.lobby import READABLE
from securemsg.client.messages import Draft, Received, Sent
from securemsg.client.rooms import store
from securemsg.client.state import disappearing, preferences
from securemsg.client.state.contacts import Contact, all_contacts, get_contact
from securemsg.client.state.conversations import direct
from securemsg.client.state.verification import safety
from securemsg.errors import Refusal
from securemsg.protocol.devices import LOBBY_NAME, ROOM_MARK, SERVER_NAME

# Shown in one go before the store is looked at again.
PAGE = 64
# Messages that wait are counted so far whenever the prompt is drawn.
MAX_WAITING = 1000


class Write(Protocol):
    """Puts out lines of data."""

    def __call__(
        self, *lines: str, written: Callable[[int], bool] = always_continue, own: Sequence[bytes] = ()
    ) -> Awaitable[Any]:
        """
        Put out lines; done once they are out.

        @param written: see L{securemsg.cli.output.write_later}.
        @param own: for each line the id of the message of ours that it is, or empty; none: no line is one.
        """


@frozen
class ChatOptions:
    """
    What the user has chosen for a chat.

    @ivar asks_receipts: whether what is written asks for receipts, as the profile's settings say; else none does.
    @ivar screen: how lines are shown to somebody at a terminal; C{None}: as everywhere, for programs.
    @ivar bell: rings for what is said to us, in a room where somebody says our name; C{None}: nothing does.
    """

    asks_receipts: bool = True
    screen: Screen | None = None
    bell: Callable[[], object] | None = None


DEFAULTS = ChatOptions()


class Chat:
    """
    @ivar name: of the contact that lines go to.
    @ivar unanswered: what was written here and waits for an answer of the server.
    @ivar answers: that are still expected from the contact C{server}.
    @ivar refused: the first message of this run that was refused, if one was.
    @ivar mistakes: lines that were not understood.
    """

    def __init__(
        self,
        context: CommandContext,
        connection: AccountConnection,
        name: str,
        *,
        write: Write,
        notify: Callable[[str], Awaitable[Any]],
        columns: Callable[[], int],
        move: Callable[[str], Awaitable[Any]] | None = None,
        commands: bool = True,
        patience: float = 0,
        options: ChatOptions = DEFAULTS,
    ) -> None:
        """
        @param write: puts out lines of data, and is done once they are out.
        @param notify: puts out a line for people, likewise.
        @param move: puts out what moves the cursor, and leaves it where it was.
        @param commands: whether commands are obeyed; else every line is text.
        @param patience: how long a command waits for what it asks of the lobby; nobody waits at a terminal.
        """
        self._context = context
        self._connection = connection
        self._write = write
        self._notify = notify
        self._columns = columns
        self._understand = slash.understand if commands else slash.text_of
        self._patience = patience
        self._read_locks = ReadLocks(context.folder, context.store)
        self.name = name
        self.answers = PendingAnswers(context, connection)
        self.refused: Sent | None = None
        self.mistakes = 0
        self._options = options
        self._sent_lines = SentLines(
            context, options.screen, write, move or notify, notify, lambda: connection.is_ready or not connection.is_owner
        )
        self._lobby = Lobby(context, notify, connection.nudge)
        self._joining: RoomChat | None = None
        self._room = self._room_of(name)
        self._scrollback = self._scrollback_of(name)
        self.unanswered = Unanswered(context.store)

    # --- what is typed ----------------------------------------------------------------------------------------------

    async def enter(self, *lines: str) -> bool:
        """
        Carry out lines. Those that follow each other and are text are committed together.

        @return: whether the chat goes on.
        """
        texts: list[str] = []
        for intention in map(self._understand, lines):
            if isinstance(intention, Say):
                texts.append(intention.text)
                continue
            await self._say(texts)
            texts = []
            if isinstance(intention, Leave):
                return False
            if intention is not None:
                await self._do(intention)
        await self._say(texts)
        return True

    async def _do(self, intention: Intention) -> None:
        match intention:
            case Explain():
                lines = slash.help_lines()
                await self._write(self._wrapped({"commands": lines}, "\n".join(lines)))
            case ShowLast(lines):
                await self._scrollback.show_last(lines)
            case ShowMore():
                await self._scrollback.show_more()
            case Search(words):
                await self._scrollback.search(words)
            case ShowContacts():
                await self._show_contacts()
            case ShowSafety():
                await self._show_safety()
            case Confirm(digits):
                await self._confirm(digits)
            case AcceptKeys():
                await self._accept_keys()
            case ChooseKeep(keep):
                await self._choose_keep(keep)
            case AnswerQuestion(choice):
                await self._answer(choice)
            case SwitchTo(name):
                await self._switch(name)
            case ShowMembers():
                await self._show_members()
            case JoinRoom(name, alias):
                self._joining = RoomChat(self._context, self._connection, name, self._notify)
                self._joining.join(alias)
            case LeaveRoom() if self._is_in_lobby:
                await self._lobby.leave()
            case LeaveRoom() | InviteToRoom() | RenameRoom() | ReleaseHeld():
                await self._change_room(intention)
            case ShowState():
                facts = self.facts()
                await self._write(self._wrapped(facts, fact_lines(facts, self._context.now())))
            case Misunderstood(reason):
                self.mistakes += 1
                await self._notify(f"-- {reason}")

    async def _say(self, texts: list[str]) -> None:
        """Commit messages; the agent sends them."""
        if not texts:
            return
        if self._is_in_lobby:
            self._lobby.enter()
        refusals = []
        wants_receipt = None if self._options.asks_receipts else False
        drafts = [Draft(self.name, text, wants_receipt=wants_receipt) for text in texts]
        written_all = messages.compose_all(self._context.store, drafts, now=self._context.now())
        for written in written_all:
            if isinstance(written, Refusal):
                refusals.append(written)
                continue
            self.unanswered.wrote(written)
            if self.name == SERVER_NAME:
                self.answers.asked(written)
        await self._sent_lines.wrote([each for each in written_all if not isinstance(each, Refusal)])
        self._connection.nudge()
        for refusal in refusals:
            self.mistakes += 1
            await self._notify(f"-- not sent: {explain(refusal, self.name).text}")

    async def _write_rows(self, rows: list[str], otherwise: str) -> None:
        """Write rows, or say that there are none."""
        if rows:
            await self._write("\n".join(rows))
        else:
            await self._notify(otherwise)

    def _shown(self, record: dict[str, object], text: str) -> str:
        return json_line(record) if self._context.settings.as_json else text

    def _wrapped(self, record: dict[str, object], text: str) -> str:
        """The same of what is no message: wrapped at a terminal."""
        return self._shown(record, fill_all(text, self._columns()))

    async def _show_contacts(self) -> None:
        unread = messages.unread_counts(self._context.store)
        rows = []
        with self._context.store.reading() as records:
            chosen = preferences.all_preferences(records)
            keeps = {contact.name: disappearing.chosen(records, direct(contact.name)) for contact in all_contacts(records)}
        for contact in self.contacts():
            choice, wanted = pinned_suite(self._context, contact.name), chosen.get(contact.name, preferences.NONE)
            known = contact, unread.get(contact.name, 0), choice, wanted, keeps.get(contact.name, 0)
            rows.append(self._wrapped(contact_record(*known), contact_text(*known)))
        with self._context.store.reading() as records:
            rooms = store.all_rooms(records)
        for room in rooms:
            rows.append(self._wrapped(*described(self._context, room, unread.get(room.name, 0))))
        await self._write_rows(rows, "-- no contacts yet; write to somebody")

    async def _show_safety(self) -> None:
        """Show the safety number."""
        if await self._refuse_guest():
            return
        contact = self.contact()
        if contact is None:
            await self._notify(f"-- nothing is known about {self.name} yet; send a message first")
            return
        number = safety(self._context.profile, contact)
        choice = pinned_suite(self._context, contact.name)
        record = safety_record(contact, number, choice)
        await self._write(self._wrapped(record, safety_text(contact, number)))
        remember_shown(self._context.store, contact)
        if caution(choice):
            await self._notify(f"-- {caution(choice)}")
        added = new_devices(self._context.store, contact)
        for line in added:
            await self._notify(f"-- {line}")
        condition = f"if {self.name} sees the same number" + (" and has added this device" if added else "")
        if contact.has_changed:
            await self._notify(f"-- {condition}: /accept, then /verify confirm")
        elif not contact.verified:
            await self._notify(f"-- {condition}: /verify confirm")

    async def _confirm(self, digits: str) -> None:
        """Mark the contact as verified."""
        if await self._refuse_guest():
            return
        try:
            confirm_shown(self._context, self.name, digits)
        except SecuremsgError as problem:
            await self._notify(f"-- {problem.text}; see /verify")
            return
        await self._notify(f"-- {self.name} is verified")

    async def _accept_keys(self) -> None:
        """Accept the contact's new keys."""
        if await self._refuse_guest():
            return
        try:
            is_new = accept_keys(self._context, self.name)
        except SecuremsgError as problem:
            await self._notify(f"-- {problem.text}; see /verify")
            return
        self._connection.nudge()
        accepted = f"new keys of {self.name} accepted; unverified until you /verify"
        what = accepted if is_new else f"the keys of {self.name} have not changed"
        await self._notify(f"-- {what}")

    async def _choose_keep(self, keep: int | None) -> None:
        """Choose for how long what is written here is kept, or say it."""
        if self._is_in_lobby:
            await self._notify(f"-- {error_for('lobby-keep').text}")
            return
        conversation = histories.conversation_of(self._context.store, self.name)
        if keep is not None:
            with self._context.store.writing() as records:
                disappearing.choose(records, conversation, keep)
        with self._context.store.reading() as records:
            await self._notify(f"-- {keep_text(self.name, disappearing.chosen(records, conversation))}")
        self._connection.changed()

    async def _answer(self, choice: str) -> None:
        """Answer the question that this contact has asked."""
        try:
            _, message_id = answer(self._context.store, self.name, choice, now=self._context.now(), is_account=True)
        except SecuremsgError as problem:
            self.mistakes += 1
            await self._notify(f"-- {problem.text}; {problem.hint}" if problem.hint else f"-- {problem.text}")
            return
        self.unanswered.wrote(message_id)
        await self._sent_lines.wrote([message_id])
        self._connection.nudge()

    async def _refuse_guest(self) -> bool:
        """Say that there are no keys to compare, with a guest or in a room; C{False}: there are."""
        if self.name.startswith(ROOM_MARK):
            await self._notify(f"-- {self.name} has no number to compare; /to NAME first, then /verify")
            return True
        if not isinstance(self._context, GuestContext):
            return False
        held = self._context.profile.name
        await self._notify(f"-- with a key file there is no number to compare: both sides have {held}")
        return True

    async def _switch(self, name: str) -> None:
        """Send lines to another contact from now on."""
        if name == self._context.profile.name:
            await self._notify(f"-- {name} is your own name")
            return
        if isinstance(self._context, GuestContext) and name != SERVER_NAME:
            await self._notify(f"-- with a key file alone you can only chat with `{SERVER_NAME}`")
            return
        try:
            name = full_name(self._context.store, name)
        except SecuremsgError as problem:
            await self._notify(f"-- {problem.text}; {problem.hint}")
            return
        self.name, self._room, self._scrollback = name, self._room_of(name), self._scrollback_of(name)
        await self._notify(f"-- chatting {self.title_in_line()}")
        await self.open()
        self._connection.changed()

    # --- rooms ------------------------------------------------------------------------------------------------------

    @property
    def _is_in_lobby(self) -> bool:
        return self.name == LOBBY_NAME

    def _room_of(self, name: str) -> RoomChat | None:
        """The room of several members that lines go to; C{None}: they go elsewhere."""
        return RoomChat(self._context, self._connection, name, self._notify) if is_room(name) else None

    def _scrollback_of(self, name: str) -> Scrollback:
        """What was said with somebody."""
        return Scrollback(self._context, name, self._sent_lines, self._options.screen, self._write, self._notify, self._columns)

    @property
    def is_changing(self) -> bool:
        """Whether something that was asked for of the room that lines go to is not done."""
        return any(room is not None and room.is_changing for room in (self._room, self._joining))

    async def _change_room(self, intention: Intention) -> None:
        """Change the room that lines go to."""
        room = self._room
        if room is None:
            what = "belongs to everybody" if self._is_in_lobby else "is not a room; /to ROOM first"
            await self._notify(f"-- {self.name} {what}")
            return
        match intention:
            case InviteToRoom(names):
                room.invite(list(names))
            case RenameRoom(title):
                room.rename(title)
            case ReleaseHeld(drop):
                room.release(drop)
            case LeaveRoom():
                room.leave()

    @property
    def is_entering(self) -> bool:
        """Whether we have asked to be let into the lobby, and were not answered."""
        return self._is_in_lobby and self._lobby.is_entering

    @property
    def kept_out(self) -> str:
        """Why the lobby refused us; empty: it did not."""
        return self._lobby.kept_out

    async def open(self) -> None:
        """Show what was said last. Enter the lobby, if lines go there; of a room say what is wrong with it."""
        await self._scrollback.show_earlier()
        if self._room is not None:
            await self._room.look(self.unanswered.first_pending)
        if self._is_in_lobby:
            if self._context.settings.as_json:
                announce_lobby(self._context, self.name)
            else:
                await self._notify(f"-- {READABLE}")
            self._lobby.enter()

    async def _show_members(self) -> None:
        if self._room is not None:
            await self._show_room()
            return
        if not self._is_in_lobby:
            await self._notify(f"-- {self.name} is not a room; /to ROOM first")
            return
        if self._patience:
            await self._connection.until(lambda: None if self._lobby.is_entering else True, self._patience)
        rows = [self._wrapped({"room": self.name, "name": name}, escape(name)) for name in self._lobby.members]
        await self._write_rows(rows, f"-- who is in {self.name} is not known yet")

    async def _show_room(self) -> None:
        """Show who is in the room that lines go to."""
        room, own = find(self._context.store, self.name), self._context.profile.name
        try:
            n, digits, members = members_of(self._context.store, room)
        except SecuremsgError as problem:
            await self._notify(f"-- {problem.text}; {problem.hint}")
            return
        rows = [self._wrapped(member_record(room, n, digits, row), member_text(room, row, own)) for row in members]
        if not self._context.settings.as_json:
            rows.insert(0, fill_all(head_text(room, n, digits), self._columns()))
        await self._write_rows(rows, "")

    # --- what comes -------------------------------------------------------------------------------------------------

    async def show_new(self) -> None:
        """Show new messages, and mark each as read."""
        while True:
            lost = self.answers.drop_lost()
            if lost:
                await self._notify(f"-- the connection was lost, and {amount(lost, 'answer')} with it; ask again")
            if self._is_in_lobby:
                await self._lobby.look()
            if self._room is not None:
                await self._room.look(self.unanswered.first_pending)
            if not self.has_news():
                return
            await self._sent_lines.refresh(self.name)
            await self._show(self._read_locks.take_all(messages.unread(self._context.store, self.name, PAGE)))
            for sent in self.unanswered.settled():
                if sent.status in ("accepted", "delivered"):
                    self.answers.accepted(sent.id)
                if sent.status == "failed":
                    self.answers.refused(sent.id)
                    self.refused = self.refused or sent
                    what, problem = "not relayed" if sent.needs_relay else "not sent", error_for(sent.code, sent.to)
                    why = "; ".join(part for part in (problem.text, HINTS.get(sent.code, problem.hint)) if part)
                    await self._notify(f"-- {what} [{escape(sent.code)}]: {cut(escape(sent.text), SHOWN)} ({why})")

    async def _show(self, ours: list[Received]) -> None:
        """Show messages that are locked for us, note each, and mark as read what was shown."""
        as_json, count = self._context.settings.as_json, 0
        try:
            for run in runs(ours, as_json):
                if self._read_locks.shown.is_due:
                    break
                text = remark(run[0])
                if text and not as_json:
                    await self._notify(text)
                lines = [self._shown(received_record(message), self._text_of(message)) for message in run]
                await self._write(*lines, written=partial(self._note, run))
                if self._options.bell is not None and any(self._is_loud(message) for message in run):
                    self._options.bell()
        finally:
            count = self._read_locks.mark_shown(ours)
        for message in ours[:count]:
            self.answers.received(message.id)
        if count and isinstance(self._context, GuestContext):
            self._context.trim()

    def _text_of(self, message: Received) -> str:
        """A message for people; in a room it is marked where its sender is unverified, and where it names us."""
        screen, own, known = self._options.screen, self._context.profile.name, aliases(self._context.store)
        marks = []
        if message.conversation.is_room and message.event is None and not message.verified:
            marks.append("unverified")
        if self._is_mentioned(message):
            marks.append("to you")
        if screen is not None:
            return screen_text(screen, message, own, known, ", ".join(marks))
        return received_text(message, self._columns(), ", ".join(marks), known)

    def _is_mentioned(self, message: Received) -> bool:
        return bool(message.room) and message.event is None and slash.mentions(message.text, self._context.profile.name)

    def _is_loud(self, message: Received) -> bool:
        """Whether a message is for us, and its sender is not muted."""
        with self._context.store.reading() as records:
            is_muted = preferences.get(records, message.sender).is_muted
        return not is_muted and message.event is None and (not message.room or self._is_mentioned(message))

    def _note(self, run: list[Received], number: int) -> bool:
        """
        A message of this run was put out.

        @return: whether to go on with the next.
        """
        return self._read_locks.shown.add(run[number])

    def has_news(self) -> bool:
        """Whether there is something to show."""
        if self._sent_lines.has_news or self.answers.has_news or (self._is_in_lobby and self._lobby.has_news):
            return True
        if self._room is not None and self._room.has_news(self.unanswered.first_pending):
            return True
        if self._read_locks.free_of(messages.unread(self._context.store, self.name, 1)):
            return True
        return self.unanswered.has_news

    # --- state ------------------------------------------------------------------------------------------------------

    def contacts(self) -> list[Contact]:
        """All contacts."""
        with self._context.store.reading() as records:
            return all_contacts(records)

    def names(self) -> list[str]:
        """Whom lines may go to or be about: all contacts, the rooms, the lobby, and who is in the room that lines go to."""
        with self._context.store.reading() as records:
            rooms = [room.name for room in store.all_rooms(records) if room.alias]
        members = [] if self._room is None else [row.name for row in self._room.members]
        known = [contact.name for contact in self.contacts()]
        return list(dict.fromkeys([LOBBY_NAME, *rooms, *known, *aliases(self._context.store).values(), *members]))

    def contact(self) -> Contact | None:
        """The contact, if there is one of this name."""
        with self._context.store.reading() as records:
            return get_contact(records, self.name)

    @property
    def shown_name(self) -> str:
        """Whom lines go to, as the user calls them."""
        return shown_name(self.name, aliases(self._context.store))

    def title(self) -> str:
        """The name, with marks: unverified, keys changed, key file or suite; of a room: how many are there."""
        if self._room is not None:
            return self._room.title
        if self._is_in_lobby:
            count = len(self._lobby.members)
            return f"{self.name} ({count})" if count else self.name
        contact = self.contact()
        choice = pinned_suite(self._context, self.name)
        if isinstance(self._context, GuestContext):
            return f"{self.name} ({suite_mark(choice)})"
        mark = mark_of(contact) if contact else "unknown"
        marks = ", ".join(part for part in (mark, suite_mark(choice)) if part)
        return f"{self.shown_name} ({marks})" if marks else self.shown_name

    def title_in_line(self) -> str:
        """The title as part of a sentence: C{with bob (unverified)}, C{in #team (3)}."""
        return f"{'in' if self.name.startswith(ROOM_MARK) else 'with'} {self.title()}"

    def toolbar(self) -> str:
        """One line: the contact, the connection, what is waiting, who else wrote."""
        waiting = unsent.count(self._context.store, self._context.now(), MAX_WAITING)
        parts = [
            self.title(),
            self._link_state(),
            f"{waiting}{'+' * (waiting == MAX_WAITING)} to be sent" if waiting else "",
            slash.unread_text(self._unread_elsewhere()),
        ]
        text = "  |  ".join(part for part in parts if part)
        return cut(text, self._columns()) if self._columns() else text

    def _unread_elsewhere(self) -> dict[str, int]:
        """How much is unread from others, but who is muted."""
        with self._context.store.reading() as records:
            muted = {name for name, wanted in preferences.all_preferences(records).items() if wanted.is_muted}
        known, unread = aliases(self._context.store), messages.unread_counts(self._context.store)
        return {known.get(name, name): count for name, count in unread.items() if name not in (self.name, *muted)}

    def facts(self) -> dict[str, object]:
        """What C{/status} shows, by name."""
        return {
            "server": self._context.where,
            "connection": self._link_state(),
            "suite": pinned_suite(self._context, self.name).suite,
            **self._connection.link_facts(),
            "outbox": unsent.count(self._context.store, self._context.now()),
            "unread": sum(messages.unread_counts(self._context.store).values()),
        }

    def _link_state(self) -> str:
        connection = self._connection
        if not connection.is_owner:
            return "another process has the connection"
        if connection.is_ready:
            return "connected"
        if not connection.last_failure:
            return "connecting"
        reason = "" if connection.last_failure in ("not-connected", "lost") else f" ({error_for(connection.last_failure).text})"
        return f"offline, trying again{reason}"
