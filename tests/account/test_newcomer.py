"""Short invites between an account at work and somebody who has none yet."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from securemsg.account.connection import AccountConnection
from securemsg.account.errors import Exit, SecuremsgError
from securemsg.account.newcomer import fetch_invite
from securemsg.client.events import ShortInviteEnded
from securemsg.errors import Refusal
from securemsg.protocol.invite import InviteLink
from securemsg.protocol.messages import CODE_LIFETIME, OpenCode
from securemsg.server.connection import ClientConnection, Role
from tests.cli.rig import MemoryDialer, PlaceCase

WORDS = "abandon-ability-able-about-above-absent"


class FetchTests(PlaceCase):
    """Ada opens short invites."""

    def setUp(self) -> None:
        """She is connected."""
        super().setUp()
        self.ada = self.place.person("ada")
        self.link = InviteLink("example", 8443, self.place.server.identity.public, bytes(16))

    def open(self, connection: AccountConnection | None = None, link: InviteLink | None = None) -> int:
        """Open one; its number."""
        asking = (connection or self.ada.connection).ask("short-invite", f"{WORDS} {link or self.link}", timeout=5)
        asked = Deferred.fromCoroutine(asking)
        self.place.settle(1.5)
        return int(self.successResultOf(asked)["number"])

    def fetch(self, number: int, words: str = WORDS, timeout: float | None = None) -> Deferred[InviteLink]:
        """Ask for it."""
        dialers: list[MemoryDialer] = []

        def dial(peer: object, failed: object) -> MemoryDialer:
            dialers.append(MemoryDialer(self.place, peer, failed, False))  # type: ignore[arg-type]
            return dialers[0]

        fetching = fetch_invite(self.place.clock, dial, number, words, "example:8443", timeout)
        asked = Deferred.fromCoroutine(fetching)
        self.place.settle()
        return asked

    def refused(self, fetched: Deferred[InviteLink]) -> SecuremsgError:
        """Why there is none."""
        problem = self.failureResultOf(fetched, SecuremsgError).value
        assert isinstance(problem, SecuremsgError)
        return problem

    def test_fetched(self) -> None:
        """The newcomer gets the invite; the connection knows how it ended, and nothing of the newcomer's is left."""
        number = self.open()
        self.assertIsNone(self.ada.connection.short_invite_end)
        self.assertEqual(self.successResultOf(self.fetch(number)), self.link)
        self.assertEqual(self.ada.connection.short_invite_end, ShortInviteEnded(number, ""))
        self.assertEqual(self.place.server.connected, 1)

    def test_job_of_another_process(self) -> None:
        """Another process of the profile may open one; the owner of the connection answers."""
        number = self.open(self.place.beside(self.ada))
        self.assertEqual(self.successResultOf(self.fetch(number)), self.link)

    def test_wrong_words(self) -> None:
        """Wrong words are refused for good."""
        problem = self.refused(self.fetch(self.open(), WORDS.replace("able", "acid")))
        self.assertEqual((problem.status, problem.code), (Exit.REFUSED, "wrong-words"))

    def test_other_server(self) -> None:
        """A server that the invite is not for ends with the status of a wrong server, and words that fit."""
        number = self.open(link=InviteLink("example", 8443, bytes(range(32)), bytes(16)))
        problem = self.refused(self.fetch(number))
        self.assertEqual((problem.status, problem.code), (Exit.WRONG_SERVER, "server-identity"))
        self.assertIn("the server at example:8443 is not the one that this invite is for", problem.text)

    def test_no_server(self) -> None:
        """Without a server there is an error that names its address."""
        self.place.is_up = False
        problem = self.refused(self.fetch(1))
        self.assertEqual((problem.status, problem.text), (Exit.NOT_CONNECTED, "cannot connect to example:8443"))

    def test_timeout(self) -> None:
        """Whoever has a limit does not wait longer."""
        number = self.open()
        self.ada.connection._agent._short_invites._opened = None  # type: ignore[union-attr]
        fetched = self.fetch(number, timeout=3)
        self.place.settle(2)
        self.assertNoResult(fetched)
        self.place.settle(2)
        self.assertEqual(self.refused(fetched).code, "timeout")

    def test_timeout_hangs_up(self) -> None:
        """Nothing is left of the connection then."""
        number = self.open()
        self.ada.connection._agent._short_invites._opened = None  # type: ignore[union-attr]
        fetched = self.fetch(number, timeout=3)
        self.place.settle(4)
        self.refused(fetched)
        self.assertEqual(self.place.server.connected, 1)

    def test_not_answered(self) -> None:
        """Without one, the limits of the connection end the wait; the number is used up then."""
        number = self.open()
        self.ada.connection._agent._short_invites._opened = None  # type: ignore[union-attr]
        fetched = self.fetch(number)
        self.place.settle(11)
        self.assertEqual(self.refused(fetched).code, "no-answer")

    def test_over(self) -> None:
        """The owner's timer ends it after ten minutes."""
        number = self.open()
        self.place.clock.pump([1.0] * (CODE_LIFETIME + 1))
        self.assertEqual(self.ada.connection.short_invite_end, ShortInviteEnded(number, "over"))

    def test_secret_in_no_error(self) -> None:
        """An error says neither the words nor the invite, whatever the server says."""
        commands = self.place.server.commands[Role.DEVICE]
        assert isinstance(commands, dict)
        commands[OpenCode] = refuse
        asked = Deferred.fromCoroutine(self.ada.connection.ask("short-invite", f"{WORDS} {self.link}", timeout=5))
        self.place.settle()
        self.assertEqual(self.failureResultOf(asked, SecuremsgError).value.text, "no such account: example:8443")


def refuse(connection: ClientConnection, message: object) -> None:
    """Refuse a command with words that are about a name."""
    raise Refusal("no-such-account")
