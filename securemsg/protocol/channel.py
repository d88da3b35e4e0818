"""The seam between the network and whoever talks over it, alike on both sides and for every transport."""

from __future__ import annotations

from zope.interface import Attribute, Interface

from securemsg.protocol.messages import Message, Unknown


class IChannel(Interface):
    """The wire, as the domain sees it."""

    binding = Attribute("L{securemsg.protocol.auth.Binding}: what a signature is tied to.")
    connection = Attribute("L{securemsg.protocol.connection.Connection}: phase and signed payloads.")
    source = Attribute("Where it comes from, as limits count it; empty: not counted.")

    def send(message: Message) -> None:
        """Queue a message; all of one turn are written together. After the end this does nothing."""

    def close(code: str = "", retry_after: int | None = None) -> None:
        """
        Say C{Failed(code)} where a code is given, and hang up; whatever is queued goes out first, within bounded time.

        @param retry_after: when a client that understands it is to connect again, milliseconds from now.
        """

    def moved_at() -> float:
        """
        When bytes last moved, in either direction, by a clock of the channel's own: only a change of it says something.

        Whoever limits the time of an answer looks about once a second.
        """

    def pause(wanted: bool) -> None:
        """
        Stop (C{True}) or go on (C{False}) handing messages to the peer; it may be called while one is handed over.

        What comes meanwhile waits, in a bounded buffer. While that is full the network is not read from.
        """


class IPeer(Interface):
    """Whoever talks over a channel: a connection at the server, or a client's agent."""

    def opened(channel: IChannel) -> None:
        """The channel stands, its TLS handshake is done and checked."""

    def received(message: Message | Unknown) -> None:
        """
        A message that was allowed in this phase.

        @raise RemoteProtocolError: the other end is told the code and disconnected.
        """

    def writable(yes: bool) -> None:
        """The transport's buffer is full (C{False}) or has drained (C{True})."""

    def closed(code: str) -> None:
        """The channel is gone. C{code} is what the peer said last, or one of C{lost}, C{timeout}, or what we said ourselves."""
