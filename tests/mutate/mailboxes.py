"""The guards of the server: mailboxes, delivery, connections, guests."""

from __future__ import annotations

from tests.mutate.mutation import Guard, guards

GUARDS: tuple[Guard, ...] = (
    *guards(
        "server/mailbox.py",
        "tests/server/test_deposit.py",
        (
            "            if pending.row.digest[:DIGEST_SIZE] != digest:\n",
            "            if False:\n",
            "DepositTests::test_conflict_while_pending",
        ),
        (
            "            if stored[:DIGEST_SIZE] != digest:\n",
            "            if False:\n",
            "DepositTests::test_conflict_after_commit",
        ),
        ("        if message.n > MAX_N:\n", "        if False:\n", "DepositTests::test_n_bounded"),
        ("        if message.n <= sender.highest:\n", "        if False:\n", "DepositTests::test_dedupe_before_disk"),
        ("if not 0 < message.expiry <= settings.max_expiry:", "if not 0 < message.expiry:", "DepositTests::test_expiry_limits"),
        (
            "if not 0 < message.expiry <= settings.max_expiry:",
            "if not message.expiry <= settings.max_expiry:",
            "DepositTests::test_expiry_limits",
        ),
        (
            "if self._commits.size > settings.max_pending_size or not self._disk.has_room():",
            "if not self._disk.has_room():",
            "tests/server/test_connection.py::OrderTests::test_too_many_together",
        ),
        (
            "if self._commits.size > settings.max_pending_size or not self._disk.has_room():",
            "if self._commits.size > settings.max_pending_size:",
            "DepositTests::test_disk_guard",
        ),
        ("if not self._requests.consume(sender.rate_key):", "if False:", "DepositTests::test_lists_counted"),
        ("if device.messages >= settings.mailbox_messages or ", "if ", "QuotaTests::test_messages"),
        (" or device.size + size > settings.mailbox_size:", ":", "QuotaTests::test_size"),
        ("if not self._deposits.consume(sender.rate_key, 1 + len(missed)):", "if False:", "QuotaTests::test_rate"),
        ("1 + len(missed)", "1", "QuotaTests::test_rate"),
        (
            "if len(message.to) > 1 and len({destination.account for destination in message.to}) != len(message.to):",
            "if False:",
            "DepositTests::test_account_twice",
        ),
        ("    if len(named) != len(destination.parts):\n", "    if False:\n", "DepositTests::test_account_twice"),
        (" and named <= account.devices.keys()", "", "DepositTests::test_added_device"),
        (" and not (own and sender.id in named)", "", "DepositTests::test_own_devices"),
        ("return len(named) == len(account.devices) - own and", "return", "DepositTests::test_missing_device"),
        ("        if size > MAX_ATTACHED:\n            break\n", "", "DepositTests::test_lists_fit"),
        (
            "keys.DEPOSIT + _encode((deposit.expiry, deposit.common, deposit.to))",
            "keys.DEPOSIT + _encode((deposit.common, deposit.to))",
            "DepositTests::test_conflict_after_commit",
        ),
        (
            "keys.DEPOSIT + _encode((deposit.expiry, deposit.common, deposit.to))",
            "keys.DEPOSIT + _encode((deposit.expiry, deposit.to))",
            "DepositTests::test_conflict_after_commit",
        ),
        (
            "keys.DEPOSIT + _encode((deposit.expiry, deposit.common, deposit.to))",
            "keys.DEPOSIT + _encode((deposit.expiry, deposit.common))",
            "DepositTests::test_conflict_after_commit",
        ),
    ),
    *guards(
        "server/delivery.py",
        "tests/server/test_delivery.py",
        ("        if tag > self._tag:\n", "        if False:\n", "DeliveryTests::test_false_acknowledgement"),
        (
            "full = self.logged_in >= self.settings.max_clients",
            "full = False",
            "tests/server/test_login.py::PlacesTests::test_server_full",
        ),
        (
            "full = full or account.logged_in >= self.settings.account_limit",
            "pass",
            "tests/server/test_login.py::TreeTests::test_one_account",
        ),
        (
            "full = full or self._trees.get(account.root, 0) >= self.settings.tree_limit",
            "pass",
            "tests/server/test_login.py::TreeTests::test_one_tree",
        ),
        ("len(self._in_flight) < settings.window_frames and", "", "DeliveryTests::test_window"),
        (" and self._size < settings.window_size", "", "DeliveryTests::test_window_in_bytes"),
        (
            '            device.reader.end("replaced")\n',
            "            pass\n",
            "tests/server/test_login.py::LoginTests::test_fenced",
        ),
    ),
    *guards(
        "server/connection.py",
        "tests/server/test_connection.py",
        (
            "        if command is None:\n            self._refuse",
            "        if command is None:\n            command = self._tables[Role.OPERATOR].get(type(message)) or "
            "self._tables[Role.DEVICE].get(type(message))\n        if command is None:\n            self._refuse",
            "RoleTests::test_devices_commands",
        ),
        ("if self._is_busy and self.role is not Role.STRANGER:", "if False:", "OrderTests::test_not_read_from"),
        ("if self._connection.queued >= self._max_queued:", "if False:", "OrderTests::test_answers_bounded"),
        (
            "        if not self.is_open:\n            return\n        try:",
            "        try:",
            "tests/server/test_login.py::LoginTests::test_fenced",
        ),
    ),
    *guards(
        "server/guests.py",
        "tests/server/test_guests.py",
        ("if [destination.account for destination in message.to] != [SERVER_NAME]:", "if False:", "ReachTests::test_others"),
        ("if digest[:DIGEST_SIZE] != digest_of(message):", "if False:", "AnswerTests::test_again_while_pending"),
        (
            "if not proved or message.highest or self._file is None:",
            "if message.highest or self._file is None:",
            "tests/server/test_guest_login.py::GuestProofTests::test_other_file",
        ),
        (
            "if not proved or message.highest or self._file is None:",
            "if not proved or self._file is None:",
            "tests/server/test_guest_login.py::GuestProofTests::test_highest",
        ),
        (
            "        self._delivery.check_room(connection)\n",
            "",
            "tests/server/test_guest_login.py::GuestProofTests::test_server_full",
        ),
        (" or sender.account.name != SERVER_NAME:", ":", "ReturnTests::test_contact_alone"),
        ("if not 0 < message.expiry <= self._max_expiry or ", "if ", "ReturnTests::test_bad_requests"),
        (" or len({part.device for part in to.parts}) != len(to.parts):", ":", "ReturnTests::test_bad_requests"),
        ("            if subscription.has_room():\n", "            if True:\n", "ReturnTests::test_window_full"),
        (
            "self._file.login if self._file is not None else keys.random_bytes(LOGIN_SIZE)",
            "self._file.login if self._file is not None else bytes(LOGIN_SIZE)",
            "tests/server/test_guest_login.py::ServerProofTests::test_without_file",
        ),
        ("        self._free_rate_keys.append(device.rate_key)\n", "", "RatesTests::test_come_again"),
    ),
)
