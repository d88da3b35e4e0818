"""The guards of the client: login, maintenance, receiving, and what is shown."""

from __future__ import annotations

from tests.mutate.mutation import Guard, guards

GUARDS: tuple[Guard, ...] = (
    *guards(
        "client/escape.py",
        "tests/client/test_escape.py",
        (
            "_shown(character) if kind is None or marks[kind] <= MAX_MARKS else _spelled(character)",
            "_shown(character)",
            "EscapeTests::test_towers",
        ),
        (
            "unicodedata.category(character) in _HIDDEN_CATEGORIES\n        or character",
            "character",
            "EscapeTests::test_sequences",
        ),
        ("        or character in _BLANKS\n", "", "EscapeTests::test_invisible"),
        ("        or any(low <= number <= high for low, high in _SELECTORS)\n", "", "EscapeTests::test_invisible"),
    ),
    *guards(
        "account/shown.py",
        "tests/account/test_shown.py",
        ("+ digest(message.id)[:DIGEST_SIZE]", "+ bytes(DIGEST_SIZE)", "ShownTests::test_another_message"),
        ("len(self._noted) >= MAX_NOTED or ", "", "ShownTests::test_bounded"),
        (" or not self._write(entry_of(message))", "", "ShownTests::test_killed"),
        ("or not self._write(entry_of(message))", "or self._write(entry_of(message)) is None", "ShownTests::test_no_note"),
        (
            "                fcntl.flock(self._open(), fcntl.LOCK_SH | fcntl.LOCK_NB)\n",
            "                pass\n",
            "ShownTests::test_beside",
        ),
        ("                messages.mark_read(self._store, shown)\n", "", "ShownTests::test_left"),
        (" if entry_of(message) in left]", "]", "ShownTests::test_another_message"),
    ),
    *guards(
        "account/tracking.py",
        "tests/account/test_bot.py",
        ('elif sent.status == "queued" and not is_full:', 'elif sent.status == "queued":', "SendTests::test_out_of_order"),
        ('elif sent.status in ("failed", "withdrawn") or held_up:', "elif held_up:", "SendTests::test_some_refused"),
        (
            'elif sent.status in ("failed", "withdrawn") or held_up:',
            'elif sent.status == "failed":',
            "SendTests::test_some_held_up",
        ),
    ),
    *guards(
        "account/reader.py",
        "tests/account/test_bot.py",
        (
            "if not self._read_locks.shown.add(message):",
            "if self._read_locks.shown.add(message) is not None:",
            "MessagesTests::test_handled_together",
        ),
    ),
    *guards(
        "account/readlocks.py",
        "tests/account/test_shown.py",
        ("self.shown.known(waiting)", "[]", "ShownTests::test_killed"),
    ),
    *guards(
        "cli/wrapping.py",
        "tests/cli/test_wrapping.py",
        ("(prefix if number == 0 else INDENT)", '(prefix if number == 0 else "")', "BlockTests::test_no_fake_line"),
        ("row, used = INDENT, len(INDENT)", 'row, used = "", 0', "BlockTests::test_faked_with_emoji"),
        ("        if width and unit.endswith(EMOJI_STYLE):\n            width = 2\n", "", "BlockTests::test_emoji"),
    ),
    *guards(
        "client/login.py",
        "tests/client/test_login.py",
        (
            "keys.verify(profile.pin, challenge.signature, auth.CHALLENGE_LABEL, *parts)",
            "pass",
            "LoginTests::test_borrowed_identity",
        ),
        (
            'raise Refusal("server-identity") from None\n    _check_choice(challenge)',
            'raise Refusal("server-identity") from None',
            "LoginTests::test_unoffered_version",
        ),
        (
            'raise Refusal("server-identity")\n    _check_choice(challenge)',
            'raise Refusal("server-identity")',
            "tests/client/test_guest.py::LoginTests::test_unoffered_version",
        ),
        (
            "if challenge.version != auth.VERSION or not set(challenge.features) <= set(auth.FEATURES):",
            "if not set(challenge.features) <= set(auth.FEATURES):",
            "LoginTests::test_unoffered_version",
        ),
        (
            "if challenge.version != auth.VERSION or not set(challenge.features) <= set(auth.FEATURES):",
            "if challenge.version != auth.VERSION:",
            "LoginTests::test_unoffered_version",
        ),
        (
            "proves_itself = keys.same(challenge.signature, keys.mac(key.login, auth.KEY_CHALLENGE_LABEL, *parts))",
            "proves_itself = True",
            "tests/client/test_guest.py::LoginTests::test_server_without_file",
        ),
        (
            "if not proves_itself or not keys.is_ed25519_key(challenge.identity):",
            "if not proves_itself:",
            "tests/client/test_guest.py::LoginTests::test_no_identity",
        ),
        (
            "if _KINDS.get(binding.transport) != binding.kind or sizes != _SIZES[binding.kind]:",
            "if sizes != _SIZES[binding.kind]:",
            "LoginTests::test_no_exporter",
        ),
        (
            "if _KINDS.get(binding.transport) != binding.kind or sizes != _SIZES[binding.kind]:",
            "if _KINDS.get(binding.transport) != binding.kind:",
            "LoginTests::test_no_exporter",
        ),
    ),
    *guards(
        "client/guest.py",
        "tests/client/test_guest.py",
        (
            "login.check_key_challenge(key, connection.hello, challenge, binding)",
            "pass",
            "LoginTests::test_server_without_file",
        ),
        ("        if row.sealed:\n", "        if False:\n", "ResendTests::test_said_again"),
    ),
    *guards(
        "client/maintenance.py",
        "tests/client/test_devices.py",
        (
            "self._context.seconds() - self._refreshed_at",
            "self._context.now() - self._refreshed_at",
            "tests/client/test_set_clock.py::SetClockTests::test_maintenance",
        ),
        (
            'registered=True, token=b"")',
            "registered=True)",
            "tests/client/test_login.py::RegistrationTests::test_token_is_dropped",
        ),
        ("        if message.highest:\n", "        if False:\n", "tests/client/test_guest.py::LoginTests::test_count"),
        (
            "if since is not None and now - since >= prekeys.UNCONFIRMED:",
            "if False:",
            "tests/client/test_maintenance.py::UnconfirmedTests::test_told",
        ),
        (
            "prekeys.retire_claimed(records, self._stock, now)",
            "pass",
            "tests/client/test_maintenance.py::ClearingTests::test_claimed_is_cleared",
        ),
    ),
    *guards(
        "client/owndevices.py",
        "tests/client/sessions/test_rsa_world.py",
        ("if listed != listing.devices:", "if False:", "KeyTests::test_published_at_login"),
        ("if foreign is not None:", "if False:", "KeyTests::test_changed_by_a_copy"),
        ("if listed != self._context.profile.listing.devices:", "if False:", "KeyTests::test_no_key"),
    ),
    *guards(
        "client/state/rsakeys.py",
        "tests/client/sessions/test_rsa_world.py",
        ("if load_rsa_key(records) is None:", "if True:", "KeyTests::test_published_once"),
    ),
    *guards(
        "client/owndevices.py",
        "tests/client/test_devices.py",
        (
            "seconds = self._context.seconds()",
            "seconds = self._context.now()",
            "tests/client/test_set_clock.py::SetClockTests::test_own_list",
        ),
        ("if seconds - self._checked_at >= CHECK_PAUSE:", "if True:", "OwnTests::test_not_for_every_message"),
        ("if len(listed) >= m.MAX_DEVICES:", "if False:", "ChangeTests::test_full"),
        ("        if device_id == profile.device_id:\n", "        if False:\n", "ChangeTests::test_refusals"),
        ("        if len(others) == len(profile.listing.devices):\n", "        if False:\n", "ChangeTests::test_refusals"),
        ("elif added and not is_old:", "elif False:", "OwnTests::test_found_by_login"),
        (
            "if not is_old and not added and own.keys not in {device.keys for device in listing.devices}:",
            "if False:",
            "OwnTests::test_without_us",
        ),
        ("is_old = listing.version < profile.listing.version", "is_old = False", "OwnTests::test_older"),
        ("if profile.devices != record.devices:", "if added:", "RestoredServerTests::test_renewed_since"),
        (
            "if is_old and listing.version < load_number(records, META, PUBLISHED):",
            "if False:",
            "RestoredServerTests::test_shown_an_old_one",
        ),
        ("not ownlist.may_follow(profile, record.devices)", "False", "RestoredServerTests::test_device_added_after_it"),
        ("if is_old and (displaced or", "if is_old and (", "RestoredServerTests::test_other_device"),
        (
            "            save_number(records, META, PUBLISHED, listing.version)\n            if",
            "            if",
            "RestoredServerTests::test_changes_wait",
        ),
        ("rise=age if profile.name == SERVER_NAME else 1", "rise=1", "RestoredServerTests::test_the_contact_server"),
        (
            'context.warn(records, "own-device-added", about=keys.digest(*map(device_digest, added)))',
            "pass",
            "OwnTests::test_found_by_login",
        ),
        ("ownlist.refuse(records, [*added, *displaced], context.time())", "pass", "ChangeTests::test_accept"),
    ),
    *guards(
        "client/restored.py",
        "tests/client/test_restored.py",
        (
            "*known.own[1 - MAX_OWN_LOGINS :]",
            "*known.own",
            "CopiedTests::test_bounded",
        ),
        (
            "return [login for login in logins if login not in (*known.own, *known.named)]",
            "return []",
            "CopiedTests::test_told_by_itself",
        ),
        (
            "if login not in (*known.own, *known.named)]",
            "if login not in known.own]",
            "CopiedTests::test_never_answered",
        ),
        ("named=(*logins, *known.own[-1:])", "named=tuple(logins)", "CopiedTests::test_never_answered"),
        (
            "named=(*logins, *known.own[-1:])",
            "named=known.own[-1:]",
            "CopiedTests::test_told_after_lost_welcomes",
        ),
        (
            "if highest > MAX_N or leap > MAX_LEAP or total > MAX_LEAPS_A_DAY:",
            "if leap > MAX_LEAP or total > MAX_LEAPS_A_DAY:",
            "tests/client/test_malice.py::DeliveryTests::test_absurd_count",
        ),
        (
            "if highest > MAX_N or leap > MAX_LEAP or total > MAX_LEAPS_A_DAY:",
            "if highest > MAX_N or leap > MAX_LEAP:",
            "tests/client/test_malice.py::DeliveryTests::test_used_up",
        ),
        (
            "if highest > MAX_N or leap > MAX_LEAP or total > MAX_LEAPS_A_DAY:",
            "if highest > MAX_N or total > MAX_LEAPS_A_DAY:",
            "tests/client/test_malice.py::DeliveryTests::test_absurd_count",
        ),
        (
            "highest = welcome.highest if welcome.highest > own else 0",
            "highest = 0",
            "RestoredTests::test_found_out",
        ),
        (
            "logins = _note_named(records, welcome.logins)",
            "logins = _note_named(records, welcome.logins[-1:])",
            "CopiedTests::test_told_after_lost_welcomes",
        ),
        (
            'about=keys.digest(stored.to_bytes(8, "big"), welcome.highest.to_bytes(8, "big"))',
            'about=keys.digest(welcome.highest.to_bytes(8, "big"))',
            "RestoredServerTests::test_told_of_each_loss",
        ),
        ("prekeys.discard_one_time(records)", "pass", "RestoredTests::test_new_life"),
        ("suites.archive_all(records)", "pass", "tests/client/sessions/test_restored_keys.py::KeyTests::test_new_sessions"),
        (
            "save_number(records, COUNTERS, NUMBER, highest)",
            "pass",
            "RestoredTests::test_only_once",
        ),
        ("    profile = reborn(profile, highest)\n", "", "RestoredTests::test_new_life"),
    ),
    *guards(
        "client/agent.py",
        "tests/client/test_set_clock.py",
        ("expire(self._seconds(), self", "expire(self._now(), self", "SetClockTests::test_question"),
        ("if self._seconds() - self._context", "if self._now() - self._context", "SetClockTests::test_keep_alive"),
    ),
    *guards(
        "client/context.py",
        "tests/client/test_waiting.py",
        (
            "self.moved_at = self.seconds()",
            "self.moved_at = self.now()",
            "tests/client/test_set_clock.py::SetClockTests::test_unanswered",
        ),
        (
            "callback, self.seconds())",
            "callback, self.now())",
            "tests/client/test_set_clock.py::SetClockTests::test_question",
        ),
        (
            "if (notice.code, notice.name, notice.about) == (code, name, about)",
            "if (notice.code, notice.name) == (code, name)",
            "IdentityTests::test_told_of_each_identity",
        ),
        (
            "if contact is not None and contact.unannounced:",
            "if False:",
            "tests/client/test_devices.py::ContactTests::test_told",
        ),
        (
            "if before is not None and before.is_blocked:",
            "if False:",
            "tests/client/test_malice.py::DirectoryTests::test_other_identity_again",
        ),
        (
            "return max(abs(self.clock_ahead), abs(self.time() - self._clock_noted)) <= CLOCK_TOLERANCE",
            "return True",
            "tests/client/sending/test_outbox.py::HorizonTests::test_wrong_clock",
        ),
    ),
    *guards(
        "client/requests.py",
        "tests/client/test_agent.py",
        ("if len(self._open) >= MAX_OPEN:", "if False:", "QuestionTests::test_too_many"),
        ("return 0 < message.request <= self._last", "return True", "ProtocolTests::test_unasked"),
        ("elif type(message) is expected:", "elif True:", "ProtocolTests::test_wrong_answer"),
        ("if seconds - max(asked_at, quiet_since) >= TIMEOUT:", "if False:", "QuestionTests::test_timeout"),
        ("max(asked_at, quiet_since)", "asked_at", "tests/client/test_keepalive.py::KeepAliveTests::test_slow_link"),
    ),
    *guards(
        "client/trustcheck.py",
        "tests/client/test_trustcheck.py",
        ("if integrity.entries(records) == _found(records):", "if True:", "TrustTests::test_contact_put_back"),
        ('verified=False, shown_comparison=b""', 'shown_comparison=b""', "TrustTests::test_contact_put_back"),
        (
            "        if known is None:\n            context.warn",
            "        if False:\n            context.warn",
            "TrustTests::test_record_deleted",
        ),
        ('"trust-lost", about=event', '"trust-lost"', "TrustTests::test_lost_each_time"),
        ('"trust-changed", name, about=event', '"trust-changed", name', "TrustTests::test_each_time"),
    ),
    *guards(
        "client/receiving/listchecks.py",
        "tests/client/state/test_contacts.py",
        ("if theirs.version > contact.version:", "if False:", "MarkTests::test_behind"),
        ("elif _is_forked(records, contact.name, theirs):", "elif False:", "MarkTests::test_contact_forked"),
        ("if ours.version > profile.listing.version:", "if False:", "MarkTests::test_own_unknown"),
        ("elif ours.version and _is_forked(records, profile.name, ours):", "elif False:", "MarkTests::test_own_forked"),
        (
            "if successor is not None and content.sent_at - successor.issued_at > LIST_GRACE:",
            "if False:",
            "MarkTests::test_own_old",
        ),
    ),
    *guards(
        "client/receiving/inbox.py",
        "tests/client/receiving/test_inbox.py",
        (
            "if opened.suite != pinned_suite(records, conversation).suite:",
            "if False:",
            "tests/client/sessions/test_rsa_world.py::PinningTests::test_marked",
        ),
        (
            "if records.get(SEEN, envelope) is not None:",
            "if False:",
            "tests/client/test_malice.py::DeliveryTests::test_replayed",
        ),
        (
            "conversation is None or content.device != opened.device_id or",
            "conversation is None or",
            "SenselessTests::test_other_device",
        ),
        (
            "known.get(content.conversation)",
            "known.get(content.conversation, opened.conversation)",
            "tests/client/receiving/test_greed.py::GreedTests::test_as_the_other",
        ),
        (
            "if rules.counted != bool(content.counter) and content.kind in KINDS:",
            "if False:",
            "SenselessTests::test_receipt_with_counter",
        ),
        (
            "if any(earlier >= later for later, earlier in pairwise(incarnations)):",
            "if False:",
            "SenselessTests::test_continues_itself",
        ),
        (
            "    if rules.record is not None:\n        lobby.check_names(decode_record(rules.record, content.body))\n",
            "",
            "SenselessTests::test_broken_receipt",
        ),
        ("if rules.size not in (0, len(content.body)):", "if False:", "SenselessTests::test_void_of_nothing"),
        ("is_new = records.get(SEEN, known) is None", "is_new = True", "SenselessTests::test_same_id"),
        (
            "if content.wants_receipt and is_shown:",
            "if content.wants_receipt:",
            "SenselessTests::test_silent_kinds_confirmed",
        ),
        ('if arrival.note == "forked":', "if False:", "tests/client/test_malice.py::DeliveryTests::test_cloned_sender"),
        (
            "peer.has_account and refusal.code not in NO_RESET and",
            "peer.has_account and",
            "tests/client/sessions/test_suites.py::QuarantineTests::test_waits",
        ),
        (
            "        contacts.put_contact(records, refusal.contact)\n",
            "",
            "tests/client/test_waiting.py::IdentityTests::test_incoming",
        ),
    ),
    *guards(
        "client/receiving/receiver.py",
        "tests/client/test_agent.py",
        (
            "                context.announce(records, account)\n",
            "                pass\n",
            "tests/client/test_devices.py::ContactTests::test_told_by_a_refused_message",
        ),
        ("if delivery.tag != self._last_tag + 1:", "if False:", "ProtocolTests::test_wrong_tag"),
        (
            "if self._was_drained and not self._waiting and not self._retries and not self.is_drained:",
            "if self._was_drained and not self._waiting and not self.is_drained:",
            "tests/client/test_waiting.py::IdentityTests::test_accepted_before_login",
        ),
    ),
)
