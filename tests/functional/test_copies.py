"""One copy of a profile that is put back again and again, as with images of machines and of containers."""

from __future__ import annotations

import shutil

from tests.functional.support import PlaceCase

# More than there are one-time prekeys for one account at once.
RUNS = 4


class CopyTests(PlaceCase):
    """The real client, the real daemon, and C{cp -a}."""

    def test_put_back(self) -> None:
        """Each message that was accepted arrives, in order, and so do later ones; the sender is told each time but the first."""
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
