"""C{--retry}: commands that wait their turn, with the real daemon, and without it."""

from __future__ import annotations

from tests.functional.support import Daemon, Person, PlaceCase, Running, until


class TurnTests(PlaceCase):
    """A server with room for one device."""

    options = ("--max-clients", "1")

    def test_turn(self) -> None:
        """Whoever comes second is told that the server is full, and gets in when the first leaves: with every command."""
        ada, ben, cleo, dan = (self.person(name) for name in ("ada", "ben", "cleo", "dan"))
        ada.send("dan", "for dan")
        first = self.hold(ada)
        self.assertEqual(ben.error("ping", status=6)["code"], "server-full")
        invite = self.daemon.invite()
        eve = Person(self.place, "eve")
        waiting = [
            ben.start("ping", "--retry"),
            cleo.start("send", "ben", "hello", "--retry"),
            dan.start("recv", "--retry"),
            eve.start("--retry", "join", invite, "eve"),
        ]
        for running in waiting:
            self.wait_for(running, "the server is full; waiting for a place, Ctrl-C ends")
        self.assertTrue(all(running.is_alive for running in (first, *waiting)))
        first.interrupt()
        for running in waiting:
            done = running.wait()
            self.assertEqual(done.status, 0, done)
            self.assertEqual(done.err.count("server-full"), 1, done.err)
        self.assertIn("for dan", waiting[2].out)
        self.assertEqual(ben.texts(1), ["hello"])
        eve.run("ping")

    def test_interrupted(self) -> None:
        """130: whoever does not want to wait any longer leaves; the message stays in the outbox."""
        first = self.hold(self.person("fay"))
        gus = Person(self.place, "gus")
        self.addCleanup(first.interrupt)
        joining = gus.start("join", "--retry", self.daemon.invite(), "gus")
        self.wait_for(joining, "waiting for a place")
        self.assertEqual(joining.interrupt().status, 130)

    def test_time(self) -> None:
        """6: the turn did not come in time; the reason is said, and is the same for a program."""
        hal = self.person("hal")
        first = self.hold(self.person("ida"))
        self.addCleanup(first.interrupt)
        for command in (("ping",), ("recv", "--count", "1"), ("recv",), ("send", "ida", "hi")):
            said = hal.error(*command, "--retry", "--timeout", "1", status=6)
            self.assertEqual(said["code"], "server-full", command)

    def hold(self, person: Person) -> Running:
        """Somebody takes the place."""
        running = person.start("recv", "--follow", "--json")
        person.send("server", "hello")
        until(lambda: running.lines or not running.is_alive, "the answer, which only comes to whoever has the place")
        return running

    def wait_for(self, running: Running, text: str) -> None:
        """Wait until a command has said something on standard error."""
        until(lambda: text in running.err or not running.is_alive, text)
        self.assertIn(text, running.err)


class AbsenceTests(PlaceCase):
    """A server that is not there."""

    def test_comes_back(self) -> None:
        """Commands that were started while nobody was there are done once the daemon is; one line says why they wait."""
        ada, ben = self.person("ada"), self.person("ben")
        self.daemon.kill()
        sending = ada.start("send", "ben", "by one", "--retry", "--json")
        talking = ben.start("chat", "ada", "--retry", pipe=True)
        talking.type("by the other\n")
        talking.end_input()
        for running in (sending, talking):
            until(lambda running=running: "trying again" in running.err, "a command that waits")  # type: ignore[misc]
        self.daemon.start()
        for running in (sending, talking):
            done = running.wait()
            self.assertEqual(done.status, 0, done)
            self.assertEqual(done.err.count("\n"), 1, done.err)
        self.assertEqual(ada.texts(1), ["by the other"])
        self.assertIn("by one", talking.out + ben.run("recv").out)

    def test_gone(self) -> None:
        """6: without C{--retry} the first failure ends a command; with it, the time does."""
        eve = self.person("eve")
        self.daemon.kill()
        try:
            for options in ((), ("--retry", "--timeout", "1")):
                self.assertEqual(eve.error("ping", *options, status=6)["code"], "not-connected")
        finally:
            self.daemon.start()

    def test_said(self) -> None:
        """Commands that go on for ever say at once that there is no connection, and once; 6 if there was none to the end."""
        ivy = self.person("ivy")
        for command in (("recv", "--follow"), ("respond", "--exec", "cat")):
            self.assertEqual(ivy.run(*command, "--timeout", "1").err, "", command)
        self.daemon.kill()
        try:
            for command in (("recv", "--follow"), ("respond", "--exec", "cat")):
                first, last = ivy.run(*command, "--timeout", "2", status=6).err.splitlines()
                self.assertRegex(first, r"cannot connect to .*; trying again, Ctrl-C ends \[not-connected\]$")
                self.assertRegex(last, r"cannot connect to .*\[not-connected\]$")
            talking = ivy.start("chat", "server", pipe=True)
            until(lambda: "; trying again" in talking.err, "what a chat says before anything is typed")
            self.assertEqual(talking.interrupt().status, 130)
            self.assertEqual(talking.err.count("trying again"), 1)
        finally:
            self.daemon.start()

    def test_fatal(self) -> None:
        """8: another attempt would meet the same server, which is not ours."""
        fay = self.person("fay")
        other = Daemon(self.place, name="other")
        other.start()
        try:
            self.assertEqual(fay.error("ping", "--retry", "--port", str(other.port), status=8)["code"], "server-identity")
        finally:
            other.stop()
