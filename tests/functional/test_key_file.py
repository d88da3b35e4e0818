"""
Key files as their users meet them: two people who share one, callers of a daemon that holds one, and files that are wrong.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.functional.support import Done, Person, Place, PlaceCase, checked, until


class KeygenTests(SynchronousTestCase):
    """
    C{securemsg keygen}.
    """

    def setUp(self) -> None:
        """
        A folder.
        """
        self.place = Place.make()
        self.addCleanup(self.place.forget)

    def run_line(self, *arguments: str) -> Done:
        """
        Run a command.
        """
        return self.place.start_command(arguments[0], *arguments).wait()

    def test_hex(self) -> None:
        """
        C{--hex} prints the key, alone on standard output: with FILE the one in it, without FILE one that is in none.
        """
        done = self.run_line("keygen", "shared.key", "--hex")
        self.assertEqual((done.status, done.out.strip()), (0, (self.place.folder / "shared.key").read_bytes().hex()))
        before = sorted(path.name for path in self.place.folder.iterdir() if not path.name.startswith("log."))
        done = self.run_line("keygen", "--hex")
        self.assertRegex(done.out, r"\A[0-9a-f]{64}\n\Z")
        after = sorted(path.name for path in self.place.folder.iterdir() if not path.name.startswith("log."))
        self.assertEqual(before, after)
        self.assertRegex(done.err, r"\Akey-[0-9a-f]{8}; no file was made\n\Z")

    def test_json(self) -> None:
        """
        C{--json} gives path and name, and the key only with C{--hex}.
        """
        [row] = self.run_line("keygen", "a.key", "--json").rows
        self.assertEqual(set(row), {"file", "key"})
        [row] = self.run_line("keygen", "b.key", "--json", "--hex").rows
        self.assertEqual((row["file"], row["hex"]), ("b.key", (self.place.folder / "b.key").read_bytes().hex()))


class PeerTests(PlaceCase):
    """
    Two people who share a file, over a daemon that knows nothing of it.
    """

    def key_file(self, name: str) -> Path:
        """
        A new key file.
        """
        path = self.place.folder / f"{name}.key"
        checked(self.place.start_command("keygen", "keygen", str(path)).wait(), 0, ["keygen"])
        return path

    def pair(self, one: str, other: str) -> tuple[Person, Person, Path]:
        """
        Two people, and a file that both have.
        """
        return self.person(one), self.person(other), self.key_file(f"{one}-{other}")

    def pin(self, person: Person, name: str, path: Path) -> Done:
        """
        Have a conversation use this file.
        """
        return person.run("contacts", name, "--set-suite", "psk", "--key-file", str(path))

    def test_both_ways(self) -> None:
        """
        With the same file on both sides messages go both ways, in order, and history tells the suite that each of them had.
        """
        ada, ben, path = self.pair("ada", "ben")
        ada.send("ben", "before")
        self.assertEqual(ben.texts(1), ["before"])
        self.pin(ben, "ada", path)
        sent = ada.send("ben", "first", "--suite", "psk", "--key-file", str(path))
        self.assertEqual(sent["status"], "accepted")
        ada.send("ben", "second")
        self.assertEqual(ben.texts(2), ["first", "second"])
        ben.send("ada", "third")
        [answer] = ada.recv("--count", "1")
        self.assertEqual((answer["text"], answer["suite"]), ("third", "psk"))
        ada.send("ben", "fourth")
        self.assertEqual(ben.texts(1), ["fourth"])
        expected = [("before", "pqxdh"), ("first", "psk"), ("second", "psk"), ("third", "psk"), ("fourth", "psk")]
        for person, name in ((ada, "ben"), (ben, "ada")):
            self.assertEqual([(row["text"], row["suite"]) for row in person.history(name)], expected)

    def test_offline_and_killed(self) -> None:
        """
        It works while the other is away from the first message on, and over a daemon that is killed in between.
        """
        cleo, dan, path = self.pair("cleo", "dan")
        self.pin(dan, "cleo", path)
        for number in range(3):
            cleo.send("dan", f"away {number}", "--suite", "psk", "--key-file", str(path))
        self.daemon.kill()
        self.assertEqual(cleo.error("send", "dan", "nobody there", status=6)["code"], "not-connected")
        self.daemon.start()
        cleo.send("dan", "after the crash")
        rows = dan.recv("--count", "5")
        self.assertEqual(
            [row["text"] for row in rows], ["away 0", "away 1", "away 2", "nobody there", "after the crash"]
        )
        self.assertEqual({row["suite"] for row in rows}, {"psk"})
        self.assertEqual([row["gap_before"] for row in rows], [0] * 5)
        dan.send("cleo", "back")
        self.daemon.kill()
        self.daemon.start()
        self.assertEqual(cleo.texts(1), ["back"])

    def test_key_comes_later(self) -> None:
        """
        A message under a file that one has not yet is kept: a warning names the command that opens it, and after that command
        it is given, once, with those that came after it.
        """
        eve, fay, path = self.pair("eve", "fay")
        eve.send("fay", "can you read this?", "--suite", "psk", "--key-file", str(path))
        done = fay.run("recv")
        self.assertEqual(done.out, "")
        self.assertEqual(done.err.count("securemsg contacts eve --set-suite psk --key-file FILE"), 1, done.err)
        self.assertEqual(fay.run("status", "--json").rows[0]["quarantined"], 1)
        eve.send("fay", "and this?")
        self.assertNotIn("--key-file FILE", fay.run("recv").err)
        self.pin(fay, "eve", path)
        self.assertEqual(fay.texts(2), ["can you read this?", "and this?"])
        self.assertEqual(fay.recv(), [])
        self.assertEqual(fay.run("status", "--json").rows[0]["quarantined"], 0)
        fay.send("eve", "now I can")
        self.assertEqual(eve.texts(1), ["now I can"])

    def test_key_comes_later_to_a_reader(self) -> None:
        """
        So it is where another process has the connection: it sees the key in the store, and gives the message out.
        """
        gus, hal, path = self.pair("gus", "hal")
        reader = hal.start("recv", "--follow", "--json")
        gus.send("hal", "kept for you", "--suite", "psk", "--key-file", str(path))
        until(lambda: "--set-suite psk" in reader.err, "a warning")
        self.pin(hal, "gus", path)
        until(lambda: len(reader.lines) == 1, "the message")
        self.assertIn("kept for you", reader.out)
        self.assertEqual(reader.interrupt().status, 130)

    def test_other_file(self) -> None:
        """
        With different files nothing is given out, and nothing is said to be delivered.
        """
        ida, jon, path = self.pair("ida", "jon")
        self.pin(jon, "ida", self.key_file("other"))
        ida.send("jon", "secret", "--suite", "psk", "--key-file", str(path))
        self.assertEqual(jon.recv(), [])
        self.assertEqual(jon.run("status", "--json").rows[0]["quarantined"], 1)
        self.pin(jon, "ida", path)
        self.assertEqual(jon.texts(1), ["secret"])

    def test_pinned_and_told(self) -> None:
        """
        Pinning is told once, needs a file the first time, and is undone by naming the other suite; C{contacts}, C{verify} and
        C{status} say how things stand.
        """
        kim, lea, path = self.pair("kim", "lea")
        del lea
        done = kim.run("send", "lea", "hello", "--suite", "psk", status=2)
        self.assertIn("no key file is pinned for lea", done.err)
        self.assertIn("securemsg keygen FILE", done.err)
        self.assertNotIn("lea", kim.run("contacts").out)
        done = kim.run("send", "lea", "one", "--suite", "psk", "--key-file", str(path))
        self.assertRegex(done.err, r"encrypted with suite psk and key-[0-9a-f]{8}: .*securemsg contacts kim --set-suite psk")
        self.assertEqual(kim.run("send", "lea", "two", "--suite", "psk").err, "")
        self.assertEqual(kim.run("send", "lea", "three").err, "")
        [contact] = kim.run("contacts", "lea", "--json").rows
        self.assertEqual(contact["suite"], "psk")
        self.assertRegex(contact["key"], r"\Akey-[0-9a-f]{8}\Z")
        [shown] = kim.run("verify", "lea", "--json").rows
        self.assertEqual((shown["suite"], shown["key"]), ("psk", contact["key"]))
        self.assertIn("whoever holds this file", kim.run("verify", "lea").err)
        self.assertEqual(kim.run("status", "--json").rows[0]["key_files"], {"lea": contact["key"]})
        self.assertEqual({row["suite"] for row in kim.history("lea")}, {"psk"})
        done = kim.run("send", "lea", "four", "--suite", "pqxdh")
        self.assertIn("suite pqxdh", done.err)
        [contact] = kim.run("contacts", "lea", "--json").rows
        self.assertEqual((contact["suite"], contact["key"]), ("pqxdh", None))
        self.assertEqual(kim.history("lea")[-1]["suite"], "pqxdh")

    def test_never_changed_by_the_other(self) -> None:
        """
        What the other uses changes nothing for us: each side's suite is its own user's.
        """
        max_, nia, path = self.pair("max", "nia")
        self.pin(nia, "max", path)
        max_.send("nia", "in pqxdh")
        self.assertEqual([row["suite"] for row in nia.recv("--count", "1")], ["pqxdh"])
        nia.send("max", "in psk")
        max_.recv()
        max_.send("nia", "still in pqxdh")
        self.assertEqual([row["suite"] for row in nia.recv("--count", "1")], ["pqxdh"])
        self.assertEqual(nia.run("contacts", "max", "--json").rows[0]["suite"], "psk")

    def test_chat(self) -> None:
        """
        C{chat --suite psk} talks with whoever holds the file, and needs it once.
        """
        oto, pia, path = self.pair("oto", "pia")
        self.pin(pia, "oto", path)
        oto.run("chat", "pia", "--suite", "psk", "--key-file", str(path), text="from the chat\n")
        oto.run("chat", "pia", "--suite", "psk", text="once more\n")
        rows = pia.recv("--count", "2")
        self.assertEqual([(row["text"], row["suite"]) for row in rows], [("from the chat", "psk"), ("once more", "psk")])

    def test_wrong_use(self) -> None:
        """
        Options that make no sense are wrong usage, before anything is pinned or sent.
        """
        quin, ria, path = self.pair("quin", "ria")
        del ria
        file = str(path)
        for arguments in (
            ("send", "ria", "x", "--suite", "pqxdh", "--key-file", file),
            ("send", "server", "x", "--suite", "psk", "--key-file", file),
            ("contacts", "ria", "--key-file", file),
            ("contacts", "--set-suite", "psk", "--key-file", file),
            ("contacts", "ria", "--set-suite", "psk"),
            ("send", "ria", "x", "--suite", "rot13"),
        ):
            quin.run(*arguments, status=2)
        self.assertEqual(quin.run("contacts", "nobody", "--set-suite", "psk", "--key-file", file, status=3).out, "")
        self.assertEqual(quin.run("status", "--json").rows[0]["outbox"], 0)
        self.assertEqual([row["name"] for row in quin.run("contacts", "--json").rows if row["name"] == "ria"], [])

    def test_key_lies_sealed(self) -> None:
        """
        The pinned key lies in the profile, sealed: no file of it shows the secret.
        """
        sam, tom, path = self.pair("sam", "tom")
        del tom
        self.pin(sam, "tom", path)
        secret = path.read_bytes()
        for file in sam.profile.iterdir():
            if file.is_file():
                self.assertNotIn(secret, file.read_bytes(), file.name)
        path.unlink()
        sam.send("tom", "the file itself is not needed any more")
