"""One copy of a profile that is put back again and again, as with images of machines and of containers."""

from __future__ import annotations

import json
import shutil

from tests.functional.support import PlaceCase

# More than there are one-time prekeys for one account at once.
RUNS = 4


class CopyTests(PlaceCase):
    """The real client, the real daemon, and C{cp -a}."""

    def test_put_back(self) -> None:
        """Each message that was accepted arrives, in order, and so do later ones; the sender is told from the second on."""
        ann, ben = self.person("ann"), self.person("ben")
        snapshot = self.place.folder / "snapshot"
        # A pipe cannot be copied, and is made anew.
        shutil.copytree(ann.profile, snapshot, ignore=shutil.ignore_patterns("wake"))
        for number in range(RUNS):
            shutil.rmtree(ann.profile)
            shutil.copytree(snapshot, ann.profile)
            sent = ann.run("send", "ben", f"run {number}")
            self.assertEqual("[state-restored]" in sent.err, number > 0, sent.err)
        self.assertEqual([row["text"] for row in ben.recv()], [f"run {number}" for number in range(RUNS)])
        ben.send("ann", "reply")
        ann.send("ben", "later")
        self.assertEqual((ann.texts(1), ben.texts(1)), (["reply"], ["later"]))

    def test_told(self) -> None:
        """A reader that was put back says once what it cannot open; the sender's next command sends it again."""
        cleo, dan = self.person("cleo"), self.person("dan")
        older = self.place.folder / "older"
        shutil.copytree(dan.profile, older, ignore=shutil.ignore_patterns("wake"))
        cleo.send("dan", "one")
        dan.texts(1)
        dan.send("cleo", "got it")
        cleo.texts(1)
        shutil.rmtree(dan.profile)
        shutil.copytree(older, dan.profile)
        cleo.send("dan", "two")
        done = dan.run("recv", "--json")
        [note] = [row for row in map(json.loads, done.err.splitlines()) if row["code"] == "held-back"]
        self.assertEqual((done.out, note["name"]), ("", "cleo"))
        self.assertRegex(note["warning"], r"^[12] messages? from cleo could not be opened \([a-z-]+\)")
        self.assertEqual(dan.run("recv").err, "")
        cleo.run("recv")
        self.assertEqual(dan.texts(2), ["one", "two"])
