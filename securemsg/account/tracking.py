"""Tracking of a sent message: wait until it is accepted or delivered, or find out why it is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from securemsg.account.errors import Exit, SecuremsgError, error_for
from securemsg.account.lobby import not_relayed
from securemsg.account.timeouts import IdleTimeout, Timeout
from securemsg.client import messages
from securemsg.client.messages import ROOM_CHANGED, Sent
from securemsg.client.rooms.store import RoomState, get_room
from securemsg.client.sending.results import first_code
from securemsg.client.sessions.pins import pinned_suite
from securemsg.client.state.contacts import get_contact, is_signed_claim
from securemsg.interfaces import IProfileStore, IRecords
from securemsg.protocol.envelope import RSA

T = TypeVar("T")

# What to wait for: the server's answer (of a line in a room: until it is relayed), or the recipient's receipt.
ACCEPTED, DELIVERED = "accepted", "delivered"
# The code of a message that waits for the user.
BLOCKING = "identity-changed"
# The code of a message whose recipient must act first.
NO_KEY = "suite-unavailable"
# The codes of messages that wait until somebody acts.
HELD_UP = frozenset({BLOCKING, NO_KEY, ROOM_CHANGED, "room-forked", "room-broken"})


class Connection(Protocol):
    """
    The part of a connection that whoever waits for a message needs: see L{securemsg.account.connection.AccountConnection}, and
    L{securemsg.account.beside.OwnersConnection}, which does without the network.
    """

    @property
    def where(self) -> str:
        """The server's address, for messages."""

    @property
    def is_owner(self) -> bool:
        """Whether the connection is ours."""

    @property
    def is_ready(self) -> bool:
        """Whether it is ours and logged in."""

    @property
    def fatal(self) -> str:
        """The code of a failure that connecting again would not fix."""

    @property
    def last_failure(self) -> str:
        """Why there is no connection now, where it is ours."""

    async def until(self, check: Callable[[], T | None], timeout: Timeout) -> T | None:
        """Wait until a check of the store gives a result; C{None} after the timeout."""


async def follow(
    store: IProfileStore, connection: Connection, message_id: bytes, wait: str, timeout: Timeout
) -> Sent:
    """
    Wait for a message that was committed.

    @param wait: L{ACCEPTED} or L{DELIVERED}.
    @return: the message as it stands then.
    @raise SecuremsgError: it did not get that far. If it is queued, it stays queued and is sent with the next connection.
    """
    if isinstance(timeout, IdleTimeout):
        # What a slow link takes is one thing; a server that refuses for now, or a recipient who does not confirm, is another.
        if await connection.until(lambda: _has_arrived(store, connection, message_id), timeout) is None:
            raise too_late(store, connection, message_id)
        timeout = timeout.seconds
    sent = await connection.until(lambda: settled(store, connection, message_id, wait), timeout)
    if sent is None:
        raise too_late(store, connection, message_id)
    if is_enough(sent, wait):
        return sent
    held_up = held_up_by(store, sent)
    if held_up == BLOCKING and not sent.conversation.is_room:
        raise _changed(store, sent.conversation.account)
    raise problem_of(sent, held_up)


def held_up_by(store: IProfileStore, sent: Sent) -> str:
    """Why a message cannot be sent until somebody acts: see L{held_up_in}."""
    with store.reading() as records:
        return held_up_in(records, sent)


def held_up_in(records: IRecords, sent: Sent) -> str:
    """
    Why a message cannot be sent until somebody acts: L{BLOCKING}, until the user accepts the contact's new identity; L{NO_KEY},
    until the contact has an RSA key; in a room, what the user has to decide there; else empty. The message itself says so only
    if it is the first in its queue; what the first one says counts for those behind it if it was said after they were written.
    """
    if sent.status != "queued":
        return ""
    if sent.conversation.is_room:
        return _held_up_in_room(records, sent)
    if sent.code == NO_KEY:
        return NO_KEY
    contact = get_contact(records, sent.conversation.account)
    if contact is None:
        return BLOCKING if sent.code == BLOCKING else ""
    if contact.has_changed:
        return BLOCKING
    is_rsa = pinned_suite(records, sent.conversation).suite == RSA
    if is_rsa and contact.checked_at > sent.sent_at and first_code(records, sent.conversation) == NO_KEY:
        return NO_KEY
    return ""


def _held_up_in_room(records: IRecords, sent: Sent) -> str:
    """Why a message in a room waits for the user."""
    room = get_room(records, sent.conversation.room_id)
    if room is not None and room.state in (RoomState.FORKED, RoomState.BROKEN):
        return f"room-{room.state}"
    return sent.code if sent.code == ROOM_CHANGED else ""


def _changed(store: IProfileStore, name: str) -> SecuremsgError:
    """The error for a contact whose keys have changed; it says whether the old ones have signed the new."""
    with store.reading() as records:
        contact = get_contact(records, name)
    if contact is not None and is_signed_claim(contact):
        return error_for(BLOCKING, name, text="{name} has new keys, which the old ones have signed")
    return error_for(BLOCKING, name)


def problem_of(sent: Sent, held_up: str) -> SecuremsgError:
    """Why a message does not get any further."""
    if sent.status == "withdrawn":
        return error_for("withdrawn")
    if sent.status == "queued":
        name = sent.to if sent.conversation.is_room else sent.conversation.account
        return error_for(held_up or BLOCKING, name)
    return error_for(sent.code or "refused", sent.to)


def is_enough(sent: Sent, wait: str) -> bool:
    """Whether a message has come as far as is waited for."""
    return sent.status == "delivered" or (sent.status == "accepted" == wait and not sent.needs_relay)


def _has_arrived(store: IProfileStore, connection: Connection, message_id: bytes) -> bool | None:
    """C{True} once the server has said anything about a message."""
    sent = _found(store, message_id)
    has_answer = sent.status == "accepted" or sent.code or settled(store, connection, message_id, ACCEPTED) is not None
    return True if has_answer else None


def settled(store: IProfileStore, connection: Connection, message_id: bytes, wait: str) -> Sent | None:
    """The message, once its outcome is known."""
    sent = _found(store, message_id)
    if is_enough(sent, wait) or sent.status in ("failed", "withdrawn"):
        return sent
    return sent if has_tried(connection) and held_up_by(store, sent) else None


def has_tried(connection: Connection) -> bool:
    """
    Whether we are connected, or the server cannot be reached for now. Nothing is reported before that is known: the rest of the
    outbox gets its chance first, and an error of the server or the profile matters more than one about a contact.
    """
    if not connection.is_owner or connection.is_ready:
        return True
    failure = connection.last_failure
    return bool(failure) and error_for(failure).status is Exit.NOT_CONNECTED and not connection.fatal


def too_late(store: IProfileStore, connection: Connection, message_id: bytes) -> SecuremsgError:
    """The error for a message that did not get far enough in time."""
    sent = _found(store, message_id)
    if sent.status == "accepted" and sent.needs_relay:
        hint = f"it may still be relayed; to wait again, send the same text with --id {sent.id.hex()}"
        return not_relayed("the message was", hint)
    if sent.status == "accepted":
        return error_for("not-delivered", sent.to)
    if sent.code:
        return error_for(sent.code, sent.to)
    if connection.last_failure:
        return error_for(connection.last_failure, connection.where)
    return error_for("not-accepted", sent.to)


def _found(store: IProfileStore, message_id: bytes) -> Sent:
    sent = messages.sent(store, message_id)
    if sent is None:
        # It was committed before we looked.
        raise error_for("disappeared")
    return sent
