"""Suite rsa as its users meet it: keys that are made and published, messages both ways, and what is said of the suite."""

from __future__ import annotations

from tests.functional.support import Person, PlaceCase


class RsaTests(PlaceCase):
    """People with RSA keys, and one without."""

    def joined(self, name: str, *options: str) -> Person:
        """Somebody who joins with these options."""
        person = Person(self.place, name)
        person.run("join", "-", name, *options, text=self.daemon.invite() + "\n")
        return person

    def test_both_ways(self) -> None:
        """
        Who has joined with a key is written to at once, also while away and over a daemon that is killed; answers come in the
        suite that the other side has chosen, with either cipher.
        """
        ada, ben = self.joined("ada", "--rsa"), self.joined("ben", "--rsa")
        sent = ada.send("ben", "one", "--suite", "rsa", "--cipher", "a128")
        self.assertEqual(sent["status"], "accepted")
        self.daemon.kill()
        self.assertEqual(ada.error("send", "ben", "two", status=6)["code"], "not-connected")
        self.daemon.start()
        ada.send("ben", "three")
        rows = ben.recv("--count", "3")
        self.assertEqual([(row["text"], row["suite"], row["note"]) for row in rows[:1]], [("one", "rsa", "other-suite")])
        self.assertEqual([row["text"] for row in rows], ["one", "two", "three"])
        ben.send("ada", "not in rsa")
        self.assertEqual([(row["suite"], row["note"]) for row in ada.recv("--count", "1")], [("pqxdh", "other-suite")])
        ben.run("contacts", "ada", "--set-suite", "rsa")
        ben.send("ada", "in rsa")
        self.assertEqual([(row["suite"], row["note"]) for row in ada.recv("--count", "1")], [("rsa", "")])
        wire = ben.run("send", "ada", "more", "--show-wire").err
        self.assertIn("suite rsa", wire)

    def test_told(self) -> None:
        """C{contacts}, C{verify} and C{status} name the suite and what it lacks; choosing it says so once."""
        kim, lea = self.joined("kim"), self.joined("lea", "--rsa-bits", "3072")
        del lea
        done = kim.run("contacts", "lea", "--set-suite", "rsa", "--cipher", "a128")
        self.assertIn("an RSA key of 2048 bits was made", done.err)
        self.assertIn("suite rsa (A128CBC-HS256): no forward secrecy, not post-quantum; whoever gets a device's", done.err)
        self.assertRegex(done.out, r"lea .*  rsa\n")
        self.assertEqual(kim.run("contacts", "lea", "--set-suite", "rsa").err, "")
        [contact] = kim.run("contacts", "lea", "--json").rows
        facts = {"suite": "rsa", "key": None, "cipher": "A128CBC-HS256", "lacks": ["forward-secrecy", "post-quantum"]}
        self.assertEqual({name: contact[name] for name in facts}, facts)
        [shown] = kim.run("verify", "lea", "--json").rows
        self.assertEqual({name: shown[name] for name in facts}, facts)
        self.assertIn("Messages are encrypted with suite rsa: no forward secrecy", kim.run("verify", "lea").err)
        self.assertEqual(kim.run("status", "--json").rows[0]["suites"], {"lea": facts})
        self.assertIn("rsa with lea: no forward secrecy, not post-quantum", kim.run("status").out)
        again = ("contacts", "lea", "--set-suite", "rsa", "--rsa-bits", "4096")
        self.assertIn("this device has an RSA key already", kim.run(*again, status=2).err)
        plain = kim.run("contacts", "lea", "--set-suite", "pqxdh").err
        self.assertIn("encrypted with suite pqxdh [", plain)
        self.assertEqual(kim.run("contacts", "lea", "--json").rows[0]["lacks"], [])

    def test_no_key(self) -> None:
        """
        To somebody without an RSA key nothing is sent in another suite; the error names the command that helps, and with that
        the message goes out.
        """
        mia, noa = self.joined("mia"), self.joined("noa")
        done = mia.run("send", "noa", "hello", "--suite", "rsa", status=5)
        self.assertIn("noa has no RSA key", done.err)
        self.assertIn("securemsg contacts YOUR-NAME --set-suite rsa", done.err)
        self.assertIn("noa cannot answer in this suite until you have an RSA key", done.err)
        self.assertEqual(noa.recv(), [])
        self.assertIn("[suite-unavailable]", mia.run("chat", "noa", text="and here\n", status=5).err)
        noa.run("contacts", "mia", "--set-suite", "rsa")
        self.assertEqual(mia.run("send", "noa", "again", "--timeout", "200").status, 0)
        self.assertEqual(noa.texts(3), ["hello", "and here", "again"])

    def test_chosen_offline(self) -> None:
        """A key that was made without a connection is published once the command is repeated with one."""
        pat, quinn = self.joined("pat"), self.joined("quinn")
        pat.send("quinn", "hi")
        self.assertEqual(quinn.texts(1), ["hi"])
        self.daemon.kill()
        self.assertEqual(quinn.error("contacts", "pat", "--set-suite", "rsa", status=6)["code"], "not-connected")
        self.daemon.start()
        quinn.run("contacts", "pat", "--set-suite", "rsa")
        pat.send("quinn", "in rsa", "--suite", "rsa")
        self.assertEqual([row["suite"] for row in quinn.recv("--count", "1")], ["rsa"])

    def test_nonsense(self) -> None:
        """A cipher without the suite, a size that no key has, and the suite for C{server} are refused."""
        uma = self.joined("uma")
        for line in (
            ("send", "vic", "x", "--cipher", "a128"),
            ("contacts", "vic", "--rsa-bits", "2048"),
            ("contacts", "vic", "--set-suite", "rsa", "--rsa-bits", "1024"),
            ("send", "server", "x", "--suite", "rsa"),
        ):
            uma.run(*line, status=2)
