"""A message of ours on its way: wait until it has come as far as was asked for, or learn why it does not."""

from __future__ import annotations

from securemsg.account.connection import AccountConnection
from securemsg.account.errors import Exit, SecuremsgError, error_for
from securemsg.client import messages
from securemsg.client.messages import Sent
from securemsg.client.state.contacts import get_contact
from securemsg.interfaces import IProfileStore

# What to wait for; the server's answer, or a receipt of the recipient's.
ACCEPTED, DELIVERED = "accepted", "delivered"
# Which statuses end the waiting for which wish.
_ENOUGH = {ACCEPTED: ("accepted", "delivered"), DELIVERED: ("delivered",)}
# What a message waits for that will not come by itself.
BLOCKING = "identity-changed"


async def follow(store: IProfileStore, connection: AccountConnection, number: bytes, wait: str, timeout: float | None) -> Sent:
    """
    Wait for a message that was committed.

    @param wait: L{ACCEPTED} or L{DELIVERED}.
    @param timeout: seconds; C{None}: forever.
    @return: the message as it stands then.
    @raise SecuremsgError: it did not come as far. If it is queued it stays so, and goes out with the next connection.
    """
    sent = await connection.until(lambda: _settled(store, connection, number, wait), timeout)
    if sent is None:
        raise _too_late(store, connection, number)
    if sent.status in _ENOUGH[wait]:
        return sent
    if sent.status == "withdrawn":
        raise error_for("withdrawn")
    if sent.status == "queued":
        raise error_for(BLOCKING, sent.to)
    raise error_for(sent.code or "refused", sent.to)


def waits_for_user(store: IProfileStore, sent: Sent) -> bool:
    """
    Whether a message cannot go out before the user has accepted another identity. The message says so itself only where it is
    the first in its outbox; the contact says so always.
    """
    if sent.status != "queued":
        return False
    with store.reading() as records:
        contact = get_contact(records, sent.to)
    return sent.code == BLOCKING if contact is None else contact.is_blocked


def _settled(store: IProfileStore, connection: AccountConnection, number: bytes, wait: str) -> Sent | None:
    """The message, once there is something to say of it."""
    sent = _found(store, number)
    if sent.status in (*_ENOUGH[wait], "failed", "withdrawn"):
        return sent
    return sent if _has_tried(connection) and waits_for_user(store, sent) else None


def _has_tried(connection: AccountConnection) -> bool:
    """
    Whether a connection stands, or does not come about for the moment. Before that is known we say nothing: what else is in the
    outbox shall have its chance, and what is wrong with server or profile is worse than what is wrong with a contact.
    """
    if not connection.is_owner or connection.is_ready:
        return True
    failure = connection.last_failure
    return bool(failure) and error_for(failure).status is Exit.NOT_CONNECTED and not connection.fatal


def _too_late(store: IProfileStore, connection: AccountConnection, number: bytes) -> SecuremsgError:
    sent = _found(store, number)
    if sent.status == "accepted":
        return error_for("not-delivered", sent.to)
    if sent.code:
        return error_for(sent.code, sent.to)
    if connection.last_failure:
        return error_for(connection.last_failure, connection.where)
    return error_for("not-accepted", sent.to)


def _found(store: IProfileStore, number: bytes) -> Sent:
    sent = messages.sent(store, number)
    assert sent is not None, "it was committed before we looked"
    return sent
