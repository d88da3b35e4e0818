"""Whom the daemon is compared with: programs in a temporary folder, on loopback with TLS, which share its core in turn."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Collection
from pathlib import Path

from attrs import frozen

from bench import mqtt, nats, served, xmpp
from bench.machine import Unmeasurable
from bench.served import HOST, Served
from securemsg.crypto.keys import tls_key_pair

DAEMON = "daemon"
STOCK, BARE = "stock relay", "bare path"
# Where Debian keeps daemons, which is not always in a user's path.
_PLACES = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"


@frozen
class Program:
    """
    A server that may be installed here.

    @ivar file: of its configuration. Prosody reads no other name than this.
    @ivar argv: what follows its name.
    """

    name: str
    file: str
    configuration: Callable[[int, str, str, str], str]
    argv: tuple[str, ...]


PROGRAMS = (
    Program(mqtt.PROGRAM, "mosquitto.conf", mqtt.configuration, ("-c", "{file}")),
    Program(nats.PROGRAM, "nats.conf", nats.configuration, ("-c", "{file}")),
    Program(xmpp.PROGRAM, "prosody.cfg.lua", xmpp.configuration, ("--config", "{file}", "-F")),
)
PEERS = tuple(program.name for program in PROGRAMS)


@frozen
class Peer:
    """
    A server, and what is spoken with it.

    @ivar name: in the table.
    """

    name: str
    served: Served
    speaks: str


# Our own yardsticks: the program, and what is spoken with it.
_OWN = {STOCK: ("bench.yardstick", "strings"), BARE: ("bench.barepath", "bare")}
# What is spoken with each of the programs, and what the table calls it.
SPOKEN = {
    mqtt.PROGRAM: (("mosquitto QoS 1", "mqtt1"), ("mosquitto QoS 0", "mqtt0")),
    nats.PROGRAM: (("JetStream, file", "jetstream"), ("NATS core", "nats")),
    xmpp.PROGRAM: (("Prosody", "xmpp"),),
}


def start_own(name: str, folder: Path, core: int) -> Peer:
    """Start the stock relay or the bare path."""
    module, speaks = _OWN[name]
    port = served.free_port()
    return Peer(name, served.start(name, [sys.executable, "-m", module, str(port)], HOST, port, folder, core), speaks)


def start_installed(folder: Path, core: int, wanted: Collection[str], say: Callable[[str], None]) -> list[Peer]:
    """Start those that are wanted and installed; the others are left out, with a word."""
    key, certificate = tls_key_pair(["localhost"], days=2)
    paths = folder / "peer.key", folder / "peer.crt"
    for path, data in zip(paths, (key, certificate), strict=True):
        path.write_bytes(data)
    peers: list[Peer] = []
    for program in [program for program in PROGRAMS if program.name in wanted]:
        where = shutil.which(program.name) or shutil.which(program.name, path=_PLACES)
        if where is None:
            say(f"{program.name}: left out, because it is not installed; on Debian: apt-get install {program.name}")
            continue
        home, port = folder / program.name, served.free_port()
        home.mkdir()
        file = folder / program.file
        file.write_text(program.configuration(port, str(paths[0]), str(paths[1]), str(home)), "utf-8")
        argv = [where, *(word.format(file=file) for word in program.argv)]
        try:
            running = served.start(program.name, argv, HOST, port, folder, core)
        except Unmeasurable as problem:
            say(f"{program.name}: left out: {problem}")
            continue
        peers += [Peer(name, running, speaks) for name, speaks in SPOKEN[program.name]]
    return peers
