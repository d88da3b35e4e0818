"""The operator's commands: accounts and invites, where the server is, and what the contact C{server} replies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import define

from securemsg.errors import Refusal
from securemsg.interfaces import AccountSummary, IDirectoryStore, ITokenStore
from securemsg.protocol.devices import RESERVED_PREFIX, SERVER_NAME
from securemsg.protocol.messages import (
    MAX_TEXT,
    AccountRow,
    Accounts,
    Address,
    Details,
    DeviceRow,
    Done,
    GetAddress,
    GetDetails,
    InviteRow,
    Invites,
    Kick,
    ListAccounts,
    ListInvites,
    RemoveAccount,
    Removed,
    Reply,
    RevokeInvite,
    SetQuota,
    SetSuspended,
)
from securemsg.server.accounts import AccountCache
from securemsg.server.connection import ClientConnection
from securemsg.server.guests import Guests
from securemsg.server.limits import Settings

SendReply = Callable[[str, str, frozenset[bytes]], Awaitable[None]]


async def refuse_reply(account: str, text: str, present: frozenset[bytes]) -> None:
    """
    Refuse L{Reply} on a server without the contact C{server}.

    @raise Refusal: C{forbidden}.
    """
    raise Refusal("forbidden")


def _spare_contact(account: str) -> None:
    """
    Keep the contact in this process as it is.

    @raise Refusal: C{forbidden}.
    """
    if account == SERVER_NAME:
        raise Refusal("forbidden")


@define(eq=False)
class Operator:
    """
    The operator's commands.

    @ivar _reply: sends a text from the contact C{server} to an account, or to a guest who is connected; returns when it is
        committed, or raises Refusal.
    """

    _accounts: AccountCache
    _store: IDirectoryStore
    _tokens: ITokenStore
    _identity: bytes
    _address: Callable[[], tuple[str, int, int]]
    _settings: Settings
    _guests: Guests
    _reply: SendReply
    _log_account: Callable[[str, str], None]
    _now: Callable[[], float]

    async def list_accounts(self, connection: ClientConnection, message: ListAccounts) -> Accounts:
        """List one page of accounts."""
        page = self._settings.accounts_page
        found = await self._store.list_accounts(message.after, page + 1)
        return Accounts(message.request, [self._row(row) for row in found[:page]], len(found) > page)

    async def get_details(self, connection: ClientConnection, message: GetDetails) -> Details:
        """
        Say what is known of an account.

        @raise Refusal: C{no-such-account}.
        """
        stored = await self._store.load_account(message.account)
        account = self._accounts.adopt(stored)
        if stored is None or account is None:
            raise Refusal("no-such-account")
        settings, devices = self._settings, account.devices.values()
        quota = account.quota or settings.mailbox_messages
        now = int(self._now())
        rows = [
            DeviceRow(one.id, now if one.reader else one.last_seen, one.reader is not None, one.messages, one.size)
            for one in devices
        ]
        row = AccountRow(
            account.name,
            stored.created_at,
            len(rows),
            sum(one.messages for one in devices),
            sum(one.size for one in devices),
            max((one.last_seen for one in rows), default=0),
            account.logged_in,
            max((self._used(one.messages, one.size, quota) for one in devices), default=0),
            account.suspended,
        )
        return Details(message.request, row, rows, quota, settings.mailbox_size, not account.quota)

    async def remove_account(self, connection: ClientConnection, message: RemoveAccount) -> Removed:
        """
        Delete an account and end its connections.

        @raise Refusal: C{no-such-account}; C{forbidden}: the contact C{server} cannot be removed; C{account-active}: it was
            seen, and is to be removed only if not.
        """
        _spare_contact(message.account)
        if message.unseen_since:
            stored = await self._store.load_account(message.account)
            # What is in memory is newer than what the store knows of logins.
            account = self._accounts.adopt(stored)
            if stored is not None and account is not None:
                seen = max(stored.created_at, account.last_seen)
                if account.logged_in or seen >= message.unseen_since:
                    raise Refusal("account-active")
        # Before, so that nothing new begins with the account, and after, because a login may have loaded it in between.
        self._accounts.forget(message.account)
        gone = await self._store.remove_account(message.account)
        self._accounts.forget(message.account)
        self._log_account("removed", message.account)
        return Removed(message.request, gone.devices, gone.messages, gone.size)

    async def set_suspended(self, connection: ClientConnection, message: SetSuspended) -> Done:
        """
        Keep an account from logging in, and end its connections; or let it log in again.

        @raise Refusal: C{no-such-account}; C{forbidden}: the contact C{server} is not suspended.
        """
        _spare_contact(message.account)
        await self._store.set_suspended(message.account, message.suspended)
        account = self._accounts.get(message.account)
        if account is not None:
            account.suspended = message.suspended
            if message.suspended:
                account.end("suspended")
        self._log_account("suspended" if message.suspended else "resumed", message.account)
        return Done(message.request)

    async def set_quota(self, connection: ClientConnection, message: SetQuota) -> Done:
        """
        Set how many messages each mailbox of an account may hold.

        @raise Refusal: C{no-such-account}.
        """
        await self._store.set_quota(message.account, message.messages)
        account = self._accounts.get(message.account)
        if account is not None:
            account.quota = message.messages
        return Done(message.request)

    async def kick(self, connection: ClientConnection, message: Kick) -> Done:
        """
        End all connections of an account.

        @raise Refusal: C{no-such-account}; C{forbidden}: the contact C{server} stays.
        """
        _spare_contact(message.account)
        account = await self._accounts.load(message.account)
        if account is None:
            raise Refusal("no-such-account")
        account.end("kicked")
        return Done(message.request)

    def _row(self, row: AccountSummary) -> AccountRow:
        """An account as the store has it, with what is newer in memory."""
        account = self._accounts.get(row.name)
        online = 0 if account is None else account.logged_in
        seen = int(self._now()) if online else max(row.last_seen, 0 if account is None else account.last_seen)
        used = self._used(row.fullest_messages, row.fullest_size, row.quota or self._settings.mailbox_messages)
        suspended = bool(row.suspended)
        return AccountRow(row.name, row.created_at, row.devices, row.messages, row.size, seen, online, used, suspended)

    def _used(self, messages: int, size: int, quota: int) -> int:
        """The percentage that is used of a mailbox."""
        return max(100 * messages // quota, 100 * size // self._settings.mailbox_size)

    async def list_invites(self, connection: ClientConnection, message: ListInvites) -> Invites:
        """List one page of open invites."""
        page = self._settings.accounts_page
        found = await self._tokens.list_tokens(message.after, int(self._now()), page + 1)
        rows = [InviteRow(row.digest, row.uses, row.expires_at, row.creator) for row in found[:page]]
        return Invites(message.request, rows, len(found) > page)

    async def revoke_invite(self, connection: ClientConnection, message: RevokeInvite) -> Done:
        """Have an invite admit nobody any more; one that is not there admits nobody anyway."""
        await self._tokens.revoke_token(message.digest)
        return Done(message.request)

    async def get_address(self, connection: ClientConnection, message: GetAddress) -> Address:
        """The address and identities that an invite contains."""
        host, port, udp_port = self._address()
        contact = await self._accounts.load(SERVER_NAME)
        return Address(message.request, host, port, udp_port, self._identity, contact.identity if contact is not None else b"")

    async def reply(self, connection: ClientConnection, message: Reply) -> Done:
        """
        Send a text from the contact C{server} to an account or to a guest.

        @raise Refusal: C{no-such-account}, also if no guest of that name is connected; C{bad-request}: the text is empty;
            C{too-large}; C{forbidden}: the contact cannot write to itself, or this server has none.
        """
        name = message.account
        if not message.text:
            raise Refusal("bad-request")
        if len(message.text.encode()) > MAX_TEXT:
            raise Refusal("too-large")
        if name == SERVER_NAME:
            raise Refusal("forbidden")
        # Guests are in no directory, and have no mailbox: they get the text now or not at all.
        present = self._guests.devices_of(name)
        if not present and (name.startswith(RESERVED_PREFIX) or await self._accounts.load(name) is None):
            raise Refusal("no-such-account")
        await self._reply(name, message.text, present)
        return Done(message.request)
