"""Flipped bits and cut files, while nothing runs."""

from __future__ import annotations

import random
from pathlib import Path

# Empty files that processes lock or listen on, and what SQLite makes anew.
PASSING = ("lock", "recv.lock", "read.lock", "wake", "control", "server.db-shm")


def files(disk: Path, record: str) -> list[Path]:
    """The files that hold something of somebody's; nobody checks what was written for other programs."""
    found = sorted(path for path in disk.rglob("*") if path.is_file() and path.name not in (*PASSING, record))
    return [path for path in found if path.stat().st_size]


def harm(path: Path, chance: random.Random) -> str:
    """Flip one bit of a file, or cut it off somewhere; what was done."""
    content = bytearray(path.read_bytes())
    place = chance.randrange(len(content))
    if chance.random() < 0.6:
        bit = chance.randrange(8)
        content[place] ^= 1 << bit
        what = f"bit {bit} of byte {place} of {len(content)} flipped in"
    else:
        what = f"{len(content)} bytes cut to {place}:"
        del content[place:]
    path.write_bytes(content)
    return f"{what} {path.parent.name}/{path.name}"
