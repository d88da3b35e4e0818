"""
The picture in the README: the screen of a real chat, through a real daemon, as C{make picture} draws it.

tmux is the terminal; rich draws what stands on its screen. Only times and the safety number differ from one run to the next.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path

from attrs import frozen
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from tests.functional.support import Daemon, Person, Place, environment, until

COLUMNS, ROWS = 88, 17
# Seconds without a change after which a screen stands still.
STILL = 0.5
DARK, LIGHT = (24, 26, 32), (222, 224, 230)
# What is shown has no colours of its own.
THEME = TerminalTheme(DARK, LIGHT, [DARK] + [LIGHT] * 7)
# Rich's own loads a font from elsewhere, which a picture in a web page may not.
FORMAT = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{aria}">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: {char_height}px; \
line-height: {line_height}px; }}
.{unique_id}-title {{ font-family: sans-serif; font-size: 18px; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""
ALT = "A chat in a terminal: alice and bob compare their safety number and talk."


@frozen
class Screen:
    """A terminal of tmux in which somebody works."""

    place: Place
    person: Person

    def start(self) -> None:
        """Open it, with a shell."""
        path = f"{self.place.programs()}:{os.environ['PATH']}"
        settings = (f"PATH={path}", f"SECUREMSG_PROFILE={self.person.profile}")
        size = ("-x", str(COLUMNS), "-y", str(ROWS))
        self._tmux("new-session", "-d", "-s", self.person.name, *size, "env", *settings, "bash", "--norc")
        self._tmux("set-option", "status", "off")
        self.type("PS1='$ '; clear")
        until(lambda: self.content().strip() == "$", f"the shell of {self.person.name}")

    def type(self, text: str) -> None:
        """Type a line."""
        self._tmux("send-keys", "-t", self.person.name, "-l", text)
        self._tmux("send-keys", "-t", self.person.name, "Enter")

    def expect(self, text: str) -> None:
        """Wait until something shows, and the screen stands still."""
        until(lambda: text in self.content(), f"{text!r} on the screen of {self.person.name}")
        before = ""
        while before != self.content():
            before = self.content()
            time.sleep(STILL)

    def content(self, *options: str) -> str:
        """What stands on it."""
        return self._tmux("capture-pane", "-p", "-t", self.person.name, *options)

    def _tmux(self, *arguments: str) -> str:
        """Ask our own server, which has nobody's settings."""
        return subprocess.run(
            ["tmux", "-S", str(self.place.folder / "tmux"), "-f", "/dev/null", *arguments],
            env={**environment(self.place.folder), "LC_ALL": "C.UTF-8"}, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip


def talk(place: Place) -> str:
    """
    Let two people talk.

    @return: what stands on the screen of one of them, with its colours.
    """
    daemon = Daemon(place)
    daemon.start()
    alice, bob = (Person(place, name).join(daemon.invite()) for name in ("alice", "bob"))
    here, there = (Screen(place, person) for person in (alice, bob))
    for screen, other in ((here, "bob"), (there, "alice")):
        screen.start()
        screen.type(f"securemsg chat {other}")
        screen.expect(f"-> {other}>")
    for screen, text, shown in (
        (there, "Hi Alice! Can the server read what we write?", "what we write?"),
        (here, "No, it stores only ciphertext. Call me, and we compare numbers.", "compare numbers."),
        (here, "/verify", "/verify confirm"),
        (here, "/verify confirm", "is verified"),
        (there, "And if it crashes right now?", "right now?"),
        (here, "What it has accepted is on its disk. We lose nothing.", "lose nothing."),
    ):
        screen.type(text)
        here.expect(shown)
    until(lambda: "to be sent" not in here.content(), "an empty outbox")
    shown = here.content("-e", "-N")
    for screen in (here, there):
        screen.type("exit")
        until(lambda screen=screen: screen.content().rstrip().endswith("\n$"), "the end of a chat")  # type: ignore[misc]
    return shown


def draw(screen: str) -> str:
    """A picture of a screen, as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(screen.rstrip("\n")), no_wrap=True, crop=True)
    drawn = console.export_svg(
        title="securemsg chat bob", theme=THEME, code_format=FORMAT.replace("{aria}", ALT), unique_id="chat"
    )
    return "\n".join(line.rstrip() for line in drawn.splitlines()) + "\n"


if __name__ == "__main__":
    _place = Place.make()
    try:
        Path(sys.argv[1]).write_text(draw(talk(_place)), "utf-8")
    finally:
        subprocess.run(["tmux", "-S", str(_place.folder / "tmux"), "kill-server"], check=False)
        _place.forget()
