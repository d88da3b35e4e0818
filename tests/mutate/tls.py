"""Guards of the daemon's transport for TLS."""

from __future__ import annotations

from tests.mutate.mutation import Guard, guards

DIFFERENCES = "tests/functional/test_tls_differences.py::DifferenceTests"

GUARDS: tuple[Guard, ...] = (
    *guards(
        "net/turn.py",
        "tests/net/test_turn.py",
        ("        if self._calls:\n            self.expect()\n", "", "TurnTests::test_endless"),
        ("for _ in range(ROUNDS):", "for _ in range(9):", "TurnTests::test_endless"),
        ("for _ in range(ROUNDS):", "for _ in range(1):", "TurnTests::test_answers"),
        ("                except Exception:", "                except KeyError:", "TurnTests::test_failure"),
        ("        self._is_due = False\n        if", "        if", "TurnTests::test_begun"),
    ),
    *guards(
        "net/records.py",
        "tests/net/test_records.py",
        ("if records.write(one, data) != len(data):", "if not records.write(one, data):", "ChoiceTests::test_other_behaviour"),
        ("        if records.read(other) != data:\n            return False\n", "", "ChoiceTests::test_other_behaviour"),
        ("    except Exception as error:", "    except KeyError as error:", "ChoiceTests::test_other_names"),
        ("        if _works(records, one, other):\n", "        if True:\n", "ChoiceTests::test_other_behaviour"),
    ),
    *guards(
        "net/poller.py",
        "tests/net/test_tlssocket.py",
        ('names["system"] = before', "pass", "TurnTests::test_log_context"),
        ("        elif not events:\n            self._epoll.unregister(descriptor)\n", "", "EndTests::test_paused"),
        ("            self.remove(descriptor)\n            raise\n", "            raise\n", "EndTests::test_full"),
        ("            pollable.drop()\n", "            pass\n", "EndTests::test_reactor_stops"),
        ("            self._reactor.removeReader(self)\n", "            pass\n", "EndTests::test_answer"),
        (
            "        writers, self.unwritten = self.unwritten, []\n",
            "        writers = self.unwritten\n",
            "TurnTests::test_endless_producer",
        ),
    ),
    *guards(
        "net/tlssocket.py",
        "tests/net/test_tlssocket.py",
        ("            data = memoryview(data).tobytes()\n", "            pass\n", "ContractTests::test_types"),
        ("limit = min(size, start + WRITE_LIMIT)", "limit = size", "TurnTests::test_write_limit"),
        ("        elif self._has_said_end and self.disconnecting and", "        elif False and", "EndTests::test_no_answer"),
        ("self._close_timer.cancel()", "pass", "EndTests::test_answer"),
        (
            "        except SSL.WantWriteError:\n            self._block(True)\n            return\n",
            "",
            "EndTests::test_blocked_notice",
        ),
        (
            "if events != WRITE and not self._is_paused and not self._has_seen_end and self._reason is None:",
            "if events != WRITE and not self._is_paused and not self._has_seen_end:",
            "EndTests::test_ended_in_turn",
        ),
        (
            "not self._is_blocked and self._reason is None:\n                self._send()\n        except",
            "not self._is_blocked:\n                self._send()\n        except",
            "EndTests::test_ended_in_turn",
        ),
        ("        if self._events < 0:\n            self._end(ConnectionLost())\n", "", "EndTests::test_no_room"),
        (
            '            self._log.failure("a producer failed")\n            self.unregisterProducer()\n',
            '            self._log.failure("a producer failed")\n',
            "TurnTests::test_failing_producer",
        ),
        ("            self.socket.recv(LAST_READ)\n", "            pass\n", "EndTests::test_alert"),
        (
            "if self._unsent > BUFFER_SIZE or not self._is_secure:",
            "if self._unsent > BUFFER_SIZE:",
            f"{DIFFERENCES}::test_push_before_handshake",
        ),
        ("if self._unsent > BUFFER_SIZE or not self._is_secure:", "if not self._is_secure:", f"{DIFFERENCES}::test_push"),
        (
            "        if self.disconnecting and producer is None:\n            return\n",
            "",
            f"{DIFFERENCES}::test_server_closes",
        ),
        ("or self._has_seen_end or self._is_write_closed:\n", "or self._has_seen_end:\n", f"{DIFFERENCES}::test_half_close"),
        (
            "        if not self._is_secure and not self._unsent:\n            # Without",
            "        if False:\n            # Without",
            f"{DIFFERENCES}::test_close_in_callback",
        ),
        (
            "            self._poller.turn.later(self._finish)\n",
            "            self._finish()\n",
            f"{DIFFERENCES}::test_close_in_callback",
        ),
        (
            "                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,",
            "                (socket.SOL_SOCKET, socket.SO_LINGER,",
            f"{DIFFERENCES}::test_close_in_callback",
        ),
        (
            "    if isinstance(error, SSL.SysCallError):\n        return True\n",
            "    if isinstance(error, SSL.SysCallError):\n        return False\n",
            f"{DIFFERENCES}::test_end_without_notice",
        ),
    ),
    *guards(
        "net/tlsserver.py",
        "tests/net/test_tlsserver.py",
        ("        self._poller.change(self._socket.fileno(), READ, 0)\n", "        return\n", "PortTests::test_no_files"),
        ("        if now >= self._silent_until:\n", "        if True:\n", "PortTests::test_no_files"),
        ("        self._poller.change(self._socket.fileno(), 0, READ)\n", "        pass\n", "PortTests::test_no_files"),
        ("for _ in range(MAX_ACCEPTS):", "while True:", "PortTests::test_client_gone"),
        (
            "        tune_socket(self._socket)\n",
            "        pass\n",
            "tests/functional/test_tls_transports.py::EpollTests::test_transport",
        ),
        ("            self._resuming.cancel()\n", "            pass\n", "PortTests::test_stop"),
        ("        if not self._is_open:\n            return succeed(None)\n", "", "PortTests::test_stop"),
        (
            "                handle.close()\n            if",
            "                pass\n            if",
            "tests/functional/test_tls_transports.py::AddressTests::test_failing_factory",
        ),
        (
            "            self._socket.close()\n            raise CannotListenError",
            "            raise CannotListenError",
            "PortTests::test_cannot_add",
        ),
    ),
)
