"""The guards of passphrases, backups and restored profiles."""

from __future__ import annotations

from tests.mutate.mutation import Guard, guards

GUARDS: tuple[Guard, ...] = (
    *guards(
        "cli/passphrases.py",
        "tests/cli/commands/test_passphrase.py",
        ("if path is not None and descriptor is not None:", "if False:", "SourceTests::test_two_options"),
        ("closefd=descriptor > _STDERR", "closefd=False", "SourceTests::test_descriptor"),
        ("read_passphrase(credential, exposed=True)", "read_passphrase(credential)", "SourceTests::test_credential"),
        (
            "if not passphrase or len(passphrase) > MAX_PASSPHRASE:",
            "if not passphrase:",
            "SourceTests::test_bad_descriptor",
        ),
        ('ask_passphrase(f"{what}, again") == passphrase', "True", "JoinTests::test_differ"),
        ("if not sys.stderr.isatty():\n        return False", "return True", "SourceTests::test_nobody_to_ask"),
    ),
    *guards(
        "cli/commands/join.py",
        "tests/cli/commands/test_passphrase.py",
        ("if passphrase is not None and not protect:", "if False:", "JoinTests::test_both"),
        ("protect and sys.stdin.isatty()", "sys.stdin.isatty()", "JoinTests::test_not_asked"),
        ("protect and sys.stdin.isatty() and", "protect and", "JoinTests::test_not_asked"),
    ),
    *guards(
        "cli/commands/passphrase.py",
        "tests/cli/commands/test_passphrase.py",
        ("if remove and (new_file, new_fd) != (None, None):", "if False:", "ChangeTests::test_contradictions"),
        ("    if not new:\n", "    if False:\n", "ChangeTests::test_none_entered"),
    ),
)
