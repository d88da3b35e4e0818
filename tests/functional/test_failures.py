"""
What goes wrong, and how the command line says so: one line, the status of the contract, never a traceback, nothing destroyed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sqlite3
import time

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from securemsg.cli.profiles import opened
from securemsg.cli.settings import Settings
from securemsg.client.state import contacts
from securemsg.client.state.profile import resigned, save_profile
from securemsg.protocol.invite import InviteLink, parse_invite
from tests.functional.support import HOST, Daemon, Done, Person, Place, PlaceCase, free_port, is_listening


class CommandTests(PlaceCase):
    """Commands that cannot do what they were asked for."""

    def test_unknown_contact(self) -> None:
        """3: nobody is called so; the message does not stay in the outbox."""
        ada = self.person("ada")
        self.assertEqual(ada.error("send", "nobody", "hi", status=3)["code"], "no-such-account")
        self.assertEqual(ada.error("send", "nobody", "hi", status=3)["code"], "no-such-account")

    def test_unknown_sender(self) -> None:
        """3: nothing can come from a name that is not known; who is known and silent is no trouble."""
        sue, tom = self.person("sue"), self.person("tom")
        self.assertEqual(sue.error("recv", "--from", "nobody", status=3)["code"], "no-such-account")
        sue.send("tom", "hello")
        self.assertEqual(sue.recv("--from", "tom"), [])
        self.assertEqual([row["text"] for row in tom.recv("--from", "sue")], ["hello"])

    def test_no_waiting(self) -> None:
        """0: C{recv --timeout 0} prints what is here, and asks nobody."""
        uma = self.person("uma")
        self.assertEqual(uma.recv("--timeout", "0"), [])

    def test_removed(self) -> None:
        """5: the account is gone; the message stays, and nobody says that it will go out."""
        vic = self.person("vic")
        expected = "vic was removed, with 1 device and 0 waiting messages (0 bytes)\n"
        self.assertEqual(self.daemon.admin("remove", "vic", "--yes").err, expected)
        for what in ("account vic was registered", "account vic was removed"):
            self.assertIn(what, self.daemon.log)
        said = vic.error("send", "server", "hello", status=5)
        self.assertIn("may have been removed", said["hint"])
        self.assertIn("stays in the outbox", said["hint"])
        self.assertNotIn("goes out", said["hint"])

    def test_foreign_invite(self) -> None:
        """A join with an invite to nowhere leaves the folder good for the right one."""
        will = Person(self.place, "will")
        link = parse_invite(self.daemon.invite())
        foreign = InviteLink(HOST, free_port(), bytes(range(1, 33)), link.token, bytes(range(32)))
        self.assertEqual(joined(will, str(foreign), "will", status=6), "not-connected")
        will.join(self.daemon.invite())
        [contact] = will.run("contacts", "--json").rows
        self.assertEqual((contact["name"], contact["verified"], contact["changed"]), ("server", True, False))
        will.send("server", "hello")

    def test_usage(self) -> None:
        """2: what was typed means nothing."""
        ben = self.person("ben")
        ben.run("send", status=2)
        ben.run("send", "Not A Name", "hi", status=2)
        ben.run("send", "ada", "hi", "--id", "xyz", status=2)
        ben.run("no-such-command", status=2)

    def test_no_profile(self) -> None:
        """9: there is no profile yet, and asking for one makes none."""
        nobody = Person(self.place, "nobody")
        self.assertEqual(nobody.error("recv", status=9)["code"], "no-profile")
        self.assertFalse(nobody.profile.exists())

    def test_too_large(self) -> None:
        """5: a text above 48 KiB is refused, and not queued."""
        cleo, dan = self.person("cleo"), self.person("dan")
        self.assertEqual(cleo.error("send", "dan", text="x" * (48 * 1024 + 2), status=5)["code"], "too-large")
        cleo.run("history", "dan", status=3)
        self.assertEqual(dan.recv(), [])

    def test_conflict(self) -> None:
        """5: an id stands for one message only."""
        eve, fay = self.person("eve"), self.person("fay")
        eve.send("fay", "one", "--id", "cd" * 16)
        self.assertEqual(eve.error("send", "fay", "two", "--id", "cd" * 16, status=5)["code"], "conflict")
        self.assertEqual(fay.texts(1), ["one"])

    def test_used_invite(self) -> None:
        """5: an invite serves as often as it says; the newcomer can join with another one later."""
        invite = self.daemon.invite()
        Person(self.place, "gus").join(invite)
        hal = Person(self.place, "hal")
        self.assertEqual(joined(hal, invite, "hal", status=5), "bad-token")
        hal.join(self.daemon.invite())
        hal.run("ping")

    def test_name_taken(self) -> None:
        """5: a name is given once; the same invite serves for another name."""
        self.person("ida")
        invite = self.daemon.invite()
        jon = Person(self.place, "jon")
        self.assertEqual(joined(jon, invite, "ida", status=5), "name-taken")
        joined(jon, invite, "jon", status=0)
        jon.run("ping")

    def test_names(self) -> None:
        """Reserved names are refused (5), impossible ones are a matter of usage (2); both leave the invite unused."""
        invite = self.daemon.invite()
        for name in ("server", "admin", "key-1"):
            self.assertEqual(joined(Person(self.place, name), invite, name, status=5), "reserved-name")
        for name in ("Upper", "_x", "a" * 33, "with space"):
            self.assertEqual(joined(Person(self.place, "odd"), invite, name, status=2), "illegal-name")
        Person(self.place, "kim").join(invite)

    def test_no_invite(self) -> None:
        """2: what was pasted is cut short."""
        lea = Person(self.place, "lea")
        self.assertEqual(joined(lea, self.daemon.invite()[:60], "lea", status=2), "bad-invite")

    def test_identity_changed(self) -> None:
        """4: somebody else has the name now; nothing goes out before the user accepts that, and then it does."""
        max_, nia = self.person("max"), self.person("nia")
        max_.send("nia", "to the first nia")
        self.assertEqual(nia.texts(1), ["to the first nia"])
        self.daemon.admin("remove", "nia", "--yes")
        second = Person(self.place, "nia2")
        second.run("join", self.daemon.invite(), "nia")
        for options in ((), (), ("--no-queue",)):
            said = max_.error("send", "nia", "secret", "--timeout", "50", *options, status=4)
            self.assertEqual(said["code"], "identity-changed")
            self.assertIn("securemsg contacts accept nia", said["hint"])
        self.assertEqual(max_.send("nia", "secret", status=4)["code"], "identity-changed")
        self.assertIn("securemsg contacts accept nia", max_.run("chat", "nia", text="secret\n", status=4).err)
        self.assertEqual(second.recv(), [])
        max_.run("contacts", "accept", "nia")
        # Any command with a connection lets what waited for that word go out.
        max_.run("status")
        self.assertEqual(second.texts(4), ["secret"] * 4)
        max_.send("nia", "to the second nia")
        self.assertIn("to the second nia", second.texts(1) + [row["text"] for row in second.recv()])

    def test_wrong_server(self) -> None:
        """8: another server answers there than the one that the invite named; nothing is sent to it."""
        oto = self.person("oto")
        other = Daemon(self.place, name="other")
        other.start()
        try:
            said = oto.error("send", "server", "hi", "--port", str(other.port), status=8)
            self.assertEqual(said["code"], "server-identity")
            [account] = other.admin("accounts", "--json").rows
            self.assertEqual(account["name"], "server")
        finally:
            other.stop()

    def test_not_a_server(self) -> None:
        """6: something else listens there."""
        pia = self.person("pia")
        with socket.create_server((HOST, 0)) as listener:
            port = listener.getsockname()[1]
            pia.error("ping", "--port", str(port), "--timeout", "3", status=6)

    def test_passphrase(self) -> None:
        """9: a profile that is sealed opens with its passphrase, and with no other."""
        right, wrong = (self.place.folder / name for name in ("right", "wrong"))
        for path in (right, wrong):
            path.write_text(f"{path.name} horse battery\n", "utf-8")
            path.chmod(0o600)
        quin = Person(self.place, "quin")
        quin.run("join", self.daemon.invite(), "quin", "--passphrase-file", str(right))
        quin.run("ping", "--passphrase-file", str(right))
        self.assertEqual(quin.error("ping", "--passphrase-file", str(wrong), status=9)["code"], "wrong-passphrase")
        self.assertEqual(quin.error("ping", status=9)["code"], "passphrase-needed")

    def test_damaged_profile(self) -> None:
        """9: a damaged profile says so, and is left as it is."""
        rita = self.person("rita")
        database = rita.profile / "profile.db"
        database.write_bytes(b"not a database at all, but long enough" * 100)
        before = database.read_bytes()
        self.assertEqual(rita.error("recv", status=9)["code"], "profile-damaged")
        self.assertEqual(database.read_bytes(), before)


class OutboxTests(PlaceCase):
    """Messages that cannot go out at once."""

    def setUp(self) -> None:
        """Every test stops the daemon, so every test starts it."""
        if not self.daemon.running.is_alive:
            self.daemon.start()

    def test_waits(self) -> None:
        """6: the message stays in the outbox, stderr names it, and it goes out with the next connection, in order."""
        ada, ben = self.person("ada"), self.person("ben")
        self.daemon.kill()
        for number in range(2):
            done = ada.run("send", "ben", f"patience {number}", "--timeout", "2", status=6)
            [row] = [row for row in ada.history("ben") if row["text"] == f"patience {number}"]
            self.assertIn(row["id"], done.err)
            self.assertEqual(row["status"], "queued")
        self.daemon.start()
        ada.send("ben", "patience 2")
        self.assertEqual(ben.texts(3), ["patience 0", "patience 1", "patience 2"])

    def test_no_queue(self) -> None:
        """6 with C{--no-queue}: the message is withdrawn, and never goes out."""
        cleo, dan = self.person("cleo"), self.person("dan")
        self.daemon.kill()
        cleo.run("send", "dan", "now or never", "--no-queue", "--timeout", "2", status=6)
        self.daemon.start()
        cleo.send("dan", "later")
        self.assertEqual(dan.texts(1), ["later"])
        self.assertEqual(dan.recv(), [])

    def test_none(self) -> None:
        """C{--wait none} is done once the message is committed here."""
        eve, fay = self.person("eve"), self.person("fay")
        self.daemon.kill()
        self.assertEqual(eve.send("fay", "some day", "--wait", "none")["status"], "queued")
        self.daemon.start()
        eve.recv()
        self.assertEqual(fay.texts(1), ["some day"])


class LimitTests(PlaceCase):
    """C{--max-clients}, C{--max-mailbox-messages}."""

    options = ("--max-clients", "2", "--max-mailbox-messages", "2")

    def test_full(self) -> None:
        """6: the server is full, and says so after TLS; a device that leaves makes room."""
        people = [self.person(name) for name in ("ada", "ben", "cleo")]
        followers = [person.start("recv", "--follow", "--json") for person in people[:2]]
        for person in people[:2]:
            # Through the holder: so it is connected.
            person.send("cleo", "I am in")
        self.assertEqual(people[2].error("ping", "--timeout", "3", status=6)["code"], "server-full")
        followers[0].interrupt()
        people[2].run("ping")

    def test_mailbox(self) -> None:
        """6: a mailbox holds as many messages as the option says; what is more waits with its sender, who hears why."""
        dora, eli = self.person("dora"), self.person("eli")
        for text in ("one", "two"):
            dora.send("eli", text)
        self.assertEqual(dora.error("send", "eli", "three", "--timeout", "3", status=6)["code"], "mailbox-full")
        self.assertEqual(eli.texts(2), ["one", "two"])
        dora.run("outbox", "retry")
        self.assertEqual(eli.texts(1), ["three"])


class StartTests(SynchronousTestCase):
    """Daemons that cannot start: status 1, one clear line, and nothing is destroyed."""

    def setUp(self) -> None:
        """A place of its own."""
        self.place = Place.make()
        self.addCleanup(self.place.forget)
        self.daemon = Daemon(self.place)

    def fails(self, *words: str, status: int = 1) -> Done:
        """The daemon does not start, and says why."""
        done = self.daemon.launch().wait()
        self.assertEqual(done.status, status, done.out + done.err)
        self.assertNotIn("Traceback", done.out + done.err)
        said = [line for line in (done.out + done.err).splitlines() if all(word in line for word in words)]
        self.assertTrue(said, f"no line with {words} in\n{done.out}\n{done.err}")
        return done

    def made(self) -> None:
        """A state folder from a first start."""
        self.daemon.start()
        self.daemon.stop()

    def test_port_in_use(self) -> None:
        """Another program has the port."""
        with socket.create_server((HOST, 0)) as listener:
            self.daemon.port = listener.getsockname()[1]
            self.fails(str(self.daemon.port), "taken")

    def test_second_daemon(self) -> None:
        """Another daemon has the state folder."""
        self.daemon.start()
        first, self.daemon.port = self.daemon.port, free_port()
        self.fails(str(self.daemon.state))
        self.assertTrue(is_listening(first))

    def test_damaged_database(self) -> None:
        """A damaged database is named, and left as it is."""
        self.made()
        database = self.daemon.state / "server.db"
        for leftover in self.daemon.state.glob("server.db-*"):
            leftover.unlink()
        database.write_bytes(b"this was a database once " * 200)
        before = database.read_bytes()
        self.fails("server.db")
        self.assertEqual(database.read_bytes(), before)

    def test_newer_database(self) -> None:
        """A database of a newer version is left alone."""
        self.made()
        with contextlib.closing(sqlite3.connect(self.daemon.state / "server.db")) as database:
            database.execute("PRAGMA user_version = 9999")
            database.commit()
        self.fails("newer")
        with contextlib.closing(sqlite3.connect(self.daemon.state / "server.db")) as database:
            self.assertEqual(database.execute("PRAGMA user_version").fetchone(), (9999,))

    def test_restored(self) -> None:
        """A daemon that goes on from a backup gets the device list that was renewed since, so that contacts can write on."""
        self.daemon.start()
        ann, ben = (Person(self.place, name).join(self.daemon.invite()) for name in ("ann", "ben"))
        ben.send("ann", "one")
        self.daemon.stop()
        backup = self.daemon.state.with_name("backup")
        shutil.copytree(self.daemon.state, backup)
        self.daemon.start()
        with opened(Settings(profile=ann.profile)) as context, context.store.writing() as records:
            save_profile(records, resigned(context.profile, int(time.time())))
        self.look_again(ben, "ann")
        ann.send("ben", "two")
        ben.send("ann", "three")
        self.assertEqual(ann.texts(2), ["one", "three"])
        self.daemon.stop()
        shutil.rmtree(self.daemon.state)
        shutil.copytree(backup, self.daemon.state)
        self.daemon.start()
        self.assertIn("the server showed an old device list of this account", ann.run("ping").err)
        self.look_again(ben, "ann")
        ben.send("ann", "four")
        self.assertIn("four", [row["text"] for row in ann.recv()])

    def look_again(self, person: Person, name: str) -> None:
        """Have somebody ask the directory before the next message to a contact, as a day later."""
        with opened(Settings(profile=person.profile)) as context, context.store.writing() as records:
            known = contacts.get_contact(records, name)
            assert known is not None, "they have met"
            contacts.put_contact(records, msgspec.structs.replace(known, checked_at=0))

    def test_unreadable_folder(self) -> None:
        """The state folder is a file."""
        self.daemon.state.write_text("I am no folder", "utf-8")
        self.fails(str(self.daemon.state))
        self.assertEqual(self.daemon.state.read_text("utf-8"), "I am no folder")

    def test_long_path(self) -> None:
        """A state folder whose socket has a path above 107 bytes is refused at start."""
        self.daemon.name = "x" * 100
        self.fails("107")

    def test_wildcard_host(self) -> None:
        """A wildcard host needs C{--advertise}, for invites must name something."""
        self.daemon.options = ("--host", "0.0.0.0")  # noqa: S104 - it must not come to that
        self.fails("--advertise", status=2)

    def test_first_invite(self) -> None:
        """The first start writes an invite for its owner alone, and the log names the file and not the invite."""
        self.daemon.start()
        path = self.daemon.state / "first-invite"
        invite = path.read_text("utf-8").strip()
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertIn(str(path), self.daemon.log)
        self.assertNotIn(invite, self.daemon.log)
        Person(self.place, "ada").join(invite)

    def test_open_folder(self) -> None:
        """Nothing in the state folder is readable by others, whatever the umask says."""
        before = os.umask(0)
        try:
            self.daemon.start()
        finally:
            os.umask(before)
        for path in (self.daemon.state, *self.daemon.state.rglob("*")):
            self.assertEqual(path.lstat().st_mode & 0o077, 0, path)


def joined(person: Person, invite: str, name: str, status: int) -> str:
    """Try to join; the code of what goes wrong, as it stands at the end of the line."""
    done = person.run("join", invite, name, status=status)
    return done.err.strip().rpartition("[")[2].rstrip("]") if status else ""
