"""Both ends of C{securemsg pipe}, in memory: resume, files, interruptions, and what is refused."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from attrs import evolve
from twisted.internet.defer import Deferred, maybeDeferred

from securemsg.account.errors import Exit, SecuremsgError
from securemsg.cli import pipereceiver, pipesender
from securemsg.cli.output import OutputClosed
from securemsg.cli.pipereceiver import PipeReceiver
from securemsg.cli.pipesender import PipeSender
from securemsg.cli.settings import Settings
from securemsg.client.state import contacts, outpipes
from securemsg.client.state.inpipes import InPipe, InPipes
from securemsg.client.state.outpipes import OutPipe
from securemsg.client.state.pipes import TABLE, WINDOW
from securemsg.protocol.envelope import BLOCK, PipeEnd
from tests.cli.commands.rig import ProfileCase
from tests.cli.rig import Person, PlaceCase

STREAM = bytes(range(16))
DATA = bytes(range(256)) * (3 * WINDOW * BLOCK // 256) + b"the rest"


class PipingCase(PlaceCase):
    """Alice sends to Bob."""

    def setUp(self) -> None:
        """Make both; what would be done in a thread is done at once."""
        super().setUp()
        for module in (pipesender, pipereceiver):
            self.patch(module, "in_thread", lambda reactor, call, *arguments: maybeDeferred(call, *arguments))
        self.alice, self.bob = self.place.person("alice", again=True), self.place.person("bob", again=True)
        self.target = self.place.folder / "target"
        self.err = io.StringIO()
        self.enterContext(contextlib.redirect_stderr(self.err))

    def give(self, data: bytes) -> int:
        """Put data on standard input, as a file."""
        path = self.place.folder / "input"
        path.write_bytes(data)
        descriptor = os.open(path, os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        self.patch(pipesender, "STDIN", descriptor)
        return descriptor

    def send(self, name: str = "bob", **settings: Any) -> Deferred[int]:
        """Start a sender."""
        context = evolve(self.alice.context, settings=Settings(**settings))
        return self.begun(PipeSender(context, name, STREAM).work, self.alice)

    def take(self, target: Path | None = None, stream: bytes | None = STREAM, **settings: Any) -> Deferred[int]:
        """Start a recipient."""
        context = evolve(self.bob.context, settings=Settings(**settings))
        self.receiver = PipeReceiver(context, "alice", stream, target)
        return self.begun(self.receiver.work, self.bob)

    def begun(self, work: Callable[..., Any], person: Person) -> Deferred[int]:
        """Start either."""
        done = Deferred.fromCoroutine(work(self.place.clock, person.connection))
        self.place.settle()
        return done

    def die(self, done: Deferred[int]) -> None:
        """The process is gone; it commits nothing any more."""
        patch = self.patch(PipeSender, "_end", lambda *arguments: None)
        done.addErrback(lambda failure: None)
        done.cancel()
        self.place.settle()
        patch.restore()

    def result(self, done: Deferred[int]) -> int:
        """The status with which one has ended."""
        self.place.settle(2)
        return int(self.successResultOf(done))

    def code(self, done: Deferred[int]) -> str:
        """The code of the error with which one has failed."""
        return str(self.failureResultOf(done, SecuremsgError).value.code)

    @property
    def out(self) -> OutPipe:
        """What Alice has."""
        with self.alice.context.store.reading() as records:
            return outpipes.get(records, STREAM) or OutPipe("")

    @property
    def into(self) -> InPipe:
        """What Bob has."""
        with self.bob.context.store.reading() as records:
            return InPipes(records, self.bob.context.profile, "alice", 0).get(STREAM) or InPipe()


class FlowTests(PipingCase):
    """Both ends are there."""

    def test_through(self) -> None:
        """All of it comes through, and both end with 0; started once more, both say so again."""
        for _ in range(2):
            self.give(DATA)
            sender, taker = self.send(), self.take(self.target)
            self.place.settle()
            self.assertEqual((self.result(sender), self.result(taker)), (Exit.DONE, Exit.DONE))
            self.assertEqual(self.target.read_bytes(), DATA)
        self.assertEqual(self.target.stat().st_mode & 0o777, 0o600)

    def test_ended(self) -> None:
        """A stream that was taken is not taken again elsewhere, nor is another input taken for it."""
        self.give(b"some")
        sender, taker = self.send(), self.take(self.target)
        self.place.settle()
        self.assertEqual((self.result(sender), self.result(taker)), (Exit.DONE, Exit.DONE))
        self.assertEqual(self.code(self.take(self.place.folder / "elsewhere")), "other-output")
        self.assertEqual(self.code(self.take(None)), "other-output")
        self.assertFalse((self.place.folder / "elsewhere").exists())
        for other in (b"", b"som", b"same", b"some more"):
            self.give(other)
            self.assertEqual(self.code(self.send()), "other-input")
        self.assertIn("this stream was taken before", self.err.getvalue() if self.result(self.take(self.target)) == 0 else "")

    def test_stops_at_window(self) -> None:
        """While nobody takes it, the input is read no further than the window."""
        descriptor = self.give(DATA)
        sender = self.send()
        self.place.settle(60)
        self.assertNoResult(sender)
        self.assertEqual(os.lseek(descriptor, 0, os.SEEK_CUR), WINDOW * BLOCK)
        self.assertEqual(self.out.offset, WINDOW * BLOCK)
        self.die(sender)

    def test_timeout(self) -> None:
        """What does not go on ends with 7, and can be gone on with."""
        self.give(DATA)
        sender, taker = self.send(timeout=5), self.take(self.target, bytes(16), timeout=5)
        self.place.settle(4)
        self.assertNoResult(sender)
        self.place.settle(2)
        self.assertEqual((self.code(sender), self.code(taker)), ("stream-waits", "no-stream"))
        self.assertEqual(self.out.outcome, PipeEnd.NONE)

    def test_offline(self) -> None:
        """What is behind it, if the server is not there."""
        self.place.is_up = False
        for dialer in self.place.dialers:
            dialer.stop()
        self.place.settle()
        self.give(b"some")
        sender = self.send(timeout=5)
        self.place.settle(6)
        self.assertNotEqual(self.code(sender), "stream-waits")

    def test_no_such_account(self) -> None:
        """Nobody of this name: status 3, and no stream has begun."""
        self.give(b"some")
        self.assertEqual(self.code(self.send("nobody")), "no-such-account")
        self.assertEqual(self.out, OutPipe(""))

    def test_identity_changed(self) -> None:
        """Where the recipient's keys change, the sender waits no more."""
        self.give(DATA)
        sender = self.send()
        with self.alice.context.store.writing() as records:
            contact = contacts.get_contact(records, "bob")
            assert contact is not None
            contacts.put_contact(records, with_other_keys(contact))
        self.place.settle(2)
        self.assertEqual(self.code(sender), "identity-changed")


