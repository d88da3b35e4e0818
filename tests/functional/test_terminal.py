"""C{chat} at a terminal: a pseudo-terminal with somebody at its keyboard."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time

from attrs import define

from tests.functional.support import HOST, LIMIT, SECUREMSG, TIME, Person, PlaceCase, environment

INTERRUPT, END, TAB = "\x03", "\x04", "\t"
WHERE, CURSOR = "\x1b[6n", "\x1b[1;1R"
ROWS, COLUMNS = 30, 100
SHORTEST = 0.2


@define(eq=False)
class Seat:
    """A terminal with a command in it."""

    keyboard: int
    process: subprocess.Popen[bytes]
    before: list[object]
    shown: str = ""

    def look(self, wait: float) -> bool:
        """
        Read what the command shows.

        @return: whether it showed anything.
        """
        ready, _, _ = select.select([self.keyboard], [], [], wait)
        if ready:
            with contextlib.suppress(OSError):
                more = os.read(self.keyboard, 65536).decode("utf-8", "replace")
                self.shown += more
                # As a terminal does that is asked where its cursor is.
                self.type(CURSOR * more.count(WHERE))
        return bool(ready)

    def expect(self, text: str, times: int = 1) -> None:
        """Wait until something shows."""
        deadline = time.monotonic() + LIMIT
        while self.shown.count(text) < times:
            assert time.monotonic() < deadline, f"{text!r} does not show {times} times in\n{self.shown[-4000:]!r}"
            self.look(0.1)
        # A person types once the screen stands still, too: while a line is printed above it, the prompt takes no control keys.
        while self.look(SHORTEST):
            pass

    def type(self, text: str) -> None:
        """Type, as fast as a terminal takes it."""
        os.write(self.keyboard, text.encode())

    def end(self) -> int:
        """
        Wait for the end.

        @return: its exit status.
        """
        deadline = time.monotonic() + LIMIT
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it does not end\n{self.shown!r}"
            self.look(0.1)
        self.look(SHORTEST)
        return self.process.returncode

    @property
    def is_restored(self) -> bool:
        """Whether the terminal is as it was, and does not take reading for waiting."""
        return termios.tcgetattr(self.keyboard) == self.before


    @property
    def echoes(self) -> bool:
        """Whether the terminal itself shows what is typed."""
        return bool(termios.tcgetattr(self.keyboard)[3] & termios.ECHO)


class TerminalCase(PlaceCase):
    """Tests at a terminal."""

    kind = "xterm"

    def sit_down(self, person: Person, *arguments: str) -> Seat:
        """Start a command in a terminal of its own."""
        keyboard, screen = pty.openpty()
        termios.tcsetwinsize(screen, (ROWS, COLUMNS))
        before = termios.tcgetattr(keyboard)
        process = subprocess.Popen(
            [sys.executable, "-c", SECUREMSG, "--profile", str(person.profile), *arguments],
            stdin=screen,
            stdout=screen,
            stderr=screen,
            env={**environment(self.place.folder), "TERM": self.kind, "NO_COLOR": "1"},
            start_new_session=True,
        )
        os.close(screen)
        self.addCleanup(os.close, keyboard)
        self.addCleanup(self.stand_up, process)
        return Seat(keyboard, process, before)

    def stand_up(self, process: subprocess.Popen[bytes]) -> None:
        """End what still runs."""
        if process.poll() is None:
            process.kill()
        process.wait()


class PromptTests(TerminalCase):
    """At a terminal that can do everything."""

    def test_talk(self) -> None:
        """What is typed goes out, what comes shows, the end of the input leaves, and the terminal is as it was."""
        seat = self.sit_down(self.person("ada"), "chat", "server")
        seat.expect("-> server>")
        seat.type("hello\r")
        seat.expect("Message received at 2")
        self.assertRegex(seat.shown, rf"   \d\d:\d\d server: Message received at {TIME}")
        seat.type(END)
        self.assertEqual(seat.end(), 0)
        self.assertTrue(seat.is_restored)

    def test_incoming_while_typing(self) -> None:
        """What comes while a line is being typed shows above it, escaped, and disturbs nothing of the line."""
        ben, cleo = self.person("ben"), self.person("cleo")
        seat = self.sit_down(ben, "chat", "cleo")
        seat.expect("ben -> cleo>")
        seat.type("half a ")
        seat.expect("half")
        cleo.send("ben", "one\x1b[2J\n[12:00] dan: fake")
        seat.expect("cleo: one\\x1b[2J\r\n    | [12:00] dan: fake\r\n")
        seat.type("line\r")
        seat.type("exit\r")
        self.assertEqual(seat.end(), 0)
        self.assertEqual([row["text"] for row in cleo.recv()], ["half a line"])

    def test_burst(self) -> None:
        """Lines that are typed faster than they are taken are shown by their prompts, and never by the terminal besides."""
        uli, vera = self.person("uli"), self.person("vera")
        seat = self.sit_down(uli, "chat", "vera")
        seat.expect("uli -> vera>")
        lines = [f"line {number}" for number in range(12)]
        seat.type("".join(f"{line}\r" for line in lines))
        while "vera> line 11" not in seat.shown:
            self.assertFalse(seat.echoes)
            seat.look(0.001)
        seat.type("exit\r")
        self.assertEqual(seat.end(), 0)
        self.assertEqual(vera.texts(len(lines)), lines)
        self.assertTrue(seat.is_restored)

    def test_whose_line(self) -> None:
        """The prompt says who speaks and to whom, also after turning to somebody else."""
        mia, ned = self.person("mia"), self.person("ned")
        seat = self.sit_down(mia, "chat", "server")
        seat.expect("mia -> server>")
        seat.type("/to ned\r")
        seat.expect("mia -> ned>")
        seat.type("hello\r")
        seat.type("/quit\r")
        self.assertEqual(seat.end(), 0)
        self.assertEqual(ned.texts(1), ["hello"])

    def test_completion(self) -> None:
        """The tab key completes commands."""
        seat = self.sit_down(self.person("dora"), "chat", "server")
        seat.expect("-> server>")
        seat.type("/hel" + TAB)
        seat.expect("/hel", times=2)
        seat.type("\r")
        seat.expect("show the last lines of this conversation")
        seat.type("/quit\r")
        self.assertEqual(seat.end(), 0)

    def test_unread(self) -> None:
        """The line at the bottom says who else has written, and who is not verified."""
        eno, fay, gus = self.person("eno"), self.person("fay"), self.person("gus")
        fay.send("eno", "hello")
        seat = self.sit_down(eno, "chat", "fay")
        seat.expect("fay (unverified)")
        gus.send("eno", "psst")
        seat.expect("unread: gus 1")
        self.assertNotIn("psst", seat.shown)
        seat.type("/quit\r")
        self.assertEqual(seat.end(), 0)

    def test_interrupted(self) -> None:
        """Ctrl-C clears what was typed; the next one ends it with 130, and the terminal is as it was."""
        seat = self.sit_down(self.person("hal"), "chat", "server")
        seat.expect("-> server>")
        seat.type("half")
        seat.type(INTERRUPT)
        seat.type("whole\r")
        seat.expect("Message received at 2")
        self.assertNotIn("halfwhole", seat.shown)
        seat.type(INTERRUPT)
        self.assertEqual(seat.end(), 130)
        self.assertTrue(seat.is_restored)

    def test_terminated(self) -> None:
        """So does a signal from elsewhere."""
        seat = self.sit_down(self.person("ida"), "chat", "server")
        seat.expect("-> server>")
        seat.type("half")
        seat.expect("half")
        seat.process.send_signal(signal.SIGTERM)
        self.assertEqual(seat.end(), 130)
        self.assertTrue(seat.is_restored)

    def test_removed(self) -> None:
        """An end that is not ours leaves the terminal as it was, too, and says why in one line."""
        seat = self.sit_down(self.person("jon"), "chat", "server")
        seat.expect("-> server>")
        seat.type("hello\r")
        seat.expect("Message received at 2")
        self.daemon.admin("remove", "jon", "--yes")
        self.assertEqual(seat.end(), 5)
        self.assertIn("[removed]", seat.shown)
        self.assertNotIn("Traceback", seat.shown)
        self.assertTrue(seat.is_restored)


class PlainTests(TerminalCase):
    """At a terminal that can do nothing."""

    kind = "dumb"

    def test_talk(self) -> None:
        """The plain console serves as well."""
        seat = self.sit_down(self.person("kim"), "chat", "server")
        seat.expect("`exit` leaves")
        seat.type("hello\n")
        seat.expect("Message received at 2")
        seat.type("exit\n")
        self.assertEqual(seat.end(), 0)
        self.assertTrue(seat.is_restored)

    def test_passphrase(self) -> None:
        """A sealed profile asks for its passphrase where somebody can be asked, and shows nothing of it."""
        secret = self.place.folder / "passphrase"
        secret.write_text("open sesame\n", "utf-8")
        secret.chmod(0o600)
        lea = Person(self.place, "lea")
        lea.run("join", self.daemon.invite(), "lea", "--passphrase-file", str(secret))
        seat = self.sit_down(lea, "whoami")
        seat.expect("Passphrase for ")
        seat.type("open sesame\n")
        self.assertEqual(seat.end(), 0)
        self.assertIn("lea at ", seat.shown)
        self.assertNotIn("sesame", seat.shown)
        self.assertTrue(seat.is_restored)

    def test_passphrase_of_a_join(self) -> None:
        """A join at a terminal asks for a passphrase, which then opens the profile; a message on a pipe is no answer to it."""
        mia = Person(self.place, "mia")
        seat = self.sit_down(mia, "join", self.daemon.invite(), "mia")
        seat.expect("New passphrase for ")
        seat.type("open sesame\n")
        seat.expect("The same again: ")
        seat.type("open sesame\n")
        self.assertEqual(seat.end(), 0)
        self.assertIn("by a passphrase", " ".join(seat.shown.split()))
        self.assertNotIn("sesame", seat.shown)
        self.assertTrue(seat.is_restored)
        self.assertEqual(mia.error("send", "server", text="open sesame\n", status=9)["code"], "passphrase-needed")


class ShortInviteTests(TerminalCase):
    """An inviter at a terminal, and whoever is told the words."""

    def offered(self, seat: Seat) -> str:
        """The short invite that shows."""
        seat.expect("Press Ctrl-C to end.")
        short: str
        [(where, short)] = re.findall(r"securemsg join (\S+) (\d+(?:-[a-z]+){6}) NAME", seat.shown)
        self.assertEqual(where, f"{HOST}:{self.daemon.port}")
        return short

    def test_joined(self) -> None:
        """Whoever has the words joins with them, and both are verified; the inviter hears of it, and is done."""
        nora, otto = self.person("nora"), Person(self.place, "otto")
        seat = self.sit_down(nora, "invite")
        otto.run("join", f"{HOST}:{self.daemon.port}", self.offered(seat).upper(), "otto")
        self.assertEqual(seat.end(), 0)
        self.assertIn("Somebody with these words has the invite now.", seat.shown)
        nora.recv()
        for person, name in ((nora, "otto"), (otto, "nora")):
            [row] = person.run("contacts", name, "--json").rows
            self.assertTrue(row["verified"], row)

    def test_wrong_words(self) -> None:
        """Other words give nothing away, and end it; Ctrl-C does, too."""
        pia, quin = self.person("pia"), Person(self.place, "quin")
        seat = self.sit_down(pia, "invite")
        number = self.offered(seat).partition("-")[0]
        words = f"{number}-acid-bench-cargo-demand-elbow-fiber"
        self.assertEqual(quin.error("join", f"{HOST}:{self.daemon.port}", words, "quin", status=5)["code"], "wrong-words")
        self.assertEqual(seat.end(), 0)
        self.assertIn("[words-guessed]", seat.shown)
        seat = self.sit_down(pia, "invite")
        self.offered(seat)
        seat.process.send_signal(signal.SIGINT)
        self.assertEqual(seat.end(), 130)

    def test_name_taken(self) -> None:
        """If the name is taken, the words are used up; what they stood for is printed, and another name joins with it."""
        rita, sven = self.person("rita"), Person(self.place, "sven")
        seat = self.sit_down(rita, "invite")
        short = self.offered(seat)
        done = sven.run("join", f"{HOST}:{self.daemon.port}", "-", "rita", text=short, status=5)
        self.assertEqual(seat.end(), 0)
        sven.join(done.out)
