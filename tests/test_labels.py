"""What tells signatures, digests and keys apart: a label for each use, and a home for each label."""

from __future__ import annotations

import ast
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

PACKAGE = Path(__file__).resolve().parent.parent / "securemsg"
PREFIX = b"securemsg/1 "
# Labels begin with the protocol's name and version; the profile, which is no part of the protocol, has labels of its own, and
# the specification of PQXDH says what its label looks like.
KINDS = (PREFIX, b"securemsg profile", b"securemsg_")


def sources() -> dict[str, ast.Module]:
    """The syntax trees of the package, by path."""
    return {str(path.relative_to(PACKAGE)): ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


class LabelTests(SynchronousTestCase):
    """Two uses with one label would let a signature made for one pass for the other."""

    def test_distinct(self) -> None:
        """Every label stands in one place of the whole package: no two uses share one, and none is written out twice."""
        homes: dict[bytes, list[str]] = {}
        for path, tree in sources().items():
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, bytes) and node.value.startswith(KINDS):
                    homes.setdefault(node.value, []).append(f"{path}:{node.lineno}")
        self.assertTrue(len(homes) > 15)
        self.assertEqual({label: places for label, places in homes.items() if len(places) != 1}, {})

    def test_no_prefix(self) -> None:
        """Of two labels none begins the other, so that they differ also where they are not length-prefixed."""
        labels = [
            node.value
            for tree in sources().values()
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, bytes) and node.value.startswith(PREFIX)
        ]
        for label in labels:
            self.assertEqual([other for other in labels if other.startswith(label)], [label])

    def test_used(self) -> None:
        """No label is there for nothing."""
        named: set[str] = set()
        used: set[str] = set()
        for tree in sources().values():
            for node in ast.walk(tree):
                if (
                    isinstance(node, ast.Assign)
                    and isinstance(node.value, ast.Constant)
                    and isinstance(node.value.value, bytes)
                    and node.value.value.startswith(KINDS)
                ):
                    named |= {target.id for target in node.targets if isinstance(target, ast.Name)}
                elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                    used.add(node.id)
                elif isinstance(node, ast.Attribute):
                    used.add(node.attr)
        self.assertTrue(len(named) > 15)
        self.assertEqual(named - used, set())
