"""C{ask} and C{answer}, as scripts and people use them."""

from __future__ import annotations

import shlex
import time

from tests.functional.support import PlaceCase, until

ID = "0123456789abcdef0123456789abcdef"


class QuestionTests(PlaceCase):
    """Questions between real processes."""

    def test_killed(self) -> None:
        """A script asks, is killed, and asks again: there is one question, one answer, and its exit status."""
        ann, bob = self.person("ann"), self.person("bob")
        ann.send("bob", "I shall ask")
        bob.texts(1)
        line = ("ask", "bob", "Deploy now?", "--choices", "yes,no,later", "--id", ID, "--json")
        for _ in range(2):
            asking = ann.start(*line)
            until(lambda: [row["status"] for row in ann.history("bob")][1:] == ["accepted"], "the question is out")
            asking.kill()
        [question] = bob.recv()
        self.assertEqual((question["id"], question["kind"], question["text"]), (ID, "question", "Deploy now?"))
        self.assertEqual(question["question"]["choices"], ["yes", "no", "later"])
        asking = ann.start(*line)
        bob.run("answer", "ann", "LATER")
        done = asking.wait()
        self.assertEqual(done.status, 11, done)
        [row] = done.rows
        self.assertEqual((row["from"], row["choice"], row["index"], row["status"]), ("bob", "later", 2, "answered"))
        self.assertEqual(len(row["signature"]), 128)
        self.assertEqual(bob.error("answer", "ann", "yes", status=5)["code"], "question-answered")
        self.assertEqual(ann.run(*line, status=11).rows, [row])
        self.assertEqual(ann.recv("--timeout", "0"), [])
        for person, name in ((ann, "bob"), (bob, "ann")):
            self.assertEqual([row["question"]["choice"] for row in person.history(name)[1:]], ["later", "later"])
        self.assertEqual(ann.error(*line[:2], "Else?", *line[3:6], *line[6:], status=5)["code"], "conflict")

    def test_answered_unread(self) -> None:
        """Who answers without having read fetches the question first; a status is one although nobody reads the output."""
        ida, joe = self.person("ida"), self.person("joe")
        ida.send("joe", "hello")
        line = f"securemsg --profile {shlex.quote(str(ida.profile))} ask joe 'Deploy?' | true; exit ${{PIPESTATUS[0]}}"
        asking = self.place.start_shell("asking", line)
        until(lambda: [row["status"] for row in ida.history("joe")][1:] == ["accepted"], "the question is out")
        joe.run("answer", "ida", "no")
        self.assertEqual(asking.wait().status, 10)

    def test_several(self) -> None:
        """The first answer of several counts, or all do; the answer may come to another process; a time may be over."""
        cid, dot, eve = self.person("cid"), self.person("dot"), self.person("eve")
        follower = cid.start("recv", "--follow")
        first, everybody = cid.start("ask", "dot,eve", "Who?", "--first"), cid.start("ask", "dot,eve", "All?", "--all")
        questions = {row["text"]: row["id"] for row in eve.recv("--count", "2")}
        eve.run("answer", questions["Who?"][:8], "no")
        self.assertEqual((first.wait().status, first.wait().out), (10, "no\n"))
        eve.run("answer", questions["All?"], "1")
        mine = {row["text"]: row["id"] for row in dot.recv("--count", "2")}
        self.assertEqual(dot.error("answer", "cid", "no", status=2)["code"], "several-questions")
        dot.run("answer", mine["All?"], "no")
        self.assertEqual((everybody.wait().status, sorted(everybody.wait().out.split("\n"))), (10, ["", "dot: no", "eve: yes"]))
        self.assertEqual(follower.interrupt().status, 130)
        started = time.monotonic()
        self.assertEqual(cid.error("ask", "dot", "Now?", "--timeout", "2", status=7)["code"], "question-unanswered")
        self.assertGreaterEqual(time.monotonic() - started, 2)
        self.assertIn("Now? (1 yes, 2 no; not answered)", cid.run("history", "dot").out)
        self.assertEqual(cid.error("ask", "dot,eve", "Now?", status=2)["code"], "usage")
        self.assertEqual(cid.error("ask", "#lobby", "Now?", status=2)["code"], "no-questions")
        self.assertEqual(cid.error("ask", "nobody", "Now?", status=3)["code"], "no-such-account")
        self.assertEqual(dot.texts(1), ["Now?"])
        for option, status in (("--first", 0), ("--all", 3)):
            asking = cid.start("ask", "nobody,dot", "Both?", option)
            [question] = dot.recv("--count", "1")
            dot.run("answer", question["id"], "yes")
            self.assertEqual(asking.wait().status, status, asking.wait())

    def test_not_asked(self) -> None:
        """What cannot be sent is withdrawn; Ctrl-C leaves a question that was asked open, and says how to go on."""
        fay, gus = self.person("fay"), self.person("gus")
        self.daemon.stop()
        said = fay.error("ask", "gus", "Now?", "--timeout", "2", status=6)
        self.assertIn("the question was withdrawn", said["hint"])
        self.assertEqual([row["status"] for row in fay.history("gus")], ["withdrawn"])
        self.daemon.start()
        asking = fay.start("ask", "gus", "Then?", "--id", ID)
        gus.recv("--count", "1")
        ended = asking.interrupt()
        self.assertEqual(ended.status, 130)
        self.assertIn(f"--id {ID}", ended.err)
        gus.run("answer", "fay", "yes")
        self.assertEqual(fay.run("ask", "gus", "Then?", "--id", ID).out, "yes\n")
