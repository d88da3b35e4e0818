"""Who gets in."""

from __future__ import annotations

import re

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from securemsg.crypto import keys
from securemsg.crypto.keyfile import SharedKey
from securemsg.crypto.keys import SigningKey
from securemsg.interfaces import StoredLogin
from securemsg.protocol import auth
from securemsg.protocol.channel import IChannel, IPeer
from securemsg.protocol.messages import (
    Challenge,
    Deposit,
    Drained,
    Failed,
    Fetch,
    Hello,
    Invite,
    Invited,
    Ping,
    Pong,
    Proof,
    Publish,
    Refused,
    RemoveAccount,
    Welcome,
    decode_message,
)
from securemsg.server.limits import Settings
from securemsg.storage.sqlite.memory import MemoryServerStore
from tests.server.rig import START, TLS, Client, Rig, User, upload


class NotingStore(MemoryServerStore):
    """A store that notes what it is asked for, and every statement that it runs, without its values."""

    def __init__(self) -> None:
        """Nothing was asked yet."""
        super().__init__()
        self.asked: list[str] = []
        self.statements: list[str] = []
        self._connection.set_trace_callback(lambda sql: self.statements.append(re.sub(r"'[^']*'|x'\w*'|\b\d+\b", "?", sql)))

    def find_device(self, name: str, device: bytes) -> Deferred[bytes | None]:
        """Note it, and answer."""
        self.asked.append("device")
        return super().find_device(name, device)

    def load_login(self, name: str, device: bytes) -> Deferred[StoredLogin | None]:
        """Note it, and answer."""
        self.asked.append("account")
        return super().load_login(name, device)


