"""The lobby, for its members: enter, leave, put into words what happens. The other side is L{securemsg.client.relay}."""

from __future__ import annotations

from msgspec.structs import replace

from securemsg.client.messages import Line, Received, compose_in
from securemsg.client.state.conversations import lobby
from securemsg.client.state.lobby import LobbyState, Presence, load_lobby, save_lobby
from securemsg.client.state.records import EVENTS
from securemsg.interfaces import IProfileStore, IRecords
from securemsg.protocol.devices import LOBBY_NAME, SERVER_NAME
from securemsg.protocol.envelope import Kind

# Whoever is in it asks again after this time: C{server} may have put us out, or lost what it knew. Seconds.
ASK_AGE = 60 * 60

# What is said where the lobby is opened.
READABLE = f"the server's operator can read everything in {LOBBY_NAME}; the names there are not verified"


def enter(store: IProfileStore, now: float) -> bool:
    """
    Ask to be let into the lobby, unless we are in it, or have asked already.

    @return: whether there is something to be sent.
    """
    with store.writing() as records:
        state = load_lobby(records)
        if state.presence is Presence.IN and not _is_due(state, now):
            return False
        return _ask(records, state, Presence.IN if state.presence is Presence.IN else Presence.ENTERING, now)


def refresh(store: IProfileStore, now: float) -> bool:
    """
    Ask who is in the lobby, unless we have left it, or have asked already: until C{server} answers, we do not know that we are.

    @return: whether there is something to be sent.
    """
    with store.writing() as records:
        state = load_lobby(records)
        return state.presence is not Presence.OUT and _ask(records, state, Presence.ENTERING, now)


def leave(store: IProfileStore, now: float) -> bytes | None:
    """
    Leave the lobby.

    @return: the id of the message that says so; C{None}: we are not in it.
    """
    with store.writing() as records:
        if load_lobby(records).presence is Presence.OUT:
            return None
        save_lobby(records, LobbyState())
        return _write(records, Kind.LEAVE, now)


def state_of(store: IProfileStore) -> LobbyState:
    """Whether we are in the lobby, and who else is."""
    with store.reading() as records:
        return load_lobby(records)


def event_text(line: Line, own: str) -> str:
    """What happened in a room, in words; empty where something was said."""
    name = line.sender if isinstance(line, Received) else own
    if line.kind in EVENTS:
        return f"{name} entered" if line.kind in (Kind.ENTER, Kind.ENTERED) else f"{name} left"
    if line.kind == Kind.REFUSED and isinstance(line, Received):
        return f"your message was not relayed [{line.text}]"
    return ""


def _ask(records: IRecords, state: LobbyState, presence: Presence, now: float) -> bool:
    """Ask to be let in, unless we wait for the answer already."""
    if state.presence is Presence.ENTERING and not _is_due(state, now):
        return False
    _write(records, Kind.ENTER, now)
    save_lobby(records, replace(state, presence=presence, code="", asked_at=int(now)))
    return True


def _is_due(state: LobbyState, now: float) -> bool:
    return abs(now - state.asked_at) >= ASK_AGE


def _write(records: IRecords, kind: Kind, now: float) -> bytes:
    return compose_in(records, lobby(SERVER_NAME), "", now=int(now), kind=kind)
