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
    *guards(
        "server/shortinvites.py",
        "tests/server/test_shortinvites.py",
        ("if not connection.channel.connection.has_short_invites:", "if False:", "LimitTests::test_not_announced"),
        ("        self._directory.count(connection)\n", "", "LimitTests::test_counted"),
        ("            self._drop(replaced)\n", "            pass\n", "EndTests::test_replaced"),
        ("            self._drop(old)\n", "            pass\n", "EndTests::test_expired_forgotten"),
        ("if old.newcomer is None and not old", "if not old", "EndTests::test_awaited_kept"),
        ("if len(self._by_number) >= self._settings.max_short_invites:", "if False:", "LimitTests::test_too_many"),
        ("or found.inviter is not connection or", "or", "OnceTests::test_answer_of_another"),
        ("connection or found.newcomer is None:", "connection:", "OnceTests::test_answered_once"),
        ("        self._drop(found)\n        if message.sealed:", "        if message.sealed:", "PassingTests::test_passed"),
        ('if hello.role != "newcomer" or not', "if not", "LimitTests::test_role"),
        (
            'if hello.role != "newcomer" or not connection.channel.connection.has_short_invites:',
            'if hello.role != "newcomer":',
            "LimitTests::test_not_announced",
        ),
        ("self._by_number.get(found.number) is found and", "True and", "EndTests::test_replaced"),
        ("return self.newcomer is None and now", "return now", "OnceTests::test_two_at_once"),
        ("return self.newcomer is None and now < self.opened_at + CODE_LIFETIME", "return self.newcomer is None",
         "EndTests::test_expired"),
        ("        found.newcomer = connection\n", "", "OnceTests::test_burnt"),
        ("if self._failures.consume(EVERYBODY) else", "if True else", "LimitTests::test_failures"),
        ("            found.newcomer = None\n            self._drop(found)\n", "            pass\n",
         "OnceTests::test_newcomer_gone"),
        ("if own is not None and own.inviter is connection:", "if False:", "EndTests::test_inviter_gone"),
        ("if own is not None and own.inviter is connection:", "if own is not None:", "EndTests::test_other_device"),
        ("if number not in self._by_number]", "if True]", "NumberTests::test_few_digits"),
        ("free[int.from_bytes(keys.random_bytes(8), \"big\") % len(free)]", "free[0]", "NumberTests::test_random"),
        ("            newcomer.end(\"no-answer\")", "            pass", "EndTests::test_inviter_gone"),
    ),
    *guards(
        "server/core.py",
        "tests/server/test_shortinvites.py",
        ("        self._short_invites.left(connection)\n", "", "EndTests::test_inviter_gone"),
    ),
    *guards(
        "server/login.py",
        "tests/server/test_shortinvites.py",
        ('if hello.role in ("register", "newcomer"):', 'if hello.role == "register":', "LimitTests::test_role"),
    ),
)  # fmt: skip