class LoginTests(SynchronousTestCase):
    """A device proves itself."""

    def setUp(self) -> None:
        """Alice has an account."""
        self.rig = Rig()
        self.alice, self.first = self.rig.register("alice")

    def tearDown(self) -> None:
        """No coroutine ended in a bug."""
        self.assertEqual(self.rig.failures, [])

    def test_interfaces(self) -> None:
        """The fake wire is a channel, and a connection a peer."""
        verifyObject(IChannel, self.first.wire)
        verifyObject(IPeer, self.first.wire.peer)

    def test_welcome(self) -> None:
        """A device is welcomed with the server's time, its own highest n and what prekeys are left."""
        self.first.ask(upload(self.alice), self.first.deposit(self.rig.register("bob")[0]))
        client = self.rig.try_login(self.alice)
        welcome = client.one(Welcome)
        self.assertEqual((welcome.highest, welcome.now), (1, START))
        stock = welcome.stock
        self.assertEqual((stock.signed_id, stock.last_resort_id, stock.one_time, stock.kem), (1, 1, 2, 2))

    def test_logins(self) -> None:
        """
        Each login is told of those before it of the same device, also by the next process; another device and a connection
        that was lost before the proof change nothing.
        """
        second = self.alice.sibling()
        self.alice.version = 2
        self.first.ask(Publish(1, self.alice.device_list()))
        before = [self.named(self.first)]
        for way in ("", "crash", "stopped", "lost"):
            if way == "crash":
                self.rig.server.tick()
                self.rig.crash()
            elif way == "stopped":
                self.rig.server.stop()
                self.rig.crash()
            elif way == "lost":
                self.rig.lose(self.rig.greet())
            client = self.rig.try_login(self.alice)
            self.assertEqual(client.one(Welcome).logins, before, way)
            before.append(self.named(client))
        self.assertEqual(self.rig.try_login(second).one(Welcome).logins, [])
        self.assertEqual(self.rig.try_login(self.alice).one(Welcome).logins, before)

    def named(self, client: Client) -> bytes:
        """What the login of a client is called."""
        hello = decode_message(client.connection.hello)
        assert isinstance(hello, Hello)
        self.assertTrue(hello.nonce.startswith(hello.login) and len(hello.login) == 16)
        return hello.login

    def test_last_logins(self) -> None:
        """The last eight are named, however many there were."""
        before = [self.named(self.first), *[self.named(self.rig.try_login(self.alice)) for _ in range(9)]]
        self.assertEqual(self.rig.try_login(self.alice).one(Welcome).logins, before[-8:])

    def test_logins_before_commit(self) -> None:
        """They are what was said last, written or not; a crash before the commit makes them older, and nothing else."""
        first = self.named(self.first)
        self.rig.server.tick()
        second = self.rig.try_login(self.alice)
        self.assertEqual(second.one(Welcome).logins, [first])
        self.assertEqual(self.rig.try_login(self.alice).one(Welcome).logins, [first, self.named(second)])
        self.rig.crash()
        self.assertEqual(self.rig.try_login(self.alice).one(Welcome).logins, [first])

    def test_strangers_alike(self) -> None:
        """Unknown account, unknown device and wrong signature get the same answer."""
        wrong_key = User("alice", self.alice.server, device_id=self.alice.device_id)
        wrong_device = User("alice", self.alice.server, device=self.alice.device)
        nobody = User("nobody", self.alice.server)
        answers = []
        for user in (wrong_key, wrong_device, nobody):
            client = self.rig.try_login(user)
            answers.append(client.inbox)
        self.assertEqual(answers, [[Failed("login-failed")]] * 3)

    def test_named(self) -> None:
        """A device names an account by a legal name and itself by 16 bytes, or is malformed: it hears no more than that."""
        for name, size in (("alice", 0), ("alice", 15), ("", 16), ("Alice", 16), ("\x1b[2J", 16), ("", 0)):
            client = self.rig.try_login(User(name, self.alice.server, device_id=self.alice.device_id[:size]))
            self.assertEqual(client.inbox, [Failed("malformed")], (name, size))

    def test_other_names(self) -> None:
        """The names that were signed are those that were sent."""
        bob, _ = self.rig.register("bob")
        for names in ({"account": "bob"}, {"device": bob.device_id}, {"account": "bob", "device": bob.device_id}):
            client = self.rig.greet()
            # Under Alice's device key, and where that is the key of a device of Bob's, too.
            client.ask(replace(self.rig.proof(client, self.alice), **names))
            self.assertEqual(client.failed(), "login-failed", names)

    def test_operator_names_nobody(self) -> None:
        """The operator names nobody either."""
        client = self.rig.connect(auth.UNIX, operator=True)
        client.ask(Hello([1], [], "operator", "unix", keys.nonce()))
        client.one(Challenge)
        client.ask(Proof("alice", self.alice.device_id, 0, b""))
        self.assertEqual(client.failed(), "malformed")

    def test_strangers_same_work(self) -> None:
        """
        Whether signature, device or account is wrong, the store is asked once for a device, runs the same statements, one
        signature is verified over the same parts, and no account comes into memory; only then is one loaded.
        """
        verified: list[list[int]] = []
        under: list[bytes] = []

        def verify(*parts: bytes) -> None:
            under.append(parts[0])
            verified.append([len(part) for part in parts])
            keys.verify(*parts)

        store = NotingStore()
        rig = Rig(store=store, verify=verify)
        alice, client = rig.register("alice")
        rig.lose(client)
        self.assertEqual(verified, [])
        wrong_key = User("alice", alice.server, device_id=alice.device_id)
        wrong_device = User("alice", alice.server, device=alice.device)
        nobody = User("nemo1", alice.server)  # a name as long as hers: it is in what is signed
        for _ in range(2):
            work = []
            for user in (wrong_key, wrong_device, nobody):
                store.asked.clear()
                store.statements.clear()
                verified.clear()
                self.assertEqual(rig.try_login(user).failed(), "login-failed")
                work.append((list(store.asked), list(store.statements), list(verified)))
            self.assertEqual(work, [work[0]] * 3)
            asked, statements, parts = work[0]
            self.assertEqual((asked, len(parts)), (["device"], 1))
            self.assertGreater(len(statements), 1)
            # Nor does it matter whether the account is in memory.
            rig.start()
            self.assertEqual(len(rig.server.accounts), 0)
        # An invalid key would be refused before the work.
        self.assertTrue(all(map(keys.is_ed25519_key, under)))
        store.asked.clear()
        rig.try_login(alice).one(Welcome)
        self.assertEqual(store.asked, ["device", "account"])

    def test_replay(self) -> None:
        """A proof that was overheard is worth nothing in another connection."""
        proof = self.rig.proof(self.rig.greet(), self.alice)
        client = self.rig.greet()
        client.ask(proof)
        self.assertEqual(client.failed(), "login-failed")

    def test_other_channel(self) -> None:
        """A proof for another TLS channel is refused: nobody in the middle can pass it on."""
        client = self.rig.greet()
        other = auth.Binding("tcp", "tls-exporter", b"\xff" * 32, bytes(32))
        parts = auth.proof_parts(
            client.connection.hello, client.connection.challenge, self.alice.server, "alice", self.alice.device_id, 0, other
        )
        client.ask(Proof("alice", self.alice.device_id, 0, self.alice.device.sign(auth.PROOF_LABEL, *parts)))
        self.assertEqual(client.failed(), "login-failed")

    def test_other_highest(self) -> None:
        """The n that was signed is the one that was sent."""
        client = self.rig.greet()
        proof = self.rig.proof(client, self.alice, 5)
        client.ask(replace(proof, highest=6))
        self.assertEqual(client.failed(), "login-failed")

    def test_signature_of_odd_size(self) -> None:
        """A signature that is none is a wrong one."""
        client = self.rig.greet()
        client.ask(Proof("alice", self.alice.device_id, 0, b""))
        self.assertEqual(client.failed(), "login-failed")

    def test_version(self) -> None:
        """Without a version in common there is no conversation."""
        client = self.rig.connect()
        client.ask(Hello([2, 3], [], "device", "tcp", keys.nonce()))
        self.assertEqual(client.failed(), "unsupported-version")

    def test_newer_client(self) -> None:
        """A client that speaks more is answered with what both speak."""
        client = self.rig.connect()
        client.ask(Hello([7, 1], ["smell"], "device", "tcp", keys.nonce()))
        challenge = client.one(Challenge)
        self.assertEqual((challenge.version, challenge.features), (1, []))

    def test_false_transport(self) -> None:
        """A client that names another transport than its own is refused."""
        client = self.rig.connect()
        client.ask(Hello([1], [], "device", "memory", keys.nonce()))
        self.assertEqual(client.failed(), "forbidden")

    def test_false_operator(self) -> None:
        """Nobody is operator by saying so, and a device does not come in by the operator's door."""
        client = self.rig.connect()
        client.ask(Hello([1], [], "operator", "tcp", keys.nonce()))
        self.assertEqual(client.failed(), "forbidden")
        client = self.rig.connect(auth.UNIX, operator=True)
        client.ask(Hello([1], [], "device", "unix", keys.nonce()))
        self.assertEqual(client.failed(), "forbidden")

    def test_role_kept(self) -> None:
        """Whoever said it registers cannot log in instead, nor the other way round."""
        client = self.rig.greet("register")
        client.ask(self.rig.proof(client, self.alice))
        self.assertEqual(client.failed(), "out-of-turn")
        client = self.rig.greet()
        client.ask(self.rig.registration(client, self.alice))
        self.assertEqual(client.failed(), "out-of-turn")

    def test_commands_before_login(self) -> None:
        """Nothing is done for a stranger."""
        client = self.rig.connect()
        other = self.rig.login(self.alice)
        other.send(Ping(1))
        client.raw(other.unsent)
        self.assertEqual(client.failed(), "out-of-turn")

    def test_fenced(self) -> None:
        """A new login of a device ends the one before, and nothing more from that is heard."""
        bob, reader = self.rig.register("bob")
        peer = self.first.wire.peer
        self.rig.login(self.alice)
        self.rig.run()
        self.assertEqual(self.first.failed(), "replaced")
        peer.received(self.first.deposit(bob))
        self.rig.run()
        self.assertEqual(reader.delivered(), [])
        self.assertEqual(self.rig.server.logged_in, 2)

    def test_two_logins_at_once(self) -> None:
        """Of two connections that log in at the same moment one is left."""
        clients: list[Client] = [self.rig.greet() for _ in range(2)]
        for client in clients:
            client.send(self.rig.proof(client, self.alice))
        self.rig.run()
        self.assertEqual(sorted(len(client.pop(Failed)) for client in clients), [0, 1])
        self.assertEqual(self.rig.server.logged_in, 1)

    def test_drained(self) -> None:
        """An empty mailbox is drained at once."""
        self.rig.login(self.alice).one(Drained)

    def test_lost_during_login(self) -> None:
        """Who is gone before the store has answered was never here."""
        self.rig.store.writer.manual = True
        bob, other = self.rig.register("bob")
        other.ask(other.deposit(self.alice))
        self.rig.begin_commit()
        client = self.rig.greet()
        client.ask(self.rig.proof(client, self.alice))
        self.rig.lose(client)
        self.rig.commit()
        self.assertEqual(client.pop(Welcome), [])
        self.assertTrue(self.first.wire.peer.is_open)

    def hold(self) -> Client:
        """Have the store do one thing after the other, when the test says so, and begin a login that waits for it."""
        _, self.other = self.rig.register("bob")
        self.operator = self.rig.operator()
        self.rig.store.writer.manual = True
        self.other.ask(self.other.deposit(self.alice))
        self.rig.begin_commit()
        client = self.rig.greet()
        client.ask(self.rig.proof(client, self.alice))
        return client

    def test_removed_during_login(self) -> None:
        """A device whose account is removed while it logs in gets no further."""
        self.first.ask(self.first.deposit(self.alice))
        client = self.hold()
        # The key is looked up, then the account, and then its bundles are forgotten, because it does not know of its deposit;
        # with deposits in between, so that something is always held back.
        for _ in range(4):
            self.other.ask(self.other.deposit(self.alice))
            self.rig.begin_commit()
            self.rig.store.flush(1)
            self.rig.run()
        self.assertEqual(client.inbox, [])
        self.operator.ask(RemoveAccount(1, "alice"))
        self.rig.commit()
        self.assertEqual(client.failed(), "login-failed")

    def test_name_taken_during_login(self) -> None:
        """Nor does it get into the account of somebody else, who takes the name and the device's id at that moment."""
        client = self.hold()
        self.operator.ask(RemoveAccount(1, "alice"))
        other = self.rig.greet("register")
        other.ask(self.rig.registration(other, User("alice", self.alice.server, device_id=self.alice.device_id)))
        self.assertEqual(client.inbox, [])
        self.rig.commit()
        self.assertEqual(client.failed(), "login-failed")
        other.one(Welcome)

    def test_key_not_shared(self) -> None:
        """A server identity of another server does not open a list here."""
        stranger = User("mallory", SigningKey.generate().public)
        self.assertEqual(self.rig.try_register(stranger).failed(), "bad-device-list")


