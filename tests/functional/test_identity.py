"""C{identity renew} and policies, with real processes."""

from __future__ import annotations

import shutil
import time
from functools import partial

from tests.functional.support import Person, PlaceCase, Running, until


class RenewTests(PlaceCase):
    """An account gets new keys."""

    def test_renewed(self) -> None:
        """
        Who follows what is signed goes on; who does not is told, with status 4, until the new keys are accepted. A copy of the
        old keys is shut out.
        """
        ada, ben, cid = (self.person(name) for name in ("ada", "ben", "cid"))
        for other in (ada, cid):
            other.send("ben", "hello")
        ben.texts(2)
        self.assertIn("signed", ada.run("contacts", "policy", "ben", "signed").err)
        copy = Person(self.place, "copy")
        shutil.copytree(ben.profile, copy.profile, ignore=shutil.ignore_patterns("wake"))
        ada.send("ben", "waits for the old keys")
        [before] = ben.run("whoami", "--json").rows
        [after] = ben.run("identity", "renew", "--json").rows
        self.assertNotEqual(after["fingerprint"], before["fingerprint"])
        self.assertEqual(ben.texts(1), ["waits for the old keys"])
        self.assertEqual(ada.send("ben", "to the new keys")["status"], "accepted")
        [known] = ada.run("contacts", "ben", "--json").rows
        self.assertEqual((known["changed"], known["fingerprint"]), (False, after["fingerprint"]))
        self.assertEqual(cid.send("ben", "to whom?", status=4)["status"], "queued")
        [known] = cid.run("contacts", "ben", "--json").rows
        self.assertEqual((known["changed"], known["signed"], known["policy"]), (True, True, "pin"))
        cid.run("contacts", "accept", "ben")
        cid.run("outbox", "retry")
        self.assertEqual(sorted(ben.texts(2)), ["to the new keys", "to whom?"])
        self.assertEqual(copy.error("recv", status=5)["code"], "login-failed")

    def test_held_back(self) -> None:
        """What is held back would be lost with the old keys: a script has to say so."""
        fay, gus = self.person("fay"), self.person("gus")
        fay.send("gus", "hello")
        gus.texts(1)
        gus.send("fay", "hello")
        fay.texts(1)
        gus.run("identity", "renew")
        gus.send("fay", "important")
        fay.recv()
        self.assertEqual(fay.error("identity", "renew", status=5)["code"], "messages-held")
        self.assertIn("the old ones have signed", fay.error("send", "gus", "who?", "--quiet", status=4)["error"])
        fay.run("contacts", "accept", "gus")
        self.assertEqual(fay.texts(1), ["important"])

    def test_killed(self) -> None:
        """Killed on the way, it is finished by the next call; until then other commands say so."""
        dan, eve = self.person("dan"), self.person("eve")
        dan.send("eve", "hello")
        eve.texts(1)
        dan.run("contacts", "policy", "eve", "signed")
        self.daemon.stop()
        self.assertEqual(eve.error("identity", "renew", status=6)["code"], "not-connected")
        self.daemon.start()
        follower = eve.start("recv", "--follow", "--json")
        dan.send("eve", "now")
        until(lambda: follower.line_count == 1, "a message")
        self.assertEqual(eve.error("identity", "renew", status=9)["code"], "connected-elsewhere")
        follower.interrupt()
        for tenths in range(2, 9):
            renewing, since = eve.start("identity", "renew"), time.monotonic()
            until(partial(self._is_time, renewing, since + tenths / 10), "the moment of its death")
            renewing.kill()
        done = eve.run("identity", "renew")
        self.assertIn("has new keys", done.out)
        dan.send("eve", "after all")
        self.assertEqual(eve.texts(1), ["after all"])

    @staticmethod
    def _is_time(running: Running, moment: float) -> bool:
        return time.monotonic() >= moment or not running.is_alive
