"""
What the parts of an agent share: the store, the profile, the current connection, and the events to be reported.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from attrs import define, field

from securemsg.client.events import Changed, Event, Warned
from securemsg.client.requests import Callback, Question, Requests
from securemsg.client.state import contacts, verification
from securemsg.client.state.contacts import Contact, Policy
from securemsg.client.state.profile import DAY, Profile
from securemsg.client.state.records import META, NOTICE, Notice, add_notice, end_notices, load_all
from securemsg.client.warnings import warning_text
from securemsg.errors import Refusal
from securemsg.interfaces import IProfileStore, IRecords
from securemsg.protocol.channel import IChannel
from securemsg.protocol.messages import AccountRecord, Message, Unknown

# The same warning about the same contact is not repeated within this time, unless this many others came since.
QUIET = DAY
LOOK_BACK = 50
# Clocks that differ by more than this, in seconds, cause a warning.
CLOCK_TOLERANCE = 3600

@define(eq=False)
class Context:
    """
    @ivar profile: as it is committed.
    @ivar now: the wall clock, which people and NTP set: for what people see and for what is stored.
    @ivar seconds: monotonic time, for everything that lasts no longer than this process.
    @ivar channel: the current one; C{None}: not connected.
    @ivar watch: called with every message that is sent; C{None}: nobody watches.
    @ivar is_writable: whether the channel takes more.
    @ivar last_sent_at: when we last sent something.
    @ivar moved_at: when bytes last moved in either direction, to a second or so.
    @ivar is_caught_up: whether all that waited at the server for this login is here.
    @ivar clock_ahead: by how many seconds the server's clock was ahead of ours when it last reported its time.
    """

    store: IProfileStore
    profile: Profile
    now: Callable[[], float]
    seconds: Callable[[], float]
    soon: Callable[[Callable[[], None]], None]
    watch: Callable[[Message | Unknown], None] | None = None
    channel: IChannel | None = field(default=None, init=False)
    requests: Requests = field(factory=Requests, init=False)
    is_caught_up: Callable[[], bool] = field(default=lambda: True, init=False)
    is_writable: bool = field(default=True, init=False)
    last_sent_at: float = field(default=0.0, init=False)
    moved_at: float = field(default=0.0, init=False)
    _moved: float = field(default=0.0, init=False)
    clock_ahead: int = field(default=0, init=False)
    _clock_noted: int = field(default=0, init=False)
    _events: list[Event] = field(factory=list, init=False)

    @property
    def is_clock_right(self) -> bool:
        """Whether our clock and the server's agreed when it last reported its time; otherwise nothing counts as too old."""
        return max(abs(self.clock_ahead), abs(self.time() - self._clock_noted)) <= CLOCK_TOLERANCE

    @property
    def has_rooms(self) -> bool:
        """Whether the server of the current connection orders rooms."""
        return self.channel is not None and self.channel.connection.has_rooms

    @property
    def has_short_invites(self) -> bool:
        """Whether the server of the current connection knows short invites."""
        return self.channel is not None and self.channel.connection.has_short_invites

    def note_server_time(self, server_now: int) -> None:
        """Note the time that the server reports."""
        self._clock_noted = self.time()
        self.clock_ahead = server_now - self._clock_noted

    def note_movement(self) -> None:
        """Look whether bytes have moved since the last look."""
        before, self._moved = self._moved, 0.0 if self.channel is None else self.channel.moved_at()
        if self._moved != before:
            self.moved_at = self.seconds()

    def time(self) -> int:
        """Now, in whole seconds, by the wall clock."""
        return int(self.now())

    def send(self, message: Message) -> None:
        """Send a message; without a connection nothing happens."""
        if self.channel is not None:
            self.last_sent_at = self.seconds()
            self.channel.send(message)
            if self.watch is not None:
                self.watch(message)

    def ask(self, question: Question, callback: Callback) -> None:
        """Send a question; the callback gets the answer or a refusal."""
        if self.channel is None:
            callback(Refusal("not-connected"))
            return
        numbered = self.requests.number(question, callback, self.seconds())
        if numbered is not None:
            self.send(numbered)

    def notify(self, event: Event) -> None:
        """Report an event once the current step is committed."""
        if not (isinstance(event, Changed) and event in self._events):
            self._events.append(event)

    def pop_events(self) -> list[Event]:
        """Take the events to report now."""
        events, self._events = self._events, []
        return events

    def adopt(self, records: IRecords, record: AccountRecord) -> Contact:
        """
        Adopt a record of the directory, and tell the user if it brings a device that was not there before. Another identity's
        claim to the name ends with it: the next one is told, be it the same.

        @raise Refusal: see L{contacts.adopt}.
        """
        before = contacts.get_contact(records, record.name)
        contact = contacts.adopt(
            records, self.profile, record, self.time(), contacts.DIRECTORY, may_follow=self.is_caught_up()
        )
        if before is not None and before.has_changed:
            end_notices(records, "identity-changed", contact.name)
        self.announce(records, contact.name)
        return contact

    def announce(self, records: IRecords, name: str) -> None:
        """
        Tell the user of a device that was added to a contact's list, and of an identity that was followed, in the transaction
        that saved them.
        """
        contact = contacts.get_contact(records, name)
        if contact is not None and contact.followed:
            contacts.put_contact(records, contact := msgspec.structs.replace(contact, followed=False))
            code = "identity-renewed" if contact.policy is Policy.SIGNED else "identity-followed"
            self.warn(records, code, name, about=contact.identity)
            self.notify(Changed())
        if contact is not None and contact.unannounced:
            contacts.put_contact(records, msgspec.structs.replace(contact, unannounced=False))
            self.warn(records, "contact-device-added", name)
            self.notify(Changed())

    def warn(self, records: IRecords, code: str, name: str = "", about: bytes = b"") -> None:
        """
        Warn the user, and save the warning, unless the same was done recently.

        @param about: tells this event from others of its kind; of a contact's trust it is known here.
        """
        now, about = self.time(), about or _about(records, code, name)
        last = records.last(META, NOTICE)
        for _, notice in load_all(records, Notice, META, NOTICE, max(last - LOOK_BACK, 0)):
            if (notice.code, notice.name, notice.about) == (code, name, about) and abs(now - notice.at) < QUIET:
                return
        text = warning_text(code, name)
        add_notice(records, Notice(now, code, name, text, about))
        self.notify(Warned(code, name, text))


def _about(records: IRecords, code: str, name: str) -> bytes:
    """What a warning of a contact's trust is about: the identity that claims the name, or the devices that are new."""
    contact = contacts.get_contact(records, name) if code in verification.SETTLED_BY_USER else None
    return b"" if contact is None else contact.comparison
