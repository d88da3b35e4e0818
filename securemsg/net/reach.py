"""Whether a TCP port answers: a connection that is opened and closed, for those who look for what is wrong."""

from __future__ import annotations

from typing import Any

from twisted.internet import error
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol

NO_HOST, REFUSED, TIMED_OUT, UNREACHABLE = "no-such-host", "refused", "timeout", "unreachable"


def endpoint_of(reactor: Any, host: str, port: int, seconds: float) -> IStreamClientEndpoint:
    """The endpoint that clients connect to as well."""
    return HostnameEndpoint(reactor, host, port, timeout=seconds)


async def reach(endpoint: IStreamClientEndpoint) -> str:
    """
    Connect, and hang up.

    @return: why that failed; empty: it did not.
    """
    try:
        protocol = await endpoint.connect(Factory.forProtocol(Protocol))
    except error.DNSLookupError:
        return NO_HOST
    except error.ConnectionRefusedError:
        return REFUSED
    except error.TimeoutError:
        return TIMED_OUT
    except error.ConnectError:
        return UNREACHABLE
    assert isinstance(protocol, Protocol) and protocol.transport is not None, "it is connected"
    protocol.transport.loseConnection()
    return ""
