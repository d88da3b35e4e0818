"""
What a chat shows at a terminal: short times, a line when the day changes, names in colour, and how far our own messages have
come, which changes in place as long as they are on the screen.
"""

from __future__ import annotations

import re
import zlib
from collections import deque
from collections.abc import Callable
from datetime import date

from attrs import define, field, frozen

from securemsg.cli.times import local
from securemsg.cli.wrapping import MIN_COLUMNS, block, fill_all, width_of
from securemsg.client.escape import escape
from securemsg.client.messages import Line

# How far a message of ours has come, in two columns before its time; the second for terminals that know no more than ASCII.
WAITING, ACCEPTED, DELIVERED, READ, FAILED, WITHDRAWN = "waiting", "accepted", "delivered", "read", "failed", "withdrawn"
MARKS = {WAITING: "· ", ACCEPTED: "✓ ", DELIVERED: "✓✓", READ: "✓r", FAILED: "✗ ", WITHDRAWN: "– "}
ASCII_MARKS = {WAITING: ". ", ACCEPTED: "+ ", DELIVERED: "++", READ: "+r", FAILED: "x ", WITHDRAWN: "- "}
NO_MARK = "  "
# Of names: without black, white and the colours that terminals show too dark or too bright.
COLOURS = (31, 32, 33, 34, 35, 36)
# Rows that the prompt, the toolbar and what is typed take at least.
OF_THE_PROMPT = 3
# Blocks that are remembered: no screen is higher.
REMEMBERED = 500
_COLOUR = re.compile(r"\x1b\[\d+m")


@frozen
class Block:
    """
    What was shown in one go.

    @ivar rows: of the terminal that it takes.
    @ivar message_id: of ours, whose mark stands in its first two columns; empty: none does.
    """

    rows: int
    message_id: bytes = b""


@define(eq=False)
class Screen:
    """
    The lines of a chat, and where they stand.

    @ivar size: columns and rows of the terminal now.
    @ivar has_colour: whether names are in colour; C{is_unicode}: whether marks may be more than ASCII.
    @ivar moves: whether the cursor can be moved, so that marks change in place.
    """

    size: Callable[[], tuple[int, int]]
    has_colour: bool = True
    is_unicode: bool = True
    moves: bool = True
    _shown: deque[Block] = field(factory=lambda: deque(maxlen=REMEMBERED), init=False)
    # The size when they were shown, and the day of the last line.
    _size_then: tuple[int, int] = field(default=(0, 0), init=False)
    _day: date | None = field(default=None, init=False)

    def line(self, at: float, sender: str, text: str, *, mark: str = "", own: str = "") -> str:
        """
        A message, with the date above it if it is the first of its day.

        @param mark: a note about the sender, such as C{unverified}; C{own}: how far a message of ours has come.
        """
        marks = MARKS if self.is_unicode else ASCII_MARKS
        head = f"{marks[own] if own else NO_MARK} {self._time(at)} "
        whom = escape(f"{sender} ({mark})" if mark else sender)
        shown = block(f"{head}{whom}: ", text, self.size()[0])
        if self.has_colour:
            shown = shown.replace(f"{head}{whom}", f"{head}{_coloured(whom, sender)}", 1)
        return self._dated(at, shown)

    def event(self, at: float, text: str) -> str:
        """Something that has happened."""
        return self._dated(at, block(f"{NO_MARK} {self._time(at)} -- ", text, self.size()[0]))

    def note(self, text: str) -> str:
        """A line of ours, broken between words."""
        return fill_all(text, self.size()[0])

    def shown(self, text: str, message_id: bytes = b"") -> None:
        """
        Remember what is shown.

        @param message_id: of ours, which the last of these lines begins.
        """
        if self._size_then != self.size():
            self.forget()
            self._size_then = self.size()
        if message_id and text.startswith("--"):
            # The date stands above it.
            first, _, text = text.partition("\n")
            self._shown.append(Block(self._rows(first)))
        self._shown.append(Block(self._rows(text), message_id))

    def rows_of(self, line: Line) -> int:
        """About how many rows a message takes."""
        return self._rows(f"{NO_MARK} 00:00 {line.conversation.name}: {line.text}")

    def _rows(self, text: str) -> int:
        """How many rows of the terminal a text takes."""
        columns = max(self.size()[0], 1)
        return sum(max(-(-width_of(_COLOUR.sub("", row)) // columns), 1) for row in text.split("\n"))

    def forget(self) -> None:
        """Something else was shown, or the lines have moved: nothing that stands above can be changed any more."""
        self._shown.clear()

    def change(self, message_id: bytes, state: str) -> str:
        """What changes the mark of a message wherever it stands; empty: it is not on the screen any more."""
        if not self.moves or self._size_then != self.size() or self.size()[0] < MIN_COLUMNS:
            return ""
        mark, moves, rows = (MARKS if self.is_unicode else ASCII_MARKS)[state], "", 0
        for each in reversed(self._shown):
            rows += each.rows
            if rows > self.size()[1] - OF_THE_PROMPT:
                break
            if each.message_id == message_id:
                moves += f"\x1b[{rows}A\r{mark}\x1b[{rows}B\r"
        return moves

    def _time(self, at: float) -> str:
        return f"{local(at):%H:%M}"

    def _dated(self, at: float, line: str) -> str:
        """A line with the date above it, if that is another than before."""
        today = local(at).date()
        if self._day == today:
            return line
        self._day = today
        return f"-- {_day(today)}\n{line}"


def _day(day: date) -> str:
    return f"{day:%A}, {day.day} {day:%B %Y}"


def _coloured(shown: str, name: str) -> str:
    """In the colour of this name, which is the same each time."""
    return f"\x1b[{COLOURS[zlib.crc32(name.encode()) % len(COLOURS)]}m{shown}\x1b[0m"
