"""Short invites at the command line: the inviter's waits, and what the newcomer's takes."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from securemsg.account.connection import AccountConnection
from securemsg.account.errors import Exit, error_for
from securemsg.cli.commands import invite, join
from securemsg.cli.commands.invite import offer_words
from securemsg.cli.commands.join import prepare
from securemsg.cli.context import CommandContext
from securemsg.cli.settings import Settings
from securemsg.client.newcomer import Newcomer
from securemsg.client.state.profile import load_profile, save_profile
from securemsg.client.state.records import OUTBOX
from securemsg.client.state.vault import open_vault
from securemsg.errors import Refusal
from securemsg.protocol.invite import InviteLink
from securemsg.protocol.messages import CODE_LIFETIME, OpenCode
from securemsg.server.connection import ClientConnection, Role
from securemsg.server.shortinvites import ShortInvites
from securemsg.storage.profile import open_profile
from tests.cli.rig import MemoryDialer, PlaceCase
from tests.cli.test_main import LINK, CommandLineCase

WORDS = "abandon-ability-able-about-above-absent"
NUMBER = 7


class OfferTests(PlaceCase):
    """Ada, at a terminal."""

    def setUp(self) -> None:
        """She is connected; the words are these, and the number is always the same."""
        super().setUp()
        self.ada = self.place.person("ada")
        self.link = InviteLink("example", 8443, self.place.server.identity.public, bytes(16))
        self.said: list[str] = []
        self.patch(invite, "say", lambda text, verbatim=False: self.said.append(text))
        self.patch(invite, "make_words", lambda: WORDS)
        self.patch(ShortInvites, "_free_number", lambda short_invites: NUMBER)

    def offer(self, connection: AccountConnection | None = None, link: InviteLink | None = None) -> Deferred[None]:
        """Offer them."""
        offering = Deferred.fromCoroutine(offer_words(connection or self.ada.connection, link or self.link, 5))
        self.place.settle(1.5)
        return offering

    def use(self, words: str = WORDS) -> InviteLink | Refusal:
        """Somebody uses them."""
        results: list[InviteLink | Refusal] = []
        MemoryDialer(self.place, Newcomer(NUMBER, words.encode(), results.append), print, False).start()
        self.place.settle()
        return results[0]

    def test_used(self) -> None:
        """The words are shown with the command that takes them; the offer ends when they were used, and says so."""
        offered = self.offer()
        self.assertIn(f"securemsg join example {NUMBER}-{WORDS} NAME", self.said[1])
        self.assertIn("while this stays open", self.said[2])
        self.assertNoResult(offered)
        self.assertEqual(self.use(), self.link)
        self.successResultOf(offered)
        self.assertEqual(self.said[3:], ["Somebody with these words has the invite now."])

    def test_guessed(self) -> None:
        """Other words end it, too; the warning has said why."""
        offered = self.offer()
        self.use(WORDS.replace("able", "acid"))
        self.successResultOf(offered)
        self.assertEqual(len(self.said), 3)

    def test_over(self) -> None:
        """So do ten minutes."""
        offered = self.offer()
        self.place.clock.pump([1.0] * (CODE_LIFETIME + 1))
        self.successResultOf(offered)
        self.assertIn("10 minutes are over", self.said[3])

    def test_replaced(self) -> None:
        """So do newer words, which another process of the profile has opened."""
        offered = self.offer()
        self.offer(self.place.beside(self.ada))
        self.successResultOf(offered)
        self.assertEqual(sum("newer ones" in line for line in self.said), 1)

    def test_earlier_end(self) -> None:
        """The end of older words is none of these, not even if they had the same number."""
        self.successResultOf(self.offer(self.place.beside(self.ada)))
        self.use()
        self.said.clear()
        self.assertNoResult(self.offer())

    def test_connection_lost(self) -> None:
        """So does the end of the connection."""
        offered = self.offer()
        assert self.ada.dialer is not None
        assert self.ada.dialer.stream is not None
        self.ada.dialer.stream.close("lost")
        self.place.settle(1)
        self.successResultOf(offered)
        self.assertIn("The connection was lost", self.said[3])

    def test_other_process(self) -> None:
        """Where another process has the connection, the words work while that one runs, and nothing waits here."""
        self.successResultOf(self.offer(self.place.beside(self.ada)))
        self.assertIn("while your chat, recv --follow or bot stays open", self.said[2])
        self.assertEqual(self.use(), self.link)

    def test_port(self) -> None:
        """A port is shown where it is not the usual one."""
        self.offer(link=InviteLink("::1", 9000, self.link.pin))
        self.assertIn("securemsg join [::1]:9000 ", self.said[1])

    def test_older_server(self) -> None:
        """A server that does not know short invites is not mentioned."""
        assert self.ada.dialer is not None
        assert self.ada.dialer.stream is not None
        self.ada.dialer.stream.connection.has_short_invites = False
        self.successResultOf(self.offer())
        self.assertEqual(self.said, [])

    def test_refused(self) -> None:
        """If the server has no number, the long invite stands alone, and the reason is said."""
        commands = self.place.server.commands[Role.DEVICE]
        assert isinstance(commands, dict)
        commands[OpenCode] = _refuse
        self.successResultOf(self.offer())
        self.assertEqual(self.said, ["There is no short invite now: too many short invites are open on the server."])


def _refuse(connection: ClientConnection, message: object) -> None:
    """Refuse a number."""
    raise Refusal("too-many-codes")


class JoinTests(CommandLineCase):
    """What C{join} makes of its arguments, before it needs a server."""

    def assert_refused(self, code: str, *arguments: str) -> str:
        """It is wrong usage, and makes no profile; what it says."""
        status, out, err = self.run_line("--profile", str(self.profile), "join", *arguments)
        self.assertEqual((status, out, self.profile.exists()), (Exit.USAGE, "", False), err)
        self.assert_one_line(err, code)
        return err

    def test_no_name(self) -> None:
        """Without a name it says what is wanted."""
        for arguments in ((), ("example",), ("example", f"{NUMBER}-{WORDS}")):
            self.assertIn("HOST[:PORT] NUMBER-WORDS NAME", self.assert_refused("usage", *arguments))

    def test_mistyped(self) -> None:
        """A word that there is not is corrected, and nothing is sent; also without quotes, and from standard input."""
        bad = f"7-{WORDS.replace('ability', 'abilty')}"
        self.assertIn("ability?", self.assert_refused("bad-invite", "example", bad, "bob"))
        self.assertIn("ability?", self.assert_refused("bad-invite", "example", *bad.split("-"), "bob"))
        self.patch(sys, "stdin", io.StringIO(bad + "\n"))
        self.assertIn("ability?", self.assert_refused("bad-invite", "example", "-", "bob"))

    def test_not_a_host(self) -> None:
        """What is no host is refused, and not repeated: it may be a part of an invite."""
        for where in (str(LINK), "a b", "example:0", "1.2.3", "-x"):
            said = self.assert_refused("bad-invite", "--", where, f"{NUMBER}-{WORDS}", "bob")
            self.assertNotIn(where, said)

    def test_not_text(self) -> None:
        """Nor is what is not UTF-8."""
        self.patch(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff"), "utf-8"))
        self.assert_refused("bad-invite", "example", "-", "bob")

    def test_address(self) -> None:
        """The port may be given with the host or as an option, or is the usual one; both are asked over TCP."""
        asked: list[tuple[object, ...]] = []

        def run(settings: object, short: join._ShortInvite, *others: object) -> int:
            asked.append((str(short.server), short.number, short.words, short.server.post_quantum))
            return Exit.REFUSED

        self.patch(join, "_join_by_words", run)
        for where in ("example", "example:9000", "[::1]:9000", "::1 --port 9000", "example --require-pq"):
            self.run_line("--profile", str(self.profile), "join", *where.split(), f"{NUMBER}-{WORDS}", "bob")
        short = (NUMBER, WORDS)
        self.assertEqual(
            asked,
            [
                ("example:8443", *short, False),
                ("example:9000", *short, False),
                ("[::1]:9000", *short, False),
                ("[::1]:9000", *short, False),
                ("example:8443", *short, True),
            ],
        )
        self.assertNotIn("abandon", repr(join._ShortInvite(None, *short)))  # type: ignore[arg-type]


def finish(work: Callable[[object], Coroutine[Deferred[int], object, int]], **options: bool) -> int:
    """In the place of a reactor."""
    results: list[int | Failure] = []
    Deferred.fromCoroutine(work(None)).addBoth(results.append)
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]


class FetchedTests(CommandLineCase):
    """What becomes of an invite that words stood for."""

    link = LINK

    def setUp(self) -> None:
        """The server passes it on; the profile is another user's."""
        super().setUp()
        self.fetches = 0
        self.problem = ""
        self.patch(join, "dial_server", lambda reactor, server: None)
        self.patch(join, "fetch_invite", self.fetch)
        self.patch(join, "run", finish)

    async def fetch(self, *arguments: object) -> InviteLink:
        """In the place of a server."""
        self.fetches += 1
        if self.problem:
            raise error_for(self.problem)
        return self.link

    def join(self, *options: str) -> tuple[int, str, str]:
        """Join with words."""
        return self.run_whole("--profile", str(self.profile), "join", "example:9000", f"{NUMBER}-{WORDS}", "ben", *options)

    def test_kept(self) -> None:
        """If the rest fails, the invite is printed, for the words are used up; with the address that was just used."""

        def fail(*arguments: object) -> None:
            raise error_for("other-server")

        self.patch(join, "prepare", fail)
        expected = str(evolve(LINK, host="example", port=9000))
        status, out, err = self.join()
        self.assertEqual((status, out), (Exit.REFUSED, expected + "\n"))
        self.assertIn("The words are used up, but the invite above", err)
        self.assertIn("[other-server]", err)
        status, out, err = self.join("--json")
        self.assertEqual((json.loads(out), json.loads(err)["code"]), ({"invite": expected}, "other-server"))

    def test_other_name(self) -> None:
        """In a folder with the profile of another name the words are not sent."""
        prepare(Settings(profile=self.profile), LINK, "ada")
        status, out, err = self.join()
        self.assertEqual((status, out, self.fetches), (Exit.REFUSED, "", 0))
        self.assert_one_line(err, "other-name")

    def test_joined(self) -> None:
        """Nor where this one has joined: they stay good for somebody else."""
        prepare(Settings(profile=self.profile), LINK, "ben")
        self.change(registered=True)
        status, out, _ = self.join()
        self.assertEqual((status, out.startswith("ben joined"), self.fetches), (Exit.DONE, True, 0))

    def test_interrupted(self) -> None:
        """A join that was interrupted after the words were used goes on with the invite that they stood for."""
        prepare(Settings(profile=self.profile), evolve(LINK, host="kept"), "ben")
        connected: list[str] = []

        async def connect(context: CommandContext, reactor: object, work: object) -> int:
            connected.append(context.where)
            self.change(registered=True)
            return Exit.DONE

        self.patch(CommandContext, "connected", connect)
        self.problem = "timeout"
        self.assertEqual((self.join()[0], connected), (Exit.NOT_CONNECTED, []))
        self.problem = "no-such-code"
        status, _, _ = self.join()
        self.assertEqual((status, [where.partition(":")[0] for where in connected]), (Exit.DONE, ["kept"]))

    def change(self, **changes: Any) -> None:
        """Change the profile that is there."""
        store = open_profile(self.profile, open_vault(self.profile, None))
        with store.writing() as records:
            profile = load_profile(records)
            assert profile is not None
            save_profile(records, evolve(profile, **changes))
            for bucket, order, _ in records.scan(OUTBOX):
                records.delete(OUTBOX, bucket, order)
        store.close()

    def test_invalid_key(self) -> None:
        """One with a key in it that is none is refused, as if it had been given."""
        self.link = evolve(LINK, inviter="bob", inviter_identity=b"\xff" * 32)
        status, out, err = self.join()
        self.assertEqual((status, out), (Exit.USAGE, ""))
        self.assert_one_line(err, "bad-invite")


class RefusedTests(CommandLineCase):
    """The server has nothing for the words."""

    def test_nothing_made(self) -> None:
        """Then no profile is begun."""

        async def fetch(*arguments: object) -> InviteLink:
            raise error_for("no-such-code")

        self.patch(join, "dial_server", lambda reactor, server: None)
        self.patch(join, "fetch_invite", fetch)
        self.patch(join, "run", finish)
        status, _, err = self.run_line("--profile", str(self.profile), "join", "example", f"{NUMBER}-{WORDS}", "ben")
        self.assertEqual((status, self.profile.exists()), (Exit.REFUSED, False))
        self.assert_one_line(err, "no-such-code")
