"""What a shell is offered, and the scripts with which it asks."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil

from securemsg.account.errors import Exit
from securemsg.cli.commands.join import prepare
from securemsg.cli.completion import COMPLETION, INSTALL
from securemsg.cli.knownnames import MAX_NAMES, known_names
from securemsg.cli.main import COMMANDS, run
from securemsg.cli.settings import Settings
from securemsg.client.rooms.store import Room, RoomState, name_room, put_room
from securemsg.client.state.vault import open_vault
from securemsg.crypto.keys import SigningKey
from securemsg.protocol.invite import InviteLink
from securemsg.storage.profile import open_profile
from tests.cli.test_main import CommandLineCase

INVITER = SigningKey(bytes(range(7, 39))).public
LINK = InviteLink("127.0.0.1", 1, bytes(range(32)), b"token", bytes(range(2, 34)), "bob", INVITER)


class CompletionTests(CommandLineCase):
    """A profile that knows bob, and the rooms #team and #tools."""

    def setUp(self) -> None:
        """Make it."""
        super().setUp()
        self.make()
        os.environ["SECUREMSG_PROFILE"] = str(self.profile)

    def make(self, passphrase: str = "") -> None:
        """Make the profile."""
        source = None
        if passphrase:
            source = self.folder / "passphrase"
            source.write_text(passphrase, "utf-8")
            source.chmod(0o600)
        prepare(Settings(profile=self.profile, passphrase_file=source), LINK, "ada")
        if not passphrase:
            store = open_profile(self.profile, open_vault(self.profile, None))
            with store.writing() as records:
                for number, alias in enumerate(("team", "tools")):
                    put_room(records, name_room(records, Room(bytes([number] * 16), "", alias, RoomState.IN), alias))
            store.close()

    def offered(self, *words: str, typed: str | None = None, asking: str = "bash") -> list[str]:
        """
        What is offered for the last word; for bash with the kind in front.

        @param typed: the words as they were typed, where that differs.
        @param asking: the shell.
        """
        os.environ[COMPLETION] = f"{asking}_complete"
        os.environ["COMP_WORDS"] = "\n".join(["securemsg", *words]) if typed is None else typed
        os.environ["COMP_CWORD"] = str(len(words)) if asking != "fish" else words[-1]
        out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), self.assertRaises(SystemExit) as ended:
                raise SystemExit(run([]))
        finally:
            del os.environ[COMPLETION]
        out.flush()
        assert isinstance(out.buffer, io.BytesIO)
        self.assertEqual((ended.exception.code, err.getvalue()), (0, ""))
        return out.buffer.getvalue().decode("utf-8").split()

    def test_commands(self) -> None:
        """Commands, their own commands, options and choices are completed."""
        self.assertEqual(self.offered(""), [f"plain,{name}" for name in COMMANDS])
        self.assertEqual(self.offered("his"), ["plain,history"])
        self.assertEqual(self.offered("room", "re"), ["plain,release", "plain,remove", "plain,renew"])
        self.assertEqual(self.offered("send", "--wa"), ["plain,--wait"])
        self.assertEqual(self.offered("send", "--wait", "d"), ["plain,delivered"])
        self.assertEqual(self.offered("--tra"), ["plain,--transport"])
        self.assertEqual(self.offered("help", "hi"), ["plain,history"])
        self.assertEqual(self.offered("help", "history", "hi"), [])

    def test_names(self) -> None:
        """Contacts and rooms are completed where a name is expected, people alone where no room can be."""
        everybody = ["plain,\\#lobby", "plain,\\#team", "plain,\\#tools", "plain,bob", "plain,server"]
        for command in ("send", "chat", "history"):
            self.assertEqual(self.offered(command, ""), everybody)
        self.assertEqual(self.offered("recv", "--from", "b"), ["plain,bob"])
        for words in (("verify",), ("contacts", "accept"), ("devices",), ("room", "invite", "team")):
            self.assertEqual(self.offered(*words, "b"), ["plain,bob"])
        self.assertEqual(self.offered("room", "members", "t"), ["plain,team", "plain,tools"])

    def test_actions(self) -> None:
        """What can be done to a contact stands beside the names."""
        self.assertEqual(self.offered("contacts", "un"), ["plain,unblock", "plain,unmute"])
        self.assertEqual(self.offered("contacts", "b"), ["plain,block", "plain,bob"])

    def test_mark(self) -> None:
        """The mark of a room is escaped for bash, unless it is quoted already; other shells escape by themselves."""
        self.assertEqual(self.offered("send", "#te", typed="securemsg\nsend\n\\#te"), ["plain,\\#team"])
        for quote in "'\"":
            self.assertEqual(self.offered("send", "#te", typed=f"securemsg\nsend\n{quote}#te"), ["plain,#team"])
        self.assertEqual(self.offered("send", "#te", asking="fish"), ["plain,#team"])

    def test_files(self) -> None:
        """Files and folders are left to the shell."""
        self.assertEqual(self.offered("send", "--key-file", "x"), ["file,x"])
        self.assertEqual(self.offered("keygen", "x"), ["file,x"])
        self.assertEqual(self.offered("--profile", "x"), ["dir,x"])

    def test_other_profile(self) -> None:
        """Names come from the profile that the command line names."""
        os.environ["SECUREMSG_PROFILE"] = "/nowhere"
        self.assertEqual(self.offered("send", "b"), [])
        self.assertEqual(self.offered("--profile", str(self.profile), "send", "b"), ["plain,bob"])
        self.assertEqual(self.offered("send", "--profile", str(self.profile), "b"), ["plain,bob"])

    def test_silent(self) -> None:
        """Where a profile needs a passphrase, is damaged or missing, no name is offered, and nothing said."""
        (self.profile / "profile.db").write_bytes(b"\0" * 4096)
        self.assertEqual(self.offered("send", ""), [])
        shutil.rmtree(self.profile)
        self.assertEqual(self.offered("send", ""), [])
        os.environ["SECUREMSG_CONFIG"] = "/nowhere"
        self.assertEqual(self.offered("his"), ["plain,history"])
        self.make("correct horse")
        os.environ["SECUREMSG_PASSPHRASE_FILE"] = str(self.folder / "passphrase")
        self.assertEqual(self.offered("send", ""), [])

    def test_nonsense(self) -> None:
        """What no shell asks ends with a status, and nothing is said."""
        os.environ[COMPLETION] = "bash_complete"
        os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = "securemsg", "x"
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = run([])
        self.assertEqual((status, out.getvalue(), err.getvalue()), (Exit.INTERNAL, "", ""))

    def test_bounded(self) -> None:
        """No more names are offered than anybody reads."""
        store = open_profile(self.profile, open_vault(self.profile, None))
        with store.writing() as records:
            for number in range(MAX_NAMES + 5):
                put_room(records, name_room(records, Room(number.to_bytes(16, "big"), "", "", RoomState.IN), f"x{number}"))
        store.close()
        self.assertEqual(len(known_names(self.profile, "", people=True, rooms=True)), MAX_NAMES)

    def test_scripts(self) -> None:
        """Each script begins with where it goes; the first line of zsh's is what zsh needs."""
        for shell, path in INSTALL.items():
            status, out, _ = self.run_whole("completion", shell)
            self.assertEqual(status, Exit.DONE)
            self.assertIn(f"# To install it: securemsg completion {shell} > {path}\n", out)
            self.assertIn(f"{COMPLETION}={shell}_complete", out)
            self.assertEqual(json.loads(self.run_whole("completion", shell, "--json")[1])["script"] + "\n", out)
        self.assertTrue(self.run_whole("completion", "zsh")[1].startswith("#compdef securemsg\n"))
        self.assertIn("read -r type value", self.run_whole("completion", "bash")[1])
        self.assertEqual(self.run_line("completion", "csh")[0], Exit.USAGE)
