"""The names that C{docs/embedding.md} promises are those that there are."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from inspect import Parameter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from securemsg import bot
from securemsg.account.errors import WORDS
from securemsg.account.reader import PAGE
from securemsg.bot import Bot, Received, Sent, open_bot
from securemsg.client import events, messages
from securemsg.client.agent import Agent
from securemsg.protocol.envelope import Kind

TEXT = (Path(__file__).parent.parent / "docs" / "embedding.md").read_text("utf-8")
PROMISED = re.findall(r"^\| `([\w.]+)\((.*)\)` \|", TEXT, re.MULTILINE)
# What a name begins with, and where it is to be found.
OPEN = SimpleNamespace(open_bot=open_bot, Agent=Agent)
OWNERS: dict[str, object] = {"": OPEN, "bot": Bot, "agent": Agent, "messages": messages}


def found(name: str) -> Callable[..., Any]:
    """What a name of the document stands for."""
    owner, _, last = name.rpartition(".")
    thing: Callable[..., Any] = getattr(OWNERS[owner], last)
    return thing


def parameters(call: Callable[..., Any]) -> list[Parameter]:
    """What something takes."""
    return [parameter for name, parameter in inspect.signature(call).parameters.items() if name != "self"]


def promised(text: str) -> list[Parameter]:
    """What it takes according to the document."""
    scope: dict[str, Any] = {"OSError": OSError}
    exec(f"def call({text}): pass", scope)  # noqa: S102 - a line of our own document
    return parameters(scope["call"])


def kept(told: list[Parameter], real: list[Parameter]) -> bool:
    """
    Whether every call that the document allows is possible: what it does not tell of may only come after what it tells, or by
    keyword, and has a default.
    """
    places, own = ([p for p in found if p.kind is not Parameter.KEYWORD_ONLY] for found in (told, real))
    names = {parameter.name: parameter for parameter in real}
    return (
        [(p.name, p.default) for p in places] == [(p.name, p.default) for p in own][: len(places)]
        and all(p.name in names and names[p.name].default == p.default for p in told)
        and all(p.default is not Parameter.empty for p in real if p.name not in {t.name for t in told})
    )


class NameTests(SynchronousTestCase):
    """Names and parameters."""

    def test_parameters(self) -> None:
        """Everything promised can be called as it is told."""
        self.assertGreater(len(PROMISED), 15)
        for name, text in PROMISED:
            self.assertTrue(kept(promised(text), parameters(found(name))), f"{name}{inspect.signature(found(name))}")

    def test_breaches(self) -> None:
        """
        A parameter that is gone, renamed, moved, changed in its default or new without one breaks the promise; one that is new
        with a default does not.
        """
        told = promised("a, b=1, *, c=2")
        for text in ("a, *, c=2", "a, d=1, *, c=2", "b, a=1, *, c=2", "a, b=2, *, c=2", "a, b=1, *, c=2, d", "a, b=1"):
            self.assertFalse(kept(told, promised(text)), text)
        for text in ("a, b=1, *, c=2", "a, b=1, d=3, *, c=2", "a, b=1, *, d=3, c=2"):
            self.assertTrue(kept(told, promised(text)), text)

    def test_all_of_bot(self) -> None:
        """A bot has no public name that is not told of."""
        told = set(re.findall(r"^\| `bot\.(\w+)", TEXT, re.MULTILINE))
        self.assertEqual({name for name in vars(Bot) if not name.startswith("_")}, told)

    def test_one_import(self) -> None:
        """All that the public module offers is named, and its programs import nothing else of the package."""
        for name in bot.__all__:
            self.assertIn(f"`{name}`", TEXT)
        programs = "".join(re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE))
        self.assertEqual(set(re.findall(r"^(?:from|import) (securemsg\S*)", programs, re.MULTILINE)), {"securemsg.bot"})

    def test_fields(self) -> None:
        """Messages have the fields that are told of."""
        came, _, went = TEXT.partition("A received message (`Received`")[2].partition("`send` returns")
        for text, kind in ((came, Received), (went.partition("\n\n")[0], Sent)):
            names = {field.name for field in attrs.fields(kind)} - {"seq", "conversation"}
            missing = [name for name in names if f"`{name}`" not in text and name not in ("kind", "suite", "text", "device")]
            self.assertEqual(missing, [])

    def test_events(self) -> None:
        """All events are told of."""
        for event in (events.Ready, events.Drained, events.Changed, events.Warned, events.Failed, events.Disconnected):
            self.assertIn(f"`{event.__name__}`", TEXT)

    def test_codes(self) -> None:
        """The codes in the table of errors are those of the program."""
        rows = [line for line in TEXT.partition("## Errors")[2].partition("## Ending")[0].splitlines() if line[:3] == "| `"]
        codes = {code for row in rows for code in re.findall(r"`([a-z]+(?:-[a-z0-9]+)+|removed|replaced|conflict)`", row)}
        self.assertGreater(len(codes), 15)
        self.assertEqual(codes - set(WORDS), set())

    def test_numbers(self) -> None:
        """Numbers that are told are those of the code."""
        self.assertIn(f"at most {PAGE} messages of 48 KiB", TEXT)
        self.assertIn(f"({Kind.TEXT.value} a text, {Kind.ANSWER.value} an answer;", TEXT)
