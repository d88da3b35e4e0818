"""The guards of the server: mailboxes, delivery, connections, guests."""

from __future__ import annotations

from tests.mutate.mutation import Guard, guards

GUARDS: tuple[Guard, ...] = (
    *guards(
        "server/mailbox.py",
        "tests/server/test_deposit.py",
        (
            "            if not is_repetition(message, pending.message):\n",
            "            if False:\n",
            "DepositTests::test_conflict_while_pending",
        ),
        (
            "            if stored[:DIGEST_SIZE] != digest_of(message):\n",
            "            if False:\n",
            "DepositTests::test_conflict_after_commit",
        ),
        ("        if n > MAX_N:\n", "        if False:\n", "DepositTests::test_n_bounded"),
        ("        if n <= sender.highest:\n", "        if False:\n", "DepositTests::test_dedupe_before_disk"),
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
        (
            "        if relayed != fingerprint(message):\n",
            "        if False:\n",
            "tests/server/test_fast_path.py::FastPathTests::test_repeated",
        ),
        ("        if relayed is None:\n", "        if True:\n", "tests/server/test_fast_path.py::FastPathTests::test_repeated"),
        ("if not self._deposits.consume(sender.rate_key, 1 + len(missed)):", "if False:", "QuotaTests::test_rate"),
        ("1 + len(missed)", "1", "QuotaTests::test_rate"),
        (
            "if len(recipients) > 1 and len({destination.account for _, destination in recipients}) != len(recipients):",
            "if False:",
            "DepositTests::test_account_twice",
        ),
        ("    if len(named) != len(parts):\n", "    if False:\n", "DepositTests::test_account_twice"),
        (" and named <= account.devices.keys()", "", "DepositTests::test_wrong_two"),
        (" and not (own and sender.id in named)", "", "DepositTests::test_own_devices"),
        ("return len(named) == len(account.devices) - own and", "return", "DepositTests::test_wrong_two"),
        ("if len(account.devices) != 1 or", "if", "DepositTests::test_missing_device"),
        (" or parts[0].device not in account.devices", "", "DepositTests::test_added_device"),
        ("        if size > MAX_ATTACHED:\n            break\n", "", "DepositTests::test_lists_fit"),
    ),
    *guards(
        "server/deposits.py",
        "tests/server/test_fast_path.py",
        (
            "keys.DEPOSIT + _encode((deposit.expiry, deposit.common, deposit.to))",
            "keys.DEPOSIT + _encode((deposit.common, deposit.to))",
            "tests/server/test_deposit.py::DepositTests::test_conflict_after_commit",
        ),
        (
            "keys.DEPOSIT + _encode((deposit.expiry, deposit.common, deposit.to))",
            "keys.DEPOSIT + _encode((deposit.expiry, deposit.to))",
            "tests/server/test_deposit.py::DepositTests::test_conflict_after_commit",
        ),
        (
            "keys.DEPOSIT + _encode((deposit.expiry, deposit.common, deposit.to))",
            "keys.DEPOSIT + _encode((deposit.expiry, deposit.common))",
            "tests/server/test_deposit.py::DepositTests::test_conflict_after_commit",
        ),
        (" if position > device.acknowledged\n        ]", "\n        ]", "FastPathTests::test_all_acknowledge"),
        ("deposit.expiry == other.expiry and ", "", "tests/server/test_deposit.py::DepositTests::test_conflict_while_pending"),
        ("deposit.common == other.common and ", "", "tests/server/test_deposit.py::DepositTests::test_conflict_while_pending"),
        (" and deposit.to == other.to", "", "tests/server/test_deposit.py::DepositTests::test_conflict_while_pending"),
    ),
    *guards(
        "server/relayed.py",
        "tests/server/test_fast_path.py",
        (
            "return hash((deposit.expiry, len(common), common[-TAG:], to[0]",
            "return hash((to[0]",
            "RelayedTests::test_fingerprint",
        ),
        (", part.device, len(own), own[-TAG:]))", "))", "RelayedTests::test_fingerprint"),
        (
            "return hash((deposit.expiry, len(common), common[-TAG:], *parts))",
            "return hash(tuple(parts))",
            "RelayedTests::test_fingerprint",
        ),
        ("common[-TAG:], *parts))", "common[-TAG:]))", "RelayedTests::test_fingerprint"),
        ("            self._old, self._new = self._new, {}\n", "            pass\n", "RelayedTests::test_bounded"),
        ("            self._old, self._new = self._new, {}\n", "            self._new = {}\n", "RelayedTests::test_bounded"),
    ),
    *guards(
        "server/hold.py",
        "tests/server/test_fast_path.py",
        ("return LONG if self._mean < LONG else SHORT", "return LONG", "HoldTests::test_follows"),
        ("if position >= self._position:", "if True:", "HoldTests::test_follows"),
        ("if self.device is not None and now - self._since > SLOWEST:", "if False:", "HoldTests::test_never_acknowledged"),
    ),
    *guards(
        "server/commits.py",
        "tests/server/test_fast_path.py",
        (
            "        if deposit.answered:\n            self._answer_soon(",
            "        if False:\n            self._answer_soon(",
            "FastPathTests::test_acknowledged_during_commit",
        ),
        (" and not deposit.missed:\n", ":\n", "FastPathTests::test_missed"),
        ("            if not deposit.unacknowledged:\n", "            if True:\n", "FastPathTests::test_all_acknowledge"),
        ("            elif not deposit.answered:\n", "            else:\n", "FastPathTests::test_acknowledged_during_commit"),
        (
            "        if deposit.stage == OPEN and not",
            "        if not",
            "FastPathTests::test_acknowledged_during_commit",
        ),
        ("            if at <= submitted:\n", "            if True:\n", "FastPathTests::test_never_written"),
        (
            "            if at <= submitted:\n",
            "            if False:\n",
            "FastPathTests::test_acknowledged_during_commit",
        ),
        ("        self._old = len(fresh)\n", "        self._old = 0\n", "FastPathTests::test_held"),
        ("batch.deposits[:old] if", "batch.deposits if", "FastPathTests::test_held"),
        (
            "            is_delivered = False\n        if not is_delivered:",
            "        if not is_delivered:",
            "FastPathTests::test_crowd",
        ),
        (
            "            connection.pause(UNANSWERED)\n            self.commit_soon()\n",
            "            connection.pause(UNANSWERED)\n",
            "FastPathTests::test_many_unanswered",
        ),
        ("            self._later(HIGHEST_DELAY, self._highest_due)\n", "            pass\n", "FastPathTests::test_highest"),
        (
            "        if deposit.was_delivered:\n",
            "        if False:\n",
            "tests/server/test_deposit.py::DepositTests::test_delivered_and_not_refused",
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
        ("self.cursor != position - 1 or ", "", "tests/server/test_fast_path.py::FastPathTests::test_all_in_order"),
        ("position - 1 or not self.has_room()", "position - 1", "tests/server/test_fast_path.py::FastPathTests::test_window"),
        (
            "self.device.committed <= self.cursor < position and",
            "self.device.committed <= self.cursor and",
            "tests/server/test_fast_path.py::FastPathTests::test_held",
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
            "                if command is None:\n",
            "                command = command or self._tables[Role.OPERATOR].get(type(message)) or "
            "self._tables[Role.DEVICE].get(type(message))\n                if command is None:\n",
            "RoleTests::test_devices_commands",
        ),
        ("if self._is_busy and self.role is not Role.STRANGER:", "if False:", "OrderTests::test_not_read_from"),
        ("if self._connection.queued >= self._max_queued:", "if False:", "OrderTests::test_answers_bounded"),
        (
            "        if not self.is_open:\n            return\n        work = None",
            "        work = None",
            "tests/server/test_login.py::LoginTests::test_fenced",
        ),
    ),
    *guards(
        "server/guests.py",
        "tests/server/test_guests.py",
        ("if [destination.account for destination in message.to] != [SERVER_NAME]:", "if False:", "ReachTests::test_others"),
        ("if digest != digest_of(message):", "if False:", "AnswerTests::test_again_while_pending"),
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
