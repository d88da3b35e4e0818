"""Accounts and tokens, in every server store."""

from __future__ import annotations

from msgspec.structs import replace
from zope.interface.verify import verifyObject

from securemsg.interfaces import (
    AccountSummary,
    IServerStore,
    StoredAccount,
    StoredDevice,
    StoredLogin,
    StoredPrekey,
    StoredStock,
)
from securemsg.protocol.messages import MAX_OPEN_INVITES
from tests.storage.contract import InMemory, OnDisk, StoreContract
from tests.storage.stores import DAY, NOW, account, batch, deposit, prekeys

TOKEN = b"digest of a token"


class DirectoryContract(StoreContract):
    """The promises of L{securemsg.interfaces.IDirectoryStore} and L{securemsg.interfaces.ITokenStore}."""

    __test__ = False

    def token(self, uses: int = 1, expires_at: int = NOW + DAY, creator: str = "", digest: bytes = TOKEN) -> None:
        """Issue a token."""
        self.wait(self.store.add_token(digest, uses, expires_at, creator, MAX_OPEN_INVITES))

    def test_interface(self) -> None:
        """The store offers all that the server asks for."""
        verifyObject(IServerStore, self.store)

    def test_unknown(self) -> None:
        """An account that nobody made is not there."""
        self.assertIsNone(self.wait(self.store.load_account("nobody")))

    def test_registered(self) -> None:
        """An account is found as it was made, each device with an empty mailbox of its own."""
        self.wait(self.store.register(account("alice", b"phone", b"desk")))
        stored = self.wait(self.store.load_account("alice"))
        assert stored is not None
        phone, desk = stored.devices
        devices = (
            StoredDevice(b"phone", b"key of phone", phone.mailbox, 0, 0, 0, 0),
            StoredDevice(b"desk", b"key of desk", desk.mailbox, 0, 0, 0, 0),
        )
        self.assertEqual(stored, StoredAccount("alice", b"identity of alice", b"body 1", b"signature 1", 1, NOW, devices, 1))
        self.assertTrue(0 < phone.mailbox < desk.mailbox)

    def test_device_found(self) -> None:
        """A device's key is found under its account and no other; where either is missing there is none."""
        self.join("alice", b"phone", b"desk")
        self.join("bob", b"watch")
        asked = (("alice", b"phone"), ("alice", b"desk"), ("alice", b"watch"), ("bob", b"phone"), ("eve", b"phone"))
        found = [self.wait(self.store.find_device(*names)) for names in asked]
        self.assertEqual(found, [b"key of phone", b"key of desk", None, None, None])

    def test_login(self) -> None:
        """A login finds the account, and the prekeys of its own device; of an account without this device it finds nothing."""
        phone, desk = self.join("alice", b"phone", b"desk")
        self.join("bob", b"watch")
        signed, once = StoredPrekey(7, b"key", b"signature"), StoredPrekey(8, b"key", b"")
        self.wait(self.store.add_prekeys(desk, signed, None, (once,), (), 9, False))
        account = self.wait(self.store.load_account("alice"))
        assert account is not None
        asked = (("alice", b"phone"), ("alice", b"desk"), ("alice", b"watch"), ("eve", b"phone"))
        found = [self.wait(self.store.load_login(*names)) for names in asked]
        stocks = StoredStock(0, 0, 0, 0), StoredStock(7, 0, 1, 0)
        self.assertEqual(found, [*[StoredLogin(account, stock) for stock in stocks], None, None])

    def test_logins(self) -> None:
        """The last logins of a device are kept by the batch that has them, and no other; one that is gone is passed over."""
        phone, desk = self.join("alice", b"phone", b"desk")
        self.reactor.write(self.store, replace(batch(), logins={phone: (b"first", True, 1), 99: (b"gone", True, 1)}))
        self.reactor.write(self.store, replace(batch(), logins={phone: (b"second", False, 2)}))
        self.write(highest={phone: 7, desk: 7})
        self.reopen()
        self.assertEqual([device.logins for device in self.devices()], [b"second", b""])

    def test_rooms_announced(self) -> None:
        """Whether a device announced rooms at its last login is kept with that; before the first one it did not."""
        phone, desk = self.join("alice", b"phone", b"desk")
        for announced in (True, False, True):
            self.reactor.write(self.store, replace(batch(), logins={phone: (b"login", announced, 3)}))
            self.reopen()
            self.assertEqual([device.has_rooms for device in self.devices()], [announced, False])

    def test_registered_again(self) -> None:
        """A repeated registration succeeds, changes nothing, and uses nothing up."""
        self.token(uses=2)
        for _ in range(3):
            self.wait(self.store.register(account("alice", token=TOKEN)))
        before = self.devices()
        self.wait(self.store.register(account("bob", token=TOKEN)))
        self.assertEqual(self.devices(), before)

    def test_registered_again_late(self) -> None:
        """It succeeds also when the token has expired, or is forgotten."""
        self.token(expires_at=NOW + 10)
        self.wait(self.store.register(account("alice", token=TOKEN)))
        self.expire(0, date=NOW + 20)
        self.wait(self.store.register(account("alice", token=TOKEN)))

    def test_trees(self) -> None:
        """
        An account is in the tree of its inviter, however far; whom the operator or nobody invited is the root of its own. It
        stays in it when an inviter is removed.
        """
        self.join("open")
        for name, creator in (("alice", ""), ("bob", "alice"), ("carol", "bob"), ("dave", ""), ("erin", "dave")):
            self.token(creator=creator, digest=b"for " + name.encode())
            self.wait(self.store.register(account(name, token=b"for " + name.encode())))
        self.wait(self.store.remove_account("bob"))
        roots = {}
        for name in ("open", "alice", "carol", "dave", "erin"):
            stored = self.wait(self.store.load_account(name))
            assert stored is not None
            roots[name] = stored.root
        self.assertEqual(roots["carol"], roots["alice"])
        self.assertEqual(roots["erin"], roots["dave"])
        self.assertEqual(len(set(roots.values())), 3)

    def test_name_taken(self) -> None:
        """A name belongs to one identity, and to one registration of it."""
        self.token()
        self.join("alice")
        self.refused("name-taken", self.store.register(account("alice", token=TOKEN)))
        self.refused("name-taken", self.store.register(replace(account("alice"), identity=b"identity of eve")))

    def test_name_taken_spares_token(self) -> None:
        """A token is not used up by a name that is taken."""
        self.token(uses=1)
        self.join("alice")
        self.refused("name-taken", self.store.register(account("alice", token=TOKEN)))
        self.wait(self.store.register(account("bob", token=TOKEN)))

    def test_bad_token(self) -> None:
        """A token that is unknown, used up or expired admits nobody."""
        self.refused("bad-token", self.store.register(account("alice", token=TOKEN)))
        self.token(uses=1)
        self.wait(self.store.register(account("alice", token=TOKEN)))
        self.refused("bad-token", self.store.register(account("bob", token=TOKEN)))
        self.token(digest=b"old", expires_at=NOW)
        self.refused("bad-token", self.store.register(account("bob", token=b"old")))
        self.assertIsNone(self.wait(self.store.load_account("bob")))

    def test_admits(self) -> None:
        """A good token admits, and so does, for the account that it made, one that is good no more; to ask uses nothing up."""

        def admits(name: str, token: bytes, identity: bytes | None = None) -> bool:
            return self.wait(self.store.admits(name, identity or b"identity of " + name.encode(), token, NOW, False))

        self.token(uses=1)
        self.token(digest=b"old", expires_at=NOW)
        asked = [admits("alice", token) for token in (TOKEN, TOKEN, b"guess", b"old", b"")]
        self.assertEqual(asked, [True, True, False, False, False])
        self.wait(self.store.register(account("alice", token=TOKEN)))
        self.assertTrue(admits("alice", TOKEN))
        self.assertFalse(admits("bob", TOKEN))
        self.assertFalse(admits("alice", TOKEN, b"another"))
        self.assertFalse(admits("alice", b"guess"))

    def test_operators_only(self) -> None:
        """Where only the operator's tokens count, one that an account has issued admits nobody."""
        self.token(digest=b"hers", creator="alice")
        self.token(digest=b"operator's")
        asked = [self.wait(self.store.admits("bob", b"bob", token, NOW, True)) for token in (b"hers", b"operator's")]
        self.assertEqual(asked, [False, True])

    def test_list_tokens(self) -> None:
        """The open tokens come in order; those that are used up, expired or revoked do not."""
        for number, digest in enumerate((b"c", b"a", b"b", b"used up")):
            self.token(digest=digest, uses=3 - number, creator="alice" if number else "")
        self.token(digest=b"old", expires_at=NOW)
        found = self.wait(self.store.list_tokens(b"", NOW, 10))
        expected = [(b"a", 2, "alice"), (b"b", 1, "alice"), (b"c", 3, "")]
        self.assertEqual([(one.digest, one.uses, one.creator) for one in found], expected)
        self.assertEqual([one.digest for one in self.wait(self.store.list_tokens(b"a", NOW, 1))], [b"b"])
        self.wait(self.store.revoke_token(b"a"))
        self.wait(self.store.revoke_token(b"a"))
        self.assertEqual([one.digest for one in self.wait(self.store.list_tokens(b"", NOW, 10))], [b"b", b"c"])
        self.refused("bad-token", self.store.register(account("bob", token=b"a")))

    def test_bad_token_first(self) -> None:
        """Without a good token nobody learns which names are taken."""
        self.join("alice")
        self.refused("bad-token", self.store.register(account("alice", token=b"guess")))

    def test_token_kept_once(self) -> None:
        """A token that is issued twice is not refreshed."""
        self.token(uses=1)
        self.token(uses=5)
        self.wait(self.store.register(account("alice", token=TOKEN)))
        self.refused("bad-token", self.store.register(account("bob", token=TOKEN)))

    def test_too_many_invites(self) -> None:
        """
        An account has so many good tokens at a time; those used up or expired do not count, nor does the operator's number.
        """
        for number in range(MAX_OPEN_INVITES):
            self.token(creator="alice", digest=b"%d" % number, expires_at=NOW + 10 if number else NOW + DAY)
        self.refused("too-many-invites", self.store.add_token(b"more", 1, NOW + DAY, "alice", MAX_OPEN_INVITES))
        self.token(creator="bob", digest=b"bob's")
        self.wait(self.store.register(account("carol", token=b"0")))
        self.token(creator="alice", digest=b"more")
        self.refused("too-many-invites", self.store.add_token(b"even more", 1, NOW + DAY, "alice", MAX_OPEN_INVITES))
        self.expire(0, date=NOW + 10)
        self.token(creator="alice", digest=b"even more")
        for number in range(MAX_OPEN_INVITES + 1):
            self.token(digest=b"operator %d" % number)

    def test_published(self) -> None:
        """A list with the next version replaces the old one; devices that stay keep their mailbox, and what is in it."""
        phone, desk = self.join("alice", b"phone", b"desk")
        self.write(deposit(phone, b"d1", 5, (desk, 1)))
        devices = ((b"desk", b"key of desk"), (b"watch", b"key of watch"))
        self.wait(self.store.publish("alice", 1, 2, b"body 2", b"signature 2", devices))
        stored = self.wait(self.store.load_account("alice"))
        assert stored is not None
        self.assertEqual((stored.version, stored.body, stored.signature), (2, b"body 2", b"signature 2"))
        self.assertEqual([device.device for device in stored.devices], [b"desk", b"watch"])
        self.assertEqual(stored.devices[0].mailbox, desk)
        self.assertEqual(stored.devices[0].messages, 1)
        self.assertGreater(stored.devices[1].mailbox, desk)
        self.assertEqual(self.page(phone), [])

    def test_published_again(self) -> None:
        """The very same list again is success."""
        self.join("alice")
        for _ in range(2):
            self.wait(self.store.publish("alice", 1, 2, b"body 2", b"signature 2", ((b"phone", b"key of phone"),)))

    def test_stale_list(self) -> None:
        """A list that replaces another than the stored one is refused, and changes nothing."""
        self.join("alice")
        devices = ((b"watch", b"key of watch"),)
        for replaced in (0, 2):
            self.refused("stale-list", self.store.publish("alice", replaced, 3, b"body", b"signature", devices))
        self.assertEqual([device.device for device in self.devices()], [b"phone"])
        self.refused("no-such-account", self.store.publish("bob", 1, 2, b"body", b"signature", devices))

    def test_other_key(self) -> None:
        """A device whose key is another is another device."""
        (phone,) = self.join("alice")
        self.wait(self.store.publish("alice", 1, 2, b"body 2", b"signature 2", ((b"phone", b"other key"),)))
        (device,) = self.devices()
        self.assertEqual(device.signing_key, b"other key")
        self.assertGreater(device.mailbox, phone)

    def test_mailbox_numbers_once(self) -> None:
        """The number of a mailbox that is gone is not used again, not even the highest."""
        (before,) = self.join("alice")
        self.wait(self.store.remove_account("alice"))
        (after,) = self.join("alice")
        self.assertGreater(after, before)

    def test_removed(self) -> None:
        """An account that is removed leaves nothing behind that somebody could get at."""
        (phone,) = self.join("alice")
        self.write(deposit(phone, b"d1", 1, (phone, 1)))
        (prekey,) = prekeys(1)
        self.wait(self.store.add_prekeys(phone, prekey, prekey, (prekey,), (prekey,), 10, False))
        self.token(creator="alice")
        self.wait(self.store.remove_account("alice"))
        self.assertIsNone(self.wait(self.store.load_account("alice")))
        self.assertEqual(self.page(phone), [])
        self.assertIsNone(self.wait(self.store.claim(phone, 99, NOW, True, 0)))
        self.refused("bad-token", self.store.register(account("bob", token=TOKEN)))
        self.refused("no-such-account", self.store.remove_account("alice"))

    def test_listed(self) -> None:
        """Accounts are listed by name, from behind a name on, with what waits for them."""
        (carol,) = self.join("carol")
        alice, _ = self.join("alice", b"phone", b"desk")
        self.join("bob")
        self.write(deposit(carol, b"d1", 1, (alice, 1)), deposit(carol, b"d2", 2, (alice, 2)))
        size = 2 * len(b"common") + sum(len(b"own of %d/%d" % (alice, position)) for position in (1, 2))
        summaries = [
            AccountSummary("alice", NOW, 2, 2, size, fullest_messages=2, fullest_size=size),
            AccountSummary("bob", NOW, 1, 0, 0),
            AccountSummary("carol", NOW, 1, 0, 0),
        ]
        self.assertEqual(self.wait(self.store.list_accounts("", 10)), summaries)
        self.assertEqual(self.wait(self.store.list_accounts("", 1)), summaries[:1])
        self.assertEqual(self.wait(self.store.list_accounts("alice", 10)), summaries[1:])
        self.assertEqual(self.wait(self.store.list_accounts("carol", 10)), [])


class DirectoryOnDiskTests(DirectoryContract, OnDisk):
    """On SQLite."""

    __test__ = True


class DirectoryInMemoryTests(DirectoryContract, InMemory):
    """In memory."""

    __test__ = True