class PlacesTests(SynchronousTestCase):
    """There may be so many connections."""

    def setUp(self) -> None:
        """Both are taken."""
        self.rig = Rig(Settings(registration="open", max_clients=2))
        self.alice, self.first = self.rig.register("alice")
        self.bob, self.second = self.rig.register("bob")

    def test_server_full(self) -> None:
        """Beyond them a client is told so, and no registration is used up."""
        carol = self.rig.user("carol")
        self.assertEqual(self.rig.try_register(carol).failed(), "server-full")
        self.assertEqual(self.rig.store.query("SELECT count(*) FROM accounts"), [(2,)])
        self.rig.lose(self.first)
        self.rig.try_register(carol).one(Welcome)
        self.assertEqual(self.rig.try_login(self.alice).failed(), "server-full")

    def test_last_place(self) -> None:
        """Of two that log in at the same moment one gets the last place."""
        self.rig.lose(self.first)
        carol = self.rig.user("carol")
        self.rig.lose(self.rig.try_register(carol))
        self.check_last_place(carol)

    def test_last_place_of_older_states(self) -> None:
        """So it is where both have come back with an older state, whose bundles are forgotten first."""
        self.first.ask(self.first.deposit(self.bob))
        self.rig.lose(self.first)
        carol = self.rig.user("carol")
        client = self.rig.try_register(carol)
        client.ask(client.deposit(self.bob))
        self.rig.lose(client)
        self.check_last_place(carol)

    def check_last_place(self, carol: User) -> None:
        """Alice and Carol log in, and wait for the store at the same time."""
        self.rig.store.writer.manual = True
        self.second.ask(self.second.deposit(carol))
        clients: list[Client] = []
        for user in (self.alice, carol):
            clients.append(self.rig.greet())
            clients[-1].ask(self.rig.proof(clients[-1], user))
        self.rig.commit()
        clients[0].one(Welcome)
        self.assertEqual(clients[1].failed(), "server-full")

    def test_own_place(self) -> None:
        """A device that logs in anew takes its own place."""
        self.rig.login(self.alice)
        self.assertEqual(self.rig.server.logged_in, 2)

    def test_operator_has_none(self) -> None:
        """The operator always gets in."""
        client = self.rig.operator()
        client.ask(Ping(3))
        self.assertEqual(client.one(Pong).request, 3)

    def test_counts(self) -> None:
        """Connections and logins are counted, up and down."""
        self.rig.connect(TLS)
        self.assertEqual((self.rig.server.connected, self.rig.server.logged_in), (3, 2))
        self.rig.lose(self.second)
        self.assertEqual((self.rig.server.connected, self.rig.server.logged_in), (2, 1))


