"""What a round comes to: whatever a client was told was accepted has arrived exactly once and in order, or the loss is told."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from attrs import asdict, define, field


@define
class Verdict:
    """
    Counts.

    @ivar accepted: messages that a client was told were accepted.
    @ivar lost: of these, those that never came, without damage that excuses it.
    @ivar doubled: messages that came twice; C{reordered}: too late.
    @ivar told: messages that damage took, and somebody was told; C{silent}: nobody was.
    @ivar broken: rounds in which something did not go on, or did not end as it should.
    @ivar notes: which messages are not as they should be.
    """

    rounds: int = 0
    kills: int = 0
    cuts: int = 0
    failures: int = 0
    corruptions: int = 0
    accepted: int = 0
    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    told: int = 0
    silent: int = 0
    broken: int = 0
    notes: list[str] = field(factory=list)

    def add(self, other: Verdict) -> None:
        """Count another round."""
        for name, number in asdict(other).items():
            setattr(self, name, getattr(self, name) + number)

    @property
    def is_bad(self) -> bool:
        """Whether a promise was broken."""
        return any((self.lost, self.doubled, self.reordered, self.silent, self.broken))


def judge(
    what: str, told: Collection[str], sent: Sequence[str], came: Iterable[str], is_damaged: bool = False, is_told: bool = False
) -> Verdict:
    """
    Compare what came of one conversation with what was said about it.

    @param what: the conversation, for people.
    @param told: ids that a client was told were accepted.
    @param sent: ids in the order in which they were sent; C{told} may hold others.
    @param came: ids in the order in which they came.
    @param is_damaged: whether a file was damaged; then a loss is none, if C{is_told} says that somebody was told.
    """
    places = {number: place for place, number in enumerate(sent)}
    verdict, seen, last = Verdict(), set[str](), -1
    for number in came:
        place = places.get(number, last)
        if number in seen:
            verdict.doubled += 1
            verdict.notes.append(f"{what}: {number} came again")
        elif place < last:
            verdict.reordered += 1
            verdict.notes.append(f"{what}: {number} came late")
        seen.add(number)
        last = max(last, place)
    missing = [number for number in told if number not in seen]
    verdict.notes += [f"{what}: {number} did not come" for number in missing]
    if not is_damaged:
        verdict.lost = len(missing)
    elif is_told:
        verdict.told = len(missing)
    else:
        verdict.silent = len(missing)
    return verdict


def printed(runs: Iterable[Sequence[str]]) -> list[str]:
    """
    What processes printed one after the other: one that was killed between output and mark leaves its last message, and only
    that one, to be printed again by the next.
    """
    ids: list[str] = []
    for run in runs:
        ids += run[1:] if ids and run and run[0] == ids[-1] else run
    return ids
