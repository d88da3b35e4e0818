"""The guards of histories and of the outbox as users see them."""

from __future__ import annotations

from tests.mutate.mutation import Guard, guards

GUARDS: tuple[Guard, ...] = (
    *guards(
        "client/histories.py",
        "tests/client/test_histories.py",
        ("all(row.at < since for _, row in page)", "any(row.at < since for _, row in page)", "PagesTests::test_wrong_clock"),
        (
            "if len(page) < PAGE or all(row.at < since for _, row in page):",
            "if len(page) < PAGE:",
            "PagesTests::test_not_all_old",
        ),
        ("            if row.at >= since:\n", "            if True:\n", "PagesTests::test_since"),
        (
            "conversation, seq, row) for seq, row in page if row.at >= since]",
            "conversation, seq, row) for seq, row in page]",
            "PagesTests::test_wrong_clock",
        ),
        ("if row.at >= since and _has_all(row, wanted):", "if _has_all(row, wanted):", "SearchTests::test_since"),
        (
            "return all(word in folded for word in wanted)",
            "return any(word in folded for word in wanted)",
            "SearchTests::test_all_words",
        ),
        (
            "                    if len(newest) > limit + 1:\n                        heapq.heappop(newest)\n",
            "",
            "SearchTests::test_stops",
        ),
        (
            "if len(newest) > limit and page[-1][0] < newest[0][0]:",
            "if len(newest) > limit:",
            "SearchTests::test_behind_others",
        ),
        (
            'unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())',
            "text.casefold()",
            "SearchTests::test_composed",
        ),
        ("        if page:\n            yield page\n", "        yield page\n", "PagesTests::test_whole_pages"),
        ('    if row.sent:\n        return ""\n', "", "SearchTests::test_kinds"),
        (' if event.decision == RETITLED else ""', "", "SearchTests::test_of_rooms"),
    ),
    *guards(
        "client/unsent.py",
        "tests/client/test_unsent.py",
        (
            "                if len(found) < limit:\n                    found",
            "                if True:\n                    found",
            "UnsentTests::test_bounded",
        ),
        (")[-MAX_FAILED:]", ")", "UnsentTests::test_failed_bounded"),
        ("row.status is Status.FAILED and row.at >= since]", "row.status is Status.FAILED]", "UnsentTests::test_failed"),
        ("if row.sent and row.at >= since and message_id", "if row.sent and message_id", "UnsentTests::test_found"),
        (" and history.code not in kept:", ":", "UnsentTests::test_clear_codes"),
        (
            "if message is not None and message.status == Status.QUEUED:\n                count",
            "if message is not None:\n                count",
            "UnsentTests::test_waiting",
        ),
    ),
    *guards(
        "client/sending/queues.py",
        "tests/client/test_unsent.py",
        (
            "            queue.not_before, queue.failures = 0.0, 0\n",
            "            queue.failures = 0\n",
            "SendNowTests::test_no_pause",
        ),
    ),
    *guards(
        "client/messages.py",
        "tests/client/test_waiting.py",
        ("    if at > now + MAX_DELAY:\n", "    if False:\n", "ScheduledTests::test_too_late"),
        ("    if is_scheduled:\n", "    if False:\n", "ScheduledTests::test_again"),
        (
            "content.sent_at if content.counter else max(now, at)",
            "content.sent_at",
            "ScheduledTests::test_withdrawn_and_wanted",
        ),
        ("    sent_at = max(now, at)\n", "    sent_at = now\n", "ScheduledTests::test_horizon"),
    ),
    *guards(
        "cli/commands/outbox.py",
        "tests/cli/commands/test_outbox.py",
        ("    if len(possible) > 1:\n", "    if False:\n", "CancelTests::test_unclear"),
        ("found if message.status in wanted]", "found]", "CancelTests::test_too_late"),
        ("if left is None or left.status != Status.WITHDRAWN:", "if left is None:", "CancelTests::test_accepted_meanwhile"),
        ("SHORTEST_ID <= len(digits) <= 2 * ID_SIZE", "len(digits) <= 2 * ID_SIZE", "CancelTests::test_unknown"),
        ("and message.conversation not in self._stuck:", ":", "AttemptTests::test_behind"),
        ("        unsent.clear_codes(context.store, HELD_UP)\n", "", "RetryTests::test_codes_forgotten"),
        ("return cut(head + escape(text), width)", "return cut(head + text, width)", "ListTests::test_narrow"),
        ("return cut(head + escape(text), width)", "return head + escape(text)", "ListTests::test_narrow"),
    ),
    *guards(
        "cli/commands/export.py",
        "tests/cli/commands/test_history.py",
        ("else line_text(line, own))", "else line.text)", "SearchTests::test_harmless"),
    ),
    *guards(
        "cli/times.py",
        "tests/cli/commands/test_history.py",
        (' if columns else iso(seconds)', "", "LocalTests::test_local"),
        ("min(seconds, _LAST)", "seconds", "tests/cli/test_times.py::SinceTests::test_last_second"),
    ),
    *guards(
        "cli/pager.py",
        "tests/cli/test_pager.py",
        ("os.isatty(STDOUT) and sys.stdin.isatty()", "os.isatty(STDOUT)", "PagerTests::test_terminal"),
        ('            os.environ.setdefault("LESSHISTFILE", NO_FILE)\n', "", "PagerTests::test_long"),
        ('os.environ.setdefault("LESS", LESS)', 'os.environ["LESS"] = LESS', "PagerTests::test_own_choice"),
        ('rows += line.count("\\n") + 1', "rows += 1", "PagerTests::test_rows"),
    ),
    *guards(
        "cli/progress.py",
        "tests/cli/test_progress.py",
        ("seconds() - began < QUIET_TIME", "False", "ProgressTests::test_short"),
        (
            "is_active = is_active and sys.stderr.isatty()",
            "pass",
            "ProgressTests::test_elsewhere",
        ),
    ),
    *guards(
        "storage/sealed.py",
        "tests/storage/test_sealed.py",
        (
            "AND tag = ? AND ord < ? ORDER BY ord DESC",
            "AND tag = ? AND ord <= ? ORDER BY ord DESC",
            "ProfileContractTests::test_scan_back",
        ),
        (
            "        self._flush_table(table)\n        place = self._place(table, bucket)\n        rows",
            "        place = self._place(table, bucket)\n        rows",
            "ProfileContractTests::test_scan_back",
        ),
        (
            "        self._flush_table(table)\n        found, tag",
            "        found, tag",
            "ProfileContractTests::test_buckets",
        ),
    ),
)
