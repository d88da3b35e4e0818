"""The lobby: a real daemon, and three who talk in it, one of them away."""

from __future__ import annotations

import json

from tests.functional.support import PlaceCase, checked, until

LOBBY = "#lobby"


class LobbyTests(PlaceCase):
    """A daemon with C{--lobby}."""

    options = ("--lobby", "--record", "record.jsonl")

    def said(self, rows: list[dict[str, object]]) -> list[tuple[object, object]]:
        """Who said what, without who came and went."""
        return [(row["from"], row["text"]) for row in rows if row["kind"] == "text"]

    def test_everybody_reads_everybody(self) -> None:
        """
        What each of three says the other two get, present or away, once and in order, over a kill of the daemon; the record has
        it, too.
        """
        self.assertIn("#lobby is open to everybody with an account", self.daemon.log)
        ada, ben, cleo = (self.person(name) for name in ("ada", "ben", "cleo"))
        for person in (ada, ben, cleo):
            self.assertIn("operator", person.run("recv", "--from", LOBBY).err)
        follower = ben.start("recv", "--follow", "--from", LOBBY, "--json")
        sent = ada.send(LOBBY, "one")
        self.assertEqual((sent["to"], sent["room"], sent["status"]), (LOBBY, LOBBY, "delivered"))
        ada.send(LOBBY, "two")
        self.daemon.kill()
        self.daemon.start()
        ada.send(LOBBY, "three")
        until(lambda: '"three"' in follower.out, "the last line")
        follower.interrupt()
        rows = [json.loads(line) for line in follower.lines]
        self.assertEqual(self.said(rows), [("ada", "one"), ("ada", "two"), ("ada", "three")])
        self.assertEqual({row["room"] for row in rows}, {LOBBY})
        ben.run("chat", LOBBY, text="four\n")
        lines = [row for row in cleo.recv() if row["room"] == LOBBY]
        self.assertEqual(self.said(lines), [("ada", "one"), ("ada", "two"), ("ada", "three"), ("ben", "four")])
        self.assertEqual(self.said(ada.recv("--from", LOBBY)), [("ben", "four")])
        self.assertIn("#lobby ben: four", ada.run("history", LOBBY).out)
        record = [json.loads(line) for line in (self.place.folder / "record.jsonl").read_text("utf-8").splitlines()]
        texts = [(row["room"], row["from"], row["text"]) for row in record if row["kind"] == "text"]
        self.assertEqual(texts, [(LOBBY, "ada", text) for text in ("one", "two", "three")] + [(LOBBY, "ben", "four")])

    def test_members(self) -> None:
        """Who is in it is listed, and told of who leaves; C{--wait delivered} makes no sense there."""
        dan, eve = self.person("dan"), self.person("eve")
        dan.send(LOBBY, "hello")
        eve.send(LOBBY, "hello")
        self.assertLessEqual({"dan", "eve"}, {row["name"] for row in dan.run("lobby", "--json").rows})
        self.assertIn("you have left", eve.run("lobby", "leave").err)
        self.assertEqual(dan.recv()[-1]["kind"], "left")
        self.assertNotIn("eve", dan.run("lobby", "members").out)
        self.assertEqual(eve.error("lobby", status=5)["code"], "not-in-lobby")
        self.assertEqual(dan.error("send", LOBBY, "x", "--wait", "delivered", status=2)["code"], "no-receipts")
        self.assertEqual(dan.error("verify", LOBBY, status=2)["code"], "illegal-name")


class ChangeTests(PlaceCase):
    """A lobby that refuses, and one that is closed."""

    options = ("--lobby",)

    def test_refused(self) -> None:
        """What is refused after the server has accepted it is no success, of a chat or C{send}; a list is not from memory."""
        gus = self.person("gus")
        texts = [f"{number}" for number in range(100)]
        ended = gus.run("chat", LOBBY, text="\n".join(texts) + "\n", status=5)
        own = [row for row in gus.run("history", LOBBY, "--json").rows if row.get("status") and row["kind"] == "text"]
        self.assertEqual([row["text"] for row in own], texts)
        self.assertEqual({(row["status"], row["code"]) for row in own}, {("delivered", ""), ("failed", "lobby-busy")})
        refused = [row["text"] for row in own if row["status"] == "failed"]
        said = [line for line in ended.err.splitlines() if "not relayed [lobby-busy]" in line]
        self.assertEqual([line.partition("]: ")[2].partition(" (")[0] for line in said], refused)
        self.daemon.stop()
        self.daemon.options = ()
        self.daemon.start()
        self.assertEqual(gus.error("lobby", status=5)["code"], "no-lobby")


class ClosedTests(PlaceCase):
    """A daemon without."""

    def test_refused(self) -> None:
        """Each command that would enter says that there is no lobby."""
        fay = self.person("fay")
        for arguments in (("send", LOBBY, "hello?"), ("recv", "--from", LOBBY), ("recv", "--from", LOBBY, "--follow")):
            self.assertEqual(fay.error(*arguments, status=5)["code"], "no-lobby")
        self.assertIn("this server has no lobby", checked(fay.start("chat", LOBBY).wait(), 5, ["chat"]).err)

