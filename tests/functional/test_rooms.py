"""Rooms: a real daemon, and people who make one, talk there, come and go, while somebody or something is killed."""

from __future__ import annotations

import random
import time

from tests.functional.support import Json, Person, PlaceCase, until

TEAM = "#team"
# What a command may take that waits for a daemon which was just killed.
RETRY = ("--retry", "--timeout", "60")
# How often, and how long after its start, a command is killed that makes a step, seconds, at most.
KILLS = 5
SPAN = 0.8


def said(rows: list[Json]) -> list[tuple[object, object]]:
    """Who said what, without what else happened."""
    return [(row["from"], row["text"]) for row in rows if row["kind"] in ("text", "answer")]


def happened(rows: list[Json]) -> list[tuple[object, object]]:
    """What happened, and to whom."""
    return [(row["event"], row["names"]) for row in rows if row["kind"] == "room"]


class RoomCase(PlaceCase):
    """People in a room."""

    def join(self, admin: Person, *people: Person) -> None:
        """An admin, whose client runs, invites; and they join."""
        admin.run("room", "invite", TEAM, *(person.name for person in people))
        client = admin.start("recv", "--follow", "--from", "server")
        digits = self.room(admin)["id"][:8]
        for person in people:
            person.run("room", "join", digits, "--as", TEAM)
        client.interrupt()

    def read(self, person: Person) -> list[Json]:
        """What somebody has not read there."""
        return person.recv("--from", TEAM, *RETRY)

    def room(self, person: Person) -> Json:
        """The room as somebody knows it."""
        [row] = [row for row in person.run("room", "list", "--json").rows if row["room"] == TEAM]
        return row

    def assert_agreed(self, *people: Person) -> None:
        """All have the same list, and know it by the same digits."""
        rows = [person.run("room", "members", TEAM, "--json").rows for person in people]
        self.assertEqual(len({(row["n"], row["digits"]) for found in rows for row in found}), 1)
        self.assertEqual({tuple(row["name"] for row in found) for found in rows}, {tuple(person.name for person in people)})