class TreeTests(SynchronousTestCase):
    """Eight connections, and Mallory, whom the operator invited, and who wants them all."""

    def setUp(self) -> None:
        """Others have accounts, and are away."""
        self.rig = Rig(Settings(max_clients=8))
        self.operator = self.rig.operator()
        self.others = []
        for number in range(6):
            user, client = self.join(f"user{number}", self.operator)
            self.others.append(user)
            self.rig.lose(client)
        self.mallory, self.client = self.join("mallory", self.operator)

    def tearDown(self) -> None:
        """No coroutine ended in a bug."""
        self.assertEqual(self.rig.failures, [])

    def join(self, name: str, inviter: Client) -> tuple[User, Client]:
        """Register with somebody's invite, and get a place."""
        inviter.ask(Invite(1, 1, 3600))
        user = self.rig.user(name)
        client = self.rig.try_register(user, inviter.one(Invited).token)
        client.one(Welcome)
        user.body = user.device_list().body
        return user, client

    def devices(self, user: User, client: Client, count: int) -> list[User]:
        """Have so many more devices."""
        devices = [user.sibling() for _ in range(count)]
        user.version = 2
        client.ask(Publish(1, user.device_list()))
        return devices

    def test_one_account(self) -> None:
        """Ten devices of one account take half of the connections, and one that is here replaces itself; others get in."""
        came = [self.rig.try_login(device) for device in self.devices(self.mallory, self.client, 9)]
        self.assertEqual([len(client.pop(Welcome)) for client in came], [1] * 3 + [0] * 6)
        self.assertEqual([client.failed() for client in came[3:]], ["server-full"] * 6)
        self.rig.login(self.mallory)
        for user in self.others[:4]:
            self.rig.login(user)
        self.assertEqual(self.rig.try_login(self.others[4]).failed(), "server-full")

    def test_one_tree(self) -> None:
        """
        Accounts that she invited, directly or not, and their devices take three quarters of the connections together with her;
        one of them that leaves makes room for another. Others get in. So it is in the next process.
        """
        users = [(self.mallory, self.client)]
        for number in range(5):
            users.append(self.join(f"own{number}", users[-1][1]))
        self.assertEqual(self.rig.server.logged_in, 6)
        [device] = self.devices(*users[3], 1)
        self.assertEqual(self.rig.try_login(device).failed(), "server-full")
        users[5][1].ask(Invite(1, 1, 3600))
        late, token = self.rig.user("late"), users[5][1].one(Invited).token
        for _ in range(2):
            self.assertEqual(self.rig.try_register(late, token).failed(), "server-full")
        self.rig.lose(users[2][1])
        self.rig.try_register(late, token).one(Welcome)
        self.assertEqual(self.rig.try_login(users[2][0]).failed(), "server-full")
        for user in self.others[:2]:
            self.rig.login(user)
        self.rig.crash()
        came = [self.rig.try_login(user) for user in (late, *[user for user, _ in users])]
        self.assertEqual([len(client.pop(Welcome)) for client in came], [1] * 6 + [0])

    def test_few_places(self) -> None:
        """However few connections there may be, each account may have one."""
        for clients in (1, 2, 3):
            settings = Settings(max_clients=clients)
            self.assertGreaterEqual(min(settings.account_limit, settings.tree_limit), 1)
            self.assertLess(max(settings.account_limit, settings.tree_limit), max(2, clients))

    def test_counted_once(self) -> None:
        """Logins that come and go leave nothing counted."""
        for user in (*self.others, self.mallory) * 3:
            self.rig.lose(self.rig.login(user))
        self.rig.lose(self.client)
        self.assertEqual((self.rig.server.logged_in, self.rig.server._delivery._trees), (0, {}))


