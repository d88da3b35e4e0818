"""
The server's records in plain dicts: what SQLite does with SQL, said once more in Python.

L{Tables} is what a crash leaves behind, so it is only ever changed by whole operations that either happen or raise.
"""

from __future__ import annotations

from attrs import Factory, define, field

from securemsg.errors import Refusal
from securemsg.interfaces import (
    CLAIM_KEPT,
    MAX_OPEN_INVITES,
    AccountSummary,
    ClockReading,
    DepositRow,
    NewAccount,
    StoredAccount,
    StoredBundle,
    StoredDevice,
    StoredMessage,
    StoredPrekey,
    StoredStock,
    WriteBatch,
    WriteOutcome,
)


@define
class _Account:
    """An account and the mailbox numbers of its devices, in the order they came."""

    identity: bytes
    body: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    version: int
    created_at: int
    token: bytes = field(repr=False)
    mailboxes: dict[bytes, int] = Factory(dict)


@define
class _Mailbox:
    """
    A device, what waits for it, and its prekeys.

    @ivar waiting: position to (deposit, own part).
    @ivar one_time: what was not claimed, by id; C{kem} likewise.
    @ivar spent: (kind, id) of what was claimed, and when.
    @ivar claims: requester to (when, what it got).
    """

    signing_key: bytes
    highest: int = 0
    waiting: dict[int, tuple[DepositRow, bytes]] = Factory(dict)
    signed: StoredPrekey | None = None
    last_resort: StoredPrekey | None = None
    one_time: dict[int, StoredPrekey] = Factory(dict)
    kem: dict[int, StoredPrekey] = Factory(dict)
    spent: dict[tuple[str, int], int] = Factory(dict)
    claims: dict[int, tuple[int, StoredBundle]] = Factory(dict)

    def size(self) -> int:
        """Bytes that wait."""
        return sum(len(deposit.common) + len(own) for deposit, own in self.waiting.values())


@define
class _Token:
    """What admits registrations."""

    uses: int
    expires_at: int
    creator: str