class TalkTests(RoomCase):
    """Four people."""

    def test_four(self) -> None:
        """
        One is taken out while away, one comes later, the daemon is killed twice, and an admin's client again and again while it
        makes a step: each reads exactly what was said while they were in.
        """
        seed = random.randrange(2**32)
        chance, note = random.Random(seed), f"seed {seed}"
        ada, ben, cleo, dan = (self.person(name) for name in ("ada", "ben", "cleo", "dan"))
        ada.run("room", "create", TEAM, "--title", "Team")
        self.join(ada, ben, cleo)
        for person in (ada, ben, cleo):
            self.read(person)
        ada.send(TEAM, "one")
        self.daemon.kill()
        self.daemon.start()
        self.assertEqual(said(self.read(ben)), [("ada", "one")])
        ben.send(TEAM, "two", *RETRY)
        for number in range(KILLS):
            stepping = ada.start("room", "title", TEAM, f"Title {number}")
            time.sleep(chance.uniform(0, SPAN))
            stepping.kill()
        removing = ada.start("room", "remove", TEAM, "cleo", *RETRY)
        time.sleep(chance.uniform(0, SPAN))
        self.daemon.kill()
        self.daemon.start()
        self.assertEqual(removing.wait().status, 0, note + removing.err)
        self.assertEqual(said(self.read(ada)), [("ben", "two")], note)
        self.read(ben)
        ben.send(TEAM, "three")
        self.join(ada, dan)
        self.assertEqual(said(self.read(ada)), [("ben", "three")], note)
        sent = ada.send(TEAM, "four")
        self.assertEqual((sent["status"], sent["missed"]), ("accepted", []), note)
        self.assertEqual(said(self.read(ben)), [("ada", "four")], note)
        self.assertEqual(said(self.read(dan)), [("ada", "four")], note)
        rows = self.read(cleo)
        self.assertEqual(said(rows), [("ada", "one"), ("ben", "two")], note)
        self.assertEqual(happened(rows)[-1], ("removed", ["cleo"]), note)
        self.assertEqual((self.room(cleo)["state"], cleo.error("send", TEAM, "x", status=5)["code"]), ("out", "not-in-room"))
        self.assert_agreed(ada, ben, dan)
        self.assertEqual(len({self.room(person)["title"] for person in (ada, ben, dan)}), 1, note)
        self.assertEqual(said(dan.history(TEAM)), [("ada", "four")], note)

    def test_link(self) -> None:
        """Whoever has the link is added; who leaves is out with what is said next; missed invitations can be declined."""
        eva, fay, gil = (self.person(name) for name in ("eva", "fay", "gil"))
        [made, link] = eva.run("room", "create", TEAM, "--open", "--json").rows
        self.assertEqual((made["room"], made["state"], made["members"]), (TEAM, "in", ["eva"]))
        self.assertEqual(eva.run("room", "link", TEAM).out.strip(), link["link"])
        client = eva.start("recv", "--follow", "--json")
        fay.run("room", "join", "-", "--as", TEAM, text=link["link"] + "\n")
        eva.run("room", "invite", TEAM, "gil")
        join = f"securemsg room join {made['id'][:8]}"
        self.assertEqual(gil.recv()[0]["join"], join)
        self.assertIn(join, gil.run("contacts").err)
        self.assertIn("removed #team from your list of rooms", gil.run("room", "leave", TEAM).err)
        self.read(fay)
        fay.run("room", "leave", TEAM)
        until(lambda: '"left"' in client.out, "the step that takes Fay out")
        client.interrupt()
        self.assert_agreed(eva)
        fay.recv()
        self.assertEqual(self.room(fay)["state"], "out")

    def test_machine(self) -> None:
        """A machine answers in rooms where it is told to, for all to read, and is not answered itself."""
        hal, ida, jon = (self.person(name) for name in ("hal", "ida", "jon"))
        hal.run("room", "create", TEAM)
        self.join(hal, ida, jon)
        for person in (hal, ida, jon):
            self.read(person)
        machines = [ida.start("respond", "--exec", "wc -w", "--rooms")]
        machines.append(jon.start("respond", "--exec", "wc -c", "--from", TEAM))
        hal.send(TEAM, "how many words")
        rows = hal.recv("--from", TEAM, "--count", "2", "--timeout", "60")
        self.assertEqual(sorted(said(rows)), [("ida", "3"), ("jon", "14")])
        self.assertEqual({row["kind"] for row in rows}, {"answer"})
        for machine in machines:
            machine.interrupt()
        self.assertEqual(said(self.read(hal)), [])
        self.assertEqual(said(self.read(ida)), [("jon", "14")])

    def test_newcomers(self) -> None:
        """What was written before somebody joined waits for its user, or goes if that was said beforehand."""
        kim, lee, mia = (self.person(name) for name in ("kim", "lee", "mia"))
        kim.run("room", "create", TEAM)
        self.join(kim, lee)
        self.read(lee)
        self.join(kim, mia)
        held = lee.error("send", TEAM, "to two", status=5)
        self.assertEqual(held["code"], "room-changed")
        self.assertIn(f"securemsg room release '{TEAM}'", held["hint"])
        self.assertEqual(lee.run("room", "release", TEAM, "--json").rows, [{"room": TEAM, "released": 1}])
        self.assertEqual(said(self.read(mia)), [("lee", "to two")])
        self.assertEqual(said(self.read(kim)), [("lee", "to two")])
        self.join(kim, self.person("ned"))
        lee.send(TEAM, "to whoever is there", "--to-newcomers")
        self.assertEqual(said(self.read(mia)), [("lee", "to whoever is there")])

    def test_refused(self) -> None:
        """What cannot be done ends with the status of its kind, and names what to do."""
        oli, pam = self.person("oli"), self.person("pam")
        oli.run("room", "create", TEAM)
        self.join(oli, pam)
        for person, arguments, status, code in (
            (oli, ("send", "#nothing", "x"), 3, "no-such-room"),
            (oli, ("send", TEAM, "x", "--wait", "delivered"), 2, "no-receipts"),
            (oli, ("send", "pam", "x", "--to-newcomers"), 2, "usage"),
            (oli, ("send", TEAM, "x", "--suite", "rsa"), 2, "usage"),
            (oli, ("recv", "--from", "#nothing"), 3, "no-such-room"),
            (oli, ("verify", TEAM), 2, "illegal-name"),
            (oli, ("room", "create", TEAM), 2, "room-name-taken"),
            (oli, ("room", "create", "#lobby"), 5, "reserved-name"),
            (oli, ("room", "create", "No Name"), 2, "illegal-name"),
            (oli, ("room", "invite", TEAM, "pam"), 2, "bad-request"),
            (oli, ("room", "invite", TEAM, "nobody"), 3, "no-such-account"),
            (oli, ("room", "admin", TEAM, "oli", "--off"), 5, "last-admin"),
            (oli, ("room", "link", TEAM), 5, "no-room-link"),
            (oli, ("room", "link", TEAM, "--new", "--off"), 2, "usage"),
            (pam, ("room", "title", TEAM, "x"), 5, "not-admin"),
            (pam, ("room", "join", "securemsg-room:x"), 2, "bad-room-link"),
            (pam, ("room", "join", "#nothing"), 3, "no-such-room"),
        ):
            self.assertEqual(person.error(*arguments, status=status)["code"], code, arguments)
        self.assertEqual(self.room(oli)["pending"], [])
