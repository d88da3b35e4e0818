"""
The status page in a real browser: it loads nothing from elsewhere, its policy lets its own script run, and it stays up to date.

Behind C{--browser}, because Chromium is not everywhere; C{make browser} gives it. What the HTML holds is tested in any case
(L{tests.daemon.test_monitor}).
"""

from __future__ import annotations

import subprocess
import tempfile
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.functional.support import HOST, Daemon, Place, free_port

# Without a profile of somebody's own, and without the requests that a browser makes on its own.
BROWSER = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
)  # fmt: skip
# Of the page's clock, milliseconds: it asks again every ten seconds.
BUDGET = 25_000
LIMIT = 60.0


class BrowserTests(SynchronousTestCase):
    """A daemon, and a browser."""

    browser = ""

    @pytest.fixture(autouse=True)
    def _take_browser(self, pytestconfig: pytest.Config) -> None:
        """Which browser to start."""
        self.browser = pytestconfig.getoption("--browser")
        if not self.browser:
            pytest.skip("needs --browser; with Chromium: make browser")

    def test_page(self) -> None:
        """It asks for itself, again and again, its style and its script, and for nothing else; it logs no error."""
        place, port, asked = Place.make(), free_port(), list[str]()
        self.addCleanup(place.forget)
        daemon = Daemon(place, ["--metrics", f"tcp:{port}"])
        daemon.start()

        class Passing(BaseHTTPRequestHandler):
            """Passes requests on to the daemon, and notes them."""

            def do_GET(self) -> None:
                """One of them."""
                asked.append(self.path)
                if is_gone.is_set() and asked.count("/") > 1:
                    self.send_error(503)
                    return
                with urllib.request.urlopen(f"http://{HOST}:{port}{self.path}", timeout=LIMIT) as answer:
                    self.send_response(answer.status)
                    for name, value in answer.getheaders():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(answer.read())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
                """Say nothing."""

        is_gone = Event()
        server = ThreadingHTTPServer((HOST, 0), Passing)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        Thread(target=server.serve_forever, daemon=True).start()
        shown = self.look(server.server_port)
        self.assertIn("All is well.", shown.stdout)
        self.assertIn("<polyline", shown.stdout)
        self.assertEqual([line for line in shown.stderr.splitlines() if "CONSOLE" in line], [])
        self.assertLessEqual({"/", "/status.css", "/status.js"}, set(asked))
        self.assertLessEqual(set(asked), {"/", "/status.css", "/status.js", "/favicon.ico"})
        self.assertGreaterEqual(asked.count("/"), 3)
        asked.clear()
        is_gone.set()
        shown = self.look(server.server_port)
        self.assertIn("No answer", shown.stdout)
        self.assertNotIn("All is well.", shown.stdout)
        daemon.stop()

    def look(self, port: int) -> subprocess.CompletedProcess[str]:
        """What the page holds after a while."""
        with tempfile.TemporaryDirectory() as profile:
            return subprocess.run(
                [
                    self.browser, *BROWSER, f"--user-data-dir={profile}", f"--virtual-time-budget={BUDGET}", "--dump-dom",
                    f"http://{HOST}:{port}/",
                ],
                capture_output=True, text=True, timeout=LIMIT, check=True,
            )  # fmt: skip
