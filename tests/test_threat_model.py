"""The threat model keeps its word: every I{cannot} names its tests, and they exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "threat-model.md"

ADVERSARIES = ("The network", "The server", "A peer", "A holder of the key file", "A stolen device", "A restored backup")
HOLES = (
    "no MAC",
    "IV",
    "hard-coded key",
    "certificate checking",
    "client id",
    "deleted before",
    "no framing",
    "accept loop",
    "bad datagram",
    "private key",
    "plaintext in the log",
)
NAMED = re.compile(r"`(tests/[^`]*)`")
WELL_NAMED = re.compile(r"tests/[a-z_/]+\.py::\w+::test_\w+")


def sections(text: str, marks: str) -> dict[str, str]:
    """
    A text by its headings of one level.

    @param marks: what such a heading begins with, as C{##}.
    """
    parts = re.split(rf"^{marks} (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def points(text: str) -> list[str]:
    """The items of a list, each with the lines that continue it."""
    return [item.strip() for item in re.split(r"^- ", text, flags=re.MULTILINE)[1:]]


def rows(text: str) -> list[list[str]]:
    """The cells of a table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def untested(text: str) -> list[str]:
    """The I{cannots} and holes of a document that name no test."""
    found = []
    chapters = sections(text, "##")
    for adversary in ADVERSARIES:
        cannots = points(sections(chapters[adversary], "###")["It cannot"])
        found += [cannot for cannot in cannots if not NAMED.search(cannot)]
    found += [row[0] for row in rows(chapters["Holes of those before"]) if not NAMED.search(row[-1])]
    return found


def names_in(path: Path) -> set[str]:
    """
    The tests of a file as C{class::test}, those that a class inherits from another of the same file included.
    """
    classes = {node.name: node for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.ClassDef)}

    def names(node: ast.ClassDef) -> set[str]:
        """The tests of one class."""
        found = {item.name for item in node.body if isinstance(item, ast.FunctionDef) and item.name.startswith("test_")}
        for parent in node.bases:
            if isinstance(parent, ast.Name) and parent.id in classes:
                found |= names(classes[parent.id])
        return found

    return {f"{name}::{test}" for name, node in classes.items() for test in names(node)}


def missing(text: str) -> list[str]:
    """The tests that a document names and that do not exist."""
    known: dict[str, set[str]] = {}
    found = []
    for name in NAMED.findall(text):
        file, _, test = name.partition("::")
        path = ROOT / file
        if file not in known:
            known[file] = names_in(path) if path.is_file() else set()
        if not WELL_NAMED.fullmatch(name) or test not in known[file]:
            found.append(name)
    return found


class DocumentTests(SynchronousTestCase):
    """The document as it stands."""

    def setUp(self) -> None:
        """Read it."""
        self.text = DOCUMENT.read_text("utf-8")

    def test_complete(self) -> None:
        """Each adversary has both lists, and each hole its row."""
        chapters = sections(self.text, "##")
        for adversary in ADVERSARIES:
            lists = sections(chapters[adversary], "###")
            self.assertEqual(list(lists), ["It can", "It cannot"], adversary)
            for title, text in lists.items():
                self.assertGreater(len(points(text)), 2, f"{adversary}: {title}")
        holes = [row[0] for row in rows(chapters["Holes of those before"])]
        self.assertEqual(len(holes), len(HOLES))
        for hole in HOLES:
            self.assertEqual(len([name for name in holes if hole in name]), 1, hole)

    def test_every_cannot_is_tested(self) -> None:
        """No I{cannot} and no hole is without a test."""
        self.assertEqual(untested(self.text), [])

    def test_every_test_exists(self) -> None:
        """Every test that is named exists."""
        self.assertEqual(missing(self.text), [])


class CheckerTests(SynchronousTestCase):
    """The checks bite."""

    def test_untested(self) -> None:
        """A I{cannot} and a hole without a test are found, wherever their lines break."""
        text = DOCUMENT.read_text("utf-8").replace("### It cannot\n", "### It cannot\n\n- fly,\n  or swim.\n", 1)
        self.assertEqual(untested(text), ["fly,\n  or swim."])
        self.assertEqual(untested(f"{text}| a lid | a pot | none |\n"), ["fly,\n  or swim.", "a lid"])

    def test_missing(self) -> None:
        """A test that was renamed, a class, a file that is gone, and a name that is none are found."""
        here = "tests/test_threat_model.py"
        good = f"`{here}::CheckerTests::test_missing`"
        bad = [f"{here}::CheckerTests::test_nothing", f"{here}::Tests::test_missing", "tests/test_gone.py::A::test_b", here]
        self.assertEqual(missing(good), [])
        self.assertEqual(missing(" ".join(f"`{name}`" for name in bad)), bad)

    def test_inherited(self) -> None:
        """A class has the tests that it inherits."""
        self.assertIn("MessagesInMemoryTests::test_delivered", names_in(ROOT / "tests/storage/sqlite/test_mailboxes.py"))
