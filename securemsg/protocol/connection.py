"""
One end of a connection without the network: bytes in, messages out; messages in, bytes out.

The same class serves both sides and every transport, so that both ends can be tested as a pair.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field

from securemsg.errors import LocalProtocolError, RemoteProtocolError
from securemsg.protocol import framing
from securemsg.protocol.auth import RETRY_AFTER, ROOMS, SHORT_INVITES
from securemsg.protocol.framing import FrameDecoder
from securemsg.protocol.messages import Challenge, Hello, Message, Unknown, decode_message, encode_message
from securemsg.protocol.states import READY_KINDS, TRANSITIONS, Phase, Side


@define(eq=False)
class Connection:
    """
    Frames, messages and the phase of one connection.

    @ivar side: which end this is.
    @ivar phase: how far the conversation has come.
    @ivar hello: the payload of Hello as it was sent, because all of it is signed.
    @ivar challenge: the payload of Challenge, likewise.
    @ivar has_rooms: whether the client is a device, and both ends announced rooms.
    @ivar has_short_invites: whether both ends announced short invites.
    @ivar has_retry_after: whether both know the time in Failed.
    @ivar queued: the number of bytes that wait for L{data_to_send}.
    """

    side: Side
    phase: Phase = Phase.GREETING
    hello: bytes = b""
    challenge: bytes = b""
    has_rooms: bool = field(init=False, default=False)
    has_short_invites: bool = field(init=False, default=False)
    has_retry_after: bool = field(init=False, default=False)
    queued: int = field(init=False, default=0)
    _decoder: FrameDecoder = field(init=False, factory=lambda: FrameDecoder(framing.MAX_GREETING_FRAME), repr=False)
    _out: list[bytes] = field(init=False, factory=list, repr=False)
    _max_sent: int = field(init=False, default=framing.MAX_FRAME)
    _by_device: bool = field(init=False, default=False)
    _peer: Side = field(init=False, repr=False)
    _may_say: frozenset[type] = field(init=False, repr=False)
    _may_hear: frozenset[type] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._peer = Side.SERVER if self.side is Side.CLIENT else Side.CLIENT
        self._may_say, self._may_hear = READY_KINDS[self.side], READY_KINDS[self._peer]

    def receive(self, data: bytes) -> Iterator[Message | Unknown]:
        """Add bytes from the network, and return L{messages}. Late bytes after the end are dropped."""
        if self.phase is not Phase.CLOSED:
            self._decoder.feed(data)
        return self.messages()

    def messages(self) -> Iterator[Message | Unknown]:
        """
        Iterate over the messages that are complete. An iteration may be abandoned: the next one continues where it stopped, and
        what was not asked for stays in the decoder, undecoded. What comes after the end is dropped.

        @raise RemoteProtocolError: C{frame-too-large}, C{malformed}, C{out-of-turn}, or before login C{unknown-message}.
            The messages before the bad one were returned already; the connection is closed.
        """
        return iter(self._next, None)

    def _next(self) -> Message | Unknown | None:
        """The next message; C{None}: it is not complete yet, or the conversation is over."""
        if self.phase is Phase.CLOSED:
            return None
        try:
            payload = self._decoder.next()
            if payload is None:
                return None
            message = decode_message(payload)
            if self.phase is not Phase.READY or type(message) not in self._may_hear:
                if not isinstance(message, Unknown):
                    self._advance(self._peer, message, payload)
                elif self.phase is not Phase.READY:
                    raise RemoteProtocolError("unknown-message")
        except RemoteProtocolError:
            self.phase = Phase.CLOSED
            raise
        return message

    @property
    def unread(self) -> int:
        """The number of bytes that wait in the decoder."""
        return self._decoder.size

    @property
    def is_full(self) -> bool:
        """Whether so many bytes wait in the decoder that no more need to be read."""
        return self._decoder.is_full

    def send(self, message: Message) -> None:
        """
        Queue a message for L{data_to_send}.

        @raise LocalProtocolError: it is not our turn to say that, or the message is too large.
        """
        payload = encode_message(message)
        frame = framing.encode_frame(payload, self._max_sent)
        if self.phase is not Phase.READY or type(message) not in self._may_say:
            self._advance(self.side, message, payload)
        self._out.append(frame)
        self.queued += len(frame)

    def data_to_send(self) -> bytes:
        """Remove all queued bytes, which are to be written."""
        out = b"".join(self._out)
        self._out.clear()
        self.queued = 0
        return out

    def close(self) -> None:
        """The transport is gone, or we hang up: nothing more is sent or received."""
        self.phase = Phase.CLOSED

    def _allow_room_frames(self) -> None:
        """A device may send larger frames than it gets."""
        if self.side is Side.SERVER:
            self._decoder.max_size = framing.MAX_ROOM_FRAME
        else:
            self._max_sent = framing.MAX_ROOM_FRAME

    def _advance(self, speaker: Side, message: Message, payload: bytes) -> None:
        phase = TRANSITIONS[self.phase].get((speaker, type(message)))
        if phase is None:
            if speaker is self.side:
                raise LocalProtocolError(f"{type(message).__name__} in phase {self.phase.value}")
            raise RemoteProtocolError("out-of-turn")
        if phase is self.phase:
            return
        self.phase = phase
        if isinstance(message, Hello):
            self.hello = payload
            self._by_device = message.role in ("device", "register")
            if message.role == "register":
                self._decoder.max_size = framing.MAX_REGISTRATION_FRAME
        elif isinstance(message, Challenge):
            self.challenge = payload
            self.has_rooms = self._by_device and ROOMS in message.features
            self.has_short_invites = SHORT_INVITES in message.features
            self.has_retry_after = RETRY_AFTER in message.features
        elif phase is Phase.READY:
            self._decoder.max_size = framing.MAX_FRAME
            if self.has_rooms:
                self._allow_room_frames()
