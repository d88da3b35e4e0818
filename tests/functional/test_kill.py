"""
C{kill -9}, at random moments and many times: nothing accepted is lost, nothing is shown twice, the order is kept.

How many times is said with C{--rounds}.
"""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Callable

from attrs import define, field

from tests.functional.support import Daemon, Json, Person, Place, RoundsCase, Running, until

# Between two lines that are typed, seconds: enough for some to be under way at every moment.
TYPING = 0.02
# Lines that may be on their way: a slow machine must not heap them up. How many are typed between two looks at that.
AHEAD = 60
LOOK_EVERY = 10
# How long after a sign of life the blow comes, seconds, at most.
SPAN = 0.6
# Until a reconnecting client is back: its delays have grown while the daemon was away.
PATIENCE = 120


@define(eq=False)
class Writer:
    """
    Types numbered lines into a chat that may be killed and started again at any time.

    @ivar typed: how many lines so far.
    """

    _person: Person
    _to: str
    _shown: Callable[[], int]
    typed: int = 0
    chat: Running = field(init=False)
    _lost: int = 0
    _stopped: threading.Event = field(factory=threading.Event)
    _lock: threading.Lock = field(factory=threading.Lock)
    _thread: threading.Thread = field(init=False)

    def start(self) -> None:
        """Open the chat, and type until told to stop."""
        self.open()
        self._thread = threading.Thread(target=self._type, name="writer")
        self._thread.start()

    def open(self) -> None:
        """Open the chat."""
        self.chat = self._person.start("chat", self._to, pipe=True)

    def kill(self) -> None:
        """Kill the chat, and open another one."""
        with self._lock:
            self.chat.kill()
            # What it had not read yet is gone with it; nobody was told that it was sent.
            self._lost = self.typed - self._shown()
            self.open()

    def stop(self) -> None:
        """Type no more."""
        self._stopped.set()
        self._thread.join()

    def _type(self) -> None:
        """The thread."""
        while not self._stopped.wait(TYPING):
            if self.typed % LOOK_EVERY == 0 and self.typed > self._shown() + self._lost + AHEAD:
                continue
            with self._lock:
                try:
                    self.chat.type(f"line {self.typed}\n")
                except BrokenPipeError:
                    continue
                self.typed += 1


class KillTests(RoundsCase):
    """Ada types, Ben's C{recv --follow} prints, and somebody is killed."""

    def setUp(self) -> None:
        """A daemon, two people, a conversation under way."""
        seed = random.randrange(2**32)
        self.random = random.Random(seed)
        self.note = f"seed {seed}"
        self.place = Place.make()
        self.addCleanup(self.place.forget)
        self.daemon = Daemon(self.place)
        self.daemon.start()
        invite = self.daemon.invite(2)
        self.ada, self.ben = (Person(self.place, name).join(invite) for name in ("ada", "ben"))
        self.follower = self.ben.start("recv", "--follow", "--json")
        # What each of Ben's processes has printed, in order.
        self.printed: list[Running] = [self.follower]
        self.writer = Writer(self.ada, "ben", self.shown)
        self.writer.start()
        self.addCleanup(self.writer.stop)
        self.await_flow()

    def shown(self) -> int:
        """How many lines Ben has been shown."""
        return sum(running.line_count for running in self.printed)

    def await_flow(self) -> None:
        """Wait until messages flow again."""
        before = self.shown()
        until(lambda: self.shown() > before, f"a message after {before} others ({self.note})", PATIENCE)

    def strike(self) -> None:
        """Let a random time pass."""
        time.sleep(self.random.uniform(0, SPAN))

    def check(self, sent_beside: list[Json]) -> None:
        """
        Let everything come to an end, and compare what was sent with what was shown.

        @param sent_beside: messages that a C{send} of its own was told of.
        """
        self.writer.stop()
        self.writer.chat.end_input()
        chat = self.writer.chat.wait(PATIENCE)
        self.assertEqual(chat.status, 0, chat.err)
        sent = [row for row in self.ada.history("ben") if row["from"] == "ada"]
        self.assertEqual([row for row in sent if row["status"] not in ("accepted", "delivered")], [], self.note)
        self.assertEqual({row["id"] for row in sent_beside} - {row["id"] for row in sent}, set(), self.note)

        got = self.ben.history("ada")
        if len(got) < len(sent):
            until(lambda: len(self.ben.history("ada")) >= len(sent), f"the last messages ({self.note})")
            got = self.ben.history("ada")
        self.assertEqual([row["text"] for row in got], [row["text"] for row in sent], self.note)
        self.assertEqual([row["id"] for row in got], [row["id"] for row in sent], self.note)
        self.assertEqual([row["gap_before"] for row in got], [0] * len(got), self.note)
        lines = [int(row["text"].split()[1]) for row in sent if row["text"].startswith("line ")]
        self.assertEqual(lines, sorted(set(lines)), self.note)

        until(lambda: self.last_shown() == sent[-1]["id"], f"the last line on standard output ({self.note})")
        self.assertEqual(self.printed_ids(), [row["id"] for row in sent], self.note)

    def last_shown(self) -> str | None:
        """The id of the last message that was printed."""
        ids = self.printed_ids()
        return ids[-1] if ids else None

    def printed_ids(self) -> list[str]:
        """
        The ids of all messages that were printed.

        A process that was killed between output and mark may leave its last message, and only that one, to be printed again by
        the next; a line that it had not finished does not count.
        """
        ids: list[str] = []
        for running in self.printed:
            new = [json.loads(line)["id"] for line in running.lines]
            if ids and new and new[0] == ids[-1]:
                del new[0]
            ids += new
        return ids

    def test_kill_daemon(self) -> None:
        """
        The daemon is killed and started again; a C{send} that runs meanwhile is accepted or waits, and comes in either case.
        """
        beside = []
        for number in range(self.rounds):
            sending = self.ada.start("send", "ben", f"beside {number}", "--json", "--timeout", "60")
            self.strike()
            self.daemon.kill()
            self.daemon.start()
            self.await_flow()
            done = sending.wait(PATIENCE)
            self.assertIn(done.status, (0, 6), done.err)
            beside += done.rows
        self.check(beside)

    def test_kill_clients(self) -> None:
        """The sender's or the recipient's process is killed, now and then both."""
        for _, victims in zip(range(self.rounds), itertools.cycle(("ada", "ben", "ben", "ada ben")), strict=False):
            self.strike()
            if "ada" in victims:
                self.writer.kill()
            if "ben" in victims:
                self.follower.kill()
                self.follower = self.ben.start("recv", "--follow", "--json")
                self.printed.append(self.follower)
            self.await_flow()
        self.check([])
