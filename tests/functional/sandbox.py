"""
What a test can enforce of the sandbox of a service unit without systemd: its system calls and its sockets.

systemd's own tool says which system calls are in its groups, and libseccomp makes the filter, as for systemd.
"""

from __future__ import annotations

import configparser
import ctypes
import ctypes.util
import errno
import resource
import shutil
import socket
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

_ALLOW, _ERRNO, _EQUAL = 0x7FFF0000, 0x00050000, 4  # seccomp.h
_NO_NEW_PRIVILEGES, _DROP_CAPABILITY, _CAPABILITIES = 38, 24, 64  # sys/prctl.h
IS_AVAILABLE = bool(shutil.which("systemd-analyze") and ctypes.util.find_library("seccomp"))


class _Argument(ctypes.Structure):
    """C{struct scmp_arg_cmp}."""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


class _Repeated(dict[str, str]):
    """The section of a unit, in which a key may stand several times."""

    def __setitem__(self, key: str, value: object) -> None:
        # The parser gives the lines of a value as a list first, and their text later.
        if isinstance(value, list) and key in self:
            value = [*self[key], *value]
        super().__setitem__(key, value)  # type: ignore[assignment]


def read_unit(path: Path) -> configparser.RawConfigParser:
    """A unit; a key that is there several times has several lines."""
    parser = configparser.RawConfigParser(strict=False, dict_type=_Repeated, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(path.read_text("utf-8"))
    return parser


def calls_in(filters: Iterable[str]) -> set[str]:
    """The system calls that lines of C{SystemCallFilter=} leave."""
    left: set[str] = set()
    for line in filters:
        names = _expand(line.removeprefix("~").split())
        left = left - names if line.startswith("~") else left | names
    return left


def _expand(names: Iterable[str]) -> set[str]:
    """Groups as what is in them."""
    found: set[str] = set()
    for name in names:
        if name.startswith("@"):
            command = ["systemd-analyze", "syscall-filter", "--no-pager", name]
            lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
            found |= _expand(each.strip() for each in lines[1:] if each.strip() and not each.strip().startswith("#"))
        else:
            found.add(name)
    return found


def enter(service: Mapping[str, str]) -> None:
    """
    Restrict this process as the section C{[Service]} of a unit says.

    @raise AssertionError: nothing holds it back.
    """
    assert service["CapabilityBoundingSet"] == ""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    for number in range(_CAPABILITIES):
        libc.prctl(_DROP_CAPABILITY, number, 0, 0, 0)
    families = [int(getattr(socket, name)) for name in service["RestrictAddressFamilies"].split()]
    _filter(calls_in(service["SystemCallFilter"].splitlines()), families, getattr(errno, service["SystemCallErrorNumber"]))
    try:
        socket.socket(socket.AF_INET).close()
    except OSError as error:
        assert error.errno == errno.EPERM, error
    else:
        raise AssertionError("it may open sockets of the internet")


def _filter(calls: set[str], families: Iterable[int], failure: int) -> None:
    """Refuse all other system calls, and sockets of other families."""
    library = ctypes.CDLL(ctypes.util.find_library("seccomp"))
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_rule_add_array.argtypes = (
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(_Argument),
    )
    context = library.seccomp_init(_ERRNO | failure)
    for name in calls:
        number = library.seccomp_syscall_resolve_name(name.encode())
        # Some are of other machines.
        if number < 0:
            continue
        for rule in [_Argument(0, _EQUAL, family, 0) for family in families] if name == "socket" else [None]:
            given = ctypes.byref(rule) if rule is not None else None
            assert not library.seccomp_rule_add_array(context, _ALLOW, number, int(rule is not None), given), name
    library.seccomp_load.argtypes = (ctypes.c_void_p,)
    assert not library.seccomp_load(context)
