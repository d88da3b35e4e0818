"""The context of a command: settings, and the open profile."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from securemsg.account.address import ServerAddress, address_of
from securemsg.account.errors import SecuremsgError
from securemsg.account.wake import wake
from securemsg.cli.output import say
from securemsg.cli.settings import Settings
from securemsg.client.state.profile import Profile
from securemsg.interfaces import IProfileStore

if TYPE_CHECKING:
    from securemsg.account.connection import AccountConnection


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

    def reworded(self, problem: SecuremsgError) -> SecuremsgError:
        """The same error in words for this kind of account."""
        return problem

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
        quiet: Collection[str] = (),
    ) -> int:
        """
        Run a command that needs the server, in the reactor.

        @return: its exit status; see L{connected}.
        """
        # It brings in the reactor and TLS: most of the time that a command takes to start.
        from securemsg.cli.run import run

        return run(
            lambda reactor: self.connected(
                reactor, work, again=again, prompt=prompt, show_wire=show_wire, show=show, quiet=quiet
            ),
            debug=self.settings.debug,
            as_json=self.settings.as_json,
            prompt=prompt,
        )

    async def connected(
        self,
        reactor: Any,
        work: Callable[[Any, AccountConnection], Coroutine[Any, Any, int]],
        *,
        again: bool = False,
        prompt: bool = False,
        show_wire: bool = False,
        show: Callable[[str], object] = say,
        quiet: Collection[str] = (),
    ) -> int:
        """
        Connect, in a reactor that runs; the connection ends with it.

        @param again: connect again after a failure, for as long as it takes, and say once that there is none.
        @param prompt: it uses a prompt of asyncio's.
        @param show_wire: show on standard error what goes over the wire.
        @param show: shows a line of that.
        @param quiet: codes of warnings that are not shown, because the command is about them.
        @return: what C{work} returns.
        """
        # As above.
        from securemsg.cli.connected import Connected

        connected = Connected(self.settings, self.folder, self.store, self.profile, self.address, self.now)
        return await connected.run(reactor, work, again=again, prompt=prompt, show_wire=show_wire, show=show, quiet=quiet)
