"""Who is notified of what, and how much at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred

from securemsg.cli import notifier
from securemsg.cli.context import CommandContext
from securemsg.cli.notifier import CAPACITY, MAX_WAITING, Notifier
from securemsg.cli.settings import Settings
from securemsg.client.state import preferences, settings
from securemsg.client.state.conversations import direct
from securemsg.client.state.settings import UserSettings
from securemsg.responders.errors import AnswerFailed
from tests.cli.commands.rig import NOW, ProfileCase


class Run:
    """In the place of a command."""

    def __init__(self, runs: list[Run]) -> None:
        self.ended: Deferred[bytes] = Deferred()
        self._runs = runs
        self.argv: list[str] = []
        self.environment: dict[str, str] = {}

    def start(self, argv: list[str], folder: object, environment: dict[str, str]) -> None:
        """It starts."""
        self.argv, self.environment = argv, environment
        self._runs.append(self)


class Connection:
    """In the place of the connection: its changes are made by hand."""

    is_owner = False

    async def until(self, check: Callable[[], None], timeout: None) -> None:
        """Wait for ever."""
        self.look = check
        await Deferred()


class NotifierTests(ProfileCase):
    """Ada is away from her terminal, and runs a command for each message."""

    def setUp(self) -> None:
        """One message has come before."""
        super().setUp()
        self.runs: list[Run] = []
        self.said: list[str] = []
        self.patch(notifier, "CommandRun", lambda *_: Run(self.runs))
        self.choose(notify="tell 'all of us'")
        self.add(direct("ben"), "before")
        context = CommandContext(Settings(), self.folder, self.store, self.profile, "", lambda: NOW)
        self.notifier = Notifier(context, None, self.said.append)

    def choose(self, **fields: Any) -> None:
        """What she has chosen."""
        with self.store.writing() as records:
            settings.put(records, replace(UserSettings(), **fields))

    def come(self, *texts: str) -> None:
        """Messages come, and she is told of them."""
        for text in texts:
            self.add(direct("ben"), text)
        self.notifier.check()

    def test_told(self) -> None:
        """She is told once of each that comes, by whom, and not what."""
        self.come("secret")
        self.notifier.check()
        [run] = self.runs
        self.assertEqual(run.argv, ["tell", "all of us"])
        self.assertEqual([run.environment[f"SECUREMSG_{name}"] for name in ("FROM", "CONVERSATION")], ["ben", "ben"])
        self.assertNotIn("secret", str(run.environment))

    def test_by_its_owner(self) -> None:
        """Another process that has the connection tells her; whoever has it later, of what comes then."""
        connection = Connection()
        self.notifier.watch(connection)  # type: ignore[arg-type]
        self.add(direct("ben"), "told elsewhere")
        connection.look()
        connection.is_owner = True
        connection.look()
        self.assertEqual(self.runs, [])
        self.add(direct("ben"), "told here")
        connection.look()
        self.assertEqual(len(self.runs), 1)

    def test_environment(self) -> None:
        """The command gets what it is for, and nothing else of hers."""
        self.come("hello")
        known = {*notifier.PASSED_ON, "LANG", "SECUREMSG_FROM", "SECUREMSG_CONVERSATION", "SECUREMSG_ID"}
        self.assertLessEqual(set(self.runs[0].environment), known)
        self.assertEqual([name for name in notifier.PASSED_ON if name.startswith("SECUREMSG")], [])

    def test_text(self) -> None:
        """Where she wants it, with the text."""
        self.choose(notify="tell", notify_text=True)
        self.come("not so\0secret")
        self.assertEqual(self.runs[0].environment["SECUREMSG_TEXT"], "not so\ufffdsecret")

    def test_muted(self) -> None:
        """Not of those whom she has muted."""
        with self.store.writing() as records:
            preferences.put(records, "ben", replace(preferences.NONE, is_muted=True))
        self.come("hello")
        self.assertEqual(self.runs, [])

    def test_none(self) -> None:
        """Nor where she wants no command."""
        self.choose()
        self.come("hello")
        self.assertEqual(self.runs, [])

    def test_bounded(self) -> None:
        """No more run at once, and no more wait, than has a limit; that is said once."""
        self.come(*(f"{number}" for number in range(CAPACITY + MAX_WAITING + 5)))
        self.assertEqual((len(self.runs), len(self.said)), (CAPACITY, 1))
        for run in self.runs:
            if not run.ended.called:
                run.ended.callback(b"")
        self.assertEqual(len(self.runs), CAPACITY + MAX_WAITING)

    def test_failed(self) -> None:
        """That a command fails is said once, and the next is run."""
        self.come("one", "two")
        for run in self.runs:
            run.ended.errback(AnswerFailed("not-started", "No such file"))
        self.come("three")
        self.assertEqual((len(self.runs), len(self.said)), (3, 1))
        self.assertIn("tell failed for a notification: not-started (No such file)", self.said[0])
        self.runs[-1].ended.callback(b"")

    def test_desktop(self) -> None:
        """The desktop shows who has written."""
        self.choose()
        context = CommandContext(Settings(), self.folder, self.store, self.profile, "", lambda: NOW)
        self.notifier = Notifier(context, None, self.said.append, on_desktop=True)
        self.come("secret")
        self.assertEqual(self.runs[0].argv, ["notify-send", "--app-name=securemsg", "Message from ben"])
