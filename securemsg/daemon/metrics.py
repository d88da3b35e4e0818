"""
What the monitor knows, as Prometheus reads it.

The library's own resource for Twisted answers from a thread of the global reactor's pool, where it would read numbers that
change meanwhile; so its text is made here, in the reactor's thread, from a registry of our own.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from securemsg import __version__
from securemsg.counters import Histogram
from securemsg.daemon.monitor import Monitor
from securemsg.net.listener import ADDRESS_LIMIT
from securemsg.protocol.codes import TABLE

CODES = (*(code.name for code in TABLE), ADDRESS_LIMIT)
# The version of the text is the one that every scraper reads.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class MonitorCollector(Collector):
    """Makes the families at each scrape."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def describe(self) -> Iterable[Metric]:
        """Nothing is made before it is asked for."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families."""
        monitor = self._monitor
        server, waiting, transports = monitor.server, monitor.waiting, monitor.transports
        yield InfoMetricFamily("securemsg_build", "The version that runs", {"version": __version__})
        yield GaugeMetricFamily("securemsg_draining", "1 if the operator lets nobody in, else 0", monitor.is_draining())
        yield GaugeMetricFamily("securemsg_free_bytes", "Free bytes on the disk of the state", monitor.free_space())
        yield GaugeMetricFamily("securemsg_healthy", "1 if /healthz says ok, else 0", not monitor.problem)
        yield labelled(
            GaugeMetricFamily("securemsg_connections", "Connections that are open", labels=["transport"]),
            {(name,): one.opened - one.closed for name, one in transports.items()},
        )
        yield labelled(
            CounterMetricFamily("securemsg_connections_opened", "Connections that began", labels=["transport"]),
            {(name,): one.opened for name, one in transports.items()},
        )
        yield counter("connections_turned_away", "Connections closed because the server was full", monitor.turned_away())
        yield labelled(
            CounterMetricFamily("securemsg_handshakes", "Completed handshakes", labels=["transport", "group"]),
            {(name, group): n for name, one in transports.items() for group, n in one.handshakes.items()},
        )
        yield labelled(
            CounterMetricFamily("securemsg_handshake_failures", "Ends without a handshake", labels=["transport", "reason"]),
            {(name, reason): n for name, one in transports.items() for reason, n in one.failures.items()},
        )
        yield GaugeMetricFamily("securemsg_logged_in", "Devices and guests that are logged in", monitor.logged_in())
        yield counter("logins", "Logins of devices and guests", server.logins)
        yield counter("login_failures", "Logins that failed", monitor.hangups["login-failed"])
        yield counter("registrations", "New accounts", server.registrations)
        yield counter("deposits", "Messages that were taken", server.deposits)
        yield counter("deliveries", "Messages that were sent to a device", server.deliveries)
        yield counter("acknowledgements", "Messages that a device has acknowledged", server.acknowledgements)
        yield histogram("accept_seconds", "Seconds from a deposit to its Accepted", server.accept)
        yield histogram("deliver_seconds", "Seconds from a deposit to its Deliver, if the device is up to date", server.deliver)
        yield GaugeMetricFamily("securemsg_waiting_messages", "Messages in all mailboxes", waiting.messages)
        yield GaugeMetricFamily("securemsg_waiting_bytes", "Bytes of the messages in all mailboxes", waiting.size)
        yield GaugeMetricFamily("securemsg_waiting_oldest_seconds", "Age of the oldest message in any mailbox", monitor.age)
        yield histogram("batch_deposits", "Deposits in each batch for the database", server.batches)
        yield histogram("commit_jobs", "Jobs that shared a commit", monitor.writer.jobs)
        yield histogram("commit_seconds", "Seconds for a commit, on a full disk until there was room", monitor.writer.seconds)
        for name, text, counts in (
            ("refusals", "Commands that were refused", server.refusals),
            ("hangups", "Connections that the server ended", monitor.hangups),
        ):
            family = CounterMetricFamily(f"securemsg_{name}", text, labels=["code"])
            # Zeros as well: of what appears with its first event, no rule sees the increase.
            yield labelled(family, {(code,): counts[code] for code in {*CODES, *counts}})
        yield histogram("reactor_lateness_seconds", "Seconds by which a call was late, once a second", monitor.lateness)
        yield counter("unhandled_errors", "Exceptions that nobody expected; must stay 0", monitor.errors)
        expiry = "securemsg_certificate_expiry_timestamp_seconds"
        yield GaugeMetricFamily(expiry, "When the certificate expires", monitor.expires_at())
        yield counter("refused_certificates", "Changed certificates that were not good enough", monitor.refused_certificates())
        yield from process_families()


def process_families() -> Iterator[Metric]:
    """
    What there is of the process. The library's own collector needs files of the whole system, which the service may not see.
    """
    try:
        pages = Path("/proc/self/statm").read_text("ascii").split()
        descriptors = len(os.listdir("/proc/self/fd"))
    except OSError:
        return
    size, resident = (int(number) * resource.getpagesize() for number in pages[:2])
    yield CounterMetricFamily("process_cpu_seconds", "Seconds of processor time, user and system", time.process_time())
    yield GaugeMetricFamily("process_virtual_memory_bytes", "Virtual memory", size)
    yield GaugeMetricFamily("process_resident_memory_bytes", "Resident memory", resident)
    yield GaugeMetricFamily("process_open_fds", "Open file descriptors", descriptors)
    yield GaugeMetricFamily("process_max_fds", "How many may be open", resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def labelled(
    family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[tuple[str, ...], float]
) -> CounterMetricFamily | GaugeMetricFamily:
    """A family with a value for each set of labels."""
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def counter(name: str, text: str, value: float) -> CounterMetricFamily:
    """A family of one counter."""
    return CounterMetricFamily(f"securemsg_{name}", text, value)


def histogram(name: str, text: str, counted: Histogram) -> HistogramMetricFamily:
    """A family of one histogram; its buckets contain those below."""
    buckets: list[tuple[str, float]] = []
    total = 0
    for bound, count in zip((*counted.bounds, None), counted.counts, strict=True):
        total += count
        buckets.append(("+Inf" if bound is None else str(bound), total))
    return HistogramMetricFamily(f"securemsg_{name}", text, buckets, counted.total)


class Exposition:
    """The text of all families, and of this process."""

    def __init__(self, monitor: Monitor) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(MonitorCollector(monitor))

    def text(self) -> str:
        """What a scrape gets."""
        return generate_latest(self._registry).decode("utf-8")
