"""What the daemon knows of itself, and how it says so."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser
from http import HTTPStatus
from typing import cast

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from securemsg.daemon.monitor import PERIOD, SAMPLES, STUCK, Monitor
from securemsg.daemon.page import MAX_CODES, POLICY, Page, asset, duration, plot
from securemsg.daemon.site import MAX_CONNECTIONS, MAX_TIME, Site
from securemsg.storage.sqlite.store import ServerStore
from securemsg.storage.sqlite.waiting import Waiting

NOW = 1_800_000_000


class FakeStore:
    """Keeps questions until they are answered."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, Deferred[Waiting]]] = []

    def waiting(self, after: int) -> Deferred[Waiting]:
        """Keep a question."""
        self.asked.append((after, Deferred()))
        return self.asked[-1][1]

    def answer(self, messages: int = 0, oldest: int | None = None, last: int = 0) -> None:
        """Answer the oldest one."""
        self.asked.pop(0)[1].callback(Waiting(messages, 10 * messages, oldest, last))


class MonitorCase(SynchronousTestCase):
    """A monitor that has started."""

    def setUp(self) -> None:
        """Start it."""
        self.clock = Clock()
        self.store = FakeStore()
        self.monitor = Monitor(self.clock, lambda: NOW + self.clock.seconds())
        self.monitor.expires_at = lambda: NOW + 86400.0 * 400
        self.monitor.start(cast(ServerStore, self.store))
        self.addCleanup(self.monitor.stop)

    def healthy(self, seconds: float) -> None:
        """Let time pass while the database answers."""
        self.clock.pump([1.0] * int(seconds))
        while self.store.asked:
            self.store.answer()


