"""
Who was in a room when a message was accepted, and who may have read it: kept apart from what the clients make of it.

The ledger reads each deposit on its way to the server, and finds in the server's store which were accepted.
"""

from __future__ import annotations

from unittest import TestCase

from attrs import define, field, frozen

from securemsg.client.messages import Received
from securemsg.client.rooms import store
from securemsg.client.state import contacts
from securemsg.client.state.records import HISTORY, OUTBOX, ROWS, SEALED, HistoryRow, OutboxRow, SealedDeposit, load, load_all
from securemsg.protocol.auth import Binding
from securemsg.protocol.channel import IPeer
from securemsg.protocol.envelope import Kind
from securemsg.protocol.messages import Deposit, ListMark, Message, RoomItem
from securemsg.protocol.rooms import MemberList
from securemsg.server.deposits import missed_in
from tests.client.rig import TLS, User, Wire, World


@frozen
class Said:
    """A deposit of a room on its way: who sends what, under which list, and to whom."""

    author: str
    text: str
    item: RoomItem
    accounts: frozenset[str]


@frozen
class Accepted:
    """A text that the server has accepted: under which list, and whose mailboxes took it."""

    author: str
    text: str
    mark: ListMark
    took: frozenset[str]


@define(eq=False)
class Ledger:
    """
    What has happened in the rooms of a world.

    @ivar lists: all that anybody has held, by hash.
    @ivar accepted: texts, in no order; one that a restored server has lost may stand here twice.
    """

    world: World
    lists: dict[bytes, MemberList] = field(factory=dict)
    accepted: list[Accepted] = field(factory=list)
    _posts: dict[bytes, Said] = field(factory=dict)
    _seen: set[bytes] = field(factory=set)

    def watch(self, agent: IPeer, wire: Wire) -> None:
        """Read what an agent sends over a wire."""
        user = next(user for user in self.world.users.values() if user.agent is agent)

        def tap(message: Message) -> list[Message]:
            if isinstance(message, Deposit) and message.room is not None and message.room.step is None:
                text = _text_of(user, message.deposit_id)
                accounts = frozenset(to.account for to in message.to if to.parts)
                self._posts[message.deposit_id] = Said(user.name, text, message.room, accounts)
            return [message]

        wire.to_server = tap

    def look(self) -> None:
        """Take note of what is committed, everywhere."""
        for user in self.world.users.values():
            with user.store.inner.reading() as records:
                for room in store.all_rooms(records):
                    for n in range(max(1, room.mark.version - 20), room.mark.version + 1):
                        found = store.list_at(records, room, n)
                        if found is not None:
                            self.lists[found.digest] = found.body
        for deposit_id, digest in self.world.store.query("SELECT deposit_id, digest FROM deposits"):
            post = self._posts.get(deposit_id)
            if post is not None and deposit_id not in self._seen:
                self._seen.add(deposit_id)
                took = post.accounts - {missed.account for missed in missed_in(digest)}
                mark = ListMark(post.item.n, post.item.digest)
                if post.text:
                    self.accepted.append(Accepted(post.author, post.text, mark, took))

    def row(self, room: bytes) -> ListMark:
        """The newest list, as the server has it."""
        rows = self.world.store.query("SELECT room, n, digest FROM rooms")
        return next((ListMark(n, digest) for known, n, digest in rows if known == room), ListMark(0, b""))

    def stood(self, name: str, identity: bytes, mark: ListMark) -> bool:
        """Whether somebody was a member by a list."""
        return self.lists[mark.digest].stands(name, identity)

    def may_catch_up(self, user: User, newest: MemberList) -> bool:
        """Whether anybody whom somebody knows to be a member has all lists behind its own."""
        room = room_of(user)
        names = {member.account for member in self.lists[room.mark.digest].members} | {room.server_mark_by} - {user.name}
        for name in names & self.world.users.keys():
            other = self.world.users[name]
            with other.store.inner.reading() as records:
                known = store.get_room(records, room.id)
                has_all = known is not None and all(
                    store.list_at(records, known, n) is not None for n in range(room.mark.version + 1, newest.n + 1)
                )
            if has_all:
                return True
        return False

    def check_nobody_else(self, test: TestCase, user: User) -> None:
        """What somebody has read was accepted while it was a member, and appears once."""
        identity = user.profile().identity.public
        read = said_to(user)
        test.assertEqual(len(read), len(set(read)), f"{user.name} has read something twice: {read}")
        for text in read:
            marks = [each.mark for each in self.accepted if each.text == text]
            test.assertTrue(
                any(self.stood(user.name, identity, mark) for mark in marks), f"{user.name} must not read {text!r}: {marks}"
            )

    def check_nothing_lost(self, test: TestCase, user: User) -> None:
        """
        Somebody has all that was accepted while it was a member, from those who are members still, and have said a last word:
        others send nothing again, or leave no gap.
        """
        identity, newest = user.profile().identity.public, self.lists[room_of(user).mark.digest]
        own = newest.member(user.name)
        assert own is not None and own.identity == identity, "only of members"
        read = set(said_to(user))
        since: dict[str, int] = {}
        for each in self.accepted:
            # What a restored server has lost is sent again to those alone who were members before.
            since[each.text] = min(since.get(each.text, each.mark.version), each.mark.version)
        for each in self.accepted:
            author, writer = newest.member(each.author), self.world.users[each.author]
            if author is None or writer is user or not newest.stands(writer.name, writer.profile().identity.public):
                continue
            if since[each.text] < max(own.since, author.since) or room_of(writer).state != store.RoomState.IN:
                continue
            if not (knows(user, writer) and knows(writer, user)):
                # To one of them the name is somebody else's, until its user decides.
                continue
            test.assertIn(each.text, read, f"{user.name} has lost what {sorted(each.took)} took")

    def check_order(self, test: TestCase, user: User) -> None:
        """
        What a member has read of each author stands in the order of its counters, from what was written after it joined: what
        is older was let go to it late, or is of an earlier time in the room.
        """
        room = room_of(user)
        listing = self.lists.get(room.mark.digest)
        bucket, own = room.conversation.bucket, None if listing is None else listing.member(user.name)
        if own is None:
            return
        with user.store.inner.reading() as records:
            rows = [row for _, row in load_all(records, HistoryRow, HISTORY, bucket)]
        places: dict[str, list[tuple[int, int]]] = {}
        for row in rows:
            if not row.sent and row.content.kind == Kind.TEXT and row.content.peer_list.version >= own.since:
                places.setdefault(row.sender, []).append((row.content.incarnation, row.content.counter))
        for author, found in places.items():
            test.assertEqual(found, sorted(found), f"what {user.name} has read of {author} is out of order")


