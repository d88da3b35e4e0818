"""Real processes over UDP, through a network that loses, delays, repeats, reorders and cuts off."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import PriorityQueue

import pytest
from twisted.trial.unittest import SynchronousTestCase

from securemsg.net.listener import connection_limit
from tests.functional.support import HOST, TWISTD, Daemon, Person, Place, free_port, is_listening, until

# What becomes of datagrams, both ways: the share that is lost, that comes twice, and the seconds that they take.
LOSS = 0.2
TWICE = 0.05
DELAY = 0.1
JITTER = 0.05
# Nothing passes for so many seconds.
CUT = 5
LINES = 30
LARGEST = 65_535
# Does what systemd does before it starts a service (sd_listen_fds(3)).
HANDED = """
import os, socket
handed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
handed.bind(("127.0.0.1", int(os.environ["UDP_PORT"])))
os.dup2(handed.fileno(), 3)
"""
# The version in a packet's long header (RFC 9000 17.2); none in an answer that names the versions there are (17.2.1), which is
# what a first packet with another one gets.
QUIC_1, VERSIONS = b"\x00\x00\x00\x01", bytes(4)
UNKNOWN_VERSION = b"\xc0\x1a\x1a\x1a\x1a\x08ABCDEFGH\x08abcdefgh".ljust(1200, b"\x00")
# Datagrams that are sent before one that is answered.
BATCH = 50
# By how much the daemon may grow under noise, bytes.
LEAK = 4 * 1024 * 1024
# How long sending everything may take, seconds.
SEND_LIMIT = 120


class BadNetwork:
    """A proxy for one port. Each client has a port of its own at its other end, as behind an address translator."""

    def __init__(self, target: int, seed: int) -> None:
        """Pass on what comes."""
        self._target = (HOST, target)
        self._chance = random.Random(seed)
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind((HOST, 0))
        self.port: int = self._front.getsockname()[1]
        self._backs: dict[tuple[str, int], socket.socket] = {}
        self._way: PriorityQueue[tuple[float, int, socket.socket, bytes, tuple[str, int]]] = PriorityQueue()
        self._count = 0
        self._cut_until = 0.0
        self._is_open = True
        for work in (self._listen, self._deliver):
            threading.Thread(target=work, daemon=True).start()

    def cut(self) -> None:
        """Nothing passes for a while."""
        self._cut_until = time.monotonic() + CUT

    def move(self) -> None:
        """All clients get other ports, as after a restart of the address translator."""
        self._backs.clear()

    def close(self) -> None:
        """That is all."""
        self._is_open = False
        for one in (self._front, *self._backs.values()):
            one.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while self._is_open:
                data, client = self._front.recvfrom(LARGEST)
                if client not in self._backs:
                    back = self._backs[client] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                    back.bind((HOST, 0))
                    threading.Thread(target=self._answer, args=(back, client), daemon=True).start()
                self._send(self._backs[client], data, self._target)

    def _answer(self, back: socket.socket, client: tuple[str, int]) -> None:
        with contextlib.suppress(OSError):
            while self._is_open:
                self._send(self._front, back.recv(LARGEST), client)

    def _send(self, through: socket.socket, data: bytes, target: tuple[str, int]) -> None:
        now = time.monotonic()
        if now < self._cut_until or self._chance.random() < LOSS:
            return
        for _ in range(1 + (self._chance.random() < TWICE)):
            self._count += 1
            due = now + DELAY + self._chance.uniform(-JITTER, JITTER)
            self._way.put((due, self._count, through, data, target))

    def _deliver(self) -> None:
        while self._is_open:
            due, _, through, data, target = self._way.get()
            time.sleep(max(due - time.monotonic(), 0))
            with contextlib.suppress(OSError):
                through.sendto(data, target)


class UdpCase(SynchronousTestCase):
    """A daemon that listens on UDP as well."""

    options: tuple[str, ...] = ()

    def setUp(self) -> None:
        """It listens."""
        self.place = Place.make()
        self.addCleanup(self.place.forget)
        self.udp_port = free_port()
        self.daemon = Daemon(self.place, ("--udp-port", str(self.udp_port), *self.options))
        self.daemon.start()

    def join(self, *names: str) -> Iterator[Person]:
        """People who use UDP alone."""
        for name in names:
            person = Person(self.place, name)
            person.run("join", "-", name, "--transport", "udp", text=self.daemon.invite() + "\n")
            yield person


class BadNetworkTests(UdpCase):
    """Everything arrives once and in order, whatever the network does."""

    def test_everything(self) -> None:
        """Losses, delays, another order, repetitions, a break of some seconds, and other ports in between."""
        ann, ben = self.join("ann", "ben")
        network = BadNetwork(self.udp_port, 1)
        self.addCleanup(network.close)
        way = ("--port", str(network.port))
        reader = ben.start("recv", "--follow", *way)
        chat = ann.start("chat", "ben", *way, pipe=True)
        texts = [f"line {number}" for number in range(LINES)]
        for number, text in enumerate(texts):
            chat.type(text + "\n")
            if number == LINES // 3:
                until(lambda: reader.line_count > LINES // 6, "some lines", SEND_LIMIT)
                network.cut()
            if number == 2 * LINES // 3:
                until(lambda: reader.line_count > LINES // 3, "more lines", SEND_LIMIT)
                network.move()
        chat.end_input()
        until(lambda: reader.line_count >= LINES, "all lines", SEND_LIMIT)
        self.assertEqual(chat.wait(SEND_LIMIT).status, 0)
        reader.interrupt()
        self.assertEqual([line.rpartition("ann: ")[2] for line in reader.out.splitlines()], texts)


class RestartTests(UdpCase):
    """The daemon dies."""

    def test_back_at_once(self) -> None:
        """A client that says something to the next process is told, and comes back."""
        ann, ben = self.join("ann", "ben")
        reader = ben.start("recv", "--follow")
        ann.send("ben", "one")
        until(lambda: reader.line_count == 1, "the first line")
        chat = ann.start("chat", "ben", pipe=True)
        chat.type("two\n")
        until(lambda: reader.line_count == 2, "the second line")
        self.daemon.kill()
        self.daemon.start()
        chat.type("three\n")
        until(lambda: reader.line_count == 3, "the third line")
        chat.end_input()
        self.assertEqual(chat.wait().status, 0)


class SharedTests(UdpCase):
    """What both transports have in common."""

    options = ("--max-clients", "2")

    def test_limit(self) -> None:
        """Connections over the one count for the other."""
        ann, ben = self.join("ann", "ben")
        reader = ann.start("recv", "--follow")
        # Over UDP it would count for another moment.
        ben.send("ann", "hi", "--transport", "tcp")
        until(lambda: reader.line_count == 1, "a reader that is connected")
        with contextlib.ExitStack() as stack:
            for _ in range(connection_limit(2) - 1):
                stack.enter_context(socket.create_connection((HOST, self.daemon.port)))
            with socket.create_connection((HOST, self.daemon.port)) as one_more:
                one_more.settimeout(SEND_LIMIT)
                self.assertEqual(one_more.recv(1), b"")
            self.assertEqual(ben.error("ping", "--timeout", "2", status=6)["code"], "timeout")
        ben.run("ping")

    def test_stopped(self) -> None:
        """Whoever is connected is told that the daemon ends."""
        ann, ben = self.join("ann", "ben")
        reader = ann.start("recv", "--follow", "--json")
        # From somebody else: what one's own command has sent may be answered on its connection.
        ben.send("ann", "hi", "--transport", "tcp")
        until(lambda: reader.line_count == 1, "a reader that is connected")
        self.daemon.stop()
        until(lambda: "stopping" in reader.err, "a word of the end")


class NoiseTests(UdpCase):
    """Datagrams that are nobody's. More kinds of them, without processes, are in L{tests.net.test_quic}."""

    noise: int

    @pytest.fixture(autouse=True)
    def _take_noise(self, noise: int) -> None:
        """As much as the command line says."""
        self.noise = noise

    def test_noise(self) -> None:
        """The daemon serves on, does not grow, and logs nothing of it."""
        [ann] = self.join("ann")
        chance = random.Random(5)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect((HOST, self.udp_port))
            sender.settimeout(SEND_LIMIT)
            self.make_noise(sender, chance, self.noise // 4)
            held, log = self.resident(), self.daemon.log
            self.make_noise(sender, chance, self.noise)
            self.assertLess(self.resident() - held, LEAK)
        self.assertEqual(self.daemon.log, log)
        ann.run("ping")

    def make_noise(self, sender: socket.socket, chance: random.Random, amount: int) -> None:
        """Send so many; now and then one that is answered, so that none is lost on the way."""
        for number in range(amount):
            first = chance.choice((0x40, 0xC0, 0xD0, 0xE0, 0xF0))
            sender.send(bytes([first]) + QUIC_1 + chance.randbytes(chance.randrange(1400)))
            if number % BATCH == BATCH - 1:
                while True:
                    sender.send(UNKNOWN_VERSION)
                    # Anything else is a reset, which answers a short header.
                    if sender.recv(LARGEST).startswith(VERSIONS, 1):
                        break

    def resident(self) -> int:
        """The daemon's memory, bytes."""
        pages = Path(f"/proc/{self.daemon.running.process.pid}/statm").read_text("ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


class WayTests(UdpCase):
    """How a client connects."""

    def test_tcp_is_blocked(self) -> None:
        """Where TCP leads nowhere, UDP does, without being asked for; its protection is said."""
        ann = Person(self.place, "ann")
        invite = self.daemon.invite()
        blocked = invite.replace(f":{self.daemon.port}/", f":{free_port()}/")
        self.assertNotEqual(blocked, invite)
        ann.run("join", "-", "ann", text=blocked + "\n")
        [facts] = ann.run("status", "--json").rows
        self.assertEqual((facts["transport"], facts["group"], facts["post_quantum"]), ("udp", "x25519", False))

    def test_both_open(self) -> None:
        """Where both do, TCP is first."""
        ann = Person(self.place, "ann").join(self.daemon.invite())
        [facts] = ann.run("status", "--json").rows
        self.assertEqual((facts["transport"], facts["post_quantum"]), ("tcp", facts["group"] == "X25519MLKEM768"))

    def test_no_udp(self) -> None:
        """UDP alone, where the server has none, is a mistake that is named at once."""
        plain = Daemon(self.place, name="plain")
        plain.start()
        ann = Person(self.place, "ann").join(plain.invite())
        self.assertEqual(ann.error("ping", "--transport", "udp", status=2)["code"], "no-udp")

    def test_post_quantum(self) -> None:
        """Who insists on it is not connected over UDP: at once where that is all that is wanted, else TCP alone is tried."""
        [ann] = self.join("ann")
        self.assertEqual(ann.error("ping", "--require-pq", status=6)["code"], "not-post-quantum")
        away = ("--transport", "auto", "--port", str(self.udp_port))
        self.assertEqual(ann.error("ping", "--require-pq", *away, status=6)["code"], "not-connected")
        ann.run("ping", *away)

    def test_rotated(self) -> None:
        """A TLS key that was made anew serves new connections over UDP as well."""
        ann = Person(self.place, "ann").join(self.daemon.invite())
        self.daemon.admin("rotate-key")
        ann.run("ping", "--transport", "udp")
        [facts] = ann.run("status", "--json", "--transport", "udp").rows
        [stats] = self.daemon.admin("stats", "--json").rows
        self.assertEqual(facts["certificate_expires_at"], stats["certificate_expires_at"])

    def test_systemd(self) -> None:
        """The socket may be systemd's; invites name its port."""
        place = self.place
        plain = Daemon(place, name="handed")
        options = ("--host", HOST, "--port", str(plain.port), "--state", str(plain.state), "--udp-port", "fd:3")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handed:
            handed.bind((HOST, 0))
            number = handed.getsockname()[1]
        plain.running = place.start("twistd", HANDED + TWISTD, "-n", "securemsg", *options, UDP_PORT=str(number))
        until(lambda: (plain.state / "first-invite").exists() and is_listening(plain.port), "a daemon that listens")
        invite = (plain.state / "first-invite").read_text("utf-8")
        self.assertIn(f"udp={number}", invite)
        ann = Person(place, "ann")
        ann.run("join", "-", "ann", "--transport", "udp", text=invite)

    def test_nothing_handed(self) -> None:
        """A daemon that is promised a socket and gets none says so, and ends."""
        plain = Daemon(self.place, ("--udp-port", "fd:40"), name="none")
        self.assertEqual(plain.launch().wait().status, 1)
        self.assertIn("ListenDatagram=", plain.log)

    def test_invites_name_both(self) -> None:
        """What users and operators pass on names both ways."""
        [ann] = self.join("ann")
        for invite in (self.daemon.invite(), ann.run("invite").out):
            self.assertIn(f"udp={self.udp_port}", invite)
