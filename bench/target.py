"""How a measurement on Twisted waits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet import task
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime

from bench.machine import Unmeasurable

T = TypeVar("T")
# Seconds between two looks at a condition.
LOOK = 0.005
# Connections that are being made at once.
AT_ONCE = 24


@define
class Waiting:
    """
    How a measurement passes time.

    @ivar errors: what went wrong with a connection; the first one ends the measurement.
    """

    reactor: IReactorTime
    errors: list[str] = field(factory=list)

    async def sleep(self, seconds: float) -> None:
        """
        Let the others work.

        @raise Unmeasurable: something went wrong meanwhile.
        """
        await task.deferLater(self.reactor, seconds)
        if self.errors:
            raise Unmeasurable(self.errors[0])

    async def until(self, condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """
        Wait for a condition.

        @raise Unmeasurable: it did not come true in time.
        """
        deadline = self.reactor.seconds() + seconds
        while not condition():
            if self.reactor.seconds() > deadline:
                raise Unmeasurable(f"no end in sight after {seconds:g} s: {what}")
            await self.sleep(LOOK)

    async def each(self, jobs: Iterable[Callable[[], Awaitable[T]]]) -> list[T]:
        """Do all of these, some at once."""
        rest = iter(jobs)
        results: list[T] = []

        async def work() -> None:
            for job in rest:
                results.append(await job())

        workers: list[Deferred[Any]] = [Deferred.fromCoroutine(work()) for _ in range(AT_ONCE)]
        try:
            await gatherResults(workers, consumeErrors=True)
        except Exception as error:
            raise getattr(getattr(error, "subFailure", None), "value", error) from error
        return results
