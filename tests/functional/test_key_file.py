"""
Key files as their users meet them: two people who share one, guests of a daemon that holds one, and files that are wrong.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.functional.support import HOST, TIME, Daemon, Done, Json, Person, Place, PlaceCase, Running, checked, until


class KeygenTests(SynchronousTestCase):
    """C{securemsg keygen}."""

    def setUp(self) -> None:
        """A folder."""
        self.place = Place.make()
        self.addCleanup(self.place.forget)

    def run_line(self, *arguments: str) -> Done:
        """Run a command."""
        return self.place.start_command(arguments[0], *arguments).wait()

    def test_hex(self) -> None:
        """C{--hex} prints the key, alone on standard output: with FILE the one in it, without FILE one that is in none."""
        done = self.run_line("keygen", "shared.key", "--hex")
        self.assertEqual((done.status, done.out.strip()), (0, (self.place.folder / "shared.key").read_bytes().hex()))
        before = sorted(path.name for path in self.place.folder.iterdir() if not path.name.startswith("log."))
        done = self.run_line("keygen", "--hex")
        self.assertRegex(done.out, r"\A[0-9a-f]{64}\n\Z")
        after = sorted(path.name for path in self.place.folder.iterdir() if not path.name.startswith("log."))
        self.assertEqual(before, after)
        self.assertRegex(done.err, r"\Akey-[0-9a-f]{8}; no file was created\n\Z")

    def test_json(self) -> None:
        """C{--json} gives path and name, and the key only with C{--hex}."""
        [row] = self.run_line("keygen", "a.key", "--json").rows
        self.assertEqual(set(row), {"file", "key"})
        [row] = self.run_line("keygen", "b.key", "--json", "--hex").rows
        self.assertEqual((row["file"], row["hex"]), ("b.key", (self.place.folder / "b.key").read_bytes().hex()))


class PeerTests(PlaceCase):
    """Two people who share a file, over a daemon that knows nothing of it."""

    def key_file(self, name: str) -> Path:
        """A new key file."""
        path = self.place.folder / f"{name}.key"
        checked(self.place.start_command("keygen", "keygen", str(path)).wait(), 0, ["keygen"])
        return path

    def pair(self, one: str, other: str) -> tuple[Person, Person, Path]:
        """Two people, and a file that both have."""
        return self.person(one), self.person(other), self.key_file(f"{one}-{other}")

    def pin(self, person: Person, name: str, path: Path) -> Done:
        """Have a conversation use this file."""
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
        """It works while the other is away from the first message on, and over a daemon that is killed in between."""
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
        A message under a file that one has not yet is kept: C{recv} says whose it is and names the command that opens it, and
        after that command it is given, once, with those that came after it.
        """
        eve, fay, path = self.pair("eve", "fay")
        eve.send("fay", "can you read this?", "--suite", "psk", "--key-file", str(path))
        command = "securemsg contacts eve --set-suite psk --key-file FILE"
        done = fay.run("recv")
        self.assertEqual((done.out, done.err.count(command)), ("", 1), done.err)
        self.assertEqual(fay.run("status", "--json").rows[0]["held_back"], {"eve": 1})
        eve.send("fay", "and this?")
        for words in (("recv",), ("recv", "--from", "eve"), ("recv", "--timeout", "0")):
            done = fay.run(*words)
            self.assertEqual((done.out, done.err.count(command)), ("", 1), done.err)
            self.assertIn("messages from eve are waiting for a key file", done.err)
        self.assertEqual(fay.run("recv", "--from", "server").err, "")
        self.assertRegex(fay.run("status").out, r"held back: +2 \(eve 2: needs a key file\)")
        self.pin(fay, "eve", path)
        self.assertEqual(fay.texts(2), ["can you read this?", "and this?"])
        done = fay.run("recv")
        self.assertEqual((done.out, done.err), ("", ""))
        self.assertEqual(fay.run("status", "--json").rows[0]["held_back"], {})
        fay.send("eve", "now I can")
        self.assertEqual(eve.texts(1), ["now I can"])

    def test_key_comes_later_to_a_reader(self) -> None:
        """So it is where another process has the connection: it sees the key in the store, and gives the message out."""
        gus, hal, path = self.pair("gus", "hal")
        reader = hal.start("recv", "--follow", "--json")
        gus.send("hal", "kept for you", "--suite", "psk", "--key-file", str(path))
        until(lambda: "--set-suite psk" in reader.err, "a warning")
        self.pin(hal, "gus", path)
        until(lambda: reader.line_count == 1, "the message")
        self.assertIn("kept for you", reader.out)
        self.assertEqual(reader.interrupt().status, 130)

    def test_through_another_process(self) -> None:
        """What is pinned by one process counts for the one that has the connection: it seals with the key file at once."""
        una, vic, path = self.pair("una", "vic")
        self.pin(vic, "una", path)
        holder = una.start("recv", "--follow", "--json")
        until(lambda: una.run("status", "--json", "--timeout", "5").rows[0]["connected"], "a connection")
        una.send("vic", "through another process", "--suite", "psk", "--key-file", str(path))
        self.assertTrue(holder.is_alive)
        self.assertEqual([row["suite"] for row in vic.recv("--count", "1")], ["psk"])
        self.assertEqual(holder.interrupt().status, 130)

    def test_other_file(self) -> None:
        """With different files nothing is given out, and nothing is said to be delivered."""
        ida, jon, path = self.pair("ida", "jon")
        self.pin(jon, "ida", self.key_file("other"))
        ida.send("jon", "secret", "--suite", "psk", "--key-file", str(path))
        done = jon.run("recv")
        self.assertEqual(done.out, "")
        self.assertIn("[wrong-key]", done.err)
        done = jon.run("recv")
        self.assertEqual(done.out, "")
        self.assertIn("messages from ida are waiting for a key file", done.err)
        self.assertEqual(jon.run("status", "--json").rows[0]["held_back"], {"ida": 1})
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
        self.assertIn("can read everything, including the daemon's operator if the daemon has the same file", done.err)
        self.assertEqual(kim.run("send", "lea", "two", "--suite", "psk").err, "")
        self.assertEqual(kim.run("send", "lea", "three").err, "")
        [contact] = kim.run("contacts", "lea", "--json").rows
        self.assertEqual(contact["suite"], "psk")
        self.assertRegex(contact["key"], r"\Akey-[0-9a-f]{8}\Z")
        [shown] = kim.run("verify", "lea", "--json").rows
        self.assertEqual((shown["suite"], shown["key"]), ("psk", contact["key"]))
        self.assertIn("anyone who has this file", kim.run("verify", "lea").err)
        self.assertEqual(kim.run("status", "--json").rows[0]["key_files"], {"lea": contact["key"]})
        self.assertEqual({row["suite"] for row in kim.history("lea")}, {"psk"})
        done = kim.run("send", "lea", "four", "--suite", "pqxdh")
        self.assertIn("suite pqxdh", done.err)
        [contact] = kim.run("contacts", "lea", "--json").rows
        self.assertEqual((contact["suite"], contact["key"]), ("pqxdh", None))
        self.assertEqual(kim.history("lea")[-1]["suite"], "pqxdh")

    def test_one_file_for_two(self) -> None:
        """A file that is pinned for another contact already is used, with a warning: both can read both conversations."""
        uwe, vera, path = self.pair("uwe", "vera")
        wim = self.person("wim")
        self.assertNotIn("key-shared", self.pin(uwe, vera.name, path).err)
        done = self.pin(uwe, wim.name, path)
        self.assertIn("also pinned for vera: each of them can read messages to wim", done.err)
        self.assertIn("[key-shared]", done.err)
        self.assertNotIn("key-shared", self.pin(uwe, wim.name, self.key_file("own")).err)

    def test_never_changed_by_the_other(self) -> None:
        """What the other uses changes nothing for us: each side's suite is its own user's."""
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
        """C{chat --suite psk} talks with whoever holds the file, and needs it once."""
        oto, pia, path = self.pair("oto", "pia")
        self.pin(pia, "oto", path)
        oto.run("chat", "pia", "--suite", "psk", "--key-file", str(path), text="from the chat\n")
        oto.run("chat", "pia", "--suite", "psk", text="once more\n")
        rows = pia.recv("--count", "2")
        self.assertEqual([(row["text"], row["suite"]) for row in rows], [("from the chat", "psk"), ("once more", "psk")])

    def test_wrong_use(self) -> None:
        """Options that make no sense are wrong usage, before anything is pinned or sent."""
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
        """The pinned key lies in the profile, sealed: no file of it shows the secret."""
        sam, tom, path = self.pair("sam", "tom")
        del tom
        self.pin(sam, "tom", path)
        secret = path.read_bytes()
        for file in sam.profile.iterdir():
            if file.is_file():
                self.assertNotIn(secret, file.read_bytes(), file.name)
        path.unlink()
        sam.send("tom", "the file itself is not needed any more")


