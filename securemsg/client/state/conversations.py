"""Conversations: the key for history, outbox, send queues, drafts and the chosen suite."""

from __future__ import annotations

import enum

from securemsg.crypto.keyfile import NAME_PREFIX
from securemsg.protocol.devices import LOBBY_NAME, ROOM_MARK
from securemsg.protocol.messages import Record


class ConversationKind(enum.StrEnum):
    """Who talks with whom; C{securemsg.client.sessions.peers} has a row for each."""

    DIRECT = "direct"   # two accounts; id: the contact's name
    GUEST = "guest"     # the contact `server` with one connection of a guest; id: the guest's name and device
    HOST = "host"       # a guest with the contact `server`; id: its name
    ROOM = "room"       # the members of a room; id: the room's id, and what we call it
    LOBBY = "lobby"     # an account with the contact `server`, which relays to everybody; id: the name at the other end


class Conversation(Record, frozen=True):
    """One conversation of this profile."""

    kind: ConversationKind
    id: str

    @property
    def account(self) -> str:
        """The name of the account at the other end; of a room: its id, which is nobody's name."""
        return self.id.partition("/")[0]

    @property
    def is_room(self) -> bool:
        """Whether it is a room of several members; the lobby is not, because what is said there goes to C{server} alone."""
        return self.kind is ConversationKind.ROOM

    @property
    def room_id(self) -> bytes:
        """The id of the room that it is."""
        return bytes.fromhex(self.account)

    @property
    def room(self) -> str:
        """The name of the room that it is; empty: it is none."""
        if self.kind is ConversationKind.LOBBY:
            return LOBBY_NAME
        return f"{ROOM_MARK}{self.id.partition('/')[2]}" if self.is_room else ""

    @property
    def name(self) -> str:
        """What people call it: the name of the room, or of the account at the other end."""
        return self.room or self.account

    @property
    def device(self) -> bytes:
        """The one device at the other end, where it is a guest; else empty."""
        return bytes.fromhex(self.id.partition("/")[2])

    @property
    def bucket(self) -> bytes:
        """Where its history is kept; the guests with one key file share theirs."""
        return f"{self.kind}/{self.account}".encode()


def direct(name: str) -> Conversation:
    """The conversation of an account with another."""
    return Conversation(ConversationKind.DIRECT, name)


def with_guest(name: str, device: bytes = b"") -> Conversation:
    """The conversation of the contact C{server} with a connection of a guest; without a device: with all of them."""
    return Conversation(ConversationKind.GUEST, f"{name}/{device.hex()}")


def lobby(name: str) -> Conversation:
    """The conversation of an account with the contact C{server} that is the lobby; C{name}: the other end's."""
    return Conversation(ConversationKind.LOBBY, name)


def room(room_id: bytes, alias: str) -> Conversation:
    """
    The conversation of the members of a room.

    @param alias: what we call it, without the mark.
    """
    return Conversation(ConversationKind.ROOM, f"{room_id.hex()}/{alias}")


def account_of(bucket: bytes) -> str:
    """The account at the other end of the conversations in a L{Conversation.bucket}."""
    return bucket.decode().partition("/")[2]


def is_guest(name: str) -> bool:
    """Whether this is the name of guests with a key file. Nobody can register such a name."""
    return name.startswith(NAME_PREFIX)
