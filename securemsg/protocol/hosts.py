"""
Hosts and ports as people write them: C{example.org:8443}, C{[2001:db8::1]:8443} (RFC 3986 3.2.2: brackets around IPv6 only).
"""

from __future__ import annotations

import ipaddress
import re

# A host name as RFC 1123 2.1 has it, and underscores, which some machine names have anyway.
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?", re.ASCII | re.IGNORECASE)
_WITH_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>[^:]*))?")
MAX_HOST = 253
MAX_PORT = 65535


def is_host(text: str) -> bool:
    """Could this be the name or the address of a machine? An IPv6 address has no brackets here."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return len(text) <= MAX_HOST and _NAME.fullmatch(text) is not None
    return True


def parse_host(text: str) -> str:
    """
    The name or the address of a machine; an IPv6 address may be in brackets, and comes without them, in its shortest form.

    @raise ValueError: it is neither.
    """
    in_brackets = text.startswith("[") and text.endswith("]")
    host = text[1:-1] if in_brackets else text
    if ":" in host or in_brackets:
        return str(ipaddress.IPv6Address(host))
    # Digits and dots alone are an address, or a mistyped one.
    if re.fullmatch(r"[0-9.]+", host):
        return str(ipaddress.IPv4Address(host))
    if not is_host(host):
        raise ValueError(text)
    return host


def parse_host_port(text: str, default: int) -> tuple[str, int]:
    """
    A host, and the port after it; an IPv6 address needs its brackets only where a port follows.

    @param default: the port where none is given.
    @raise ValueError: the host is none, or the port is not from 1 to 65535.
    """
    match = _WITH_PORT.fullmatch(text)
    if match is None or match["port"] is None:
        return parse_host(text), default
    if not re.fullmatch(r"[0-9]{1,5}", match["port"], re.ASCII) or not 1 <= int(match["port"]) <= MAX_PORT:
        raise ValueError(text)
    return parse_host(match["host"]), int(match["port"])


def host_port(host: str, port: int) -> str:
    """Host and port, in the form that L{parse_host_port} reads."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
