"""C{make bench} runs, in small."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.loss import is_possible
from tests.functional.support import LIMIT, ROOT, environment

# Every figure that docs/performance.md speaks of.
KEYS = {
    "cpu_1", "cpu_1_total", "cpu_16", "cpu_16_total", "rate_1", "rate_16", "p50_500", "p99_500", "p50_5000", "p99_5000",
    "idle_kb", "logins", "stored", "drained", "stored_cpu", "drained_cpu", "growth", "p50_few", "p99_few", "p50_many",
    "p99_many", "p99_alone", "p99_beside", "company", "queue_stored", "queue_drained", "queue_disk", "garbage", "garbage_kept",
    "lobby", "suite_pqxdh", "suite_rsa", "suite_rsa_epoch", "udp_idle_kb", "udp_cpu_1", "udp_cpu_16", "udp_rate_1",
    "udp_rate_16", "udp_p50_500", "udp_p99_500", "udp_logins", "udp_loss",
}  # fmt: skip
# What only the daemon can do.
ALONE = {
    "stored", "drained", "stored_cpu", "drained_cpu", "p99_alone", "p99_beside", "company", "queue_stored", "queue_drained",
    "queue_disk", "garbage", "garbage_kept", "lobby", "suite_pqxdh", "suite_rsa", "suite_rsa_epoch",
}  # fmt: skip


class BenchTests(SynchronousTestCase):
    """The figures of so short a run mean nothing; that they are there is what counts."""

    def test_small(self) -> None:
        """A tiny run prints a table and writes every figure as JSON, with the machine they come from."""
        with tempfile.TemporaryDirectory(prefix="securemsg-") as folder:
            path = Path(folder) / "figures.json"
            sizes = ("--seconds", "0.3", "--connections", "24", "--messages", "320", "--pairs", "4")
            done = subprocess.run(
                [sys.executable, "-m", "bench.relay", "--json", str(path), *sizes],
                cwd=ROOT,
                env=environment(Path(folder)),
                capture_output=True,
                text=True,
                timeout=2 * LIMIT,
                check=False,
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            report = json.loads(path.read_text("utf-8"))
        figures = {figure["key"]: figure for figure in report["figures"]}
        wanted = KEYS if is_possible() else KEYS - {"udp_loss"}
        self.assertEqual(set(figures), wanted)
        for key, figure in figures.items():
            self.assertGreaterEqual(figure["daemon"], 0, key)
            self.assertEqual(figure["yardstick"] is None, key in ALONE, key)
        for name in ("processor", "python", "twisted", "openssl", "sqlite", "file system"):
            self.assertTrue(report["machine"][name], name)
        self.assertEqual(report["options"]["message_sizes"]["total"], 200)
        self.assertEqual(len(done.stdout.splitlines()), 2 + len(wanted), done.stdout)
        for heading in ("stock relay", "over TCP"):
            self.assertIn(heading, done.stdout)
