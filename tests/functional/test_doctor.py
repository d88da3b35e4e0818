"""C{securemsg doctor} with a real server, without one, and with another in its place."""

from __future__ import annotations

import json

from tests.functional.support import HOST, Daemon, PlaceCase, free_port


class DoctorTests(PlaceCase):
    """One daemon, and one person."""

    def test_doctor(self) -> None:
        """All is well; nobody listens; another server listens."""
        ada = self.person("ada")
        checks = ["versions", "configuration", "profile", "server", "tls", "pin", "login", "clock", "outbox", "held back"]
        lines = ada.run("doctor").out.splitlines()
        self.assertEqual([line[:7].strip() for line in lines], ["ok"] * len(checks))
        rows = [json.loads(line) for line in ada.run("doctor", "--json").out.splitlines()]
        self.assertEqual([row["check"] for row in rows], checks)
        self.assertIn(f"{HOST}:{self.daemon.port} answers", rows[3]["text"])

        nobody = ada.run("doctor", "--port", str(free_port()), status=6).out
        self.assertIn("problem  server         nothing listens on", nobody)
        self.assertIn("ok       clock          agrees with what this profile has seen", nobody)

        other = Daemon(self.place, name="other")
        other.start()
        self.addCleanup(other.stop)
        wrong = ada.run("doctor", "--port", str(other.port), status=8).out
        self.assertIn("problem  pin            the server is not the one this profile is pinned to", wrong)
