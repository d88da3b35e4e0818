"""One profile and several processes at once, some of which die."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path

from securemsg.account.connection import LOCK
from securemsg.account.wake import is_heard
from securemsg.storage.files import FileLock
from tests.functional.support import SECUREMSG, Person, PlaceCase, Running, until

# Commands that wait at once, and how often the blow falls on them at work.
SENDERS = 4
ROUNDS = 3
# C{securemsg}, which says at its end on standard error what it has imported of the network.
LOADED = """
import atexit, json, sys
heavy = ("twisted", "OpenSSL", "Crypto", "asyncio", "securemsg.client.agent")
atexit.register(lambda: print(json.dumps([name for name in heavy if name in sys.modules]), file=sys.stderr))
""" + SECUREMSG
# Messages of one burst: more than one page of what a reader takes from the store.
BURST = 150


def is_locked(path: Path) -> bool:
    """Whether a process has the lock."""
    lock = FileLock(path)
    taken = lock.take()
    lock.free()
    return not taken


class HeirTests(PlaceCase):
    """Whoever holds the connection is killed while others wait for it."""

    def sends(self, who: Person, to: str, texts: list[str]) -> list[Running]:
        """Start a C{send} for each text, and do not wait."""
        return [who.start("send", to, text, "--json", "--timeout", "60") for text in texts]

    def await_history(self, who: Person, name: str, count: int) -> None:
        """Wait until so many messages are written."""
        until(lambda: len(who.history(name)) >= count, f"{count} messages")

    def assert_sent(self, sending: list[Running]) -> list[str]:
        """
        Every command ends well, with its message accepted.

        @return: the ids of the messages.
        """
        ids = []
        for running in sending:
            done = running.wait()
            self.assertEqual(done.status, 0, done.err)
            (row,) = done.rows
            self.assertEqual(row["status"], "accepted")
            ids.append(row["id"])
        return ids

    def assert_arrived(self, reader: Person, sender: Person, ids: list[str]) -> None:
        """All of these came, each of them once, and nothing else; in the order in which they stand in the sender's history."""
        rows = reader.recv("--count", str(len(ids))) + reader.recv()
        self.assertEqual(Counter(row["id"] for row in rows), Counter(ids))
        self.assertEqual([row["gap_before"] for row in rows], [0] * len(rows))
        self.assertEqual([row["id"] for row in rows], [row["id"] for row in sender.history(reader.name)])

    def test_heir(self) -> None:
        """The holder stands still, so that everybody waits for it, and is killed: one of them takes over, and sends for all."""
        ada, ben = self.person("ada"), self.person("ben")
        holder = ada.start("recv", "--follow")
        ids = self.assert_sent(self.sends(ada, "ben", ["zero"]))
        # That send may have been the owner; from here on it is the holder.
        until(lambda: is_locked(ada.profile / LOCK), "the holder's lock")
        holder.process.send_signal(signal.SIGSTOP)
        texts = [f"text {number}" for number in range(SENDERS)]
        sending = self.sends(ada, "ben", texts)
        self.await_history(ada, "ben", 1 + SENDERS)
        self.assertTrue(all(running.is_alive for running in sending))
        holder.kill()
        ids += self.assert_sent(sending)
        self.assert_arrived(ben, ada, ids)

    def test_killed_at_work(self) -> None:
        """A holder that is killed in the midst of sending for others leaves nothing unsent, and nothing is sent twice."""
        cia, dan = self.person("cia"), self.person("dan")
        ids = [cia.send("dan", "zero")["id"]]
        for turn in range(ROUNDS):
            holder = cia.start("chat", "dan", pipe=True)
            holder.type("".join(f"line {turn}/{number}\n" for number in range(SENDERS)))
            self.await_history(cia, "dan", 1 + (2 * turn + 1) * SENDERS)
            sending = self.sends(cia, "dan", [f"text {turn}/{number}" for number in range(SENDERS)])
            self.await_history(cia, "dan", 1 + (2 * turn + 1) * SENDERS + 1)
            holder.kill()
            ids += self.assert_sent(sending)
        rows = cia.history("dan")
        self.assertEqual({row["status"] for row in rows}, {"accepted"})
        self.assertEqual(len(rows), 1 + 2 * ROUNDS * SENDERS)
        self.assertLessEqual(set(ids), {row["id"] for row in rows})
        self.assert_arrived(dan, cia, [row["id"] for row in rows])


