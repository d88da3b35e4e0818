"""The guards of rooms at the server."""

from __future__ import annotations

from tests.mutate.mutation import Guard, guards

TESTS = "tests/server/test_rooms.py"

GUARDS: tuple[Guard, ...] = (
    *guards(
        "server/rooms.py",
        TESTS,
        ("return item.n == self.mark.version and item.digest", "return item.digest", "RowTests::test_messages"),
        (" and item.digest == self.mark.digest", "", "RowTests::test_messages"),
        ("(item.n == self.mark.version + 1 and keys", "(keys", "RowTests::test_wrong_steps"),
        (" and keys.sha256(step.proof) == self.next", "", "RowTests::test_wrong_steps"),
        ("return not self.mark.version or (", "return (", "RowTests::test_no_row"),
        ("        if self.pending is step:\n", "        if True:\n", "PendingTests::test_two_steps"),
        ("            self.pending = None\n", "            pass\n", "PendingTests::test_refused_after_commit"),
        (
            "            self._by_id.move_to_end(room)\n        return",
            "            pass\n        return",
            "CacheTests::test_bounded",
        ),
        ("            self._evict(found)\n", "", "CacheTests::test_bounded"),
        ("oldest is fresh or ", "", "CacheTests::test_pinned"),
        (" or oldest.pending is not None", "", "CacheTests::test_pinned"),
    ),
    *guards(
        "server/mailbox.py",
        TESTS,
        (
            "            return self._check_stored(connection, message)\n        return self._find",
            "            pass\n        return self._find",
            "RepetitionTests::test_step_of_older_state",
        ),
        ("if message.room is not None or relayed != ", "if relayed != ", "RepetitionTests::test_of_what_was_never_written"),
        ("if item is not None and not connection.device.has_rooms:", "if False:", "RoleTests::test_without_feature"),
        (
            "if item is not None and not connection.device.has_rooms:",
            'if item is not None and not connection.device.has_rooms and connection.device.account.name == "alice":',
            "RoleTests::test_contact",
        ),
        ("        if in_room and destination.account == sender:\n", "        if False:\n", "NamingTests::test_nobody"),
        ("        if in_room and destination", "        if destination", "NamingTests::test_no_parts"),
        ("        elif not destination.parts:\n", "        elif False:\n", "NamingTests::test_no_parts"),
        ("    if in_room and not is_named:\n", "    if False:\n", "NamingTests::test_own_account"),
        (
            "            are_current = are_current and in_room\n",
            "            pass\n",
            "tests/server/test_deposit.py::DepositTests::test_gone",
        ),
        ("            are_current = are_current and in_room\n", "            are_current = False\n", "NamingTests::test_gone"),
        (
            "            if message.room is not None:\n                continue\n",
            "",
            "NamingTests::test_gone_and_stale",
        ),
        ("if item.step is not None and not self._rooms.steps.consume(sender.rate_key):", "if False:", "RateTests::test_steps"),
        ("if item.step is not None and not self", "if not self", "RateTests::test_steps"),
        ("            if not room.admits(item):\n", "            if False:\n", "RowTests::test_messages"),
        ("                memory += len(part.own) + OVERHEAD\n", "", "NamingTests::test_memory"),
        (
            "                if item is not None and not device.has_rooms:\n",
            "                if False:\n",
            "NamingTests::test_no_rooms",
        ),
        ("if not places and not is_step and any", "if not places and any", "NamingTests::test_full"),
        (' and any(one.code == "mailbox-full" for one in missed)', "", "NamingTests::test_gone"),
        (
            'if not places and not is_step and any(one.code == "mailbox-full" for one in missed):',
            "if False:",
            "NamingTests::test_full",
        ),
        (
            "if room is not None and not room.mark.version and not self._rooms.new",
            "if room is not None and not self._rooms.new",
            "RateTests::test_new_rows",
        ),
        ("and not self._rooms.new.consume(sender.rate_key):", "and False:", "RateTests::test_new_rows"),
        (
            "count = 1 if item is None else max(1, ceil((len(places) + len(missed)) / ROOM_SHARE))",
            "count = 1",
            "RateTests::test_deposits",
        ),
        ("max(1, ceil((len(places) + len(missed)) / ROOM_SHARE))", "len(places) + len(missed)", "RateTests::test_deposits"),
        (
            "else max(1, ceil((len(places) + len(missed)) / ROOM_SHARE))",
            "else ceil((len(places) + len(missed)) / ROOM_SHARE)",
            "RateTests::test_deposits",
        ),
    ),
    *guards(
        "server/deposits.py",
        TESTS,
        (
            "items if deposit.room is None else (*items, deposit.room)",
            "(*items, deposit.room)",
            "RepetitionTests::test_old_digest",
        ),
        ("items if deposit.room is None else (*items, deposit.room)", "items", "RepetitionTests::test_other_item"),
        (" and deposit.room == other.room", "", "RepetitionTests::test_other_item"),
    ),
    *guards(
        "server/commits.py",
        TESTS,
        (
            "may_be_delivered = is_delivered = deposit.message.room is None",
            "may_be_delivered = is_delivered = True",
            "DeliveryTests::test_after_commit",
        ),
        (
            "may_be_delivered = is_delivered = deposit.message.room is None",
            "may_be_delivered = deposit.message.room is None\n        is_delivered = True",
            "NamingTests::test_nobody",
        ),
        ("        if room.pending is None:\n", "        if True:\n", "PendingTests::test_refused_after_commit"),
        (
            "        room.pending.refusals.append((connection, deposit_id))\n        self._await_answer(connection)\n",
            "        room.pending.refusals.append((connection, deposit_id))\n        connection.unanswered += 1\n",
            "PendingTests::test_refusals_bounded",
        ),
        (
            "step.mark))\n            self._answered(connection, 1)\n",
            "step.mark))\n",
            "PendingTests::test_refused_after_commit",
        ),
    ),
    *guards(
        "server/login.py",
        TESTS,
        ("has_rooms and not connection.is_local", "has_rooms", "RoleTests::test_contact"),
        (
            "device.has_rooms = connection.channel.connection.has_rooms and",
            "device.has_rooms =",
            "RoleTests::test_without_feature",
        ),
    ),
    *guards(
        "storage/sqlite/mailboxes.py",
        TESTS,
        (
            "            continue\n        if deposit.step is not None:\n            steps",
            "            pass\n        if deposit.step is not None:\n            steps",
            "tests/storage/sqlite/test_mailboxes.py::MessagesInMemoryTests::test_steps",
        ),
        (
            "        if deposit.step is not None:\n            steps",
            "        if False:\n            steps",
            "RowTests::test_steps",
        ),
    ),
)
