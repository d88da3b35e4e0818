"""Points in time are written in one way."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.times import iso


class IsoTests(SynchronousTestCase):
    """From seconds to text."""

    def test_utc(self) -> None:
        """Times are UTC, ISO 8601, to the second."""
        self.assertEqual(iso(1795255200), "2026-11-21T10:00:00Z")
        self.assertEqual(iso(0.9), "1970-01-01T00:00:00Z")

    def test_any_clock(self) -> None:
        """A sender's clock may say anything."""
        self.assertEqual(iso(2**63 - 1), "9999-12-31T23:59:59Z")
        self.assertEqual(iso(-5), "1970-01-01T00:00:00Z")
