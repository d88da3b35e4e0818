"""Whether a port answers."""

from __future__ import annotations

from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from securemsg.net.reach import NO_HOST, REFUSED, TIMED_OUT, UNREACHABLE, reach
from tests.net.test_dialer import FakeEndpoint


class ReachTests(SynchronousTestCase):
    """One attempt."""

    def test_answers(self) -> None:
        """A connection is closed at once, and nothing was sent."""
        endpoint = FakeEndpoint()
        done = Deferred.fromCoroutine(reach(endpoint))
        self.assertNoResult(done)
        _, transport = endpoint.succeed()
        self.assertEqual(self.successResultOf(done), "")
        self.assertTrue(transport.disconnecting)
        self.assertEqual(transport.value(), b"")

    def test_failures(self) -> None:
        """Each failure has its code."""
        for reason, code in (
            (error.DNSLookupError(), NO_HOST),
            (error.ConnectionRefusedError(), REFUSED),
            (error.TimeoutError(), TIMED_OUT),
            (error.NoRouteError(), UNREACHABLE),
        ):
            endpoint = FakeEndpoint()
            done = Deferred.fromCoroutine(reach(endpoint))
            endpoint.attempts[0][1].errback(reason)
            self.assertEqual(self.successResultOf(done), code)
