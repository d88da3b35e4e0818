"""The guards of the server: login, registration, directory, prekeys, limits."""

from __future__ import annotations

from tests.mutate.mutation import Guard, guards

GUARDS: tuple[Guard, ...] = (
    *guards(
        "server/login.py",
        "tests/server/test_login.py",
        ("if highest < device.highest:", "if False:", "tests/server/test_directory.py::PrekeyTests::test_older_state"),
        ("if VERSION not in message.versions:", "if False:", "LoginTests::test_version"),
        (
            'if connection.operator is not (message.role == "operator") or message.transport != '
            "channel.binding.transport:",
            "if message.transport != channel.binding.transport:",
            "LoginTests::test_false_operator",
        ),
        (
            'if connection.operator is not (message.role == "operator") or message.transport != '
            "channel.binding.transport:",
            'if connection.operator is not (message.role == "operator"):',
            "LoginTests::test_false_transport",
        ),
        ('        if hello.role in ("register", "newcomer"):\n', "        if False:\n", "LoginTests::test_role_kept"),
        ("        if not named:\n", "        if False:\n", "LoginTests::test_named"),
        (
            "named = len(message.device) == ID_SIZE and NAME_PATTERN.fullmatch(message.account) is not None",
            "named = NAME_PATTERN.fullmatch(message.account) is not None",
            "LoginTests::test_named",
        ),
        (
            "named = len(message.device) == ID_SIZE and NAME_PATTERN.fullmatch(message.account) is not None",
            "named = len(message.device) == ID_SIZE",
            "LoginTests::test_named",
        ),
        ("named = not message.account and not message.device", "named = True", "LoginTests::test_operator_names_nobody"),
        (
            "self._verify(key or self._decoy, message.signature, PROOF_LABEL, *parts)",
            "pass",
            "LoginTests::test_strangers_alike",
        ),
        ("if found is None or found[0].signing_key != key:", "if found is None:", "LoginTests::test_name_taken_during_login"),
        (
            "self._verify(key or self._decoy, message",
            "self._verify(key or bytes(32), message",
            "LoginTests::test_strangers_same_work",
        ),
        (
            "            if self._accounts.mailbox(device.mailbox) is not device:\n",
            "            if False:\n",
            "LoginTests::test_removed_during_login",
        ),
        (
            "        self._delivery.check_room(connection, device)\n        if highest",
            "        if highest",
            "PlacesTests::test_last_place",
        ),
        (
            "            self._delivery.check_room(connection, device)\n        if device",
            "        if device",
            "PlacesTests::test_last_place_of_older_states",
        ),
        ("        if not connection.is_open:\n            return\n", "", "LoginTests::test_lost_during_login"),
        (
            "before, device.logins = device.logins, (*device.logins, hello.login)[-MAX_LOGINS:]",
            "before = device.logins",
            "LoginTests::test_logins",
        ),
        ("(*device.logins, hello.login)[-MAX_LOGINS:]", "(*device.logins, hello.login)", "LoginTests::test_last_logins"),
        (
            "            self._commits.commit_soon()\n",
            "            pass\n",
            "tests/server/test_fast_path.py::FastPathTests::test_reconnect",
        ),
        ("self._commits.keep_logins(device)", "pass", "LoginTests::test_logins"),
    ),
    *guards(
        "server/admin.py",
        "tests/server/test_admin.py",
        ("account.logged_in or seen >=", "0 >", "OperatorTests::test_remove_unseen"),
        ("account.logged_in or seen >=", "seen >=", "OperatorTests::test_remove_unseen"),
        ("    if account == SERVER_NAME:\n        raise", "    if False:\n        raise", "OperatorTests::test_not_changed"),
        ('                account.end("suspended")\n', "                pass\n", "OperatorTests::test_suspended"),
        ("            account.quota = message.messages\n", "            pass\n", "OperatorTests::test_quota"),
    ),
    *guards(
        "server/registration.py",
        "tests/server/test_renewal.py",
        ("            if account.suspended:\n", "            if False:\n", "RenewalTests::test_suspended"),
    ),
    *guards(
        "server/login.py",
        "tests/server/test_admin.py",
        ("        if device.account.suspended:\n", "        if False:\n", "OperatorTests::test_suspended"),
    ),
    *guards(
        "server/audit.py",
        "tests/server/test_audit.py",
        ("            result = refusal.code\n", '            result = "done"\n', "AuditTests::test_results"),
        ("message.digest.hex()[:SHOWN_DIGITS]", "message.digest.hex()", "AuditTests::test_secrets"),
    ),
    *guards(
        "server/commands.py",
        "tests/server/test_audit.py",
        ("audited(kind, run, audit)", "run", "AuditTests::test_all"),
    ),
    *guards(
        "daemon/logs.py",
        "tests/daemon/test_logs.py",
        ("    if namespace.startswith(OWN):\n", "    if True:\n", "LogTests::test_foreign"),
        ("        if count < BURST:\n", "        if True:\n", "RepeatTests::test_repeats"),
    ),
    *guards(
        "server/commands.py",
        "tests/server/test_refusals.py",
        ('if NAME_PATTERN.fullmatch(message.account) else ""', "", "RefusalTests::test_registrations"),
    ),
    *guards(
        "server/commands.py",
        "tests/server/test_refusals.py",
        (" if NAME_PATTERN.fullmatch(destination.account)]", "]", "RefusalTests::test_peers"),
        ("    if log is None:\n", "    if log is not None:\n", "RefusalTests::test_peers"),
    ),
    *guards(
        "server/core.py",
        "tests/server/test_refusals.py",
        ("if code in LIMITS and", "if", "RefusalTests::test_limits"),
    ),
    *guards(
        "server/core.py",
        "tests/server/test_login.py",
        ("                connection.pause(WINDING_UP)\n", "                pass\n", "StopTests::test_answered_first"),
        ("            if not connection.is_local:\n", "            if True:\n", "StopTests::test_contact_goes_on"),
        ("        self.commits.commit_soon()\n", "        pass\n", "StopTests::test_answered_first"),
        ("return self.commits.is_idle and not any", "return not any", "StopTests::test_answered_first"),
        (
            " and not any(connection.is_busy for connection in self._connections)",
            "",
            "StopTests::test_question_answered_first",
        ),
    ),
    *guards(
        "daemon/service.py",
        "tests/test_tap.py",
        ("        self._end_at_signal()\n", "        pass\n", "StopTests::test_settled"),
        ("if not await self._until(lambda: core.is_settled, SETTLE_TIME):", "if False:", "StopTests::test_settled"),
        (".addTimeout(STOP_TIME, self._reactor).addErrback(self._give_up)", "", "StopTests::test_out_of_time"),
    ),
    *guards(
        "server/operations.py",
        "tests/server/test_admin.py",
        (" or connection.operator", "", "OperationsTests::test_drain"),
        (" or connection.is_local", "", "OperationsTests::test_drain"),
    ),
    *guards(
        "server/core.py",
        "tests/server/test_admin.py",
        ("        elif not self._operations.admits(connection):\n", "        elif False:\n", "OperationsTests::test_drain"),
        (
            "                self._note_seen(connection.device)\n        self.commits",
            "                pass\n        self.commits",
            "OperatorTests::test_seen_again",
        ),
        (
            "        if connection.role is Role.DEVICE:\n            self._note_seen(connection.device)\n",
            "",
            "OperatorTests::test_last_seen",
        ),
    ),
    *guards(
        "server/registration.py",
        "tests/server/test_registration.py",
        (
            '        if hello.role != "register":\n',
            "        if False:\n",
            "tests/server/test_guest_login.py::GuestProofTests::test_does_not_register",
        ),
        (
            "if token and not await self._store.admits(message.account, message.identity, token, int(self._now()), closed):",
            "if False:",
            "InvitedRegistrationTests::test_token_before_all",
        ),
        ("if self._failures.consume(EVERYBODY) else", "if True else", "InvitedRegistrationTests::test_nobody_kept_out"),
        (
            "        self._delivery.check_room(connection)\n        if not self._addresses",
            "        if not self._addresses",
            "tests/server/test_login.py::PlacesTests::test_server_full",
        ),
        (
            "        if last.identity != account.identity:\n",
            "        if False:\n",
            "tests/server/test_renewal.py::RenewalTests::test_refused",
        ),
        (
            "        keys.verify(last.identity, last.signature, SUCCESSION_LABEL, *parts)\n",
            "",
            "tests/server/test_renewal.py::RenewalTests::test_refused",
        ),
        (
            " and devices.previous == keys.sha256(account.record.devices.body)\n",
            "\n",
            "tests/server/test_renewal.py::RenewalTests::test_refused",
        ),
        (
            " or any(device.id in account.devices for device in devices.devices):",
            ":",
            "tests/server/test_renewal.py::RenewalTests::test_refused",
        ),
        ("any(each.messages or ", "any(", "tests/server/test_renewal.py::RenewalTests::test_not_empty"),
        ("if account.is_renewing or any(", "if any(", "tests/server/test_renewal.py::RenewalTests::test_in_between"),
        (
            "            if not self._rate.consume(account.name.encode()):\n",
            "            if False:\n",
            "tests/server/test_renewal.py::RenewalTests::test_too_many",
        ),
        (" or each.reader for each", " for each", "tests/server/test_renewal.py::RenewalTests::test_not_empty"),
        ("            account.is_renewing = True\n", "", "tests/server/test_renewal.py::RenewalTests::test_in_between"),
        ("if not connection.is_local and not self._rate.consume(token):", "if False:", "OpenRegistrationTests::test_too_many"),
        (
            "if not connection.is_local and not self._rate.consume(token):",
            "if not self._rate.consume(token):",
            "OpenRegistrationTests::test_failures_cost_nothing",
        ),
        (
            "if found is None or (found[0].id, found[0].signing_key) not in device_keys(devices):",
            "if found is None:",
            "OpenRegistrationTests::test_other_device_again",
        ),
        (
            "keys.verify(message.identity, message.identity_signature, REGISTER_IDENTITY_LABEL, *parts)",
            "pass",
            "OpenRegistrationTests::test_proofs",
        ),
        (
            "keys.verify(device.signing_key, message.device_signature, REGISTER_DEVICE_LABEL, *parts)",
            "pass",
            "OpenRegistrationTests::test_proofs",
        ),
        (
            "if devices.version != 1 or devices.previous or devices.successions:",
            "if devices.previous or devices.successions:",
            "OpenRegistrationTests::test_lists",
        ),
        (
            "if devices.version != 1 or devices.previous or devices.successions:",
            "if devices.version != 1 or devices.successions:",
            "OpenRegistrationTests::test_lists",
        ),
        ("        check_name(message.account)\n", "", "OpenRegistrationTests::test_failures_cost_nothing"),
        (
            "if is_reserved(message.account) and not (message.account == SERVER_NAME and connection.is_local):",
            "if False:",
            "OpenRegistrationTests::test_failures_cost_nothing",
        ),
        (
            "not (message.account == SERVER_NAME and connection.is_local)",
            "not message.account == SERVER_NAME",
            "OpenRegistrationTests::test_names",
        ),
        (
            '            if self._settings.registration == "closed":\n                raise Refusal("registration-closed")\n   '
            "         depth =",
            "            depth =",
            "InvitedRegistrationTests::test_closed_invites",
        ),
        (
            ' if closed else "bad-token")',
            ' if False else "bad-token")',
            "InvitedRegistrationTests::test_closed",
        ),
        ("int(self._now()), closed):", "int(self._now()), False):", "InvitedRegistrationTests::test_closed_invites"),
        ("not self._settings.users_invite or (depth", "(depth", "InvitedRegistrationTests::test_users_do_not"),
        ("account.depth >= depth", "account.depth > depth", "InvitedRegistrationTests::test_depth"),
        ("            self._directory.count(connection)\n", "", "tests/server/test_directory.py::DirectoryTests::test_rate"),
        ("message.uses > self._settings.user_invite_uses or ", "", "InvitedRegistrationTests::test_users_invite"),
        (" or message.lifetime > self._settings.user_invite_lifetime", "", "InvitedRegistrationTests::test_users_invite"),
        ("creator = connection.device.account.name", 'creator = ""', "InvitedRegistrationTests::test_too_many_invites"),
        (
            "await self._store.add_token(keys.sha256(token),",
            "await self._store.add_token(token,",
            "InvitedRegistrationTests::test_admitted",
        ),
    ),
    *guards(
        "server/directory.py",
        "tests/server/test_directory.py",
        ("keys.verify(identity, signed.signature, DEVICE_LIST_LABEL, signed.body)", "pass", "DirectoryTests::test_foreign"),
        (
            "if devices.server != server or devices.account != account:",
            "if devices.account != account:",
            "DirectoryTests::test_foreign",
        ),
        (
            "if devices.server != server or devices.account != account:",
            "if devices.server != server:",
            "DirectoryTests::test_foreign",
        ),
        (
            "if not all(keys.are_device_keys(row.signing_key, row.agreement_key, row.rsa_key) for row in devices.devices):",
            "if False:",
            "DirectoryTests::test_no_keys",
        ),
        ("        self.count(connection)\n        account = await", "        account = await", "DirectoryTests::test_rate"),
        (
            "        self.count(connection)\n        account = connection",
            "        account = connection",
            "DirectoryTests::test_rate",
        ),
        ("if message.account != SERVER_NAME:", "if False:", "tests/server/test_guests.py::ReachTests::test_directory"),
        (
            "if devices.version == replaced + 1 and devices.previous != keys.sha256(current):",
            "if False:",
            "DirectoryTests::test_stale",
        ),
        ("if devices.version <= replaced:", "if False:", "DirectoryTests::test_stale"),
        ("if devices.version > replaced + MAX_LEAP:", "if False:", "DirectoryTests::test_far_ahead"),
        ("if device.signing_key != other.signing_key or (", "if (", "DirectoryTests::test_other_key"),
        ("(device.keys != other.keys and device.id != publisher)", "False", "DirectoryTests::test_other_key"),
        ("if not self._requests.consume(connection.device.rate_key):", "if False:", "DirectoryTests::test_rate"),
    ),
    *guards(
        "server/prekeys.py",
        "tests/server/test_directory.py",
        ("if not self._uploads.consume(device.rate_key):", "if False:", "PrekeyTests::test_upload_rate"),
        ("if len(prekey.key) != size or not prekey.id or (", "if not prekey.id or (", "PrekeyTests::test_wrong_size"),
        ("if len(prekey.key) != size or not prekey.id or (", "if len(prekey.key) != size or (", "PrekeyTests::test_wrong_size"),
        (" or (size == X25519_SIZE and not keys.is_x25519_key(prekey.key)):", ":", "PrekeyTests::test_wrong_size"),
        (
            'keys.verify(signer, prekey.signature, label, prekey.id.to_bytes(ID_SIZE, "big"), prekey.key)',
            "pass",
            "PrekeyTests::test_strange_signature",
        ),
        (
            "fresh = self._claims_of.has_room(device.mailbox) and self._claims_between.consume(between)",
            "fresh = self._claims_of.has_room(device.mailbox)",
            "PrekeyTests::test_limits",
        ),
        (
            "fresh = self._claims_of.has_room(device.mailbox) and self._claims_between.consume(between)",
            "fresh = self._claims_between.consume(between)",
            "PrekeyTests::test_limits",
        ),
        (
            "fresh = self._claims_of.has_room(device.mailbox) and self._claims_between.consume(between)",
            "fresh = self._claims_between.consume(between) and self._claims_of.has_room(device.mailbox)",
            "PrekeyTests::test_last_resort_costs_no_claim",
        ),
        (
            "fresh = self._claims_of.has_room(device.mailbox) and self._claims_between.consume(between)",
            "fresh = self._claims_of.consume(device.mailbox) and self._claims_between.consume(between)",
            "PrekeyTests::test_last_resort_costs_no_claim",
        ),
        ("            self._claims_of.consume(device.mailbox)\n", "            pass\n", "PrekeyTests::test_limits"),
        (
            "between = requester.rate_key, device.mailbox",
            "between = requester.mailbox, device.mailbox",
            "PrekeyTests::test_nobody_drains",
        ),
        ("        self._directory.count(connection)\n", "", "PrekeyTests::test_repetition_is_a_question"),
        (
            "        if bundle is None:\n            bundle = await self._claim",
            "        if True:\n            bundle = await self._claim",
            "PrekeyTests::test_repetition_costs_no_claim",
        ),
    ),
    *guards(
        "server/core.py",
        "tests/server/test_login.py",
        (
            "Buckets(rate, self.seconds,",
            "Buckets(rate, self.now,",
            "tests/server/test_limits.py::AccountRateTests::test_clock_set",
        ),
        ("self._stopped or self._refused", "self._stopped", "StopTests::test_new_ones_refused"),
        ("self._stopped or self._refused", "self._refused", "StopTests::test_everybody_notified"),
    ),
    *guards(
        "server/limits.py",
        "tests/server/test_limits.py",
        (
            "return max(1, self.max_clients // 2)",
            "return self.max_clients",
            "tests/server/test_login.py::TreeTests::test_one_account",
        ),
        (
            "return max(1, self.max_clients * 3 // 4)",
            "return self.max_clients",
            "tests/server/test_login.py::TreeTests::test_one_tree",
        ),
        ("if len(levels) > self._capacity:", "if False:", "BucketTests::test_bounded"),
        ("        if level > rate.burst:\n", "        if False:\n", "BucketTests::test_refilled"),
        (
            "self._free_space() >= max(MIN_FREE_SPACE, WAL_FACTOR * self._wal_size())",
            "self._free_space() >= MIN_FREE_SPACE",
            "DiskTests::test_log_counts",
        ),
        (
            "self._free_space() >= max(MIN_FREE_SPACE, WAL_FACTOR * self._wal_size())",
            "self._free_space() >= WAL_FACTOR * self._wal_size()",
            "tests/server/test_deposit.py::DepositTests::test_disk_guard",
        ),
    ),
)
