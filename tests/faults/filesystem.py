"""
A file system in memory that forgets what was not fsynced, mounted through FUSE by a process of its own.

It never writes more than it must, and a power cut takes as much as POSIX allows: of each file the writes since its last fsync
are lost whole, or but for the first of them, or but for some sectors; of each folder the changes of names are lost from some
moment on (C{ordered}, as ext4 keeps them), or all that no fsync of that folder covered (C{strict}).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from attrs import define, field

from tests.functional.nursery import ROOT
from tests.functional.support import until

# What a disk writes whole or not at all, bytes.
SECTOR = 512
# What becomes of writes that no fsync covered.
WHOLE, PREFIX, TORN = LOSSES = ("whole", "prefix", "torn")
ORDERED, STRICT = FOLDERS = ("ordered", "strict")
# How a L{Mount} gives orders to its process, and asks it.
ORDER, DEAD = "user.order", "user.dead"
# Bytes of the disk where nobody says how many.
SIZE = 1 << 40

try:
    import mfusepy
except (ImportError, OSError):  # without the library, or without libfuse under it
    mfusepy = None


def missing() -> str:
    """Why no file system can be mounted here; empty if one can."""
    if mfusepy is None:
        return "needs mfusepy and libfuse; on Debian: apt-get install fuse3"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "needs /dev/fuse"
    return ""


@define(eq=False)
class Node:
    """
    A file or a folder.

    @ivar pending: changes of the content since the last fsync: a place and bytes, or a new size and nothing.
    @ivar names: of a folder; C{kept}: those that a power cut leaves.
    """

    mode: int
    data: bytearray = field(factory=bytearray)
    durable: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(factory=list)
    names: dict[str, Node] = field(factory=dict)
    kept: dict[str, Node] = field(factory=dict)

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
Renaming = list[tuple[Node, str, Node | None]]


class PowerOff(OSError):
    """Whoever wants to change something is dead."""


@define(eq=False)
class Disk:
    """
    The nodes, and what a power cut does to them.

    @ivar journal: changes of names that a power cut may take.
    """

    strict: bool
    root: Node = field(factory=lambda: Node(stat.S_IFDIR | 0o700))
    journal: list[Renaming] = field(factory=list)
    room: int = SIZE
    is_dead: bool = False
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

    def touch(self, path: str, growth: int = 0) -> None:
        """
        See to it that a change may happen: the power may go off right before it.

        @raise PowerOff: there is no power; C{OSError}: no room.
        """
        if (path + "/").startswith(self._tree):
            self.is_dead |= self._left == 0
            self._left -= 1
            if self.is_dead:
                raise PowerOff(errno.EIO, "no power")
        if growth > 0:
            if growth > self.room:
                raise OSError(errno.ENOSPC, "full")
            self.room -= growth

    def arm(self, tree: str, left: int) -> None:
        """Let the power of a tree go off after so many changes."""
        self._tree, self._left = f"/{tree}/".replace("//", "/"), left

    def rename(self, *changes: tuple[Node, str, Node | None]) -> None:
        """Change names, all of them at the same time."""
        for folder, name, node in changes:
            _name(folder.names, name, node)
        self.journal.append(list(changes))

    def sync(self, node: Node) -> None:
        """An fsync."""
        node.sync()
        rest: list[Renaming] = []
        for changes in self.journal:
            if self.strict and all(folder is not node for folder, _, _ in changes):
                rest.append(changes)
                continue
            _keep(changes)
        self.journal = rest

    def set_room(self, room: int = SIZE) -> None:
        """Leave so many bytes."""
        self.room = room

    def cut(self, tree: str, how: str, seed: int) -> None:
        """The power of a tree is off, and comes back."""
        chance = random.Random(seed)
        self._left, self.is_dead = -1, False
        top = self.find(tree)
        inside = {id(node) for node in _walk(top)}
        mine = [changes for changes in self.journal if any(id(folder) in inside for folder, _, _ in changes)]
        self.journal = [changes for changes in self.journal if changes not in mine]
        for changes in mine[: 0 if self.strict else chance.randint(0, len(mine))]:
            _keep(changes)
        for node in _walk(top):
            node.names = dict(node.kept)
            node.lose(how, chance)


def _name(names: dict[str, Node], name: str, node: Node | None) -> None:
    """Give a name, or take it away."""
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


def _keep(changes: Renaming) -> None:
    """Have changes of names survive."""
    for folder, name, node in changes:
        _name(folder.kept, name, node)


def _walk(node: Node) -> Iterator[Node]:
    """A node, and whatever is or was below it."""
    seen, waiting = set[int](), [node]
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen.add(id(node))
            waiting += [*node.names.values(), *node.kept.values()]
            yield node


def loaded(folder: Path) -> Node:
    """What a folder holds, as if it had been there for ever."""
    node = Node(folder.lstat().st_mode)
    if folder.is_dir():
        node.names = {path.name: loaded(path) for path in folder.iterdir() if not path.is_socket() and not path.is_fifo()}
        node.kept = dict(node.names)
    else:
        node.data = bytearray(folder.read_bytes())
        node.sync()
    return node


if mfusepy is not None:

    class Operations(mfusepy.Operations):  # type: ignore[misc]
        """What the kernel asks of a L{Disk}."""

        use_ns = True

        def __init__(self, disk: Disk) -> None:
            self._disk = disk
            self._open: dict[int, Node] = {}

        def init_with_config(self, info: Any, config: Any) -> None:
            """Nothing is remembered by the kernel."""
            config.entry_timeout = config.attr_timeout = config.negative_timeout = 0

        def setxattr(self, path: str, name: str, value: bytes, options: int, position: int = 0) -> int:
            """Take an order of L{Mount}."""
            order, *arguments = json.loads(value)
            getattr(self._disk, order)(*arguments)
            return 0

        def getxattr(self, path: str, name: str, position: int = 0) -> bytes:
            """Whether the power is off."""
            if name != DEAD:
                raise OSError(errno.ENODATA, "no such attribute")
            return b"%d" % self._disk.is_dead

        def _touch(self, path: str, growth: int = 0) -> None:
            """A change is about to be made: without power, who makes it dies before he hears of that."""
            try:
                self._disk.touch(path, growth)
            except PowerOff:
                _, _, caller = mfusepy.fuse_get_context()
                # The kernel itself is 0, which here would mean everybody who was started with us.
                if caller:
                    os.kill(caller, signal.SIGKILL)
                raise

        def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
            """As C{stat}."""
            node = self._node(path, fh)
            return {
                "st_mode": node.mode,
                "st_nlink": 1,
                "st_size": len(node.data),
                "st_uid": os.getuid(),
                "st_gid": os.getgid(),
                "st_ino": id(node) >> 4,
                "st_blocks": -(-len(node.data) // SECTOR),
                **dict.fromkeys(("st_atime", "st_mtime", "st_ctime"), time.time_ns()),
            }

        def readdir(self, path: str, fh: int) -> list[str]:
            """As C{readdir}."""
            return [".", "..", *self._disk.find(path).names]

        def statfs(self, path: str) -> dict[str, int]:
            """As C{statvfs}."""
            free = self._disk.room // SECTOR
            return {"f_bsize": SECTOR, "f_frsize": SECTOR, "f_blocks": SIZE // SECTOR, "f_bfree": free, "f_bavail": free}

        def mknod(self, path: str, mode: int, dev: int) -> int:
            """A file, a pipe or a socket."""
            self._touch(path)
            folder, name = self._disk.parent(path)
            self._disk.rename((folder, name, Node(mode)))
            return 0

        def create(self, path: str, mode: int, fi: Any = None) -> int:
            """A file that is opened."""
            self.mknod(path, stat.S_IFREG | stat.S_IMODE(mode), 0)
            return self.open(path, 0)

        def mkdir(self, path: str, mode: int) -> int:
            """A folder."""
            return self.mknod(path, stat.S_IFDIR | mode, 0)

        def open(self, path: str, flags: int) -> int:
            """As C{open}."""
            node = self._disk.find(path)
            self._open[id(node)] = node
            return id(node)

        def _node(self, path: str, fh: int | None) -> Node:
            return self._open[fh] if fh in self._open else self._disk.find(path)

        def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
            """As C{pread}."""
            return bytes(self._node(path, fh).data[offset : offset + size])

        def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
            """As C{pwrite}."""
            node = self._node(path, fh)
            self._touch(path, offset + len(data) - len(node.data))
            node.change(offset, data)
            return len(data)

        def truncate(self, path: str, length: int, fh: int | None = None) -> int:
            """As C{ftruncate}."""
            node = self._node(path, fh)
            self._touch(path, length - len(node.data))
            node.change(length, None)
            return 0

        def fsync(self, path: str, datasync: int, fh: int) -> int:
            """As C{fsync}."""
            self._touch(path)
            self._disk.sync(self._node(path, fh))
            return 0

        def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
            """As C{fsync} of a folder."""
            self._touch(path)
            self._disk.sync(self._disk.find(path))
            return 0

        def unlink(self, path: str) -> int:
            """As C{unlink}."""
            self._touch(path)
            self._disk.find(path)
            self._disk.rename((*self._disk.parent(path), None))
            return 0

        rmdir = unlink

        def rename(self, old: str, new: str) -> int:
            """As C{rename}."""
            self._touch(old)
            node = self._disk.find(old)
            self._disk.rename((*self._disk.parent(old), None), (*self._disk.parent(new), node))
            return 0

        def link(self, target: str, source: str) -> int:
            """As C{link}."""
            self._touch(target)
            folder, name = self._disk.parent(target)
            if name in folder.names:
                raise OSError(errno.EEXIST, "there")
            self._disk.rename((folder, name, self._disk.find(source)))
            return 0

        def chmod(self, path: str, mode: int) -> int:
            """As C{chmod}; no cut takes it."""
            node = self._disk.find(path)
            node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)
            return 0

        def chown(self, path: str, uid: int, gid: int) -> int:
            """Everything belongs to one user."""
            return 0

        def utimens(self, path: str, times: Any = None) -> int:
            """There are no times."""
            return 0


def serve(mount: str, source: str, folders: str) -> None:
    """Mount, until a signal ends us."""
    disk = Disk(folders == STRICT, loaded(Path(source)))
    # Its loop calls an end by a signal an error.
    with contextlib.suppress(RuntimeError):
        mfusepy.FUSE(Operations(disk), mount, foreground=True, nothreads=True, fsname="securemsg-faults")


@define(eq=False)
class Mount:
    """A mounted L{Disk}, seen from the process that tests."""

    path: Path
    _process: subprocess.Popen[bytes]

    @classmethod
    def make(cls, path: Path, source: Path, folders: str) -> Mount:
        """Mount one with what another folder holds."""
        path.mkdir()
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.filesystem", str(path), str(source), folders],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
        )
        until(lambda: process.poll() is not None or path.is_mount(), "a mounted file system")
        assert process.poll() is None, "the file system cannot be mounted"
        return cls(path, process)

    def order(self, name: str, *arguments: object) -> None:
        """Call a method of the L{Disk}."""
        os.setxattr(self.path, ORDER, json.dumps([name, *arguments]).encode())

    @property
    def is_dead(self) -> bool:
        """Whether the power is off."""
        return os.getxattr(self.path, DEAD) == b"1"

    def close(self) -> None:
        """Unmount it."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._process.kill()
        if self.path.is_mount():
            subprocess.run(["fusermount3", "-uz", str(self.path)], timeout=10, check=False)


if __name__ == "__main__":
    serve(*sys.argv[1:])
