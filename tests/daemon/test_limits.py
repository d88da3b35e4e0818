"""Tests of L{securemsg.daemon.limits}: every limit is an option, or a number that the docs name."""

from __future__ import annotations

from pathlib import Path

from attrs import asdict, evolve, fields
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from securemsg.daemon.limits import LIMITS, limit_settings
from securemsg.daemon.options import Options, Setup
from securemsg.net.listener import connection_limit
from securemsg.server.limits import DAY, KIB, MIB, Rate, Settings

DOCS = Path(__file__).parent.parent.parent / "docs"
OPTIONS = (*(limit.name for limit in LIMITS), "max-mailbox-size")
# Set by other options, or no limit of anybody.
OTHER = {
    "host", "port", "udp_port", "registration", "users_invite", "max_clients", "user_invite_uses", "user_invite_depth",
    "user_open_invites",
}  # fmt: skip
# What no option sets: its value, and where the docs name it.
CONSTANTS: dict[str, tuple[object, str, str]] = {
    "max_expiry": (30 * DAY, "protocol", "at most 30 days"),
    "forget_after": (60 * DAY, "threat-model", "for 60 days"),
    "window_frames": (64, "operations", "64 messages or 256 KiB"),
    "window_size": (256 * KIB, "operations", "64 messages or 256 KiB"),
    "max_unanswered": (1024, "operations", "1,024 unanswered deposits"),
    "max_queued": (256 * KIB, "operations", "256 KiB of answers"),
    "crowded_size": (32 * MIB, "operations", "from 32 MiB on no more is read"),
    "max_pending_size": (64 * MIB, "operations", "64 MiB; from 32 MiB"),
    "max_short_invites": (1000, "operations", "| short invites of all | 1,000 |"),
    "accounts_page": (500, "operations", "the first 500"),
    "max_prekeys": (300, "operations", "of one device | 300 |"),
    "user_invite_lifetime": (30 * DAY, "operations", "16 people and 30 days each"),
    "requests": (Rate(600, 0.1), "operations", "600 at once, then 10 a second"),
    "contact_deposits": (Rate(500, 0.1), "operations", "500 at once, then 10 a second"),
    "rooms": (Rate(30, 600), "operations", "30 at once, then one in 10 min"),
    "room_steps": (Rate(120, 10), "operations", "120 at once, then one in 10 s"),
    "uploads": (Rate(30, 20), "operations", "30 at once, then one in 20 s"),
    "claims_of": (Rate(20, 3600), "operations", "20 at once, then one an hour"),
    "low_stock": (20, "protocol", "fewer than 20 one-time prekeys"),
    "registrations": (Rate(2000, 0.05), "operations", "2000 at once, then 20 a second"),
    "failures": (Rate(1000, 0.1), "operations", "1000 at once, then 10 a second"),
    "rate_keys": (20_000, "operations", "20,000 addresses, and 20,000 accounts"),
    "cached_accounts": (10_000, "operations", "10,000 accounts and as many rooms"),
    "cached_rooms": (10_000, "operations", "10,000 accounts and as many rooms"),
}


def setup_of(*arguments: str) -> Setup:
    """What a command line asks for."""
    options = Options()
    options.parse(arguments)
    return options.setup


class TableTests(SynchronousTestCase):
    """No limit is hidden."""

    def test_defaults(self) -> None:
        """Without options the limits are those of the server, which every test of the server begins with."""
        found = limit_settings(setup_of(), connection_limit(1000))
        self.assertEqual(evolve(Settings(), **found), Settings())

    def test_all(self) -> None:
        """Each setting is set by an option, or has the value that the docs give it."""
        of_options = set(limit_settings(setup_of(), 100))
        self.assertEqual({each.name for each in fields(Settings)}, OTHER | of_options | set(CONSTANTS))
        values = asdict(Settings(), recurse=False)
        for name, (value, page, phrase) in CONSTANTS.items():
            self.assertEqual(values[name], value, name)
            self.assertIn(phrase, " ".join((DOCS / f"{page}.md").read_text("utf-8").split()), name)

    def test_documented(self) -> None:
        """Each option has its row in the reference, with its default, and one in the table of limits."""
        reference, table = ((DOCS / f"{page}.md").read_text("utf-8") for page in ("reference", "operations"))
        defaults = {limit.name: limit.default or "N" for limit in LIMITS} | {"max-mailbox-size": "256M"}
        for name, default in defaults.items():
            self.assertIn(f"`--{name} {default}`", reference)
            self.assertIn(f"`--{name}`", table)


class OptionTests(SynchronousTestCase):
    """What may be set."""

    def test_all(self) -> None:
        """Each option changes the settings, as it says."""
        given = (20, 30, 40, 50, 60, 70, 8, 90)
        arguments = [f"--{limit.name}={value}" for limit, value in zip(LIMITS, given, strict=True)]
        self.assertEqual(
            limit_settings(setup_of(*arguments, "--max-mailbox-size", "1G"), 100),
            {
                "max_address_connections": 20,
                "address_connections": Rate(30, 2),
                "address_failed_logins": Rate(40, 90),
                "address_registrations": Rate(50, 72),
                "logins": Rate(60, 1),
                "deposits": Rate(70, DAY / 70),
                "claims_between": Rate(10, DAY / 8),
                "mailbox_messages": 90,
                "mailbox_size": 1 << 30,
            },
        )

    def test_off(self) -> None:
        """Limits of addresses can be switched off, those of accounts cannot."""
        for name in OPTIONS[:4]:
            found = limit_settings(setup_of(f"--{name}", "0"), 100)
            self.assertEqual(len([value for value in found.values() if not value]), 1)
        for name in OPTIONS[4:]:
            self.refused(f"--{name}", "0")

    def test_half(self) -> None:
        """By default one address has half of the connections, however few there may be."""
        for connections, most in ((2064, 1032), (1, 1)):
            self.assertEqual(limit_settings(setup_of(), connections)["max_address_connections"], most)

    def test_bounds(self) -> None:
        """What is none of its numbers is refused, with the option's name."""
        for name in OPTIONS:
            for value in ("-1", "x", "", "9999999999", "1.5"):
                self.assertIn(f"--{name} is a ", self.refused(f"--{name}", value))
        self.assertIn("from 1M to 1T, not '1K'", self.refused("--max-mailbox-size", "1K"))

    def refused(self, *arguments: str) -> str:
        """Why."""
        problem: UsageError = self.assertRaises(UsageError, setup_of, *arguments)
        return str(problem)

    def test_line(self) -> None:
        """A mistake in the file is named with its line."""
        path = Path(self.mktemp())
        path.write_text("[securemsg]\nport = 9000\nlogins-per-minute = many\n", "utf-8")
        self.assertIn(f"{path}:3: --logins-per-minute is a number from 1 to", self.refused("--config", str(path)))
