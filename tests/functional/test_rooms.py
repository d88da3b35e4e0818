"""Rooms: a real daemon, and people who make one, talk there, come and go, while somebody or something is killed."""

from __future__ import annotations

from tests.functional.support import Json, Person, PlaceCase

TEAM = "#team"


class RoomCase(PlaceCase):
    """People in a room."""

    def said(self, rows: list[Json]) -> list[tuple[object, object]]:
        """Who said what, without what else happened."""
        return [(row["from"], row["text"]) for row in rows if row["kind"] == "text"]

    def join(self, admin: Person, *people: Person, room: str = TEAM) -> None:
        """An admin invites, whose client runs, and they join."""
        admin.run("room", "invite", room, *(person.name for person in people))
        follower = admin.start("recv", "--follow", "--from", "server")
        for person in people:
            person.run("room", "join", room)
        follower.interrupt()
        for person in (admin, *people):
            # Whoever has not seen who is there does not write to them either.
            person.recv("--from", room)


class TalkTests(RoomCase):
    """Four people."""

    def test_talk(self) -> None:
        """What one says all others read, once, in order, and nobody else; events are told; names and digits agree."""
        ada, ben, cleo = (self.person(name) for name in ("ada", "ben", "cleo"))
        ada.run("room", "create", TEAM, "--title", "Team")
        self.join(ada, ben, cleo)
        sent = ben.send(TEAM, "hello")
        self.assertEqual((sent["room"], sent["status"], sent["missed"]), (TEAM, "accepted", []))
        rows = ada.recv("--from", TEAM)
        self.assertEqual(self.said(rows), [("ben", "hello")])
        self.assertEqual({row["room"] for row in rows}, {TEAM})
        self.assertEqual(self.said(cleo.recv("--from", TEAM)), [("ben", "hello")])
        self.assertEqual(self.said(ada.history(TEAM)), [("ben", "hello")])
        seen = [person.run("room", "members", TEAM, "--json").rows for person in (ada, ben, cleo)]
        self.assertEqual(len({(row["n"], row["digits"]) for rows in seen for row in rows}), 1)
