"""The guards of short invites, from the words to both ends and the server between them."""

from __future__ import annotations

from tests.mutate.mutation import Guard, guards

GUARDS: tuple[Guard, ...] = (
    *guards(
        "crypto/primitives.py",
        "tests/crypto/test_pake.py",
        ("if len(message) == SPAKE2_MESSAGE_SIZE:", "if True:", "ExchangeTests::test_no_message"),
        ("if len(seed) != SPAKE2_SEED_SIZE:", "if False:", "TranscriptTests::test_seed_size"),
        ("(password, idA=name_a, idB=name_b, ", "(password, ", "TranscriptTests::test_names"),
    ),
    *guards(
        "crypto/pake.py",
        "tests/crypto/test_pake.py",
        ("if not same(proof, self.proof()):", "if False:", "ExchangeTests::test_other_words"),
        ("(number.to_bytes(8, \"big\"), *both)", "both", "ExchangeTests::test_other_number"),
        ("_words: bytes = field(repr=False, eq=False)", "_words: bytes = field(eq=False)", "ExchangeTests::test_hidden"),
        ("_key: bytes = field(repr=False, eq=False)", "_key: bytes = field(eq=False)", "ExchangeTests::test_hidden"),
    ),
)
