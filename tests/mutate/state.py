"""The guards of client/state: contacts, counters, invites, quarantine."""

from __future__ import annotations

from tests.mutate.mutation import Guard, guards

GUARDS: tuple[Guard, ...] = (
    *guards(
        "client/state/integrity.py",
        "tests/client/test_trustcheck.py",
        (' or known.get((table, bucket), b"") != before:', ":", "TrustTests::test_changed_in_between"),
    ),
    *guards(
        "client/state/contacts.py",
        "tests/client/state/test_contacts.py",
        ("if record.identity != known.identity:", "if False:", "AdoptTests::test_substituted_identity"),
        (
            "    if listing.version < known.version:\n        raise",
            "    if False:\n        raise",
            "AdoptTests::test_rolled_back",
        ),
        ("if listing.version == known.version and digest != known.digest:", "if False:", "AdoptTests::test_forked"),
        (
            "if listing.version == known.version + 1 and known.version and listing.previous != known.digest:",
            "if False:",
            "AdoptTests::test_follows_another",
        ),
        ("verified=known.verified and not added,", "verified=known.verified,", "AdoptTests::test_new_device"),
        ("unannounced=known.unannounced or bool(added),", "unannounced=known.unannounced,", "AdoptTests::test_new_device"),
        ("if device.id in added.union(known.unconfirmed)", "if device.id in known.unconfirmed", "AdoptTests::test_new_device"),
        (
            "before.get(device.keys, b\"\")",
            "{row[0]: None for row in before}.get(device.id, b\"\")",
            "AdoptTests::test_other_keys",
        ),
        ("not in (None, device.rsa_key)", "== b\"\"", "AdoptTests::test_other_rsa_key"),
        ("return digest if device.rsa_key is None else", "return digest or", "AdoptTests::test_other_rsa_key"),
        ("    if origin == DIRECTORY:\n", "    if True:\n", "AdoptTests::test_claim_taken_back"),
        (
            "    if origin == DIRECTORY:\n",
            "    if origin == DIRECTORY or not known.changed_to:\n",
            "AdoptTests::test_message_is_no_check",
        ),
        (
            "if seen is not None and seen.digest != keys.sha256(record.devices.body):",
            "if False:",
            "tests/client/sessions/test_attacks.py::OpeningTests::test_forked_list",
        ),
        (
            "keys.digest(offered(self), *(() if self.is_blocked else fresh))",
            "keys.digest(offered(self))",
            "tests/client/state/test_verification.py::AcceptTests::test_new_device",
        ),
        (
            "fresh = [_keys_digest(device) for",
            "fresh = [device.id for",
            "tests/client/state/test_verification.py::AcceptTests::test_exchanged_keys",
        ),
        (
            "return contact.changed_to or contact.identity",
            "return contact.identity",
            "tests/client/state/test_verification.py::AcceptTests::test_safety_number",
        ),
        (
            "return now - decode_device_list(contact.devices.body).issued_at >= LIST_WARNING",
            "return False",
            "tests/client/state/test_old_list.py::OldListTests::test_withheld",
        ),
        (
            "if earlier is not None and decode_device_list(earlier.body).version > listing.version:",
            "if False:",
            "AdoptTests::test_claim_not_rolled_back",
        ),
        ("if record.name == profile.name:", "if False:", "AdoptTests::test_own_account"),
        ("    check_name(record.name)\n", "", "AdoptTests::test_illegal_name"),
    ),
    *guards(
        "client/state/lists.py",
        "tests/client/state/test_contacts.py",
        (
            "keys.verify(identity, signed.signature, DEVICE_LIST_LABEL, signed.body)",
            "pass",
            "AdoptTests::test_resigned_by_another",
        ),
        (
            "if listing.account != account or listing.server != server:",
            "if listing.server != server:",
            "AdoptTests::test_other_account",
        ),
        (
            "if listing.account != account or listing.server != server:",
            "if listing.account != account:",
            "AdoptTests::test_other_server",
        ),
        (
            "if len(listing.previous) != (DIGEST_SIZE if listing.version > 1 else 0):",
            "if False:",
            "AdoptTests::test_follows_none",
        ),
        (
            "if not all(keys.are_device_keys(row.signing_key, row.agreement_key, row.rsa_key) for row in listing.devices):",
            "if False:",
            "AdoptTests::test_no_keys",
        ),
    ),
    *guards(
        "client/state/verification.py",
        "tests/client/state/test_verification.py",
        (
            "identity=contact.changed_to,\n        verified=False,",
            "identity=contact.changed_to,\n        verified=contact.verified,",
            "AcceptTests::test_new_identity",
        ),
        ('if contact.shown_claim not in (b"", contact.changed_to):', "if False:", "AcceptTests::test_not_the_one_shown"),
        ('        shown_claim=b"",\n', "", "AcceptTests::test_not_the_one_shown"),
        ("        checked_at=0,\n        first_seen=now,", "        first_seen=now,", "AcceptTests::test_new_identity"),
        (
            '    if contact.is_blocked:\n        raise Refusal("identity-changed")',
            '    if False:\n        raise Refusal("identity-changed")',
            "AcceptTests::test_confirm_before_accept",
        ),
        ('if digits and digits != safety(profile, contact).replace(" ", ""):', "if False:", "AcceptTests::test_digits"),
        (
            "if contact.shown_comparison != contact.comparison and (contact.unconfirmed or not digits):",
            "if False:",
            "AcceptTests::test_not_shown",
        ),
        (
            "if contact.shown_comparison != contact.comparison and (contact.unconfirmed or not digits):",
            "if contact.shown_comparison != contact.comparison and not digits:",
            "AcceptTests::test_new_device",
        ),
    ),
    *guards(
        "client/state/gaps.py",
        "tests/client/receiving/test_inbox.py",
        ("gap = max(min(missing, room), 0)", "gap = missing", "StreamTests::test_continued_bounded"),
        (
            "min(MAX_GAPS - len(records.scan(COUNTERS, GAPS + stream)), MAX_CONVERSATION_GAPS - taken)",
            "MAX_GAPS - len(records.scan(COUNTERS, GAPS + stream))",
            "StreamTests::test_bounded",
        ),
        ("is_forked = is_forked or _differ(start.digest, content.previous)", "pass", "StreamTests::test_forked"),
        (
            "forked = _differ(gap.digest, digest) or _differ(gap.before, content.previous)",
            "forked = _differ(gap.before, content.previous)",
            "StreamTests::test_forked_late",
        ),
        (
            "forked = _differ(gap.digest, digest) or _differ(gap.before, content.previous)",
            "forked = _differ(gap.digest, digest)",
            "StreamTests::test_forked_before",
        ),
        (
            "for back, end in reversed([*enumerate(content.continues, 1)]):",
            "for back, end in ():",
            "StreamTests::test_continued_past_a_gap",
        ),
        (
            "    if before_us == end.counter:\n        return 0, 0, False\n",
            "",
            "StreamTests::test_continued_elsewhere",
        ),
        (
            "InStream(before_us, ended",
            "InStream(ended",
            "StreamTests::test_continued_in_part",
        ),
        (
            "return gap, lost, end.counter == before.highest and _differ(end.digest, before.digest)",
            "return gap, lost, False",
            "StreamTests::test_continued_forked",
        ),
        ("    records.delete(COUNTERS, bucket, seq - MAX_RESET_STREAMS)\n", "", "StreamTests::test_many_incarnations"),
        (
            'note="forked" if is_forked else "late" if start.ended else ""',
            'note="forked" if is_forked else ""',
            "StreamTests::test_late_from_before",
        ),
    ),
    *guards(
        "client/state/counters.py",
        "tests/client/state/test_counters.py",
        ("if begin is None or here < begin:", "if True:", "ShareTests::test_old_device"),
        ("if begin is None or here < begin:", "if begin is None:", "ShareTests::test_sealed_again"),
        ("if base is None or back < base.back:", "if base is None:", "ShareTests::test_far_back"),
        ("return min(base.counter, last) if back == base.back else last", "return base.counter", "ShareTests::test_new_device"),
        (
            "return min(base.counter, last) if",
            "return base.counter if",
            "tests/client/receiving/test_inbox.py::StreamTests::test_base_beyond",
        ),
    ),
    *guards(
        "client/state/invites.py",
        "tests/client/state/test_invites.py",
        ("elif known.identity == identity:", "elif True:", "InviteTests::test_other_invite"),
        (
            "known, verified=not known.unconfirmed, known=True",
            "known, verified=True, known=True",
            "InviteTests::test_new_device",
        ),
        (
            "if not name or not identity or name == profile.name:",
            "if not name or not identity:",
            "InviteTests::test_own_invite",
        ),
        ("            records.delete(META, SECRETS, order)\n            known", "            known", "JoinTests::test_once"),
        ("            verified = not known.unconfirmed\n", "            verified = True\n", "JoinTests::test_added_device"),
        ("if deposited_at <= kept.expires_at + GRACE and ", "if ", "JoinTests::test_expired"),
        ("if kept.expires_at + KEPT <= now or index", "if index", "SecretTests::test_kept"),
        (" or index < len(rows) - room:", ":", "SecretTests::test_bounded"),
        ("    rows.sort(key=lambda row: row[1].expires_at > now)\n", "", "SecretTests::test_bounded"),
        (
            "if inviter is None or inviter.identity != link.inviter_identity:",
            "if inviter is None:",
            "SecretTests::test_other_identity",
        ),
        (" and keys.same(body, proof(kept.secret, *ends)):", ":", "JoinTests::test_without_secret"),
        ("    save_number(records, META, WRONG, wrong_proofs(records) + 1)\n", "", "JoinTests::test_once"),
    ),
    *guards(
        "client/state/ownlist.py",
        "tests/client/test_devices.py",
        (
            "keys.verify(profile.identity.public, record.devices.signature, DEVICE_LIST_LABEL, record.devices.body)",
            "pass",
            "OwnTests::test_not_signed_by_us",
        ),
        (" or listing.version == MAX_VERSION:", ":", "OwnTests::test_last_version"),
        (
            "if (listing.account, listing.server) != (profile.name, profile.pin)",
            "if listing.server != profile.pin",
            "OwnTests::test_of_another",
        ),
        (
            "if (listing.account, listing.server) != (profile.name, profile.pin)",
            "if listing.account != profile.name",
            "OwnTests::test_of_another",
        ),
        (
            "others = [device for device in listing.devices if device.keys not in known]",
            "others = [device for device in listing.devices if device.id not in {row[0] for row in known}]",
            "OwnTests::test_other_key",
        ),
        (
            "    if listing.version < profile.listing.version:\n",
            "    if False:\n",
            "RestoredServerTests::test_removed_device",
        ),
        (
            "return [device for device in others if device.keys != ",
            "return [device for device in () if device.keys != ",
            "OwnTests::test_other_device_replaced",
        ),
        (" or rows[device.id].device != device:", ":", "ChangeTests::test_same_id"),
        ("[-MAX_DEVICES:]", "", "ChangeTests::test_bounded"),
    ),
    *guards(
        "client/state/quarantine.py",
        "tests/client/state/test_quarantine.py",
        ("if totals.rows >= MAX_ROWS or totals.size", "if totals.size", "BoundTests::test_rows"),
        (" or totals.size + size > MAX_SIZE", "", "BoundTests::test_bytes"),
        (" or peer.rows >= MAX_PEER_ROWS:", ":", "tests/client/sessions/test_resets.py::QuarantineTests::test_bounds"),
        (
            "(row.device == device and row.code in MENDABLE)",
            "(row.device == device)",
            "tests/client/receiving/test_retry.py::RetryTests::test_what_a_session_mends",
        ),
        (
            "(row.device == device and row.code in MENDABLE)",
            "(row.code in MENDABLE)",
            "tests/client/receiving/test_retry.py::RetryTests::test_of_that_device",
        ),
        (
            "return now - row.at > (AGE if row.code in HELD else SETTLED_AGE)",
            "return False",
            "tests/client/sessions/test_resets.py::LostSessionTests::test_quarantine_forgets",
        ),
        (
            "(AGE if row.code in HELD else SETTLED_AGE)",
            "SETTLED_AGE",
            "tests/client/sessions/test_suites.py::QuarantineTests::test_patience",
        ),
        (
            "name.encode(), after, PAGE)",
            "name.encode(), after)",
            "tests/client/receiving/test_retry.py::RetryTests::test_a_page",
        ),
    ),
    *guards(
        "client/state/receipts.py",
        "tests/client/sending/test_receipts.py",
        ('or b"", "big")) < REPEAT_PAUSE:', 'or b"", "big")) < 0:', "ReceiptTests::test_repeated"),
        (
            "if policy is Policy.NOBODY or (policy is Policy.KNOWN and not is_known):",
            "if policy is Policy.KNOWN and not is_known:",
            "PolicyTests::test_nobody",
        ),
        (
            "if policy is Policy.NOBODY or (policy is Policy.KNOWN and not is_known):",
            "if policy is Policy.NOBODY:",
            "PolicyTests::test_strangers",
        ),
        (
            "return Policy.EVERYBODY if profile.name == SERVER_NAME else Policy.KNOWN",
            "return Policy.EVERYBODY",
            "PolicyTests::test_strangers",
        ),
        (
            "if found is None or found[0].conversation != conversation:",
            "if found is None:",
            "ReceiptTests::test_only_by_recipient",
        ),
    ),
    *guards(
        "client/state/vault.py",
        "tests/storage/test_vault.py",
        ("if len(store_key) != KEY_SIZE:", "if False:", "SealerTests::test_key_size"),
        ("if passphrase is not None:\n            raise", "if False:\n            raise", "VaultFileTests::test_unneeded"),
        ("cost: Annotated[int, Meta(ge=LOWEST_COST, le=HIGHEST_COST)]", "cost: int", "VaultFileTests::test_costs_bounded"),
    ),
    *guards(
        "client/state/profile.py",
        "tests/client/state/test_profile.py",
        (
            "max(_new_incarnation(highest), profile.incarnation + 1)",
            "_new_incarnation(highest)",
            "ProfileTests::test_later_incarnation",
        ),
        ("return now - profile.listing.issued_at >= LIST_AGE", "return False", "ProfileTests::test_due"),
    ),
    *guards(
        "client/state/records.py",
        "tests/client/receiving/test_inbox.py",
        (
            'return MESSAGE + account.encode("utf-8") + b"/" + message_id',
            "return MESSAGE + message_id",
            "SenselessTests::test_id_of_another",
        ),
    ),
    *guards(
        "client/state/retention.py",
        "tests/client/state/test_retention.py",
        ("            if waiting.sealed:\n                return False\n", "", "RetentionTests::test_on_its_way"),
        (
            "    elif records.get(INBOUND, ROWS, seq) is not None:\n        return False\n",
            "",
            "RetentionTests::test_not_answered_yet",
        ),
        ("surplus = records.count(HISTORY, bucket) - self.rows", "surplus = 0", "RetentionTests::test_at_most"),
    ),
)
