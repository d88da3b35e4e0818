"""
A file system in memory that forgets what was not fsynced.

It never writes more than it must, and a power cut takes as much as POSIX allows: of each file the writes since its last fsync
are lost whole, or but for the first of them, or but for some sectors; of each folder the changes of names are lost from some
moment on (C{ordered}, as ext4 keeps them), or all that no fsync of that folder covered (C{strict}).
"""

from __future__ import annotations

import errno
import random
import stat
from collections.abc import Iterator
from itertools import filterfalse, pairwise
from pathlib import Path

from attrs import define, field

# What a disk writes whole or not at all, bytes.
SECTOR = 512
# What becomes of writes that no fsync covered.
WHOLE, PREFIX, TORN = LOSSES = ("whole", "prefix", "torn")
ORDERED, STRICT = FOLDERS = ("ordered", "strict")
# Bytes of the disk where nobody says how many.
SIZE = 1 << 40


@define(eq=False)
class Node:
    """
    A file or a folder.

    @ivar pending: changes of the content since the last fsync: a place and bytes, or a new size and nothing.
    @ivar names: of a folder; C{durable_names}: those that a power cut leaves.
    """

    mode: int
    data: bytearray = field(factory=bytearray)
    durable: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(factory=list)
    names: dict[str, Node] = field(factory=dict)
    durable_names: dict[str, Node] = field(factory=dict)

    def change(self, place: int, data: bytes | None) -> None:
        """Write, or set the size."""
        self.pending.append((place, data))
        _apply(self.data, place, data)

    def sync(self) -> None:
        """Keep the content."""
        self.durable = bytes(self.data)
        self.pending.clear()

    def lose(self, how: str, chance: random.Random) -> None:
        """Lose what was not kept."""
        self.data = bytearray(self.durable)
        count = chance.randint(0, len(self.pending)) if how == PREFIX else len(self.pending)
        for place, data in self.pending[:count] if how != WHOLE else ():
            if how == PREFIX or data is None:
                if how == PREFIX or chance.random() < 0.5:
                    _apply(self.data, place, data)
                continue
            end = place + len(data)
            # At the sectors of the disk, wherever the write began.
            for start, stop in pairwise([place, *range((place // SECTOR + 1) * SECTOR, end, SECTOR), end]):
                if chance.random() < 0.5:
                    _apply(self.data, start, data[start - place : stop - place])
        self.sync()


def _apply(content: bytearray, place: int, data: bytes | None) -> None:
    """Change a content as a file is changed."""
    size = place if data is None else place + len(data)
    if len(content) < size:
        content.extend(bytes(size - len(content)))
    if data is None:
        del content[place:]
    else:
        content[place:size] = data


# A change of names: of which folder, which name, to what.
NameChanges = list[tuple[Node, str, Node | None]]


class PowerOff(OSError):
    """The power is off."""


@define(eq=False)
class Disk:
    """
    The nodes, and what a power cut does to them.

    @ivar journal: changes of names that a power cut may take.
    """

    strict: bool
    root: Node = field(factory=lambda: Node(stat.S_IFDIR | 0o700))
    journal: list[NameChanges] = field(factory=list)
    room: int = SIZE
    is_off: bool = False
    _left: int = -1
    _tree: str = ""

    def find(self, path: str) -> Node:
        """
        The node of a path.

        @raise OSError: there is none.
        """
        node = self.root
        for name in path.split("/"):
            if name:
                if name not in node.names:
                    raise OSError(errno.ENOENT, "missing")
                node = node.names[name]
        return node

    def parent(self, path: str) -> tuple[Node, str]:
        """The folder of a path, and the name in it."""
        folder, _, name = path.rpartition("/")
        return self.find(folder), name

    def before_change(self, path: str, growth: int = 0) -> None:
        """
        See to it that a change may happen: the power may go off right before it.

        @raise PowerOff: there is no power; C{OSError}: no room.
        """
        if (path + "/").startswith(self._tree):
            self.is_off |= self._left == 0
            self._left -= 1
            if self.is_off:
                raise PowerOff(errno.EIO, "no power")
        if growth > 0:
            if growth > self.room:
                raise OSError(errno.ENOSPC, "full")
            self.room -= growth

    def arm(self, tree: str, left: int) -> None:
        """Let the power of a tree go off after so many changes."""
        self._tree, self._left = f"/{tree}/".replace("//", "/"), left

    def change_names(self, *changes: tuple[Node, str, Node | None]) -> None:
        """Change names, all of them at the same time."""
        for folder, name, node in changes:
            _name(folder.names, name, node)
        self.journal.append(list(changes))

    def sync(self, node: Node) -> None:
        """An fsync."""
        node.sync()
        rest: list[NameChanges] = []
        for changes in self.journal:
            if self.strict and all(folder is not node for folder, _, _ in changes):
                rest.append(changes)
                continue
            _keep(changes)
        self.journal = rest

    def set_room(self, room: int) -> None:
        """Leave so many bytes."""
        self.room = room

    def cut(self, tree: str, how: str, seed: int) -> None:
        """The power of a tree is off, and comes back."""
        chance = random.Random(seed)
        self._left, self.is_off = -1, False
        top = self.find(tree)
        inside = set(_walk(top))

        def is_inside(changes: NameChanges) -> bool:
            return any(folder in inside for folder, _, _ in changes)

        mine = list(filter(is_inside, self.journal))
        self.journal = list(filterfalse(is_inside, self.journal))
        for changes in mine[: 0 if self.strict else chance.randint(0, len(mine))]:
            _keep(changes)
        for node in _walk(top):
            node.names = dict(node.durable_names)
            node.lose(how, chance)


def _name(names: dict[str, Node], name: str, node: Node | None) -> None:
    """Give a name, or take it away."""
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


def _keep(changes: NameChanges) -> None:
    """Have changes of names survive."""
    for folder, name, node in changes:
        _name(folder.durable_names, name, node)


def _walk(node: Node) -> Iterator[Node]:
    """A node, and whatever is or was below it."""
    seen, waiting = set[Node](), [node]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += [*node.names.values(), *node.durable_names.values()]
            yield node


def loaded(folder: Path) -> Node:
    """What a folder holds, as if it had been there for ever."""
    node = Node(folder.lstat().st_mode)
    if folder.is_dir():
        node.names = {path.name: loaded(path) for path in folder.iterdir() if not path.is_socket() and not path.is_fifo()}
        node.durable_names = dict(node.names)
    else:
        node.data = bytearray(folder.read_bytes())
        node.sync()
    return node
