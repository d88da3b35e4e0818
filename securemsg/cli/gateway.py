"""What C{securemsg gateway} runs: a listener for webhooks beside a connection to the server."""

from __future__ import annotations

import ipaddress
from typing import Any

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall

from securemsg.account.connection import AccountConnection
from securemsg.account.errors import Exit, SecuremsgError
from securemsg.account.names import find_contact
from securemsg.account.rooms import is_room
from securemsg.cli.context import CommandContext
from securemsg.cli.output import report_warning, say
from securemsg.client.events import Warned
from securemsg.gateway.routes import Route
from securemsg.gateway.site import WebhookFactory
from securemsg.gateway.webhooks import Webhooks
from securemsg.protocol.hosts import host_port

# How long requests under way may take at the end, seconds.
CLOSE_TIME = 2
# How often is looked for messages that have failed, seconds.
LOOK_EVERY = 5


@frozen
class Gateway:
    """
    One run of C{gateway}.

    @ivar lines: what to say of the routes.
    """

    _context: CommandContext
    _routes: list[Route]
    _lines: list[str]
    _host: str
    _port: int
    _spool: int

    def run(self) -> int:
        """Take webhooks until stopped."""
        if not ipaddress.ip_address(self._host).is_loopback:
            text = f"tokens and webhooks travel unencrypted to {host_port(self._host, self._port)}"
            hint = "listen on 127.0.0.1, behind a proxy that speaks TLS"
            self._warn(Warned("unencrypted", "", text), hint)
        return self._context.run_connected(self.serve, again=True)

    async def serve(self, reactor: Any, connection: AccountConnection) -> int:
        """
        Listen; at the end, let requests under way have their answers.

        @raise SecuremsgError: something else listens there; or there will be no connection to the server any more.
        """
        context = self._context
        webhooks = Webhooks(
            context.store,
            {f"/{route.name}".encode("ascii"): route for route in self._routes},
            self._spool,
            context.now,
            reactor.seconds,
            connection.nudge,
            lambda code, route, text: self._warn(Warned(code, route, text)),
        )
        factory = WebhookFactory(webhooks.answer, reactor)
        try:
            port = reactor.listenTCP(self._port, factory, interface=self._host)
        except CannotListenError as error:
            text = f"cannot listen on {host_port(self._host, self._port)}: {getattr(error.socketError, 'strerror', error)}"
            hint = "stop what listens there, or choose another address with --listen"
            raise SecuremsgError(Exit.USAGE, "cannot-listen", text, hint) from None
        for line in self._lines:
            say(line)
        looking = LoopingCall(webhooks.check_sent)
        looking.clock = reactor
        looking.start(LOOK_EVERY, now=False)
        naming = Deferred.fromCoroutine(self._check_names(connection))
        naming.addErrback(lambda failure: failure.trap(CancelledError, SecuremsgError))
        try:
            await connection.until(lambda: None, context.settings.timeout)
        finally:
            looking.stop()
            naming.cancel()
            await maybeDeferred(port.stopListening)
            await connection.until(lambda: None if factory.open else True, CLOSE_TIME)
        return Exit.DONE

    async def _check_names(self, connection: AccountConnection) -> None:
        """Warn of names that nobody has, once there is a connection."""
        for name in dict.fromkeys(to for route in self._routes for to in route.to if not is_room(to)):
            if find_contact(self._context.store, name) is not None:
                continue
            try:
                await connection.ask("fetch", name, timeout=None)
            except SecuremsgError as problem:
                if problem.status != Exit.NO_CONTACT:
                    raise
                self._warn(Warned(problem.code, name, f"nobody is called {name}: messages to {name} will fail"))

    def _warn(self, event: Warned, hint: str = "") -> None:
        report_warning(event, self._context.settings.as_json, hint)
