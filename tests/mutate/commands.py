"""The guards of the command line."""

from __future__ import annotations

from tests.mutate.mutation import Guard, guards

GUARDS: tuple[Guard, ...] = (
    *guards(
        "account/beside.py",
        "tests/account/test_beside.py",
        ("            if not is_there:\n", "            if False:\n", "BesideTests::test_owner_gone"),
        ("            if not is_there:\n", "            if not is_heard(self._folder):\n", "BesideTests::test_last_act"),
        ("min(max(waited * PART, SHORTEST_LOOK), LONGEST_LOOK)", "LONGEST_LOOK", "BesideTests::test_prompt"),
        ("min(max(waited * PART, SHORTEST_LOOK), LONGEST_LOOK)", "SHORTEST_LOOK", "BesideTests::test_seldom"),
        ("pause if limit is None else min(pause, limit - waited)", "pause", "BesideTests::test_too_late"),
    ),
    *guards(
        "account/timeouts.py",
        "tests/account/test_beside.py",
        ("max(timeout - over, 0)", "timeout", "BesideTests::test_rest"),
    ),
    *guards(
        "cli/sending.py",
        "tests/functional/test_sharing.py",
        ("if context.wake_owner():", "if False:", "BesideTests::test_light"),
        ("            except Interrupted:\n", "            except ZeroDivisionError:\n", "BesideTests::test_interrupted"),
        ("self._problems[number] = self._context.reworded(error)", "pass", "SeveralTests::test_several"),
        ("if sent is None or not is_enough(sent, self._wait):", "if True:", "SeveralTests::test_interrupted"),
        ('named = f"to {to}: {failure.text}" if to else failure.text', "named = failure.text", "SeveralTests::test_several"),
        (
            "return worst(failure.status for _, failure in failures)",
            "return Exit.DONE",
            "SeveralTests::test_several",
        ),
    ),
    *guards(
        "cli/main.py",
        "tests/cli/test_main.py",
        ("possibilities=COMMANDS, ctx=ctx", "ctx=ctx", "UsageTests::test_mistyped"),
        ("if isinstance(error, click.NoSuchOption) and not", "if False and not", "UsageTests::test_text_like_options"),
        (", click.NoSuchOption) and not error.possibilities:", ", click.NoSuchOption):", "UsageTests::test_text_like_options"),
    ),
    *guards(
        "cli/completion.py",
        "tests/cli/test_completion.py",
        ("        if not is_quoted and item", "        if item", "CompletionTests::test_mark"),
        ('item.value = "\\\\" + item.value', "pass", "CompletionTests::test_mark"),
    ),
    *guards(
        "cli/config.py",
        "tests/cli/test_config.py",
        ("        if type(value) not in kinds:\n", "        if False:\n", "BadTests::test_values"),
        ("if found.st_uid not in (ROOT, os.geteuid()):", "if False:", "BadTests::test_of_another_user"),
        ("elif found.st_mode & WRITABLE_BY_OTHERS:", "elif False:", "BadTests::test_exposed"),
        ("    if len(content) > MAX_SIZE:\n", "    if False:\n", "BadTests::test_long"),
        ("if name not in NOT_HERE}", "}", "BadTests::test_unknown"),
        ("            elif key in given:\n", "            elif False:\n", "BadTests::test_unknown"),
        ("        option.type_cast_value(", "        (lambda *_: None)(", "BadTests::test_values"),
    ),
    *guards(
        "cli/settings.py",
        "tests/cli/test_config.py",
        ("    elif parameter.name not in settings.given:\n", "    else:\n", "ValueTests::test_order"),
        ("    elif parameter.name in _BEHIND_ENVIRONMENT:\n", "    elif False:\n", "ValueTests::test_order"),
    ),
    *guards(
        "cli/checks.py",
        "tests/cli/commands/test_doctor.py",
        ("if abs(behind) <= CLOCK_TOLERANCE or", "if False or", "ClockTests::test_against_server"),
        ("(not of_server and behind < 0)", "False", "ClockTests::test_against_profile"),
        ("[:MAX_SHOWN]", "", "WaitingTests::test_changed"),
    ),
    *guards(
        "cli/commands/doctor.py",
        "tests/cli/commands/test_doctor.py",
        ("self.status = self.status or finding.status", "self.status = finding.status", "LocalTests::test_configuration"),
        ("if is_reached or problem.code not in UNREACHED:", "if True:", "ServerTests::test_down"),
        ("            config.checked(command, table", "            (command, table", "LocalTests::test_configuration"),
    ),
    *guards(
        "manpages.py",
        "tests/test_manpages.py",
        ('f"\\\\&{_marked(line)}', 'f"{_marked(line)}', "PageTests::test_escapes"),
        ("for each in text.translate(_ESCAPES))", "for each in text)", "PageTests::test_escapes"),
    ),
    *guards(
        "cli/knownnames.py",
        "tests/cli/test_completion.py",
        ("[:MAX_NAMES]", "", "CompletionTests::test_bounded"),
        ("    except Exception:  # noqa: BLE001 - a shell", "    except TypeError:  # a shell", "CompletionTests::test_silent"),
    ),
    *guards(
        "cli/main.py",
        "tests/cli/test_completion.py",
        ("    with contextlib.suppress(Exception):\n", "    with contextlib.suppress():\n", "CompletionTests::test_nonsense"),
    ),
)
