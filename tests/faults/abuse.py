"""Rounds with connections that are silent, dribble, come and go, or send rubbish."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator

from tests.faults.rounds import Rounds
from tests.faults.verdict import Verdict
from tests.functional.support import HOST
from tests.functional.test_abuse import context

# Connections of one round that stay open; the daemon's own limits are far higher.
SILENT = 30
# Seconds between the bytes of one that dribbles.
DRIP = 0.02


def _silent(port: int, chance: random.Random, stopped: threading.Event) -> None:
    """Say nothing, behind TCP or behind TLS."""
    with contextlib.ExitStack() as stack:
        for _ in range(SILENT):
            plain = stack.enter_context(socket.create_connection((HOST, port), 5))
            if chance.random() < 0.3:
                stack.enter_context(context("securemsg/1").wrap_socket(plain, server_hostname="localhost"))
        stopped.wait()


def _dribble(port: int, chance: random.Random, stopped: threading.Event) -> None:
    """Begin a long frame, and never end it."""
    with context("securemsg/1").wrap_socket(socket.create_connection((HOST, port), 5), server_hostname="localhost") as secure:
        secure.sendall(struct.pack(">I", 40_000))
        while not stopped.wait(DRIP):
            secure.sendall(b"\x91")


def _churn(port: int, chance: random.Random, stopped: threading.Event) -> None:
    """Come and go at once."""
    while not stopped.wait(0.01):
        with socket.create_connection((HOST, port), 5) as plain:
            if chance.random() < 0.5:
                plain.sendall(bytes([22, 3, 1]))


def _flood(port: int, chance: random.Random, stopped: threading.Event) -> None:
    """Rubbish, as fast as it is taken, again and again."""
    while not stopped.wait(0.01):
        with (
            socket.create_connection((HOST, port), 5) as plain,
            context("securemsg/1").wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            for _ in range(50):
                secure.sendall(struct.pack(">I", 512) + os.urandom(512))


KINDS: tuple[Callable[[int, random.Random, threading.Event], None], ...] = (_silent, _dribble, _churn, _flood)


@contextlib.contextmanager
def abused(port: int, chance: random.Random) -> Iterator[None]:
    """All of it at the same time; being hung up on is no reason to stop."""
    stopped = threading.Event()

    def repeat(kind: Callable[[int, random.Random, threading.Event], None], own: random.Random) -> None:
        while not stopped.wait(DRIP):
            with contextlib.suppress(OSError, ssl.SSLError):
                kind(port, own, stopped)

    threads = [threading.Thread(target=repeat, args=(kind, random.Random(chance.random())), daemon=True) for kind in KINDS]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def abuse(rounds: Rounds, chance: random.Random) -> Verdict:
    """Strangers do their worst, and a reader is deaf for a while."""
    with rounds.world() as world:
        world.start_all()
        with abused(world.daemon.port, chance):
            world.talk(rounds.lines)
            reader = world.running["reader"].process
            reader.send_signal(signal.SIGSTOP)
            for _ in range(rounds.faults):
                world.talk(rounds.lines)
                time.sleep(0.3)
            reader.send_signal(signal.SIGCONT)
            return rounds.finish(world)
