"""What the operator may do."""

from __future__ import annotations

from typing import cast

from twisted.internet.defer import Deferred

from securemsg.crypto import keys
from securemsg.protocol import auth
from securemsg.protocol.messages import (
    MAX_TEXT,
    Accounts,
    Address,
    Connections,
    Details,
    DeviceRow,
    Done,
    Failed,
    GetAddress,
    GetDetails,
    GetStats,
    Invite,
    Invited,
    Invites,
    Kick,
    ListAccounts,
    ListConnections,
    ListInvites,
    Ping,
    Pong,
    Refused,
    RemoveAccount,
    Removed,
    Reply,
    RevokeInvite,
    RotateKey,
    SetDraining,
    SetQuota,
    SetSuspended,
    Stats,
    TakeSnapshot,
    Welcome,
)
from securemsg.server.connection import ClientConnection
from securemsg.server.limits import Settings
from tests.server.case import TwoPeople
from tests.server.rig import DAY, START, Rig


class OperatorTests(TwoPeople):
    """The operator looks after Alice and Bob."""

    def setUp(self) -> None:
        """The operator is here."""
        super().setUp()
        self.operator = self.rig.operator()

    def test_accounts(self) -> None:
        """Accounts come by name, with what waits for them."""
        self.store([b"12345", b"123"])
        self.operator.ask(ListAccounts(1, ""))
        page = self.operator.one(Accounts)
        rows = [(row.name, row.created_at, row.devices, row.messages, row.size, row.online) for row in page.rows]
        self.assertEqual(rows, [("alice", START, 1, 0, 0, 1), ("bob", START, 1, 2, 14, 1)])
        self.assertFalse(page.more)

    def test_last_seen(self) -> None:
        """Who is online is seen now; else it is when the last connection ended, and the store has that after a crash."""
        self.rig.time += 60
        self.rig.lose(self.reader)
        self.rig.commit()
        self.rig.server.tick()
        self.rig.commit()
        self.rig.time += 60
        for _ in range(2):
            self.assertEqual(self.seen(), {"alice": START + 120, "bob": START + 60})
            self.rig.crash()
            self.operator, _ = self.rig.operator(), self.rig.login(self.alice)

    def test_seen_again(self) -> None:
        """Who stays logged in for days is seen every day, also if the process is killed then."""
        self.rig.commit()
        self.rig.time += 2 * DAY
        self.rig.server.tick()
        self.rig.commit()
        self.rig.crash()
        self.operator = self.rig.operator()
        self.assertEqual(self.seen(), {"alice": START + 2 * DAY, "bob": START + 2 * DAY})

    def seen(self) -> dict[str, int]:
        """When each account was seen."""
        self.operator.ask(ListAccounts(1, ""))
        return {row.name: row.last_seen for row in self.operator.one(Accounts).rows}

    def test_details(self) -> None:
        """An account is shown with its devices, what waits for each, and how much of the quota its fullest mailbox uses."""
        self.rig.settings = Settings(registration="open", mailbox_messages=8)
        self.rig.server.tick()
        self.rig.commit()
        self.rig.crash()
        self.operator, self.sender = self.rig.operator(), self.rig.login(self.alice)
        self.rig.time += 60
        self.store([b"12345", b"123"])
        self.operator.ask(GetDetails(1, "bob"), ListAccounts(2, ""), GetDetails(3, "nobody"))
        found = self.operator.one(Details)
        self.assertEqual(found.account, self.operator.one(Accounts).rows[1])
        self.assertEqual((found.account.used, found.account.online, found.account.last_seen), (25, 0, START))
        self.assertEqual(found.devices, [DeviceRow(self.bob.device_id, START, False, 2, 14)])
        self.assertEqual((found.quota_messages, found.is_default), (8, True))
        self.assertEqual(self.operator.one(Refused), Refused(3, "no-such-account"))

    def test_suspended(self) -> None:
        """A suspended account is cut off and kept out, also after a restart; what is sent to it is kept until it is resumed."""
        self.operator.ask(SetSuspended(1, "bob", True))
        self.operator.one(Done)
        self.assertEqual(self.reader.failed(), "suspended")
        self.assertEqual(self.rig.notes[-1], ("suspended", "bob"))
        self.store([b"kept"])
        for _ in range(2):
            self.assertEqual(self.rig.try_login(self.bob).failed(), "suspended")
            self.rig.crash()
        self.operator = self.rig.operator()
        self.operator.ask(GetDetails(1, "bob"), SetSuspended(2, "bob", False), GetDetails(3, "bob"))
        self.assertEqual([found.account.suspended for found in self.operator.pop(Details)], [True, False])
        self.assertEqual(self.rig.login(self.bob).delivered(), [b"kept"])

    def test_wrong_key_of_suspended(self) -> None:
        """Whoever cannot prove to be a device of a suspended account does not learn that it is."""
        self.operator.ask(SetSuspended(1, "bob", True))
        self.bob.device = keys.SigningKey.generate()
        self.assertEqual(self.rig.try_login(self.bob).failed(), "login-failed")

    def test_kick(self) -> None:
        """A kicked account is cut off, and may come back at once."""
        self.operator.ask(Kick(1, "bob"))
        self.operator.one(Done)
        self.assertEqual(self.reader.failed(), "kicked")
        self.rig.login(self.bob)

    def test_quota(self) -> None:
        """The quota of an account holds at once and after a restart, until it is that of any account again."""
        self.rig.lose(self.reader)
        self.operator.ask(SetQuota(1, "bob", 1))
        self.operator.one(Done)
        self.store([b"fits"])
        for _ in range(2):
            self.assertEqual(self.refused(self.sender.deposit(self.bob)), "mailbox-full")
            self.rig.crash()
            self.operator, self.sender = self.rig.operator(), self.rig.login(self.alice)
            self.sender.n = 10
        self.operator.ask(GetDetails(1, "bob"), SetQuota(2, "bob", 0))
        found = self.operator.one(Details)
        self.assertEqual((found.quota_messages, found.is_default, found.account.used), (1, False, 100))
        self.store([b"fits as well"])

    def test_not_changed(self) -> None:
        """What nobody has cannot be changed, and the contact that lives here stays as it is."""
        self.rig.try_register(self.rig.user("server"), binding=auth.MEMORY).one(Welcome)
        for name, code in (("nobody", "no-such-account"), ("server", "forbidden")):
            self.operator.ask(SetSuspended(1, name, True), Kick(2, name))
            self.assertEqual(self.operator.pop(Refused), [Refused(1, code), Refused(2, code)])
        self.operator.ask(SetQuota(1, "nobody", 1))
        self.assertEqual(self.operator.one(Refused).code, "no-such-account")

    def test_pages(self) -> None:
        """Many accounts come in pages, each after the last name of the one before."""
        self.rig.settings = Settings(registration="open", accounts_page=1)
        self.rig.crash()
        self.operator = self.rig.operator()
        names, after = [], ""
        for request in range(3):
            self.operator.ask(ListAccounts(request, after))
            page = self.operator.one(Accounts)
            names += [row.name for row in page.rows]
            if not page.more:
                break
            after = names[-1]
        self.assertEqual(names, ["alice", "bob"])

    def test_remove(self) -> None:
        """A removed account is gone with what waited for it; its devices are told and do not get in again."""
        self.store([b"waits"])
        self.operator.ask(RemoveAccount(1, "bob"))
        self.assertEqual(self.operator.one(Removed), Removed(1, 1, 1, 8))
        self.assertEqual(self.reader.failed(), "removed")
        self.assertEqual(self.rig.notes[-1], ("removed", "bob"))
        self.assertEqual(self.rig.try_login(self.bob).failed(), "login-failed")
        self.assertEqual(self.rig.server.logged_in, 1)

    def test_remove_unseen(self) -> None:
        """Who is to go for having been away stays if somebody has been there, in memory or in the store, or is there now."""
        self.rig.time += 60
        self.operator.ask(RemoveAccount(1, "bob", START + 61), RemoveAccount(2, "bob", START))
        self.rig.lose(self.reader)
        self.operator.ask(RemoveAccount(3, "bob", START + 60))
        self.assertEqual(self.operator.pop(Refused), [Refused(number, "account-active") for number in (1, 2, 3)])
        self.rig.server.tick()
        self.rig.commit()
        self.rig.crash()
        self.operator = self.rig.operator()
        self.operator.ask(RemoveAccount(4, "bob", START + 60), RemoveAccount(5, "bob", START + 61))
        self.assertEqual(self.operator.one(Refused), Refused(4, "account-active"))
        self.assertEqual(self.operator.one(Removed).request, 5)

    def test_name_again(self) -> None:
        """Who takes a removed name gets nothing of what was for the one before."""
        self.store([b"waits"])
        self.operator.ask(RemoveAccount(1, "bob"))
        other, client = self.rig.register("bob")
        self.rig.commit()
        self.assertEqual(client.delivered(), [])
        self.assertEqual(self.refused(self.sender.deposit(self.bob)), "stale-devices")
        self.bob = other
        self.store([b"new"])
        self.assertEqual(client.delivered(), [b"new"])

    def test_remove_nobody(self) -> None:
        """There is no such account; and the contact that lives here stays."""
        self.rig.try_register(self.rig.user("server"), binding=auth.MEMORY).one(Welcome)
        self.operator.ask(RemoveAccount(1, "nobody"), RemoveAccount(2, "server"))
        self.assertEqual(self.operator.pop(Refused), [Refused(1, "no-such-account"), Refused(2, "forbidden")])

    def test_invites(self) -> None:
        """Open invites come in pages, with who made them; one that was revoked admits nobody."""
        self.rig.settings = Settings(accounts_page=1)
        self.rig.crash()
        self.operator, client = self.rig.operator(), self.rig.login(self.alice)
        self.operator.ask(Invite(1, 2, 3600))
        client.ask(Invite(1, 1, 60))
        tokens = {keys.sha256(self.operator.one(Invited).token): "", keys.sha256(client.one(Invited).token): "alice"}
        rows, after, more = [], b"", True
        while more:
            self.operator.ask(ListInvites(2, after))
            page = self.operator.one(Invites)
            rows += page.rows
            after, more = page.rows[-1].digest, page.more
        self.assertEqual({row.digest: row.creator for row in rows}, tokens)
        self.assertEqual({(row.uses, row.expires_at) for row in rows}, {(2, START + 3600), (1, START + 60)})
        self.operator.ask(RevokeInvite(3, rows[0].digest), ListInvites(4, b""))
        self.operator.one(Done)
        self.assertEqual(self.operator.one(Invites).rows, rows[1:])

    def test_address(self) -> None:
        """The address names host, port, the server identity, and the contact once there is one."""
        self.rig.server.address = ("chat.example", 8443, 8444)
        self.operator.ask(GetAddress(1))
        self.assertEqual(self.operator.one(Address), Address(1, "chat.example", 8443, 8444, self.rig.identity.public, b""))
        contact = self.rig.user("server")
        self.rig.try_register(contact, binding=auth.MEMORY).one(Welcome)
        self.operator.ask(GetAddress(2))
        self.assertEqual(self.operator.one(Address).contact, contact.identity.public)