@define
class Tables:
    """
    Everything a server store knows.

    @ivar clock: the expiry clock, as last kept.
    """

    _accounts: dict[str, _Account] = Factory(dict)
    _mailboxes: dict[int, _Mailbox] = Factory(dict)
    _tokens: dict[bytes, _Token] = Factory(dict)
    _deposits: dict[tuple[int, bytes], tuple[bytes, int]] = Factory(dict)  # digest, when to forget it
    _next_mailbox: int = 1
    clock: ClockReading = ClockReading(0, 0)

    # Accounts

    def load_account(self, name: str) -> StoredAccount | None:
        """See L{securemsg.interfaces.IDirectoryStore.load_account}."""
        account = self._accounts.get(name)
        if account is None:
            return None
        devices = []
        for device, number in account.mailboxes.items():
            box = self._mailboxes[number]
            last = max(box.waiting, default=0)
            devices.append(StoredDevice(device, box.signing_key, number, box.highest, len(box.waiting), box.size(), last))
        return StoredAccount(
            name,
            account.identity,
            account.body,
            account.signature,
            account.version,
            account.created_at,
            tuple(devices),
        )

    def register(self, new: NewAccount) -> None:
        """
        See L{securemsg.interfaces.IDirectoryStore.register}.

        @raise Refusal: as said there.
        """
        there = self._accounts.get(new.name)
        if there is not None and (there.identity, there.token) == (new.identity, new.token):
            return
        if new.token and not self._is_good(new.token, new.now):
            raise Refusal("bad-token")
        if there is not None:
            raise Refusal("name-taken")
        if new.token:
            self._tokens[new.token].uses -= 1
        account = _Account(new.identity, new.body, new.signature, new.version, new.now, new.token)
        self._accounts[new.name] = account
        self._add_devices(account, new.devices)

    def publish(self, name: str, version: int, body: bytes, signature: bytes, devices: tuple[tuple[bytes, bytes], ...]) -> None:
        """
        See L{securemsg.interfaces.IDirectoryStore.publish}.

        @raise Refusal: as said there.
        """
        account = self._accounts.get(name)
        if account is None:
            raise Refusal("no-such-account")
        if (version, body, signature) == (account.version, account.body, account.signature):
            return
        if version != account.version + 1:
            raise Refusal("stale-list")
        account.version, account.body, account.signature = version, body, signature
        wanted = dict(devices)
        for device, number in list(account.mailboxes.items()):
            if wanted.get(device) != self._mailboxes[number].signing_key:
                del self._mailboxes[number], account.mailboxes[device]
        self._add_devices(account, devices)

    def _add_devices(self, account: _Account, devices: tuple[tuple[bytes, bytes], ...]) -> None:
        """Give a mailbox to every device that has none."""
        for device, signing_key in devices:
            if device not in account.mailboxes:
                account.mailboxes[device] = self._next_mailbox
                self._mailboxes[self._next_mailbox] = _Mailbox(signing_key)
                self._next_mailbox += 1

    def remove_account(self, name: str) -> None:
        """
        See L{securemsg.interfaces.IDirectoryStore.remove_account}.

        @raise Refusal: as said there.
        """
        account = self._accounts.pop(name, None)
        if account is None:
            raise Refusal("no-such-account")
        for number in account.mailboxes.values():
            del self._mailboxes[number]
        self._tokens = {digest: token for digest, token in self._tokens.items() if token.creator != name}

    def list_accounts(self, after: str, limit: int) -> list[AccountSummary]:
        """See L{securemsg.interfaces.IDirectoryStore.list_accounts}."""
        found = []
        for name in sorted(name for name in self._accounts if name > after)[:limit]:
            account = self._accounts[name]
            boxes = [self._mailboxes[number] for number in account.mailboxes.values()]
            messages, size = sum(len(box.waiting) for box in boxes), sum(box.size() for box in boxes)
            found.append(AccountSummary(name, account.created_at, len(boxes), messages, size))
        return found

    def add_token(self, digest: bytes, uses: int, expires_at: int, creator: str) -> None:
        """
        See L{securemsg.interfaces.ITokenStore.add_token}.

        @raise Refusal: as said there.
        """
        if digest in self._tokens:
            return
        open_ones = sum(1 for token in self._tokens.values() if token.creator == creator and token.uses > 0)
        if creator and open_ones >= MAX_OPEN_INVITES:
            raise Refusal("too-many-invites")
        self._tokens[digest] = _Token(uses, expires_at, creator)

    def admits(self, name: str, identity: bytes, token: bytes, now: int) -> bool:
        """See L{securemsg.interfaces.ITokenStore.admits}."""
        there = self._accounts.get(name)
        return (there is not None and (there.identity, there.token) == (identity, token)) or self._is_good(token, now)

    def _is_good(self, digest: bytes, now: int) -> bool:
        """Does this token admit anybody?"""
        token = self._tokens.get(digest)
        return token is not None and token.uses > 0 and token.expires_at > now

    # Prekeys

    def add_prekeys(
        self,
        mailbox: int,
        signed: StoredPrekey | None,
        last_resort: StoredPrekey | None,
        one_time: tuple[StoredPrekey, ...],
        kem: tuple[StoredPrekey, ...],
        limit: int,
        replace: bool,
    ) -> None:
        """
        See L{securemsg.interfaces.IPrekeyStore.add_prekeys}.

        @raise Refusal: as said there.
        """
        box = self._mailboxes.get(mailbox)
        if box is None:
            return
        kept: dict[str, dict[int, StoredPrekey]] = {}
        for kind, there, offered in (("one-time", box.one_time, one_time), ("kem", box.kem, kem)):
            new = {prekey.id: prekey for prekey in offered if (kind, prekey.id) not in box.spent}
            old = {number: prekey for number, prekey in there.items() if not replace or number in new}
            kept[kind] = {**new, **old}
            if len(kept[kind]) > limit:
                raise Refusal("too-many-prekeys")
        box.one_time, box.kem = kept["one-time"], kept["kem"]
        if replace:
            box.claims = {}
        if signed is not None and (box.signed is None or signed.id > box.signed.id):
            box.signed = signed
        if last_resort is not None and (box.last_resort is None or last_resort.id > box.last_resort.id):
            box.last_resort = last_resort

    def claim(self, mailbox: int, requester: int, now: int, fresh: bool, spent: int) -> StoredBundle | None:
        """See L{securemsg.interfaces.IPrekeyStore.claim}."""
        box = self._mailboxes.get(mailbox)
        if box is None:
            return None
        claimed_at, bundle = box.claims.get(requester, (0, None))
        if bundle is not None and now - claimed_at < CLAIM_KEPT and bundle.kem.id != spent:
            return bundle
        if box.signed is None or (box.last_resort is None and not (fresh and box.kem)):
            return None
        one_time = box.one_time.pop(min(box.one_time)) if fresh and box.one_time else None
        if one_time is not None:
            box.spent["one-time", one_time.id] = now
        kem = box.kem.pop(min(box.kem)) if fresh and box.kem else None
        if kem is not None:
            box.spent["kem", kem.id] = now
        chosen = kem or box.last_resort
        assert chosen is not None
        bundle = StoredBundle(box.signed, chosen, kem is None, one_time)
        if fresh:
            box.claims[requester] = (now, bundle)
        return bundle

    def stock(self, mailbox: int) -> StoredStock:
        """See L{securemsg.interfaces.IPrekeyStore.stock}."""
        box = self._mailboxes.get(mailbox)
        if box is None:
            return StoredStock(0, 0, 0, 0)
        signed = box.signed.id if box.signed else 0
        last_resort = box.last_resort.id if box.last_resort else 0
        return StoredStock(signed, last_resort, len(box.one_time), len(box.kem))

    # Mailboxes

    def write(self, batch: WriteBatch) -> WriteOutcome:
        """See L{securemsg.interfaces.IMailboxStore.write}."""
        known = {}
        highest = dict(batch.highest)
        for index, deposit in enumerate(batch.deposits):
            highest[deposit.sender] = max(highest.get(deposit.sender, 0), deposit.n)
            key = deposit.sender, deposit.deposit_id
            if key in self._deposits:
                known[index] = self._deposits[key][0]
                continue
            self._deposits[key] = deposit.digest, deposit.forget_at
            for row in deposit.rows:
                if (box := self._mailboxes.get(row.mailbox)) is not None:
                    assert row.position not in box.waiting, "a position was given twice"
                    box.waiting[row.position] = deposit, row.own
        for number, position in batch.acknowledged.items():
            if (box := self._mailboxes.get(number)) is not None:
                box.waiting = {place: row for place, row in box.waiting.items() if place > position}
        for number, n in highest.items():
            if (box := self._mailboxes.get(number)) is not None:
                box.highest = max(box.highest, n)
        return WriteOutcome(known)

    def page(self, mailbox: int, after: int, limit: int, size: int) -> list[StoredMessage]:
        """See L{securemsg.interfaces.IMailboxStore.page}."""
        box = self._mailboxes.get(mailbox)
        found: list[StoredMessage] = []
        total = 0
        for position, (deposit, own) in sorted(box.waiting.items()) if box else ():
            if len(found) >= limit or (found and total >= size):
                break
            if position > after:
                total += len(deposit.common) + len(own)
                found.append(
                    StoredMessage(
                        position,
                        deposit.account,
                        deposit.device,
                        deposit.deposit_id,
                        deposit.arrived_at,
                        deposit.expires_at,
                        deposit.common,
                        own,
                    )
                )
        return found

    def find_deposit(self, sender: int, deposit_id: bytes) -> bytes | None:
        """See L{securemsg.interfaces.IMailboxStore.find_deposit}."""
        found = self._deposits.get((sender, deposit_id))
        return None if found is None else found[0]

    def expire(self, clock: ClockReading, date: int, forget_before: int, limit: int) -> dict[int, tuple[int, int]]:
        """See L{securemsg.interfaces.IMailboxStore.expire}."""
        now = clock.now
        self.clock = ClockReading(max(self.clock.now, now), clock.wall)
        taken: dict[int, tuple[int, int]] = {}
        left = limit
        for number, box in self._mailboxes.items():
            gone = [place for place, (deposit, _) in sorted(box.waiting.items()) if deposit.expires_at <= now][:left]
            if gone:
                rows = [box.waiting.pop(place) for place in gone]
                taken[number] = len(rows), sum(len(deposit.common) + len(own) for deposit, own in rows)
                left -= len(rows)
            box.spent = {key: at for key, at in box.spent.items() if at >= forget_before}
            box.claims = {who: claim for who, claim in box.claims.items() if now - claim[0] < CLAIM_KEPT}
        self._deposits = {key: row for key, row in self._deposits.items() if row[1] > now}
        self._tokens = {digest: token for digest, token in self._tokens.items() if token.expires_at > date}
        return taken