class FiftyTests(SynchronousTestCase):
    """C{--max-clients 50}: accounts and guests share the connections."""

    def setUp(self) -> None:
        """Forty accounts and ten guests are here; Zoe has an account, and is not."""
        self.key = SharedKey(bytes(range(32)))
        self.rig = Rig(Settings(registration="open", max_clients=50), key=self.key)
        self.zoe, client = self.rig.register("zoe")
        self.rig.lose(client)
        self.contact, _ = self.rig.contact()
        self.people = [self.rig.register(f"user{number}") for number in range(40)]
        self.guests = [self.rig.connect_guest(self.key)[1] for _ in range(10)]

    def tearDown(self) -> None:
        """No coroutine ended in a bug, and those who were here still are."""
        self.assertEqual(self.rig.failures, [])
        for client in [*[client for _, client in self.people], *self.guests]:
            self.assertEqual((client.pop(Failed), client.wire.code), ([], None))

    def full(self) -> None:
        """Number 51 is told so, whoever it is, once it has proved who that is; then the same place is for each of them."""
        self.assertEqual(self.rig.server.logged_in, 50)
        self.assertEqual(self.rig.try_login(self.zoe).failed(), "server-full")
        self.assertEqual(self.rig.try_register(self.rig.user("carol")).failed(), "server-full")
        self.assertEqual(self.rig.try_guest(self.key).failed(), "server-full")

    def test_number_51(self) -> None:
        """Number 51 gets server-full: an account, a registration, and a guest."""
        self.full()

    def test_place_of_an_account(self) -> None:
        """When an account leaves, one more gets in, of whatever kind, and then it is full again."""
        self.full()
        self.rig.lose(self.people.pop()[1])
        self.guests.append(self.rig.connect_guest(self.key)[1])
        self.full()
        self.rig.lose(self.people.pop()[1])
        self.people.append((self.zoe, self.rig.login(self.zoe)))
        self.assertEqual(self.rig.try_register(self.rig.user("carol")).failed(), "server-full")

    def test_place_of_a_guest(self) -> None:
        """So too when a guest leaves: its place is free at once, for nothing of it stays."""
        self.rig.lose(self.guests.pop())
        self.people.append(self.rig.register("carol"))
        self.full()

    def test_without_proof(self) -> None:
        """Whoever cannot prove who it is hears that, and not that there is no place."""
        wrong = User("zoe", self.zoe.server, device_id=self.zoe.device_id)
        self.assertEqual(self.rig.try_login(wrong).failed(), "login-failed")
        self.assertEqual(self.rig.try_guest(SharedKey(bytes(32))).failed(), "login-failed")
        self.assertEqual(self.rig.try_register(self.rig.user("Carol!")).failed(), "illegal-name")

    def test_nothing_used_up(self) -> None:
        """An invite that was shown at a full server is as good as before."""
        token = bytes(16)
        rig = Rig(Settings(registration="invite", max_clients=1), key=self.key)
        rig.store.add_token(keys.sha256(token), 1, START + 3600, "", 0)
        _, client = rig.connect_guest(self.key)
        carol = rig.user("carol")
        self.assertEqual(rig.try_register(carol, bytes(15) + b"1").failed(), "bad-token")
        self.assertEqual(rig.try_register(carol, token).failed(), "server-full")
        rig.lose(client)
        rig.try_register(carol, token).one(Welcome)

    def test_others(self) -> None:
        """The contact, the operator, and a device that is here already get in nevertheless."""
        self.rig.login_contact(self.contact)
        self.rig.operator().ask(Ping(1))
        user, _ = self.people.pop()
        self.people.append((user, self.rig.login(user)))
        self.full()

    def test_at_once(self) -> None:
        """Of many that prove themselves at the same moment as many get in as there may be."""
        for _ in range(2):
            self.rig.lose(self.guests.pop())
        late = [self.rig.greet_as_guest() for _ in range(4)]
        zoe = self.rig.greet()
        for client in late:
            client.send(self.rig.guest_proof(client, self.key))
        zoe.send(self.rig.proof(zoe, self.zoe))
        self.rig.run()
        self.assertEqual(sum(len(client.pop(Welcome)) for client in [*late, zoe]), 2)
        self.assertEqual(self.rig.server.logged_in, 50)


