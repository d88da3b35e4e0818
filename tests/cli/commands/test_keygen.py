"""C{keygen}, and what is said of key files that cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

from securemsg.account.errors import Exit, SecuremsgError
from securemsg.cli.commands.keygen import load_key
from tests.cli.test_main import CommandLineCase
from tests.cli.test_output import stdout_to


class KeygenTests(CommandLineCase):
    """A file is made once."""

    def test_made(self) -> None:
        """32 bytes that their owner alone can read; the key's name is said, its secret is not."""
        path = self.folder / "shared.key"
        status, out, err = self.run_line("keygen", str(path))
        self.assertEqual((status, out), (Exit.DONE, ""))
        self.assertEqual((path.stat().st_size, path.stat().st_mode & 0o777), (32, 0o600))
        self.assertEqual(err, f"{path} contains {load_key(path, False).name}; only you can read it\n")
        self.assertNotIn(path.read_bytes().hex(), err)

    def test_never_overwritten(self) -> None:
        """A file that is there stays as it is, and the command ends with 2 and says what to do."""
        path = self.folder / "shared.key"
        path.write_bytes(b"precious")
        status, _, err = self.run_line("keygen", str(path))
        self.assertEqual((status, path.read_bytes()), (Exit.USAGE, b"precious"))
        self.assertIn("give another file, or move this one away", err)
        self.assert_one_line(err, "key-file")

    def test_neither(self) -> None:
        """Without FILE and C{--hex} there is nothing to do."""
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
        """An empty name is none, wherever a file or a folder is named; it is said which."""
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
        """Where the key cannot be printed, it is said whether a file was made all the same; neither tells the key itself."""
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
    """What cannot be used is refused, by status and in words."""

    def refused(self, path: Path, loose: bool = False) -> tuple[int, str, str]:
        """What is said of a file."""
        problem = self.assertRaises(SecuremsgError, load_key, path, loose)
        self.assertIn(str(path), problem.text)
        return problem.status, problem.code, problem.text

    def test_missing(self) -> None:
        """A missing file is wrong usage; the message names what makes one."""
        status, code, text = self.refused(self.folder / "none")
        self.assertEqual((status, code), (Exit.USAGE, "key-file"))
        self.assertIn("securemsg keygen", text)

    def test_size(self) -> None:
        """So is a file of another size."""
        path = self.folder / "short"
        path.write_bytes(bytes(31))
        path.chmod(0o600)
        status, code, text = self.refused(path, loose=True)
        self.assertEqual((status, code), (Exit.USAGE, "key-file"))
        self.assertIn("31 bytes", text)

    def test_exposed(self) -> None:
        """What others may read is refused with 9, as a store key is, and taken with C{--loose}."""
        path = self.folder / "open"
        path.write_bytes(bytes(32))
        path.chmod(0o644)
        status, code, text = self.refused(path)
        self.assertEqual((status, code), (Exit.PROFILE, "key-file-exposed"))
        self.assertIn(f"chmod 600 {path}", text)
        self.assertEqual(load_key(path, True).secret, bytes(32))

    def test_unreadable(self) -> None:
        """A folder is none."""
        status, code, text = self.refused(self.folder)
        self.assertEqual((status, code), (Exit.USAGE, "key-file"))
        self.assertIn("not a regular file", text)
