"""C{make bench} runs, in small."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from bench.loss import is_possible
from bench.peers import SPOKEN
from bench.starts import COMMANDS as STARTS
from tests.functional.support import LIMIT, ROOT, environment

# What the daemon is compared with, by keys: every figure that docs/performance.md speaks of.
PACED = ("cpu_at_500", "cpu_at_2000", "cpu_at_5000", "cpu_at_10000")
DELAYS = ("p50_500", "p50_2000", "p50_5000", "p50_10000", "p99_500", "p99_2000", "p99_5000", "p99_10000")
FLIGHTS = ("cpu_1", "cpu_4", "cpu_16", "cpu_64", "rate_1", "rate_4", "rate_16", "rate_64")
BESIDE = {
    ("daemon", "stock relay", "bare path"): (*PACED, *DELAYS, "logins", "growth", "growth_saturated"),
    ("daemon", "stock relay", "bare path", "daemon, 200 bytes in all"): FLIGHTS,
    ("daemon, beside 5,000 a second stored", "daemon", "stock relay"): ("p99_2000_beside", "p99_5000_beside"),
    ("daemon", "stock relay"): ("idle_kb_24", "p50_few", "p99_few", "p50_many", "p99_many"),
    ("daemon", "without bad company"): ("company",),
    ("daemon", "a mailbox of 160"): ("queue_stored", "queue_drained"),
    ("daemon", "over TCP"): (
        "udp_idle_kb", "udp_cpu_1", "udp_cpu_16", "udp_rate_1", "udp_rate_16", "udp_p50_500", "udp_p99_500", "udp_logins",
    ),
    ("chat on a pipe", "bot"): ("profile_sends", "profile_sends_cpu"),
    ("securemsg", "python -c pass"): tuple(STARTS),
    ("recv", "chat on a pipe", "bot"): ("profile_receives", "profile_receives_cpu"),
    ("daemon",): (
        "stored", "stored_cpu", "drained", "drained_cpu", "queue_disk", "garbage", "garbage_kept", "lobby", "suite_pqxdh",
        "suite_rsa", "suite_rsa_epoch", "room_copy_1", "room_copies_1", "room_last", "room_copy_16", "room_copies_16",
        *(f"room_{what}_{size}" for size in (3, 10, 50) for what in ("write", "read", "sent", "got")),
    ),
}  # fmt: skip
SIZES = {
    "seconds": "0.1", "rounds": "1", "connections": "24", "growth": "24", "messages": "160", "queue": "160", "lines": "4",
    "pairs": "2",
}  # fmt: skip


def run(folder: Path, *argv: str) -> tuple[Any, list[str]]:
    """
    Run it.

    @return: what it kept, and the lines of its table.
    """
    path = folder / "figures.json"
    sizes = [word for name, size in SIZES.items() for word in (f"--{name}", size)]
    done = subprocess.run(
        [sys.executable, "-m", "bench.relay", "--json", str(path), *sizes, *argv],
        cwd=ROOT,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=5 * LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text("utf-8")), done.stdout.splitlines()


class BenchTests(SynchronousTestCase):
    """The figures of so short a run mean nothing; that they are there is what counts."""

    def test_small(self) -> None:
        """A tiny run prints a table, writes every figure as JSON with the machine they come from, and draws two plots."""
        with tempfile.TemporaryDirectory(prefix="securemsg-") as folder:
            report, table = run(Path(folder), "--peers", "")
            for name in ("cost.svg", "delay.svg"):
                drawn = ElementTree.fromstring((Path(folder) / name).read_text("utf-8"))  # noqa: S314 - our own
                self.assertGreaterEqual(len(drawn.findall("{*}polyline")), 3, name)
        figures = {figure["key"]: figure for figure in report["figures"]}
        wanted = {key: servers for servers, keys in BESIDE.items() for key in keys}
        if is_possible():
            wanted["udp_loss"] = ("daemon", "over TCP")
        self.assertEqual({key: tuple(figure["servers"]) for key, figure in figures.items()}, wanted)
        for key, figure in figures.items():
            for number, server in enumerate(figure["servers"].values()):
                self.assertEqual(len(server["rounds"]), 1, key)
                self.assertEqual(server["median"], server["rounds"][0], key)
                self.assertEqual(server["ratio"] is None, not number, key)
        for name in ("processor", "python", "twisted", "openssl", "sqlite", "file system"):
            self.assertTrue(report["machine"][name], name)
        self.assertEqual(report["options"]["message_sizes"]["total"], 200)
        self.assertEqual(len(table), 1 + sum(map(len, wanted.values())), table)

    def test_peers(self) -> None:
        """Peers that are installed stand beside the daemon; a row is left out where a program is missing."""
        with tempfile.TemporaryDirectory(prefix="securemsg-") as folder:
            report, _ = run(Path(folder), "--parts", "logins")
        servers = list(report["figures"][0]["servers"])
        self.assertEqual(servers[:3], ["daemon", "stock relay", "bare path"])
        self.assertLessEqual(set(servers[3:]), {name for names in SPOKEN.values() for name, _ in names})