def said_to(user: User) -> list[str]:
    """What others said in the room, as somebody has it."""
    return [line.text for line in user.lines("#team") if isinstance(line, Received) and line.event is None]


def room_of(user: User) -> store.Room:
    """The room as somebody knows it."""
    with user.store.inner.reading() as records:
        return store.find_room(records, "team")


def knows(one: User, other: User) -> bool:
    """Whether somebody knows no other identity under a name than the one that has it now."""
    with one.store.inner.reading() as records:
        contact = contacts.get_contact(records, other.name)
    return contact is None or contact.identity == other.profile().identity.public


def _text_of(user: User, deposit_id: bytes) -> str:
    """What somebody's deposit says; empty: it is a void, or nothing that is shown."""
    with user.store.inner.reading() as records:
        for seq, sealed in load_all(records, SealedDeposit, OUTBOX, SEALED):
            row = load(records, OutboxRow, OUTBOX, ROWS, seq) if sealed.deposit_id == deposit_id else None
            if row is not None and row.history and row.kind == Kind.TEXT:
                history = load(records, HistoryRow, HISTORY, row.bucket, row.history)
                return "" if history is None else history.content.body.decode()
    return ""


@define(eq=False)
class RoomWorld(World):
    """A world whose rooms are watched."""

    ledger: Ledger = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Begin the ledger."""
        super().__attrs_post_init__()
        self.ledger = Ledger(self)

    def join(self, agent: IPeer, binding: Binding = TLS) -> Wire:
        """See L{World.join}."""
        wire = super().join(agent, binding)
        self.ledger.watch(agent, wire)
        return wire
