"""The process that mounts a L{Disk} through FUSE: C{python -m tests.faults.fuse FOLDER SOURCE FOLDERS}."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import stat
import sys
import time
from pathlib import Path
from typing import Any

import mfusepy

from tests.faults.disk import SECTOR, SIZE, STRICT, Disk, Node, PowerOff, loaded
from tests.faults.mount import OFF, ORDER


class Operations(mfusepy.Operations):  # type: ignore[misc]
    """What the kernel asks of a L{Disk}."""

    use_ns = True

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        # By their ids, for ever, so that no other node is given the same id.
        self._open: dict[int, Node] = {}

    def init_with_config(self, info: Any, config: Any) -> None:
        """Nothing is remembered by the kernel."""
        config.entry_timeout = config.attr_timeout = config.negative_timeout = 0

    def setxattr(self, path: str, name: str, value: bytes, options: int, position: int = 0) -> int:
        """Take an order of L{Mount}."""
        if name != ORDER:
            raise OSError(errno.ENOTSUP, "no such attribute")
        order, *arguments = json.loads(value)
        getattr(self._disk, order)(*arguments)
        return 0

    def getxattr(self, path: str, name: str, position: int = 0) -> bytes:
        """Whether the power is off."""
        if name != OFF:
            raise OSError(errno.ENODATA, "no such attribute")
        return b"%d" % self._disk.is_off

    def _before_change(self, path: str, growth: int = 0) -> None:
        """Without power, whoever wants to make a change is killed before the call returns."""
        try:
            self._disk.before_change(path, growth)
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
        self._before_change(path)
        folder, name = self._disk.parent(path)
        self._disk.change_names((folder, name, Node(mode)))
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
        self._before_change(path, offset + len(data) - len(node.data))
        node.change(offset, data)
        return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        """As C{ftruncate}."""
        node = self._node(path, fh)
        self._before_change(path, length - len(node.data))
        node.change(length, None)
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        """As C{fsync}."""
        self._before_change(path)
        self._disk.sync(self._node(path, fh))
        return 0

    fsyncdir = fsync

    def unlink(self, path: str) -> int:
        """As C{unlink}."""
        self._before_change(path)
        self._disk.find(path)
        self._disk.change_names((*self._disk.parent(path), None))
        return 0

    rmdir = unlink

    def rename(self, old: str, new: str) -> int:
        """As C{rename}."""
        self._before_change(old)
        node = self._disk.find(old)
        self._disk.change_names((*self._disk.parent(old), None), (*self._disk.parent(new), node))
        return 0

    def link(self, target: str, source: str) -> int:
        """As C{link}."""
        self._before_change(target)
        folder, name = self._disk.parent(target)
        if name in folder.names:
            raise OSError(errno.EEXIST, "there")
        self._disk.change_names((folder, name, self._disk.find(source)))
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


if __name__ == "__main__":
    serve(*sys.argv[1:])
