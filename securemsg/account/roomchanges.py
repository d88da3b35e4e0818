"""What the user of an account changes in its rooms, and waits for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from securemsg.account.errors import Exit, SecuremsgError, error_for, explain
from securemsg.account.rooms import explained, find, not_in_room, own_profile, trouble
from securemsg.account.timeouts import Timeout
from securemsg.client import messages
from securemsg.client.rooms import changes, joining, rows, steps, store
from securemsg.client.rooms.changes import ChangeKind, PendingChange
from securemsg.client.rooms.joining import LINK_PREFIX, RoomLink
from securemsg.client.rooms.store import Room, RoomState
from securemsg.client.state import contacts
from securemsg.client.state.conversations import direct
from securemsg.client.state.profile import Profile
from securemsg.errors import Refusal
from securemsg.interfaces import IProfileStore, IRecords
from securemsg.protocol.devices import ROOM_MARK, is_reserved
from securemsg.protocol.envelope import Kind
from securemsg.protocol.rooms import MAX_TITLE, MemberList

if TYPE_CHECKING:
    from securemsg.account.connection import AccountConnection


@frozen
class RoomChanges:
    """
    The rooms of an account, for a command or a chat that changes them.

    What is to be done is committed first; then the owner of the connection does it, and each method waits for that.

    @ivar limit: how long.
    """

    _store: IProfileStore
    _connection: AccountConnection
    _now: Callable[[], float]
    _limit: Timeout

    async def create(self, alias: str, title: str) -> Room:
        """
        Make a room. If that was wanted before, and the server has not taken it, only wait.

        @raise SecuremsgError: it is refused, or the server has not taken it in time.
        """
        alias = alias.removeprefix(ROOM_MARK)
        check_title(title)
        with self._changing(ROOM_MARK + alias) as (records, profile):
            asked = [room for room in store.all_rooms(records) if room.state is RoomState.ASKED]
            room = next((room for room in asked if room.alias == alias and room.step), None)
            room = room or steps.create(records, profile, alias, title, int(self._now()))
        return await self._until_made(room)

    async def join(self, what: str, alias: str, by: str = "") -> Room:
        """
        Accept an invitation, or show a link; then wait until an admin has added us. If that was asked before, only wait.

        @param what: the name of a room, or a link.
        @param alias: what we want to call it; empty: what its title, or else its id, proposes.
        @param by: of several who have invited us, who is asked; empty: there is one.
        @raise SecuremsgError: it is refused; or C{not-added}.
        """
        alias = alias.removeprefix(ROOM_MARK)
        if not what.startswith(LINK_PREFIX) and not self._is_invited(what):
            # The invitation may wait on the server.
            await self._connection.ask("drained", timeout=self._limit)
        with self._changing(what) as (records, profile):
            link = joining.parse_link(what) if what.startswith(LINK_PREFIX) else None
            known = store.get_room(records, link.room) if link is not None else store.find_invitation(records, what)
            # Whoever is out needs another invitation, but no other link.
            admitted = (RoomState.INVITED,) if link is None else (RoomState.INVITED, RoomState.ASKED, RoomState.OUT)
            if known is not None and known.is_member and known.state is not RoomState.LEAVING:
                raise _usage(f"you are in {known.name} already")
            if known is not None and known.alias and alias not in ("", known.alias):
                raise _usage(f"you call this room {known.name} already", "omit --as")
            if known is not None and known.state is RoomState.ASKED and (link is None or known.step) and not by:
                room = known
            elif known is not None and known.state is RoomState.ASKED and link is None:
                room = self._ask(records, profile, known, link, alias, by)
            elif known is not None and known.state not in admitted and (known.is_member or link is None):
                raise not_in_room(known, profile.name)
            else:
                room = self._ask(records, profile, known, link, alias, by)
        return await self._until_added(room)

    def _is_invited(self, name: str) -> bool:
        """Whether we are invited to this room, or have asked to be added."""
        try:
            with self._store.reading() as records:
                return store.find_invitation(records, name).state in (RoomState.INVITED, RoomState.ASKED)
        except Refusal:
            return False

    def _ask(
        self, records: IRecords, profile: Profile, known: Room | None, link: RoomLink | None, alias: str, by: str
    ) -> Room:
        """Ask to be added, to a room that we are invited to or have a link of."""
        now = int(self._now())
        if link is None:
            assert known is not None, "it was found"
            inviters = [known.inviter, *(each.account for each in known.others)]
            if by not in ("", *inviters) or (not by and len(inviters) > 1):
                raise _usage(f"{' and '.join(inviters)} invited you", f"choose whom to ask: --by {inviters[0]}")
            with explained(ROOM_MARK + (alias or store.suggested_alias(known.title))):
                return joining.accept(records, profile, known, alias, now, by)
        if link.account == profile.name:
            raise _usage("this link is your own", "pass it on to others")
        with explained(ROOM_MARK + alias if alias else link.account):
            return joining.join(records, profile, link, alias, now)

    async def leave(self, name: str) -> Room | None:
        """
        Leave a room, or withdraw a request to be added.

        @return: the room; C{None}: we were only invited, and have declined, or were out of it, and have forgotten it.
        @raise SecuremsgError: C{not-in-room}.
        """
        with self._changing(name) as (records, profile):
            room = store.find_room(records, name)
            if room.state is RoomState.LEAVING and room.is_member:
                raise not_in_room(room, profile.name)
            left = joining.leave(records, profile, room, int(self._now()))
        if left is not None and left.state is RoomState.LEAVING:
            fate = "the others are told with the next connection"
            await self._until(lambda records: not rows.is_waiting(records, left.conversation, Kind.LEAVING), fate, left)
        return left

    async def invite(self, name: str, whom: Sequence[str]) -> Room:
        """
        Ask accounts to join a room.

        @raise SecuremsgError: one of them cannot be asked, and then nobody is; or the invitations are not sent so far.
        """
        with self._reading(name) as (records, profile):
            room = store.find_room(records, name)
            self._check_invited(records, profile, room, whom)
            unknown = [who for who in whom if contacts.get_contact(records, who) is None]
        for who in unknown:
            await self._connection.ask("fetch", who, timeout=self._limit)
        with self._changing(name) as (records, profile):
            room = store.find_room(records, name)
            self._check_invited(records, profile, room, whom)
            for who in whom:
                contact = contacts.get_contact(records, who)
                if contact is None or contact.has_changed:
                    raise error_for("no-such-account" if contact is None else "identity-changed", who)
                joining.invite(records, profile, room, who, int(self._now()))
        await self._until(
            lambda records: not self._is_inviting(records, whom),
            "the invitations are sent with the next connection",
            room,
        )
        return room

    def _is_inviting(self, records: IRecords, whom: Sequence[str]) -> bool:
        """Whether an invitation is on its way."""
        return any(rows.is_waiting(records, direct(who), Kind.INVITE) for who in whom)

    def _check_invited(self, records: IRecords, profile: Profile, room: Room, whom: Sequence[str]) -> None:
        body = self._checked(records, profile, room, needs_admin=True)
        for who in whom:
            if body.member(who) is not None:
                raise _usage(f"{who} is in {room.name} already")
            if is_reserved(who):
                raise _usage(f"{who} cannot be in a room")

    async def change(self, name: str, kind: ChangeKind, *, who: str = "", text: str = "") -> Room:
        """
        Change a room that we are an admin of.

        @param kind: C{REMOVE}, C{ADMIN} or C{NO_ADMIN}, of C{who}; C{TITLE}, to C{text}; C{LINK}: withdraw it.
        @raise SecuremsgError: it is refused, or not done in time.
        """
        if kind is ChangeKind.TITLE:
            check_title(text)
        with self._changing(name) as (records, profile):
            room = store.find_room(records, name)
            body = self._checked(records, profile, room, needs_admin=True)
            if kind is ChangeKind.REMOVE and who == profile.name:
                raise error_for("own-name", text="you cannot remove yourself", hint=f"securemsg room leave '{room.name}'")
            if who and body.member(who) is None:
                raise _no_member(room, who)
            number = changes.add(records, room, PendingChange(kind, who, text=text, is_ours=True))
        await self._until_granted(room, number)
        return room

    def _checked(self, records: IRecords, profile: Profile, room: Room, needs_admin: bool) -> MemberList:
        """
        The newest list of a room that we may change.

        @raise SecuremsgError: C{not-in-room}, C{not-admin}, C{room-forked}, C{room-broken}.
        """
        try:
            found = joining.check_admin(records, profile, room) if needs_admin else joining.own_list(records, room)
            return found.body
        except Refusal as refusal:
            if refusal.code == "not-in-room":
                raise not_in_room(room, profile.name) from None
            raise trouble(room) or explain(refusal, room.name) from None

    async def link(self, name: str, new: bool) -> str:
        """
        The link that admits to a room.

        @param new: make another one, and the one before admits nobody any more.
        @raise SecuremsgError: C{no-room-link}; it is refused, or not done in time.
        """
        with self._changing(name) as (records, profile):
            room = store.find_room(records, name)
            self._checked(records, profile, room, needs_admin=new)
            if not new:
                found = joining.current_link(records, profile, room)
                if found is None:
                    raise error_for("no-room-link", room.name)
                return joining.format_link(found)
            found, number = joining.new_link(records, profile, room, int(self._now()))
        await self._until_granted(room, number)
        return joining.format_link(found)

    async def renew(self, name: str, without: str) -> Room:
        """
        Make a room in the place of another one, and invite its members.

        @param without: one who is not invited; empty: nobody.
        @return: the new room.
        @raise SecuremsgError: it is refused, or not done in time.
        """
        with self._changing(name) as (records, profile):
            room = store.find_room(records, name)
            newest = store.newest(records, room)
            if newest is None or newest.body.member(profile.name) is None:
                raise not_in_room(room, profile.name)
            if without and newest.body.member(without) is None:
                raise _no_member(room, without)
            begun = [each for each in store.all_rooms(records) if each.renews == room.id and each.state is RoomState.ASKED]
            new = begun[0] if begun else joining.renew(records, profile, room, without, int(self._now()))
        made = await self._until_made(new)
        names = [member.account for member in newest.body.members]
        await self._until(
            lambda records: not self._current(records, made).renews and not self._is_inviting(records, names),
            "its members are invited with the next connection",
            made,
        )
        return made

    async def follow(self, name: str) -> Room:
        """
        Go by the server's member lists, in a room that is forked.

        @raise SecuremsgError: it is not, or nobody has shown us these lists in time.
        """
        with self._changing(name) as (records, _):
            room = store.find_room(records, name)
            if room.state is not RoomState.FORKED:
                raise _usage(f"{room.name} is not forked")
            joining.follow(records, room, int(self._now()))
        await self._until(
            lambda records: self._current(records, room).state is not RoomState.FORKED,
            "other members are asked for the server's lists until one of them answers",
            room,
        )
        return find(self._store, name)

    async def release(self, name: str, drop: bool) -> int:
        """
        Send the messages that wait because somebody has joined since they were written, or withdraw them.

        @return: how many there are.
        @raise SecuremsgError: C{no-such-room}; C{room-unclear}; or they are not accepted in time.
        """
        room = find(self._store, name)
        with explained(name):
            held = messages.held(self._store, name)
            if drop:
                for message_id in held:
                    messages.withdraw(self._store, message_id)
            else:
                messages.let_go(self._store, name)

        def is_settled(records: IRecords) -> bool:
            sent = [messages.sent_in(records, message_id) for message_id in held]
            return not any(each is not None and each.status == "queued" for each in sent)

        await self._until(is_settled, "what was released is sent with the next connection", room)
        return len(held)

    # --- waiting --------------------------------------------------------------------------------------------------

    async def _until_made(self, room: Room) -> Room:
        """
        Wait until the server has taken the first list of a room of ours.

        @raise SecuremsgError: it never will; or it has not in time.
        """

        def is_settled(records: IRecords) -> bool:
            return self._current(records, room).state is not RoomState.ASKED

        await self._until(is_settled, "it is made with the next connection", room)
        made = find(self._store, room.name)
        if made.state is RoomState.OUT:
            with self._store.writing() as records:
                joining.forget(records, made)
            raise error_for(made.code, made.name)
        return made

    async def _until_added(self, room: Room) -> Room:
        """
        Wait until an admin has added us.

        @raise SecuremsgError: nobody has in time.
        """
        asked = f"{room.inviter} is asked with the next connection"
        await self._until(lambda records: not rows.is_waiting(records, direct(room.inviter), Kind.ACCEPT), asked, room)
        hint = (
            f"{room.inviter}'s client adds you as soon as it runs; you need not repeat this; to withdraw your request:"
            f" securemsg room leave '{room.name}'"
        )
        for other in room.others:
            hint += f"; {other.account} invited you, too: securemsg room join '{room.name}' --by {other.account}"
        late = error_for("not-added", room.name, hint=hint)
        await self._until(lambda records: self._current(records, room).state is RoomState.IN, hint, room, late)
        return find(self._store, room.name)

    async def _until_granted(self, room: Room, number: int) -> None:
        """
        Wait until a change is done.

        @raise SecuremsgError: it cannot be done; or it is not in time, and stays wanted.
        """

        fate = "the change is queued, and is made with the next connection"
        await self._until(lambda records: not changes.is_pending(records, number), fate, room)
        with self._store.writing() as records:
            code = changes.pop_failed(records, number)
        if code:
            raise error_for(code, room.name)

    async def _until(
        self, check: Callable[[IRecords], bool], fate: str, room: Room, late: SecuremsgError | None = None
    ) -> None:
        """
        Wait until something in the store is so.

        @param fate: what becomes of it if it is not, for the hint.
        @param late: the error where nothing is wrong, but it takes too long; C{None}: whatever holds up the room.
        @raise SecuremsgError: it is not so in time.
        """

        def look() -> bool | None:
            with self._store.reading() as records:
                if self._current(records, room).is_unsupported:
                    raise error_for("server-without-rooms")
                return check(records) or None

        self._connection.nudge()
        try:
            if await self._connection.until(look, self._limit):
                return
            if late is not None:
                raise late
            problem = self._late(room)
        except SecuremsgError as error:
            if error is late:
                raise
            problem = error
        problem.hint = f"{fate}; {problem.hint}" if problem.hint else fate
        raise problem

    def _late(self, room: Room) -> SecuremsgError:
        """Why something is not done in time."""
        with self._store.reading() as records:
            found = self._current(records, room)
        problem = trouble(found)
        if problem is not None and not found.follows_server:
            return problem
        if self._connection.last_failure:
            return error_for(self._connection.last_failure, self._connection.where)
        if found.needs_lists:
            return error_for("room-behind", found.name)
        return error_for("not-accepted", text=f"the server did not accept the change to {found.name} in time")

    def _current(self, records: IRecords, room: Room) -> Room:
        return store.get_room(records, room.id) or room

    @contextlib.contextmanager
    def _changing(self, name: str) -> Iterator[tuple[IRecords, Profile]]:
        """A transaction; what is refused in it is raised as an error about C{name}."""
        with self._store.writing() as records, explained(name):
            yield records, own_profile(records)

    @contextlib.contextmanager
    def _reading(self, name: str) -> Iterator[tuple[IRecords, Profile]]:
        """Likewise, to read only."""
        with self._store.reading() as records, explained(name):
            yield records, own_profile(records)


def check_title(title: str) -> None:
    """
    Check a title.

    @raise SecuremsgError: C{bad-request}: it is empty, too long or no text.
    """
    try:
        size = len(title.encode("utf-8"))
    except UnicodeEncodeError:
        raise error_for("not-utf8") from None
    if not 0 < size <= MAX_TITLE:
        raise _usage(f"a title has 1 to {MAX_TITLE} bytes of UTF-8", "give another one")


def _usage(text: str, hint: str = "") -> SecuremsgError:
    return SecuremsgError(Exit.USAGE, "bad-request", text, hint)


def _no_member(room: Room, who: str) -> SecuremsgError:
    hint = f"see who is: securemsg room members '{room.name}'"
    return error_for("not-in-room", text=f"{who} is not in {room.name}", hint=hint)
