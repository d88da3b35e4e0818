"""The two server stores do the same, whatever is done with them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from securemsg.errors import Refusal
from securemsg.interfaces import ClockReading, DepositRow, IServerStore, MailboxRow, StoredPrekey, WriteBatch
from securemsg.storage.memory import MemoryServerStore
from tests.storage.stores import NOW, HandReactor, account, prekeys

NAMES = st.sampled_from(("alice", "bob"))
DEVICES = st.lists(st.sampled_from((b"phone", b"desk", b"watch")), min_size=1, max_size=3, unique=True)
MAILBOXES = st.integers(1, 6)
IDS = st.integers(1, 6)
MAYBE_IDS = st.integers(0, 6)  # 0: none
TIMES = st.integers(NOW, NOW + 200_000)
DEPOSITS = st.tuples(
    MAILBOXES,
    st.sampled_from((b"d1", b"d2", b"d3", b"d4", b"d5")),
    st.integers(1, 20),
    TIMES,
    TIMES,
    st.lists(MAILBOXES, min_size=1, max_size=3, unique=True),
    st.sampled_from((0, 10, 5000)),
)
PREKEYS = st.lists(IDS, max_size=4, unique=True).map(lambda ids: prekeys(*ids))
TOKENS = st.sampled_from((b"", b"t1", b"t2"))


class Stores(RuleBasedStateMachine):
    """Both stores, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.reactor = HandReactor()
        self.disk = self.reactor.open(self.folder / "server.db")
        self.stores: tuple[IServerStore, IServerStore] = (self.disk, MemoryServerStore())
        self.position = 0

    def teardown(self) -> None:
        """Leave nothing behind."""
        self.reactor.wait(self.disk.close())
        shutil.rmtree(self.folder)
        assert self.reactor.failures == []

    def outcome(self, awaitable: Awaitable[Any]) -> Any:
        """What comes of an operation: its result, or the code it is refused with."""
        try:
            return self.reactor.wait(awaitable)
        except Refusal as refusal:
            return refusal.code

    def both(self, operation: str, *arguments: object) -> Any:
        """Do the same with both."""
        one, other = (self.outcome(getattr(store, operation)(*arguments)) for store in self.stores)
        assert one == other, (operation, arguments)
        return one

    @initialize()
    def begin(self) -> None:
        """There are some devices, with some prekeys."""
        self.register("alice", [b"phone", b"desk"], b"")
        self.register("bob", [b"phone"], b"")
        for mailbox in (1, 2, 3):
            self.add_prekeys(mailbox, 1, 2, prekeys(1, 2), prekeys(1, 2), False)

    @rule(name=NAMES, devices=DEVICES, token=TOKENS)
    def register(self, name: str, devices: list[bytes], token: bytes) -> None:
        """Somebody registers."""
        self.both("register", account(name, *devices, token=token))

    @rule(name=NAMES, devices=DEVICES, ahead=st.integers(0, 2), body=st.sampled_from((b"one", b"two")))
    def publish(self, name: str, devices: list[bytes], ahead: int, body: bytes) -> None:
        """Somebody publishes a list, often the next."""
        stored = self.both("load_account", name)
        version = ahead + (stored.version if stored else 0)
        self.both("publish", name, version, body, b"signature", tuple((device, body) for device in devices))

    @rule(name=NAMES)
    def remove_account(self, name: str) -> None:
        """The operator removes an account."""
        self.both("remove_account", name)

    @rule(digest=TOKENS, uses=st.integers(0, 2), expires_at=TIMES, creator=st.sampled_from(("", "alice")))
    def add_token(self, digest: bytes, uses: int, expires_at: int, creator: str) -> None:
        """A token is issued."""
        self.both("add_token", digest, uses, expires_at, creator)

    @rule(
        mailbox=MAILBOXES,
        signed=st.integers(0, 6),
        last=st.integers(0, 6),
        one_time=PREKEYS,
        kem=PREKEYS,
        replace=st.booleans(),
    )
    def add_prekeys(
        self,
        mailbox: int,
        signed: int,
        last: int,
        one_time: tuple[StoredPrekey, ...],
        kem: tuple[StoredPrekey, ...],
        replace: bool,
    ) -> None:
        """A device uploads prekeys."""
        first = prekeys(signed)[0] if signed else None
        self.both("add_prekeys", mailbox, first, prekeys(last)[0] if last else None, one_time, kem, 4, replace)

    @rule(mailbox=MAILBOXES, requester=MAILBOXES, now=TIMES, fresh=st.booleans(), spent=MAYBE_IDS)
    def claim(self, mailbox: int, requester: int, now: int, fresh: bool, spent: int) -> None:
        """A device claims a bundle of another."""
        self.both("claim", mailbox, requester, now, fresh, spent)

    @rule(
        deposits=st.lists(DEPOSITS, max_size=4),
        acknowledged=st.dictionaries(MAILBOXES, st.integers(0, 10)),
        highest=st.dictionaries(MAILBOXES, st.integers(1, 30)),
    )
    def write(self, deposits: list[Any], acknowledged: dict[int, int], highest: dict[int, int]) -> None:
        """A batch is committed."""
        rows = []
        for sender, deposit_id, n, arrived_at, expires_at, mailboxes, size in deposits:
            self.position += 1
            parts = tuple(MailboxRow(mailbox, self.position, b"own of %d" % mailbox) for mailbox in mailboxes)
            digest = b"digest %d" % self.position
            times = arrived_at, expires_at, expires_at + 50_000
            rows.append(DepositRow(sender, deposit_id, digest, n, "alice", b"phone", *times, bytes(size), parts))
        upto = {mailbox: max(0, self.position - back) for mailbox, back in acknowledged.items()}
        batch = WriteBatch(tuple(rows), upto, highest)
        one, other = (self.reactor.write(store, batch) for store in self.stores)
        assert one == other

    @rule(now=TIMES, date=TIMES, forget_before=TIMES)
    def expire(self, now: int, date: int, forget_before: int) -> None:
        """Time passes."""
        self.both("expire", ClockReading(now, date), date, forget_before, 1000)

    @rule(mailbox=MAILBOXES, back=st.integers(0, 10), limit=st.integers(1, 4), size=st.integers(0, 9000))
    def page(self, mailbox: int, back: int, limit: int, size: int) -> None:
        """A device asks for its messages."""
        self.both("page", mailbox, max(0, self.position - back), limit, size)

    @rule()
    def reopen(self) -> None:
        """The daemon starts anew."""
        self.reactor.wait(self.disk.close())
        self.disk = self.reactor.open(self.folder / "server.db")
        self.stores = (self.disk, self.stores[1])
        assert self.disk.last_clock() == self.stores[1].last_clock()

    @invariant()
    def agree(self) -> None:
        """Whatever can be asked is answered alike, and the counts are those of the messages."""
        for name in ("alice", "bob"):
            stored = self.both("load_account", name)
            for device in stored.devices if stored else ():
                waiting = self.both("page", device.mailbox, 0, 1000, 2**30)
                assert device.messages == len(waiting)
                assert device.size == sum(len(message.common) + len(message.own) for message in waiting)
        self.both("list_accounts", "", 10)
        for mailbox in range(1, 7):
            self.both("stock", mailbox)
            for deposit_id in (b"d1", b"d2"):
                self.both("find_deposit", mailbox, deposit_id)


AgreementTests = Stores.TestCase
AgreementTests.settings = settings(
    max_examples=20, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
