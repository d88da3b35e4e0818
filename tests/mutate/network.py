"""Guards of the network edge: QUIC and the routes to a server."""

from __future__ import annotations

from tests.mutate.mutation import Guard, guards

GUARDS: tuple[Guard, ...] = (
    *guards(
        "net/control.py",
        "tests/net/test_control.py",
        (" if user in (0, os.getuid()) else None", "", "CredentialTests::test_other_user"),
    ),
    *guards(
        "net/quic.py",
        "tests/net/test_quic.py",
        (".sent = 0 if self._is_client else 1\n", ".sent = 128\n", "HandshakeTests::test_second_stream"),
        (
            "            stream.max_stream_data_local = self.taken + self.window\n",
            "            stream.max_stream_data_local *= 2\n",
            "tests/net/test_transports.py::QuicTests::test_window",
        ),
        (
            "        super()._replenish_connection_ids()\n        self._set_reset_tokens()\n",
            "        super()._replenish_connection_ids()\n",
            "ResetTests::test_after_changed_id",
        ),
        ("_local_max_streams_uni.sent = 0\n", "_local_max_streams_uni.sent = 128\n", "HandshakeTests::test_one_way_stream"),
        ("        self.tls._supported_groups = [Group.X25519]\n", "", "HandshakeTests::test_other_group"),
        ("> 2 * ACKS_KEPT:", "> 10**6:", "PathTests::test_idle_for_long"),
        ("        is_patchy = sum(len", "        is_patchy = 0 > sum(len", "HoleTests::test_stream"),
        ("for receiver in receivers) > MAX_GAPS", "for receiver in handshake) > MAX_GAPS", "HoleTests::test_stream"),
        ("len(receiver._buffer) > MAX_HANDSHAKE", "False", "HoleTests::test_handshake_ahead"),
        ("max_stream_data=WINDOW if is_client else FIRST_WINDOW", "max_stream_data=WINDOW", "HoleTests::test_first_window"),
        ('logging.getLogger("quic").propagate = False\n', "", "HandshakeTests::test_second_stream"),
    ),
    *guards(
        "net/quicwire.py",
        "tests/net/test_quic.py",
        (
            "while self._waiting and not self._is_paused and",
            "while self._waiting and",
            "tests/net/test_transports.py::QuicTests::test_paused",
        ),
        ("self._is_closing = self._is_closing or is_end", "pass", "HandshakeTests::test_ended_half"),
        ("    except OSError:\n        return\n", "    except EOFError:\n        return\n", "SocketTests::test_refused"),
        ("        if self.state.is_reset(datagram):\n", "        if False:\n", "ResetTests::test_told"),
        (
            "                self.state.window = WINDOW\n",
            "                pass\n",
            "HoleTests::test_later_window",
        ),
        (
            "if self._is_closing and (self._is_aborted or not self.state.unsent):",
            "if self._is_closing:",
            "tests/net/test_transports.py::QuicTests::test_close",
        ),
        ("case events.StreamReset() | events.StopSendingReceived():", "case None:", "HandshakeTests::test_stopped"),
        ("            due = min(due, self._ping_due)\n", "            pass\n", "PathTests::test_kept_alive"),
        (
            "        return max(self.state.active_at, self._pinged_at) + KEEP_ALIVE\n",
            "        return self._clock.seconds() + KEEP_ALIVE\n",
            "PathTests::test_kept_alive_by_us",
        ),
        (
            "                self._producer.pauseProducing()\n",
            "                pass\n",
            "tests/net/test_transports.py::QuicTests::test_full",
        ),
    ),
    *guards(
        "net/stream.py",
        "tests/net/test_transports.py",
        ("self._options.post_quantum and not", "False and not", "QuicTests::test_post_quantum"),
        ("is_post_quantum(self.link.group)", "False", "TlsTests::test_post_quantum"),
    ),
    *guards(
        "net/listener.py",
        "tests/net/test_listener.py",
        ("len(self.open) + self.others() >= self._limit", "len(self.open) >= self._limit", "LimitTests::test_beyond"),
        ("len(self.open) + self.others() >= self._limit", "self.others() >= self._limit", "LimitTests::test_beyond"),
        ("        self.open.discard(stream)\n", "", "LimitTests::test_beyond"),
        (
            "            probe.bind((host, port))\n",
            "            probe.bind((host, port))\n            probe.listen(1)\n",
            "PortTests::test_never_listens",
        ),
        (
            "if is_stock or not IS_AVAILABLE:",
            "if is_stock:",
            "tests/functional/test_tls_transports.py::EpollTests::test_no_epoll",
        ),
    ),
    *guards(
        "daemon/service.py",
        "tests/functional/test_udp.py",
        ("            self._public.others = self._udp_count\n", "", "SharedTests::test_limit"),
        ("            count = partial(len, self._public.open)\n", "            count = int\n", "SharedTests::test_limit"),
    ),
    *guards(
        "net/udp.py",
        "tests/net/test_quic.py",
        ("elif not header.token:", "elif False:", "AddressTests::test_retry_first"),
        (
            "            except ValueError:\n                return\n            self._open",
            '            except ValueError:\n                original = b""\n            self._open',
            "AddressTests::test_spoofed_source",
        ),
        ("len(datagram) >= SMALLEST_FIRST and", "", "AddressTests::test_other_version"),
        ("header.packet_type is not QuicPacketType.VERSION_NEGOTIATION", "True", "AddressTests::test_other_version"),
        ("len(self._open) + self._others() >= self._limit", "len(self._open) >= self._limit", "LimitTests::test_shared"),
        ("len(self._open) + self._others() >= self._limit", "False", "LimitTests::test_open"),
        ("if len(self._in_handshake) >= max(1, self._limit // HANDSHAKE_SHARE):", "if False:", "LimitTests::test_half_open"),
        ("self._drop(next(iter(self._in_handshake)))", "return", "LimitTests::test_half_open"),
        (
            "if handed.family not in (socket.AF_INET, socket.AF_INET6) or handed.type != socket.SOCK_DGRAM:",
            "if False:",
            "SocketTests::test_handed",
        ),
        ("min(len(datagram) - 1, LONGEST_RESET)", "LONGEST_RESET", "ResetTests::test_guessed_id"),
    ),
    *guards(
        "net/quicendpoint.py",
        "tests/net/test_quicendpoint.py",
        (
            "            self._calls.append(self._reactor.callLater(ATTEMPT_DELAY, self._try_next))\n",
            "            pass\n",
            "EndpointTests::test_second",
        ),
        ("callLater(CONNECT_TIME, self._fail", "callLater(2 * CONNECT_TIME, self._fail", "EndpointTests::test_none"),
        ("                client.wire.stop()\n", "                pass\n", "EndpointTests::test_cancelled"),
        ("            client.close()\n            self._lost(", "            self._lost(", "EndpointTests::test_lost"),
        ("Deferred(lambda done: self._end())", "Deferred()", "EndpointTests::test_cancelled"),
    ),
    *guards(
        "net/dialer.py",
        "tests/net/test_dialer.py",
        (
            "maybeDeferred(lambda: self._make().endpoint.connect(protocolFactory))",
            "self._make().endpoint.connect(protocolFactory)",
            "LaterTests::test_not_made",
        ),
        ("    make = cache(make)\n", "", "LaterTests::test_later"),
    ),
    *guards(
        "net/dialer.py",
        "tests/net/test_race.py",
        (
            "for attempt in list(self._attempts):\n            self._cancel(attempt)",
            "for attempt in self._attempts:\n            self._cancel(attempt)",
            "RaceTests::test_stopped_early",
        ),
        ("            winner.stream.expire(False)\n", "            pass\n", "LoginTests::test_silent"),
        (
            "if wanted is not None and not self._failures:",
            "if wanted is not None:",
            "tests/net/test_dialer.py::AgainTests::test_told_when",
        ),
        (
            "if wanted is not None and not self._failures:",
            "if False:",
            "tests/net/test_dialer.py::AgainTests::test_told_when",
        ),
        ("        if self._spare and self._active:\n", "        if False:\n", "LoginTests::test_silent"),
        ("            if code and self._first_code is not None:\n", "            if False:\n", "LoginTests::test_no_better"),
        (
            "        self._active = False\n        self._decide()\n",
            "        self._active = False\n",
            "LoginTests::test_given_up",
        ),
        ("        self._decide()\n        self._failures,", "        self._failures,", "LoginTests::test_logged_in"),
        ("                attempt.stream.expire(False)\n", "                pass\n", "RaceTests::test_first_wins"),
        ("        if attempt not in self._attempts:\n            return\n", "", "RaceTests::test_first_wins"),
        (
            "                self._cancel(other)\n                self._begin(other)\n",
            "                pass\n",
            "RaceTests::test_no_head_start",
        ),
    ),
    *guards(
        "net/stream.py",
        "tests/net/test_stream.py",
        ("retry_after if self.connection.has_retry_after else None", "retry_after", "EndTests::test_retry_after"),
    ),
    *guards(
        "daemon/configfile.py",
        "tests/daemon/test_configfile.py",
        ("    if len(data) > MAX_SIZE:\n", "    if False:\n", "BadTests::test_lines"),
        ("        if section != SECTION:\n", "        if False:\n", "BadTests::test_lines"),
        (" or options[name] is not None else []", " else []", "tests/daemon/test_sample.py::SampleTests::test_empty"),
    ),
    *guards(
        "daemon/certificate.py",
        "tests/daemon/test_certificate.py",
        ("            if problem:\n", "            if False:\n", "IssuedPairTests::test_bad"),
        ("        self._files = certificate, key\n", "", "IssuedPairTests::test_other_files_bad"),
        ("            if certificate_end(fresh.pem) <= self._now():\n", "            if False:\n", "IssuedPairTests::test_bad"),
    ),
)
