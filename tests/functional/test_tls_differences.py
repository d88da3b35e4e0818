"""Both transports for TLS, driven with the same bytes: a protocol and a client see the same on either."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from tests.functional.tlsends import KINDS, Ends
from tests.net.recorder import Pull, Push, Recorder

MUCH = bytes(range(256)) * 16384
# Small buffers of the kernel keep what is sent on our side.
SMALL = 4096

Script = Callable[[Ends], object]


class DifferenceTests(SynchronousTestCase):
    """One script for each test."""

    def compare(self, script: Script, errors: int = 0) -> list[tuple[str, str]]:
        """
        Both transports lead to the same.

        @param errors: how many errors each of them logs.
        @return: the callbacks.
        """
        seen = []
        for kind in KINDS:
            ends = Ends(self, kind)
            given = script(ends)
            ends.settle()
            clients = [(client.received, client.ends) for client in ends._clients]
            protocols = [(protocol.calls, protocol.data, protocol.was_nested) for protocol in ends.protocols]
            self.assertEqual(len(self.flushLoggedErrors()), errors, kind)
            seen.append((protocols, clients, given))
        new, stock = seen
        self.assertEqual(new, stock)
        self.assertFalse(any(nested for _, _, nested in new[0]))
        return new[0][0][0] if new[0] else []

    # --- the handshake --------------------------------------------------------------------------------------------

    def test_refused(self) -> None:
        """A factory without room."""

        def script(ends: Ends) -> None:
            ends.accepts = False
            client = ends.connect(handshake=False)
            ends.until(lambda: bool(client.ends))

        self.assertEqual(self.compare(script), [])

    def test_silent_client(self) -> None:
        """Nothing comes, and then an end."""

        def script(ends: Ends) -> None:
            client = ends.connect(handshake=False)
            ends.settle()
            client.close()
            ends.wait_lost()

        self.assertEqual(self.compare(script), [("made", ""), ("lost", "Failure ConnectionLost")])

    def test_cut_hello(self) -> None:
        """A handshake that is cut off at any place."""
        for cut in (1, 5, 6, 100, 500, 1000):
            for end in ("close", "reset", "finish_writing"):

                def script(ends: Ends, cut: int = cut, end: str = end) -> None:
                    client = ends.connect(handshake=False)
                    client.send_raw(client.take_flight()[:cut])
                    ends.settle()
                    getattr(client, end)()
                    ends.wait_lost()
                    # Ours tells it why.
                    client.ends.clear()

                self.assertEqual(self.compare(script)[-1], ("lost", "Failure ConnectionLost"))

    def test_cut_after_flight(self) -> None:
        """The server has answered, and the client says no more."""
        for end in ("close", "reset", "finish_writing"):

            def script(ends: Ends, end: str = end) -> None:
                client = ends.connect(handshake=False)
                client.is_reading = False
                client.send_raw(client.take_flight())
                ends.settle()
                getattr(client, end)()
                ends.wait_lost()

            self.assertEqual(self.compare(script), [("made", ""), ("lost", "Failure ConnectionLost")])

    def test_hello_in_bytes(self) -> None:
        """A handshake byte by byte."""

        def script(ends: Ends) -> None:
            client = ends.connect(handshake=False)
            for byte in client.take_flight():
                client.send_raw(bytes((byte,)))
                ends.settle() if byte % 64 == 0 else None
            ends.until(lambda: ("handshake", "") in ends.protocol.calls)

        self.assertEqual(self.compare(script), [("made", ""), ("handshake", "")])

    def test_garbage_first(self) -> None:
        """Something else than TLS; the alert arrives however much garbage there was."""
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", bytes(100), b"\x16\x03\x01\x00\x05hello" * 10, b"\xff" * 20000):

            def script(ends: Ends, garbage: bytes = garbage) -> None:
                client = ends.connect(handshake=False)
                client.send_raw(garbage)
                ends.wait_lost()

            self.assertEqual(self.compare(script), [("made", ""), ("lost", "Failure Error")])

    def test_no_protocol(self) -> None:
        """A client that wants to speak something else."""

        def script(ends: Ends) -> None:
            client = ends.connect(handshake=False)
            client.tls.set_alpn_protos([b"h2"])
            client.shake_hands()
            ends.wait_lost()

        self.assertEqual(self.compare(script), [("made", ""), ("lost", "Failure Error")])

    # --- after the handshake --------------------------------------------------------------------------------------

    def test_garbage_later(self) -> None:
        """Bytes that no key fits."""
        for garbage in (b"\x17\x03\x03\x00\x20" + bytes(32), b"GET / HTTP/1.1\r\n\r\n", b"\x17\x03\x03\xff\xff" + bytes(100)):

            def script(ends: Ends, garbage: bytes = garbage) -> None:
                client = ends.connect()
                client.send(b"before")
                client.send_raw(garbage)
                ends.wait_lost()

            self.assertEqual(self.compare(script)[-2:], [("data", "bytes"), ("lost", "Failure Error")])

    def test_end_without_notice(self) -> None:
        """An end of TCP alone, with and without data before it."""
        for end in ("close", "finish_writing", "reset"):
            for data in (b"", b"before"):

                def script(ends: Ends, end: str = end, data: bytes = data) -> None:
                    client = ends.connect()
                    if data:
                        client.send(data)
                        ends.settle()
                    getattr(client, end)()
                    ends.wait_lost()
                    client.ends.clear()

                self.assertEqual(self.compare(script)[-1], ("lost", "Failure ConnectionLost"))

    def test_half_a_record(self) -> None:
        """An end in the middle of a record."""

        def script(ends: Ends) -> None:
            client = ends.connect()
            client.tls.send(b"never whole")
            client.send_raw(client.tls.bio_read(1000)[:-1])
            client.close()
            ends.wait_lost()

        self.assertEqual(self.compare(script), [("made", ""), ("handshake", ""), ("lost", "Failure ConnectionLost")])

    def test_client_closes(self) -> None:
        """A close_notify is answered; what came before it arrives, and what was written before it leaves."""
        for written in (b"", b"last words", MUCH):

            def script(ends: Ends, written: bytes = written) -> None:
                client = ends.connect()
                client.send(b"before")
                ends.settle()
                ends.protocol.transport.write(written)
                client.say_end()
                ends.wait_lost()
                ends.until(lambda: "eof" in client.ends)

            self.assertEqual(self.compare(script)[-1], ("lost", "Failure ConnectionDone"))

    def test_server_closes(self) -> None:
        """The server's close_notify is answered by each of the ways to end."""
        for end in ("say_end", "close", "finish_writing", "reset"):
            for written in (b"", b"last words", MUCH):

                def script(ends: Ends, end: str = end, written: bytes = written) -> None:
                    client = ends.connect()
                    ends.protocol.transport.write(written)
                    ends.protocol.transport.loseConnection()
                    ends.protocol.transport.write(b"never sent")
                    ends.until(lambda: "close_notify" in client.ends)
                    client.send(b"after")
                    ends.settle()
                    getattr(client, end)()
                    ends.wait_lost()

                calls = self.compare(script)
                reason = "ConnectionDone" if end == "say_end" else "ConnectionLost"
                self.assertEqual(calls[-2:], [("data", "bytes"), ("lost", f"Failure {reason}")])

    def test_both_close(self) -> None:
        """Both at the same time."""

        def script(ends: Ends) -> None:
            client = ends.connect()
            ends.protocol.transport.loseConnection()
            client.say_end()
            ends.wait_lost()

        self.assertEqual(self.compare(script)[-1], ("lost", "Failure ConnectionDone"))

    def test_close_in_callback(self) -> None:
        """C{loseConnection} and C{abortConnection} in each of the callbacks."""
        for name in ("made", "handshake", "data", "lost"):
            for method in ("loseConnection", "abortConnection"):

                def script(ends: Ends, name: str = name, method: str = method) -> None:
                    ends.hooks[name] = lambda protocol: getattr(protocol.transport, method)()
                    client = ends.connect(handshake=False)
                    client.shake_hands()
                    ends.until(lambda: client.is_secure or bool(client.ends))
                    if name in ("data", "lost") and client.is_secure:
                        client.send(b"something")
                        ends.settle()
                        client.say_end()
                    elif client.is_secure:
                        ends.until(lambda: bool(client.ends))
                        client.say_end()
                    ends.wait_lost()

                self.compare(script)

    def test_last_words_in_callback(self) -> None:
        """Who answers and hangs up in one go has both done."""

        def answer(protocol: Recorder) -> None:
            protocol.transport.writeSequence([b"last ", b"words"])
            protocol.transport.loseConnection()
            protocol.transport.loseConnection()

        for name in ("made", "handshake", "data"):

            def script(ends: Ends, name: str = name) -> None:
                ends.hooks[name] = answer
                client = ends.connect(handshake=False)
                client.shake_hands()
                ends.until(lambda: client.is_secure)
                client.send(b"something")
                ends.until(lambda: "close_notify" in client.ends)
                client.say_end()
                ends.wait_lost()

            self.compare(script)

    def test_abort(self) -> None:
        """Nothing more is read or written, and the client sees a reset."""
        for written in (b"", MUCH):

            def script(ends: Ends, written: bytes = written) -> None:
                client = ends.connect(buffer=SMALL)
                client.is_reading = False
                ends.protocol.transport.write(written)
                client.send(b"never read")
                ends.protocol.transport.abortConnection()
                ends.protocol.transport.abortConnection()
                ends.wait_lost()
                client.is_reading = True
                ends.until(lambda: "reset" in client.ends)
                client.received = b""

            self.assertEqual(self.compare(script)[-1], ("lost", "Failure ConnectionLost"))

    def test_after_the_end(self) -> None:
        """What is asked of a transport after the end does nothing, and a producer is stopped at once."""

        def script(ends: Ends) -> None:
            client = ends.connect()
            transport = ends.protocol.transport
            client.close()
            ends.wait_lost()
            transport.write(b"lost")
            transport.writeSequence([b"lost"])
            transport.loseConnection()
            transport.registerProducer(Push(ends.protocol), True)
            transport.unregisterProducer()

        self.assertEqual(self.compare(script)[-2:], [("lost", "Failure ConnectionLost"), ("stop", "")])

    def test_failing_protocol(self) -> None:
        """A protocol that raises something loses its connection, and the error is logged."""

        def fail(protocol: Recorder) -> None:
            raise ValueError("a bug")

        for name in ("handshake", "data"):

            def script(ends: Ends, name: str = name) -> None:
                ends.hooks[name] = fail
                client = ends.connect(handshake=False)
                client.shake_hands()
                ends.until(lambda: client.is_secure)
                client.send(b"something")
                ends.wait_lost()
                client.ends.clear()

            self.assertEqual(self.compare(script, errors=1)[-1], ("lost", "Failure ConnectionLost"))

    def test_half_close(self) -> None:
        """The server closes its half: it goes on reading, and writes no more."""

        def script(ends: Ends) -> None:
            client = ends.connect()
            ends.protocol.transport.write(b"last words")
            ends.protocol.transport.loseWriteConnection()
            ends.until(lambda: bool(client.ends))
            ends.protocol.transport.write(b"never sent")
            client.send(b"after")
            ends.settle()
            client.say_end()
            ends.wait_lost()
            # Twisted closes TCP alone, which the client must take for a truncation, and stumbles at the end.
            client.ends.clear()
            self.flushLoggedErrors(AttributeError)

        self.assertEqual(self.compare(script)[-2:], [("data", "bytes"), ("lost", "Failure ConnectionDone")])

    # --- data -----------------------------------------------------------------------------------------------------

    def test_echo(self) -> None:
        """Pieces of many sizes, there and back."""

        def echo(protocol: Recorder) -> None:
            protocol.transport.write(protocol.data[getattr(protocol, "echoed", 0) :])
            protocol.echoed = len(protocol.data)  # type: ignore[attr-defined]

        def script(ends: Ends) -> None:
            ends.hooks["data"] = echo
            client = ends.connect()
            for size in (1, 2, 100, 16383, 16384, 16385, 40000, 200000):
                wanted = len(client.received) + size
                client.send(MUCH[:size])
                ends.until(lambda wanted=wanted: len(client.received) >= wanted)  # type: ignore[misc]

        self.compare(script)

    def test_many_small_writes(self) -> None:
        """Thousands of writes come out in order, those with nothing in them as nothing."""

        def script(ends: Ends) -> None:
            client = ends.connect()
            for number in range(5000):
                ends.protocol.transport.write(b"%d," % number)
                ends.protocol.transport.write(b"")
            ends.until(lambda: client.received.endswith(b"4999,"))

        self.compare(script)

    def test_slow_reader(self) -> None:
        """A great deal for a reader that does not read at first, and then all of it."""

        def script(ends: Ends) -> None:
            client = ends.connect(buffer=SMALL)
            client.is_reading = False
            for _ in range(2):
                ends.protocol.transport.write(MUCH)
                ends.settle()
            client.is_reading = True
            ends.until(lambda: len(client.received) == 2 * len(MUCH))

        self.compare(script)

    def test_bytes_like(self) -> None:
        """Other kinds of bytes are taken as they are at that moment; a text is not taken."""

        def script(ends: Ends) -> None:
            client = ends.connect()
            data = bytearray(b"one")
            ends.protocol.transport.write(data)
            data[:] = b"two"
            ends.until(lambda: client.received == b"one")

        self.compare(script)

    # --- producers ------------------------------------------------------------------------------------------------

    def test_push(self) -> None:
        """A producer is paused when much waits, and goes on when nothing does."""

        def script(ends: Ends) -> None:
            client = ends.connect(buffer=SMALL)
            client.is_reading = False
            transport = ends.protocol.transport
            transport.registerProducer(Push(ends.protocol), True)
            transport.write(b"little")
            transport.write(MUCH)
            transport.write(MUCH)
            ends.settle()
            client.is_reading = True
            ends.until(lambda: len(client.received) == 6 + 2 * len(MUCH))

        self.assertEqual(self.compare(script)[2:], [("pause", ""), ("resume", "")])

    def test_push_before_handshake(self) -> None:
        """What is written before the handshake pauses the producer until the handshake is done."""

        def begin(protocol: Recorder) -> None:
            protocol.transport.registerProducer(Push(protocol), True)
            protocol.transport.write(b"early")

        def script(ends: Ends) -> None:
            ends.hooks["made"] = begin
            client = ends.connect()
            ends.until(lambda: client.received == b"early")

        self.assertEqual(self.compare(script), [("made", ""), ("pause", ""), ("handshake", ""), ("resume", "")])

    def test_push_and_close(self) -> None:
        """The connection is closed once the producer is unregistered; until then it may write."""

        def script(ends: Ends) -> None:
            client = ends.connect()
            transport = ends.protocol.transport
            transport.registerProducer(Push(ends.protocol), True)
            transport.loseConnection()
            transport.write(b"still open")
            ends.settle()
            before = list(client.ends)
            transport.unregisterProducer()
            ends.until(lambda: "close_notify" in client.ends)
            client.say_end()
            ends.wait_lost()
            self.assertEqual(before, [])

        self.assertEqual(self.compare(script)[-1], ("lost", "Failure ConnectionDone"))

    def test_push_at_the_end(self) -> None:
        """A producer is stopped before the protocol is told of the end, however that came."""
        for end in ("close", "reset", "say_end"):

            def script(ends: Ends, end: str = end) -> None:
                client = ends.connect()
                ends.protocol.transport.registerProducer(Push(ends.protocol), True)
                getattr(client, end)()
                ends.wait_lost()

            self.assertEqual([name for name, _ in self.compare(script)[-2:]], ["stop", "lost"])

    def test_second_producer(self) -> None:
        """There is one at a time."""

        def script(ends: Ends) -> None:
            ends.connect()
            transport = ends.protocol.transport
            transport.registerProducer(Push(ends.protocol), True)
            self.assertRaises(RuntimeError, transport.registerProducer, Push(ends.protocol), True)
            transport.unregisterProducer()
            transport.unregisterProducer()
            transport.registerProducer(Push(ends.protocol), True)

        self.compare(script)

    def test_pull(self) -> None:
        """A producer that waits to be asked is asked for every piece, and the connection can be closed after the last."""
        for closes in (False, True):

            def script(ends: Ends, closes: bool = closes) -> None:
                client = ends.connect(buffer=SMALL)
                pieces = [MUCH[:100_000], b"x", MUCH[:16384], MUCH[:70_000]]
                size = sum(map(len, pieces))
                ends.protocol.transport.registerProducer(Pull(ends.protocol, pieces), False)
                if closes:
                    ends.protocol.transport.loseConnection()
                ends.until(lambda: len(client.received) == size)
                if closes:
                    ends.until(lambda: "close_notify" in client.ends)
                    client.say_end()
                    ends.wait_lost()

            self.assertEqual(self.compare(script)[2:6], [("pull", "")] * 4)

    def test_paused(self) -> None:
        """A protocol that pauses gets nothing until it goes on, and then everything, the end included."""
        for end in ("say_end", "close"):

            def script(ends: Ends, end: str = end) -> list[object]:
                client = ends.connect()
                ends.protocol.transport.pauseProducing()
                client.send(b"later")
                getattr(client, end)()
                ends.settle()
                before = list(ends.protocol.calls)
                ends.protocol.transport.resumeProducing()
                ends.wait_lost()
                return [before]

            self.assertEqual([name for name, _ in self.compare(script)[-2:]], ["data", "lost"])
