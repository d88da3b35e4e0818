"""The guards of histories, and of how they are shown."""

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
        "cli/commands/export.py",
        "tests/cli/commands/test_history.py",
        ("else line_text(line, own))", "else line.text)", "SearchTests::test_harmless"),
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
        ("self._seconds() - self._began < QUIET_TIME", "False", "BarTests::test_short"),
        (
            "self._is_active = active and sys.stderr.isatty()\n        self._seconds",
            "self._is_active = active\n        self._seconds",
            "BarTests::test_elsewhere",
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
