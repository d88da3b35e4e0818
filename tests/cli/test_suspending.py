"""Ctrl-Z, without a shell."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from securemsg.cli.suspending import suspend
from securemsg.client import messages
from tests.cli.rig import PlaceCase


class SuspendTests(PlaceCase):
    """Two processes on one profile, one of which is suspended."""

    def test_left_to_others(self) -> None:
        """As long as it is suspended another process has the connection, and sends; then it is as before."""
        ada, ben = self.place.person("ada", again=True), self.place.person("ben")
        other = self.place.beside(ada)
        waiting = Deferred.fromCoroutine(ada.connection.until(lambda: None, None))

        def stop() -> None:
            messages.compose(ada.context.store, "ben", "hello", now=self.place.now())
            other.start()
            self.place.settle(1.5)
            self.assertEqual([message.text for message in messages.unread(ben.context.store)], ["hello"])
            self.assertFalse(ada.connection.is_owner)
            other.stop()
            self.place.settle()

        suspended = Deferred.fromCoroutine(suspend(ada.connection, stop))
        self.place.settle(1.5)
        self.successResultOf(suspended)
        self.assertTrue(ada.connection.is_ready)
        waiting.cancel()
        self.failureResultOf(waiting)

    def test_wakes_up(self) -> None:
        """Whatever happens to it, it connects again."""
        ada = self.place.person("ada", again=True)

        def stop() -> None:
            raise OSError

        suspended = Deferred.fromCoroutine(suspend(ada.connection, stop))
        self.place.settle()
        self.failureResultOf(suspended, OSError)
        self.successResultOf(Deferred.fromCoroutine(ada.connection.until(lambda: True, None)))
        self.place.settle()
        self.assertTrue(ada.connection.is_ready)

    def test_twice(self) -> None:
        """Whoever asks again meanwhile stops nothing, and takes nothing from what is under way."""
        ada, stops = self.place.person("ada", again=True), list[str]()
        first = Deferred.fromCoroutine(suspend(ada.connection, lambda: stops.append("first")))
        again = Deferred.fromCoroutine(suspend(ada.connection, lambda: stops.append("again")))
        self.successResultOf(again)
        self.place.settle(1.5)
        self.successResultOf(first)
        self.assertEqual(stops, ["first"])
