"""
A backup of a profile in one file: an uncompressed tar archive of two files, the store key and then the database.

The key is sealed by a passphrase, and everything in the database under the key: nothing here encrypts. Any C{tar} can list and
unpack an archive. It is read by hand, one header after the other: names, kinds and sizes are compared with what there may be,
and nothing in it says where a file goes. Source of the headers: POSIX.1-2017 C{pax}, "ustar Interchange Format".
"""

from __future__ import annotations

import tarfile
from io import BufferedReader
from typing import IO

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



def write_member(archive: IO[bytes], name: str, file: IO[bytes], size: int, step: Step) -> None:
    """
    Add a file to an archive.

    @param step: called again and again with the number of bytes that were written since.
    @raise StateUnusable: it is too large.
    """
    if size > MAX_DATABASE:
        raise StateUnusable(f"the profile has more than {MAX_DATABASE} bytes; copy its folder instead, while nothing uses it")
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


def read_member(archive: IO[bytes], name: str, limit: int, target: IO[bytes], step: Step) -> None:
    """
    Take the next file out of an archive.

    @param name: that it must have; C{limit}: its size at most.
    @param step: as in L{write_member}.
    @raise BackupDamaged: it is another one, or cut off.
    """
    try:
        info = tarfile.TarInfo.frombuf(_read(archive, tarfile.BLOCKSIZE), "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError):
        raise BackupDamaged("it has no such contents") from None
    if info.name != name or info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or not 0 <= info.size <= limit:
        raise BackupDamaged("it has other contents")
    left = info.size
    while left:
        chunk = _read(archive, min(CHUNK, left))
        target.write(chunk)
        left -= len(chunk)
        step(len(chunk))
    _read(archive, -info.size % tarfile.BLOCKSIZE)


def check_end(archive: IO[bytes]) -> None:
    """
    Check that an archive ends here.

    @raise BackupDamaged: it goes on, or is cut off.
    """
    if _read(archive, len(ENDING)) != ENDING:
        raise BackupDamaged("it has more than two files")


def _read(archive: IO[bytes], size: int) -> bytes:
    """
    Read so many bytes.

    @raise BackupDamaged: there are fewer.
    """
    data = archive.read(size)
    if len(data) != size:
        raise BackupDamaged("it is cut off")
    return data
