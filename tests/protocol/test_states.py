"""The whole conversation: every phase, side and message."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from securemsg.errors import LocalProtocolError, RemoteProtocolError
from securemsg.protocol import messages as m
from securemsg.protocol.connection import Connection
from securemsg.protocol.framing import encode_frame
from securemsg.protocol.messages import Message, Unknown, encode_message
from securemsg.protocol.states import TRANSITIONS, Phase, Side
from tests.protocol.examples import EXAMPLES, ID, KEY, KINDS, SIGNATURE

CLIENT, SERVER = Side.CLIENT, Side.SERVER

# The specification's numbers, written once more.
BEFORE_LOGIN, REGISTRATION, AFTER_LOGIN, WITH_ROOMS = 4096, 16_384, 147_456, 1_048_576

# The specification's table, written once more.
FROM_CLIENT = {
    m.Deposit, m.Acknowledge, m.Fetch, m.Claim, m.Upload, m.Publish, m.Invite, m.Ping, m.ListAccounts, m.RemoveAccount,
    m.GetAddress, m.Reply, m.OpenCode, m.AnswerCode, m.ListInvites, m.RevokeInvite,
    m.GetDetails, m.SetSuspended, m.SetQuota, m.Kick, m.ListConnections, m.GetStats, m.SetDraining,
    m.SetLogLevel, m.TakeSnapshot, m.RotateKey,
}  # fmt: skip
FROM_SERVER = {
    m.Accepted, m.DepositRefused, m.Deliver, m.Drained, m.Stock, m.Account, m.Bundle, m.Invited, m.Pong, m.Done, m.Refused,
    m.Accounts, m.Address, m.CodeOpened, m.CodeUsed, m.Invites, m.Details, m.Removed,
    m.Connections, m.Stats,
}  # fmt: skip
ALLOWED: dict[Phase, dict[tuple[Side, type], Phase]] = {
    Phase.GREETING: {(CLIENT, m.Hello): Phase.CHALLENGING, (SERVER, m.Failed): Phase.CLOSED},
    Phase.CHALLENGING: {(SERVER, m.Challenge): Phase.PROVING, (SERVER, m.Failed): Phase.CLOSED},
    Phase.PROVING: {
        (CLIENT, m.Proof): Phase.VERIFYING,
        (CLIENT, m.Register): Phase.VERIFYING,
        (CLIENT, m.AskCode): Phase.ASKING,
        (CLIENT, m.Failed): Phase.CLOSED,
        (SERVER, m.Failed): Phase.CLOSED,
    },
    Phase.VERIFYING: {(SERVER, m.Welcome): Phase.READY, (SERVER, m.Failed): Phase.CLOSED},
    Phase.READY: {
        **{(CLIENT, kind): Phase.READY for kind in FROM_CLIENT},
        **{(SERVER, kind): Phase.READY for kind in FROM_SERVER},
        (CLIENT, m.Failed): Phase.CLOSED,
        (SERVER, m.Failed): Phase.CLOSED,
    },
    Phase.ASKING: {(SERVER, m.CodeMessage): Phase.USING, (SERVER, m.Failed): Phase.CLOSED},
    Phase.USING: {
        (CLIENT, m.UseCode): Phase.AWAITING,
        (CLIENT, m.Failed): Phase.CLOSED,
        (SERVER, m.Failed): Phase.CLOSED,
    },
    Phase.AWAITING: {(SERVER, m.CodeAnswer): Phase.CLOSED, (SERVER, m.Failed): Phase.CLOSED},
    Phase.CLOSED: {},
}


def frame(message: Message) -> bytes:
    """A message on the wire."""
    return encode_frame(encode_message(message))


class TripleTests(SynchronousTestCase):
    """Every (phase, side, message)."""

    def test_table(self) -> None:
        """The table is the specification's, no more and no less."""
        self.assertEqual(TRANSITIONS, ALLOWED)

    def test_sending(self) -> None:
        """
        Each side says what the table lets it say, and goes to the phase it names; all else is its own bug and changes nothing.
        """
        for phase in Phase:
            for side in Side:
                for kind in KINDS:
                    connection = Connection(side, phase)
                    target = ALLOWED[phase].get((side, kind))
                    if target is None:
                        self.assertRaises(LocalProtocolError, connection.send, EXAMPLES[kind])
                        self.assertEqual((connection.phase, connection.data_to_send()), (phase, b""))
                    else:
                        connection.send(EXAMPLES[kind])
                        self.assertEqual((connection.phase, connection.data_to_send()), (target, frame(EXAMPLES[kind])))

    def test_receiving(self) -> None:
        """
        Each side hears what the table lets the other say; all else is out of turn and ends it; after the end all is dropped.
        """
        for phase in Phase:
            for side in Side:
                for kind in KINDS:
                    connection = Connection(side, phase)
                    peer = SERVER if side is CLIENT else CLIENT
                    target = ALLOWED[phase].get((peer, kind))
                    wire = frame(EXAMPLES[kind])
                    if phase is Phase.CLOSED:
                        self.assertEqual(list(connection.receive(wire)), [])
                    elif target is None:
                        error = self.assertRaises(RemoteProtocolError, list, connection.receive(wire))
                        self.assertEqual((error.code, connection.phase), ("out-of-turn", Phase.CLOSED))
                    else:
                        self.assertEqual(list(connection.receive(wire)), [EXAMPLES[kind]])
                        self.assertIs(connection.phase, target)


