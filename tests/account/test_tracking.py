"""A message of ours on its way."""

from __future__ import annotations

import msgspec
from twisted.internet.defer import Deferred

from securemsg.account.connection import AccountConnection
from securemsg.account.errors import Exit, SecuremsgError
from securemsg.account.timeouts import IdleTimeout
from securemsg.account.tracker import Tracker
from securemsg.account.tracking import ACCEPTED, DELIVERED, follow
from securemsg.client import messages
from securemsg.client.messages import Sent
from securemsg.client.state import disappearing
from securemsg.client.state.contacts import get_contact, put_contact
from tests.cli.rig import Person, PlaceCase


class BlockedTests(PlaceCase):
    """Another identity has claimed the name of whom we write to; that is known here, and the server need not be asked."""

    def setUp(self) -> None:
        """Ada has written to Ben, whose identity has changed since."""
        super().setUp()
        self.ada = self.place.person("ada")
        self.place.person("ben")
        self.write(self.ada.connection)
        with self.ada.context.store.writing() as records:
            ben = get_contact(records, "ben")
            assert ben is not None
            put_contact(records, msgspec.structs.replace(ben, changed_to=bytes(32)))

    def write(self, connection: AccountConnection) -> Deferred[Sent]:
        """Write a message, and follow it."""
        store = self.ada.context.store
        number = messages.compose(store, "ben", "hello", now=self.place.now())
        connection.nudge()
        following = Deferred.fromCoroutine(follow(store, connection, number, ACCEPTED, 30))
        self.place.settle()
        return following

    def again(self, ada: Person) -> AccountConnection:
        """The connection of the next command."""
        ada.connection.stop()
        self.place.settle()
        return self.place.beside(ada)

    def test_connected(self) -> None:
        """4, at once."""
        problem = self.failureResultOf(self.write(self.ada.connection), SecuremsgError).value
        self.assertEqual((problem.status, problem.code), (Exit.IDENTITY_CHANGED, "identity-changed"))

    def test_server_down(self) -> None:
        """4 as well, not 6: to try again later would change nothing."""
        self.place.is_up = False
        problem = self.failureResultOf(self.write(self.again(self.ada)), SecuremsgError).value
        self.assertEqual((problem.status, problem.code), (Exit.IDENTITY_CHANGED, "identity-changed"))

    def test_wrong_server(self) -> None:
        """8: what is worse than that is said first."""
        connection = self.again(self.ada)
        self.place.is_up = False
        connection.start()
        connection.fatal = "server-identity"
        problem = self.failureResultOf(self.write(connection), SecuremsgError).value
        self.assertEqual(problem.status, Exit.WRONG_SERVER)


class DisappearedTests(PlaceCase):
    """A message that disappears here before its recipient has got it."""

    def setUp(self) -> None:
        """Ada writes to Ben, who is away."""
        super().setUp()
        self.ada = self.place.person("ada")
        self.place.person("ben").connection.stop()
        self.number = messages.compose(
            self.ada.context.store, "ben", "hello", now=self.place.now(), wants_receipt=True, keep=10
        )
        self.ada.connection.nudge()
        self.place.settle()

    def sweep(self) -> None:
        """Its time is over."""
        self.assertEqual(disappearing.sweep(self.ada.context.store, int(self.place.now()) + 60), 1)
        self.ada.connection.changed()
        self.place.settle(2)

    def check(self, following: Deferred[Sent]) -> None:
        """Nobody waits any longer."""
        self.assertNoResult(following)
        self.sweep()
        problem = self.failureResultOf(following, SecuremsgError).value
        self.assertEqual((problem.status, problem.code), (Exit.TIMED_OUT, "disappeared"))

    def test_followed(self) -> None:
        """7, as soon as it has gone."""
        self.check(Deferred.fromCoroutine(follow(self.ada.context.store, self.ada.connection, self.number, DELIVERED, 30)))

    def test_tracked(self) -> None:
        """A program hears the same."""
        tracker = Tracker(self.place.clock, self.ada.context.store, self.ada.connection)
        self.check(Deferred.fromCoroutine(tracker.follow("ben", self.number, DELIVERED, 30)))

    def test_at_the_end(self) -> None:
        """So it does where its time to wait is over first."""
        tracker = Tracker(self.place.clock, self.ada.context.store, self.ada.connection)
        following = Deferred.fromCoroutine(tracker.follow("ben", self.number, DELIVERED, 30))
        self.patch(Tracker, "_check_waiting", lambda self: None)
        self.sweep()
        self.place.settle(31)
        self.assertEqual(self.failureResultOf(following, SecuremsgError).value.code, "disappeared")


class LimitTests(PlaceCase):
    """A limit that counts from when bytes moved counts from there no more, once the server has said something."""

    def follow(self, wait: str) -> Deferred[Sent]:
        """Ada writes to Ben, who is not there, while Carl writes to her all the time."""
        ada, carl = (self.place.person(name) for name in ("ada", "carl"))
        ben = self.place.person("ben")
        ben.connection.stop()
        self.place.settle()
        store = ada.context.store
        number = messages.compose(store, "ben", "hello", now=self.place.now())
        ada.connection.nudge()
        following = Deferred.fromCoroutine(follow(store, ada.connection, number, wait, IdleTimeout(5)))
        for _ in range(12):
            messages.compose(carl.context.store, "ada", "hello", now=self.place.now())
            carl.connection.nudge()
            self.place.settle(1)
        return following

    def test_accepted(self) -> None:
        """It is accepted."""
        self.assertEqual(self.successResultOf(self.follow(ACCEPTED)).status, "accepted")

    def test_not_delivered(self) -> None:
        """7, though bytes move: they are others'."""
        problem = self.failureResultOf(self.follow(DELIVERED), SecuremsgError).value
        self.assertEqual(problem.status, Exit.TIMED_OUT)
