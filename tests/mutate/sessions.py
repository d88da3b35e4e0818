"""The guards of client/sessions: which session opens and seals what, and for whom."""

from __future__ import annotations

from tests.mutate.mutation import Guard, guards

GUARDS: tuple[Guard, ...] = (
    *guards(
        "client/sessions/pqxdh.py",
        "tests/client/sessions/test_pqxdh.py",
        (
            "public.verify(pair.device.signing_key)",
            "pass",
            "tests/client/sessions/test_attacks.py::BundleTests::test_of_another_device",
        ),
        ("if not bundle.kem_is_last_resort and bundle.kem.id == index.spent:", "if False:", "LimitTests::test_spent_bundle"),
        (
            "budgets.check_begin(records, sender.account, now)",
            "pass",
            "tests/client/sessions/test_burden.py::BudgetTests::test_new_sessions",
        ),
        (
            "budgets.check_skipped(records, pair.contact, session.skipped - tried[number].skipped)",
            "pass",
            "tests/client/sessions/test_burden.py::BudgetTests::test_skipped",
        ),
        (
            "initiations.remember(records, sender.account, sender.device, prekey, number)",
            "pass",
            "ChoiceTests::test_evicted",
        ),
        ("prekeys.spend(records, prekey)", "pass", "FirstMessageTests::test_used_prekeys_go"),
        (
            "if index.sealed != self._number:",
            "if False:",
            "tests/client/sessions/test_selection.py::PlaceTests::test_generation",
        ),
        (
            "place=(pair.profile.incarnation, index.generation)",
            "place=(0, index.generation)",
            "tests/client/sessions/test_selection.py::PlaceTests::test_content_sent_again",
        ),
        (
            "if _sending(records, pair, now) is not None:",
            "if False:",
            "tests/client/sessions/test_selection.py::BothBeginTests::test_bundle_comes_late",
        ),
    ),
    *guards(
        "client/sessions/candidates.py",
        "tests/client/sessions/test_selection.py",
        (
            "if made is None or not pair.fits(made):",
            "if made is None:",
            "OwnKeysTests::test_repeated_opening",
        ),
        (
            "if likely is not None and pair.fits(likely) and _knows(likely, header):",
            "if likely is not None and _knows(likely, header):",
            "OwnKeysTests::test_other_device_key",
        ),
        (
            "for number, session in store.all_sessions(records, pair.bucket).items() if pair.fits(session)}",
            "for number, session in store.all_sessions(records, pair.bucket).items()}",
            "OwnKeysTests::test_other_device_key",
        ),
        (
            "tried = knowing or sorted(waiting, key=lambda number: (number != index.current, number != index.before, -number))",
            "tried = knowing or sorted(waiting, reverse=True)[:7]",
            "tests/client/sessions/test_burden.py::NewKeyTests::test_all_unanswered_are_tried",
        ),
        (
            "if not budgets.may_jump(records, pair.contact.name, jump, now):",
            "if False:",
            "tests/client/sessions/test_burden.py::WastedTests::test_bounded",
        ),
    ),
    *guards(
        "client/sessions/addresses.py",
        "tests/client/sessions/test_associated.py",
        (
            "    if contact.has_changed:\n        raise IdentityChanged(contact)\n",
            "",
            "tests/client/sessions/test_pqxdh.py::LimitTests::test_blocked",
        ),
        (
            "return (session.own_identity, session.peer_identity) == (own, peer) and (",
            "return session.own_identity == own and (",
            "tests/client/sessions/test_selection.py::OwnKeysTests::test_other_identity",
        ),
        (
            "return (session.own_identity, session.peer_identity) == (own, peer) and (",
            "return session.peer_identity == peer and (",
            "tests/client/sessions/test_selection.py::OwnKeysTests::test_own_identity",
        ),
        (
            "            session.peer_agreement == self.device.agreement_key\n",
            "            bool(self.device)\n",
            "tests/client/sessions/test_selection.py::OwnKeysTests::test_other_device_key",
        ),
        (
            "return self.fits(session) and not is_stale",
            "return not is_stale",
            "tests/client/sessions/test_selection.py::OwnKeysTests::test_other_identity",
        ),
        (
            "return self.fits(session) and not is_stale",
            "return self.fits(session)",
            "tests/client/sessions/test_pqxdh.py::FirstMessageTests::test_long_unanswered",
        ),
        ("            *initiator.parts,\n", "", "AssociatedTests::test_each_item"),
        ("            *responder.parts,\n", "", "AssociatedTests::test_each_item"),
        (
            "            header,\n            common,\n            session.bundle,",
            "            common,\n            session.bundle,",
            "AssociatedTests::test_each_item",
        ),
        (
            "            header,\n            common,\n            session.bundle,",
            "            header,\n            session.bundle,",
            "AssociatedTests::test_each_item",
        ),
        (
            "            common,\n            session.bundle,",
            "            common,",
            "AssociatedTests::test_bundle_of_the_reader",
        ),
        (
            "            FROM_INITIATOR if session.initiated == sending else FROM_RESPONDER,\n",
            "",
            "AssociatedTests::test_each_item",
        ),
        (
            "return (self.account.encode(), self.device, self.identity)",
            "return (self.device, self.identity)",
            "AssociatedTests::test_each_item",
        ),
        (
            "return (self.account.encode(), self.device, self.identity)",
            "return (self.account.encode(), self.identity)",
            "AssociatedTests::test_each_item",
        ),
        (
            "return (self.account.encode(), self.device, self.identity)",
            "return (self.account.encode(), self.device)",
            "AssociatedTests::test_each_item",
        ),
        (
            "if len(content_key.key) != size:\n        raise Refusal",
            "if False:\n        raise Refusal",
            "tests/client/sessions/test_attacks.py::EnvelopeTests::test_other_content_key",
        ),
        ("if content_key.common != common:", "if False:", "AssociatedTests::test_common_part_inside"),
    ),
    *guards(
        "client/sessions/selection.py",
        "tests/client/sessions/test_selection.py",
        ("    if place <= index.seen and prekey <= index.prekey:\n        return\n", "", "PlaceTests::test_no_write_more"),
        (
            "return Novelty.FRESH if prekey > index.prekey else Novelty.OLD",
            "return Novelty.FRESH",
            "TableTests::test_every_row",
        ),
        ("    if number <= index.archived:\n        return Novelty.ARCHIVED\n", "", "TableTests::test_every_row"),
        ("seen=max(index.seen, place), ", "", "ThiefTests::test_before_a_restore"),
        (
            "(Novelty.FIRST, Current.FIRST): Choice.LOWER,",
            "(Novelty.FIRST, Current.FIRST): Choice.MOVE,",
            "TableTests::test_table",
        ),
    ),
    *guards(
        "client/sessions/store.py",
        "tests/client/sessions/test_selection.py",
        ("surplus = max(0, len(numbers) + 1 - MAX_SESSIONS)", "surplus = 0", "KeptTests::test_few"),
        ("if number not in kept]", "]", "KeptTests::test_few"),
        (
            "    records.delete(SKIPPED, bucket, number)\n\n\ndef all",
            "\n\ndef all",
            "tests/client/sessions/test_burden.py::SkippedTests::test_gone_with_the_session",
        ),
        (
            "archived = max(index.archived, records.last(TABLE, bucket))",
            "archived = index.archived",
            "tests/client/sessions/test_pqxdh.py::ChoiceTests::test_forget",
        ),
        ("sealed=0, generation=index.generation + 1)", "sealed=0)", "BothBeginTests::test_one_anew"),
    ),
    *guards(
        "client/sessions/guests.py",
        "tests/client/sessions/test_guests.py",
        (
            "if header.epoch != CONNECTION or header.introduction is not None or keys.guest_device(header.nonce) != "
            "sender.device:",
            "if header.introduction is not None or keys.guest_device(header.nonce) != sender.device:",
            "AttackTests::test_rules_at_the_contact",
        ),
        (
            "if header.epoch != CONNECTION or header.introduction is not None or keys.guest_device(header.nonce) != "
            "sender.device:",
            "if header.epoch != CONNECTION or keys.guest_device(header.nonce) != sender.device:",
            "AttackTests::test_rules_at_the_contact",
        ),
        (
            "if header.epoch != CONNECTION or header.introduction is not None or keys.guest_device(header.nonce) != "
            "sender.device:",
            "if header.epoch != CONNECTION or header.introduction is not None:",
            "AttackTests::test_nonce_of_its_own",
        ),
        (" or not pins.pinned_suite(records, conversation).key:", ":", "AdmissionTests::test_dismissed"),
        ("if entry[0] not in present)", ")", "ForgettingTests::test_silent_for_long"),
        ("(SHORT_GRACE if number < surplus else GRACE)", "SHORT_GRACE", "ForgettingTests::test_not_sooner"),
        ("(SHORT_GRACE if number < surplus else GRACE)", "GRACE", "ForgettingTests::test_too_many"),
    ),
    *guards(
        "client/sessions/peers.py",
        "tests/client/sessions/test_psk.py",
        ("        if header.epoch == CONNECTION:\n            raise WrongKey\n", "", "AttackTests::test_no_connection"),
        (
            "        if (header.epoch, header.nonce, header.introduction) != (CONNECTION, profile.connection, "
            "None):\n            raise WrongKey\n",
            "",
            "tests/client/sessions/test_guests.py::AttackTests::test_rules_at_the_guest",
        ),
        (
            '    if contacts.device(contact, sender.device) is None:\n        raise Refusal("unknown-device")\n',
            "",
            "AttackTests::test_removed_device",
        ),
        (
            " or abs(now - contact.checked_at) > CHECK_AGE:",
            ":",
            "tests/client/sending/test_outbox.py::RefusalTests::test_need_account",
        ),
    ),
    *guards(
        "client/sessions/pins.py",
        "tests/client/sessions/test_suites.py",
        ("if suite not in SUITES or cipher not in CIPHERS:", "if False:", "ChoiceTests::test_nonsense"),
        ("if len(key) != size:", "if False:", "ChoiceTests::test_nonsense"),
        ("quarantine.mark_for_retry(records, conversation.account)", "pass", "QuarantineTests::test_opened_with_key"),
    ),
    *guards(
        "client/sessions/psk.py",
        "tests/client/sessions/test_psk.py",
        ("if was_opened(records, sender, header.nonce, header.counter):", "if False:", "AttackTests::test_replayed"),
        ("    if not choice.key:\n", "    if False:\n", "OpeningTests::test_no_key"),
        ("check_size(content_key, KEY_SIZE)", "pass", "SealingTests::test_other_content_key"),
    ),
    *guards(
        "client/sessions/rsa.py",
        "tests/client/sessions/test_rsa.py",
        ("check_size(content_key, self._key_size)", "pass", "SealingTests::test_other_content_key"),
        ("    if public is None:\n", "    if False:\n", "SealingTests::test_no_rsa_key"),
        (" or conversation.kind is not ConversationKind.DIRECT:", ":", "OpeningTests::test_only_direct"),
        ("if known is None or known.identity != sender.identity:", "if known is None:", "OpeningTests::test_epochs_of_another"),
        (" or epoch.rsa_key != sha256(public):", ":", "SealingTests::test_new_epoch_for_another_key"),
        (
            "number = max(OWN_EPOCHS.next_number(records, recipient), now)",
            "number = OWN_EPOCHS.next_number(records, recipient)",
            "SealingTests::test_restored_state",
        ),
        (
            "number = max(OWN_EPOCHS.next_number(records, recipient), now)",
            "number = now",
            "SealingTests::test_new_epoch_by_count",
        ),
        ("    if own is None or", "    if", "OpeningTests::test_no_key_any_more"),
        ("if was_opened(records, sender, epoch.nonce, header.counter):", "if False:", "AttackTests::test_replayed"),
        (
            "if known.epochs and header.epoch <= known.epochs[-1].number:",
            "if False:",
            "AttackTests::test_lower_epoch",
        ),
        (
            "if known.epochs and header.epoch <= known.epochs[-1].number:",
            "if known.epochs and header.epoch < known.epochs[-1].number:",
            "AttackTests::test_same_number",
        ),
        (
            "keys.verify(pair.device.signing_key, header.transport.signature, RSA_TRANSPORT, *context)",
            "pass",
            "AttackTests::test_unsigned",
        ),
        ("budgets.note_unwrapped(records, pair.contact.name, now)", "pass", "AttackTests::test_budget"),
        ("[-KEPT:]", "", "AttackTests::test_replayed_transport"),
        ("version, *sender.parts, *recipient", "version, *recipient", "AttackTests::test_each_item"),
        ("*recipient.parts, rsa_key, number", "rsa_key, number", "AttackTests::test_each_item"),
        ("*recipient.parts, rsa_key, number", "*recipient.parts, number", "AttackTests::test_each_item"),
        (" number.to_bytes(8, \"big\"), ciphertext)", " ciphertext)", "AttackTests::test_each_item"),
        ("return (RSA.encode(), version,", "return (", "AttackTests::test_each_item"),
    ),
    *guards(
        "client/sessions/budgets.py",
        "tests/client/sessions/test_rsa.py",
        ("if budget.unwrapped >= MAX_UNWRAPPED:", "if False:", "AttackTests::test_budget"),
        (
            "if not _is_this_hour(budget.unwrapping_hour, now):",
            "if False:",
            "AttackTests::test_budget",
        ),
        (
            "charged = _charged(records, account)\n    budget = _budget(records, charged)\n    if not _is_this_hour(budget.unw",
            "charged = account\n    budget = _budget(records, charged)\n    if not _is_this_hour(budget.unw",
            "AttackTests::test_budget_of_strangers",
        ),
    ),
    *guards(
        "client/sessions/epochs.py",
        "tests/client/sessions/test_psk.py",
        ('        records.put(SEEN, _seen(sender, nonce), b"", counter)\n', "", "AttackTests::test_counter_twice"),
        (
            "length_prefixed(sender.account.encode(), sender.device, nonce)",
            "length_prefixed(sender.device, nonce)",
            "AttackTests::test_counters_of_each_device",
        ),
        (
            "length_prefixed(sender.account.encode(), sender.device, nonce)",
            "length_prefixed(sender.account.encode(), nonce)",
            "AttackTests::test_counters_of_each_device",
        ),
        ("if epoch.counter >= MAX_MESSAGES or", "if", "SealingTests::test_new_epoch_by_count"),
        (" or abs(now - epoch.began_at) >= LIFE", "", "SealingTests::test_new_epoch_by_time"),
        ("if epoch is None or epoch.is_over or", "if epoch is None or", "SealingTests::test_new_epoch_for_a_reset"),
        (
            "epoch.is_over or epoch.identity != recipient.identity",
            "epoch.is_over",
            "SealingTests::test_new_epoch_for_another_identity",
        ),
        ("version, *sender.parts, *recipient", "version, *recipient", "AttackTests::test_each_item"),
        ("*recipient.parts, header, common)", "header, common)", "AttackTests::test_each_item"),
        ("*recipient.parts, header, common)", "*recipient.parts, common)", "AttackTests::test_each_item"),
        ("*recipient.parts, header, common)", "*recipient.parts, header)", "AttackTests::test_each_item"),
        (
            "replace(epoch, has_replied=False, is_over=True)",
            "replace(epoch, has_replied=False)",
            "SealingTests::test_restored_state",
        ),
    ),
    *guards(
        "client/sessions/suites.py",
        "tests/client/sessions/test_pqxdh.py",
        (
            "    if recipient.contact.has_changed:\n        raise IdentityChanged(recipient.contact)\n",
            "",
            "tests/client/sessions/test_psk.py::SealingTests::test_blocked",
        ),
    ),
)
