"""New accounts and the tokens that admit them."""

from __future__ import annotations

from attrs import evolve
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto import keys
from securemsg.protocol import auth
from securemsg.protocol.messages import Invite, Invited, Refused, Register, Welcome
from securemsg.server.limits import Rate, Settings
from tests.server.rig import DAY, START, TLS, Client, Rig


class OpenRegistrationTests(SynchronousTestCase):
    """Everybody may register."""

    def setUp(self) -> None:
        """Nobody has."""
        self.rig = Rig()
        self.alice = self.rig.user("alice")

    def tearDown(self) -> None:
        """No coroutine ended in a bug."""
        self.assertEqual(self.rig.failures, [])

    def refused(self, name: str) -> str:
        """With which code a name is refused."""
        return self.rig.try_register(self.rig.user(name)).failed()

    def test_registered(self) -> None:
        """Who registers is logged in, and may log in again."""
        welcome = self.rig.try_register(self.alice).one(Welcome)
        self.assertEqual((welcome.highest, welcome.now), (0, START))
        self.rig.login(self.alice)

    def test_noted(self) -> None:
        """An operator finds who has come in the log, and not who was refused: such a name may be anything."""
        self.rig.try_register(self.alice).one(Welcome)
        self.assertEqual(self.refused("alice"), "name-taken")
        self.assertEqual(self.rig.notes, [("registered", "alice")])

    def test_lost_reply(self) -> None:
        """The same registration again, after a lost answer, succeeds as the first did."""
        self.rig.try_register(self.alice).one(Welcome)
        self.rig.crash()
        self.rig.try_register(self.alice).one(Welcome)

    def test_other_device_again(self) -> None:
        """The identity alone does not repeat a registration: the device, with its key, has to be on the list that is stored."""
        self.rig.try_register(self.alice).one(Welcome)
        for other in (evolve(self.alice, device_id=keys.random_id()), evolve(self.alice, device=keys.SigningKey.generate())):
            self.assertEqual(self.rig.try_register(other).failed(), "login-failed")

    def test_name_taken(self) -> None:
        """A name belongs to who came first."""
        self.rig.try_register(self.alice)
        self.assertEqual(self.refused("alice"), "name-taken")

    def test_names(self) -> None:
        """Names are plain, and some are kept back."""
        for name in ("", "Alice", "-a", "a b", "ä", "a/b", "a\n"):
            self.assertEqual(self.refused(name), "illegal-name", name)
        for name in ("server", "admin", "key-1234"):
            self.assertEqual(self.refused(name), "reserved-name", name)
        for name in ("a", "0.x_y-z", "x" * 32):
            self.rig.try_register(self.rig.user(name)).one(Welcome)

    def test_hosted_contact(self) -> None:
        """The contact that lives in this process may be called server, and takes nobody's place."""
        self.rig.try_register(self.rig.user("server"), binding=auth.MEMORY).one(Welcome)
        self.assertEqual((self.rig.server.connected, self.rig.server.logged_in), (1, 0))

    def test_proofs(self) -> None:
        """Both keys have to be at hand, and for this very registration."""
        for column in ("identity_signature", "device_signature"):
            client = self.rig.greet("register")
            client.ask(replace(self.rig.registration(client, self.alice), **{column: bytes(64)}))
            self.assertEqual(client.failed(), "unauthentic")
        client = self.rig.greet("register")
        client.ask(replace(self.rig.registration(client, self.alice, b"token"), token=b"other"))
        self.assertEqual(client.failed(), "unauthentic")

    def test_replay(self) -> None:
        """A registration that was overheard is worth nothing in another connection."""
        overheard = self.rig.registration(self.rig.greet("register"), self.alice)
        client = self.rig.greet("register")
        client.ask(overheard)
        self.assertEqual(client.failed(), "unauthentic")

    def test_lists(self) -> None:
        """The first list is the first, of this account, on this server, and with this device."""
        for changes in (
            {"version": 2},
            {"previous": bytes(32)},
            {"account": "bob"},
            {"server": bytes(32)},
            {"devices": [self.rig.user("alice").own]},
            {"devices": [self.alice.own, self.alice.own]},
        ):
            self.assertEqual(self.rig.try_register(self.alice, **changes).failed(), "bad-device-list", changes)

    def test_strange_list(self) -> None:
        """A list that another identity signed is none."""
        client = self.rig.greet("register")
        mallory = self.rig.user("alice")
        devices = mallory.device_list(devices=[self.alice.own])
        own = self.alice
        bare = Register("alice", own.device_id, b"", own.identity.public, devices, bytes(64), bytes(64))
        parts = auth.register_parts(
            client.connection.hello, client.connection.challenge, self.rig.identity.public, bare, TLS
        )
        identity = self.alice.identity.sign(auth.REGISTER_IDENTITY_LABEL, *parts)
        device = self.alice.device.sign(auth.REGISTER_DEVICE_LABEL, *parts)
        client.ask(replace(bare, identity_signature=identity, device_signature=device))
        self.assertEqual(client.failed(), "unauthentic")

    def test_too_many(self) -> None:
        """Registrations come at a limited rate."""
        rig = Rig(Settings(registration="open", registrations=Rate(1, 10)))
        rig.register("alice")
        self.assertEqual(rig.try_register(rig.user("bob")).failed(), "rate-limited")
        rig.time += 10
        rig.register("bob")

    def test_failures_cost_nothing(self) -> None:
        """A registration that is not in order takes nobody's turn; the contact that lives here needs none."""
        rig = Rig(Settings(registration="open", registrations=Rate(1, 10)))
        for name in ("admin", "UPPER"):
            rig.try_register(rig.user(name)).failed()
        rig.try_register(rig.user("server"), binding=auth.MEMORY).one(Welcome)
        rig.register("alice")


