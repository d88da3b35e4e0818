"""The guards of the command line."""

from __future__ import annotations

from tests.mutate.mutation import Guard, guards

GUARDS: tuple[Guard, ...] = (
    *guards(
        "cli/main.py",
        "tests/cli/test_main.py",
        ("possibilities=COMMANDS, ctx=ctx", "ctx=ctx", "UsageTests::test_mistyped"),
        ("if isinstance(error, click.NoSuchOption) and not", "if False and not", "UsageTests::test_text_like_options"),
        (", click.NoSuchOption) and not error.possibilities:", ", click.NoSuchOption):", "UsageTests::test_text_like_options"),
    ),
)