def with_other_keys(contact: contacts.Contact) -> contacts.Contact:
    """A contact whose name another identity claims."""
    return msgspec.structs.replace(contact, changed_to=bytes(32))


class SenderTests(PipingCase):
    """The sender is killed, interrupted, or given something else."""

    def test_resume(self) -> None:
        """It skips what was sent, and goes on; the file has all of it once."""
        self.give(DATA)
        self.die(self.send())
        self.assertEqual(self.out.offset, WINDOW * BLOCK)
        taker = self.take(self.target)
        self.give(DATA)
        sender = self.send()
        self.place.settle()
        self.assertEqual((self.result(sender), self.result(taker)), (Exit.DONE, Exit.DONE))
        self.assertEqual(self.target.read_bytes(), DATA)

    def lose(self) -> None:
        """What has come to Bob and was not taken is gone, as after a restore of his profile, or of the server."""
        with self.bob.context.store.writing() as records:
            for bucket, order, _ in records.scan(TABLE):
                records.delete(TABLE, bucket, order)

    def test_lost(self) -> None:
        """What was lost on the way is sent again, once, by a sender that goes on, also where the end was sent."""
        for data in (DATA, DATA[: 3 * BLOCK + 5]):
            self.setUp()
            self.give(data)
            self.die(self.send())
            self.lose()
            self.give(data)
            taker, sender = self.take(self.target), self.send()
            self.place.settle()
            self.assertEqual((self.result(sender), self.result(taker)), (Exit.DONE, Exit.DONE))
            self.assertEqual(self.target.read_bytes(), data)

    def test_ended_with_other_input(self) -> None:
        """Where all was sent, another input changes nothing: only the recipient's word is waited for."""
        self.give(b"some")
        self.die(self.send())
        self.give(b"another")
        sender = self.send()
        taker = self.take(self.target)
        self.place.settle()
        self.assertEqual((self.result(sender), self.result(taker)), (Exit.DONE, Exit.DONE))
        self.assertEqual(self.target.read_bytes(), b"some")

    def test_other_input(self) -> None:
        """Another input, or a shorter one, is refused before anything of it is sent."""
        self.give(b"some")
        self.patch(pipesender, "read_input", lambda most: os.read(pipesender.STDIN, min(most, 3)))
        with self.alice.context.store.writing() as records:
            outpipes.begin(records, self.alice.context.profile, "bob", STREAM, int(self.place.now()))
            outpipes.send(records, self.alice.context.profile, STREAM, 0, b"some", int(self.place.now()))
        for data in (b"sore and more", b"so", b""):
            self.give(data)
            self.assertEqual(self.code(self.send()), "other-input")
        self.assertEqual((self.out.offset, self.out.end), (4, PipeEnd.NONE))

    def test_cut(self) -> None:
        """An interruption cuts the stream: both end with a status of its own, and what was sent was written."""
        self.give(DATA)
        sender = self.send()
        sender.cancel()
        self.place.settle()
        self.assertEqual(self.result(sender), Exit.CUT)
        self.assertEqual(self.result(self.take(self.target)), Exit.CUT)
        self.assertEqual(self.target.read_bytes(), DATA[: WINDOW * BLOCK])
        self.assertIn("[stream-cut]", self.err.getvalue())

    def test_other_recipient(self) -> None:
        """An id that was used for somebody else."""
        self.give(b"some")
        self.place.person("carol")
        self.die(self.send("carol"))
        self.assertEqual(self.code(self.send()), "conflict")


