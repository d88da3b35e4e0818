"""The daemon's UDP port."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve

from securemsg.crypto import keys
from securemsg.daemon.folder import KEY_SIZE, RESET_KEY, StateError, keep_key
from securemsg.daemon.options import Setup
from securemsg.net.listener import Gate
from securemsg.net.stream import ConnectionOptions
from securemsg.net.tls import ServerCredentials

if TYPE_CHECKING:
    from securemsg.net.udp import UdpListener


NO_LIBRARY = "--udp-port needs the library aioquic; install it in the checkout: pipx install --force '.[udp]'"


class UdpPort:
    """
    Where the daemon is to listen for QUIC; nothing is opened before L{listen}.

    @ivar number: the port.
    """

    def __init__(self, setup: Setup) -> None:
        """
        Take a socket that was handed over, if that is wanted.

        @raise PortUnavailable: there is none.
        @raise StateError: the library is missing.
        """
        try:
            # An extra: who serves no UDP needs no library for it.
            from securemsg.net import udp
        except ImportError:
            raise StateError(NO_LIBRARY) from None
        self._host = setup.host
        self.number = setup.udp_port
        self._inherited: Any = None
        if setup.udp_descriptor:
            self._inherited = udp.inherited_socket(setup.udp_descriptor)
            self.number = self._inherited.getsockname()[1]

    def listen(
        self,
        reactor: Any,
        state: Path,
        credentials: ServerCredentials,
        options: ConnectionOptions,
        limit: int,
        gate: Gate,
        others: Callable[[], int],
    ) -> UdpListener:
        """
        Listen, with the key of TLS.

        @param options: of connections over TCP.
        @param limit: of open connections, those that C{others} counts among them.
        @raise PortUnavailable: the port is in use, or not allowed.
        """
        from securemsg.net import quic, udp

        reset_key = keep_key(state / RESET_KEY, partial(keys.random_bytes, KEY_SIZE), KEY_SIZE)
        listener = udp.UdpListener(
            *quic_options(credentials, options),
            limit,
            lambda cid: keys.mac(reset_key, keys.STATELESS_RESET, cid)[: quic.RESET_TOKEN_SIZE],
            keys.random_bytes,
            gate,
            others,
        )
        listener.listen(reactor, self._host, self.number, self._inherited)
        return listener


def quic_options(credentials: ServerCredentials, options: ConnectionOptions) -> tuple[Any, ConnectionOptions]:
    """
    What connections over UDP need, with the key of TLS.

    @param options: of connections over TCP.
    """
    from securemsg.net import quic, quicwire

    observe = partial(quicwire.observe_quic, spki=credentials.spki)
    return quic.server_configuration(*credentials.files), evolve(options, observe=observe)