class OperationsTests(TwoPeople):
    """The operator looks at the server as a whole."""

    def setUp(self) -> None:
        """The operator is here, and so is the contact."""
        super().setUp()
        self.contact = self.rig.try_register(self.rig.user("server"), binding=auth.MEMORY)
        self.operator = self.rig.operator()

    def test_connections(self) -> None:
        """Who is logged in is listed by name, with since when and over what; others are counted."""
        self.rig.connect()
        self.operator.ask(ListConnections(1))
        found = self.operator.one(Connections)
        self.assertEqual((found.total, found.devices), (5, 3))
        rows = [(row.account, row.since, row.transport) for row in found.rows]
        self.assertEqual(rows, [("alice", START, "tcp"), ("bob", START, "tcp"), ("server", START, "memory")])

    def test_stats(self) -> None:
        """Everything is counted."""
        self.store([b"12345", b"123"])
        self.operator.ask(Invite(1, 2, 3600), GetStats(2))
        self.assertEqual(self.operator.one(Stats), Stats(2, START, 4, 3, 0, 3, 3, 2, 14, 1, self.rig.space, False, START + DAY))

    def test_rotate_key(self) -> None:
        """The daemon makes its TLS key anew, or says why it does not."""
        self.operator.ask(RotateKey(1))
        self.assertEqual((self.operator.one(Done).request, self.rig.rotations), (1, 1))
        self.rig.rotation_refusal = "forbidden"
        self.operator.ask(RotateKey(2))
        self.assertEqual(self.operator.one(Refused), Refused(2, "forbidden"))
        lines = [line[1:] for line in self.rig.actions[-2:]]
        self.assertEqual(lines, [("rotate-key", "", "done"), ("rotate-key", "", "forbidden")])

    def test_snapshot(self) -> None:
        """Done says that the databases have been copied; where they cannot be, that is refused."""
        self.operator.ask(TakeSnapshot(1))
        self.assertEqual(self.operator.one(Refused).code, "retry-later")
        copied: Deferred[None] = Deferred()

        async def take() -> None:
            await copied

        self.rig.server.take_snapshot = take
        self.operator.ask(TakeSnapshot(2))
        self.assertEqual(self.operator.pop(Done), [])
        copied.callback(None)
        self.rig.run()
        self.operator.one(Done)
        self.assertEqual([action[1:] for action in self.rig.actions], [("backup", "", "retry-later"), ("backup", "", "done")])

    def test_drain(self) -> None:
        """Everybody is sent away and nobody let in but operator and contact, until that is taken back."""
        self.operator.ask(SetDraining(1, True))
        self.operator.one(Done)
        self.assertEqual((self.sender.failed(), self.reader.failed()), ("stopping", "stopping"))
        late = self.rig.connect()
        self.rig.run()
        self.assertEqual(late.failed(), "stopping")
        self.contact.ask(Ping(1))
        self.contact.one(Pong)
        self.operator = self.rig.operator()
        self.operator.ask(GetStats(1), SetDraining(2, False))
        self.assertTrue(self.operator.one(Stats).draining)
        self.rig.login(self.bob)

    def test_spread(self) -> None:
        """
        Those who are sent away are told when to connect again: spread over so long that 500 come in a second, 30 s at most.
        """
        ends: list[int | None] = []

        class Leaver:
            def end(self, code: str, retry_after: int | None = None) -> None:
                ends.append(retry_after)

        operations = self.rig.server._operations
        for share, count, told in ((0.0, 1, 1), (0.999, 1000, 1999), (0.999, 15_000, 29_971), (0.999, 60_000, 29_971)):
            operations._random = lambda share=share: share  # type: ignore[misc]
            ends.clear()
            operations.send_away([cast(ClientConnection, Leaver())] * count)
            self.assertEqual((len(ends), set(ends)), (count, {told}))

    def test_told_when(self) -> None:
        """Each hears its own time, if it has announced that it knows what that means."""
        rig = Rig(features=("retry-after",))
        clients = [rig.register(name)[1] for name in ("alice", "bob")]
        shares = [0.0, 0.75]
        rig.server._operations._random = shares.pop
        rig.operator().ask(SetDraining(1, True))
        self.assertEqual({client.one(Failed).retry_after for client in clients}, {1, 4})


