"""
C{securemsg recv}: print received messages, each once and in order.

A message is printed and flushed, then noted as shown, and marked as read together with others: a kill or a power cut before
that note repeats that one message, with the same id. Messages that arrive while the reader is slow wait in the store.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import click
from twisted.internet.defer import CancelledError, Deferred, succeed

from securemsg.account.connection import AccountConnection
from securemsg.account.errors import Exit, SecuremsgError, error_for
from securemsg.account.lobby import check_admitted, wait_until_in
from securemsg.account.names import aliases, full_name
from securemsg.account.readlocks import ReadLocks, take_read_lock
from securemsg.account.rooms import is_room
from securemsg.cli.context import CommandContext
from securemsg.cli.lobby import open_lobby
from securemsg.cli.notifier import Notifier, has_desktop
from securemsg.cli.output import STDOUT, OutputClosed, columns, json_line, report_note, say, write_later
from securemsg.cli.profiles import opened
from securemsg.cli.progress import progress
from securemsg.cli.rendering import amount, received_record, received_text, remark, runs
from securemsg.cli.settings import PEER, json_option, settings_of, shared
from securemsg.client import messages
from securemsg.client.messages import Received
from securemsg.client.state.contacts import get_contact
from securemsg.interfaces import Step
from securemsg.protocol.devices import LOBBY_NAME
from securemsg.storage.errors import StorageError

# Messages that are read from the store in one go.
PAGE = 64


@click.command()
@click.option("--follow", is_flag=True, help="Keep running, and reconnect when necessary.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="Wait for N messages, then end.")
@click.option("--from", "sender", type=PEER, metavar="NAME", help="Only messages from NAME, or in a room; others stay.")
@click.option("--notify", is_flag=True, help="With --follow: a desktop notification for each message, by notify-send.")
@json_option("Print JSON, one object per line.")
@shared
@click.pass_context
def recv(ctx: click.Context, follow: bool, count: int | None, sender: str | None, notify: bool) -> int:
    """
    Print waiting messages, each of them once.

    Without --count or --follow, recv prints what is waiting and ends. --timeout limits the wait; with 0 only messages that are
    already here are printed. If messages are waiting for a key file, their senders are listed, with the command that unlocks
    them. --from '#lobby' enters it; what was said there before is not sent.
    """
    if notify and not follow:
        raise click.UsageError("--notify needs --follow")
    if notify and not has_desktop():
        raise click.UsageError("--notify needs notify-send; on Debian: apt-get install libnotify-bin")
    with opened(settings_of(ctx)) as context:
        lock = take_read_lock(context.profile_folder)
        try:
            if sender is not None:
                sender = full_name(context.store, sender)
            open_lobby(context, sender)
            return _Receiving(context, follow, count, sender, notify).run()
        finally:
            lock.free()


class _Receiving:
    """One run of C{recv}."""

    def __init__(
        self, context: CommandContext, follow: bool, count: int | None, sender: str | None, notify: bool = False
    ) -> None:
        self._context = context
        self._notify = notify
        self._follow = follow
        self._count = count
        self._sender = sender
        # Whose session brings that.
        self._account = None if sender is None or is_room(sender) else context.profile.conversation(sender).account
        self._as_json = context.settings.as_json
        self._printed = 0
        self._read_locks = ReadLocks(context.folder, context.store)
        self._drained: bool | None = None
        self._problem: Exception | None = None

    def run(self) -> int:
        """Print messages until there are enough."""
        try:
            self._list_locked()
            return self._context.run_connected(self._read, again=self._follow)
        except OutputClosed:
            # The reader has seen enough; what was not written is not marked as read.
            return Exit.DONE

    def _list_locked(self) -> None:
        """Say whose messages wait for a key file, and what unlocks them."""
        for peer in messages.held_back(self._context.store):
            if peer.locked and not peer.again and self._account in (None, peer.name):
                command = f"securemsg contacts {peer.name} --set-suite psk --key-file FILE"
                text = f"messages from {peer.name} are waiting for a key file; unlock them with: {command}"
                report_note("need-key-file", text, self._as_json)

    def _report_held_back(self) -> None:
        """Say, once, of whom messages came that could not be opened, and why."""
        for peer in messages.pop_unreported(self._context.store, self._account):
            text = (
                f"{amount(peer.unreported, 'message')} from {peer.name} could not be opened ({peer.why}): a profile or the"
                f" server may have been restored from an older copy; {peer.name} is asked to send again, which takes a minute,"
                " or a day where it happens often"
            )
            report_note("held-back", text, self._as_json, peer.name)

    async def _read(self, reactor: Any, connection: AccountConnection) -> int:
        timeout = self._context.settings.timeout
        waits_for_drain = self._waits_for_drain
        deadline = None if timeout is None else reactor.seconds() + timeout
        asking = Deferred.fromCoroutine(self._drain(connection)) if waits_for_drain else succeed(None)
        notifier = Notifier(self._context, reactor, self._complain, on_desktop=self._notify)
        watching = notifier.watch(connection) if self._follow else None
        try:
            with progress("messages", is_active=waits_for_drain and not os.isatty(STDOUT)) as step:
                while True:
                    await self._print_waiting(reactor, step)
                    if self._is_enough():
                        return Exit.DONE
                    if self._follow:
                        self._report_held_back()
                    if self._drained is not None and not self._waiting():
                        break
                    left = None if deadline is None or waits_for_drain else deadline - reactor.seconds()
                    if left is not None and left <= 0:
                        break
                    await connection.until(self._has_news, left)
        finally:
            asking.cancel()
            if watching is not None:
                watching.cancel()
            self._report_held_back()
        if self._problem is not None:
            raise self._problem
        failure = connection.last_failure if self._context.settings.retry else connection.unreached if self._follow else ""
        if failure and not self._drained:
            raise error_for(failure, connection.where)
        if self._count is not None:
            raise error_for("too-few", text=f"{self._printed} of {self._count} messages arrived in time")
        self._check_sender()
        return Exit.DONE

    def _complain(self, text: str) -> None:
        report_note("notify", text, self._as_json)

    async def _drain(self, connection: AccountConnection) -> None:
        """Wait until everything that waited on the server is here."""
        try:
            await connection.ask("drained", timeout=self._context.settings.time_limit)
            if self._is_in_lobby:
                await wait_until_in(self._context.store, connection, self._context.settings.time_limit)
            self._drained = True
        except CancelledError:
            return
        except (SecuremsgError, StorageError) as problem:
            if not self._is_time_over(problem, connection):
                self._problem = problem
            self._drained = False
        connection.changed()

    def _is_time_over(self, problem: Exception, connection: AccountConnection) -> bool:
        """Whether C{--timeout} alone ended the wait. With C{--timeout 0} only messages that are here count."""
        limit = self._context.settings.timeout
        if limit is None or not (isinstance(problem, SecuremsgError) and problem.code == "timeout"):
            return False
        return not limit or connection.is_ready

    def _check_sender(self) -> None:
        """
        Nothing came from C{--from}: see whether anything can.

        @raise SecuremsgError: C{no-such-account}: nothing is known of this name.
        """
        held_back = {peer.name for peer in messages.held_back(self._context.store)}
        if self._account is None or self._printed or self._account in held_back or self._is_in_lobby:
            return
        with self._context.store.reading() as records:
            if get_contact(records, self._account) is None:
                raise error_for("no-such-account", self._account, text="{name} is not among your contacts")

    async def _print_waiting(self, reactor: Any, step: Step) -> None:
        """Print what is there, as long as more is wanted."""
        while not self._is_enough():
            rows = self._waiting()
            if not rows:
                return
            ours = self._read_locks.take_all(rows)
            try:
                for run in runs(ours, self._as_json):
                    if not self._read_locks.shown.is_due:
                        await self._print(reactor, run)
            finally:
                printed = self._read_locks.mark_shown(ours)
                self._printed += printed
                step(printed)

    async def _print(self, reactor: Any, run: Sequence[Received]) -> None:
        """Print messages, of which the first may need a remark, and note each."""
        text = remark(run[0])
        if text and not self._as_json:
            say(text)
        if self._as_json:
            lines = [json_line(received_record(message)) for message in run]
        else:
            width, known = columns(), aliases(self._context.store)
            lines = [received_text(message, width, aliases=known) for message in run]
        await write_later(reactor, *lines, written=lambda number: self._read_locks.shown.add(run[number]))

    def _waiting(self, most: int = PAGE) -> list[Received]:
        """The unread messages that no other process is showing."""
        limit = most if self._count is None else min(most, self._count - self._printed)
        return self._read_locks.free_of(messages.unread(self._context.store, self._sender, limit))

    @property
    def _is_in_lobby(self) -> bool:
        return self._sender == LOBBY_NAME

    def _has_news(self) -> bool | None:
        if self._is_in_lobby:
            check_admitted(self._context.store)
        has_unreported = self._follow and any(peer.unreported for peer in messages.held_back(self._context.store))
        return True if self._drained is not None or self._waiting(1) or self._waiting() or has_unreported else None

    @property
    def _waits_for_drain(self) -> bool:
        """Whether what waits on the server now is all that is wanted."""
        return self._count is None and not self._follow

    def _is_enough(self) -> bool:
        return self._count is not None and self._printed >= self._count
