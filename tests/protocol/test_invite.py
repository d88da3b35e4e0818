"""Invites."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from securemsg.errors import Refusal
from securemsg.protocol.invite import InviteLink, parse_invite
from tests.protocol.examples import KEY

FULL = InviteLink("chat.example", 8443, KEY, bytes(range(16)), KEY[::-1], "alice", bytes(32), KEY[1:] + b"k")


class InviteTests(SynchronousTestCase):
    """A string to pass on."""

    def refused(self, text: str) -> None:
        """This is no invite."""
        self.assertEqual(self.assertRaises(Refusal, parse_invite, text).code, "bad-invite", text)

    def test_round_trip(self) -> None:
        """An invite comes back as it was, with little or much in it."""
        small, six = InviteLink("127.0.0.1", 1, KEY), InviteLink("::1", 65535, KEY, b"t")
        for link in (FULL, small, six, InviteLink("h", 8443, KEY, contact=KEY)):
            self.assertEqual(parse_invite(str(link)), link)

    @given(
        st.from_regex(r"[a-z0-9]{1,20}(\.[a-z0-9]{1,20}){0,3}", fullmatch=True),
        st.integers(1, 65535),
        st.binary(min_size=32, max_size=32),
        st.binary(max_size=64),
    )
    def test_any_round_trip(self, host: str, port: int, pin: bytes, token: bytes) -> None:
        """So it does with any host, port, pin and token."""
        link = InviteLink(host, port, pin, token)
        self.assertEqual(parse_invite(str(link)), link)

    def test_surroundings(self) -> None:
        """Blanks and line ends around it do not matter."""
        self.assertEqual(parse_invite(f"  {FULL}\r\n"), FULL)

    def test_newer(self) -> None:
        """Items of later times are ignored."""
        self.assertEqual(parse_invite(f"{FULL}&sctp=8443&later=x"), FULL)

    def test_plain(self) -> None:
        """It is one line of plain characters that no shell or mail program breaks."""
        self.assertRegex(str(FULL), r"^securemsg://[!-~]+$")
        self.assertNotIn("'", str(FULL))

    def test_token_not_shown(self) -> None:
        """Its representation, which may get into a log, holds no token."""
        self.assertNotIn(repr(FULL.token), repr(FULL))

    def test_secret(self) -> None:
        """A secret has 32 bytes and belongs to an inviter; the representation does not show it."""
        self.assertNotIn(repr(FULL.secret), repr(FULL))
        self.assertIn("&secret=", str(FULL))
        self.refused(str(FULL).replace("&secret=", "&secret=AAAA"))
        self.refused(str(InviteLink("h", 8443, KEY, secret=KEY)))

    def test_cut_short(self) -> None:
        """An invite that was cut off is refused wherever a key is not whole, and never read as another server's."""
        text = str(FULL)
        for size in range(len(text)):
            try:
                link = parse_invite(text[:size])
            except Refusal:
                continue
            self.assertEqual((link.host, link.port, link.pin), (FULL.host, FULL.port, FULL.pin))

    def test_bad(self) -> None:
        """What is no invite is refused, each with the one code."""
        text = str(FULL)
        pin = text.split("pin=")[1].split("&")[0]
        for bad in (
            "",
            "hello",
            "https://chat.example/",
            text.replace("securemsg:", "https:"),
            text.replace(":8443", ""),
            text.replace(":8443", ":0"),
            text.replace(":8443", ":65536"),
            text.replace(":8443", ":x"),
            text.replace("chat.example", ""),
            text.replace("chat.example", "chat..example"),
            text.replace("chat.example", "chat example"),
            text.replace("chat.example", "chat%00"),
            text.replace("chat.example", "-chat"),
            text.replace("chat.example", "a" * 64),
            text.replace(pin, ""),
            text.replace(pin, pin[:-3]),
            text.replace(pin, pin + "AAAA"),
            text.replace(pin, "!" * len(pin)),
            text.replace(pin, "!!!!" + pin),
            text.replace("from=alice", "from=" + "x" * 33),
            text.replace("from=alice&", ""),
            text.split("#")[0],
            "securemsg://[::1:8443/#pin=" + pin,
            text + "&" + "x=1&" * 40,
            text + "&later=" + "x" * 2048,
        ):
            self.refused(bad)

    @given(st.text(max_size=80))
    def test_garbage(self, text: str) -> None:
        """Whatever is typed ends in a refusal."""
        self.refused(text)
        try:
            parse_invite(f"securemsg://h:1/#{text}")
        except Refusal as refusal:
            self.assertEqual(refusal.code, "bad-invite")
