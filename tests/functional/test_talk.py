"""Two people talk through a real daemon, as the README says."""

from __future__ import annotations

import array
import fcntl
import json
import os
import termios
from typing import BinaryIO

from tests.functional.support import TIME, Person, PlaceCase, checked, until

# Bytes: about half of what a pipe holds.
HALF_PIPE = 30_000


def _waiting(reader: BinaryIO) -> int:
    """How many bytes wait in a pipe."""
    count = array.array("i", [0])
    fcntl.ioctl(reader, termios.FIONREAD, count)
    return count[0]


class TalkTests(PlaceCase):
    """What a user does when all is well."""

    def test_first_message_while_away(self) -> None:
        """A message reaches somebody who was never online since joining, once, with everything a program wants to know."""
        ada, ben = self.person("ada"), self.person("ben")
        sent = ada.send("ben", "grüß dich")
        self.assertEqual((sent["to"], sent["status"]), ("ben", "accepted"))
        self.assert_time(sent["accepted_at"])
        self.assertIsNone(sent["delivered_at"])
        [message] = ben.recv()
        self.assertEqual((message["from"], message["to"], message["text"]), ("ada", "ben", "grüß dich"))
        self.assertEqual((message["id"], message["suite"], message["verified"]), (sent["id"], "pqxdh", False))
        self.assert_time(message["sent_at"])
        self.assert_time(message["received_at"])
        self.assertEqual(ben.recv(), [])

    def test_both_ways_in_order(self) -> None:
        """A conversation goes to and fro, over many logins, in order."""
        cleo, dan = self.person("cleo"), self.person("dan")
        for turn in range(3):
            for number in range(2):
                cleo.send("dan", f"question {turn}.{number}")
            self.assertEqual(dan.texts(2), [f"question {turn}.0", f"question {turn}.1"])
            dan.send("cleo", f"answer {turn}")
            self.assertEqual(cleo.texts(1), [f"answer {turn}"])
        expected = [text for turn in range(3) for text in (f"question {turn}.0", f"question {turn}.1", f"answer {turn}")]
        for one, other in ((cleo, "dan"), (dan, "cleo")):
            self.assertEqual([row["text"] for row in one.history(other)], expected)

    def test_both_begin(self) -> None:
        """Both write first, before either has received: both messages arrive, and so does what follows."""
        eve, fay = self.person("eve"), self.person("fay")
        eve.send("fay", "from eve")
        fay.send("eve", "from fay")
        self.assertEqual(eve.texts(1), ["from fay"])
        self.assertEqual(fay.texts(1), ["from eve"])
        eve.send("fay", "again")
        self.assertEqual(fay.texts(1), ["again"])

    def test_delivered(self) -> None:
        """C{--wait delivered} comes back once the recipient has committed the message, and names its device."""
        gus, hal = self.person("gus"), self.person("hal")
        hal.run("settings", "receipts", "everybody")
        follower = hal.start("recv", "--follow", "--json")
        sent = gus.send("hal", "are you there?", "--wait", "delivered")
        self.assertEqual(sent["status"], "delivered")
        self.assert_time(sent["delivered_at"])
        self.assertEqual(len(sent["devices"]), 1)
        until(lambda: follower.line_count == 1, "the message on standard output")
        self.assertEqual(follower.interrupt().status, 130)

    def test_receipt_before_leaving(self) -> None:
        """A plain C{recv} sends the receipts that are wanted before it ends."""
        ken, lou = self.person("ken"), self.person("lou")
        lou.run("settings", "receipts", "everybody")
        waiting = ken.start("send", "lou", "tell me", "--wait", "delivered", "--json")
        self.assertEqual(lou.texts(1), ["tell me"])
        lou.recv()
        self.assertEqual(checked(waiting.wait(), 0, ["send"]).rows[0]["status"], "delivered")

    def test_stranger(self) -> None:
        """Whoever is not known to the recipient waits in vain for *delivered*, and is told that this may be so."""
        kit, mea = self.person("kit"), self.person("mea")
        waiting = kit.start("send", "mea", "are you there?", "--wait", "delivered", "--timeout", "6")
        self.assertEqual(mea.texts(1), ["are you there?"])
        self.assertIn("mea sends receipts only to known contacts", checked(waiting.wait(), 7, ["send"]).err)

    def test_not_delivered(self) -> None:
        """C{--wait delivered} for somebody who stays away ends with 7; the message is accepted, and comes later."""
        ida, jon = self.person("ida"), self.person("jon")
        said = ida.error("send", "jon", "later", "--wait", "delivered", "--timeout", "2", status=7)
        self.assertEqual(said["code"], "not-delivered")
        self.assertEqual(jon.texts(1), ["later"])

    def test_too_few(self) -> None:
        """C{--count} ends with 7 when fewer messages came in time; those that came are printed, and given."""
        kim, lea = self.person("kim"), self.person("lea")
        kim.send("lea", "only one")
        rows = lea.run("recv", "--count", "2", "--timeout", "2", "--json", status=7).rows
        self.assertEqual([row["text"] for row in rows], ["only one"])
        self.assertEqual(lea.recv(), [])

    def test_from(self) -> None:
        """C{--from} gives the messages of one sender, and leaves the others for later."""
        max_, nia, oto = self.person("max"), self.person("nia"), self.person("oto")
        max_.send("oto", "from max")
        nia.send("oto", "from nia")
        self.assertEqual(oto.texts(1, "--from", "nia"), ["from nia"])
        self.assertEqual(oto.texts(1), ["from max"])

    def test_text_on_standard_input(self) -> None:
        """Standard input is sent as it is, but for one line end at its end."""
        pia, quin = self.person("pia"), self.person("quin")
        pia.run("send", "quin", text="two\nlines\n\n")
        self.assertEqual(quin.texts(1), ["two\nlines\n"])

    def test_largest_text(self) -> None:
        """48 KiB of text arrive whole."""
        rita, sam = self.person("rita"), self.person("sam")
        text = "é" * (24 * 1024)
        rita.run("send", "sam", text=text)
        self.assertEqual(sam.texts(1), [text])

    def test_same_id(self) -> None:
        """A retry with the same id is the same message."""
        tom, uma = self.person("tom"), self.person("uma")
        for _ in range(2):
            self.assertEqual(tom.send("uma", "once", "--id", "ab" * 16)["id"], "ab" * 16)
        tom.send("uma", "end")
        self.assertEqual(uma.texts(2), ["once", "end"])

    def test_safe_to_join_again(self) -> None:
        """The same join again succeeds, and changes nothing."""
        val = Person(self.place, "val")
        invite = self.daemon.invite()
        for _ in range(2):
            val.run("join", invite, "val")
        [facts] = val.run("whoami", "--json").rows
        self.assertEqual(facts["name"], "val")

    def test_invited_by_a_user(self) -> None:
        """Whoever joins with a user's invite has verified that user's identity, and is verified by that user."""
        wim = self.person("wim")
        xia = Person(self.place, "xia").join(wim.run("invite").out.strip())
        rows = {row["name"]: row["verified"] for row in xia.run("contacts", "--json").rows}
        self.assertIs(rows["wim"], True)
        self.assertEqual(wim.recv(), [])
        rows = {row["name"]: row["verified"] for row in wim.run("contacts", "--json").rows}
        self.assertIs(rows["xia"], True)

    def test_verify(self) -> None:
        """Both see the same sixty digits; confirming them marks the contact and what comes from it as verified."""
        yan, zoe = self.person("yan"), self.person("zoe")
        yan.send("zoe", "one")
        self.assertEqual([row["verified"] for row in zoe.recv()], [False])
        numbers = [one.run("verify", other, "--json").rows[0]["safety_number"] for one, other in ((yan, "zoe"), (zoe, "yan"))]
        self.assertEqual(numbers[0], numbers[1])
        self.assertRegex(numbers[0], r"\A(\d{5} ){11}\d{5}\Z")
        yan.run("verify", "zoe", *numbers[1].split())
        self.assertIs(yan.run("contacts", "zoe", "--json").rows[0]["verified"], True)
        self.assertEqual(zoe.error("verify", "yan", "1" * 60, status=5)["code"], "other-number")
        zoe.error("verify", "yan", "1" * 59, status=2)
        zoe.run("contacts", "accept", "yan")
        zoe.run("verify", "yan", "--confirm")
        yan.send("zoe", "two")
        self.assertEqual([row["verified"] for row in zoe.recv()], [True])

    def test_devices(self) -> None:
        """C{devices} lists one's own, and those of a contact; the one in use is not removed."""
        una, vic = self.person("una"), self.person("vic")
        [own] = una.run("devices", "--json").rows
        self.assertEqual((own["account"], own["state"]), ("una", "this"))
        self.assertEqual(una.error("devices", "remove", own["id"][:6], status=5)["code"], "own-device")
        vic.send("una", "hi")
        [known] = vic.run("devices", "una", "--json").rows
        self.assertEqual((known["id"], known["state"]), (own["id"], "listed"))
        self.assertIn(str(own["fingerprint"]), vic.run("devices", "una").out)
        una.error("devices", "vac", status=3)
        una.error("devices", "forget", own["id"], status=2)

    def test_status(self) -> None:
        """C{status} says how the connection is protected; C{ping} that somebody is there."""
        abe = self.person("abe")
        [facts] = abe.run("status", "--json").rows
        shown = str(facts)
        for expected in ("TLSv1.3", "X25519MLKEM768", str(self.daemon.port)):
            self.assertIn(expected, shown)
        abe.run("ping", "--json")

    def test_admin(self) -> None:
        """The operator sees accounts and address, and can remove an account, which then cannot log in any more."""
        bea = self.person("bea")
        names = [row["name"] for row in self.daemon.admin("accounts", "--json").rows]
        self.assertIn("bea", names)
        self.assertIn("server", names)
        self.daemon.admin("address", "--json")
        (gone,) = self.daemon.admin("remove", "bea", "--yes", "--json").rows
        self.assertEqual(gone, {"name": "bea", "status": "removed", "devices": 1, "messages": 0, "bytes": 0})
        self.assertNotIn("bea", [row["name"] for row in self.daemon.admin("accounts", "--json").rows])
        bea.run("ping", status=5)

    def test_restart(self) -> None:
        """What was accepted is there after a restart, and the invites that were given out still hold."""
        cal, dee = self.person("cal"), self.person("dee")
        invite = self.daemon.invite()
        cal.send("dee", "before")
        self.daemon.stop()
        self.daemon.start()
        cal.send("dee", "after")
        self.assertEqual(dee.texts(2), ["before", "after"])
        Person(self.place, "eli").join(invite)


