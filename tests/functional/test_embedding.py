"""The programs in C{docs/embedding.md}, word by word, with a real daemon."""

from __future__ import annotations

import re
import signal

from tests.functional.support import ROOT, MachineCase, MachineKillCase, Person, Running, until

DOCUMENT = ROOT / "docs" / "embedding.md"
# The first program is the bot in ten lines; the second one sends and leaves; the third one is a bot on asyncio's loop.
BOT, SENDER, ASYNCIO_BOT = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text("utf-8"), re.DOTALL | re.MULTILINE)


class BotCase(MachineCase):
    """A bot, and somebody who asks it."""

    def start(self, bot: Person, program: str = BOT, *arguments: str) -> Running:
        """Run a program of the document on the bot's profile."""
        path = self.place.folder / f"{bot.name}.py"
        path.write_text(program, "utf-8")
        code = f"exec(compile(open({str(path)!r}).read(), 'bot.py', 'exec'))"
        return self.place.start(bot.name, code, str(bot.profile), *arguments)

    def ask(self, asker: Person, bot: Person, texts: list[str]) -> None:
        """Commit questions, and have them sent."""
        asker.run("chat", bot.name, text="".join(f"{text}\n" for text in texts))


class EmbeddingTests(BotCase):
    """What the document says of the bot."""

    def test_ten_lines(self) -> None:
        """
        It has ten lines, and answers; while it runs, other commands of its profile work; a second reader is refused; SIGTERM
        ends it in order.
        """
        self.assertLessEqual(len([line for line in BOT.splitlines() if line]), 10)
        ada, bix, cleo = self.person("ada"), self.person("bix"), self.person("cleo")
        running = self.start(bix)
        self.ask(ada, bix, ["one", "two"])
        self.assertEqual(ada.texts(2), ["you said: one", "you said: two"])
        bix.send("cleo", "by hand")
        self.assertEqual(cleo.texts(1), ["by hand"])
        self.assertEqual(bix.error("recv", status=9)["code"], "second-recv")
        running.process.send_signal(signal.SIGTERM)
        done = running.wait()
        self.assertEqual((done.status, done.out, done.err), (0, "", ""))
        self.assertEqual(bix.recv(), [])

    def test_asyncio(self) -> None:
        """The one on asyncio's loop answers as well, and ends as well."""
        dan, eve = self.person("dan"), self.person("eve")
        running = self.start(eve, ASYNCIO_BOT)
        self.ask(dan, eve, ["one", "two"])
        self.assertEqual(dan.texts(2), ["ONE", "TWO"])
        running.process.send_signal(signal.SIGTERM)
        done = running.wait()
        self.assertEqual((done.status, done.err), (0, ""))

    def test_sender(self) -> None:
        """The one that sends says what went wrong: what is in the outbox goes out later, and what is refused has a status."""
        hal, ida = self.person("hal"), self.person("ida")
        done = self.start(hal, SENDER, "ida", "hello").wait()
        self.assertEqual((done.status, done.out, done.err), (0, "", ""))
        done = self.start(hal, SENDER, "nobody", "hello").wait()
        self.assertEqual((done.status, done.out), (3, ""))
        self.assertRegex(done.err, r"^no such account: nobody; .* \[no-such-account\]\n$")
        self.daemon.kill()
        try:
            done = self.start(hal, SENDER, "ida", "later").wait()
        finally:
            self.daemon.start()
        self.assertEqual(done.status, 0)
        self.assertRegex(done.err, r"\[not-connected\]\n$")
        hal.run("ping")
        self.assertEqual(ida.texts(2), ["hello", "later"])

    def test_two_bots(self) -> None:
        """Two bots that are made to talk with each other do not talk for ever."""
        fay, gil = self.person("fay"), self.person("gil")
        gil.run("settings", "receipts", "everybody")
        programs = [self.start(bot) for bot in (fay, gil)]
        fay.send("gil", "hello", "--wait", "delivered")
        until(lambda: self.answers(fay, "gil"), "the answer")
        # Whatever else there were would come before these.
        fay.send("gil", "again", "--wait", "delivered")
        until(lambda: len(self.answers(fay, "gil")) > 1, "the second answer")
        for running in programs:
            running.kill()
        self.assertEqual(self.answers(fay, "gil"), ["you said: hello", "you said: again"])
        self.assertEqual(self.answers(gil, "fay"), ["hello", "again"])


class KillTests(BotCase, MachineKillCase):
    """C{kill -9} of bot and daemon at any moment."""

    def test_kill(self) -> None:
        """Each message is answered once and in order, and none is lost."""
        ada, bix = self.person("ada"), self.person("bix")
        texts, answers, note = self.ask_through_kills(ada, "bix", lambda: self.start(bix))
        self.assertEqual(answers, [f"you said: {text}" for text in texts], note)
        self.assertEqual([row["text"] for row in bix.history("ada") if row["from"] == "ada"], texts, note)
        self.assertEqual(bix.recv(), [], note)
