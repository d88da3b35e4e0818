"""The guards that keep one address, or one account, from taking what is there for everybody."""

from __future__ import annotations

from tests.mutate.mutation import Guard, guards

GUARDS: tuple[Guard, ...] = (
    *guards(
        "daemon/service.py",
        "tests/functional/test_failures.py",
        ("**limit_settings(setup, limit),", "", "LimitTests::test_mailbox"),
    ),
    *guards(
        "daemon/options.py",
        "tests/daemon/test_limits.py",
        ("    if not least <= size <= most:\n", "    if False:\n", "OptionTests::test_bounds"),
    ),
    *guards(
        "daemon/limits.py",
        "tests/daemon/test_limits.py",
        ("max(1, connections // 2)", "connections", "OptionTests::test_half"),
        (" if count else None", "", "OptionTests::test_off"),
        ("min(setup.deposits_per_day, DEPOSIT_BURST)", "setup.deposits_per_day", "TableTests::test_defaults"),
    ),
    *guards(
        "server/addresses.py",
        "tests/server/test_addresses.py",
        ("        address = address.ipv4_mapped\n", "        pass\n", "SourceTests::test_families"),
        ('b"" if address.is_loopback else ', "", "SourceTests::test_here"),
        ("address.packed[:PREFIX_SIZE]", "address.packed", "CountTests::test_whole_network"),
        ("(most and self.open.get(source, 0) >= most)", "False", "CountTests::test_whole_network"),
        (
            " or not _take(self._connections, source):",
            ":",
            "tests/net/test_listener.py::AddressTests::test_made",
        ),
        ("                del self.open[source]\n", "                pass\n", "CountTests::test_tables_bounded"),
        ("self._seconds, self._settings.rate_keys)", "self._seconds, 10**6)", "CountTests::test_tables_bounded"),
    ),
    *guards(
        "server/mailbox.py",
        "tests/server/test_deposit.py",
        ("if is_for_contact and not", "if False and not", "ContactTests::test_flood"),
        (
            "                is_for_contact = True\n",
            "                is_for_contact = len(recipients) == 1\n",
            "ContactTests::test_among_others",
        ),
    ),
    *guards(
        "responders/pool.py",
        "tests/responders/test_pool.py",
        ("without_text(Failure()))", "Failure())", "PoolTests::test_bug"),
    ),
    *guards(
        "daemon/worker.py",
        "tests/daemon/test_worker.py",
        ("without_text(Failure()))", "Failure())", "WorkerTests::test_text"),
    ),
    *guards(
        "daemon/hosted.py",
        "tests/daemon/test_hosted.py",
        ("without_text(failure))", "failure)", "RequestTests::test_failing_tick"),
    ),
    *guards(
        "client/autoresponder.py",
        "tests/client/test_autoresponder.py",
        (
            "            self._turns.append(conversation)\n        else:\n",
            "            self._turns.appendleft(conversation)\n        else:\n",
            "SlowTests::test_flood",
        ),
    ),
    *guards(
        "server/login.py",
        "tests/server/test_addresses.py",
        ("        if not self._addresses.may_log_in(source):\n", "        if False:\n", "LoginTests::test_failed_logins"),
        ('            if error.code == "login-failed":\n', "            if True:\n", "LoginTests::test_other_refusals"),
        ("_addresses.count_failed_login(source)\n", "_addresses\n", "LoginTests::test_failed_logins"),
        (
            "        if not connection.is_local and not self._rate.consume(found[0].rate_key):\n",
            "        if False:\n",
            "LoginTests::test_logins_of_an_account",
        ),
    ),
    *guards(
        "server/registration.py",
        "tests/server/test_addresses.py",
        (
            "        if not self._addresses.count_registration(connection.channel.source):\n",
            "        if False:\n",
            "LoginTests::test_registrations",
        ),
    ),
    *guards(
        "net/listener.py",
        "tests/net/test_listener.py",
        ("        if source is None:\n", "        if False:\n", "AddressTests::test_open"),
        ("        self._gate.leave(stream.source)\n", "", "AddressTests::test_open"),
        ("            self._options.on_hangup(ADDRESS_LIMIT)\n", "", "AddressTests::test_open"),
    ),
    *guards(
        "net/stream.py",
        "tests/net/test_bounds.py",
        ("wanted = self._wants_pause and self.connection.is_full", "wanted = False", "TlsBoundTests::test_unanswered"),
        ("        if self._wants_pause:\n            self._bound_reading()\n", "", "QuicBoundTests::test_unanswered"),
    ),
    *guards(
        "server/connection.py",
        "tests/net/test_bounds.py",
        ("            self.pause(FULL)\n", "", "TlsBoundTests::test_slow_reader"),
        ("            self.pause(BUSY)\n", "            pass\n", "TlsBoundTests::test_unanswered"),
    ),
    *guards(
        "net/udp.py",
        "tests/net/test_quic.py",
        ("        if source is None:\n", "        if False:\n", "SourceTests::test_open"),
        ("            self._gate.leave(source)\n", "", "SourceTests::test_no_room"),
        ("            self._gate.leave(wire.source)\n", "            pass\n", "SourceTests::test_open"),
        ("        stream.source = wire.source = source\n", "        wire.source = source\n", "SourceTests::test_source"),
    ),
)
