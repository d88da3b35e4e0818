"""A real daemon says how it is, and what is deployed to watch it asks for nothing else."""

from __future__ import annotations

import json
import re
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from tests.functional.support import HOST, ROOT, Daemon, Person, Place, free_port, until

# In expressions, and in the table of the reference.
NAME = re.compile(r"\b(?:securemsg|process)_[a-z_]+\b")
# What belongs to a histogram besides its name.
PARTS = ("_bucket", "_sum", "_count")
# As what a family of the table is served.
TABLE_ROW = re.compile(r"^\| `(securemsg_[a-z_]+)", re.MULTILINE)


def expressions(content: object) -> list[str]:
    """All expressions in a document, wherever they stand."""
    if isinstance(content, dict):
        here = [value for key, value in content.items() if key == "expr"]
        return here + [one for value in content.values() for one in expressions(value)]
    return [one for value in content for one in expressions(value)] if isinstance(content, list) else []


class WatchedCase(SynchronousTestCase):
    """A daemon that is watched."""

    def setUp(self) -> None:
        """Choose where."""
        self.place = Place.make()
        self.addCleanup(self.place.forget)


class TcpTests(WatchedCase):
    """At a port."""

    def get(self, path: str) -> str:
        """What it says there."""
        with urllib.request.urlopen(f"http://{HOST}:{self.port}{path}", timeout=10) as answer:
            content: bytes = answer.read()
        return content.decode()

    def test_watched(self) -> None:
        """
        After a message every number is there that the dashboard, the alerts and the reference name; no name or address is in a
        label.
        """
        self.port = free_port()
        daemon = Daemon(self.place, ["--metrics", f"tcp:{self.port}"])
        daemon.start()
        self.assertEqual(self.get("/healthz"), "ok\n")
        invite = daemon.invite(uses=2)
        alice, bob = (Person(self.place, name).join(invite) for name in ("alice", "bob"))
        alice.send("bob", "Hello!")
        text = self.get("/metrics")
        families = {family.name: family for family in text_string_to_metric_families(text)}
        samples = {sample.name for family in families.values() for sample in family.samples} | set(
            re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
        )
        self.assertGreaterEqual(families["securemsg_deposits"].samples[0].value, 1)
        self.assertEqual(families["securemsg_registrations"].samples[0].value, 2)
        self.assertGreater(sum(sample.value for sample in families["securemsg_handshakes"].samples), 2)
        self.assertEqual(families["securemsg_unhandled_errors"].samples[0].value, 0)
        for word in (alice.name, bob.name, HOST):
            self.assertNotIn(f'"{word}"', text)

        dashboard = expressions(json.loads((ROOT / "deploy" / "grafana.json").read_text("utf-8")))
        alerts = expressions(yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text("utf-8")))
        self.assertGreater(len(alerts), 5)
        named = {name for one in dashboard + alerts for name in NAME.findall(one)}
        self.assertEqual(named - samples, set())
        # The dashboard shows all there is, and so does the reference.
        for family in filter(lambda name: name.startswith("securemsg"), re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)):
            self.assertTrue(any(name in named for name in (family, *(family + part for part in PARTS))), family)
        listed = TABLE_ROW.findall((ROOT / "docs" / "reference.md").read_text("utf-8"))
        served = set(re.findall(r"^# TYPE (securemsg_\S+)", text, re.MULTILINE))
        self.assertEqual(sorted(listed), sorted(served))
        self.assertIn("All is well.", self.get("/"))
        self.wired(daemon, alice, bob)
        with self.assertRaises(urllib.error.HTTPError):
            self.get("/state")
        daemon.stop()
        self.assertNotIn("Traceback", daemon.log)


    def wired(self, daemon: Daemon, alice: Person, bob: Person) -> None:
        """What the parts of the daemon count arrives: whoever is here, has gone, or was refused; commits; what is to come."""

        def value(name: str, **labels: str) -> float:
            found = [sample for one in text_string_to_metric_families(self.get("/metrics")) for sample in one.samples]
            return next(sample.value for sample in found if sample.name == name and labels.items() <= sample.labels.items())

        until(lambda: value("securemsg_connections", transport="tcp") == 0, "the end of all connections")
        follower = bob.start("recv", "--follow", "--retry")
        until(lambda: value("securemsg_logged_in") == 1, "a login")
        self.assertEqual(value("securemsg_connections", transport="tcp"), 1)
        self.assertGreater(value("securemsg_commit_seconds_count"), 0)
        self.assertGreater(value("securemsg_certificate_expiry_timestamp_seconds"), time.time())
        self.assertGreater(value("securemsg_free_bytes"), 0)
        self.assertEqual(value("securemsg_healthy"), 1)
        daemon.admin("drain", "--yes")
        self.assertEqual(value("securemsg_draining"), 1)
        self.assertIn("Draining", self.get("/"))
        daemon.admin("drain", "--off")
        daemon.admin("remove", "--yes", alice.name)
        alice.run("ping", status=5)
        self.assertEqual(value("securemsg_hangups_total", code="login-failed"), 1)
        follower.interrupt()


class UnixTests(WatchedCase):
    """At a socket."""

    def test_socket(self) -> None:
        """It is for the daemon's user and group, takes the place of one that was left behind, and is gone afterwards."""
        path = self.place.folder / "m"
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
        daemon = Daemon(self.place, ["--metrics", f"unix:{path}"])
        daemon.start()
        self.assertEqual(path.stat().st_mode & 0o777, 0o660)
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(path))
            asking.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            with asking.makefile("rb") as answer:
                self.assertTrue(answer.read().endswith(b"\r\n\r\nok\n"))
        daemon.stop()
        until(lambda: not Path(path).exists(), "a socket that is gone")
