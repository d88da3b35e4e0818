"""The limits that options of the daemon set, and what the server makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from securemsg.protocol.messages import MAX_QUOTA
from securemsg.server.limits import CLAIM_RESERVE, DAY, DEPOSIT_BURST, HOUR, MINUTE, Rate

# Above these a limit limits nothing.
MAX_CONNECTIONS = 1_000_000
MAX_RATE = 100_000_000
# As many one-time prekeys as all together may claim at once.
MAX_CLAIMS = 20


@frozen
class Limit:
    """
    An option that sets a limit.

    @ivar default: as it is written; C{None}: it depends on other options.
    @ivar bounds: the smallest value and the largest.
    """

    name: str
    default: str | None
    bounds: tuple[int, int]
    help: str


LIMITS = (
    Limit(
        "connections-per-address", None, (0, MAX_CONNECTIONS),
        "Open connections from one address (a /64 of IPv6); 0: any number; default: half of all.",
    ),
    Limit("connections-per-minute", "1000", (0, MAX_RATE), "New connections from one address; 0: any number."),
    Limit("failed-logins-per-hour", "1000", (0, MAX_RATE), "Logins from one address that fail; 0: any number."),
    Limit("registrations-per-hour", "500", (0, MAX_RATE), "Accounts registered from one address; 0: any number."),
    Limit("logins-per-minute", "300", (1, MAX_RATE), "Logins of one account, with all its devices."),
    Limit("deposits-per-day", "345600", (1, MAX_RATE), "Messages that one account sends; at most 200000 of them at once."),
    Limit("claims-per-day", "1", (1, MAX_CLAIMS), "One-time prekeys of a device for one account; 2 more for lost sessions."),
    Limit("max-mailbox-messages", "100000", (1, MAX_QUOTA), "Messages that may wait for one device."),
)  # fmt: skip


def limit_settings(setup: Any, connections: int) -> Mapping[str, Any]:
    """
    What the server's settings say of the limits.

    @param setup: the options, checked.
    @param connections: how many may be open in all.
    """
    most = setup.connections_per_address
    return {
        "max_address_connections": max(1, connections // 2) if most is None else most,
        "address_connections": _rate(setup.connections_per_minute, MINUTE),
        "address_failed_logins": _rate(setup.failed_logins_per_hour, HOUR),
        "address_registrations": _rate(setup.registrations_per_hour, HOUR),
        "logins": _rate(setup.logins_per_minute, MINUTE),
        "deposits": Rate(min(setup.deposits_per_day, DEPOSIT_BURST), DAY / setup.deposits_per_day),
        "claims_between": Rate(setup.claims_per_day + CLAIM_RESERVE, DAY / setup.claims_per_day),
        "mailbox_messages": setup.max_mailbox_messages,
        "mailbox_size": setup.max_mailbox_size,
    }


def _rate(count: int, period: float) -> Rate | None:
    """So many at once, and then as many in each period; C{None}: any number."""
    return Rate(count, period / count) if count else None