class BesideTests(PlaceCase):
    """C{send} beside a process that has the connection."""

    def follower(self, who: Person) -> Running:
        """Start C{recv --follow}, and wait until it has the connection."""
        running = who.start("recv", "--follow")
        until(lambda: is_heard(who.profile), "the owner of the connection")
        return running

    def send(self, who: Person, *arguments: str) -> Running:
        """Start C{send}, as a shell would, and do not wait."""
        return self.place.start("send", LOADED, "send", *arguments, "--json", SECUREMSG_PROFILE=str(who.profile))

    def await_accepted(self, who: Person, name: str, count: int) -> None:
        """Wait until so many messages are accepted."""
        until(lambda: [row["status"] for row in who.history(name)] == ["accepted"] * count, f"{count} messages")

    def test_light(self) -> None:
        """It needs neither a reactor nor TLS: the other process sends for it."""
        ivy, jan = self.person("ivy"), self.person("jan")
        self.follower(ivy)
        done = self.send(ivy, "jan", "hello").wait()
        self.assertEqual((done.status, done.err), (0, "[]\n"))
        self.assertEqual(done.rows[0]["status"], "accepted")
        jan.send("ivy", "you may know when I am here")
        self.follower(jan)
        done = self.send(ivy, "jan", "there?", "--wait", "delivered").wait()
        self.assertEqual((done.status, done.err, done.rows[0]["status"]), (0, "[]\n", "delivered"))

    def test_not_delivered(self) -> None:
        """Its statuses are those of a command that connects: 7 after the timeout, 3 where there is no such account."""
        kim, _ = self.person("kim"), self.person("leo")
        self.follower(kim)
        for status, to, *options in ((7, "leo", "--wait", "delivered", "--timeout", "1"), (3, "nobody")):
            done = self.send(kim, to, "hello", *options).wait()
            self.assertEqual((done.status, done.err.splitlines()[-1]), (status, "[]"), done.err)

    def test_interrupted(self) -> None:
        """Any of the signals ends it with 130, and it says what becomes of the message."""
        mia, _ = self.person("mia"), self.person("ned")
        mia.send("ned", "first")
        self.follower(mia)
        for count, number in enumerate((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), 2):
            sending = self.send(mia, "ned", "hello", "--wait", "delivered")
            self.await_accepted(mia, "ned", count)
            sending.process.send_signal(number)
            done = sending.wait()
            said = json.loads(done.err.splitlines()[0])
            self.assertEqual((done.status, said["code"], done.rows[0]["status"]), (130, "interrupted", "accepted"), done.err)


