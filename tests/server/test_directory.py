"""Questions about accounts, new device lists, and prekeys."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto import keys, pqxdh
from securemsg.protocol.messages import (
    MAX_DEVICES,
    Account,
    Bundle,
    Claim,
    Done,
    Failed,
    Fetch,
    Invite,
    Prekey,
    PrekeyStock,
    Publish,
    Refused,
    SignedDeviceList,
    Stock,
    Upload,
    Welcome,
)
from securemsg.server.directory import MAX_LEAP
from securemsg.server.limits import Rate, Settings
from tests.server.rig import DAY, Client, Rig, User, public, upload


class DirectoryTests(SynchronousTestCase):
    """Alice asks, and publishes."""

    def setUp(self) -> None:
        """Alice and Bob have accounts."""
        self.rig = Rig()
        self.alice, self.client = self.rig.register("alice")
        self.bob, _ = self.rig.register("bob")

    def tearDown(self) -> None:
        """No coroutine ended in a bug."""
        self.assertEqual(self.rig.failures, [])

    def published(self, devices: SignedDeviceList) -> str:
        """What comes of a list: the code of the refusal, or nothing."""
        self.client.ask(Publish(1, devices))
        refusals = self.client.pop(Refused)
        if refusals:
            return refusals[0].code
        self.client.one(Done)
        return ""

    def test_fetch(self) -> None:
        """An account is found with the exact list that it signed, in memory or not."""
        for _ in range(2):
            self.client.ask(Fetch(7, "bob"))
            account = self.client.one(Account)
            self.assertEqual((account.request, account.record.name), (7, "bob"))
            self.assertEqual(account.record.identity, self.bob.identity.public)
            self.assertEqual(account.record.devices.body, self.bob.body)
            self.rig.crash()
            self.client = self.rig.login(self.alice)

    def test_fetch_nobody(self) -> None:
        """There is no such account."""
        self.client.ask(Fetch(7, "nobody"))
        self.assertEqual(self.client.one(Refused), Refused(7, "no-such-account"))

    def test_rate(self) -> None:
        """Questions come at a limited rate, for each account."""
        self.rig.settings = Settings(registration="open", requests=Rate(2, 5))
        self.rig.crash()
        client, other = self.rig.login(self.alice), self.rig.login(self.bob)
        client.ask(*[Fetch(request, "bob") for request in range(3)])
        self.assertEqual(client.one(Refused), Refused(2, "rate-limited"))
        other.ask(Fetch(1, "alice"))
        other.one(Account)
        self.rig.time += 5
        client.ask(Fetch(4, "bob"))
        self.assertEqual(len(client.pop(Account)), 3)
        # Lists and invites count among them.
        client.ask(Publish(5, self.alice.device_list()), Invite(6, 1, 3600))
        self.assertEqual(client.pop(Refused), [Refused(5, "rate-limited"), Refused(6, "rate-limited")])

    def test_publish(self) -> None:
        """The next list replaces the one before; a device on it may log in."""
        second = self.alice.sibling()
        self.alice.version = 2
        devices = self.alice.device_list()
        self.assertEqual(self.published(devices), "")
        self.client.ask(Fetch(1, "alice"))
        self.assertEqual(self.client.one(Account).record.devices, devices)
        self.rig.login(second)

    def test_publish_repeated(self) -> None:
        """The same list again changes nothing, and is no error."""
        self.alice.version = 2
        devices = self.alice.device_list()
        self.assertEqual([self.published(devices), self.published(devices)], ["", ""])

    def test_stale(self) -> None:
        """A list that does not follow the stored one is stale: a version repeated or gone before, or on top of another list."""
        self.assertEqual(self.published(self.alice.device_list(issued_at=1)), "stale-list")
        self.assertEqual(self.published(self.alice.device_list(version=2, previous=bytes(32))), "stale-list")
        self.assertEqual(self.published(self.alice.device_list(version=2)), "")
        self.assertEqual(self.published(self.alice.device_list(version=2, issued_at=9)), "stale-list")
        self.assertEqual(self.published(self.alice.device_list(version=1)), "stale-list")

    def test_behind(self) -> None:
        """A server that was restored takes a list that is versions ahead of its own, whatever that list followed."""
        second = self.alice.sibling()
        devices = self.alice.device_list(version=5, previous=bytes(32))
        self.assertEqual([self.published(devices), self.published(devices)], ["", ""])
        self.client.ask(Fetch(1, "alice"))
        self.assertEqual(self.client.one(Account).record.devices, devices)
        self.rig.login(second)
        self.assertEqual(self.published(self.alice.device_list(version=4)), "stale-list")

    def test_far_ahead(self) -> None:
        """Nobody uses up all versions in one go: those beyond a limit are refused."""
        self.assertEqual(self.published(self.alice.device_list(version=2 + MAX_LEAP)), "bad-device-list")
        self.assertEqual(self.published(self.alice.device_list(version=1 + MAX_LEAP)), "")

    def test_foreign(self) -> None:
        """Nobody publishes for another account, under another identity, or for another server."""
        self.alice.version = self.bob.version = 2
        self.assertEqual(self.published(self.bob.device_list()), "unauthentic")
        self.assertEqual(self.published(self.alice.device_list(account="bob")), "bad-device-list")
        self.assertEqual(self.published(self.alice.device_list(server=bytes(32))), "bad-device-list")
        right = self.alice.device_list()
        self.assertEqual(self.published(SignedDeviceList(right.body + b"\x00", right.signature)), "unauthentic")

    def test_no_keys(self) -> None:
        """A list with an invalid key, such as zeros, is refused."""
        self.alice.version = 2
        for field in ("signing_key", "agreement_key"):
            for key in (bytes(32), b"\xff" * 32):
                device = msgspec.structs.replace(User("alice", self.alice.server).own, **{field: key})
                devices = self.alice.device_list(devices=[self.alice.own, device])
                self.assertEqual(self.published(devices), "bad-device-list", (field, key))

    def test_other_key(self) -> None:
        """A device keeps its keys as long as it keeps its id, whatever the version."""
        second = self.alice.sibling()
        self.alice.version = 2
        current = self.alice.device_list()
        self.assertEqual(self.published(current), "")
        other = User("alice", self.alice.server).own
        for version in (3, 4):
            for devices in (
                [msgspec.structs.replace(self.alice.own, signing_key=other.signing_key), second.own],
                [self.alice.own, msgspec.structs.replace(second.own, signing_key=other.signing_key)],
                [self.alice.own, msgspec.structs.replace(second.own, agreement_key=other.agreement_key)],
            ):
                changed = self.alice.device_list(version=version, previous=keys.sha256(current.body), devices=devices)
                self.assertEqual(self.published(changed), "bad-device-list")

    def test_own_key_put_right(self) -> None:
        """A device may give itself another X25519 key: perhaps somebody had exchanged it."""
        self.alice.version = 2
        other = User("alice", self.alice.server).own
        changed = msgspec.structs.replace(self.alice.own, agreement_key=other.agreement_key)
        self.assertEqual(self.published(self.alice.device_list(devices=[changed])), "")

    def test_device_dropped(self) -> None:
        """A device that is on the list no more is disconnected, and does not get in again."""
        second = self.alice.sibling()
        self.alice.version = 2
        self.assertEqual(self.published(self.alice.device_list()), "")
        other = self.rig.login(second)
        self.alice.body = self.alice.device_list().body
        self.alice.others.clear()
        self.alice.version = 3
        self.assertEqual(self.published(self.alice.device_list()), "")
        self.assertEqual(other.failed(), "device-removed")
        self.assertEqual(self.rig.try_login(second).failed(), "login-failed")

    def test_own_device_dropped(self) -> None:
        """A device may take itself off the list, and is gone."""
        second = self.alice.sibling()
        self.alice.version = 2
        self.client.ask(Publish(1, self.alice.device_list(devices=[second.own])))
        self.assertEqual(self.client.one(Failed).code, "device-removed")
        self.rig.login(second)


class PrekeyTests(SynchronousTestCase):
    """Alice claims what Bob uploads."""

    def setUp(self) -> None:
        """Both are here; Bob has uploaded."""
        self.rig = Rig()
        self.alice, self.client = self.rig.register("alice")
        self.bob, self.other = self.rig.register("bob")
        self.other.ask(upload(self.bob))
        self.other.one(Done)

    def tearDown(self) -> None:
        """No coroutine ended in a bug."""
        self.assertEqual(self.rig.failures, [])

    def claim(self, client: Client | None = None, spent: int = 0) -> Bundle:
        """Claim a bundle of Bob's."""
        client = client or self.client
        client.ask(Claim(5, "bob", self.bob.device_id, spent))
        return client.one(Bundle)

    def refused(self, client: Client, message: Upload | Claim) -> str:
        """With which code this is refused."""
        client.ask(message)
        return client.one(Refused).code

    def test_bundle(self) -> None:
        """A bundle is what the device signed."""
        bundle = self.claim()
        assert bundle.one_time is not None
        given = [pqxdh.PublicPrekey(one.id, one.key, one.signature) for one in (bundle.signed, bundle.kem, bundle.one_time)]
        pqxdh.PrekeyBundle(given[0], given[1], bundle.kem_is_last_resort, given[2]).verify(self.bob.device.public)
        self.assertFalse(bundle.kem_is_last_resort)
        self.assertEqual(bundle.request, 5)

    def test_same_for_a_day(self) -> None:
        """The same requester gets the same bundle for a day, so that a lost answer costs nothing."""
        first = self.claim()
        self.assertEqual(self.claim(), first)
        self.rig.crash()
        client = self.rig.login(self.alice)
        for _ in range(23):
            self.rig.time += 3600
            self.rig.server.tick()
        self.assertEqual(self.claim(client), first)
        self.rig.time += 3600
        self.assertNotEqual(self.claim(client), first)

    def test_spent_under_wrong_date(self) -> None:
        """What was claimed while the clock was a year behind is not handed out once more after its correction."""
        self.rig.time -= 365 * DAY
        self.rig.server.tick()
        first = self.claim()
        self.rig.time += 365 * DAY
        for _ in range(180):
            self.rig.time += 60
            self.rig.server.tick()
        self.other.ask(upload(self.bob))
        self.assertNotEqual(self.claim(spent=first.kem.id).kem.id, first.kem.id)

    def test_spent(self) -> None:
        """Who has used a bundle says so, and gets another."""
        first = self.claim()
        second = self.claim(spent=first.kem.id)
        self.assertNotEqual(first.kem, second.kem)
        self.assertEqual(self.claim(spent=first.kem.id), second)

    def test_older_state(self) -> None:
        """Who comes back with an older state gets another bundle, within the limits; who does not gets the same."""
        self.other.ask(upload(self.bob, count=9))
        first = self.claim()
        self.client.ask(self.client.deposit(self.bob))
        self.rig.commit()
        self.assertEqual(len(self.client.accepted()), 1)
        client = self.rig.greet()
        client.ask(self.rig.proof(client, self.alice, 1))
        self.assertEqual(client.one(Welcome).highest, 1)
        self.assertEqual(self.claim(client), first)
        bundles = [first]
        self.alice.body = b""
        for again in (self.rig.login, self.rig.try_register, self.rig.login):
            bundles.append(self.claim(again(self.alice)))
        self.assertEqual([bundle.kem_is_last_resort for bundle in bundles], [False, False, False, True])
        self.assertEqual(len({bundle.kem.id for bundle in bundles[:3]}), 3)

    def test_each_once(self) -> None:
        """A one-time prekey is handed to one requester only."""
        _, third = self.rig.register("carol")
        first, second = self.claim(), self.claim(third)
        assert first.one_time is not None
        assert second.one_time is not None
        self.assertNotEqual(first.one_time, second.one_time)
        self.assertNotEqual(first.kem, second.kem)

    def test_last_resort(self) -> None:
        """When all are gone the last-resort bundle is left."""
        for name in ("carol", "dave"):
            self.claim(self.rig.register(name)[1])
        bundle = self.claim()
        self.assertTrue(bundle.kem_is_last_resort)
        self.assertIsNone(bundle.one_time)

    def test_limits(self) -> None:
        """Beyond a limit, of the two or of the requested, one-time prekeys are not touched."""
        for limit in ({"claims_between": Rate(1, 60)}, {"claims_of": Rate(1, 60)}):
            self.rig.settings = Settings(registration="open", **limit)  # type: ignore[arg-type]
            self.rig.crash()
            self.other = self.rig.login(self.bob)
            client = self.rig.login(self.alice)
            first = self.claim(client)
            self.assertFalse(first.kem_is_last_resort)
            self.assertTrue(self.claim(client, spent=first.kem.id).kem_is_last_resort)
            self.setUp()

    def test_repetition_costs_no_claim(self) -> None:
        """The same bundle again, however often, uses up none of the rates of claims."""
        for rates in ({"claims_between": Rate(2, 600)}, {"claims_of": Rate(2, 600)}):
            self.rig = Rig(Settings(registration="open", **rates))  # type: ignore[arg-type]
            _, client = self.rig.register("alice")
            self.bob, other = self.rig.register("bob")
            other.ask(upload(self.bob, count=3))
            first = self.claim(client)
            self.assertEqual([self.claim(client) for _ in range(5)], [first] * 5)
            second = self.claim(client, spent=first.kem.id)
            self.assertFalse(second.kem_is_last_resort)
            # That was the last, and still it is had again.
            self.assertEqual([self.claim(client, spent=first.kem.id) for _ in range(5)], [second] * 5)
            self.assertTrue(self.claim(client, spent=second.kem.id).kem_is_last_resort)

    def test_last_resort_costs_no_claim(self) -> None:
        """Where one rate is used up, the last-resort bundle, claimed however often, uses up nothing of the other."""
        hourly = Rate(1, 3600)
        for claims_of, claims_between in ((hourly, Rate(1, DAY)), (Rate(2, DAY), hourly)):
            self.rig = Rig(Settings(registration="open", claims_of=claims_of, claims_between=claims_between))
            (_, client), (_, third) = self.rig.register("alice"), self.rig.register("carol")
            self.bob, other = self.rig.register("bob")
            other.ask(upload(self.bob, count=3))
            first = self.claim(third)
            used_up = client if claims_of == hourly else third
            for _ in range(5):
                self.assertTrue(self.claim(used_up, spent=first.kem.id).kem_is_last_resort)
            self.rig.time += 3600
            self.assertFalse(self.claim(client).kem_is_last_resort)

    def test_repetition_is_a_question(self) -> None:
        """Nobody is sent the same bundle as often as the line bears: each time counts as a question to the directory."""
        self.rig = Rig(Settings(registration="open", requests=Rate(3, 600)))
        _, client = self.rig.register("alice")
        self.bob, other = self.rig.register("bob")
        other.ask(upload(self.bob))
        first = self.claim(client)
        for _ in range(5):
            client.ask(Claim(5, "bob", self.bob.device_id, 0))
        self.assertEqual(client.pop(Bundle), [first] * 2)
        self.assertEqual([one.code for one in client.pop(Refused)], ["rate-limited"] * 3)
        self.rig.time += 600
        self.rig.server.tick()
        self.assertEqual(self.claim(client), first)

    def drained_by(self, client: Client) -> int:
        """How many one-time prekeys of Bob's this peer gets who always says that it has used the last."""
        taken: set[int] = set()
        spent = 0
        for _ in range(50):
            bundle = self.claim(client, spent)
            spent = bundle.kem.id
            if not bundle.kem_is_last_resort:
                taken.add(spent)
        return len(taken)

    def test_nobody_drains(self) -> None:
        """
        One account, whatever it says, gets 3 one-time prekeys of a device at once, from all its ten devices together, and then
        one a day; whoever comes next gets one.
        """
        self.other.ask(upload(self.bob, first=10, count=50))
        more = [self.alice.sibling() for _ in range(MAX_DEVICES - 1)]
        self.alice.version = 2
        self.client.ask(Publish(1, self.alice.device_list()))
        clients = [self.client, *[self.rig.login(device) for device in more]]
        self.assertEqual(sum(self.drained_by(client) for client in clients), 3)
        self.assertFalse(self.claim(self.rig.register("carol")[1]).kem_is_last_resort)
        for _ in range(24):
            self.rig.time += 3600
            self.rig.server.tick()
        self.assertEqual(sum(self.drained_by(client) for client in clients), 1)

    def test_not_together(self) -> None:
        """Hundreds of accounts do not use up in a day the 50 that a client puts here, though it does not come back."""
        self.other.ask(upload(self.bob, first=10, count=48))
        self.rig.lose(self.other)
        clients = [self.rig.register(f"user{number}")[1] for number in range(200)]
        for _ in range(24):
            for client in clients:
                client.ask(Claim(5, "bob", self.bob.device_id, 0))
            self.rig.time += 3600
        stock = self.rig.try_login(self.bob).one(Welcome).stock
        self.assertGreater(min(stock.one_time, stock.kem), 0)

    def test_low_stock_sent(self) -> None:
        """A device that is connected is told once when fewer than 20 are left, and again only after it has uploaded."""
        self.other.ask(upload(self.bob, first=10, count=19))
        clients = [self.rig.register(f"user{number}")[1] for number in range(6)]
        self.claim(clients[0])
        self.assertEqual(self.other.pop(Stock), [])
        for client in clients[1:4]:
            self.claim(client)
        self.assertEqual(self.other.one(Stock), Stock(PrekeyStock(10, 10, 19, 19)))
        self.other.ask(upload(self.bob, first=100, count=4))
        self.claim(clients[4])
        self.assertEqual(self.other.pop(Stock), [])
        self.claim(clients[5])
        self.assertEqual(self.other.one(Stock), Stock(PrekeyStock(100, 100, 19, 19)))

    def test_nothing_there(self) -> None:
        """No account, no device, no prekeys: each is said."""
        claims = {
            "no-such-account": Claim(1, "nobody", self.bob.device_id, 0),
            "no-such-device": Claim(1, "bob", self.alice.device_id, 0),
            "no-prekeys": Claim(1, "alice", self.alice.device_id, 0),
        }
        for code, claim in claims.items():
            self.assertEqual(self.refused(self.client, claim), code)

    def test_upload_repeated(self) -> None:
        """The same upload again changes nothing, and gives no prekey back that was claimed."""
        message = upload(self.alice)
        self.client.ask(message, message)
        self.assertEqual(len(self.client.pop(Done)), 2)
        self.other.ask(Claim(1, "alice", self.alice.device_id, 0))
        self.client.ask(message)
        welcome = self.rig.try_login(self.alice).one(Welcome)
        self.assertEqual((welcome.stock.one_time, welcome.stock.kem), (1, 1))

    def test_replaced(self) -> None:
        """A device that lost its private halves withdraws what is there."""
        self.other.ask(upload(self.bob, first=100, replace=True))
        welcome = self.rig.try_login(self.bob).one(Welcome)
        self.assertEqual((welcome.stock.one_time, welcome.stock.kem, welcome.stock.signed_id), (2, 2, 100))
        bundle = self.claim()
        self.assertGreaterEqual(bundle.kem.id, 100)

    def test_too_many(self) -> None:
        """A device has so many prekeys of a kind and no more."""
        self.rig.settings = Settings(registration="open", max_prekeys=3)
        self.rig.crash()
        other = self.rig.login(self.bob)
        self.assertEqual(self.refused(other, upload(self.bob, first=10)), "too-many-prekeys")

    def test_upload_rate(self) -> None:
        """Uploads come at a limited rate."""
        self.rig.settings = Settings(registration="open", uploads=Rate(1, 60))
        self.rig.crash()
        other = self.rig.login(self.bob)
        other.ask(upload(self.bob))
        self.assertEqual(self.refused(other, upload(self.bob)), "rate-limited")

    def test_strange_signature(self) -> None:
        """A prekey that the device did not sign, or signed for another use, is refused; nothing of its upload is kept."""
        right = upload(self.alice)
        strange = upload(self.bob)
        wrong = [
            msgspec.structs.replace(right, signed=strange.signed),
            msgspec.structs.replace(right, last_resort=right.kem[0]),
            msgspec.structs.replace(right, kem=[right.kem[0], strange.kem[1]]),
            msgspec.structs.replace(right, one_time=[right.signed]),
        ]
        for message in wrong:
            self.assertEqual(self.refused(self.client, message), "unauthentic")
        self.assertEqual(self.refused(self.other, Claim(1, "alice", self.alice.device_id, 0)), "no-prekeys")

    def test_wrong_size(self) -> None:
        """A key of another kind's size, or of none's, of small order, or with an id of 0, is no prekey."""
        zero = public(pqxdh.make_signed_prekey(self.alice.device, 0)[1])
        small = self.alice.device.sign(keys.SIGNED_PREKEY, (1).to_bytes(8, "big"), bytes(32))
        right = upload(self.alice)
        for message in (
            msgspec.structs.replace(right, signed=Prekey(1, bytes(32), small)),
            msgspec.structs.replace(right, signed=right.last_resort),
            msgspec.structs.replace(right, kem=right.one_time),
            msgspec.structs.replace(right, signed=zero),
            msgspec.structs.replace(right, one_time=[Prekey(1, bytes(33), bytes(64))]),
        ):
            self.assertEqual(self.refused(self.client, message), "bad-request")
