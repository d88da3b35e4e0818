"""What the operator may ask, over the same frames and the same table as everybody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import define

from securemsg.errors import Refusal
from securemsg.interfaces import IDirectoryStore
from securemsg.protocol.devices import RESERVED_PREFIX, SERVER_NAME
from securemsg.protocol.messages import (
    MAX_TEXT,
    AccountRow,
    Accounts,
    Address,
    Done,
    GetAddress,
    ListAccounts,
    RemoveAccount,
    Reply,
)
from securemsg.server.accounts import AccountCache
from securemsg.server.connection import ClientConnection
from securemsg.server.guests import Guests

Say = Callable[[str, str, frozenset[bytes]], Awaitable[None]]


async def refuse_reply(account: str, text: str, present: frozenset[bytes]) -> None:
    """
    What becomes of L{Reply} where nobody lives who could say it.

    @raise Refusal: C{forbidden}.
    """
    raise Refusal("forbidden")


@define(eq=False)
class Operator:
    """
    Accounts and address, for whoever runs the server.

    @ivar _visitors: whoever is here with a key file.
    @ivar _reply: has the contact C{server} say something to an account, or in one of the connections of those who have a key
        file; returns when that is committed, or raises Refusal.
    """

    _accounts: AccountCache
    _store: IDirectoryStore
    _identity: bytes
    _address: Callable[[], tuple[str, int]]
    _page: int
    _guests: Guests
    _reply: Say

    async def list_accounts(self, caller: ClientConnection, message: ListAccounts) -> Accounts:
        """One page of all accounts."""
        page = self._page
        found = await self._store.list_accounts(message.after, page + 1)
        rows = [AccountRow(row.name, row.created_at, row.devices, row.messages, row.size) for row in found[:page]]
        return Accounts(message.request, rows, len(found) > page)

    async def remove_account(self, caller: ClientConnection, message: RemoveAccount) -> Done:
        """
        Delete an account. Its devices are told, if they are here.

        @raise Refusal: C{no-such-account}; C{forbidden}: the contact C{server} goes with the server.
        """
        if message.account == SERVER_NAME:
            raise Refusal("forbidden")
        # Before, so that nothing new begins with it; and after, for a login may have found it in between.
        self._accounts.forget(message.account)
        await self._store.remove_account(message.account)
        self._accounts.forget(message.account)
        return Done(message.request)

    async def get_address(self, caller: ClientConnection, message: GetAddress) -> Address:
        """What an invite says of this server."""
        host, port = self._address()
        contact = await self._accounts.load(SERVER_NAME)
        return Address(message.request, host, port, self._identity, contact.identity if contact is not None else b"")

    async def reply(self, caller: ClientConnection, message: Reply) -> Done:
        """
        Have the contact C{server} say something to an account, or to whoever is called so by a key file.

        @raise Refusal: C{no-such-account}: also where nobody with this key file is connected; C{bad-request}: there is nothing
            to say; C{too-large}; C{forbidden}: the contact does not talk to itself, or nobody lives here.
        """
        name = message.account
        if not message.text:
            raise Refusal("bad-request")
        if len(message.text.encode()) > MAX_TEXT:
            raise Refusal("too-large")
        if name == SERVER_NAME:
            raise Refusal("forbidden")
        # Who came with a key file is in no directory, and hears nothing later: there is no mailbox.
        present = self._guests.present(name)
        if not present and (name.startswith(RESERVED_PREFIX) or await self._accounts.load(name) is None):
            raise Refusal("no-such-account")
        await self._reply(name, message.text, present)
        return Done(message.request)