class ReplyTests(TwoPeople):
    """The operator has the contact C{server} say something."""

    def setUp(self) -> None:
        """What is to be said is noted."""
        super().setUp()
        self.said: list[tuple[str, str]] = []
        self.operator = self.rig.operator()

        async def say(account: str, text: str, present: frozenset[bytes]) -> None:
            self.said.append((account, text))
            self.assertEqual(present, frozenset(), "nobody is here with a key file")

        self.rig.server.reply = say

    def answer(self, account: str, text: str) -> str:
        """
        Ask for it.

        @return: the code of the refusal; empty: it is done.
        """
        self.operator.send(Reply(7, account, text))
        self.rig.commit()
        refusals = self.operator.pop(Refused)
        self.assertEqual([refusal.request for refusal in refusals] or [self.operator.one(Done).request], [7])
        return refusals[0].code if refusals else ""

    def test_said(self) -> None:
        """An account gets what was asked for, whether it is connected or not."""
        self.rig.lose(self.reader)
        for account in ("alice", "bob"):
            self.assertEqual(self.answer(account, "Good evening"), "")
        self.assertEqual(self.said, [(account, "Good evening") for account in ("alice", "bob")])

    def test_nobody(self) -> None:
        """There is no such account, or nobody is here with such a key file, and nothing is said."""
        self.assertEqual(self.answer("nobody", "text"), "no-such-account")
        self.assertEqual(self.answer("key-1a2b3c4d", "text"), "no-such-account")
        self.assertEqual(self.said, [])

    def test_to_itself(self) -> None:
        """The contact does not talk to itself."""
        self.rig.contact()
        self.assertEqual(self.answer("server", "text"), "forbidden")
        self.assertEqual(self.said, [])

    def test_sizes(self) -> None:
        """A text has from one byte to 48 KiB of UTF-8, however few characters that are."""
        self.assertEqual(self.answer("bob", ""), "bad-request")
        self.assertEqual(self.answer("bob", "\u00e9" * (MAX_TEXT // 2) + "x"), "too-large")
        self.assertEqual(self.said, [])
        self.assertEqual(self.answer("bob", "\u00e9" * (MAX_TEXT // 2)), "")
        self.assertEqual(len(self.said), 1)

    def test_operator_alone(self) -> None:
        """Nobody else may ask for it."""
        self.sender.ask(Reply(1, "bob", "text"))
        self.assertEqual(self.sender.one(Refused), Refused(1, "forbidden"))
        self.assertEqual(self.said, [])

    def test_reserved_name(self) -> None:
        """A server without a contact that could say it refuses."""
        self.operator = self.rig.operator()
        self.rig.crash()
        self.operator = self.rig.operator()
        self.assertEqual(self.answer("bob", "text"), "forbidden")

    def test_not_shown(self) -> None:
        """The text is in nobody's log."""
        self.assertNotIn("Good evening", repr(Reply(1, "bob", "Good evening")))
