"""
TLS records, read from and written to a connection of pyOpenSSL.

C{recv} and C{send} of pyOpenSSL allocate and check more than a message costs otherwise. OpenSSL's own functions, which they
call, are within reach, but under private names: they are tried first, and not used if they do anything unexpected.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from attrs import frozen
from OpenSSL import SSL
from twisted.logger import Logger

# The most that a record carries, bytes (RFC 8446 5.1). OpenSSL reads no further than one record, so that after a read of this
# size the rest waits in the kernel, where epoll sees it.
RECORD_SIZE = 16384


@frozen
class Records:
    """
    How records are read and written; both raise what pyOpenSSL raises.

    @ivar read: gives what one record carries.
    @ivar write: takes bytes, a record of them at most, and says how many were sent.
    """

    read: Callable[[SSL.Connection], bytes]
    write: Callable[[SSL.Connection, bytes], int]


# What pyOpenSSL has for everybody.
PLAIN = Records(lambda connection: connection.recv(RECORD_SIZE), lambda connection, data: connection.send(data))


def direct_records(module: Any) -> Records:
    """
    OpenSSL's own functions.

    @param module: C{OpenSSL.SSL}.
    @raise AttributeError: it has other private names than we know.
    """
    ffi, ssl_read, ssl_write = module._ffi, module._lib.SSL_read, module._lib.SSL_write
    # The reactor's thread alone reads, and what is read is copied out at once.
    buffer = ffi.new("char[]", RECORD_SIZE)
    view = ffi.buffer(buffer)

    def read(connection: Any) -> bytes:
        """See L{Records}."""
        count = ssl_read(connection._ssl, buffer, RECORD_SIZE)
        if count <= 0:
            connection._raise_ssl_error(connection._ssl, count)
        data: bytes = view[:count]
        return data

    def write(connection: Any, data: bytes) -> int:
        """See L{Records}."""
        count: int = ssl_write(connection._ssl, data, len(data))
        if count <= 0:
            connection._raise_ssl_error(connection._ssl, count)
        return count

    return Records(read, write)


def choose_records(module: Any, one: SSL.Connection, other: SSL.Connection) -> Records:
    """
    OpenSSL's own functions where they work, else those of pyOpenSSL.

    @param one: an end in memory whose handshake is done; C{other} is the other end.
    """
    try:
        records = direct_records(module)
        if _works(records, one, other):
            return records
    except Exception as error:  # noqa: BLE001 - whatever it is: the way without private names remains
        problem = repr(error)
    else:
        problem = "bytes come out changed"
    Logger().info("TLS reads and writes through pyOpenSSL, which costs more: {problem}", problem=problem)
    return PLAIN


def _works(records: Records, one: SSL.Connection, other: SSL.Connection) -> bool:
    """Whether bytes, a lack of bytes and an end come through as they should."""
    sent = bytes(range(256)) * (RECORD_SIZE // 256)
    for data in (sent, b"x"):
        if records.write(one, data) != len(data):
            return False
        other.bio_write(one.bio_read(2 * RECORD_SIZE))
        if records.read(other) != data:
            return False
    with contextlib.suppress(SSL.WantReadError):
        records.read(other)
        return False
    one.shutdown()
    other.bio_write(one.bio_read(RECORD_SIZE))
    with contextlib.suppress(SSL.ZeroReturnError):
        records.read(other)
        return False
    return True