class ChatTests(PlaceCase):
    """C{chat} on a pipe."""

    def test_server_answers(self) -> None:
        """At the end of piped input the chat waits for the answer of C{server}, prints it and ends well."""
        ann = self.person("ann")
        done = ann.run("chat", "server", text="hi\n")
        self.assertRegex(done.out, rf"Message received at {TIME}")

    def test_for_programs(self) -> None:
        """With C{--json}, before the command or after it, what comes is written as by C{recv}, and remarks are objects, too."""
        eva = self.person("eva")
        for arguments in (("--json", "chat", "server"), ("chat", "server", "--json")):
            done = eva.run(*arguments, "--commands", text="hi\n/oops\n", status=2)
            [row] = done.rows
            self.assertEqual((row["from"], row["to"], row["kind"]), ("server", "eva", "answer"))
            self.assertEqual(set(row), set(eva.history("server")[-1]))
            [note] = [json.loads(line) for line in done.err.splitlines()]
            self.assertIn("unknown command /oops", note["warning"])

    def test_commands(self) -> None:
        """With C{--commands} C{exit} leaves; what comes after it is not sent."""
        bob, cia = self.person("bob"), self.person("cia")
        bob.run("chat", "cia", "--commands", text="one\nexit\ntwo\n")
        self.assertEqual([row["text"] for row in cia.recv()], ["one"])

    def test_data(self) -> None:
        """Else no line of data is a command: all of them go where the chat goes, as they are."""
        jim, kay = self.person("jim"), self.person("kay")
        lines = ["/to server", "/verify accept", "//slashes", "/oops", "exit", "/quit", " last"]
        done = jim.run("chat", "kay", text="".join(f"{line}\n" for line in lines))
        self.assertEqual([row["text"] for row in kay.recv()], lines)
        self.assertEqual((done.out, jim.history("server")), ("", []))

    def test_two_chats(self) -> None:
        """Two chats are open at once; what one types the other shows."""
        dora, eno = self.person("dora"), self.person("eno")
        one, other = dora.start("chat", "eno", pipe=True), eno.start("chat", "dora", pipe=True)
        one.type("hello eno\n")
        until(lambda: "hello eno" in other.out, "the greeting")
        other.type("hello dora\n")
        until(lambda: "hello dora" in one.out, "the answer")
        for chat in (one, other):
            chat.end_input()
            self.assertEqual(chat.wait().status, 0, chat.err)

    def test_harmless(self) -> None:
        """What a peer writes cannot command the terminal."""
        flo, gil = self.person("flo"), self.person("gil")
        flo.run("send", "gil", text="\x1b]0;title\x07\x9b31m\u202egnp.exe\r\n")
        done = gil.run("recv")
        for character in "\x1b\x07\x9b\u202e\r":
            self.assertNotIn(character, done.out)
        self.assertIn("gnp.exe", done.out)


