"""A command that needs the server: its connection, in the reactor."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from attrs import frozen

from securemsg.account.address import ServerAddress
from securemsg.account.connection import AccountConnection, Retry, make_connection
from securemsg.account.flush import flush
from securemsg.cli.output import report_elsewhere, report_waiting, report_warning, say_json
from securemsg.cli.rendering import wire_record, wire_text
from securemsg.cli.settings import Settings
from securemsg.cli.suspending import suspend_when_asked
from securemsg.client.state.profile import Profile
from securemsg.client.wiredump import dump_wire
from securemsg.interfaces import IProfileStore
from securemsg.protocol.messages import Message, Unknown


@frozen
class Connected:
    """The connection of a profile, for one command; its fields are those of L{securemsg.cli.context.CommandContext}."""

    _settings: Settings
    _folder: Path | None
    _store: IProfileStore
    _profile: Profile
    _address: ServerAddress
    _now: Callable[[], float]

    async def run(
        self,
        reactor: Any,
        work: Callable[[Any, AccountConnection], Coroutine[Any, Any, int]],
        *,
        again: bool,
        prompt: bool,
        show_wire: bool,
        show: Callable[[str], object],
        quiet: Collection[str] = (),
    ) -> int:
        """See L{securemsg.cli.context.CommandContext.connected}."""
        as_json = self._settings.as_json
        # A prompt shows the state of the connection; other commands report once that there is none.
        retry = Retry(lambda code, where: report_waiting(code, where, as_json))
        waits = self._settings.retry or (again and not prompt)
        connection = make_connection(
            reactor,
            self._folder,
            self._store,
            self._profile,
            self._address,
            now=self._now,
            again=again,
            warn=lambda event: None if event.code in quiet else report_warning(event, as_json),
            retry=retry if waits else None,
            watch=partial(self._show_wire, show) if show_wire else None,
        )
        # Runs however we end: done, failed or interrupted.
        reactor.addSystemEventTrigger("before", "shutdown", connection.stop)
        suspend_when_asked(reactor, connection)
        connection.start()
        if show_wire and not connection.is_owner:
            report_elsewhere(as_json)
        status = await work(reactor, connection)
        await flush(reactor, self._store, connection, self._now)
        return status

    def _show_wire(self, show: Callable[[str], object], message: Message | Unknown) -> None:
        dump = dump_wire(message)
        if dump is not None:
            if self._settings.as_json:
                say_json(wire_record(dump))
            else:
                show(wire_text(dump))