class ReaderTests(PlaceCase):
    """Several readers of one profile."""

    def burst(self, sender: Person, to: str) -> list[str]:
        """
        Send many messages at once.

        @return: their texts.
        """
        texts = [f"message {number}" for number in range(BURST)]
        sender.run("chat", to, text="".join(f"{text}\n" for text in texts))
        return texts

    def test_two_at_once(self) -> None:
        """
        Of two C{recv} that start at the same moment one ends with 9 and has taken nothing; the other gives out everything.
        """
        eva, fay = self.person("eva"), self.person("fay")
        readers = [eva.start("recv", "--follow", "--json") for _ in range(2)]
        until(lambda: any(not reader.is_alive for reader in readers), "the end of one")
        (loser,) = (reader for reader in readers if not reader.is_alive)
        (winner,) = (reader for reader in readers if reader is not loser)
        done = loser.wait()
        self.assertEqual((done.status, done.out), (9, ""), done.err)
        self.assertEqual(json.loads(done.err.splitlines()[-1])["code"], "second-recv")
        texts = self.burst(fay, "eva")
        until(lambda: winner.line_count >= BURST, "all messages")
        self.assertEqual([json.loads(line)["text"] for line in winner.lines], texts)
        winner.kill()
        fay.send("eva", "one more")
        rest = [row["text"] for row in eva.recv()]
        # What was printed and not yet marked when the blow fell comes again; a reader that was killed keeps nobody out.
        self.assertIn(rest, (["one more"], [texts[-1], "one more"]))

    def test_beside_a_chat(self) -> None:
        """With C{recv --follow} and a C{chat} on the same profile each message is given by one of them, and once."""
        gil, hal = self.person("gil"), self.person("hal")
        follower = gil.start("recv", "--follow")
        chat = gil.start("chat", "hal", pipe=True)
        chat.type("hello\n")
        self.assertEqual(hal.texts(1), ["hello"])
        texts = self.burst(hal, "gil")

        def given() -> Counter[str]:
            lines = follower.lines + chat.lines
            return Counter(line.partition("message ")[2] for line in lines if "message " in line)

        until(lambda: len(given()) == BURST, "all messages")
        until(lambda: gil.run("status", "--json").rows[0]["unread"] == 0, "the last mark")
        chat.end_input()
        self.assertEqual(chat.wait().status, 0, chat.err)
        self.assertEqual(follower.interrupt().status, 130)
        self.assertEqual(given(), Counter(text.partition("message ")[2] for text in texts))
        self.assertEqual(gil.recv(), [])


class SeveralTests(PlaceCase):
    """One C{send} to several."""

    def test_several(self) -> None:
        """Each gets it, one object says what became of it, and the highest status is that of the command."""
        ida, jan, kim = self.person("ida"), self.person("jan"), self.person("kim")
        number = "ab" * 16
        for beside in (False, True):
            follower = ida.start("recv", "--follow") if beside else None
            if beside:
                until(lambda: is_locked(ida.profile / LOCK), "the connection")
            for _ in range(2):
                done = ida.run("send", "jan,kim,jan", "hello", "--json", "--id", number)
                self.assertEqual([(row["to"], row["status"]) for row in done.rows], [("jan", "accepted"), ("kim", "accepted")])
            if follower is not None:
                follower.kill()
        self.assertEqual([jan.texts(1), kim.texts(1)], [["hello"], ["hello"]])
        done = ida.run("send", "jan,nobody", "again", "--json", status=3)
        self.assertEqual([row["status"] for row in done.rows], ["accepted", "failed"])
        problem = json.loads(done.err)
        self.assertEqual((problem["code"], problem["error"].split(":")[0]), ("no-such-account", "to nobody"))
        ida.run("contacts", "block", "kim")
        done = ida.run("send", "kim,jan", "once more", "--json", status=5)
        self.assertEqual([(row["to"], row["status"]) for row in done.rows], [("jan", "accepted")])
        self.assertEqual(jan.texts(2), ["again", "once more"])

    def test_interrupted(self) -> None:
        """What has been delivered is reported as that, though the wait for somebody who is away was interrupted."""
        lea, max_, ned = self.person("lea"), self.person("max"), self.person("ned")
        ned.send("lea", "so that you are known")
        self.assertEqual(len(lea.texts(1)), 1)
        follower = ned.start("recv", "--follow")
        sending = lea.start("send", "max,ned", "hello", "--wait", "delivered", "--json")
        until(lambda: [row.get("status") for row in lea.history("ned")][-1:] == ["delivered"], "the receipt")
        done = sending.interrupt()
        self.assertEqual({row["to"]: row["status"] for row in done.rows}, {"max": "accepted", "ned": "delivered"})
        problems = [json.loads(line)["error"] for line in done.err.splitlines()]
        self.assertEqual((done.status, problems), (130, ["to max: interrupted"]))
        self.assertEqual(max_.texts(1), ["hello"])
        follower.kill()
