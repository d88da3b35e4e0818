"""What waits while the server is away, and what is kept of all that was said."""

from __future__ import annotations

import json
import os
import shutil
from unittest import SkipTest

from tests.functional.support import until
from tests.functional.test_terminal import TerminalCase


class OutboxTests(TerminalCase):
    """C{outbox}, C{search}, C{export} and C{history}, as their users call them."""

    def test_offline(self) -> None:
        """What waits is listed, withdrawn and sent, by this process or by the one that has the connection."""
        ann, bob = self.person("ann"), self.person("bob")
        self.daemon.stop()
        for text in ("first", "second"):
            ann.run("send", "bob", text, "--wait", "none")
        first, second = ann.run("outbox", "--json").rows
        self.assertEqual([row["text"] for row in (first, second)], ["first", "second"])
        self.assertIn("waiting  first", ann.run("outbox").out)
        self.assertEqual(ann.error("outbox", "retry", status=6)["code"], "not-connected")
        ann.run("outbox", "cancel", first["id"][:8])
        self.daemon.start()
        ann.run("outbox", "retry")
        self.assertEqual(bob.texts(1), ["second"])
        self.assertEqual(ann.error("outbox", "cancel", second["id"], status=5)["code"], "already-accepted")

        follower = ann.start("recv", "--follow", "--json")
        bob.send("ann", "are you up?")
        until(lambda: follower.line_count == 1, "the first message")
        ann.run("outbox", "retry", first["id"][:8])
        self.assertEqual(bob.texts(1), ["first"])
        self.assertEqual(follower.interrupt().status, 130)
        self.assertEqual(ann.run("outbox").out, "")

    def test_later(self) -> None:
        """
        What is written for later is sent at its time by the process that is connected then, also by one that came after a kill;
        or at once, if that is asked for.
        """
        ann, bob = self.person("ann"), self.person("bob")
        refused = ann.error("send", "bob", "later", "--at", "2h", "--wait", "accepted", status=2)
        self.assertIn("omit --wait", refused["error"])
        killed = ann.start("recv", "--follow", "--json")
        bob.send("ann", "hello")
        until(lambda: killed.line_count == 1, "the connection")
        [shown] = ann.run("send", "bob", "soon", "--at", "3s", "--json").rows
        self.assertEqual(shown["status"], "queued")
        ann.run("send", "bob", "much later", "--at", "2h")
        killed.kill()
        follower = ann.start("recv", "--follow", "--json")
        self.assertEqual(bob.texts(1), ["soon"])
        [later] = ann.run("outbox", "--json").rows
        self.assertEqual(later["text"], "much later")
        ann.run("outbox", "retry", later["id"][:8])
        self.assertEqual(bob.texts(1), ["much later"])
        self.assertEqual(follower.interrupt().status, 130)

    def drop(self, name: str) -> None:
        """Start commands without a setting of ours."""
        value = os.environ.pop(name, None)
        if value is not None:
            self.addCleanup(os.environ.__setitem__, name, value)

    def test_kept(self) -> None:
        """What was said is found, exported, and read page by page at a terminal."""
        cid, dot = self.person("cid"), self.person("dot")
        cid.run("chat", "dot", text="".join(f"Line {number}\n" for number in range(60)))
        dot.texts(60)
        self.assertEqual([row["text"] for row in dot.run("search", "LINE", "59", "--json").rows], ["Line 59"])
        dot.run("search", "absent", status=1)
        exported = [json.loads(line) for line in dot.run("export").out.splitlines()]
        self.assertEqual([(row["conversation"], row["text"]) for row in exported], [("cid", f"Line {n}") for n in range(60)])
        seat = self.sit_down(dot, "history", "cid", "--no-pager")
        self.assertEqual(seat.end(), 0)
        self.assertIn("Line 59", seat.shown)
        if shutil.which("less") is None:
            raise SkipTest("there is no less")
        for name in ("PAGER", "LESS"):
            self.drop(name)
        seat = self.sit_down(dot, "history", "cid")
        seat.expect("Line 28")
        self.assertNotIn("Line 31", seat.shown)
        seat.type("q")
        self.assertEqual(seat.end(), 0)
