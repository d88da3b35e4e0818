"""
Limits on what comes from one address: so that a stranger, or a network of one customer, leaves room for everybody else.

An address is one of IPv4, or the first 64 bits of one of IPv6, because a customer gets as many. Who comes from this machine is
not counted: behind a reverse proxy that is everybody. Addresses are kept in memory alone, as long as they are counted.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable

from attrs import define, field

from securemsg.server.limits import Buckets, Rate, Settings

# Of an IPv6 address; the rest a customer chooses freely (RFC 6177).
PREFIX_SIZE = 8


def source_of(host: str) -> bytes:
    """
    The key under which an address is counted: 4 bytes of IPv4, 8 of IPv6.

    @return: empty: it is not counted, because it is this machine's own, or none.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return b""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return b"" if address.is_loopback else address.packed[:PREFIX_SIZE]


@define(eq=False)
class Addresses:
    """
    Counts by address. A source that is empty is never refused.

    @ivar open: open connections by source; no more sources than connections.
    """

    _settings: Settings
    _seconds: Callable[[], float]
    open: Counter[bytes] = field(init=False, factory=Counter)
    _connections: Buckets | None = field(init=False)
    _failed_logins: Buckets | None = field(init=False)
    _registrations: Buckets | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        settings = self._settings
        self._connections = self._buckets(settings.address_connections)
        self._failed_logins = self._buckets(settings.address_failed_logins)
        self._registrations = self._buckets(settings.address_registrations)

    def enter(self, host: str) -> bytes | None:
        """
        Count a new connection.

        @return: its source, for L{leave}; C{None}: it is refused, and was not counted.
        """
        source = source_of(host)
        if not source:
            return source
        most = self._settings.max_address_connections
        if (most and self.open.get(source, 0) >= most) or not _take(self._connections, source):
            return None
        self.open[source] += 1
        return source

    def leave(self, source: bytes) -> None:
        """Count the end of a connection."""
        if source:
            self.open[source] -= 1
            if not self.open[source]:
                del self.open[source]

    def may_log_in(self, source: bytes) -> bool:
        """Whether a login is worth checking: not too many have failed."""
        return not source or self._failed_logins is None or self._failed_logins.has_room(source)

    def count_failed_login(self, source: bytes) -> None:
        """Count a login that has failed."""
        _take(self._failed_logins, source)

    def count_registration(self, source: bytes) -> bool:
        """Count a registration; C{False}: it is refused."""
        return _take(self._registrations, source)

    def _buckets(self, rate: Rate | None) -> Buckets | None:
        return None if rate is None else Buckets(rate, self._seconds, self._settings.rate_keys)


def _take(buckets: Buckets | None, source: bytes) -> bool:
    """Consume a token, unless nothing is counted."""
    return not source or buckets is None or buckets.consume(source)
