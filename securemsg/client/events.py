"""The events that an agent reports. Messages are in the store; an event only says that something changed."""

from __future__ import annotations

from attrs import frozen


@frozen
class Ready:
    """
    Logged in.

    @ivar link: what protects the connection, where its channel says so.
    """

    link: object = None


@frozen
class Drained:
    """Everything that waited on the server before this login is committed here."""


@frozen
class Changed:
    """Something in the store changed: messages came, or the state of sent ones."""


@frozen
class Warned:
    """
    A warning for the user; also saved among the notices of the store.

    @ivar name: the contact it is about; empty if it is about this account or the server.
    @ivar text: what happened, in words.
    """

    code: str
    name: str
    text: str


@frozen
class ShortInviteEnded:
    """
    A short invite of ours is of no use any more.

    @ivar code: why; empty: whoever had the words has the invite (L{securemsg.client.shortinvites}).
    """

    number: int
    code: str


@frozen
class Failed:
    """Connecting again would not help: the server refused the login, or is not the one that was pinned."""

    code: str


@frozen
class Disconnected:
    """
    The connection has ended; the owner may make another.

    @ivar code: why, as the channel said it, or C{local-error}.
    """

    code: str


Event = Ready | Drained | Changed | Warned | ShortInviteEnded | Failed | Disconnected
