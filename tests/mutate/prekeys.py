"""The guards of client/sessions: prekeys, budgets, what is forgotten, resets."""

from __future__ import annotations

from tests.mutate.mutation import Guard, guards

GUARDS: tuple[Guard, ...] = (
    *guards(
        "client/sessions/prekeys.py",
        "tests/client/sessions/test_prekeys.py",
        (
            "if max(ages) > MAX_BUNDLE_AGE or min(ages) < -MAX_CLOCK_SKEW:",
            "if min(ages) < -MAX_CLOCK_SKEW:",
            "PrekeyTests::test_age",
        ),
        (
            "if max(ages) > MAX_BUNDLE_AGE or min(ages) < -MAX_CLOCK_SKEW:",
            "if max(ages) > MAX_BUNDLE_AGE:",
            "PrekeyTests::test_age",
        ),
        (
            "[bundle.signed.id, bundle.kem.id] if bundle.kem_is_last_resort else [bundle.signed.id]",
            "[bundle.signed.id]",
            "PrekeyTests::test_age_of_last_resort",
        ),
        (" or len(halves) + BATCH > MAX_HALVES", "", "PrekeyTests::test_insatiable"),
        (" or is_soon:", ":", "PrekeyTests::test_batches"),
        ("enumerate(halves[:-KEPT_ROTATING])", "enumerate(halves)", "PrekeyTests::test_clock_jumps"),
        (" or index < len(halves) - MAX_ROTATING:", ":", "PrekeyTests::test_bounded"),
        (
            "if half.retired_at and _is_over(half.retired_at, now):",
            "if half.retired_at:",
            "PrekeyTests::test_claimed_and_not_used",
        ),
        ("if half.retired_at and _is_over(half.retired_at, now):", "if False:", "PrekeyTests::test_claimed_and_not_used"),
        (
            "load_all(records, PrivatePrekey, TABLE, kind) if half.uploaded]",
            "load_all(records, PrivatePrekey, TABLE, kind)]",
            "PrekeyTests::test_unconfirmed_is_not_claimed",
        ),
        ("is_current = -MAX_CLOCK_SKEW <= age < ROTATION", "is_current = age < ROTATION", "PrekeyTests::test_clock_was_ahead"),
        ("is_current = -MAX_CLOCK_SKEW <= age < ROTATION", "is_current = -MAX_CLOCK_SKEW <= age", "PrekeyTests::test_rotation"),
        ("(is_stocked_ours or is_just_made)", "is_stocked_ours", "PrekeyTests::test_unknown_to_us"),
        (
            "        records.delete(TABLE, ONE_TIME, header.one_time_id)\n",
            "        pass\n",
            "tests/client/sessions/test_pqxdh.py::FirstMessageTests::test_used_prekeys_go",
        ),
        (
            "        records.delete(TABLE, KEM, header.kem_id)\n",
            "        pass\n",
            "tests/client/sessions/test_pqxdh.py::FirstMessageTests::test_used_prekeys_go",
        ),
        ('    records.put(TABLE, REPLACE, b"")\n', "", "PrekeyTests::test_discard"),
        ("            records.delete(TABLE, bucket, number)\n", "            pass\n", "PrekeyTests::test_discard"),
        (' + int.from_bytes(random_bytes(4), "big") % RANDOM_IDS)', ")", "PrekeyTests::test_ids_of_copies"),
        ("first = max(last + 1, (now << ID_SHIFT)", "first = max(last + 1, 0", "PrekeyTests::test_ids_of_copies"),
        ("    if last >= end:\n", "    if False:\n", "PrekeyTests::test_clock_was_ahead"),
    ),
    *guards(
        "client/sessions/budgets.py",
        "tests/client/sessions/test_burden.py",
        (" and budget.count >= MAX_BEGUN:", " and False:", "BudgetTests::test_new_sessions"),
        (
            "            store.drop_session(records, older.bucket, older.number)\n",
            "            pass\n",
            "BudgetTests::test_never_answered",
        ),
        (
            "if session is not None and not _is_answered(session):",
            "if session is not None:",
            "BudgetTests::test_never_answered",
        ),
        (" or budget.wasted + jump <= MAX_WASTED", " or True", "WastedTests::test_bounded"),
        ("    if jump <= FREE_JUMP:\n        return True\n", "", "WastedTests::test_bounded"),
        (
            "return account if contacts.get_contact(records, account) is not None else STRANGERS",
            "return account",
            "WastedTests::test_strangers",
        ),
        ("if kept + more > MAX_SKIPPED:", "if False:", "BudgetTests::test_skipped"),
        ("    buckets |= {begun.bucket for begun in _budget(records, contact.name).begun}\n", "", "BudgetTests::test_skipped"),
    ),
    *guards(
        "client/sessions/initiations.py",
        "tests/client/sessions/test_initiations.py",
        (
            "for number, made in known[: max(len(known) - MAX_INITIATIONS, 0)]:",
            "for number, made in known[:0]:",
            "InitiationTests::test_bounded",
        ),
        ("if made is not None and _is_alive(records, made):", "if False:", "InitiationTests::test_pruned"),
        (
            "        if made.ephemeral == header.ephemeral:\n",
            "        if False:\n",
            "tests/client/sessions/test_pqxdh.py::ChoiceTests::test_evicted",
        ),
    ),
    *guards(
        "client/sessions/pruning.py",
        "tests/client/sessions/test_pruning.py",
        ("        if is_guest(account):\n", "        if False:\n", "PruningTests::test_guests"),
        ("        if _has_left(records, account, device):\n", "        if False:\n", "PruningTests::test_device_left"),
        (
            "0 if number in (index.current, index.before) else session.left_at or now",
            "session.left_at or now",
            "PruningTests::test_receive_only",
        ),
        ("if left_at and now - left_at >= RECEIVE_LIFE:", "if False:", "PruningTests::test_receive_only"),
    ),
    *guards(
        "client/sessions/resets.py",
        "tests/client/sessions/test_resets.py",
        ("elif len(dues) < MAX_DUE:", "else:", "tests/client/sessions/test_reset_bounds.py::DueTests::test_bounded"),
        ("elif len(dues) < MAX_DUE:", "elif False:", "tests/client/test_model.py::ModelTests::test_any_history"),
        (", allowed if 0 < peer.sent_at <= now else 0)", ")", "LostSessionTests::test_few_an_hour"),
        ("peer.bucket_full_at - (RESET_BURST - 1) * RESET_PAUSE)", "0)", "LostSessionTests::test_few_an_hour"),
        (
            "    if _is_stranger(records, profile, name):\n        allowed",
            "    if False:\n        allowed",
            "StrangerTests::test_once_a_day",
        ),
        (
            "    if contact is None:\n        return True\n    return not (contact.known or policy",
            "    return not (contact and contact.known or policy",
            "ResetTests::test_made_up",
        ),
        (
            "contact.known or policy_of(records, profile) is Policy.EVERYBODY or",
            "contact.known or",
            "StrangerTests::test_everybody",
        ),
        ("(contact.known or policy_of", "(policy_of", "StrangerTests::test_known"),
        ("GAP_DELAY if gaps else 0", "0", "GapTests::test_patience"),
        (
            "begin = left_out(base, ours.index(incarnation), MAX_N) + 1",
            "begin = 1",
            "tests/client/sessions/test_reset_bounds.py::AnswerTests::test_new_device",
        ),
        ("if gap.asked < MAX_ASKED:", "if True:", "tests/client/sessions/test_reset_bounds.py::AskTests::test_given_up"),
        ("    if not _within_limit(records, contact.name, now):\n        return 0\n", "", "ResetTests::test_taken_a_few_times"),
        ("wanted[: MAX_RESENT - made]", "wanted", "tests/client/sessions/test_reset_bounds.py::AnswerTests::test_resent"),
        (" or history.at < oldest:", ":", "tests/client/sessions/test_reset_bounds.py::AnswerTests::test_old"),
        (
            "if _is_stranger(records, profile, due.name) and not _within_limit(records, STRANGERS, now):",
            "if False:",
            "StrangerTests::test_together",
        ),
        (
            "for entry in reset.missing if entry.conversation in conversations}",
            "for entry in reset.missing}",
            "tests/client/receiving/test_greed.py::GreedTests::test_other_conversation",
        ),
        (
            "        if left < MIN_EXPIRY:\n            return None\n",
            "",
            "tests/client/sessions/test_reset_bounds.py::AnswerTests::test_expired",
        ),
        (
            " and history.status not in (Status.FAILED, Status.WITHDRAWN)",
            "",
            "tests/client/sessions/test_reset_bounds.py::AnswerTests::test_taken_back",
        ),
        (
            "        if not due.gaps:\n            suites.archive(records, due.name, due.device)\n",
            "",
            "LostSessionTests::test_recovered",
        ),
        (
            "if row is not None and row.history not in waiting:",
            "if row is not None:",
            "tests/client/sessions/test_reset_bounds.py::AnswerTests::test_waiting",
        ),
    ),
)
