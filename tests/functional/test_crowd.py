"""
Fifty clients at once: everybody is served whatever four of them do, and whoever comes when all places are taken waits for one.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import struct
from typing import Any

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from tests.functional.support import HOST, LIMIT, Daemon, Person, Place, Running, checked, until
from tests.functional.test_abuse import context

CROWD = "from tests.functional.crowd import main; main()"
# Of fifty, those that keep to the protocol; the other four are a test's own.
TALKERS = 46
# What everybody writes to each of the three others that it talks to.
EACH = 3
# Deliveries that go unacknowledged, as the protocol says.
WINDOW = 64
MAX_CLIENTS = 50


@define(eq=False)
class Told:
    """The process with the crowd."""

    place: Place
    daemon: Daemon
    _running: Running = field(init=False)
    _answers: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        """Start it, with an invite for all."""
        invite = self.daemon.invite(100)
        self._running = self.place.start("crowd", CROWD, pipe=True)
        self._running.type(invite + "\n")

    def tell(self, *words: str) -> None:
        """Begin something."""
        self._running.type(" ".join(words) + "\n")
        self._answers += 1

    def has_answered(self) -> bool:
        """
        Whether that is done.

        @raise AssertionError: the crowd is gone, or something is wrong with it.
        """
        assert self._running.is_alive and not self._running.err, self._running.err
        return self._running.line_count >= self._answers

    def do(self, *words: str) -> Any:
        """Do something, and say how it went."""
        self.tell(*words)
        until(self.has_answered, f"the crowd's {words[0]}")
        return self.answer()

    def answer(self) -> Any:
        """How the last one went."""
        return json.loads(self._running.lines[-1])


def texts(sender: str, to: str) -> list[str]:
    """What one writes to another, in order."""
    return [f"{number} from {sender} to {to}" for number in range(EACH)]


class CrowdCase(SynchronousTestCase):
    """Each test has a daemon and a crowd of its own."""

    def prepare(self, *options: str) -> None:
        """Start both."""
        self.place = Place.make()
        self.addCleanup(self.place.forget)
        self.daemon = Daemon(self.place, ("--registration", "open", *options))
        self.daemon.start()
        self.crowd = Told(self.place, self.daemon)


class NuisanceTests(CrowdCase):
    """All talk at once, and four are a nuisance."""

    def setUp(self) -> None:
        """Everybody is there, and an account that has stopped to read."""
        self.prepare("--answer", "echo")
        self.talkers = [f"member-{number}" for number in range(TALKERS)]
        self.assertEqual(self.crowd.do("join", *self.talkers, "deaf")["deaf"], [True, True, None])
        self.crowd.do("deafen", "deaf")
        self.sockets = sockets = contextlib.ExitStack()
        self.addCleanup(sockets.close)
        plain = [sockets.enter_context(socket.create_connection((HOST, self.daemon.port), LIMIT)) for _ in range(3)]
        secure = [
            sockets.enter_context(context("securemsg/1").wrap_socket(one, server_hostname="localhost")) for one in plain[1:]
        ]
        self.silent, (self.dribbler, self.garbler) = plain[0], secure

    def dribble(self) -> None:
        """One more byte of a frame that will never be whole."""
        with contextlib.suppress(OSError):
            self.dribbler.sendall(b"\0")

    def has_dribbled_on(self) -> bool:
        """Whether the crowd is done; if not, here is one more byte."""
        self.dribble()
        return self.crowd.has_answered()

    def last_words(self, connection: socket.socket) -> bytes:
        """What was said to one of them, up to the end of its connection."""
        found = b""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while data := connection.recv(4096):
                found += data
        return found

    def test_nobody_notices(self) -> None:
        """
        Forty-six talk with each other and with C{server}: everything is accepted and arrives, in order and once, though one
        client is silent in its handshake, one dribbles bytes, one sends garbage and one does not read what piles up for it.
        The first three are thrown out, each as its limit says, and the last has got one window and no more; when it reads
        again, everything is there.
        """
        self.garbler.sendall(struct.pack(">I", 64) + os.urandom(64))
        self.dribbler.sendall(struct.pack(">I", 4096))
        self.crowd.tell("talk", str(EACH), "deaf")
        until(self.has_dribbled_on, "the end of the talk")
        told = self.crowd.answer()
        self.assertEqual(set(told), set(self.talkers))
        for place, name in enumerate(self.talkers):
            before, after = self.talkers[place - 1], self.talkers[(place + 1) % TALKERS]
            self.assertEqual(told[name]["became"], {to: ["accepted"] * EACH for to in (after, "server", "deaf")}, name)
            self.assertEqual(told[name]["came"], {before: texts(before, name), "server": texts(name, "server")}, name)

        self.assertIn(b"malformed", self.last_words(self.garbler))
        self.dribbler.settimeout(0.02)
        said = bytearray()

        def is_out() -> bool:
            """The dribbler goes on until it is thrown out."""
            self.dribble()
            try:
                data = self.dribbler.recv(4096)
            except TimeoutError:
                return False
            except (ConnectionError, ssl.SSLError):
                return True
            said.extend(data)
            return not data

        until(is_out, "the dribbler's end")
        self.assertIn(b"timeout", said)
        self.assertEqual(self.last_words(self.silent), b"")

        heard = self.crowd.do("hear", "deaf", str(TALKERS * EACH))
        self.assertEqual(heard["sent"], WINDOW)
        self.assertEqual(heard["came"], {name: texts(name, "deaf") for name in self.talkers})
        self.assertNotIn("Traceback", self.daemon.log)
        self.sockets.close()
        self.daemon.stop()


class FullTests(CrowdCase):
    """C{--max-clients}."""

    def setUp(self) -> None:
        """All places are taken; Ada, who has an account, is not among them."""
        self.prepare("--max-clients", str(MAX_CLIENTS))
        self.ada = Person(self.place, "ada").join(self.daemon.invite())
        names = [f"member-{number}" for number in range(MAX_CLIENTS)]
        self.assertEqual(self.crowd.do("join", *names), {name: [True, True, None] for name in names})

    def test_one_too_many(self) -> None:
        """Number 51, with an account or without, is told C{server-full} behind TLS; when one leaves the next gets in."""
        self.assertEqual(self.ada.error("ping", "--timeout", "1", status=6)["code"], "server-full")
        self.assertEqual(self.crowd.do("join", "late"), {"late": [True, False, "server-full"]})
        self.crowd.do("leave", "member-7")
        self.ada.run("ping")
        self.assertEqual(self.crowd.do("join", "late"), {"late": [True, True, None]})
        self.assertEqual(self.ada.error("ping", "--timeout", "1", status=6)["code"], "server-full")

    def test_wait_for_a_place(self) -> None:
        """C{--retry} waits until somebody leaves; then the message is sent."""
        waiting = self.ada.start("send", "member-1", "at last", "--retry", "--json")
        until(lambda: "server-full" in waiting.err, "word that all places are taken")
        self.assertTrue(waiting.is_alive)
        self.crowd.do("leave", "member-0")
        done = checked(waiting.wait(), 0, ["send"])
        self.assertEqual([row["status"] for row in done.rows], ["accepted"])
