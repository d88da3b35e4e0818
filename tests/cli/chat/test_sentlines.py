"""How far our own messages have come, at a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, succeed

from securemsg.cli.chat.conversation import Chat, ChatOptions
from securemsg.cli.chat.screen import Screen
from securemsg.cli.output import always_continue
from securemsg.client import messages
from tests.cli.chat.test_conversation import ChatCase


class SentLinesCase(ChatCase):
    """Ada looks at a screen."""

    def setUp(self) -> None:
        """Open the chat there."""
        super().setUp()
        self.screen = Screen(lambda: (80, 24), has_colour=False)
        self.moves: list[str] = []
        self.chat = Chat(
            self.ada.context,
            self.ada.connection,
            "ben",
            write=self.write_data,
            notify=lambda text: self.put(self.notes, text),
            move=lambda text: self.put(self.moves, text),
            columns=lambda: 80,
            options=ChatOptions(screen=self.screen),
        )

    def write_data(
        self, *lines: str, written: Callable[[int], bool] = always_continue, own: Sequence[bytes] = ()
    ) -> Deferred[None]:
        """Show lines."""
        for number, line in enumerate(lines):
            self.data.append(line)
            self.screen.shown(line, own[number] if own else b"")
        return succeed(None)

    def wait(self, *texts: str) -> list[bytes]:
        """Write messages that are not sent yet."""
        store = self.ada.context.store
        return [messages.compose(store, "ben", text, now=self.place.now()) for text in texts]

    def open(self) -> None:
        """Show what was said last."""
        self.successResultOf(Deferred.fromCoroutine(self.chat.open()))


class FollowTests(SentLinesCase):
    """Marks change in place."""

    def test_earlier(self) -> None:
        """Also before those lines that were shown when the chat was opened."""
        self.wait("one", "two")
        self.open()
        self.assertEqual([line[-11:] for line in self.data], ["00 ada: one", "00 ada: two"])
        self.show()
        for mark, row in (("✓ ", 2), ("✓ ", 1)):
            self.assertIn(f"\x1b[{row}A\r{mark}\x1b[{row}B\r", self.moves)
        self.assertEqual(self.notes, [])

    def test_withdrawn(self) -> None:
        """A message that was withdrawn has not failed."""
        [message_id] = self.wait("one")
        self.open()
        messages.withdraw(self.ada.context.store, message_id)
        self.successResultOf(Deferred.fromCoroutine(self.chat.show_new()))
        self.assertEqual(self.moves, ["\x1b[1A\r– \x1b[1B\r"])
        self.open()
        self.assertRegex(self.data[-1], r"^–  \d\d:\d\d ada \(withdrawn\): one$")
