"""What is always true of a server store, whatever is done with it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from securemsg.errors import Refusal
from securemsg.interfaces import (
    ClockReading,
    DepositRow,
    MailboxRow,
    StoredAccount,
    StoredMessage,
    StoredPrekey,
    WriteBatch,
)
from securemsg.protocol.messages import MAX_OPEN_INVITES
from securemsg.storage.sqlite.memory import MemoryServerStore
from securemsg.storage.sqlite.schema import POSITION_BITS
from securemsg.storage.sqlite.segments import unpack_shared
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


class Store(RuleBasedStateMachine):
    """A store in memory, whose SQL is that on disk."""

    def __init__(self) -> None:
        super().__init__()
        self.reactor = HandReactor()
        self.store = MemoryServerStore()
        self.position = 0

    def everything(self) -> list[Any]:
        """All rows of all tables."""
        names = [name for (name,) in self.store.query("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return [self.store.query(f"SELECT * FROM {name}") for name in names]  # noqa: S608 -- the names are ours

    def load(self, name: str) -> StoredAccount | None:
        """An account."""
        return self.reactor.wait(self.store.load_account(name))

    def page(self, mailbox: int, after: int = 0, limit: int = 1000, size: int = 2**30) -> list[StoredMessage]:
        """What waits in a mailbox."""
        return self.reactor.wait(self.store.page(mailbox, after, limit, size))

    def attempt(self, operation: str, *arguments: object) -> None:
        """An operation is done, or refused and leaves no trace."""
        before = self.everything()
        try:
            self.reactor.wait(getattr(self.store, operation)(*arguments))
        except Refusal:
            assert self.everything() == before, (operation, arguments)

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
        self.attempt("register", account(name, *devices, token=token))

    @rule(name=NAMES, devices=DEVICES, behind=st.integers(-1, 1), body=st.sampled_from((b"one", b"two")))
    def publish(self, name: str, devices: list[bytes], behind: int, body: bytes) -> None:
        """Somebody publishes a list, often in place of the stored one."""
        stored = self.load(name)
        replaced = (stored.version if stored else 0) - behind
        self.attempt("publish", name, replaced, replaced + 1, body, b"signature", tuple((device, body) for device in devices))

    @rule(name=NAMES)
    def remove_account(self, name: str) -> None:
        """The operator removes an account."""
        self.attempt("remove_account", name)

    @rule(digest=TOKENS, uses=st.integers(0, 2), expires_at=TIMES, creator=st.sampled_from(("", "alice")))
    def add_token(self, digest: bytes, uses: int, expires_at: int, creator: str) -> None:
        """A token is issued."""
        self.attempt("add_token", digest, uses, expires_at, creator, MAX_OPEN_INVITES)

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
        self.attempt("add_prekeys", mailbox, first, prekeys(last)[0] if last else None, one_time, kem, 4, replace)

    @rule(mailbox=MAILBOXES, requester=MAILBOXES, now=TIMES, fresh=st.booleans(), spent=MAYBE_IDS)
    def claim(self, mailbox: int, requester: int, now: int, fresh: bool, spent: int) -> None:
        """A device claims a bundle of another."""
        self.attempt("claim", mailbox, requester, now, fresh, spent)

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
        known = self.reactor.write(self.store, batch).known
        for index, deposit in enumerate(rows):
            stored = self.reactor.wait(self.store.find_deposit(deposit.sender, deposit.deposit_id))
            assert stored == known.get(index, deposit.digest), "known with the digest of the first"

    @rule(now=TIMES, date=TIMES, forget_before=TIMES)
    def expire(self, now: int, date: int, forget_before: int) -> None:
        """Time passes: what has expired is gone, and nothing else."""
        waiting = {mailbox: self.page(mailbox) for mailbox in range(1, 7)}
        taken = self.reactor.wait(self.store.expire(ClockReading(now, date), date, forget_before, 1000))
        for mailbox, messages in waiting.items():
            assert self.page(mailbox) == [message for message in messages if message.expires_at > now]
            gone = [message for message in messages if message.expires_at <= now]
            size = sum(len(message.common) + len(message.own) for message in gone)
            assert taken.get(mailbox, (0, 0)) == (len(gone), size)

    @rule(mailbox=MAILBOXES, back=st.integers(0, 10), limit=st.integers(1, 4), size=st.integers(0, 9000))
    def read(self, mailbox: int, back: int, limit: int, size: int) -> None:
        """A device asks for some of its messages: it gets the next, no more than it can take, and one at least."""
        after = max(0, self.position - back)
        waiting = [message for message in self.page(mailbox) if message.position > after]
        found = self.page(mailbox, after, limit, size)
        assert found == waiting[: len(found)]
        sizes = [len(message.common) + len(message.own) for message in found]
        assert sum(sizes[:-1]) < size or len(found) <= 1
        assert len(found) in (limit, len(waiting)) or sum(sizes) >= size

    @rule()
    def restart(self) -> None:
        """The daemon is killed and starts again."""
        before = self.everything()
        self.store = self.store.crash()
        assert self.everything() == before

    @invariant()
    def counted(self) -> None:
        """The counts of a mailbox are those of its messages, which are in order."""
        devices = [device for name in ("alice", "bob") if (stored := self.load(name)) for device in stored.devices]
        for device in devices:
            waiting = self.page(device.mailbox)
            positions = [message.position for message in waiting]
            assert positions == sorted(set(positions))
            assert device.messages == len(waiting)
            assert device.size == sum(len(message.common) + len(message.own) for message in waiting)
            assert device.last_position == max(positions, default=0)
        summaries = self.reactor.wait(self.store.list_accounts("", 10))
        assert sum(account.size for account in summaries) == sum(device.size for device in devices)

    @invariant()
    def tidy(self) -> None:
        """Nothing belongs to a mailbox that is gone, and a common part is there for as long as a message needs it."""
        mailboxes = {mailbox for (mailbox,) in self.store.query("SELECT mailbox FROM mailboxes")}
        for source in ("devices", "prekeys", "spent", "claims"):
            assert {row[0] for row in self.store.query(f"SELECT mailbox FROM {source}")} <= mailboxes  # noqa: S608 -- the names are ours
        keys = self.store.query("SELECT place FROM messages")
        assert {key >> POSITION_BITS for (key,) in keys} <= mailboxes
        shared = self.store.query("SELECT shared FROM messages WHERE shared IS NOT NULL")
        needed = Counter(number for (numbers,) in shared for number in unpack_shared(numbers))
        assert dict(self.store.query("SELECT id, pending FROM commons")) == needed

    @invariant()
    def handed_out_once(self) -> None:
        """A one-time prekey is either there or was handed out."""
        both = "SELECT mailbox, kind, id FROM prekeys INTERSECT SELECT mailbox, kind, id FROM spent"
        assert self.store.query(both) == []


RandomTests = Store.TestCase
RandomTests.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