class GuestCase(SynchronousTestCase):
    """Guests, who have no profile and nothing but a file."""

    def setUp(self) -> None:
        """A folder, and a daemon that is not started yet."""
        self.place = Place.make()
        self.addCleanup(self.place.forget)
        self.path = self.place.folder / "shared.key"
        self.daemon = Daemon(self.place, ("--key-file", str(self.path), "--answer", "echo", "--print"))

    def start(self, command: str, *arguments: str, path: Path | None = None, pipe: bool = False) -> Running:
        """Start C{send} or C{chat} as a guest."""
        where = ("--host", HOST, "--port", str(self.daemon.port))
        return self.place.start_command(
            command, command, "--key-file", str(path or self.path), *where, *arguments, pipe=pipe
        )

    def call(
        self, command: str, *arguments: str, text: str | None = None, status: int = 0, path: Path | None = None
    ) -> Done:
        """The same to its end."""
        running = self.start(command, *arguments, path=path, pipe=text is not None)
        if text is not None:
            running.type(text)
            running.end_input()
        return checked(running.wait(), status, (command, *arguments))

    def error(self, *arguments: str, status: int, path: Path | None = None) -> Json:
        """What a C{send} that fails says of that."""
        done = self.call("send", "--json", *arguments, status=status, path=path)
        return next(row for row in Done(0, done.err, "").rows if "error" in row)

    def printed(self, text: str) -> list[str]:
        """The lines of C{--print} with this text."""
        return [line for line in self.daemon.running.out.splitlines() if line.endswith(f": {text}")]

    def make_file(self) -> None:
        """A key file before there is a daemon."""
        checked(self.place.start_command("keygen", "keygen", str(self.path)).wait(), 0, ["keygen"])


