"""A mounted disk, seen from the process that tests."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

from attrs import define

from tests.functional.nursery import ROOT
from tests.functional.support import until

# How a L{Mount} gives orders to its process, and asks it.
ORDER, OFF = "user.order", "user.off"


def skip_reason() -> str:
    """Why no file system can be mounted here; empty if one can."""
    try:
        importlib.import_module("mfusepy")
    except (ImportError, OSError):  # without the library, or without libfuse under it
        return "needs mfusepy and libfuse; on Debian: apt-get install fuse3"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "needs /dev/fuse"
    return ""


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
            [sys.executable, "-m", "tests.faults.fuse", str(path), str(source), folders],
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
    def is_off(self) -> bool:
        """Whether the power is off."""
        return os.getxattr(self.path, OFF) == b"1"

    def close(self) -> None:
        """Unmount it."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._process.kill()
        if self.path.is_mount():
            subprocess.run(["fusermount3", "-uz", str(self.path)], timeout=10, check=False)
