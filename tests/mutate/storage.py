"""The guards of files at rest, the server's store, TLS."""

from __future__ import annotations

from tests.mutate.mutation import Guard, guards

GUARDS: tuple[Guard, ...] = (
    *guards(
        "storage/sqlite/schema.py",
        "tests/storage/sqlite/test_store.py",
        ("SET last_seen = CAST(strftime('%s', 'now') AS INTEGER)", "SET last_seen = 0", "LayoutFiveTests::test_seen"),
    ),
    *guards(
        "storage/files.py",
        "tests/storage/test_files.py",
        ("if found.st_uid not in (ROOT, os.geteuid()):", "if False:", "ContentTests::test_of_another_user"),
        ("if found.st_mode & OTHERS:", "if False:", "ContentTests::test_exposed"),
        ("if not stat.S_ISREG(found.st_mode):", "if False:", "ContentTests::test_not_a_file"),
        (" | os.O_NOFOLLOW", "", "LockTests::test_link"),
        ("            os.link(draft, path)", "            os.replace(draft, path)", "ContentTests::test_created_once"),
        (
            "        os.fchmod(descriptor, FILE_MODE)  # the",
            "        pass  # the",
            "tests/storage/test_keyfiles.py::KeyFileTests::test_strict_umask",
        ),
        (
            "        draft.unlink(missing_ok=True)\n\n\n@contextlib",
            "        pass\n\n\n@contextlib",
            "tests/storage/test_vault.py::ChangeTests::test_drafts_removed",
        ),
        ("fcntl.LOCK_EX | fcntl.LOCK_NB", "fcntl.LOCK_SH | fcntl.LOCK_NB", "LockTests::test_one_holder"),
    ),
    *guards(
        "storage/keyfiles.py",
        "tests/storage/test_keyfiles.py",
        ("if len(secret) != SECRET_SIZE:", "if False:", "KeyFileTests::test_other_size"),
        ("SECRET_SIZE + 1, exposed=loose", "SECRET_SIZE, exposed=loose", "KeyFileTests::test_other_size"),
        ("exposed=loose", "exposed=True", "KeyFileTests::test_exposed"),
    ),
    *guards(
        "storage/sealed.py",
        "tests/storage/test_sealed.py",
        (
            "return bound(table.encode(), tag)",
            "return bound(tag)",
            "tests/storage/test_profile.py::ProfileTests::test_moved_table",
        ),
        (
            "return bound(table.encode(), tag)",
            "return bound(table.encode())",
            "tests/storage/test_profile.py::ProfileTests::test_moved_bucket",
        ),
        (
            'binding + _ORDER_HEAD + order.to_bytes(ORDER_SIZE, "big", signed=True)',
            "binding",
            "tests/storage/test_profile.py::ProfileTests::test_moved_order",
        ),
        ("if not self._writable:", "if False:", "ProfileContractTests::test_reading_writes"),
        (
            "sealer.tag(bound(table.encode(), bucket))",
            "bound(table.encode(), bucket)",
            "tests/storage/test_profile.py::ProfileTests::test_nothing_in_clear",
        ),
        (
            "        self._flush_table(table)\n        if bucket is None:",
            "        if bucket is None:",
            "ProfileContractTests::test_own_writes_scanned",
        ),
        (
            "        self._flush_table(table)\n        place = self._place(table, bucket)\n        return",
            "        place = self._place(table, bucket)\n        return",
            "ProfileContractTests::test_own_writes_scanned",
        ),
        (
            "            self._flush_table(table)\n        self._know(",
            "            pass\n        self._know(",
            "ProfileContractTests::test_own_order",
        ),
        (
            "            self.flush()\n            self._known.clear()",
            "            self._known.clear()",
            "ProfileContractTests::test_many_written",
        ),
        (
            "if len(self._known) >= CACHED:",
            "if False:",
            "tests/storage/test_profile.py::ProfileTests::test_memory_bounded",
        ),
    ),
    *guards(
        "storage/sqlite/writer.py",
        "tests/storage/sqlite/test_writer.py",
        ("if not is_full(error):", "if True:", "FullDiskTests::test_room_again"),
        ("if not is_full(error):", "if False:", "WriterTests::test_broken_database"),
        ("            if answers is None:\n                break\n", "", "FullDiskTests::test_closed"),
        ("            if not held_up:\n", "            if True:\n", "FullDiskTests::test_attempts"),
    ),
    *guards(
        "storage/sqlite/mailboxes.py",
        "tests/storage/sqlite/test_store.py",
        (" WHERE id < (SELECT max(id) FROM deposits)", "", "DurabilityTests::test_high_water"),
    ),
    *guards(
        "storage/sqlite/mailboxes.py",
        "tests/storage/sqlite/test_segments.py",
        (
            " AND NOT EXISTS (SELECT 1 FROM messages WHERE place > ? AND place <= ?)",
            " AND ? < ?",
            "AcknowledgementTests::test_disorder",
        ),
        ("bisect_right(positions, max(after, passed))", "bisect_right(positions, after)", "AcknowledgementTests::test_in_part"),
        ("whole, passed = True, 0", "whole = True", "AcknowledgementTests::test_emptied"),
        ("passed = 0 if whole else mark or 0", "passed = mark or 0", "ExpiryTests::test_between"),
        ("            if position > passed:\n", "            if True:\n", "ExpiryTests::test_acknowledged"),
        (" or messages == limit:", ":", "ExpiryTests::test_limit"),
        ("        if passed >= unpack_heads(heads)[0][0]:\n            passed = 0\n", "", "ExpiryTests::test_rest"),
    ),
    *guards(
        "storage/sqlite/segments.py",
        "tests/storage/sqlite/test_segments.py",
        ("end - begin == SEGMENT_MESSAGES or ", "", "DivisionTests::test_many"),
        ("total >= SEGMENT_SIZE or ", "", "DivisionTests::test_large"),
    ),
    *guards(
        "daemon/highwater.py",
        "tests/daemon/test_highwater.py",
        ("if high_water < int(content):", "if False:", "CheckTests::test_lost"),
        ("if not content.strip().isdigit():", "if False:", "CheckTests::test_damaged"),
        ("        if high_water <= self._written:\n            return\n", "", "WriteTests::test_unchanged"),
        ("        self._write().addErrback(self._log_failure)\n", "", "WriteTests::test_stop"),
    ),
    *guards(
        "daemon/checks.py",
        "tests/test_tap.py",
        ("    check_high_water(state, high_water)\n", "", "CheckTests::test_lost"),
    ),
    *guards(
        "net/timeouts.py",
        "tests/net/test_stream.py",
        ("min(self.moved_at() + LOGIN_TIME, self._login_end)", "self.moved_at() + 10", "TimeTests::test_dribbled_login"),
        (
            "if self._timer is not None and self._timer.getTime() > end:",
            "if False:",
            "TimeTests::test_late_abort",
        ),
        ("        if left > 0:\n            self.", "        if False:\n            self.", "TimeTests::test_timer_of_login"),
        ("        if left < self._unsent:\n", "        if left != self._unsent:\n", "TimeTests::test_moved"),
        (">= self._unsent_when_full:", "== self._unsent_when_full:", "TimeTests::test_stalled_while_more_waits"),
    ),
    *guards(
        "net/tls.py",
        "tests/net/test_tls.py",
        ("SSL.OP_NO_TICKET | ", "", "HandshakeTests::test_no_resumption"),
        ("    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)\n", "", "HandshakeTests::test_no_resumption"),
        ("    context.set_min_proto_version(SSL.TLS1_3_VERSION)\n", "", "HandshakeTests::test_old_tls"),
        (
            "    if connection.get_alpn_proto_negotiated() != ALPN:\n        return None\n",
            "",
            "HandshakeTests::test_server_without_alpn",
        ),
        ("    if ALPN in offered:\n", "    if True:\n", "HandshakeTests::test_wrong_alpn"),
        (
            "verify_service_identity(extract_patterns(certificate), [wanted], [])",
            "pass",
            "IssuedCertificateTests::test_other_name",
        ),
        (
            "context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verify)",
            "pass",
            "IssuedCertificateTests::test_other_issuer",
        ),
    ),
)
