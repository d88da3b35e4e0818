"""What the user calls accounts and rooms."""

from __future__ import annotations

from collections.abc import Mapping

from securemsg.account.errors import explain
from securemsg.account.rooms import find, is_room, not_in_room
from securemsg.client.state import preferences
from securemsg.errors import Refusal
from securemsg.interfaces import IProfileStore


def full_name(store: IProfileStore, name: str) -> str:
    """
    The account or the room that is meant by a name, an alias, or the first digits of a room's id.

    @raise SecuremsgError: C{no-such-room}; C{room-unclear}; C{not-in-room}: we are only invited, and have no name for it.
        C{name-unclear}: it is the alias of one account and the name of another.
    """
    if is_room(name):
        room = find(store, name)
        if not room.alias:
            raise not_in_room(room, "")
        return room.name
    try:
        with store.reading() as records:
            return preferences.account_of(records, name)
    except Refusal as refusal:
        raise explain(refusal, name) from None


def aliases(store: IProfileStore) -> dict[str, str]:
    """What accounts are called that have an alias."""
    with store.reading() as records:
        return {name: wanted.alias for name, wanted in preferences.all_preferences(records).items() if wanted.alias}


def shown_name(name: str, known: Mapping[str, str]) -> str:
    """
    An account, for people: its alias with its name, which nobody else has.

    @param known: see L{aliases}.
    """
    return f"{known[name]} ({name})" if name in known else name
