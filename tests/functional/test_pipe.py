"""C{securemsg pipe}, with real processes: through, cut, and while whatever takes part is killed."""

from __future__ import annotations

import json
import random
import shlex
import time

from tests.functional.support import Person, PlaceCase, RoundsCase, Running, until

STREAM = "5c" * 16
SIZE = 8 * 1024 * 1024
# Between two kills, seconds, at most.
SPAN = 1.5
PATIENCE = 180


class PipeCase(PlaceCase):
    """Somebody sends, somebody else takes."""

    def shell(self, who: Person, line: str) -> Running:
        """Run C{pipe} as somebody, in a line of the shell."""
        return self.place.start_shell("pipe", f"exec securemsg --profile {shlex.quote(str(who.profile))} pipe {line}")


class StreamTests(PipeCase):
    """Nobody is killed."""

    def test_line_by_line(self) -> None:
        """What comes goes at once; both ends know when it was all, and nothing is left of it to read."""
        ann, bob = self.person("ann"), self.person("bob")
        taker = bob.start("pipe", "--from", "ann")
        sender = ann.start("pipe", "bob", "--json", pipe=True)
        for number in range(3):
            sender.type(f"line {number}\n")
            until(lambda number=number: f"line {number}\n" in taker.out, "a line")  # type: ignore[misc]
        sender.end_input()
        self.assertEqual((sender.wait().status, taker.wait().status), (0, 0))
        # Nobody is told of what is being taken.
        self.assertNotIn("stream-begun", taker.err)
        self.assertEqual(taker.out, "line 0\nline 1\nline 2\n")
        [row] = sender.wait().rows
        self.assertEqual((row["bytes"], row["status"]), (21, "complete"))
        self.assertEqual(bob.run("recv", "--timeout", "0").out, "")

    def test_interrupted(self) -> None:
        """Ctrl-C at the sender cuts the stream, and both statuses say so."""
        cid, dot = self.person("cid"), self.person("dot")
        sender = cid.start("pipe", "dot", "--id", STREAM, pipe=True)
        sender.type("half")
        taker = dot.start("pipe", "--from", "cid", "--json")
        until(lambda: taker.out == "half", "the first bytes")
        self.assertEqual(sender.interrupt().status, 74)
        done = taker.wait()
        self.assertEqual((done.status, done.out), (74, "half"))
        self.assertEqual(json.loads(done.err.splitlines()[-1]), {"id": STREAM, "bytes": 4, "status": "cut"})

    def test_two_processes(self) -> None:
        """
        Of two senders of one stream, and of two that would take it, the second ends at once, and what comes out is right. A job
        that is stopped leaves its stream open.
        """
        kim, lea = self.person("kim"), self.person("lea")
        first = kim.start("pipe", "lea", "--id", STREAM, pipe=True)
        first.type("one, ")
        until(lambda: "if this is killed" in first.err, "a sender")
        self.assertEqual(kim.error("pipe", "lea", "--id", STREAM, status=9, text="two")["code"], "second-pipe")
        taker = lea.start("pipe", "--from", "kim")
        until(lambda: taker.out == "one, ", "the first bytes")
        self.assertIn("[second-pipe]", lea.run("pipe", "--from", "kim", "--id", STREAM, status=9).err)
        other = lea.start("pipe", "--from", "kim", "--timeout", "1")
        self.assertEqual((other.wait().status, other.out), (7, ""))
        first.process.terminate()
        self.assertEqual(first.wait().status, 130)
        self.assertIn("the stream stays open", first.err)
        kim.run("pipe", "lea", "--id", STREAM, text="one, and two")
        self.assertEqual((taker.wait().status, taker.out), (0, "one, and two"))
        self.assertEqual(kim.error("pipe", "lea", "--id", STREAM, status=2, text="else")["code"], "other-input")

    def test_closed(self) -> None:
        """A reader that has seen enough cuts it, too."""
        eva, fay = self.person("eva"), self.person("fay")
        sender = self.place.start_shell("pipe", f"yes | securemsg --profile {shlex.quote(str(eva.profile))} pipe fay")
        line = f"securemsg --profile {shlex.quote(str(fay.profile))} pipe --from eva | head -n 1; exit ${{PIPESTATUS[0]}}"
        taker = self.place.start_shell("pipe", line)
        self.assertEqual((taker.wait().status, taker.out), (74, "y\n"))
        self.assertEqual(sender.wait().status, 74)

    def test_waiting(self) -> None:
        """Where nobody takes it, or nobody sends, --timeout ends the wait; the stream can be gone on with."""
        gus, hal = self.person("gus"), self.person("hal")
        error = gus.error("pipe", "hal", "--id", STREAM, "--timeout", "1", text="all", status=7)
        self.assertEqual(error["code"], "stream-waits")
        self.assertEqual(gus.error("pipe", "--from", "hal", "--timeout", "1", status=7)["code"], "no-stream")
        # The end is on its way already; input is read no more.
        sender = gus.start("pipe", "hal", "--id", STREAM)
        self.assertIn("securemsg pipe --from gus", hal.run("recv").err)
        self.assertEqual(hal.run("pipe", "--from", "gus").out, "all")
        self.assertEqual(sender.wait().status, 0)


class KillTests(PipeCase, RoundsCase):
    """Everybody is."""

    def test_kills(self) -> None:
        """C{kill -9} of sender, recipient and daemon at any moment: the file has every byte once."""
        seed = random.randrange(2**32)
        dice = random.Random(seed)
        ida, jim = self.person("ida"), self.person("jim")
        data = dice.randbytes(SIZE)
        source, target = self.place.folder / "source", self.place.folder / "target"
        source.write_bytes(data)

        def start(who: str) -> Running:
            if who == "ida":
                return self.shell(ida, f"jim --id {STREAM} < {source}")
            return self.shell(jim, f"--from ida --id {STREAM} --output {target}")

        ends = {who: start(who) for who in ("ida", "jim")}
        for _ in range(self.rounds):
            if not any(running.is_alive for running in ends.values()):
                break
            time.sleep(dice.uniform(0, SPAN))
            who = dice.choice(["ida", "jim", "daemon"])
            if who == "daemon":
                self.daemon.kill()
                self.daemon.start()
            elif ends[who].is_alive:
                ends[who].kill()
                ends[who] = start(who)
        for who, running in ends.items():
            self.assertEqual(running.wait(PATIENCE).status, 0, (seed, who, running.err))
        self.assertTrue(target.read_bytes() == data, seed)
