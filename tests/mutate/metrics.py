"""Guards of what the daemon says of itself."""

from __future__ import annotations

from tests.mutate.mutation import Guard, guards

GUARDS: tuple[Guard, ...] = (
    *guards(
        "daemon/site.py",
        "tests/daemon/test_monitor.py",
        ("        if len(self.open) >= MAX_CONNECTIONS:\n", "        if False:\n", "SiteTests::test_bounds"),
        (
            "        self._end = self.callLater(MAX_TIME, self.transport.abortConnection)  # type: ignore[union-attr]\n",
            "",
            "SiteTests::test_bounds",
        ),
        ("        self.channel.persistent = False\n", "        pass\n", "SiteTests::test_health"),
        ("if self.method in METHODS:", "if True:", "SiteTests::test_others"),
        ('            ("Content-Security-Policy", POLICY),\n', "", "SiteTests::test_page"),
        ("HTTPStatus.SERVICE_UNAVAILABLE", "HTTPStatus.OK", "SiteTests::test_health"),
        ("        except Exception:  # noqa: BLE001", "        except EOFError:  # noqa: BLE001", "SiteTests::test_bug"),
    ),
    *guards(
        "daemon/monitor.py",
        "tests/daemon/test_monitor.py",
        (" > STUCK:", " > 10**9:", "HealthTests::test_stuck"),
        ("        if self._asked is None and", "        if", "HealthTests::test_stuck"),
        ("        if self.is_disk_full:\n", "        if False:\n", "HealthTests::test_disk"),
        ("        if self.is_lost:\n", "        if False:\n", "HealthTests::test_disk"),
        ("deque(maxlen=SAMPLES)", "deque()", "HealthTests::test_samples"),
        ("        if not waiting.last:\n", "        if True:\n", "HealthTests::test_oldest"),
    ),
    *guards(
        "daemon/page.py",
        "tests/daemon/test_monitor.py",
        ("autoescape=True", "autoescape=False", "PageTests::test_words"),
        (".most_common(MAX_CODES)", ".most_common()", "PageTests::test_words"),
    ),
    *guards(
        "daemon/options.py",
        "tests/daemon/test_options.py",
        ('match[2] or "127.0.0.1"', 'match[2] or "0.0.0.0"', "GoodTests::test_metrics"),
    ),
    *guards(
        "daemon/checks.py",
        "tests/test_tap.py",
        ("        raise StateError(NO_PROMETHEUS)\n", "        pass\n", "CheckTests::test_no_prometheus"),
        ('        check_port(*where, "--metrics")\n', "        pass\n", "CheckTests::test_metrics_port"),
    ),
    *guards(
        "server/delivery.py",
        "tests/server/test_counters.py",
        (
            "        if not connection.is_local:\n            self.counters",
            "        if True:\n            self.counters",
            "CounterTests::test_people",
        ),
        ("        self._delivery.counters.deliveries += 1\n", "", "CounterTests::test_message"),
    ),
    *guards(
        "server/connection.py",
        "tests/server/test_counters.py",
        ("        self._counters.refusals[refusal.code] += 1\n", "", "CounterTests::test_refused"),
    ),
    *guards(
        "net/stream.py",
        "tests/net/test_tls.py",
        (
            "        if self.link is None:\n            self._options.counters",
            "        if True:\n            self._options.counters",
            "CounterTests::test_handshake",
        ),
    ),
    *guards(
        "storage/sqlite/writer.py",
        "tests/storage/sqlite/test_writer.py",
        (
            "if any(job.writes for job in jobs):\n                    self",
            "if True:\n                    self",
            "WriterTests::test_reading_alone",
        ),
    ),
    *guards(
        "storage/sqlite/waiting.py",
        "tests/storage/sqlite/test_waiting.py",
        ("(after, LOOK)).fetchall()", "(after, 10**9)).fetchall()", "WaitingTests::test_bounded"),
        (" if position > passed][:1]", "][:1]", "WaitingTests::test_oldest"),
    ),
)
