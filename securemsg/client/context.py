"""
What the parts of an agent share: the store, the profile, the connection of the moment, and the events that are to be reported.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from securemsg.client.events import Changed, Event, Warned
from securemsg.client.requests import Callback, Question, Requests
from securemsg.client.state.profile import DAY, Profile
from securemsg.client.state.records import META, NOTICE, Notice, add_notice, load_all
from securemsg.client.warnings import warning_text
from securemsg.errors import Refusal
from securemsg.interfaces import IProfileStore, IRecords
from securemsg.protocol.channel import IChannel
from securemsg.protocol.messages import Message, Unknown

# The same warning about the same contact is not repeated within this time, nor if so many others came since.
QUIET = DAY
LOOK_BACK = 50
# Clocks that differ by more than this are worth a word.
CLOCK_TOLERANCE = 3600

@define(eq=False)
class Context:
    """
    @ivar profile: as it is committed.
    @ivar channel: of the moment; C{None}: not connected.
    @ivar watch: is shown what we say to the server and what it says, where somebody wants to see it.
    @ivar is_writable: whether the network takes more.
    @ivar last_sent_at: when we last sent something.
    @ivar clock_ahead: by how much the server's clock was ahead of ours when it last said what time it is, and when that was.
    """

    store: IProfileStore
    profile: Profile
    now: Callable[[], float]
    soon: Callable[[Callable[[], None]], None]
    watch: Callable[[Message | Unknown], None] | None = None
    channel: IChannel | None = field(default=None, init=False)
    requests: Requests = field(factory=Requests, init=False)
    is_writable: bool = field(default=True, init=False)
    last_sent_at: float = field(default=0.0, init=False)
    clock_ahead: int = field(default=0, init=False)
    _clock_noted: int = field(default=0, init=False)
    _events: list[Event] = field(factory=list, init=False)

    @property
    def is_clock_right(self) -> bool:
        """Do we and the server agree about the time, as of its last word? Otherwise nothing is known to be too old."""
        return max(abs(self.clock_ahead), abs(self.time() - self._clock_noted)) <= CLOCK_TOLERANCE

    def note_server_time(self, server_now: int) -> None:
        """The server says what time it is."""
        self._clock_noted = self.time()
        self.clock_ahead = server_now - self._clock_noted

    def time(self) -> int:
        """Now, in whole seconds."""
        return int(self.now())

    def send(self, message: Message) -> None:
        """Say something to the server; nothing happens without a connection."""
        if self.channel is not None:
            self.last_sent_at = self.now()
            self.channel.send(message)
            if self.watch is not None:
                self.watch(message)

    def ask(self, question: Question, callback: Callback) -> None:
        """Ask the server something."""
        if self.channel is None:
            callback(Refusal("not-connected"))
            return
        numbered = self.requests.number(question, callback, self.now())
        if numbered is not None:
            self.send(numbered)

    def notify(self, event: Event) -> None:
        """Say this once the present step is committed."""
        if not (isinstance(event, Changed) and event in self._events):
            self._events.append(event)

    def pop_events(self) -> list[Event]:
        """What is to be said now."""
        events, self._events = self._events, []
        return events

    def warn(self, records: IRecords, code: str, name: str = "") -> None:
        """Tell people something, and keep it, unless that was done not long ago."""
        now = self.time()
        last = records.last(META, NOTICE)
        for _, notice in load_all(records, Notice, META, NOTICE, max(last - LOOK_BACK, 0)):
            if (notice.code, notice.name) == (code, name) and abs(now - notice.at) < QUIET:
                return
        text = warning_text(code, name)
        add_notice(records, now, code, name, text)
        self.notify(Warned(code, name, text))