class ReceiverTests(PipingCase):
    """The recipient is killed, or its output is not what it was."""

    def setUp(self) -> None:
        """Something of a stream was taken, and more waits."""
        super().setUp()
        self.give(b"begun, ")
        with self.alice.context.store.writing() as records:
            outpipes.begin(records, self.alice.context.profile, "bob", STREAM, int(self.place.now()))
            outpipes.send(records, self.alice.context.profile, STREAM, 0, b"begun, ", int(self.place.now()))
        self.alice.connection.nudge()
        self.place.settle()
        self.die(self.take(self.target))
        os.close(self.receiver.descriptor)
        self.assertEqual(self.into.taken, 7)

    def finish(self) -> None:
        """The rest is sent."""
        with self.alice.context.store.writing() as records:
            outpipes.send(records, self.alice.context.profile, STREAM, 7, b"done", int(self.place.now()))
            outpipes.end(records, self.alice.context.profile, STREAM, 11, PipeEnd.COMPLETE, int(self.place.now()))
        self.alice.connection.nudge()
        self.place.settle()

    def test_cut_back(self) -> None:
        """What was written and not committed comes again, and stands there once."""
        with self.target.open("ab") as file:
            file.write(b"do")
        self.finish()
        self.assertEqual(self.result(self.take(self.target, stream=None)), Exit.DONE)
        self.assertEqual(self.target.read_bytes(), b"begun, done")

    def test_shorter(self) -> None:
        """A file that has lost what was committed is refused."""
        self.target.write_bytes(b"begun")
        self.assertEqual(self.code(self.take(self.target)), "output-shorter")

    def test_elsewhere(self) -> None:
        """The rest goes nowhere else; another file is not even made."""
        other = self.place.folder / "other"
        for target in (other, None):
            self.assertEqual(self.code(self.take(target)), "other-output")
        self.assertFalse(other.exists())

    def test_existing(self) -> None:
        """A file that holds something else is not touched; nor is what is no file."""
        self.give(b"")
        other = self.place.folder / "other"
        other.write_bytes(b"precious")
        with self.alice.context.store.writing() as records:
            outpipes.begin(records, self.alice.context.profile, "bob", bytes(16), int(self.place.now()))
            outpipes.send(records, self.alice.context.profile, bytes(16), 0, b"x", int(self.place.now()))
        self.alice.connection.nudge()
        self.place.settle()
        self.assertEqual(self.code(self.take(other, bytes(16))), "output-exists")
        self.assertEqual(other.read_bytes(), b"precious")
        self.assertEqual(self.code(self.take(Path(os.devnull), bytes(16))), "output-exists")
        self.assertEqual(self.code(self.take(self.place.folder, bytes(16))), "output-exists")
        self.assertEqual(self.code(self.take(other / "below", bytes(16))), "output-failed")

    def test_checked_first(self) -> None:
        """What is wrong with the file is said before there is anything to write."""
        other = self.place.folder / "precious"
        other.write_bytes(b"precious")
        self.assertEqual(self.code(self.take(other, bytes(16))), "output-exists")
        self.assertEqual(self.code(self.take(other / "below", bytes(16))), "output-failed")

    def test_changed_output(self) -> None:
        """A file that was changed meanwhile is neither cut back nor written to."""
        for changed in (b"other, and more", b"begux, and more"):
            self.target.write_bytes(changed)
            self.assertEqual(self.code(self.take(self.target)), "output-changed")
            self.assertEqual(self.target.read_bytes(), changed)

    def test_second(self) -> None:
        """A second process does not cut the file back under the first."""
        first = self.take(self.target)
        self.assertEqual(self.code(self.take(self.target)), "second-pipe")
        self.finish()
        self.assertEqual(self.result(first), Exit.DONE)

    def test_overtaken(self) -> None:
        """A process that another one has overtaken writes nothing more."""
        first = self.take(self.target)
        with self.bob.context.store.writing() as records:
            streams = InPipes(records, self.bob.context.profile, "alice", 0)
            streams._put(STREAM, InPipe(taken=9, output=str(self.target)))
        self.place.settle(2)
        self.assertEqual(self.code(first), "second-pipe")

    def test_closed(self) -> None:
        """Nobody reads the output any more: the sender hears of it."""

        def closed(descriptor: int, data: bytes) -> None:
            raise OutputClosed

        self.patch(pipereceiver, "write_all", closed)
        self.finish()
        self.assertEqual(self.result(self.take(self.target)), Exit.CUT)
        self.place.settle()
        self.assertEqual(self.out.outcome, PipeEnd.CUT)

    def test_not_written(self) -> None:
        """A full disk: nothing more is committed, and the stream goes on later."""

        def full(descriptor: int, data: bytes) -> None:
            raise SecuremsgError(Exit.INTERNAL, "output-failed", "full")

        patch = self.patch(pipereceiver, "write_all", full)
        self.finish()
        self.assertEqual(self.code(self.take(self.target)), "output-failed")
        self.assertEqual(self.into.taken, 7)
        patch.restore()


class CommandTests(ProfileCase):
    """What is refused before anything begins."""

    def test_peers(self) -> None:
        """Streams go to one other person: not to rooms, the lobby, `server`, or oneself."""
        for name in ("#team", "#lobby", "server", "ada"):
            for arguments in ((name,), ("--from", name)):
                done = self.run_command("--json", "pipe", *arguments, status=2)
                self.assertEqual(json.loads(done.err)["code"], "no-pipe")

    def test_usage(self) -> None:
        """One direction at a time."""
        for arguments in ((), ("bob", "--from", "bob"), ("bob", "--output", "file")):
            self.run_command("pipe", *arguments, status=2)
