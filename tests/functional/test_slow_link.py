"""A link on which a long text takes longer than any silence may last."""

from __future__ import annotations

import socket
import threading
import time

from tests.functional.support import HOST, PlaceCase

# Bytes a second, in steps of this many seconds; and the silence that ends a wait, seconds.
RATE = 6000
STEP = 0.1
IDLE = 2
# As long as a text may be: it takes four times as long.
TEXT = "slow " * (48 * 1024 // 5)
# Sends a text through a port, and says how that ended.
PROGRAM = f"""
import sys, time
from pathlib import Path
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from securemsg.account.address import ServerAddress
from securemsg.account.connection import make_connection
from securemsg.account.errors import SecuremsgError
from securemsg.account.folder import open_joined
from securemsg.account.timeouts import IdleTimeout
from securemsg.account.tracking import follow
from securemsg.client.messages import compose

async def main(reactor, folder, port, limit):
    store, profile = open_joined(Path(folder), None)
    server = ServerAddress({HOST!r}, int(port))
    connection = make_connection(reactor, Path(folder), store, profile, server, now=time.time, again=False, warn=print)
    text = {TEXT!r} if limit == "still" else "short"
    number = compose(store, "ben", text, now=time.time())
    connection.start()
    try:
        limit = IdleTimeout({IDLE}) if limit == "still" else float(limit)
        print((await follow(store, connection, number, "accepted", limit)).status)
    except SecuremsgError as problem:
        print(problem.code)
    await connection.stop()
    store.close()

react(lambda *arguments: Deferred.fromCoroutine(main(*arguments)), sys.argv[1:])
"""


class SlowLink:
    """A proxy that passes on so much a second of what clients say; the rest waits at the clients."""

    def __init__(self, port: int) -> None:
        """Listen."""
        self._target = port
        self._listener = socket.socket()
        # Otherwise it waits here, and the client sees nothing of it move.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        self._listener.bind((HOST, 0))
        self._listener.listen()
        self.port: int = self._listener.getsockname()[1]
        self.is_stuck = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection((HOST, self._target))
            for source, target, step in ((client, server, STEP), (server, client, 0.0)):
                threading.Thread(target=self._pass_on, args=(source, target, step), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, step: float) -> None:
        """Carry bytes until either end is gone."""
        try:
            while data := source.recv(int(RATE * STEP)):
                while step and self.is_stuck:
                    time.sleep(step)
                time.sleep(step)
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            end.close()


class SlowLinkTests(PlaceCase):
    """The real client, the real daemon, and six kilobytes a second between them."""

    def setUp(self) -> None:
        """Two know each other; one of them has a bad link."""
        super().setUp()
        self.ann, self.ben = self.person("ann"), self.person("ben")
        self.ann.send("ben", "hello")
        self.link = SlowLink(self.daemon.port)
        self.addCleanup(self.link.close)

    def test_long_text(self) -> None:
        """A text that takes eight seconds arrives, though no wait may be silent for longer than two; a stuck link ends it."""
        started_at = time.monotonic()
        done = self.place.start("ann", PROGRAM, str(self.ann.profile), str(self.link.port), "still").wait()
        self.assertEqual((done.out, done.err), ("accepted\n", ""))
        self.assertGreater(time.monotonic() - started_at, 3 * IDLE)
        self.assertEqual(self.ben.texts(2), ["hello", TEXT])
        self.link.is_stuck = True
        done = self.place.start("ann", PROGRAM, str(self.ann.profile), str(self.link.port), "1").wait()
        self.assertIn(done.out, ("timeout\n", "not-accepted\n"))
