"""A guard of the product, and the test that fails without it."""

from __future__ import annotations

from attrs import frozen


class Stale(Exception):
    """The product has changed, and its guard is not where the list says."""


@frozen
class Guard:
    """
    A line of the product, or a part of one, that keeps an attacker out.

    @ivar file: below C{securemsg/}.
    @ivar source: the guard, with as much around it as makes it the only one of its kind in the file.
    @ivar replacement: the same without the guard.
    @ivar test: that must fail then: a node id of pytest.
    """

    file: str
    source: str
    replacement: str
    test: str

    def remove(self, text: str) -> str:
        """
        The text of the file without the guard.

        @raise Stale: the guard is not there, or there are several.
        """
        count = text.count(self.source)
        if count != 1:
            raise Stale(f"stands in the file {count} times instead of once")
        return text.replace(self.source, self.replacement)


def guards(file: str, tests: str, *rows: tuple[str, str, str]) -> list[Guard]:
    """
    The guards of a file.

    @param tests: the file with their tests, as a rule.
    @param rows: source, replacement and test: C{class::test} of that file, or a whole node id.
    """
    return [Guard(file, source, new, test if ".py::" in test else f"{tests}::{test}") for source, new, test in rows]
