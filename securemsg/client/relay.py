"""
The lobby, as the contact C{server} keeps it: what one member says goes to each of the others, encrypted for each.

It is driven by the autoresponder of C{server}, like answers: one transaction marks a message as done and writes to all whom it
concerns, under message ids that follow from it, so that a crash neither loses nor doubles anything. Source:
C{docs/protocol.md}, section "The lobby".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define, field

from securemsg.client.messages import Received, take_from_unread, write_in
from securemsg.client.state import contacts
from securemsg.client.state.conversations import lobby
from securemsg.client.state.profile import DAY
from securemsg.client.state.records import (
    HISTORY,
    INBOUND,
    META,
    ROWS,
    SEEN,
    HistoryRow,
    Status,
    load,
    save,
    seen_message,
)
from securemsg.client.state.retention import Retention
from securemsg.crypto import keys
from securemsg.interfaces import IProfileStore, IRecords
from securemsg.protocol.envelope import (
    LINES,
    MAX_LOBBY_MEMBERS,
    MAX_LOBBY_TEXT,
    ConfirmedLine,
    Content,
    Kind,
    Members,
    Person,
    RefusedLine,
    RelayedLine,
    encode_record,
)
from securemsg.protocol.messages import Key, Name, Record

MEMBERS = b"lobby/members"
# What becomes of a line: its copies, and the confirmation for its author.
COPIES = (Kind.RELAYED, Kind.CONFIRMED)

MINUTE = 60
# What one account may say in a minute, entering included: more than anybody types.
MAX_LINES = 60
# Copies that are made within a minute, and a day, for all together. In a minute: a third of what one thread of a small machine
# can encrypt, so that answers and the next lines do not wait. In a day: less than half of what a server takes from an account,
# so that C{server} can answer with the rest.
MAX_COPIES = {MINUTE: 12_000, DAY: 200_000}
# One account may use up this part of them, so that a few do not keep the others from speaking.
OWN_PART = 1 / 10
# Rates that are known at once: of accounts that wrote so lately that theirs are not full again. Others are refused then.
MAX_RATES = 20_000


class Member(Record, frozen=True):
    """Somebody in the lobby. Whoever takes over the name has another identity, and is not."""

    name: Name
    identity: Key


class Roster(Record, frozen=True):
    """Who is in the lobby, in the order in which they came. Table C{META}, bucket C{MEMBERS}."""

    members: tuple[Member, ...] = ()


def copy_id(author: str, message_id: bytes, to: str) -> bytes:
    """
    The message id of the copy of a line for somebody, or, for its author, of the confirmation: always the same, so that nobody
    gets it twice, whatever state of ours was put back.
    """
    return keys.digest(keys.LOBBY_COPY, author.encode(), message_id, to.encode())[: keys.ID_SIZE]


@define(eq=False)
class Rates:
    """How much was said within the last minute, and day: by each account, and in copies, by all together."""

    _seconds: Callable[[], float]
    # When each is full again, by account and period; under the empty name: of all together.
    _full_at: dict[tuple[str, int], float] = field(factory=dict, init=False)

    def has_room(self, name: str, copies: int) -> bool:
        """Whether somebody may say something that makes so many copies."""
        now = self._seconds()
        if len(self._full_at) >= MAX_RATES and (name, MINUTE) not in self._full_at:
            self._full_at = {known: at for known, at in self._full_at.items() if at > now}
            if len(self._full_at) >= MAX_RATES:
                return False
        return all(at <= now + key[1] for key, at in self._after(name, copies, now).items())

    def spend(self, name: str, copies: int) -> None:
        """It was said."""
        self._full_at.update(self._after(name, copies, self._seconds()))

    def _after(self, name: str, copies: int, now: float) -> dict[tuple[str, int], float]:
        """When each will be full again, once that was said."""
        costs = {}
        for period, most in MAX_COPIES.items():
            costs["", period] = period * copies / most
            costs[name, period] = period * copies / (most * OWN_PART)
        costs[name, MINUTE] = max(costs[name, MINUTE], MINUTE / MAX_LINES)
        return {key: max(self._full_at.get(key, now), now) + cost for key, cost in costs.items()}


@define(eq=False)
class Relay:
    """
    Relays what is said in the lobby, as the contact C{server}.

    @ivar is_open: whether there is a lobby; if not, everybody is told so.
    @ivar now: the wall clock, in seconds; C{seconds}: monotonic time.
    @ivar retention: what is kept of what was relayed.
    """

    _is_open: bool
    _now: Callable[[], float]
    _seconds: Callable[[], float]
    _retention: Retention = field(factory=Retention)
    _rates: Rates = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._rates = Rates(self._seconds)

    def handle(self, store: IProfileStore, message: Received) -> bool:
        """
        Do what a message in the lobby asks for, and mark it as done.

        @return: whether there is something to be sent.
        """
        with store.writing() as records:
            row = load(records, HistoryRow, HISTORY, message.conversation.bucket, message.seq)
            if records.get(INBOUND, ROWS, message.seq) is None or row is None:
                return False
            take_from_unread(records, message.seq, self._now())
            turn = _Turn(records, message.conversation.account, row.content, int(self._now()), self._retention)
            has_room = self._rates.has_room(turn.name, len(turn.members))
            turn.handle(self._is_open, has_room)
            self._retention.trim(records, message.conversation, int(self._now()))
        if has_room:
            self._rates.spend(turn.name, len(turn.members))
        return turn.written > 0


@define(eq=False)
class _Turn:
    """
    One message in the lobby, within its transaction.

    @ivar name: of the account whose session brought it.
    @ivar members: who is in the lobby now.
    @ivar written: how many messages were written.
    """

    _records: IRecords
    name: str
    _content: Content
    _now: int
    _retention: Retention
    members: tuple[Member, ...] = field(init=False)
    written: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.members = (load(self._records, Roster, META, MEMBERS) or Roster()).members

    def handle(self, is_open: bool, has_room: bool) -> None:
        """Act on it; members who are gone are removed first."""
        kind = self._content.kind
        if not is_open:
            self._refuse("no-lobby")
        elif kind == Kind.LEAVE:
            self._remove([member for member in self.members if member.name == self.name])
        elif not has_room:
            self._refuse("lobby-busy")
        elif kind == Kind.ENTER:
            self._remove([member for member in self.members if self._is_gone(member)])
            self._enter()
        elif kind in LINES:
            self._remove([member for member in self.members if self._is_gone(member)])
            self._relay()

    def _relay(self) -> None:
        """Pass on a text or an answer. A text lets its author in; an answer of an account that is not in is refused."""
        content = self._content
        if len(content.body) > MAX_LOBBY_TEXT:
            self._refuse("lobby-too-large")
            return
        if self.name not in [member.name for member in self.members]:
            if content.kind != Kind.TEXT:
                self._refuse("not-in-lobby")
                return
            if not self._enter():
                return
        line = RelayedLine(self.name, content.message_id, content.sent_at, content.kind, content.body)
        self._tell(self._others, Kind.RELAYED, line)
        self._write(self.name, Kind.CONFIRMED, ConfirmedLine(content.message_id))

    def _enter(self) -> bool:
        """
        Let the sender in, and say who is there.

        @return: whether there was room.
        """
        if self.name not in [member.name for member in self.members]:
            contact = contacts.get_contact(self._records, self.name)
            assert contact is not None, "a session without a contact"
            if len(self.members) >= MAX_LOBBY_MEMBERS:
                self._refuse("lobby-full")
                return False
            self._save((*self.members, Member(self.name, contact.identity)))
            self._tell(self._others, Kind.ENTERED, Person(self.name))
        self._write(self.name, Kind.MEMBERS, Members("", [member.name for member in self.members]))
        return True

    def _remove(self, gone: list[Member]) -> None:
        """Remove members, and tell those who stay."""
        if gone:
            self._save(tuple(member for member in self.members if member not in gone))
            for member in gone:
                self._tell(self.members, Kind.LEFT, Person(member.name))

    def _refuse(self, code: str) -> None:
        """Tell the sender that nothing was done, and why. Sent again, with the same id, it is a new message."""
        self._records.delete(SEEN, seen_message(self.name, self._content.message_id))
        if self._content.kind == Kind.ENTER:
            self._write(self.name, Kind.MEMBERS, Members(code, []))
        elif self._content.kind in LINES:
            self._write(self.name, Kind.REFUSED, RefusedLine(code, self._content.message_id))

    def _is_gone(self, member: Member) -> bool:
        """Whether nothing reaches a member any more: the account is gone or somebody else's, or the last message failed."""
        contact = contacts.get_contact(self._records, member.name)
        if contact is None or contact.identity != member.identity:
            return True
        if member.name == self.name:
            return False
        if contact.has_changed:
            return True
        bucket = lobby(member.name).bucket
        last = load(self._records, HistoryRow, HISTORY, bucket, self._records.last(HISTORY, bucket))
        return last is not None and last.sent and last.status is Status.FAILED

    def _save(self, members: tuple[Member, ...]) -> None:
        self.members = members
        save(self._records, META, MEMBERS, Roster(members))

    @property
    def _others(self) -> list[Member]:
        return [member for member in self.members if member.name != self.name]

    def _tell(self, members: Iterable[Member], kind: Kind, body: Record) -> None:
        for member in members:
            self._write(member.name, kind, body)

    def _write(self, name: str, kind: Kind, body: Record) -> None:
        """Write to somebody."""
        to = lobby(name)
        message_id = copy_id(self.name, self._content.message_id, name) if kind in COPIES else None
        write_in(self._records, to, encode_record(body), now=self._now, message_id=message_id, kind=kind)
        self.written += 1
        self._retention.trim(self._records, to, self._now)