class OwnerTests(PlaceCase):
    """One profile, many commands."""

    def test_send_beside_follow(self) -> None:
        """While C{recv --follow} holds the profile, C{send} on it works, accepted and all."""
        ann, bob = self.person("ann"), self.person("bob")
        follower = ann.start("recv", "--follow", "--json")
        bob.send("ann", "are you up?")
        until(lambda: follower.line_count == 1, "the first message")
        self.assertEqual(ann.send("bob", "I am")["status"], "accepted")
        self.assertEqual(bob.texts(1), ["I am"])
        self.assertEqual(follower.interrupt().status, 130)

    def test_second_recv(self) -> None:
        """A second C{recv} at once is refused; the first goes on."""
        cleo, dan = self.person("cleo"), self.person("dan")
        follower = cleo.start("recv", "--follow", "--json")
        dan.send("cleo", "one")
        until(lambda: follower.line_count == 1, "the first message")
        self.assertEqual(cleo.error("recv", status=9)["code"], "second-recv")
        dan.send("cleo", "two")
        until(lambda: follower.line_count == 2, "the second message")

    def test_holder_dies(self) -> None:
        """When the holder is killed, whoever waits for it takes over."""
        eve, fay = self.person("eve"), self.person("fay")
        follower = eve.start("recv", "--follow")
        eve.send("fay", "one")
        follower.kill()
        eve.send("fay", "two")
        self.assertEqual(fay.texts(2), ["one", "two"])

    def test_bot(self) -> None:
        """A loop of the shell is a bot."""
        gus, hal = self.person("gus"), self.person("hal")
        loop = (
            "securemsg recv --follow --json | while read -r line; do"
            """ name=$(printf %s "$line" | sed 's/.*"from": "\\([^"]*\\)".*/\\1/');"""
            """ printf 'heard you, %s' "$name" | securemsg send "$name"; done"""
        )
        self.place.start_shell("bot", loop, SECUREMSG_PROFILE=str(hal.profile))
        for number in range(3):
            gus.send("hal", f"question {number}")
        self.assertEqual(gus.texts(3), ["heard you, gus"] * 3)

    def test_killed_amid_page(self) -> None:
        """A C{recv} that is killed while it prints many messages may leave the one that it was at to be repeated, no other."""
        kit, lou = self.person("kit"), self.person("lou")
        texts = [f"{number} {'x' * 4000}" for number in range(40)]
        kit.run("chat", "lou", text="".join(f"{text}\n" for text in texts))
        read, write = os.pipe()
        stuck = lou.start("recv", "--json", "--count", str(len(texts)), stdout=write)
        os.close(write)
        with os.fdopen(read, "rb") as reader:
            until(lambda: _waiting(reader) > HALF_PIPE, "output that nobody reads")
            stuck.kill()
            printed = [json.loads(line)["text"] for line in reader if line.endswith(b"\n")]
        self.assertGreater(len(printed), 5)
        rest = [row["text"] for row in lou.recv()]
        self.assertEqual(printed + rest[rest[0] == printed[-1] :], texts)

    def test_closed_pipe(self) -> None:
        """A reader that goes away ends C{recv} quietly; what it did not take stays unread."""
        ida, jon = self.person("ida"), self.person("jon")
        read, write = os.pipe()
        follower = jon.start("recv", "--follow", "--json", stdout=write)
        os.close(write)
        ida.send("jon", "one")
        with os.fdopen(read, "rb") as reader:
            self.assertIn(b'"one"', reader.readline())
        ida.send("jon", "two")
        done = follower.wait()
        self.assertEqual((done.status, done.err), (0, ""))
        self.assertEqual(jon.texts(1), ["two"])
