"""What may stand nowhere: texts in clear, and anything that others could read."""

from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path
from unittest import skipUnless

from tests.functional.support import Person, PlaceCase, until

TEXT = "xyzzy the eagle has landed plugh"


class SecretTests(PlaceCase):
    """A conversation has taken place, with everything at its most talkative; then the disk is searched."""

    def test_nowhere_in_clear(self) -> None:
        """Neither profiles nor the server's state nor any log holds the text in clear, whichever way it is encoded."""
        before = os.umask(0)
        try:
            self.daemon.stop()
            self.daemon.start()
            ada, ben = self.person("ada"), self.person("ben")
            ada.run("send", "ben", text=TEXT)
            ada.run("send", "server", text=TEXT)
            waiting = self.search(ada.profile, ben.profile, self.daemon.state)
            self.assertEqual(waiting, [], "while a message waits")
            received = ben.run("recv", "--debug")
            self.assertIn(TEXT, received.out)
            self.assertNotIn(TEXT, received.err)
            answered = ben.run("send", "ada", "--debug", text=TEXT)
            self.assertNotIn(TEXT, answered.err)
            ada.run("recv")
        finally:
            os.umask(before)
        self.assertEqual(self.search(ada.profile, ben.profile, self.daemon.state), [])
        self.assertNotIn(TEXT, self.daemon.log)
        self.assertIn(TEXT, ada.run("history", "ben").out)
        for folder in (ada.profile, ben.profile, self.daemon.state):
            for path in (folder, *folder.rglob("*")):
                self.assertEqual(stat.S_IMODE(path.lstat().st_mode) & 0o077, 0, path)

    def search(self, *folders: Path) -> list[str]:
        """The files that hold the text."""
        found = []
        for folder in folders:
            for path in folder.rglob("*"):
                if path.is_file():
                    data = path.read_bytes()
                    if any(TEXT.encode(coding) in data for coding in ("utf-8", "utf-16-le", "utf-16-be")):
                        found.append(str(path))
        return found

    @skipUnless(sys.platform == "linux", "needs Linux's /proc")
    def test_memory(self) -> None:
        """No crash writes the memory of daemon or client to disk; on Linux nobody but root looks into it either."""
        for running in (self.daemon.running, self.person("dan").start("recv", "--follow")):
            place = Path("/proc") / str(running.process.pid)
            until(lambda: re.search(r"Max core file size +0 +0 ", (place / "limits").read_text()), "the limit")  # noqa: B023
            until(lambda: (place / "environ").stat().st_uid == 0, "what is root's alone")  # noqa: B023

    def test_arguments(self) -> None:
        """C{join -} keeps the invite out of the list of processes, and no log holds it."""
        invite = self.daemon.invite()
        cleo = Person(self.place, "cleo").join(invite)
        token = invite.partition("token=")[2].partition("&")[0]
        self.assertTrue(token)
        self.assertNotIn(token, self.daemon.log)
        for path in self.daemon.state.rglob("*"):
            if path.is_file() and path.name != "first-invite":
                self.assertNotIn(token.encode(), path.read_bytes(), path)
        cleo.run("ping")