class InvitedRegistrationTests(SynchronousTestCase):
    """A token is needed."""

    def setUp(self) -> None:
        """The operator has issued one."""
        self.rig = Rig(Settings())
        self.operator = self.rig.operator()
        self.token = self.issue(self.operator)

    def tearDown(self) -> None:
        """No coroutine ended in a bug."""
        self.assertEqual(self.rig.failures, [])

    def issue(self, client: Client, uses: int = 1, lifetime: int = DAY) -> bytes:
        """Issue a token."""
        client.ask(Invite(1, uses, lifetime))
        return client.one(Invited).token

    def refused(self, name: str, token: bytes) -> str:
        """With which code a registration is refused."""
        return self.rig.try_register(self.rig.user(name), token).failed()

    def test_admitted(self) -> None:
        """A token admits one, and no second."""
        self.rig.try_register(self.rig.user("alice"), self.token).one(Welcome)
        self.assertEqual(self.refused("bob", self.token), "bad-token")

    def test_uses(self) -> None:
        """A token admits as many as it was issued for."""
        token = self.issue(self.operator, uses=2)
        for name in ("alice", "bob"):
            self.rig.try_register(self.rig.user(name), token).one(Welcome)
        self.assertEqual(self.refused("carol", token), "bad-token")

    def test_no_token(self) -> None:
        """Without a token, or with one that nobody issued, nobody gets in."""
        self.assertEqual(self.refused("alice", b""), "bad-token")
        self.assertEqual(self.refused("alice", bytes(16)), "bad-token")

    def test_expired(self) -> None:
        """A token is good for its lifetime."""
        self.operator.ask(Invite(1, 1, 60))
        invited = self.operator.one(Invited)
        self.assertEqual(invited.expires_at, START + 60)
        self.rig.time += 61
        self.assertEqual(self.refused("alice", invited.token), "bad-token")

    def test_token_before_name(self) -> None:
        """Who has no token does not learn which names there are."""
        self.rig.try_register(self.rig.user("alice"), self.token).one(Welcome)
        self.assertEqual(self.refused("alice", b"wrong"), "bad-token")
        self.assertEqual(self.refused("alice", self.issue(self.operator)), "name-taken")

    def test_token_before_all(self) -> None:
        """Who has no token learns nothing of names that are not given, and not whether all else was right."""
        names = {"admin": "reserved-name", "key-abc": "reserved-name", "UPPER": "illegal-name"}
        for name, code in names.items():
            self.assertEqual(self.refused(name, b"wrong"), "bad-token")
            self.assertEqual(self.refused(name, self.token), code)
        self.assertEqual(self.rig.try_register(self.rig.user("alice"), b"wrong", version=2).failed(), "bad-token")

    def test_nobody_kept_out(self) -> None:
        """However many fail, with or without a token, who comes with one and is right gets in; those who fail are slowed."""
        self.rig.settings = Settings(registrations=Rate(1, 10), failures=Rate(3, 10))
        self.rig.crash()
        self.assertEqual(self.rig.try_register(self.rig.user("alice"), self.token, version=2).failed(), "bad-device-list")
        codes = [self.refused(f"user{number}", b"wrong") for number in range(4)]
        self.assertEqual(codes, ["bad-token", "bad-token", "rate-limited", "rate-limited"])
        self.rig.try_register(self.rig.user("alice"), self.token).one(Welcome)
        self.rig.time += 10
        self.assertEqual(self.refused("bob", b"wrong"), "bad-token")

    def test_rate_of_each_token(self) -> None:
        """The rate is that of a token: holders of another are not kept out."""
        self.rig.settings = Settings(registrations=Rate(1, 10))
        self.rig.crash()
        operator = self.rig.operator()
        many, other = self.issue(operator, uses=5), self.issue(operator)
        self.rig.try_register(self.rig.user("alice"), many).one(Welcome)
        self.assertEqual(self.refused("bob", many), "rate-limited")
        self.rig.try_register(self.rig.user("carol"), other).one(Welcome)
        self.rig.time += 10
        self.rig.try_register(self.rig.user("bob"), many).one(Welcome)

    def test_taken_name_costs_nothing(self) -> None:
        """A token that met a taken name is good for another."""
        self.rig.try_register(self.rig.user("alice"), self.token).one(Welcome)
        token = self.issue(self.operator)
        self.assertEqual(self.refused("alice", token), "name-taken")
        self.rig.try_register(self.rig.user("bob"), token).one(Welcome)

    def test_lost_reply(self) -> None:
        """A registration that is repeated uses its token once."""
        token = self.issue(self.operator, uses=2)
        alice = self.rig.user("alice")
        for _ in range(3):
            self.rig.try_register(alice, token).one(Welcome)
        self.rig.try_register(self.rig.user("bob"), token).one(Welcome)

    def test_users_invite(self) -> None:
        """A user may invite, within limits."""
        alice = self.rig.try_register(self.rig.user("alice"), self.token)
        alice.one(Welcome)
        self.rig.try_register(self.rig.user("bob"), self.issue(alice)).one(Welcome)
        alice.ask(Invite(2, 17, DAY), Invite(3, 1, 30 * DAY + 1), Invite(4, 16, 30 * DAY))
        self.assertEqual(alice.pop(Refused), [Refused(2, "bad-request"), Refused(3, "bad-request")])
        alice.one(Invited)
        self.operator.ask(Invite(5, 10_000, 366 * DAY))
        self.operator.one(Invited)

    def test_too_many_invites(self) -> None:
        """A user has so many open invites and no more."""
        alice = self.rig.try_register(self.rig.user("alice"), self.token)
        for request in range(200):
            alice.ask(Invite(request, 1, DAY))
            if refusals := alice.pop(Refused):
                self.assertEqual([one.code for one in refusals], ["too-many-invites"])
                return
        self.fail("no end of invites")

    def test_users_do_not(self) -> None:
        """Where users do not invite, they are told so; the operator does."""
        self.rig.settings = Settings(users_invite=False)
        self.rig.crash()
        operator = self.rig.operator()
        alice = self.rig.try_register(self.rig.user("alice"), self.issue(operator))
        alice.ask(Invite(2, 1, DAY))
        self.assertEqual(alice.one(Refused), Refused(2, "forbidden"))

    def test_depth(self) -> None:
        """Only so many users in a row may invite each other, also after a restart."""
        self.rig.settings = Settings(user_invite_depth=2)
        self.rig.crash()
        token = self.issue(self.rig.operator())
        people = [self.rig.user(name) for name in ("alice", "bob", "carol")]
        for person in people[:2]:
            token = self.issue(self.rig.try_register(person, token))
        self.rig.try_register(people[2], token).one(Welcome)
        self.rig.crash()
        client = self.rig.login(people[2])
        client.ask(Invite(2, 1, DAY))
        self.assertEqual(client.one(Refused), Refused(2, "forbidden"))

    def test_closed_invites(self) -> None:
        """Where registration is closed users get no invite, and those that they have made admit nobody."""
        alice = self.rig.user("alice")
        token = self.issue(self.rig.try_register(alice, self.token))
        self.rig.settings = Settings(registration="closed")
        self.rig.crash()
        client = self.rig.login(alice)
        client.ask(Invite(2, 1, DAY))
        self.assertEqual(client.one(Refused), Refused(2, "registration-closed"))
        self.assertEqual(self.refused("bob", token), "registration-closed")

    def test_closed_operator(self) -> None:
        """The operator's own invites admit also where registration is closed."""
        self.rig.settings = Settings(registration="closed")
        self.rig.crash()
        self.rig.try_register(self.rig.user("alice"), self.issue(self.rig.operator())).one(Welcome)

    def test_closed(self) -> None:
        """Nobody else registers where that is closed, token or not, but for the contact that lives here."""
        self.rig.settings = Settings(registration="closed")
        self.rig.crash()
        self.assertEqual([self.refused("alice", token) for token in (b"", b"wrong")], ["registration-closed"] * 2)
        self.rig.try_register(self.rig.user("server"), binding=auth.MEMORY).one(Welcome)