class StopTests(SynchronousTestCase):
    """The server stops."""

    def test_everybody_notified(self) -> None:
        """Everybody hears it, strangers too, and nobody gets in after."""
        rig = Rig()
        _, client = rig.register("alice")
        stranger = rig.connect()
        rig.server.stop()
        rig.run()
        late = rig.connect()
        rig.run()
        self.assertEqual([one.failed() for one in (client, stranger, late)], ["stopping"] * 3)
        self.assertEqual(rig.server.connected, 0)

    def test_answered_first(self) -> None:
        """What was taken is committed and answered before the end, also what is held for its reader; nothing more is taken."""
        rig = Rig(store=MemoryServerStore(manual=True))
        (_, sender), (bob, _) = (rig.register(name) for name in ("alice", "bob"))
        held = sender.deposit(bob)
        sender.ask(held)
        self.assertEqual((sender.accepted(), rig.store.held), ([], 0))
        rig.server.wind_up()
        sender.ask(sender.deposit(bob, text=b"too late"))
        self.assertFalse(rig.server.is_settled)
        rig.store.flush()
        rig.run()
        self.assertTrue(rig.server.is_settled)
        self.assertEqual(sender.accepted(), [held.deposit_id])
        newcomer = rig.connect()
        rig.run()
        rig.server.stop()
        rig.commit()
        self.assertEqual([one.failed() for one in (sender, newcomer)], ["stopping"] * 2)
        rig.crash()
        self.assertEqual(rig.login(bob).delivered(), [held.common])

    def test_question_answered_first(self) -> None:
        """So is a question that waits for the store."""
        rig = Rig(store=MemoryServerStore(manual=True))
        (_, sender), (bob, reader) = (rig.register(name) for name in ("alice", "bob"))
        sender.ask(sender.deposit(bob))
        rig.begin_commit()
        reader.ask(Fetch(1, "nobody"))
        rig.server.wind_up()
        rig.store.flush(1)
        rig.run()
        self.assertFalse(rig.server.is_settled)
        rig.commit()
        self.assertTrue(rig.server.is_settled)
        self.assertEqual(reader.one(Refused).code, "no-such-account")

    def test_contact_goes_on(self) -> None:
        """The contact in this process may still acknowledge what guests wait for."""
        rig = Rig()
        _, contact = rig.contact()
        rig.server.wind_up()
        contact.ask(Ping(1))
        contact.one(Pong)

    def test_new_ones_refused(self) -> None:
        """While new connections are refused, those that are there stay; afterwards everybody gets in."""
        rig = Rig()
        alice, client = rig.register("alice")
        rig.server.refuse_connections("retry-later")
        late = rig.connect()
        rig.run()
        self.assertEqual((late.failed(), rig.server.connected), ("retry-later", 1))
        client.ask(Ping(1))
        client.one(Pong)
        rig.server.refuse_connections("")
        rig.login(alice)

    def test_acknowledgements_kept(self) -> None:
        """What was acknowledged in the last moment is deleted."""
        rig = Rig()
        alice, sender = rig.register("alice")
        bob, reader = rig.register("bob")
        sender.ask(sender.deposit(bob))
        reader.wire.feed(b"\x00\x00\x00\x03\x92\x0e\x01")
        rig.server.stop()
        rig.crash()
        self.assertEqual(rig.login(bob).delivered(), [])

    def test_frames_after(self) -> None:
        """A deposit that comes too late is not taken."""
        rig = Rig()
        alice, sender = rig.register("alice")
        bob, _ = rig.register("bob")
        deposit: Deposit = sender.deposit(bob)
        peer = sender.wire.peer
        rig.server.stop()
        peer.received(deposit)
        rig.run()
        rig.crash()
        self.assertEqual(rig.login(bob).delivered(), [])
