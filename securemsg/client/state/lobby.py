"""
The lobby as a member knows it: whether it is in, and who else is. What is said there is a conversation with C{server}.

Source: C{docs/protocol.md}, section "The lobby".
"""

from __future__ import annotations

import enum

from msgspec.structs import replace

from securemsg.client.state.conversations import lobby
from securemsg.client.state.receipts import mark_delivered
from securemsg.client.state.records import HISTORY, META, Status, find_sent, load, save
from securemsg.interfaces import IRecords
from securemsg.protocol.devices import SERVER_NAME, check_name
from securemsg.protocol.envelope import (
    ConfirmedLine,
    Content,
    Kind,
    Members,
    Person,
    RefusedLine,
    RelayedLine,
    decode_record,
)
from securemsg.protocol.messages import Code, Counter, Name, Record

LOBBY = b"lobby"
# Refusals that say that we are not in it.
OUTSIDE = frozenset({"no-lobby", "lobby-full", "not-in-lobby"})


class Presence(enum.StrEnum):
    """Whether we are in the lobby."""

    OUT = "out"
    ENTERING = "entering"   # C{server} was asked, and has not answered so far
    IN = "in"
    REFUSED = "refused"


class LobbyState(Record, frozen=True):
    """
    What we know of it. Table C{META}, bucket C{LOBBY}.

    @ivar code: why we were refused, or, being in it, not told who else is; else empty.
    @ivar asked_at: when we asked to be let in last.
    @ivar members: those who are in it, ourselves included, in the order in which they came.
    """

    presence: Presence = Presence.OUT
    code: Code = ""
    asked_at: Counter = 0
    members: tuple[Name, ...] = ()


def load_lobby(records: IRecords) -> LobbyState:
    """What we know of the lobby."""
    return load(records, LobbyState, META, LOBBY) or LobbyState()


def save_lobby(records: IRecords, state: LobbyState) -> None:
    """Keep what we know of it."""
    save(records, META, LOBBY, state)


def check_names(body: Record) -> None:
    """
    Check the names in a body of the lobby: people see them, and may write to them.

    @raise Refusal: C{illegal-name}.
    """
    match body:
        case RelayedLine(author=name) | Person(name=name):
            check_name(name)
        case Members(names=names):
            for name in names:
                check_name(name)


def apply(records: IRecords, content: Content, now: int) -> bool:
    """
    Take into account what C{server} says of the lobby; its lines change nothing here.

    @return: whether that has changed anything.
    @raise Refusal: C{bad-envelope}: the body is malformed.
    """
    before = state = load_lobby(records)
    is_settled = False
    match content.kind:
        case Kind.MEMBERS:
            answer = decode_record(Members, content.body)
            state = _refused(state, answer.code) if answer.code else _let_in(state, tuple(answer.names))
        case Kind.ENTERED | Kind.LEFT if state.members:
            name = decode_record(Person, content.body).name
            others = tuple(other for other in state.members if other != name)
            state = replace(state, members=(*others, name) if content.kind == Kind.ENTERED else others)
        case Kind.REFUSED:
            refused = decode_record(RefusedLine, content.body)
            state = _refused(state, refused.code)
            is_settled = _mark_failed(records, refused)
        case Kind.CONFIRMED:
            confirmed = decode_record(ConfirmedLine, content.body)
            is_settled = mark_delivered(records, lobby(SERVER_NAME), confirmed.message_id, content.device, now)
    if state != before:
        save_lobby(records, state)
    return is_settled or state != before


def _let_in(state: LobbyState, members: tuple[str, ...]) -> LobbyState:
    """We are in it, unless we have left since we asked."""
    if state.presence is Presence.OUT:
        return state
    return replace(state, presence=Presence.IN, code="", members=members)


def _refused(state: LobbyState, code: str) -> LobbyState:
    """We were refused; whoever is in it stays there when there were too many messages, also if it asked who else is."""
    if state.presence is Presence.OUT or (state.presence is Presence.IN and code not in OUTSIDE):
        return state
    if state.members and code not in OUTSIDE:
        return replace(state, presence=Presence.IN, code=code)
    return replace(state, presence=Presence.REFUSED, code=code, members=())


def _mark_failed(records: IRecords, refused: RefusedLine) -> bool:
    """Note in history that a line of ours was not relayed; one that was relayed once stays so."""
    found = find_sent(records, refused.message_id)
    if found is None or found[0].conversation != lobby(SERVER_NAME):
        return False
    index, row = found
    if row.status is Status.DELIVERED:
        return False
    save(records, HISTORY, index.conversation.bucket, replace(row, status=Status.FAILED, code=refused.code), index.history)
    return True
