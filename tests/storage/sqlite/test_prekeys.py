"""Public prekeys, in every server store."""

from __future__ import annotations

from securemsg.interfaces import CLAIM_KEPT, StoredBundle, StoredPrekey, StoredStock
from tests.storage.contract import InMemory, OnDisk, StoreContract
from tests.storage.stores import DAY, NOW, prekeys

LIMIT = 5


class PrekeyContract(StoreContract):
    """The promises of L{securemsg.interfaces.IPrekeyStore}."""

    __test__ = False

    def setUp(self) -> None:
        """A device without prekeys."""
        super().setUp()
        (self.phone,) = self.join("alice")

    def add(
        self,
        signed: int = 0,
        last_resort: int = 0,
        one_time: tuple[int, ...] = (),
        kem: tuple[int, ...] = (),
        replace: bool = False,
    ) -> None:
        """Upload prekeys with these ids."""
        self.wait(
            self.store.add_prekeys(
                self.phone,
                prekeys(signed)[0] if signed else None,
                prekeys(last_resort)[0] if last_resort else None,
                prekeys(*one_time),
                prekeys(*kem),
                LIMIT,
                replace,
            )
        )

    def claim(self, requester: int = 99, now: int = NOW, fresh: bool = True, spent: int = 0) -> StoredBundle | None:
        """Claim a bundle."""
        return self.wait(self.store.claim(self.phone, requester, now, fresh, spent))

    def ids(self, bundle: StoredBundle | None) -> tuple[int, int, bool, int]:
        """What a bundle consists of."""
        assert bundle is not None
        return bundle.signed.id, bundle.kem.id, bundle.kem_is_last_resort, bundle.one_time.id if bundle.one_time else 0

    def stock(self) -> StoredStock:
        """What is left."""
        return self.wait(self.store.stock(self.phone))

    def test_none(self) -> None:
        """A device without prekeys has no bundle and no stock."""
        self.assertIsNone(self.claim())
        self.assertEqual(self.stock(), StoredStock(0, 0, 0, 0))

    def test_incomplete(self) -> None:
        """There is no bundle without a signed prekey, nor without any KEM prekey."""
        self.add(one_time=(1,), kem=(1,))
        self.assertIsNone(self.claim())
        self.add(signed=1, replace=True)
        self.assertIsNone(self.claim())

    def test_bundle(self) -> None:
        """A bundle has every part that there is, keys and signatures as uploaded; the lowest ids go first."""
        self.add(1, 2, (4, 3), (6, 5))
        signed, one_time, kem = prekeys(1, 3, 5)
        expected = StoredBundle(signed, kem, False, one_time)
        self.assertEqual(self.claim(), expected)
        self.assertEqual(self.stock(), StoredStock(1, 2, 1, 1))

    def test_each_once(self) -> None:
        """Two requesters never get the same one-time prekey; when none is left, the last resort serves everybody."""
        self.add(1, 2, (3,), (4, 5))
        self.assertEqual(self.ids(self.claim(91)), (1, 4, False, 3))
        self.assertEqual(self.ids(self.claim(92)), (1, 5, False, 0))
        self.assertEqual(self.ids(self.claim(93)), (1, 2, True, 0))
        self.assertEqual(self.ids(self.claim(94)), (1, 2, True, 0))

    def test_same_again(self) -> None:
        """The same requester gets the same bundle for a day, also when there is more since, and then a new one."""
        self.add(1, 2, (3,), (4,))
        first = self.claim(now=NOW)
        self.add(1, 20, (30,), (40,))
        self.assertEqual(self.claim(now=NOW + CLAIM_KEPT - 1), first)
        self.assertEqual(self.claim(now=NOW + CLAIM_KEPT - 1, fresh=False), first)
        self.assertEqual(self.ids(self.claim(now=NOW + CLAIM_KEPT)), (1, 40, False, 30))

    def test_same_last_resort(self) -> None:
        """Who got the last resort gets it again, also when there are one-time prekeys since."""
        self.add(1, 2)
        first = self.claim()
        self.add(one_time=(3,), kem=(4,))
        self.assertEqual(self.claim(), first)

    def test_used_up(self) -> None:
        """Who says that the bundle is used up gets a new one, once; another id changes nothing."""
        self.add(1, 2, (3, 4), (5, 6))
        first = self.claim()
        self.assertEqual(self.claim(spent=77), first)
        second = self.claim(spent=5)
        self.assertEqual(self.ids(second), (1, 6, False, 4))
        self.assertEqual(self.claim(spent=5), second)

    def test_not_fresh(self) -> None:
        """A requester who asked too often gets the last resort, nothing one-time, and can get a proper bundle later."""
        self.add(1, 2, (3,), (4,))
        self.assertEqual(self.ids(self.claim(fresh=False)), (1, 2, True, 0))
        self.assertEqual(self.stock(), StoredStock(1, 2, 1, 1))
        self.assertEqual(self.ids(self.claim(fresh=True)), (1, 4, False, 3))

    def test_standing(self) -> None:
        """A bundle that was claimed stands for its requester, under the names of its device, until it is used or a day old."""
        self.add(1, 2, (3,), (4,))

        def load_claim(name: str = "alice", device: bytes = b"phone", requester: int = 99, **more: int) -> object:
            asked = {"now": NOW, "spent": 0, **more}
            return self.wait(self.store.load_claim(name, device, requester, **asked))

        self.assertIsNone(load_claim())
        self.assertEqual(self.stock(), StoredStock(1, 2, 1, 1))
        first = self.claim()
        self.assertEqual(load_claim(now=NOW + CLAIM_KEPT - 1), first)
        for nothing in (
            load_claim("bob"),
            load_claim(device=b"desk"),
            load_claim(requester=98),
            load_claim(spent=4),
            load_claim(now=NOW + CLAIM_KEPT),
        ):
            self.assertIsNone(nothing)

    def test_not_fresh_without_last_resort(self) -> None:
        """Without a last resort that requester gets nothing."""
        self.add(signed=1, kem=(4,))
        self.assertIsNone(self.claim(fresh=False))

    def test_uploaded_again(self) -> None:
        """A repeated upload adds nothing, also of what was claimed meanwhile."""
        self.add(1, 2, (3, 4), (5, 6))
        self.claim()
        self.add(1, 2, (3, 4), (5, 6))
        self.assertEqual(self.stock(), StoredStock(1, 2, 1, 1))

    def test_same_id_other_key(self) -> None:
        """What was there first stays."""
        self.add(1, 2, (3,), (4,))
        other = (StoredPrekey(3, b"other", b"other"),)
        self.wait(self.store.add_prekeys(self.phone, None, None, other, (), LIMIT, False))
        bundle = self.claim()
        assert bundle is not None
        self.assertEqual(bundle.one_time, prekeys(3)[0])

    def test_rotated(self) -> None:
        """The signed and the last-resort prekey that came last count, whatever their ids: a clock may have been wrong."""
        self.add(5, 6)
        self.add(7, 8)
        self.assertEqual(self.ids(self.claim(91)), (7, 8, True, 0))
        self.add(4, 3)
        self.assertEqual(self.ids(self.claim(92)), (4, 3, True, 0))
        self.assertEqual(self.stock(), StoredStock(4, 3, 0, 0))

    def test_rotated_claim(self) -> None:
        """A bundle that was given is not given again once its signed prekey has rotated."""
        self.add(1, 2, (1, 2), (1, 2))
        self.assertEqual(self.ids(self.claim(91)), (1, 1, False, 1))
        self.add(3, 4)
        self.assertEqual(self.ids(self.claim(91)), (3, 2, False, 2))

    def test_too_many(self) -> None:
        """A device keeps so many of each kind; an upload that goes beyond is refused as a whole."""
        self.add(one_time=(1, 2, 3))
        (one,) = prekeys(9)
        replaced = self.store.add_prekeys(self.phone, one, one, prekeys(4, 5), prekeys(*range(6)), LIMIT, True)
        self.refused("too-many-prekeys", replaced)
        added = self.store.add_prekeys(self.phone, one, one, prekeys(4, 5, 6), (), LIMIT, False)
        self.refused("too-many-prekeys", added)
        self.assertEqual(self.stock(), StoredStock(0, 0, 3, 0))
        self.add(one_time=(2, 3, 4, 5))
        self.assertEqual(self.stock(), StoredStock(0, 0, 5, 0))

    def test_replaced(self) -> None:
        """A device that lost what it had withdraws all that is not in the upload, bundles that were given out included."""
        self.add(1, 2, (1, 2, 3), (1, 2, 3))
        self.assertEqual(self.ids(self.claim(91)), (1, 1, False, 1))
        self.add(10, 20, (3, 30), (3, 30), replace=True)
        self.assertEqual(self.stock(), StoredStock(10, 20, 2, 2))
        self.assertEqual(self.ids(self.claim(91)), (10, 3, False, 3))

    def test_replaced_forgets_claims(self) -> None:
        """A device that lost what it had is given no bundle that it may have used since: its next claim is a new one."""
        (other,) = self.join("bob")
        self.add(1, 2, (1, 2, 3), (1, 2, 3))
        self.assertEqual(self.ids(self.claim(other)), (1, 1, False, 1))
        self.assertEqual(self.ids(self.claim(91)), (1, 2, False, 2))
        self.wait(self.store.add_prekeys(other, None, None, (), (), LIMIT, True))
        self.assertEqual(self.ids(self.claim(other)), (1, 3, False, 3))
        self.assertEqual(self.ids(self.claim(91)), (1, 2, False, 2))

    def test_replaced_keeps_spent(self) -> None:
        """What was claimed before does not come back with it."""
        self.add(1, 2, (1, 2), (1, 2))
        self.claim()
        self.add(one_time=(1, 2), kem=(1, 2), replace=True)
        self.assertEqual(self.stock(), StoredStock(1, 2, 1, 1))

    def test_forgotten(self) -> None:
        """Ids that were claimed long ago are forgotten, those claimed since are not."""
        self.add(1, 2, (1, 2), (1, 2))
        self.claim(91, now=NOW)
        self.claim(92, now=NOW + DAY)
        self.expire(NOW + 60 * DAY, NOW + 1)
        self.add(one_time=(1, 2), kem=(1, 2))
        self.assertEqual(self.stock(), StoredStock(1, 2, 1, 1))

    def test_mailbox_gone(self) -> None:
        """Prekeys of a device that was removed meanwhile are not kept."""
        self.wait(self.store.remove_account("alice"))
        self.add(1, 2, (1, 2), (1, 2))
        self.assertIsNone(self.claim())
        self.assertEqual(self.stock(), StoredStock(0, 0, 0, 0))

    def test_each_device_its_own(self) -> None:
        """Ids of two devices do not meet."""
        self.add(1, 2, (3,), (4,))
        alice, self.phone = self.phone, self.join("bob")[0]
        self.add(1, 2, (3,), (4,))
        self.assertEqual(self.ids(self.claim()), (1, 4, False, 3))
        self.phone = alice
        self.assertEqual(self.ids(self.claim()), (1, 4, False, 3))


class PrekeysOnDiskTests(PrekeyContract, OnDisk):
    """On SQLite."""

    __test__ = True


class PrekeysInMemoryTests(PrekeyContract, InMemory):
    """In memory."""

    __test__ = True
