"""The operator's commands, with a real daemon."""

from __future__ import annotations

import json
import os

from tests.functional.support import PlaceCase, until


class AdminTests(PlaceCase):
    """A daemon that only the operator's invites lead to."""

    options = ("--registration", "closed", "--log-format", "json")

    def test_invites(self) -> None:
        """An operator's invite admits where registration is closed; one that was revoked is listed no more."""
        self.person("gus")
        before = self.daemon.admin("invites", "--json").rows
        self.daemon.invite()
        (row,) = [row for row in self.daemon.admin("invites", "--json").rows if row not in before]
        self.assertEqual((row["uses"], row["by"]), (1, None))
        digits = str(row["id"])[:12]
        self.assertIn(f"{digits}      1  ", self.daemon.admin("invites").out)
        self.assertIn("at least 4", self.daemon.admin("revoke-invite", digits[:3], status=2).err)
        self.assertIn("no open invite begins with", self.daemon.admin("revoke-invite", "0" * 64, status=3).err)
        self.assertEqual(self.daemon.admin("revoke-invite", digits, "--json").rows[0]["status"], "revoked")
        self.assertEqual(self.daemon.admin("invites", "--json").rows, before)
        audit = self.daemon.state / "audit.jsonl"
        self.assertEqual(audit.stat().st_mode & 0o777, 0o600)
        lines = [json.loads(line) for line in audit.read_text("utf-8").splitlines()]
        (line,) = [line for line in lines if line["action"] == "revoke-invite"]
        self.assert_time(line.pop("time"))
        expected = {"uid": os.getuid(), "action": "revoke-invite", "subject": digits, "result": "done"}
        self.assertEqual(line, expected)

    def test_accounts(self) -> None:
        """An account is shown with when it was seen, and what waits for it."""
        ada, _ = self.person("ada"), self.person("ben")
        ada.run("send", "ben", "hello", "--wait", "accepted")
        rows = {row["name"]: row for row in self.daemon.admin("accounts", "--json").rows}
        self.assertEqual((rows["ben"]["messages"], rows["ben"]["online_devices"], rows["server"]["online_devices"]), (1, 0, 1))
        self.assertIn("last seen", self.daemon.admin("accounts").out)
        (found,) = self.daemon.admin("account", "ben", "--json").rows
        self.assert_time(found["last_seen"])
        self.assertEqual([device["messages"] for device in found["device_list"]], [1])
        self.assertIn("quota of each device: 100000 messages", self.daemon.admin("account", "ben").out)
        self.daemon.admin("account", "nobody", status=3)

    def test_drain(self) -> None:
        """Nobody gets in while the daemon drains; the operator sees who is connected, and lets them in again."""
        hal, ida = self.person("hal"), self.person("ida")
        follower = hal.start("recv", "--follow", "--retry")
        until(lambda: '"hal"' in self.daemon.admin("connections", "--json").out, "a connection")
        self.assertRegex(self.daemon.admin("connections").out, "hal  +[0-9a-f]{8}  .*tcp\n")
        self.assertIn("--off", self.daemon.admin("drain", "--yes").err)
        self.assertIn("shutting down", ida.run("ping", status=6).err)
        self.assertIn("draining: yes", self.daemon.admin("stats").out)
        self.daemon.admin("drain", "--off")
        ida.run("ping")
        follower.interrupt()

    def test_log(self) -> None:
        """The log is JSON on standard error, begins where the operator says, and names who was registered."""
        self.person("jim")
        self.daemon.admin("log-level", "error")
        self.person("kay")
        self.assertIn("logs from info on", self.daemon.admin("log-level", "info").err)
        rows = [json.loads(line) for line in self.daemon.running.err.splitlines()]
        self.assertIn("securemsg listens", " ".join(row["message"] for row in rows))
        names = [row["name"] for row in rows if row.get("event") == "registered"]
        self.assertEqual(("jim" in names, "kay" in names), (True, False))

    def test_purge(self) -> None:
        """Nobody who was just there is purged; who is removed is, with what was waiting."""
        cleo, _ = self.person("cleo"), self.person("dan")
        self.assertIn("every account was seen", self.daemon.admin("purge", "--older-than", "1d", "--dry-run").err)
        self.assertEqual(self.daemon.admin("purge", "--older-than", "1d", "--json").rows, [])
        cleo.run("send", "dan", "hello", "--wait", "accepted")
        self.assertIn("dan was removed, with 1 device and 1 waiting message (", self.daemon.admin("remove", "dan", "--yes").err)

    def test_suspend(self) -> None:
        """A suspended account is told so, and gets what was sent to it once it is resumed."""
        eve, fay = self.person("eve"), self.person("fay")
        self.assertEqual(self.daemon.admin("suspend", "fay", "--yes", "--json").rows[0]["status"], "suspended")
        eve.run("send", "fay", "hello", "--wait", "accepted")
        self.assertIn("has suspended this account", fay.run("ping", status=5).err)
        self.assertIn("suspended", self.daemon.admin("accounts").out)
        self.assertIn("fay may log in again", self.daemon.admin("resume", "fay").err)
        self.assertEqual(self.daemon.admin("quota", "fay", "7", "--json").rows[0]["quota_messages"], 7)
        self.assertIn("(default)", self.daemon.admin("quota", "fay", "default").out)
        for wrong in ("0", "9" * 5000, "x"):
            self.daemon.admin("quota", "fay", wrong, status=2)
        follower = fay.start("recv", "--follow", "--json")
        until(lambda: '"hello"' in follower.out, "the message")
        self.daemon.admin("kick", "fay")
        eve.send("fay", "again")
        until(lambda: '"again"' in follower.out, "the message after the kick")
        follower.interrupt()
