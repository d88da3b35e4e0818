"""
A backup in one file: an uncompressed tar archive. That of a profile has two files, the store key and then the database.

The key is sealed by a passphrase, and everything in the database under the key: nothing here encrypts. Any C{tar} can list and
unpack an archive. It is read by hand, one header after the other: names, kinds and sizes are compared with what there may be,
and nothing in it says where a file goes. Source of the headers: POSIX.1-2017 C{pax}, "ustar Interchange Format".
"""

from __future__ import annotations

import tarfile
from io import BufferedReader
from typing import IO, Protocol

from securemsg.interfaces import Step
from securemsg.storage.errors import BackupDamaged, StateUnusable

# What a header of this format can say, in bytes.
MAX_DATABASE = 8 * 2**30 - 1
CHUNK = 1 << 20
MODE = 0o600
ENDING = bytes(2 * tarfile.BLOCKSIZE)
# How the files begin that backup and restore work at, in the folder of the profile: a kill may leave them there.
DRAFT = ".restore."
SNAPSHOT = ".snapshot."


class Target(Protocol):
    """Takes the content of a file, piece by piece."""

    def write(self, data: bytes, /) -> object:
        """Take the next piece."""




def write_member(archive: IO[bytes], name: str, file: IO[bytes], size: int, step: Step) -> None:
    """
    Add a file to an archive.

    @param step: called again and again with the number of bytes that were written since.
    @raise StateUnusable: it is too large.
    """
    if size > MAX_DATABASE:
        raise StateUnusable(f"{name} has more than {MAX_DATABASE} bytes; copy its folder instead, while nothing uses it")
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, MODE
    archive.write(info.tobuf(tarfile.USTAR_FORMAT))
    left = size
    while left and (chunk := file.read(min(CHUNK, left))):
        archive.write(chunk)
        left -= len(chunk)
        step(len(chunk))
    assert not left, "the copy is of this size"
    archive.write(bytes(-size % tarfile.BLOCKSIZE))


def end_archive(archive: IO[bytes]) -> None:
    """End an archive, so that one that was cut off is told from a whole one."""
    archive.write(ENDING)


def begins_with(archive: BufferedReader, name: str) -> bool:
    """Whether a file may be an archive of which the first file is called so; nothing is taken out of it."""
    start = name.encode() + b"\0"
    return archive.peek(len(start))[: len(start)] == start


def read_member(archive: IO[bytes], name: str, limit: int, target: Target, step: Step) -> None:
    """
    Take the next file out of an archive.

    @param name: that it must have; C{limit}: its size at most.
    @param step: as in L{write_member}.
    @raise BackupDamaged: it is another one, or cut off.
    """
    found, size = next_member(archive)
    if found != name or size > limit:
        raise BackupDamaged("it has other contents")
    read_content(archive, size, target, step)


def next_member(archive: IO[bytes]) -> tuple[str, int]:
    """
    Read the header of the next file in an archive.

    @return: its name, and its size in bytes.
    @raise BackupDamaged: there is none, or it is no regular file.
    """
    try:
        info = tarfile.TarInfo.frombuf(_read(archive, tarfile.BLOCKSIZE), "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError):
        raise BackupDamaged("it has no such contents") from None
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.size < 0:
        raise BackupDamaged("it has other contents")
    return info.name, info.size


def read_content(archive: IO[bytes], size: int, target: Target, step: Step) -> None:
    """
    Take the file out of an archive whose header was read.

    @raise BackupDamaged: the archive is cut off.
    """
    left = size
    while left:
        chunk = _read(archive, min(CHUNK, left))
        target.write(chunk)
        left -= len(chunk)
        step(len(chunk))
    _read(archive, -size % tarfile.BLOCKSIZE)


def check_end(archive: IO[bytes]) -> None:
    """
    Check that an archive ends here.

    @raise BackupDamaged: it goes on, or is cut off.
    """
    if _read(archive, len(ENDING)) != ENDING:
        raise BackupDamaged("it has more files than it should")


def _read(archive: IO[bytes], size: int) -> bytes:
    """
    Read so many bytes.

    @raise BackupDamaged: there are fewer.
    """
    data = archive.read(size)
    if len(data) != size:
        raise BackupDamaged("it is cut off")
    return data