class HealthTests(MonitorCase):
    """Whether it is well."""

    def test_stuck(self) -> None:
        """A database that has not answered for some seconds is a problem until it answers; it is asked once."""
        self.clock.pump([1.0] * STUCK)
        self.assertEqual(self.monitor.problem, "")
        self.clock.pump([1.0] * STUCK)
        self.assertEqual(self.monitor.problem, "The database has not answered for 20 seconds.")
        self.assertEqual(len(self.store.asked), 1)
        self.store.answer()
        self.assertEqual(self.monitor.problem, "")

    def test_failed(self) -> None:
        """A question that fails is a bug that is logged, and the next is asked."""
        self.store.asked.pop(0)[1].errback(ValueError("damaged"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.healthy(30)
        self.assertEqual((self.monitor.problem, self.monitor.errors), ("", 1))

    def test_room(self) -> None:
        """So is a disk that has no room for new messages."""
        self.monitor.has_room = lambda: False
        self.assertIn("too little room", self.monitor.problem)

    def test_disk(self) -> None:
        """A full disk is a problem, and a lost database a worse one."""
        self.monitor.is_disk_full = True
        self.assertIn("disk is full", self.monitor.problem)
        self.monitor.is_lost = True
        self.assertIn("cannot be used", self.monitor.problem)

    def test_oldest(self) -> None:
        """The oldest message is known when all mailboxes were looked at, one part after the other."""
        self.store.answer(5, NOW - 100, last=7)
        self.assertEqual((self.monitor.waiting.messages, self.monitor.age), (5, 0))
        self.clock.advance(PERIOD)
        self.assertEqual(self.store.asked[0][0], 7)
        self.store.answer(5, NOW - 50)
        self.assertEqual(self.monitor.age, 100 + PERIOD)
        self.clock.advance(PERIOD)
        self.store.answer()
        self.assertEqual(self.monitor.age, 0)

    def test_lateness(self) -> None:
        """A reactor that was busy is late."""
        self.clock.advance(1.0)
        self.clock.advance(1.3)
        self.assertAlmostEqual(self.monitor.lateness.total, 0.3)

    def test_errors(self) -> None:
        """What is logged as a failure is counted, until the end."""
        for _ in range(2):
            try:
                raise ZeroDivisionError
            except ZeroDivisionError:
                Logger().failure("a bug")
            self.monitor.stop()
        self.assertEqual(self.monitor.errors, 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_samples(self) -> None:
        """A sample is what has happened since the one before, and there are so many at most."""
        self.monitor.server.deposits = 50
        self.monitor.server.accept.observe(0.2)
        self.monitor.hangups["timeout"] = 10
        self.monitor.transports["udp"].opened = 3
        self.store.answer(4)
        self.clock.advance(PERIOD)
        (sample,) = self.monitor.samples
        self.assertEqual((sample.connections, sample.messages, sample.latency), (3, 5.0, 0.2))
        self.assertEqual((sample.waiting, sample.refusals), (4, 1.0))
        for _ in range(SAMPLES):
            self.clock.advance(PERIOD)
        self.assertEqual((len(self.monitor.samples), self.monitor.samples[0].messages), (SAMPLES, 0))

    def test_ends(self) -> None:
        """Nothing is left ticking."""
        self.monitor.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class SiteTests(MonitorCase):
    """What it says over HTTP."""

    def setUp(self) -> None:
        """Serve it."""
        super().setUp()
        self.site = Site(self.monitor, self.clock)
        self.site.doStart()
        self.addCleanup(self.site.doStop)

    def ask(self, request: bytes) -> tuple[bytes, bytes]:
        """Head and body of the answer."""
        channel = self.site.buildProtocol(None)
        transport = StringTransport()
        channel.makeConnection(transport)
        channel.dataReceived(request)
        self.assertTrue(transport.disconnecting)
        head, _, body = transport.value().partition(b"\r\n\r\n")
        return head, body

    def get(self, path: str, method: str = "GET") -> tuple[bytes, bytes]:
        """Ask for a path."""
        return self.ask(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def test_health(self) -> None:
        """It is well, or not and says why."""
        head, body = self.get("/healthz")
        self.assertEqual((head.split()[1], body), (b"200", b"ok\n"))
        self.monitor.is_disk_full = True
        head, body = self.get("/healthz")
        self.assertEqual((head.split()[1], body), (b"503", b"The disk is full: nothing is accepted until there is room.\n"))

    def test_metrics(self) -> None:
        """Prometheus' own parser reads the text; buckets add up, and labels name what happened."""
        self.monitor.server.refusals = Counter({"mailbox-full": 2})
        self.monitor.hangups["login-failed"] = 3
        self.monitor.refused_certificates = lambda: 2
        self.monitor.transports["tcp"].handshakes["X25519MLKEM768"] = 4
        for value in (0.002, 0.3, 99.0):
            self.monitor.server.accept.observe(value)
        head, body = self.get("/metrics?x=1")
        self.assertIn(b"text/plain; version=0.0.4", head)
        families = {family.name: family for family in text_string_to_metric_families(body.decode())}
        samples = {
            (one.name, *sorted(one.labels.values())): one.value for family in families.values() for one in family.samples
        }
        self.assertEqual(samples["securemsg_refusals_total", "mailbox-full"], 2)
        # What has not happened yet is there as well, and so is the process.
        self.assertEqual([samples["securemsg_hangups_total", code] for code in ("server-full", "address-limit")], [0, 0])
        self.assertGreater(samples[("process_resident_memory_bytes",)], 1e7)
        self.assertGreaterEqual(samples[("process_max_fds",)], samples[("process_open_fds",)])
        self.assertEqual(samples[("securemsg_login_failures_total",)], 3)
        self.assertEqual(samples[("securemsg_refused_certificates_total",)], 2)
        self.assertEqual(samples["securemsg_handshakes_total", "X25519MLKEM768", "tcp"], 4)
        buckets = [samples["securemsg_accept_seconds_bucket", bound] for bound in ("0.001", "0.0025", "0.5", "10.0", "+Inf")]
        self.assertEqual(buckets, [0, 1, 2, 2, 3])
        self.assertIn("process_cpu_seconds", families)

    def test_others(self) -> None:
        """There is nothing else, and nothing is changed; a body is dropped, HEAD gets none."""
        self.assertIn(b" 404 ", self.get("/status.html")[0])
        self.assertIn(b" 405 ", self.get("/", "DELETE")[0])
        self.assertIn(b" 405 ", self.ask(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")[0])
        head, body = self.get("/metrics", "HEAD")
        self.assertEqual((head.split()[1], body), (b"200", b""))

    def test_bounds(self) -> None:
        """So many connections at once, each for so long; the oldest makes room for one more."""
        channels = [self.site.buildProtocol(None) for _ in range(MAX_CONNECTIONS)]
        transports = [StringTransport() for _ in channels]
        for channel, transport in zip(channels, transports, strict=True):
            channel.makeConnection(transport)
        self.assertIsNotNone(self.site.buildProtocol(None))
        self.assertEqual([transport.disconnected for transport in transports], [True] + [False] * (MAX_CONNECTIONS - 1))
        self.clock.advance(MAX_TIME)
        self.assertTrue(all(transport.disconnected for transport in transports))

    def test_bug(self) -> None:
        """An answer that cannot be made is an error of that answer alone."""
        self.monitor.logged_in = lambda: 1 // 0
        self.assertIn(b" 500 ", self.get("/metrics")[0])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_page(self) -> None:
        """The page's policy lets it load its own style and script alone, both of which are there."""
        head, _ = self.get("/")
        self.assertIn(f"Content-Security-Policy: {POLICY}".encode(), head)
        self.assertIn("default-src 'none'", POLICY)
        self.assertNotIn("unsafe", POLICY)
        for path, kind in (("/status.css", b"text/css"), ("/status.js", b"text/javascript")):
            head, body = self.get(path)
            self.assertEqual(head.split()[1], b"200")
            self.assertIn(kind, head)
            self.assertEqual(body.decode(), asset(path[1:]))


class Elements(HTMLParser):
    """The elements of a page, which must all be closed."""

    VOID = frozenset(("meta", "link", "polyline"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One begins."""
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """One ends."""
        if tag not in self.VOID:
            assert self.open.pop() == tag, tag


class PageTests(MonitorCase):
    """The page."""

    def test_elements(self) -> None:
        """It is whole, loads nothing from elsewhere, has no code in it, and each plot is described in words."""
        self.healthy(3 * PERIOD)
        page = Elements(Page(self.monitor).render())
        self.assertEqual(page.open, [])
        for tag, attributes in page.found:
            for name, value in attributes.items():
                self.assertFalse(name.startswith("on") or name == "style", (tag, name))
                if name in ("href", "src"):
                    self.assertIn(value, ("status.css", "status.js", "metrics", "healthz"))
        plots = [attributes for tag, attributes in page.found if tag == "svg"]
        self.assertEqual(len(plots), 5)
        self.assertTrue(all("in the last hour: now" in (one["aria-label"] or "") for one in plots))
        self.assertIn(("meta", {"http-equiv": "refresh", "content": "30"}), page.found)

    def test_words(self) -> None:
        """It says what is wrong, and lists the most frequent refusals; whatever is in them is text."""
        self.monitor.is_disk_full = True
        self.monitor.expires_at = lambda: NOW - 1.0
        self.monitor.hangups.update({f"code-{n}": n for n in range(100)} | {"<b>": 1000})
        text = Page(self.monitor).render()
        for words in ("The disk is full", "EXPIRED on 2027-01-15", "&lt;b&gt;", "code-99"):
            self.assertIn(words, text)
        self.assertEqual(text.count("<code>"), MAX_CODES)

    def test_plot(self) -> None:
        """The newest value is at the right, the highest at the top, and without values there is no line."""
        drawn = plot("x", [0, 5, 10], "{:.0f}")
        self.assertEqual((drawn.points, drawn.now, drawn.most), ("358,58.0 359,30.0 360,2.0", "10", "10"))
        self.assertEqual(plot("x", [], "{:.1f}").points, "")

    def test_duration(self) -> None:
        """Times are for people."""
        found = [duration(seconds) for seconds in (5, 61, 3600, 90000)]
        self.assertEqual(found, ["0 min 5 s", "1 min 1 s", "1 h 0 min", "1 d 1 h"])

    def test_no_names(self) -> None:
        """It loads without a redirect, under any path of a proxy."""
        self.assertNotIn("://", Page(self.monitor).render())
        self.assertEqual(Site(self.monitor, self.clock).answer(b"/").status, HTTPStatus.OK)
