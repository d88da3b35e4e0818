"""C{--show-wire}: what the server sees of a message, for whoever wants to see it."""

from __future__ import annotations

import json
import re

from tests.functional.support import PlaceCase, until
from tests.functional.test_terminal import END, TerminalCase

HEX = r"[0-9a-f ]+ \.\.\."
SIZES = rf"[\d,]+ bytes in the frame, suite pqxdh, encrypted content [\d,]+ bytes: {HEX}"
DEPOSIT = rf"-> deposit [0-9a-f]{{{{8}}}} to {{}}, {SIZES}"
DELIVERY = rf"<- delivery [0-9a-f]{{{{8}}}} from {{}}, {SIZES}"


class WireTests(PlaceCase):
    """On standard error, beside whatever else a command says."""

    def test_send(self) -> None:
        """
        C{send} shows each message that passes, in both directions: of equal messages no two alike; none without the option.
        """
        ada, ben = self.person("ada"), self.person("ben")
        lines = []
        for _ in range(2):
            done = ada.run("send", "ben", "the very same words", "--show-wire")
            [line] = done.err.splitlines()
            self.assertRegex(line, "^" + DEPOSIT.format("ben") + "$")
            self.assertEqual(done.out, "")
            lines.append(line.split("bytes: ")[1])
        self.assertNotEqual(*lines)
        self.assertNotIn(b"the very same words".hex(), "".join(lines).replace(" ", ""))
        self.assertEqual(ben.texts(2), ["the very same words"] * 2)
        ben.send("ada", "an answer")
        self.assertRegex(ada.run("send", "ben", "more", "--show-wire").err, DELIVERY.format("ben"))
        self.assertEqual(ada.run("send", "ben", "and more").err, "")

    def test_program(self) -> None:
        """With C{--json} each is an object on standard error."""
        cleo = self.person("cleo")
        done = cleo.run("send", "server", "hello", "--wait", "delivered", "--show-wire", "--json")
        rows = [json.loads(line) for line in done.err.splitlines()]
        self.assertEqual((rows[0]["wire"], rows[0]["name"], rows[0]["suite"]), ("deposit", "server", "pqxdh"))
        self.assertIn(("delivery", "server"), [(row["wire"], row["name"]) for row in rows])
        self.assertEqual(len({row["id"] for row in rows}), len(rows))
        for row in rows:
            self.assertEqual(len(bytes.fromhex(row["id"])), 16)
            self.assertTrue(0 < row["encrypted"] < row["frame"])
            self.assertEqual(len(bytes.fromhex(row["hex"])), 32)

    def test_chat(self) -> None:
        """C{chat} shows what it says and what comes; the texts stay on standard output."""
        dan = self.person("dan")
        done = dan.run("chat", "server", "--show-wire", text="hello\n")
        self.assertRegex(done.err, DEPOSIT.format("server"))
        self.assertRegex(done.err, DELIVERY.format("server"))
        numbers = re.findall(r"(?:deposit|delivery) ([0-9a-f]{8}) ", done.err)
        self.assertEqual(len(set(numbers)), len(done.err.splitlines()), "each has a number of its own")
        self.assertEqual(len(done.out.splitlines()), 1)

    def test_key_file(self) -> None:
        """A conversation under a key file shows the suite C{psk}, to both."""
        ida, jon = self.person("ida"), self.person("jon")
        ida.run("keygen", "shared.key")
        options = ("--suite", "psk", "--key-file", "shared.key", "--show-wire")
        done = ida.run("send", "jon", "for jon alone", *options)
        self.assertRegex(done.err, r"-> deposit [0-9a-f]{8} to jon, [\d,]+ bytes in the frame, suite psk, ")
        done = jon.run("send", "ida", "for ida alone", *options)
        self.assertRegex(done.err, r"<- delivery [0-9a-f]{8} from ida, [\d,]+ bytes in the frame, suite psk, ")
        self.assertRegex(done.err, r"-> deposit [0-9a-f]{8} to ida, [\d,]+ bytes in the frame, suite psk, ")

    def test_elsewhere(self) -> None:
        """Through the connection of another process nothing shows here; one line says where it does."""
        eve, fay = self.person("eve"), self.person("fay")
        talking = eve.start("chat", "fay", "--show-wire", pipe=True)
        talking.type("by the holder\n")
        until(lambda: "-> deposit" in talking.err, "the holder's own message")
        done = eve.run("send", "fay", "by the guest", "--show-wire")
        self.assertRegex(done.err, r"^securemsg: another process has the connection .* \[through-another-process\]\n$")
        until(lambda: len(re.findall(DEPOSIT.format("fay"), talking.err)) == 2, "the guest's message shows there")
        talking.end_input()
        self.assertEqual(talking.wait().status, 0)
        self.assertEqual(fay.texts(2), ["by the holder", "by the guest"])

    def test_nothing_to_see(self) -> None:
        """2: C{--wait none} sends nothing itself, so that nothing would show."""
        self.person("gus").run("send", "server", "hi", "--wait", "none", "--show-wire", status=2)


class PromptTests(TerminalCase):
    """At the prompt."""

    def test_above(self) -> None:
        """The lines show above the line being typed, which stays as it is; what passes the wire shows before what it says."""
        seat = self.sit_down(self.person("hal"), "chat", "server", "--show-wire")
        seat.expect("hal -> server>")
        seat.type("hello\r")
        seat.expect("Message received at")
        self.assertRegex(seat.shown, r"(?s)-> deposit .*<- delivery .*\d\d server: Message received at")
        seat.type(END)
        self.assertEqual(seat.end(), 0)
        self.assertTrue(seat.is_restored)
