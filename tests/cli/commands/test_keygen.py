"""C{keygen}, and errors about key files."""

from __future__ import annotations

import os
from pathlib import Path

from securemsg.account.errors import Exit, SecuremsgError
from securemsg.cli.commands.keygen import load_key
from tests.cli.test_main import CommandLineCase
from tests.cli.test_output import stdout_to


class KeygenTests(CommandLineCase):
    """Creating key files."""

    def test_made(self) -> None:
        """A file has 32 bytes and only its owner can read it; the key's name is printed, its secret is not."""
        path = self.folder / "shared.key"
        status, out, err = self.run_line("keygen", str(path))
        self.assertEqual((status, out), (Exit.DONE, ""))
        self.assertEqual((path.stat().st_size, path.stat().st_mode & 0o777), (32, 0o600))
        self.assertEqual(err, f"{path} contains {load_key(path, False).name}; only you can read it\n")
        self.assertNotIn(path.read_bytes().hex(), err)

    def test_never_overwritten(self) -> None:
        """An existing file is not changed; the command ends with 2 and says what to do."""
        path = self.folder / "shared.key"
        path.write_bytes(b"precious")
        status, _, err = self.run_line("keygen", str(path))
        self.assertEqual((status, path.read_bytes()), (Exit.USAGE, b"precious"))
        self.assertIn("give another file, or move this one away", err)
        self.assert_one_line(err, "key-file")

    def test_neither(self) -> None:
        """Without FILE and C{--hex} the usage is wrong."""
        status, _, err = self.run_line("keygen")
        self.assertEqual(status, Exit.USAGE)
        self.assertIn("--hex", err)

    def test_all_differ(self) -> None:
        """No two keys are the same."""
        paths = [self.folder / str(number) for number in range(20)]
        for path in paths:
            self.run_line("keygen", str(path))
        self.assertEqual(len({path.read_bytes() for path in paths}), len(paths))


    def test_empty_name(self) -> None:
        """An empty file or folder name is refused, and the error says which."""
        for arguments, said in (
            (("keygen", ""), "FILE is empty; give a file"),
            (("send", "--key-file", "", "server", "hi"), "--key-file is empty; give a file"),
            (("chat", "--key-file", "", "server"), "--key-file is empty; give a file"),
            (("contacts", "bob", "--set-suite", "psk", "--key-file", ""), "--key-file is empty; give a file"),
            (("whoami", "--profile", ""), "--profile is empty; give a folder"),
        ):
            status, _, err = self.run_line(*arguments)
            self.assertEqual(status, Exit.USAGE)
            self.assertIn(f"securemsg: {said};", err)
            self.assert_one_line(err, "usage")

    def test_not_printed(self) -> None:
        """If the key cannot be printed, the error says whether a file was created, and does not contain the key."""
        full = os.open("/dev/full", os.O_WRONLY)
        self.addCleanup(os.close, full)
        path = self.folder / "k9"
        for arguments in ((str(path),), ()):
            with stdout_to(full):
                status, _, err = self.run_line("keygen", "--hex", *arguments)
            self.assertEqual(status, Exit.INTERNAL)
            self.assert_one_line(err, "output-failed")
            if arguments:
                self.assertIn(f"{path} was created anyway and contains {load_key(path, False).name}", err)
                self.assertNotIn(path.read_bytes().hex(), err)
            else:
                self.assertIn("no file was created; run it again", err)


class LoadTests(CommandLineCase):
    """Key files that cannot be used."""

    def refused(self, path: Path, loose: bool = False) -> tuple[int, str, str]:
        """Return the error about a file."""
        problem = self.assertRaises(SecuremsgError, load_key, path, loose)
        self.assertIn(str(path), problem.text)
        return problem.status, problem.code, problem.text

    def test_missing(self) -> None:
        """A missing file is wrong usage; the error names the command that creates one."""
        status, code, text = self.refused(self.folder / "none")
        self.assertEqual((status, code), (Exit.USAGE, "key-file"))
        self.assertIn("securemsg keygen", text)

    def test_size(self) -> None:
        """A file of another size is wrong usage."""
        path = self.folder / "short"
        path.write_bytes(bytes(31))
        path.chmod(0o600)
        status, code, text = self.refused(path, loose=True)
        self.assertEqual((status, code), (Exit.USAGE, "key-file"))
        self.assertIn("31 bytes", text)

    def test_exposed(self) -> None:
        """A file that others can read is refused with 9, as a store key is, and accepted with C{--loose}."""
        path = self.folder / "open"
        path.write_bytes(bytes(32))
        path.chmod(0o644)
        status, code, text = self.refused(path)
        self.assertEqual((status, code), (Exit.PROFILE, "key-file-exposed"))
        self.assertIn(f"chmod 600 {path}", text)
        self.assertEqual(load_key(path, True).secret, bytes(32))

    def test_unreadable(self) -> None:
        """A folder is refused."""
        status, code, text = self.refused(self.folder)
        self.assertEqual((status, code), (Exit.USAGE, "key-file"))
        self.assertIn("not a regular file", text)
