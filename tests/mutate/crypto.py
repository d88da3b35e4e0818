"""The guards of crypto: primitives, keys, PQXDH and the ratchet."""

from __future__ import annotations

from tests.mutate.mutation import Guard, guards

GUARDS: tuple[Guard, ...] = (
    *guards(
        "crypto/primitives.py",
        "tests/crypto/test_primitives.py",
        (
            "len(public) == KEY_SIZE and u < FIELD and u not in SMALL_U",
            "u < FIELD and u not in SMALL_U",
            "AgreementTests::test_wrong_size",
        ),
        (
            "len(public) == KEY_SIZE and u < FIELD and u not in SMALL_U",
            "len(public) == KEY_SIZE and u not in SMALL_U",
            "AgreementTests::test_not_canonical",
        ),
        (
            "len(public) == KEY_SIZE and u < FIELD and u not in SMALL_U",
            "len(public) == KEY_SIZE and u < FIELD",
            "AgreementTests::test_low_order",
        ),
        ("if not is_x25519_key(public):", "if False:", "AgreementTests::test_low_order"),
        (
            "len(public) == KEY_SIZE and y < FIELD and y not in SMALL_Y",
            "len(public) == KEY_SIZE and y not in SMALL_Y",
            "SignatureTests::test_not_canonical",
        ),
        (
            "len(public) == KEY_SIZE and y < FIELD and y not in SMALL_Y",
            "len(public) == KEY_SIZE and y < FIELD",
            "SignatureTests::test_small_order",
        ),
        ("if not is_ed25519_key(public):", "if False:", "SignatureTests::test_small_order"),
        ("_verifier(public).verify(signature, message)", "_verifier(public)", "SignatureTests::test_every_change"),
        ("if len(ciphertext) != KEM_CIPHERTEXT_SIZE:", "if False:", "AgreementTests::test_kem_wrong_size"),
        (
            "if not equal(tag, _tag(authentication_key, digest, body, associated_data)):",
            "if False:",
            "EncryptionTests::test_every_change",
        ),
        ("if not data or len(data) % BLOCK_SIZE or len(iv) != BLOCK_SIZE:", "if False:", "EncryptionTests::test_cbc_padding"),
        (
            "if not 1 <= fill <= BLOCK_SIZE or padded[-fill:] != padded[-1:] * fill:",
            "if not 1 <= fill <= BLOCK_SIZE:",
            "EncryptionTests::test_cbc_padding",
        ),
        (
            "if not 1 <= fill <= BLOCK_SIZE or padded[-fill:] != padded[-1:] * fill:",
            "if padded[-fill:] != padded[-1:] * fill:",
            "EncryptionTests::test_cbc_padding",
        ),
        ("    if len(key) != KEY_SIZE:", "    if False:", "EncryptionTests::test_cbc_key_size"),
        ("if len(key) != 2 * size:", "if False:", "EncryptionTests::test_composite_key_size"),
        ("associated_data + body + bits", "associated_data + body", "EncryptionTests::test_shifted_boundary"),
        (
            "chosen = random_bytes(BLOCK_SIZE) if iv is None else iv",
            "chosen = bytes(BLOCK_SIZE) if iv is None else iv",
            "EncryptionTests::test_equal_texts",
        ),
        ("nonce = random_bytes(NONCE_SIZE)", "nonce = bytes(NONCE_SIZE)", "EncryptionTests::test_equal_texts"),
    ),
    *guards(
        "crypto/primitives.py",
        "tests/crypto/test_rsa.py",
        ("    if bits not in RSA_SIZES:", "    if False:", "LibraryTests::test_size"),
        (" and key.e == RSA_EXPONENT", "", "PublicKeyTests::test_numbers"),
        (" and key.size_in_bits() in RSA_SIZES", "", "PublicKeyTests::test_numbers"),
        ("return is_ours and key.export_key(\"DER\") == public", "return is_ours", "PublicKeyTests::test_form"),
        ("    if not is_rsa_key(public):", "    if False:", "PublicKeyTests::test_numbers"),
        (" if len(opened) == KEY_SIZE else secret", "", "VectorTests::test_other_length"),
        ("ValueError:\n        return secret\n", "ValueError:\n        raise\n", "VectorTests::test_invalid"),
    ),
    *guards(
        "crypto/keys.py",
        "tests/crypto/test_rsa.py",
        (" and (rsa_key is None or is_rsa_key(rsa_key))", "", "PublicKeyTests::test_device_keys"),
    ),
    *guards(
        "crypto/ratchet.py",
        "tests/crypto/test_ratchet.py",
        ("if self.jump(header) > MAX_JUMP:", "if False:", "LimitTests::test_jump_over_two_chains"),
        ("if number - self.received > MAX_JUMP:", "if False:", "LimitTests::test_jump"),
        ("if number < self.received:", "if False:", "AttackTests::test_replayed"),
        ("if self.skipped.knows(header.public):", "if False:", "AttackTests::test_replayed_of_incomplete_chain"),
        ("if not self.may_step:", "if False:", "AttackTests::test_answer_to_nothing"),
        ("        if self.receiving is None:\n", "        if False:\n", "ConversationTests::test_knows_no_prekey"),
        ("if len(peer_ratchet_public) != KEY_SIZE:", "if False:", "LimitTests::test_own_keys_checked"),
        (
            "if not primitives.equal(tag, primitives.hmac_sha256(authentication_key, associated_data + ciphertext)):",
            "if False:",
            "AttackTests::test_every_change",
        ),
        ("            return self.receiving is not None", "            return True", "ConversationTests::test_knows_no_prekey"),
        (
            "own_private=None,\n            own_public=None,\n            sending=None,",
            "sending=None,",
            "AttackTests::test_no_ratchet_key_is_left",
        ),
        ("if key is None or len(key) != KEY_SIZE:", "if key is None:", "LimitTests::test_own_keys_checked"),
        ("return replace(self, skipped=skipped), message_key", "return self, message_key", "AttackTests::test_replayed"),
    ),
    *guards(
        "crypto/skipped.py",
        "tests/crypto/test_skipped.py",
        ("[-MAX_CHAINS:]", "", "SkippedKeysTests::test_oldest_chain_discarded"),
        (
            "surplus = sum(len(chain.keys) for chain in chains) - MAX_SKIPPED",
            "surplus = 0",
            "SkippedKeysTests::test_oldest_keys_discarded",
        ),
        ("taken = keys.pop(number)", "taken = keys[number]", "SkippedKeysTests::test_take_once"),
    ),
    *guards(
        "crypto/dump.py",
        "tests/crypto/test_dump.py",
        (
            "if ratchet.sending is not None and None in (ratchet.own_private, ratchet.own_public, "
            "ratchet.peer_public):",
            "if False:",
            "DumpTests::test_impossible",
        ),
        (
            "tuple[Annotated[int, msgspec.Meta(ge=FORMAT, le=FORMAT)], Ratchet]",
            "tuple[int, Ratchet]",
            "DumpTests::test_impossible",
        ),
    ),
    *guards(
        "crypto/keys.py",
        "tests/crypto/test_keys.py",
        ('for piece in (len(part).to_bytes(4, "big"), part)', "for piece in (part,)", "LengthPrefixedTests::test_unambiguous"),
        (
            'LAST_RESORT_PREKEY = b"securemsg/1 last-resort kem prekey"',
            "LAST_RESORT_PREKEY = KEM_PREKEY",
            "tests/crypto/test_pqxdh.py::BundleTests::test_last_resort_disguised",
        ),
        (
            'ONE_TIME_PREKEY = b"securemsg/1 one-time prekey"',
            "ONE_TIME_PREKEY = SIGNED_PREKEY",
            "tests/crypto/test_pqxdh.py::BundleTests::test_swapped",
        ),
        (
            'length_prefixed(SAFETY_NUMBER, identity, name.encode("utf-8"))',
            "length_prefixed(SAFETY_NUMBER, identity)",
            "NameTests::test_safety_number_depends",
        ),
        (
            "digest(KEY_CONNECTION, client_nonce, server_nonce, exporter)",
            "digest(KEY_CONNECTION, client_nonce, server_nonce)",
            "NameTests::test_connection_nonce",
        ),
        (
            "digest(KEY_CONNECTION, client_nonce, server_nonce, exporter)",
            "digest(KEY_CONNECTION, server_nonce, exporter)",
            "NameTests::test_connection_nonce",
        ),
        (
            "return is_ed25519_key(signing_key) and is_x25519_key(agreement_key) and",
            "return is_ed25519_key(signing_key) and",
            "tests/server/test_directory.py::DirectoryTests::test_no_keys",
        ),
        (
            "return is_ed25519_key(signing_key) and is_x25519_key(agreement_key) and",
            "return is_x25519_key(agreement_key) and",
            "tests/server/test_directory.py::DirectoryTests::test_no_keys",
        ),
    ),
    *guards(
        "crypto/pqxdh.py",
        "tests/crypto/test_pqxdh.py",
        (
            "if len(self.key) != _KEY_SIZES[label] or not 0 < self.id < 2 ** (8 * PREKEY_ID_SIZE):",
            "if not 0 < self.id < 2 ** (8 * PREKEY_ID_SIZE):",
            "BundleTests::test_other_size",
        ),
        (
            "if len(self.key) != _KEY_SIZES[label] or not 0 < self.id < 2 ** (8 * PREKEY_ID_SIZE):",
            "if len(self.key) != _KEY_SIZES[label]:",
            "BundleTests::test_other_id",
        ),
        (
            "if len(self.key) == primitives.KEY_SIZE and not primitives.is_x25519_key(self.key):",
            "if False:",
            "BundleTests::test_small_order",
        ),
        ("verify(device, self.signature, label, _encode_id(self.id), self.key)", "pass", "BundleTests::test_other_signature"),
        ("self.signed.verify(device, SIGNED_PREKEY)", "pass", "BundleTests::test_other_device"),
        (
            "self.kem.verify(device, LAST_RESORT_PREKEY if self.kem_is_last_resort else KEM_PREKEY)",
            "pass",
            "BundleTests::test_other_device",
        ),
        ("self.one_time.verify(device, ONE_TIME_PREKEY)", "pass", "BundleTests::test_other_device"),
        (
            "(kem_label, bundle.kem), (ONE_TIME_PREKEY, bundle.one_time)):",
            "(kem_label, bundle.kem)):",
            "BundleTests::test_one_time_withheld",
        ),
    ),
    *guards(
        "crypto/keyfile.py",
        "tests/crypto/test_keyfile.py",
        ("if len(value) != SECRET_SIZE:", "if False:", "SharedKeyTests::test_size"),
        (
            "secret: bytes = field(repr=False, eq=False)",
            "secret: bytes = field(eq=False)",
            "SharedKeyTests::test_no_secret_in_representation",
        ),
    ),
)
