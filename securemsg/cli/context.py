"""The context of a command: settings, and the open profile."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from attrs import frozen

from securemsg.account.address import ServerAddress, address_of
from securemsg.account.connection import AccountConnection, Retry, make_connection
from securemsg.account.flush import flush
from securemsg.account.wake import wake
from securemsg.cli.output import report_note, report_waiting, report_warning, say, say_json
from securemsg.cli.rendering import wire_record, wire_text
from securemsg.cli.run import run
from securemsg.cli.settings import Settings
from securemsg.client.state.profile import Profile
from securemsg.client.wiredump import dump_wire
from securemsg.interfaces import IProfileStore
from securemsg.protocol.messages import Message, Unknown

ELSEWHERE = (
    "another process has the connection of this profile; its wire data is shown there, if that process was started with"
    " --show-wire"
)


@frozen
class CommandContext:
    """
    @ivar folder: of the profile; C{None}: it is in memory, for this command only.
    @ivar protection: how the keys are protected, in words.
    """

    settings: Settings
    folder: Path | None
    store: IProfileStore
    profile: Profile
    protection: str
    now: Callable[[], float] = time.time

    @property
    def profile_folder(self) -> Path:
        """The folder, for commands that guests do not have."""
        assert self.folder is not None, "only guests have none"
        return self.folder

    @property
    def address(self) -> ServerAddress:
        """The ways to the server."""
        settings = self.settings
        return address_of(self.profile, settings.host, settings.port, settings.transport, settings.require_pq)

    @property
    def where(self) -> str:
        """Host and port, for messages."""
        return str(self.address)

    def wake_owner(self) -> bool:
        """Wake the process that has the connection, if there is one, so that it looks into the store."""
        return wake(self.folder)

    def run_connected(
        self,
        work: Callable[[Any, AccountConnection], Coroutine[Any, Any, int]],
        *,
        again: bool = False,
        prompt: bool = False,
        show_wire: bool = False,
        show: Callable[[str], object] = say,
    ) -> int:
        """
        Run a command that needs the server, in the reactor.

        @param again: connect again after a failure, for as long as it takes, and say once that there is none.
        @param prompt: it uses a prompt of asyncio's.
        @param show_wire: show on standard error what goes over the wire.
        @param show: shows a line of that.
        @return: its exit status.
        """
        as_json = self.settings.as_json
        # A prompt shows the state of the connection; other commands report once that there is none.
        retry = Retry(lambda code, where: report_waiting(code, where, as_json))
        waits = self.settings.retry or (again and not prompt)

        async def whole(reactor: Any) -> int:
            connection = make_connection(
                reactor,
                self.folder,
                self.store,
                self.profile,
                self.address,
                now=self.now,
                again=again,
                warn=lambda event: report_warning(event, as_json),
                retry=retry if waits else None,
                watch=partial(self._show_wire, show) if show_wire else None,
            )
            # Runs however we end: done, failed or interrupted.
            reactor.addSystemEventTrigger("before", "shutdown", connection.stop)
            connection.start()
            if show_wire and not connection.is_owner:
                report_note("through-another-process", ELSEWHERE, as_json)
            status = await work(reactor, connection)
            await flush(reactor, self.store, connection)
            return status

        return run(whole, debug=self.settings.debug, as_json=as_json, prompt=prompt)

    def _show_wire(self, show: Callable[[str], object], message: Message | Unknown) -> None:
        dump = dump_wire(message)
        if dump is not None:
            if self.settings.as_json:
                say_json(wire_record(dump))
            else:
                show(wire_text(dump))
