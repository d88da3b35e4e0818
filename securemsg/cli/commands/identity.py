"""C{securemsg identity}: new keys for an account, signed by the old ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from securemsg.account.errors import Exit, SecuremsgError, error_for, explain
from securemsg.cli.context import CommandContext
from securemsg.cli.helptext import Group
from securemsg.cli.output import say, write_record
from securemsg.cli.profiles import opened
from securemsg.cli.rendering import amount
from securemsg.cli.settings import json_option, settings_of, shared
from securemsg.client import renewal
from securemsg.client.rooms.store import RoomState, all_rooms
from securemsg.client.state.profile import load_profile
from securemsg.client.state.records import load_totals
from securemsg.client.state.rsakeys import load_rsa_key
from securemsg.crypto.keys import fingerprint
from securemsg.crypto.rsa import RsaKey
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords

if TYPE_CHECKING:
    from securemsg.account.connection import AccountConnection

# A message may come between the last look and the renewal: then it is read first.
ATTEMPTS = 5
# Rooms that know us by our identity.
JOINED = (RoomState.ASKED, RoomState.IN, RoomState.LEAVING, RoomState.BROKEN, RoomState.FORKED)


@click.group(cls=Group)
@json_option("Print a JSON object.")
@shared
def identity() -> None:
    """The keys by which others know this account."""


@identity.command()
@click.option("--yes", is_flag=True, help="Do not ask, and renew although messages are held back.")
@json_option("Print a JSON object.")
@shared
@click.pass_context
def renew(ctx: click.Context, yes: bool) -> int:
    """
    Make all keys of this account anew; the old ones sign the new.

    Do this if somebody may have a copy of the old keys, before they do. Your safety numbers change. Contacts who have chosen
    `contacts policy YOU signed` use the new keys at once; all others are warned, and nothing goes between you until they have
    compared numbers and accepted. Backups and other copies of this profile are of no more use.

    Leave your rooms first, and ask to be invited again. Messages that are held back (see doctor) are lost: accept the new
    keys of their senders first. If it is interrupted, run it again.
    """
    with opened(settings_of(ctx), joined=False) as context:
        with context.store.reading() as records:
            is_begun = renewal.is_begun(records)
            rooms = [room.alias for room in all_rooms(records) if room.state in JOINED]
            held = load_totals(records).rows
        if not is_begun:
            if not context.profile.registered:
                raise error_for("not-joined")
            if rooms:
                raise error_for("in-rooms", f"'#{rooms[0]}'")
            can_ask = sys.stdin.isatty() and sys.stderr.isatty()
            if held and not yes:
                text = f"{amount(held, 'message')} that could not be opened so far will be lost with the old keys"
                if not can_ask:
                    raise error_for("messages-held", text=text)
                say(text)
            if not yes and can_ask:
                click.confirm("Make all keys of this account anew?", abort=True, err=True)
        return _Renewal(context).run()


class _Renewal:
    """A renewal, in steps that may be interrupted."""

    def __init__(self, context: CommandContext) -> None:
        self._context = context
        self._rsa_key: RsaKey | None = None

    def run(self) -> int:
        """Renew, and say so."""
        from securemsg.cli.run import run

        context = self._context
        status = run(self._renew, debug=context.settings.debug, as_json=context.settings.as_json)
        if status == Exit.DONE:
            with context.store.reading() as records:
                profile = load_profile(records)
            assert profile is not None, "it was renewed"
            record: dict[str, object] = {"name": profile.name, "fingerprint": fingerprint(profile.identity.public)}
            text = f"{profile.name} has new keys, fingerprint {record['fingerprint']}"
            write_record(record, context.settings.as_json, text)
            if not context.settings.as_json:
                say(f"Contacts have to compare numbers and accept, unless they chose: contacts policy {profile.name} signed")
        return status

    async def _renew(self, reactor: Any) -> int:
        with self._context.store.reading() as records:
            old = load_rsa_key(records)
        # It takes a while, in which nothing may have begun.
        self._rsa_key = None if old is None or self._is(renewal.is_begun) else RsaKey.generate(old.bits)
        return await self._context.connected(reactor, self._work)

    async def _work(self, reactor: Any, connection: AccountConnection) -> int:
        """Renew with one connection after the other, and let no other process have one in between."""
        if not connection.is_owner:
            raise error_for("connected-elsewhere")
        for _ in range(ATTEMPTS):
            if not self._is(renewal.is_begun):
                try:
                    await self._take_in(reactor, connection)
                except SecuremsgError as problem:
                    if problem.code != "login-failed" or not self._is(renewal.is_refused):
                        raise
                    # It has taken the new keys after all.
                    self._change(renewal.exchange)
                else:
                    self._begin()
                await connection.log_in_again()
            try:
                await self._register(connection)
            except SecuremsgError as problem:
                if problem.code != "mailbox-not-empty":
                    raise
            else:
                return Exit.DONE
            self._change(renewal.exchange)
            await connection.log_in_again()
        raise error_for("mailbox-not-empty")

    def _is(self, question: Callable[[IRecords], bool]) -> bool:
        with self._context.store.reading() as records:
            return question(records)

    def _change(self, change: Callable[[IRecords], None]) -> None:
        with self._context.store.writing() as records:
            change(records)

    async def _take_in(self, reactor: Any, connection: AccountConnection) -> None:
        """Take in all that waits under the old keys, and send what is sealed with them."""
        from securemsg.account.flush import flush

        await connection.ask("drained", timeout=self._context.settings.time_limit)
        await flush(reactor, self._context.store, connection, self._context.now)

    def _begin(self) -> None:
        try:
            with self._context.store.writing() as records:
                profile = load_profile(records)
                assert profile is not None, "it is open"
                renewal.begin(records, profile, self._rsa_key, int(self._context.now()))
        except Refusal as refusal:
            raise explain(refusal, "your contacts") from None

    async def _register(self, connection: AccountConnection) -> None:
        """
        Wait until the server has taken the new keys.

        @raise SecuremsgError: it has not.
        """
        limit = self._context.settings.time_limit
        if await connection.until(lambda: None if self._is(renewal.is_begun) else True, limit) is None:
            raise error_for(connection.last_failure or "timeout", connection.where)
        # Answers come in order: with this one the server has our prekeys, too, so that others can write to us.
        await connection.ask("ping", timeout=limit)
