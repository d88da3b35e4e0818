"""Invites as mail leaves them."""

from __future__ import annotations

import base64
import quopri
import textwrap
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from securemsg.account.errors import SecuremsgError
from securemsg.cli.invites import MAX_TEXT, find_invite
from securemsg.protocol.invite import InviteLink

# Values whose base64 looks like quoted-printable after the equals sign.
PIN, TOKEN = b"\xdc\x3d" * 16, b"\xf8\x3d" * 16
LINK = InviteLink("chat.example.org", 8443, PIN, TOKEN, bytes(32), "alice", b"\xe9" * 32, b"\xff" * 32, 8443)


class FindTests(SynchronousTestCase):
    """One is found, whatever was done to it, as long as it is clear which."""

    def assert_found(self, text: str) -> None:
        """It is this one."""
        self.assertEqual(find_invite(text), LINK)

    def test_alone(self) -> None:
        """As it was printed."""
        self.assert_found(str(LINK))
        self.assert_found(f"  {LINK}\n\n")

    def test_in_a_mail(self) -> None:
        """Among other text, in brackets, quoted, with the line ends of mail."""
        mail = f"Hi Bob,\nhere it is:\n<{LINK}>\nSee you there"
        self.assert_found(mail)
        self.assert_found(textwrap.indent(mail, "> > ").replace("\n", "\r\n"))
        self.assert_found(f"Take {LINK} please.")

    def test_in_a_sentence(self) -> None:
        """With what ends a sentence, a bracket or a link of Markdown right behind it."""
        for text in (f"Here: {LINK}.", f"{LINK}, bye", f"({LINK})", f"[join]({LINK}).", f"'{LINK}'"):
            self.assert_found(text)

    def test_in_html(self) -> None:
        """As HTML has it; nothing of it is lost."""
        self.assert_found(f'<a href="{str(LINK).replace("&", "&amp;")}">join</a>')

    def test_wrapped(self) -> None:
        """Cut into lines, also in a quotation."""
        rows = "\n".join(textwrap.wrap(str(LINK), 60, break_on_hyphens=False))
        self.assert_found(rows)
        self.assert_found(textwrap.indent(f"<{rows}>\nbye", "> "))
        self.assert_found(rows + "\n\n-- \nalice")

    def test_encoded(self) -> None:
        """Quoted-printable, or percent-encoded, whole or in part."""
        self.assert_found(quopri.encodestring(f"Hello,\n<{LINK}>\n".encode()).decode())
        self.assert_found(quote(str(LINK), safe=""))
        self.assert_found(str(LINK).replace("#", "%23").replace("=", "%3D").replace("&", "%26"))

    def test_as_it_stands(self) -> None:
        """What is an invite as it stands is not read in another way: in quoted-printable this token would be another one."""
        link = InviteLink("127.0.0.1", 8443, LINK.pin, base64.b64decode("3D" + "A" * 22))
        self.assertIn("token=3DAAAA", str(link))
        self.assertEqual(find_invite(str(link)), link)

    def test_unclear(self) -> None:
        """Two that differ, one that is cut short, and none are refused; twice the same is one."""
        other = InviteLink("chat.example.org", 8444, LINK.pin)
        self.assert_found(f"{LINK}\n\n{LINK}")
        for text in (f"{LINK}\n\n{other}", str(LINK)[:200], "hello", "", "securemsg:", f"{' ' * MAX_TEXT}{LINK}"):
            with self.assertRaises(SecuremsgError) as caught:
                find_invite(text)
            self.assertEqual(caught.exception.code, "bad-invite")