class PairTests(SynchronousTestCase):
    """Two ends of one conversation."""

    def setUp(self) -> None:
        """Nobody has said anything."""
        self.client, self.server = Connection(CLIENT), Connection(SERVER)

    def pass_on(self, data: bytes, to: Connection, cut: int = 1 << 30) -> list[Message | Unknown]:
        """Let bytes arrive in pieces."""
        return [message for at in range(0, len(data), cut) for message in to.receive(data[at : at + cut])]

    def say(self, message: Message, cut: int = 1 << 30) -> None:
        """The one whose message it is says it, and the other hears it."""
        speaker, listener = self.client, self.server
        if (self.server.side, type(message)) in ALLOWED[self.server.phase] and type(message) is not m.Failed:
            speaker, listener = self.server, self.client
        speaker.send(message)
        self.assertEqual(self.pass_on(speaker.data_to_send(), listener, cut), [message])
        self.assertIs(self.client.phase, self.server.phase)

    def log_in(self, cut: int = 1 << 30) -> None:
        """The whole greeting."""
        for kind in (m.Hello, m.Challenge, m.Proof, m.Welcome):
            self.say(EXAMPLES[kind], cut)

    def test_conversation(self) -> None:
        """Both ends agree on every phase, with the stream whole or in pieces."""
        for cut in (1 << 30, 7, 1):
            self.setUp()
            self.log_in(cut)
            for kind in (*FROM_CLIENT, *FROM_SERVER):
                self.say(EXAMPLES[kind], cut)
            self.assertIs(self.server.phase, Phase.READY)

    def test_short_invite(self) -> None:
        """A newcomer with a short invite asks and uses once, and the answer is the last word; the small frames stay."""
        said = [EXAMPLES[kind] for kind in (m.Hello, m.Challenge, m.AskCode, m.CodeMessage, m.UseCode)]
        for count in range(len(said)):
            self.assert_limit(BEFORE_LOGIN, *said[:count])
        self.setUp()
        for message in (*said, m.CodeAnswer(bytes(m.MAX_SEALED_INVITE))):
            self.say(message)
        self.assertEqual((self.client.phase, self.server.phase), (Phase.CLOSED, Phase.CLOSED))

    def test_greetings_kept(self) -> None:
        """Both ends have the very bytes of both greetings, for they are signed whole."""
        self.log_in()
        for connection in (self.client, self.server):
            self.assertEqual(connection.hello, encode_message(EXAMPLES[m.Hello]))
            self.assertEqual(connection.challenge, encode_message(EXAMPLES[m.Challenge]))

    def test_greeting_with_more(self) -> None:
        """What a newer client says besides is kept too, so that it is signed."""
        payload = encode_message(EXAMPLES[m.Hello])
        newer = bytes([payload[0] + 1]) + payload[1:] + b"\xa5later"
        self.assertEqual(list(self.server.receive(encode_frame(newer))), [EXAMPLES[m.Hello]])
        self.assertEqual(self.server.hello, newer)

    def test_many_in_one_piece(self) -> None:
        """Messages that were queued together arrive together, in order."""
        self.log_in()
        sent: list[Message] = [m.Ping(number) for number in range(100)]
        for message in sent:
            self.client.send(message)
        self.assertEqual(self.pass_on(self.client.data_to_send(), self.server), sent)
        self.assertEqual(self.client.data_to_send(), b"")

    def assert_limit(self, limit: int, *said: Message, at_client: int = 0) -> None:
        """
        After this was said, either end admits a frame of this size, and no larger one, before any of it has come.

        @param at_client: the limit there; 0: the same.
        """
        for side in Side:
            largest = at_client if at_client and side is CLIENT else limit
            for size in (largest, largest + 1):
                self.setUp()
                for message in said:
                    self.say(message)
                connection = self.server if side is SERVER else self.client
                messages = connection.receive(size.to_bytes(4, "big"))
                if size == largest:
                    self.assertEqual(list(messages), [])
                    continue
                error = self.assertRaises(RemoteProtocolError, list, messages)
                self.assertEqual((error.code, connection.phase), ("frame-too-large", Phase.CLOSED))

    def test_limits_by_phase(self) -> None:
        """A stranger is held to a small frame, who registers to a larger one, and who is logged in to the largest."""
        said = [EXAMPLES[kind] for kind in (m.Hello, m.Challenge, m.Proof, m.Welcome)]
        for count in range(len(said)):
            self.assert_limit(BEFORE_LOGIN, *said[:count])
        self.assert_limit(AFTER_LOGIN, *said)

    def test_limit_of_registration(self) -> None:
        """Who says it registers may send a larger frame, and no larger."""
        hello = m.Hello([1], [], "register", "tcp", bytes(32))
        self.assert_limit(REGISTRATION, hello, EXAMPLES[m.Challenge])

    def greeting(self, *features: str, chosen: tuple[str, ...] = ("rooms",), role: Any = "device") -> list[Message]:
        """A login with these features."""
        hello = m.Hello([1], list(features), role, "tcp", KEY)
        challenge = m.Challenge(1, list(chosen), KEY, KEY, SIGNATURE)
        proof = EXAMPLES[m.Register if role == "register" else m.Proof]
        return [hello, challenge, proof, EXAMPLES[m.Welcome]]

    def test_limit_with_rooms(self) -> None:
        """A device may send larger frames once both ends have announced rooms, and gets none; nobody else may."""
        for role in ("device", "register"):
            said = self.greeting("rooms", role=role)
            self.assert_limit(WITH_ROOMS, *said, at_client=AFTER_LOGIN)
            self.assert_limit(AFTER_LOGIN, *self.greeting("rooms", chosen=(), role=role))
        self.assert_limit(BEFORE_LOGIN, *self.greeting("rooms")[:3])
        for role in ("key", "operator"):
            self.assert_limit(AFTER_LOGIN, *self.greeting("rooms", role=role))

    def test_announced_short_invites(self) -> None:
        """Both ends know whether both have announced short invites, whoever the client is."""
        for role in ("device", "newcomer"):
            for chosen in ((), ("rooms",), ("rooms", "short-invites")):
                self.setUp()
                for message in self.greeting("rooms", "short-invites", chosen=chosen, role=role)[:2]:
                    self.say(message)
                expected = "short-invites" in chosen
                self.assertEqual([end.has_short_invites for end in (self.client, self.server)], [expected, expected])

    def test_largest_of_a_room(self) -> None:
        """The largest common part and a hundred of the largest own parts, with the step that they bring, fit one frame."""
        item = m.RoomItem(ID, 2**62, KEY, m.RoomStep(KEY, KEY))
        parts = [m.Part(ID, bytes(m.MAX_OWN)) for _ in range(2)]
        to = [m.Destination("x" * 31 + chr(48 + number), parts) for number in range(50)]
        deposit = m.Deposit(ID, m.MAX_N, m.MAX_EXPIRY, bytes(m.MAX_COMMON), to, item)
        for message in self.greeting("rooms"):
            self.say(message)
        self.say(deposit, 1200)
        self.setUp()
        self.log_in()
        self.assertRaises(LocalProtocolError, self.client.send, deposit)

    def test_pull(self) -> None:
        """A message that was not asked for is neither decoded nor held against the phase; the next who asks gets it."""
        hello, garbage = frame(EXAMPLES[m.Hello]), encode_frame(b"\xc1")
        self.assertEqual(next(self.server.receive(hello + garbage)), EXAMPLES[m.Hello])
        self.assertEqual((self.server.phase, self.server.unread), (Phase.CHALLENGING, len(garbage)))
        self.server.receive(hello)
        self.assertEqual((self.server.phase, self.server.unread), (Phase.CHALLENGING, len(garbage + hello)))
        self.assertRaises(RemoteProtocolError, next, self.server.messages())
        self.assertEqual(list(self.server.messages()), [])

    def test_full(self) -> None:
        """An end that has more than the largest frame of its phase to go on with says so."""
        self.server.receive(bytes(BEFORE_LOGIN + 4))
        self.assertFalse(self.server.is_full)
        self.server.receive(b"\x00")
        self.assertTrue(self.server.is_full)

    def test_unknown(self) -> None:
        """An unknown message is passed on after login, and ends it before."""
        self.log_in()
        later = encode_frame(b"\x92\x63\x07")
        self.assertEqual(list(self.server.receive(later)), [Unknown(99, 7)])
        self.assertIs(self.server.phase, Phase.READY)
        stranger = Connection(SERVER)
        error = self.assertRaises(RemoteProtocolError, list, stranger.receive(later))
        self.assertEqual((error.code, stranger.phase), ("unknown-message", Phase.CLOSED))

    def test_nothing_after_the_last_word(self) -> None:
        """What a peer says after Failed is not heard."""
        self.log_in()
        failed, ping = m.Failed("bye"), m.Ping(1)
        self.assertEqual(list(self.server.receive(frame(failed) + frame(ping))), [failed])
        self.assertEqual(list(self.server.receive(frame(ping))), [])

    def test_hung_up_in_the_middle(self) -> None:
        """Whoever hangs up while a message is dealt with does not hear the rest of that read."""
        self.log_in()
        heard = []
        for message in self.server.receive(frame(m.Ping(1)) + frame(m.Ping(2))):
            heard.append(message)
            self.server.close()
        self.assertEqual(heard, [m.Ping(1)])

    def test_garbage_after_good(self) -> None:
        """The messages before a bad one were given, those after it are not."""
        self.log_in()
        messages = self.server.receive(frame(m.Ping(1)) + encode_frame(b"\xc1") + frame(m.Ping(2)))
        self.assertEqual(next(messages), m.Ping(1))
        self.assertRaises(RemoteProtocolError, next, messages)
        self.assertEqual(list(self.server.receive(frame(m.Ping(3)))), [])

    @given(st.lists(st.binary(max_size=50), max_size=10))
    def test_any_stream(self, pieces: list[bytes]) -> None:
        """Whatever bytes come, they end in messages or in a clean refusal, and after that in nothing."""
        server = Connection(SERVER)
        for piece in pieces:
            try:
                list(server.receive(piece))
            except RemoteProtocolError:
                self.assertIs(server.phase, Phase.CLOSED)

    def test_too_large_to_send(self) -> None:
        """A message that fits no frame is our own bug, and changes nothing."""
        parts = [m.Part(bytes(16), bytes(m.MAX_OWN)) for _ in range(10)]
        deposit = m.Deposit(bytes(16), 1, 1, bytes(m.MAX_COMMON), [m.Destination(name, parts) for name in ("bob", "carol")])
        self.log_in()
        self.assertRaises(LocalProtocolError, self.client.send, deposit)
        self.assertEqual((self.client.phase, self.client.data_to_send()), (Phase.READY, b""))
