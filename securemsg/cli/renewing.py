"""What C{securemsg identity renew} runs: new keys, and connections with the old ones and the new."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from securemsg.account.connection import AccountConnection
from securemsg.account.errors import Exit, SecuremsgError, error_for, explain
from securemsg.account.flush import flush
from securemsg.cli.context import CommandContext
from securemsg.cli.output import say, write_record
from securemsg.cli.run import run
from securemsg.client import renewal
from securemsg.client.state.profile import load_profile
from securemsg.client.state.rsakeys import load_rsa_key
from securemsg.crypto.keys import fingerprint
from securemsg.crypto.rsa import RsaKey
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords

# A message may come between the last look and the renewal: then it is read first.
ATTEMPTS = 5


class Renewal:
    """A renewal, in steps that may be interrupted."""

    def __init__(self, context: CommandContext) -> None:
        self._context = context
        self._rsa_key: RsaKey | None = None

    def run(self) -> int:
        """Renew, and say so."""
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
                    self._change(renewal.swap_keys)
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
            self._change(renewal.swap_keys)
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