class GuestTests(GuestCase):
    """The story of the oldest program, and what can go wrong with it."""

    def test_story(self) -> None:
        """
        The daemon makes the file; a client that has it sends; the daemon prints what came; in a chat the answer comes back.
        Nothing of it is left in the guest's home, and the secret stands in no other file than its own.
        """
        self.daemon.start()
        self.assertEqual((self.path.stat().st_size, self.path.stat().st_mode & 0o777), (32, 0o600))
        before = {path for path in self.place.folder.rglob("*") if "state" not in path.parts}
        done = self.call("send", "server", "Hello Server!")
        self.assertEqual((done.out, done.err), ("", ""))
        # Accepted means that `server` has committed it, and it prints what it has committed.
        until(lambda: self.printed("Hello Server!"), "the message on the daemon's output")
        [line] = self.printed("Hello Server!")
        self.assertRegex(line, rf"\A\[{TIME}\] key-[0-9a-f]{{8}}: Hello Server!\Z")
        done = self.call("chat", "server", text="one\ntwo\n")
        self.assertEqual([line.partition("] ")[2] for line in done.out.splitlines()], ["server: one", "server: two"])
        after = {path for path in self.place.folder.rglob("*") if "state" not in path.parts}
        self.assertEqual([path.name for path in after - before if not path.name.startswith("log.")], [])
        self.daemon.stop()
        secret = self.path.read_bytes()
        for file in self.place.folder.rglob("*"):
            if file.is_file() and file != self.path:
                data = file.read_bytes()
                self.assertNotIn(secret, data, file.name)
                self.assertNotIn(secret.hex().encode(), data, file.name)

    def test_record(self) -> None:
        """
        C{send --json} tells what became of a message; C{--wait delivered} hears from the contact; text may come from standard
        input; the same C{--id} counts once.
        """
        self.make_file()
        self.daemon.start()
        [row] = self.call("send", "server", "--json", "--wait", "delivered", text="from a pipe\n").rows
        self.assertEqual((row["to"], row["status"], len(row["devices"])), ("server", "delivered", 1))
        number = "ab" * 16
        for _ in range(2):
            [row] = self.call("send", "server", "counts once", "--id", number, "--json").rows
            self.assertEqual((row["id"], row["status"]), (number, "accepted"))
        self.call("send", "server", "the last")
        until(lambda: self.printed("the last"), "the last message")
        self.assertEqual((len(self.printed("from a pipe")), len(self.printed("counts once"))), (1, 1))

    def test_other_file(self) -> None:
        """
        Another file than the daemon's ends with 8, as does a daemon without any: it has proved nothing, and learns nothing.
        """
        self.make_file()
        other = self.place.folder / "other.key"
        checked(self.place.start_command("keygen", "keygen", str(other)).wait(), 0, ["keygen"])
        self.daemon.start()
        said = self.error("server", "secret", status=8, path=other)
        self.assertEqual(said["code"], "server-identity")
        self.assertIn("does not have this key file", said["error"])
        self.assertIn("not kept", said["hint"])
        self.assertEqual(self.call("chat", "server", text="secret\n", status=8, path=other).out, "")
        self.daemon.stop()
        self.daemon.options = ()
        self.daemon.start()
        self.assertEqual(self.error("server", "secret", status=8)["code"], "server-identity")
        self.daemon.stop()
        for file in self.daemon.state.rglob("*"):
            if file.is_file():
                self.assertNotIn(b"secret", file.read_bytes(), file.name)

    def test_wrong_files(self) -> None:
        """
        A missing file and one of another size are wrong usage, one that others may read ends with 9 but for C{--loose}: each
        says what to do, and nobody is called.
        """
        said = self.error("server", "x", status=2)
        self.assertIn("securemsg keygen", said["error"])
        self.path.write_bytes(bytes(31))
        self.path.chmod(0o600)
        self.assertIn("31 bytes", self.error("server", "x", status=2)["error"])
        self.path.write_bytes(os.urandom(32))
        self.path.chmod(0o644)
        said = self.error("server", "x", status=9)
        self.assertEqual(said["code"], "key-file-exposed")
        self.assertIn("chmod 600", said["error"])
        self.assertEqual(self.error("server", "x", "--loose", status=6)["code"], "not-connected")

    def test_nobody_there(self) -> None:
        """Without a daemon it ends with 6; nothing is kept, that is said, and so is how to send it once all the same."""
        self.make_file()
        said = self.error("server", "x", status=6)
        self.assertRegex(said["hint"], r"the message is not kept; send it again with --id [0-9a-f]{32}")
        [row] = self.call("send", "server", "x", "--json", status=6).rows
        self.assertEqual((row["to"], row["status"]), ("server", "not-kept"))
        done = self.call("chat", "server", "--timeout", "1", text="x\n", status=6)
        self.assertIn("not kept", done.err)

    def test_two_at_once(self) -> None:
        """Two guests with one file talk at the same time; each gets its own answers and no other's."""
        self.make_file()
        self.daemon.start()
        chats = [self.start("chat", "server", pipe=True) for _ in range(2)]
        for turn in range(3):
            for number, chat in enumerate(chats):
                chat.type(f"guest {number} turn {turn}\n")
        for number, chat in enumerate(chats):
            until(lambda chat=chat: chat.line_count == 3, "three answers")  # type: ignore[misc]
            chat.end_input()
            done = checked(chat.wait(), 0, ["chat"])
            texts = [line.partition("] ")[2] for line in done.out.splitlines()]
            self.assertEqual(texts, [f"server: guest {number} turn {turn}" for turn in range(3)])

    def test_daemon_killed(self) -> None:
        """A chat goes on by itself when the daemon is killed and comes back: what was said meanwhile is sent, and answered."""
        self.make_file()
        self.daemon.start()
        chat = self.start("chat", "server", pipe=True)
        chat.type("before\n")
        until(lambda: chat.line_count == 1, "the first answer")
        self.daemon.kill()
        chat.type("meanwhile\n")
        self.daemon.start()
        until(lambda: chat.line_count == 2, "the second answer")
        chat.type("after\n")
        chat.end_input()
        done = checked(chat.wait(), 0, ["chat"])
        texts = [line.partition("] server: ")[2] for line in done.out.splitlines()]
        self.assertEqual(texts, ["before", "meanwhile", "after"])

    def test_equal_messages(self) -> None:
        """The same text again is other bytes on the wire, each time."""
        self.make_file()
        self.daemon.start()
        shown = set[str]()
        for _ in range(4):
            done = self.call("send", "--show-wire", "server", "the very same text")
            [line] = [line for line in done.err.splitlines() if line.startswith("-> deposit")]
            self.assertIn("suite psk", line)
            self.assertNotIn(b"the very same".hex()[:8], line.replace(" ", ""))
            shown.add(line.rpartition("bytes: ")[2])
        self.assertEqual(len(shown), 4)

    def test_accounts_beside(self) -> None:
        """A daemon with a key file serves accounts as before, and nobody can take the name of who holds it."""
        self.make_file()
        self.daemon.start()
        self.call("send", "server", "from the file")
        until(lambda: self.printed("from the file"), "the message")
        name = self.printed("from the file")[0].partition("] ")[2].partition(":")[0]
        invite = self.daemon.invite(2)
        Person(self.place, name).run("join", "-", name, text=invite + "\n", status=5)
        ada = Person(self.place, "ada").join(invite)
        ada.send("server", "from an account")
        self.assertEqual(ada.texts(1), ["from an account"])
        self.assertEqual(ada.error("send", name, "who are you?", status=3)["code"], "no-such-account")
        self.call("send", "server", "still there")
        until(lambda: self.printed("still there"), "the message")
