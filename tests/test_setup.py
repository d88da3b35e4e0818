"""The compiled build: its classes are those of the sources, written out."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from pathlib import Path
from types import ModuleType
from unittest import skipUnless

import attrs
from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent

EXAMPLE = '''\
from attrs import Factory, define, field
from zope.interface import Interface, implementer
class IThing(Interface):
    """A thing."""
@implementer(
    IThing,
)
@define(eq=False)
class One:
    a: int
    _b: list[int] = field(
        factory=list, repr=False
    )
    # Why.
    c: str | int = field(default=Factory(lambda one: one.a + 1, takes_self=True))
    d: int = field(init=False)
    e: int = field(init=False, default=5)

    def __attrs_post_init__(self) -> None:
        self.d = self.e + 1
@define(eq=False)
class Two(One):
    f: int = 0

    @property
    def last(self) -> int:
        return self.f
'''


def load(name: str, source: str) -> ModuleType:
    """A module with this source, which nobody else sees."""
    module = ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)  # noqa: S102 - our own source
    return module


def parameters(kind: type) -> list[tuple[str, bool]]:
    """The names of a constructor's parameters, and whether they may be left out."""
    return [(one.name, one.default is not one.empty) for one in inspect.signature(kind).parameters.values()]


class WriteOutTests(SynchronousTestCase):
    """How attrs classes are written out."""

    def setUp(self) -> None:
        """Load the build."""
        spec = importlib.util.spec_from_file_location("securemsg_setup", ROOT / "setup.py")
        assert spec is not None and spec.loader is not None, "it is there"
        self.build = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.build)

    def test_example(self) -> None:
        """Constructors do what those of attrs do, and every other line stands where it stood."""
        text = self.build.write_out(EXAMPLE, {})
        before, after = EXAMPLE.splitlines(), text.splitlines()
        for line in ("class One:", "    # Why.", "        self.d = self.e + 1", "class Two(One):", "        return self.f"):
            self.assertEqual(after.index(line), before.index(line))
        plain, real = load("plain", text), load("real", EXAMPLE)
        for module in (plain, real):
            self.assertTrue(module.IThing.implementedBy(module.One))
            for made in (module.One(1), module.Two(1, f=2)):
                self.assertEqual((made.a, made._b, made.c, made.d, made.e), (1, [], 2, 6, 5))
            self.assertEqual(module.Two(1, f=2).last, 2)
            self.assertIsNot(module.One(1)._b, module.One(1)._b)
            other = module.One(3, [4], "x")
            self.assertEqual((other.a, other._b, other.c), (3, [4], "x"))
        self.assertFalse(attrs.has(plain.One))

    @skipUnless(attrs.has(importlib.import_module("securemsg.server.commits").GroupCommit), "the modules are compiled")
    def test_modules(self) -> None:
        """Each class of the modules that are compiled takes what it takes in the sources."""
        known: dict[str, list[str]] = {}
        count = 0
        for name in self.build.COMPILED:
            path = ROOT / "securemsg" / f"{name}.py"
            source = path.read_text("utf-8")
            text = self.build.write_out(source, known)
            real = importlib.import_module(f"securemsg.{name.replace('/', '.')}")
            plain = load(real.__name__, text)
            own = text.partition("\nfrom zope.interface import classImplements")[0]
            self.assertEqual(len(own.splitlines()), len(source.splitlines()))
            self.assertNotIn("@define", text)
            for kind in vars(real).values():
                if isinstance(kind, type) and f"\n@define(eq=False)\nclass {kind.__name__}" in source:
                    self.assertEqual(parameters(vars(plain)[kind.__name__]), parameters(kind), kind)
                    count += 1
        self.assertGreater(count, 15)

    def test_unknown(self) -> None:
        """What cannot be written out stops the build."""
        for source in (
            "@define\nclass A:\n    a: int\n",
            "@define(eq=False, kw_only=True)\nclass A:\n    a: int\n",
            "@define(eq=False)\nclass A:\n    a: int = field(converter=int)\n",
            "@define(eq=False)\nclass A:\n    a: ClassVar[int] = 1\n",
            "@define(eq=False)\nclass A:\n    a: int = Factory(lambda: 1, takes_self=False)\n",
            "@define(eq=False)\nclass A:\n    a: int\n\n    b = 2\n",
            "@define(eq=False)\nclass A:\n    a: int\n    def b(self): pass\n",
        ):
            self.assertRaises(self.build.UnknownForm, self.build.write_out, source, {})
