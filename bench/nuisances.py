"""
Bad company for those who are measured: clients that hold a connection and do not keep to the protocol. A process of its own,
C{python -m bench.nuisances PORT}, until its standard input ends.

Silent in the TLS handshake; dribbling bytes behind TLS; sending garbage there; and one that is logged in and does not read,
while messages pile up for it. Whenever the daemon hangs up on one of the first three, it comes again. At the end the fourth
reads: it must get everything.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from attrs import define, field, frozen
from OpenSSL import SSL

from bench import served
from bench.depositor import Depositor
from bench.end import connect
from bench.jobs import NUISANCES, Job
from bench.load import Load
from bench.machine import Unmeasurable
from bench.tls import Stream, make_context
from securemsg.protocol.auth import ALPN

# Seconds between two bytes of the dribbler, and before one that was thrown out comes again.
DRIBBLE = 0.05
AGAIN = 1.0
# Seconds between two messages to the one that does not read: its window is full soon.
PILE = 0.02
# The length of a frame, announced so that one byte after the other belongs to it.
ANNOUNCED = (4096).to_bytes(4, "big")
# A frame that is none of our messages.
GARBAGE_SIZE = 64


@frozen
class Kind:
    """
    A way to be a nuisance.

    @ivar secure: whether it does the TLS handshake.
    @ivar first: makes what it says at once.
    @ivar dribbles: whether it goes on, a byte at a time.
    """

    secure: bool
    first: Callable[[], bytes]
    dribbles: bool = False


KINDS = (
    Kind(False, bytes),
    Kind(True, lambda: ANNOUNCED, True),
    Kind(True, lambda: GARBAGE_SIZE.to_bytes(4, "big") + os.urandom(GARBAGE_SIZE)),
)


@define
class Nuisance:
    """One of the three, whether it is connected or not."""

    _kind: Kind
    _port: int
    _sock: socket.socket | None = None
    _stream: Stream | None = None
    _again: float = 0

    def step(self, now: float) -> bool:
        """
        Come, go on, or notice that one was thrown out.

        @return: whether that has happened.
        """
        try:
            if self._sock is None:
                if now >= self._again:
                    self._come()
            elif self._is_over(self._sock):
                raise ConnectionError
            elif self._kind.dribbles and self._stream is not None:
                self._stream.write(b"\0")
        except (OSError, SSL.Error, Unmeasurable):
            if self._sock is not None:
                self._sock.close()
            self._sock, self._stream, self._again = None, None, now + AGAIN
            return True
        return False

    def _come(self) -> None:
        self._sock = connect(self._port)
        if self._kind.secure:
            self._stream = Stream(make_context(ALPN), self._sock)
            if first := self._kind.first():
                self._stream.write(first)

    def _is_over(self, sock: socket.socket) -> bool:
        """Whether the other end has hung up, whatever it sent before that."""
        while select.select([sock], [], [], 0)[0]:
            if not sock.recv(4096):
                return True
        return False


@define
class Deaf:
    """One that does not read, and the one that writes to it."""

    _job: Job
    load: Load = field(init=False)
    _deaf: Depositor = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Log in. The deaf one is not among those that the load reads from."""
        self.load = Load(self._job)
        writer = self.load.join(NUISANCES, receives=False)
        writer.address(NUISANCES + 1, "text")
        self.load.flow(writer, None)
        self._deaf = Depositor(self._job.port, NUISANCES + 1)

    def step(self) -> None:
        """One more message."""
        for end in self.load.ends:
            assert end.outgoing is not None
            end.outgoing.push(1, 0)
        self.load.turn(0)

    def read_all(self) -> int:
        """
        Come again, and take what has waited.

        @return: how much that was.
        @raise Unmeasurable: it was not everything.
        """
        flows = [end.outgoing for end in self.load.ends if end.outgoing is not None]
        self.load.until(lambda: all(flow.accepted == flow.sent for flow in flows), "messages for one that does not read")
        self._deaf.stream.close()
        sent, reader = sum(flow.sent for flow in flows), self.load.join(NUISANCES + 1)
        self.load.until(lambda: reader.is_ready and reader.delivered >= sent, "what piled up")
        if reader.delivered != sent:
            raise Unmeasurable(f"{sent} messages had piled up for one client, and it got {reader.delivered}")
        self.load.leave()
        return sent


@contextmanager
def company(port: int, pid: int, say: Callable[[str], None]) -> Iterator[None]:
    """Have them there for a while."""
    argv = [sys.executable, "-m", "bench.nuisances", str(port), str(pid)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=served.ROOT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        said, _ = process.communicate()
    if process.returncode:
        raise Unmeasurable("the nuisances failed: see above")
    say(f"daemon: {said.decode().strip()}")


def main() -> None:
    """Be a nuisance until standard input ends."""
    port, pid = int(sys.argv[1]), int(sys.argv[2])
    deaf, others = Deaf(Job("securemsg", "talk", port, pid)), [Nuisance(kind, port) for kind in KINDS]
    print("there", flush=True)
    thrown_out, piled, dribbled = 0, 0.0, 0.0
    while not select.select([sys.stdin], [], [], PILE / 2)[0]:
        now = time.monotonic()
        if now - piled >= PILE:
            piled = now
            deaf.step()
        if now - dribbled >= DRIBBLE:
            dribbled = now
            thrown_out += sum(nuisance.step(now) for nuisance in others)
    print(f"nuisances thrown out {thrown_out} times; {deaf.read_all():,} messages piled up")


if __name__ == "__main__":
    main()
