"""
What the operator may ask, over the same frames and the same table as everybody.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from securemsg.errors import Refusal
from securemsg.interfaces import IDirectoryStore
from securemsg.protocol.devices import SERVER_NAME
from securemsg.protocol.messages import (
    AccountRow,
    Accounts,
    Address,
    Done,
    GetAddress,
    ListAccounts,
    RemoveAccount,
)
from securemsg.server.accounts import AccountCache
from securemsg.server.caller import Caller


@define(eq=False)
class Operator:
    """
    Accounts and address, for whoever runs the server.
    """

    _accounts: AccountCache
    _store: IDirectoryStore
    _identity: bytes
    _address: Callable[[], tuple[str, int]]
    _page: int

    async def list_accounts(self, caller: Caller, message: ListAccounts) -> Accounts:
        """
        One page of all accounts.
        """
        page = self._page
        found = await self._store.list_accounts(message.after, page + 1)
        rows = [AccountRow(row.name, row.created_at, row.devices, row.messages, row.size) for row in found[:page]]
        return Accounts(message.request, rows, len(found) > page)

    async def remove_account(self, caller: Caller, message: RemoveAccount) -> Done:
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

    async def get_address(self, caller: Caller, message: GetAddress) -> Address:
        """
        What an invite says of this server.
        """
        host, port = self._address()
        contact = await self._accounts.load(SERVER_NAME)
        return Address(message.request, host, port, self._identity, contact.identity if contact is not None else b"")
