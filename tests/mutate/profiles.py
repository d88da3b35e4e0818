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
        ('_enter("The same again:", ended) == passphrase', "True", "JoinTests::test_differ"),
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
    *guards(
        "storage/backupfile.py",
        "tests/storage/test_backupfile.py",
        ("found != name or", "", "ArchiveTests::test_names"),
        ("info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or ", "", "ArchiveTests::test_kinds"),
        (" or info.size < 0", "", "ArchiveTests::test_negative_size"),
        (" or size > limit", "", "ArchiveTests::test_sizes"),
        ("if _read(archive, len(ENDING)) != ENDING:", "if False:", "ArchiveTests::test_more_files"),
        ("if size > MAX_DATABASE:", "if False:", "ArchiveTests::test_too_large"),
    ),
    *guards(
        "storage/profile.py",
        "tests/account/test_backup.py",
        (
            'self._connection.execute("SELECT 1 FROM seal_check")  # the',
            'self._connection.execute("COMMIT"), self._connection.execute("BEGIN")  # the',
            "BackupTests::test_one_moment",
        ),
        ("    if mend:\n", "    if True:\n", "tests/account/test_check.py::OpenTests::test_not_mended"),
    ),
    *guards(
        "account/backup.py",
        "tests/account/test_backup.py",
        ("            os.unlink(name)", "            pass", "BackupTests::test_nothing_left"),
        ("    check_vacant(folder)\n", "", "RestoreTests::test_existing"),
        ("            if faults:", "            if False:", "RestoreTests::test_altered"),
        ("    check_end(archive)\n", "", "RestoreTests::test_cut_off"),
        ("(vault.VaultDamaged, vault.PassphraseUnneeded)", "vault.VaultDamaged", "RestoreTests::test_plain_key"),
        ("    _clear_snapshots(folder)\n", "", "BackupTests::test_killed_before"),
        (
            "            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
            "",
            "BackupTests::test_killed_before",
        ),
        ("return start_new_incarnation(records, profile)", "return profile", "RestoreTests::test_new_incarnation"),
        ("database.unlink()", "pass", "RestoreTests::test_killed"),
        ("not os.path.lexists(folder / KEY_FILE) and", "", "RestoreTests::test_killed"),
    ),
    *guards(
        "account/check.py",
        "tests/account/test_check.py",
        ("            if row.value is None:", "            if False:", "RecordTests::test_altered"),
        (
            "elif not is_readable(row.table, row.bucket, row.order, row.value):",
            "elif False:",
            "RecordTests::test_unreadable",
        ),
        ("if load_profile(records) is None:", "if False:", "RecordTests::test_no_account"),
        ("    except ProfileBusy:\n        raise\n", "", "RecordTests::test_busy"),
        (
            "if not os.path.lexists(folder / vault.KEY_FILE):",
            "if False:",
            "tests/cli/commands/test_profile.py::CheckTests::test_none",
        ),
        ("if folder.stat().st_mode & OTHERS:", "if False:", "RightsTests::test_exposed"),
    ),
    *guards(
        "cli/commands/profile.py",
        "tests/cli/commands/test_profile.py",
        ("if file == PIPE and os.isatty(STDOUT):", "if False:", "BackupTests::test_no_room_for_text"),
        ("    if not passphrase:\n", "    if False:\n", "BackupTests::test_asked_for"),
        ("    check_vacant(folder)\n", "", "BackupTests::test_existing_profile"),
        ("    check_whole(settings.folder)\n", "", "BackupTests::test_of_half_a_profile"),
        ("            if not begins_with(archive, KEY_FILE):\n", "            if False:\n", "BackupTests::test_no_backup"),
    ),
)
