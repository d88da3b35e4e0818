"""
A network that loses packets, whichever protocol they belong to: a network interface whose far end is this program.

What is sent to L{FAR} comes back, late or not at all, to L{NEAR} as if from L{FAR}: the addresses of a packet change places,
which leaves its checksums as they are. It needs Linux, and a network namespace in which it may make an interface, as C{unshare
--map-root-user --net} gives.
"""

from __future__ import annotations

import fcntl
import os
import random
import select
import socket
import struct
import sys
import time
from collections import deque

NEAR, FAR = "10.9.0.1", "10.9.0.2"
# The share of packets that are lost, and how long the others take, seconds, each way.
LOSS = 0.05
DELAY = 0.01
_MASK = "255.255.255.0"
_NAME = b"lossy"
_LARGEST = 65_535
# linux/if_tun.h, linux/sockios.h, linux/if.h
_TUNSETIFF, _SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x400454CA, 0x8913, 0x8914, 0x8916, 0x891C
_IFF_TUN, _IFF_NO_PI, _IFF_UP = 1, 0x1000, 1
_IP_ADDRESSES = struct.Struct("!12s4s4s")


def _request(name: bytes, form: str, *values: object) -> bytes:
    """A C{struct ifreq}."""
    return struct.pack("=16s" + form, name, *values).ljust(40, b"\0")


def make_interface() -> int:
    """
    Make the interface, and bring it and the loopback up.

    @return: its other end, a file descriptor of whole packets.
    @raise OSError: it is not allowed here.
    """
    tunnel = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tunnel, _TUNSETIFF, _request(_NAME, "H", _IFF_TUN | _IFF_NO_PI))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for call, address in ((_SIOCSIFADDR, NEAR), (_SIOCSIFNETMASK, _MASK)):
            fcntl.ioctl(control, call, _request(_NAME, "HH4s", socket.AF_INET, 0, socket.inet_aton(address)))
        for name in (_NAME, b"lo"):
            flags = int.from_bytes(fcntl.ioctl(control, _SIOCGIFFLAGS, _request(name, ""))[16:18], sys.byteorder)
            fcntl.ioctl(control, _SIOCSIFFLAGS, _request(name, "H", flags | _IFF_UP))
    return tunnel


def carry(tunnel: int, until: int) -> None:
    """Carry packets until there is something to read, or an end, at C{until}."""
    chance = random.Random(1)
    way: deque[tuple[float, bytes]] = deque()
    while True:
        pause = max(way[0][0] - time.monotonic(), 0) if way else None
        readable, _, _ = select.select([tunnel, until], [], [], pause)
        if until in readable:
            return
        if tunnel in readable:
            packet = os.read(tunnel, _LARGEST)
            if packet[0] >> 4 == 4 and chance.random() >= LOSS:
                head, source, target = _IP_ADDRESSES.unpack_from(packet)
                way.append((time.monotonic() + DELAY, head + target + source + packet[_IP_ADDRESSES.size :]))
        while way and way[0][0] <= time.monotonic():
            os.write(tunnel, way.popleft()[1])


def main() -> None:
    """Say on standard output that it is there; end with standard input."""
    tunnel = make_interface()
    print("up", flush=True)
    carry(tunnel, sys.stdin.fileno())


if __name__ == "__main__":
    main()
