"""C{securemsg respond}: people's own accounts answer by machine, through a real daemon."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from tests.functional.support import MachineCase, MachineKillCase, Person, Running, until

UPPER = "tr a-z A-Z"


class RespondCase(MachineCase):
    """Somebody asks, a machine answers."""

    def respond(self, who: Person, *options: str) -> Running:
        """Start a machine."""
        return who.start("respond", *options)

    def script(self, name: str, body: str) -> str:
        """A command of the shell's."""
        path = self.place.folder / name
        path.write_text(f"#!/bin/sh\n{body}\n", "utf-8")
        path.chmod(0o755)
        return str(path)


class RespondTests(RespondCase):
    """What it does when all is well, and when it is not."""

    def test_answers(self) -> None:
        """Texts are answered by the command's output, marked as answers; an interrupt ends it with 130, and prints nothing."""
        ada, bix = self.person("ada"), self.person("bix")
        running = self.respond(bix, "--exec", UPPER)
        ada.send("bix", "how are you?")
        [row] = ada.recv("--count", "1")
        self.assertEqual((row["from"], row["text"], row["kind"]), ("bix", "HOW ARE YOU?", "answer"))
        done = running.interrupt()
        self.assertEqual((done.status, done.out, done.err), (130, "", ""))
        self.assertEqual(bix.recv(), [])

    def test_environment(self) -> None:
        """The command learns who wrote, when, and under which id, and nothing else of our environment."""
        cid, dot = self.person("cid"), self.person("dot")
        self.respond(dot, "--exec", "env")
        sent = cid.send("dot", "?")
        [row] = cid.recv("--count", "1")
        told = dict(line.split("=", 1) for line in row["text"].splitlines())
        self.assertEqual((told["SECUREMSG_SENDER"], told["SECUREMSG_ID"]), ("cid", sent["id"]))
        self.assert_time(told["SECUREMSG_TIME"])
        own = {"PATH", "HOME", "LANG", "SECUREMSG_SENDER", "SECUREMSG_ID", "SECUREMSG_TIME"}
        # What a shell or a loader adds by itself begins like this.
        self.assertEqual({name for name in told if not name.startswith(("_", "LC_", "PWD", "SHLVL"))}, own)

    def test_failure(self) -> None:
        """A command that fails is answered with a code and told of on standard error; the machine goes on."""
        eve, fay = self.person("eve"), self.person("fay")
        running = self.respond(fay, "--exec", self.script("fails", "read x; [ $x = good ] && echo fine || exit 3"), "--json")
        eve.send("fay", "bad")
        eve.send("fay", "good")
        self.assertEqual(eve.texts(2), ["error: status 3", "fine"])
        (line,) = running.interrupt().err.splitlines()
        self.assertEqual((json.loads(line)["code"], json.loads(line)["name"]), ("answer-failed", "eve"))

    def test_no_command(self) -> None:
        """A command that is nowhere is told of before anybody asks, and what came of it when somebody did."""
        una, vic = self.person("una"), self.person("vic")
        running = self.respond(vic, "--exec", "no-such-command", "--json")
        until(lambda: "no message will be answered: no-such-command is in none of" in running.err, "a warning")
        una.send("vic", "hello?")
        self.assertEqual(una.texts(1), ["error: not-started"])
        first, second = (json.loads(line) for line in running.interrupt().err.splitlines())
        self.assertEqual((first["code"], second["code"]), ("not-started", "answer-failed"))
        self.assertIn("No such file", second["warning"])
        self.assertTrue(first["hint"] and second["hint"])

    def test_function(self) -> None:
        """A function of a module in this folder answers as well; one that is not there is told so at once."""
        gus, hal = self.person("gus"), self.person("hal")
        (self.place.folder / "machine.py").write_text("def turn(message): return message.text[::-1]\n", "utf-8")
        self.assertEqual(hal.error("respond", "--python", "machine.burn", status=2)["code"], "usage")
        self.respond(hal, "--python", "machine.turn")
        gus.send("hal", "abc")
        self.assertEqual(gus.texts(1), ["cba"])

    def test_usage(self) -> None:
        """Without anything that answers, with two such things, or with quotes that do not match nothing is begun."""
        ida = Person(self.place, "ida")
        for options in ((), ("--exec", "cat", "--python", "a.b"), ("--exec", "'"), ("--exec", "")):
            self.assertEqual(ida.error("respond", *options, status=2)["code"], "usage")

    def test_from(self) -> None:
        """With C{--from} only one sender is answered; what others write stays for C{recv}."""
        jon, kim, lea = self.person("jon"), self.person("kim"), self.person("lea")
        running = self.respond(lea, "--exec", UPPER, "--from", "kim")
        jon.send("lea", "from jon")
        kim.send("lea", "from kim")
        self.assertEqual(kim.texts(1), ["FROM KIM"])
        running.interrupt()
        self.assertEqual(lea.texts(1), ["from jon"])

    def test_one_reader(self) -> None:
        """Of C{recv} and C{respond} one runs at a time on a profile."""
        lou, max_ = self.person("lou"), self.person("max")
        running = self.respond(max_, "--exec", UPPER)
        lou.send("max", "at work?")
        self.assertEqual(lou.texts(1), ["AT WORK?"])
        for command in (("recv",), ("respond", "--exec", "cat")):
            self.assertEqual(max_.error(*command, status=9)["code"], "second-recv")
        running.interrupt()
        max_.recv()

    def test_two_machines(self) -> None:
        """Two machines that are made to talk with each other stay quiet: an answer is not answered. It stays for its reader."""
        nia, oto = self.person("nia"), self.person("oto")
        for who in (nia, oto):
            who.run("settings", "receipts", "everybody")
        machines = [self.respond(who, "--exec", "cat") for who in (nia, oto)]
        nia.send("oto", "one", "--wait", "delivered")
        until(lambda: self.answers(nia, "oto"), "the answer")
        oto.send("nia", "two", "--wait", "delivered")
        until(lambda: len(self.answers(oto, "nia")) > 1, "the other answer")
        for machine in machines:
            machine.interrupt()
        self.assertEqual(self.answers(nia, "oto"), ["one", "two"])
        self.assertEqual(self.answers(oto, "nia"), ["one", "two"])
        self.assertEqual([row["kind"] for row in nia.recv()], ["answer"])
        self.assertEqual([row["kind"] for row in oto.recv()], ["answer"])

    def test_interrupt_kills(self) -> None:
        """
        A command that runs when the machine is told to end is killed with its children; its question is answered next time.
        """
        for stop in (signal.SIGINT, signal.SIGTERM):
            pia, quin = self.person(f"pia-{stop}"), self.person(f"quin-{stop}")
            pids = self.place.folder / f"pids-{stop}"
            running = self.respond(quin, "--exec", self.script(f"slow-{stop}", f"echo $$ >> {pids}; sleep 60; echo late"))
            pia.send(quin.name, "hello")
            until(lambda: pids.exists() and pids.read_text(), "the command at work")  # noqa: B023 - called at once
            running.process.send_signal(stop)
            self.assertEqual(running.wait(10).status, 130)
            (leader,) = (int(line) for line in pids.read_text().split())
            self.assertEqual(members(leader), [])
            self.respond(quin, "--exec", UPPER)
            self.assertEqual(pia.texts(1), ["HELLO"])

    def test_killed_with_its_commands(self) -> None:
        """
        A responder that is killed takes its command with it; that command's children are killed at its limit.
        """
        wim, xia = self.person("wim"), self.person("xia")
        leader = self.place.folder / "leader"
        body = f"sleep 1000 & echo $$ > {leader}.new; mv {leader}.new {leader}; wait"
        running = self.respond(xia, "--exec", self.script("nest", body))
        wim.send("xia", "hello")
        until(leader.exists, "the command at work")
        group = int(leader.read_text())
        # The responder alone, and not its group.
        running.process.kill()
        until(lambda: group not in members(group), "the end of the command", 5)
        until(lambda: not members(group), "the end of its children")

    def test_time_is_over(self) -> None:
        """With C{--timeout} it ends by itself, and its answers are out."""
        ron, sue = self.person("ron"), self.person("sue")
        ron.send("sue", "hello")
        sue.run("respond", "--exec", UPPER, "--timeout", "3")
        self.assertEqual(ron.texts(1), ["HELLO"])

    def test_beside_a_chat(self) -> None:
        """With a chat open that holds the connection, the machine answers what others write."""
        tom, una, vic = self.person("tom"), self.person("una"), self.person("vic")
        chat = una.start("chat", "vic", pipe=True)
        chat.type("hello\n")
        self.assertEqual(vic.texts(1), ["hello"])
        machine = self.respond(una, "--exec", UPPER)
        tom.send("una", "hello")
        self.assertEqual(tom.texts(1), ["HELLO"])
        machine.interrupt()
        chat.end_input()
        self.assertEqual(chat.wait().status, 0)


class KillTests(RespondCase, MachineKillCase):
    """C{kill -9} of machine and daemon at any moment."""

    def test_kill(self) -> None:
        """The command may run again, its answer arrives once: every question has exactly one, and none is lost."""
        ada, bix = self.person("ada"), self.person("bix")
        runs = self.place.folder / "runs"
        # Says each time something else, so that a second answer would show.
        command = self.script("count", f"read x; echo \"$x $$\" >> {runs}; echo \"$x: $$\"")
        texts, answers, note = self.ask_through_kills(ada, "bix", lambda: self.respond(bix, "--exec", command))
        self.assertEqual([text.partition(":")[0] for text in answers], texts, note)
        ran = {tuple(line.split()) for line in runs.read_text().splitlines()}
        self.assertEqual({tuple(text.split(": ")) for text in answers} - ran, set(), note)
        self.assertEqual(bix.recv(), [], note)


def members(group: int) -> list[int]:
    """The processes of a process group."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(path.name)) == group and "Z" not in (path / "stat").read_text().rpartition(")")[2][:3]:
                found.append(int(path.name))
        except (OSError, ValueError):
            continue
    return found
