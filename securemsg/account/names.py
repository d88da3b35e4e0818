"""What the user calls accounts and rooms."""

from __future__ import annotations

from collections.abc import Mapping

from securemsg.account.errors import error_for, explain
from securemsg.account.rooms import find, is_room, not_in_room
from securemsg.client import histories
from securemsg.client.state import preferences
from securemsg.client.state.contacts import Contact, get_contact
from securemsg.client.state.conversations import Conversation
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


def found_conversation(store: IProfileStore, name: str) -> Conversation:
    """
    The conversation with somebody, or in a room.

    @raise SecuremsgError: C{no-such-account}: nobody of this name is known; or see L{full_name}.
    """
    name = full_name(store, name)
    conversation = histories.conversation_of(store, name)
    if is_room(name) or histories.count(store, [conversation]):
        return conversation
    if find_contact(store, conversation.account) is None:
        raise error_for("no-such-account", name)
    return conversation


def find_contact(store: IProfileStore, name: str) -> Contact | None:
    """The contact of this name."""
    with store.reading() as records:
        return get_contact(records, name)


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
