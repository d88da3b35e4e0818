"""The guards of client/sending: the outbox and receipts."""

from __future__ import annotations

from tests.mutate.mutation import Guard, guards

GUARDS: tuple[Guard, ...] = (
    *guards(
        "client/sending/outbox.py",
        "tests/client/sending/test_outbox.py",
        ("(may_expire and now - row.created_at > HORIZON and", "(False and", "HorizonTests::test_sealed_and_expired"),
        (
            "(may_expire and now - row.created_at > HORIZON",
            "(now - row.created_at > HORIZON",
            "HorizonTests::test_wrong_clock",
        ),
        (
            "if content is None or content.conversation != where.conversation:",
            "if content is None:",
            "tests/client/test_waiting.py::IdentityTests::test_accepted",
        ),
        (
            "return content if content is not None and content.conversation == conversation else None",
            "return content",
            "SealingTests::test_other_identity",
        ),
        (
            "if (sealed.suite, sealed.key_file, len(sealed.key)) != (choice.suite, choice.key_file, choice.key_size):",
            "if False:",
            "tests/client/sessions/test_suites.py::PinningTests::test_made_anew",
        ),
        (
            "sealed.key_file, len(sealed.key)) != (choice.suite, choice.key_file, choice",
            "len(sealed.key)) != (choice.suite, choice",
            "tests/client/sessions/test_suites.py::PinningTests::test_made_anew_with_another_file",
        ),
        (
            "sealed.key_file, len(sealed.key)) != (choice.suite, choice.key_file, choice.key_size):",
            "sealed.key_file) != (choice.suite, choice.key_file):",
            "tests/client/sessions/test_rsa_world.py::PeerTests::test_made_anew",
        ),
        ("continues=before.continues,", "continues=(),", "tests/client/test_malice.py::LyingWelcomeTests::test_dropped"),
        (
            "if content.kind in PERSONAL and not row.to.is_room and PEERS",
            "if not row.to.is_room and PEERS",
            "tests/client/sending/test_receipts.py::PolicyTests::test_strangers",
        ),
        (
            "if row.withdrawn or (may_expire",
            "if (may_expire",
            "tests/client/test_waiting.py::WaitingTests::test_withdrawn_unsent",
        ),
    ),
    *guards(
        "client/sending/results.py",
        "tests/client/test_waiting.py",
        (
            "if history.status not in (Status.DELIVERED, Status.FAILED):",
            "if history.status is not Status.FAILED:",
            "tests/client/sending/test_receipts.py::ReceiptTests::test_before_accepted",
        ),
        ("body=chain_digest(content)", 'body=b""', "WaitingTests::test_withdrawn_unsent"),
        ("content, message_id=keys.random_id(), kind", "content, kind", "WaitingTests::test_withdrawn_then_wanted"),
    ),
    *guards(
        "client/sending/receipts.py",
        "tests/client/sending/test_receipts.py",
        ("return seconds - self._at >= ROUND", "return True", "ReceiptTests::test_one_a_second"),
        ("        self._left -= made\n", "", "ReceiptTests::test_own_rate"),
        ("if bucket in asked or len(asked) < limit:", "if True:", "ReceiptTests::test_own_rate"),
        (
            "            if len(rows) < MAX_RECEIPT_IDS:\n                rows",
            "            if True:\n                rows",
            "ReceiptTests::test_many",
        ),
    ),
    *guards(
        "client/sending/losses.py",
        "tests/client/test_restored.py",
        ("min(BATCH, MAX_A_DAY - loss.count)", "BATCH", "RestoredServerTests::test_lies_bounded"),
        ("if row.at + row.expiry - now >= MIN_EXPIRY:", "if True:", "RestoredServerTests::test_not_for_ever"),
        ("sorted(found, key=lambda item: item[1])", "found[::-1]", "RestoredServerTests::test_in_parts"),
    ),
    *guards(
        "client/sending/queues.py",
        "tests/client/test_waiting.py",
        ("count = bisect_right(", "count = len(self.scheduled) or bisect_right(", "ScheduledTests::test_sent_then"),
        (
            "share * len(self._unanswered) >= WINDOW or ",
            "",
            "tests/client/test_agent.py::ConversationTests::test_window",
        ),
        (
            " or share * self.unanswered_size >= WINDOW_SIZE",
            "",
            "tests/client/sending/test_queues.py::WindowTests::test_size",
        ),
        (
            "share = 2 if self.is_full else 1",
            "share = 1",
            "tests/client/sending/test_queues.py::WindowTests::test_together",
        ),
        (
            "not is_held_up and seconds >= self.not_before",
            "not is_held_up",
            "WaitingTests::test_backoff",
        ),
        (", MAX_PAUSE)", ", 1e9)", "WaitingTests::test_backoff"),
    ),
    *guards(
        "client/sending/sender.py",
        "tests/client/rooms/test_talk.py",
        ("if queue.conversation.is_room and not context.has_rooms:", "if False:", "TalkTests::test_server_without_rooms"),
    ),
    *guards(
        "client/agent.py",
        "tests/client/test_agent.py",
        (
            "        self._sender.commit_accepted()\n        self._context",
            "        self._context",
            "ConversationTests::test_accepted_amid_full_window",
        ),
        (
            "        self._sender.commit_accepted()\n        self._sender",
            "        self._sender",
            "ConversationTests::test_accepted_amid_full_window",
        ),
    ),
    *guards(
        "client/sending/sender.py",
        "tests/client/test_malice.py",
        (
            "        if not self._queues.is_full:\n",
            "        if True:\n",
            "tests/client/test_agent.py::ConversationTests::test_accepted_amid_full_window",
        ),
        (
            'elif refusal.code == "suite-unavailable" and not queue.is_checked:',
            "elif False:",
            "tests/client/sessions/test_rsa_world.py::KeyTests::test_checked_each_time",
        ),
        (
            "if not isinstance(answer, m.Account) or answer.record.name != name:",
            "if not isinstance(answer, m.Account):",
            "DirectoryTests::test_answer_about_another",
        ),
        (
            "                if contact.version < version:\n",
            "                if False:\n",
            "DirectoryTests::test_list_withheld_from_us",
        ),
        (
            "if contacts.is_list_old(contact, now):",
            "if False:",
            "tests/client/state/test_old_list.py::OldListTests::test_withheld",
        ),
        ("if age > prekeys.OLD_BUNDLE:", "if False:", "tests/client/test_maintenance.py::BundleAgeTests::test_warned"),
        ("if refusal.code in DISTRUSTED:\n            self", "if False:\n            self", "DirectoryTests::test_forked"),
        (
            "if context.seconds() - max(oldest, self.quiet_since) > ANSWER_TIME",
            "if False",
            "tests/client/test_waiting.py::WaitingTests::test_silent_server",
        ),
        ("max(oldest, self.quiet_since)", "oldest", "tests/client/test_waiting.py::WaitingTests::test_slow_link"),
        (
            "size = self._queues.unanswered_size + ",
            "size = ",
            "tests/client/test_waiting.py::WaitingTests::test_hidden_by_a_buffer",
        ),
        (
            "deposit.n, self._context.seconds(), size_of",
            "deposit.n, self._context.now(), size_of",
            "tests/client/test_set_clock.py::SetClockTests::test_unanswered",
        ),
        (
            "seconds = self._context.seconds()",
            "seconds = self._context.now()",
            "tests/client/test_set_clock.py::SetClockTests::test_named_list",
        ),
        (
            "        else:\n            self._queues.pause(queue, self._context.seconds())",
            "        else:\n            self._queues.pause(queue, self._context.now())",
            "tests/client/test_set_clock.py::SetClockTests::test_refused_for_now",
        ),
        (
            "self._receipts.is_due(self._context.seconds())",
            "self._receipts.is_due(self._context.now())",
            "tests/client/test_set_clock.py::SetClockTests::test_receipts",
        ),
    ),
)
