"""A protocol and producers that write down what they are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IHandshakeListener, IPullProducer, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer


@implementer(IHandshakeListener)
class Recorder(Protocol):
    """
    Writes down every callback, and the types of its arguments; data as one entry, however it was cut.

    @ivar hooks: what to do in a callback, by its name.
    """

    transport: Any

    def __init__(self, hooks: dict[str, Callable[[Recorder], object]]) -> None:
        self.calls: list[tuple[str, str]] = []
        self.data = b""
        self.hooks = hooks
        self._depth = 0
        # Whether a callback came inside another.
        self.was_nested = False

    def record(self, name: str, what: str = "") -> None:
        """Write down a callback, and do what is to be done in it."""
        self.was_nested = self.was_nested or (name == "lost" and self._depth > 0)
        if (name, what) != ("data", "bytes") or self.calls[-1:] != [("data", "bytes")]:
            self.calls.append((name, what))
        self._depth += 1
        try:
            self.hooks.get(name, lambda protocol: None)(self)
        finally:
            self._depth -= 1

    def connectionMade(self) -> None:
        """Write it down."""
        self.record("made")

    def handshakeCompleted(self) -> None:
        """Write it down."""
        self.record("handshake")

    def dataReceived(self, data: bytes) -> None:
        """Write it down."""
        self.data += data
        self.record("data", type(data).__name__)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Write it down."""
        assert reason.type is not None
        self.record("lost", f"{type(reason).__name__} {reason.type.__name__}")


@implementer(IPushProducer)
class Push:
    """A producer that writes down what it is told."""

    def __init__(self, protocol: Recorder) -> None:
        self._protocol = protocol

    def pauseProducing(self) -> None:
        """Write it down."""
        self._protocol.record("pause")

    def resumeProducing(self) -> None:
        """Write it down."""
        self._protocol.record("resume")

    def stopProducing(self) -> None:
        """Write it down."""
        self._protocol.record("stop")


@implementer(IPullProducer)
class Pull:
    """A producer of so many pieces, which unregisters itself after the last."""

    def __init__(self, protocol: Recorder, pieces: list[bytes]) -> None:
        self._protocol = protocol
        self._pieces = pieces

    def resumeProducing(self) -> None:
        """Write a piece."""
        self._protocol.record("pull")
        self._protocol.transport.write(self._pieces.pop(0))
        if not self._pieces:
            self._protocol.transport.unregisterProducer()

    def stopProducing(self) -> None:
        """Write it down."""
        self._protocol.record("stop")
