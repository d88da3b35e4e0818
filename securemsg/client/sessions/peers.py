"""The other end of a conversation, one class for each kind of conversation."""

from __future__ import annotations

from typing import Protocol

import msgspec
from attrs import evolve

from securemsg.client.sessions.addresses import CONNECTION, DeviceAddress, Recipient
from securemsg.client.sessions.guests import GuestPeer
from securemsg.client.sessions.pins import WrongKey
from securemsg.client.state import contacts, counters, gaps
from securemsg.client.state.contacts import Contact
from securemsg.client.state.conversations import Conversation, ConversationKind
from securemsg.client.state.gaps import Arrival
from securemsg.client.state.profile import DAY, Profile
from securemsg.crypto.keyfile import SharedKey
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import Content, Introduction, KeyHeader, Share
from securemsg.protocol.messages import AccountRecord

# A contact's list is fetched again this long after it was last confirmed, seconds.
CHECK_AGE = DAY


class NeedAccount(Refusal):
    """Ask the directory for this account first."""

    def __init__(self, account: str) -> None:
        super().__init__("unknown-account")
        self.account = account


class Peer(Protocol):
    """The other end, by the kind of conversation."""

    @property
    def has_account(self) -> bool:
        """Whether both ends have accounts. Only then are there device lists to compare, and sessions that a reset can mend."""

    def is_known(self, records: IRecords, conversation: Conversation) -> bool:
        """Whether a message may be written to it."""

    def recipient(self, records: IRecords, profile: Profile, conversation: Conversation, now: int) -> Recipient:
        """
        Whom a deposit is sealed for now.

        @raise NeedAccount: the directory has to be asked first.
        @raise RecipientGone: it is gone.
        @raise Refusal: C{identity-changed}.
        """

    def alleged_sender(
        self, records: IRecords, profile: Profile, sender: DeviceAddress, key: SharedKey, header: KeyHeader, now: int
    ) -> Contact | None:
        """
        The only possible sender of a message of suite C{psk}, if it is known; nothing is saved.

        @raise WrongKey: this end makes no such headers.
        """

    def adopt_sender(
        self, records: IRecords, profile: Profile, sender: DeviceAddress, contact: Contact | None, header: KeyHeader, now: int
    ) -> Contact:
        """
        A message of suite C{psk} has proved that its sender holds the key file.

        @param contact: its L{alleged_sender}.
        @return: the sender, as it is known from now on.
        @raise Refusal: C{unknown-device}, or its introduction is not believed.
        """

    def count(self, records: IRecords, content: Content, base: Share | None, now: int) -> Arrival:
        """Take the counter of an authentic content into account: see L{gaps.receive}."""


class ContactPeer:
    """Another account, for an account."""

    has_account = True

    def is_known(self, records: IRecords, conversation: Conversation) -> bool:
        """See L{Peer.is_known}. An unknown account is looked up later."""
        return True

    def recipient(self, records: IRecords, profile: Profile, conversation: Conversation, now: int) -> Recipient:
        """See L{Peer.recipient}."""
        contact = _up_to_date(records, conversation.account, now)
        devices = tuple(device.id for device in contacts.devices(contact))
        return Recipient(contact, devices, introduction=Introduction(profile.identity.public, profile.devices))

    def alleged_sender(
        self, records: IRecords, profile: Profile, sender: DeviceAddress, key: SharedKey, header: KeyHeader, now: int
    ) -> Contact | None:
        """See L{Peer.alleged_sender}."""
        if header.epoch == CONNECTION:
            raise WrongKey
        return contacts.get_contact(records, sender.account)

    def adopt_sender(
        self, records: IRecords, profile: Profile, sender: DeviceAddress, contact: Contact | None, header: KeyHeader, now: int
    ) -> Contact:
        """See L{Peer.adopt_sender}."""
        # It has the key, but its identity must still be checked.
        if header.introduction is not None:
            record = AccountRecord(sender.account, header.introduction.identity, header.introduction.devices)
            contact = contacts.introduced(records, profile, record, now)
        assert contact is not None, "an identity without a contact"
        return _keep(records, contact, sender, now)

    def count(self, records: IRecords, content: Content, base: Share | None, now: int) -> Arrival:
        """See L{Peer.count}."""
        return gaps.receive(records, content, base, now)


class RoomPeer(ContactPeer):
    """Another member of a room, as far as its messages go; to whom deposits go says the room's list."""

    def count(self, records: IRecords, content: Content, base: Share | None, now: int) -> Arrival:
        """See L{Peer.count}. What was said before we joined is nothing that we have lost."""
        is_known = gaps.in_stream(records, counters.stream_of(content)).highest > 0
        arrival = gaps.receive(records, content, base, now)
        before = 0 if is_known else counters.left_out(base, 0, content.counter - 1)
        return evolve(arrival, lost=max(arrival.lost - before, 0))


class HostPeer(ContactPeer):
    """The contact C{server}, for a guest: any server that has the file is the right one."""

    has_account = False

    def recipient(self, records: IRecords, profile: Profile, conversation: Conversation, now: int) -> Recipient:
        """See L{Peer.recipient}."""
        contact = _up_to_date(records, conversation.account, now)
        return Recipient(contact, tuple(device.id for device in contacts.devices(contact)), profile.connection)

    def alleged_sender(
        self, records: IRecords, profile: Profile, sender: DeviceAddress, key: SharedKey, header: KeyHeader, now: int
    ) -> Contact | None:
        """See L{Peer.alleged_sender}."""
        if (header.epoch, header.nonce, header.introduction) != (CONNECTION, profile.connection, None):
            raise WrongKey
        return contacts.get_contact(records, sender.account)

    def adopt_sender(
        self, records: IRecords, profile: Profile, sender: DeviceAddress, contact: Contact | None, header: KeyHeader, now: int
    ) -> Contact:
        """See L{Peer.adopt_sender}."""
        assert contact is not None, "an identity without a contact"
        return _keep(records, msgspec.structs.replace(contact, verified=True), sender, now)


PEERS: dict[ConversationKind, Peer] = {
    ConversationKind.DIRECT: ContactPeer(),
    ConversationKind.GUEST: GuestPeer(),
    ConversationKind.HOST: HostPeer(),
    ConversationKind.LOBBY: ContactPeer(),
    ConversationKind.ROOM: RoomPeer(),
}


def _up_to_date(records: IRecords, name: str, now: int) -> Contact:
    """A contact, if the directory confirmed it recently, and the user was told of what has been added or followed."""
    contact = contacts.get_contact(records, name)
    if contact is not None and contact.has_changed:
        raise Refusal("identity-changed")
    is_unsettled = contact is not None and (contact.unannounced or contact.followed or contact.changed_to)
    if contact is None or contact.devices is None or is_unsettled or abs(now - contact.checked_at) > CHECK_AGE:
        raise NeedAccount(name)
    return contact


def _keep(records: IRecords, contact: Contact, sender: DeviceAddress, now: int) -> Contact:
    """Save a contact that sent from a device on its list."""
    if contacts.device(contact, sender.device) is None:
        raise Refusal("unknown-device")
    contacts.put_judged(records, contact, now)
    return contact
