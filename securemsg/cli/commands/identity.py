"""C{securemsg identity}: new keys for an account, signed by the old ones."""

from __future__ import annotations

import sys
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

    Leave your rooms first, and have yourself invited again. Messages that are held back (see doctor) are lost: accept the new
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
        for _ in range(ATTEMPTS):
            with self._context.store.reading() as records:
                is_begun = renewal.is_begun(records)
            if not is_begun:
                await self._context.connected(reactor, self._take_in)
                self._begin()
            try:
                return await self._context.connected(reactor, self._register)
            except SecuremsgError as problem:
                if problem.code != "mailbox-not-empty":
                    raise
            with self._context.store.writing() as records:
                renewal.revert(records)
        raise error_for("mailbox-not-empty")

    async def _take_in(self, reactor: Any, connection: AccountConnection) -> int:
        """Take in all that waits under the old keys, send what is sealed with them, and hang up."""
        from securemsg.account.flush import flush

        if not connection.is_owner:
            raise error_for("connected-elsewhere")
        await connection.ask("drained", timeout=self._context.settings.time_limit)
        await flush(reactor, self._context.store, connection, self._context.now)
        await connection.stop()
        return Exit.DONE

    def _begin(self) -> None:
        with self._context.store.reading() as records:
            old = load_rsa_key(records)
        rsa_key = None if old is None else RsaKey.generate(old.bits)
        try:
            with self._context.store.writing() as records:
                profile = load_profile(records)
                assert profile is not None, "it is open"
                renewal.begin(records, profile, rsa_key, int(self._context.now()))
        except Refusal as refusal:
            raise explain(refusal, "your contacts") from None

    async def _register(self, reactor: Any, connection: AccountConnection) -> int:
        """Have the server take the new keys."""
        store = self._context.store

        def is_done() -> bool | None:
            with store.reading() as records:
                return None if renewal.is_begun(records) else True

        if not connection.is_owner:
            raise error_for("connected-elsewhere")
        try:
            if await connection.until(is_done, self._context.settings.time_limit) is None:
                raise error_for(connection.last_failure or "timeout", connection.where)
            # Answers come in order: with this one the server has our prekeys, too, so that others can write to us.
            await connection.ask("ping", timeout=self._context.settings.time_limit)
        finally:
            await connection.stop()
        return Exit.DONE
