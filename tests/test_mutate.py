"""The list of guards: it fits the product as it is, and covers it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.mutate.__main__ import GUARDS, ROOT
from tests.mutate.mutation import Guard, Stale
from tests.test_threat_model import missing

# Fewer would leave something out.
ENOUGH = 150


class ListTests(SynchronousTestCase):
    """What C{make mutate} goes by."""

    def test_guards(self) -> None:
        """Each stands in the product, once, and something else without it; none is listed twice."""
        self.assertGreater(len(GUARDS), ENOUGH)
        self.assertEqual(len({(guard.file, guard.source, guard.replacement) for guard in GUARDS}), len(GUARDS))
        for guard in GUARDS:
            text = (ROOT / "securemsg" / guard.file).read_text("utf-8")
            self.assertNotEqual(guard.remove(text), text, guard)

    def test_tests(self) -> None:
        """Each names a test, and that exists."""
        self.assertEqual(missing(" ".join(f"`{guard.test}`" for guard in GUARDS)), [])

    def test_stale(self) -> None:
        """A guard that is gone, or stands in two places, is not passed over."""
        guard = Guard("errors.py", "if wrong:", "if False:", "")
        self.assertEqual(guard.remove("if wrong: stop"), "if False: stop")
        for text in ("if bad: stop", "if wrong: stop; if wrong: stop"):
            self.assertRaises(Stale, guard.remove, text)
