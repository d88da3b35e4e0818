"""From a webhook to the outbox."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus

from attrs import define
from twisted.internet.task import Clock

from securemsg.client import messages
from securemsg.client.sending.results import give_up
from securemsg.client.state import preferences
from securemsg.client.state.records import OUTBOX, ROWS, OutboxRow, find_sent, load_all
from securemsg.client.state.vault import open_vault
from securemsg.gateway.formats import FORMATS, TextTemplate
from securemsg.gateway.routes import Route
from securemsg.gateway.webhooks import REPORT_EVERY, Answer, Webhook, Webhooks
from securemsg.interfaces import IProfileStore, IRecords
from securemsg.storage.errors import StateUnusable
from securemsg.storage.profile import open_profile
from tests.cli.commands.rig import NOW, ProfileCase
from tests.client.rig import outbox_rows

TOKEN = b"0123456789abcdef"
BEARER = {b"Authorization": b"Bearer " + TOKEN}
# HMAC-SHA-256 of `{}` under the token: printf {} | openssl dgst -sha256 -hmac 0123456789abcdef
SIGNATURE = b"sha256=f91e3e9f05cc2df64ac1c26f8adccdffda8d1e4a7a8c50a1a08eeadac6ddfec5"
EMPTY = b"{}"


@define
class FullDisk:
    """A store that is read, and cannot be written."""

    _store: IProfileStore

    def reading(self) -> contextlib.AbstractContextManager[IRecords]:
        """Read."""
        return self._store.reading()

    @contextlib.contextmanager
    def writing(self) -> Iterator[IRecords]:
        """
        Do not write.

        @raise StateUnusable: always.
        """
        raise StateUnusable("the disk is full; make room")
        yield


def route(name: str, *to: str, kind: str = "text", template: str = "") -> Route:
    """A route."""
    return Route(name, to, kind, TOKEN, TextTemplate.of(template or FORMATS[kind].template))


class WebhookCase(ProfileCase):
    """The gateway of ada, without a network."""

    def setUp(self) -> None:
        """Start it."""
        super().setUp()
        self.clock = Clock()
        self.reports: list[tuple[str, str, str]] = []
        self.nudges = 0
        self.nudge_fails = False
        self.routes = [
            route("note", "bob"),
            route("all", "bob", "carol"),
            route("hub", "bob", kind="github"),
            route("some", "bob", kind="json", template="{% if ok %}{{ ok + 1 }}{% endif %}\n"),
        ]
        self.webhooks = self.made(self.store)

    def made(self, store: IProfileStore | FullDisk, spool: int = 3) -> Webhooks:
        """A gateway on this store."""
        return Webhooks(
            store,  # type: ignore[arg-type]
            {f"/{each.name}".encode(): each for each in self.routes},
            spool,
            lambda: NOW,
            self.clock.seconds,
            self.nudge,
            lambda *report: self.reports.append(report),
        )

    def nudge(self) -> None:
        """Count, and fail if that is wanted."""
        self.nudges += 1
        if self.nudge_fails:
            raise StateUnusable("the disk is full; make room")

    def post(self, path: str, body: bytes = b"hello", headers: dict[bytes, bytes] = BEARER, method: bytes = b"POST") -> Answer:
        """Send a webhook."""
        return self.webhooks.answer(Webhook(method, path.encode(), headers.get, body))

    def accepted(self, answer: Answer) -> list[bytes]:
        """The ids in an answer that says yes."""
        self.assertEqual((answer.status, answer.headers), (HTTPStatus.ACCEPTED, {b"Content-Type": b"application/json"}))
        return [bytes.fromhex(each) for each in json.loads(answer.text)["ids"]]

    def refused(self, answer: Answer, status: HTTPStatus) -> None:
        """An answer says no, in words, and nothing waits to be sent."""
        self.assertEqual(answer.status, status)
        self.assertGreater(len(answer.text), 5)
        self.assertEqual((outbox_rows(self.store), self.nudges), (0, 0))


class AcceptedTests(WebhookCase):
    """What becomes a message."""

    def test_committed(self) -> None:
        """What is accepted is on disk: another process finds it there, and sends it."""
        [message_id] = self.accepted(self.post("/note"))
        self.assertEqual(self.nudges, 1)
        with contextlib.closing(open_profile(self.folder, open_vault(self.folder, None))) as store:
            sent = messages.sent(store, message_id)
        assert sent is not None
        self.assertEqual((sent.to, sent.text, sent.status, sent.sent_at), ("bob", "hello", "queued", NOW))

    def test_several(self) -> None:
        """Each recipient has a message, in the order of the route."""
        sent = [messages.sent(self.store, each) for each in self.accepted(self.post("/all"))]
        self.assertEqual([each.to for each in sent if each is not None], ["bob", "carol"])

    def test_no_room_for_more(self) -> None:
        """What is committed is accepted, also where nothing can be written right behind it."""
        self.nudge_fails = True
        self.accepted(self.post("/note"))

    def test_newcomers(self) -> None:
        """Whoever joins a room before a message is sent gets it, too: nobody is there to decide."""
        self.accepted(self.post("/note"))
        with self.store.reading() as records:
            [(_, row)] = load_all(records, OutboxRow, OUTBOX, ROWS)
        self.assertTrue(row.newcomers)

    def test_no_text(self) -> None:
        """Where the template makes no text, there is no message."""
        self.assertEqual(self.accepted(self.post("/some", b'{"ok": 0}')), [])
        self.assertEqual((outbox_rows(self.store), self.nudges), (0, 0))

    def test_repeated(self) -> None:
        """With the same key the same webhook is sent once; another route, key or recipient has another message."""
        keyed = {**BEARER, b"Idempotency-Key": b"1"}
        first, again = (self.accepted(self.post("/all", headers=keyed)) for _ in range(2))
        self.assertEqual(first, again)
        self.assertEqual(outbox_rows(self.store), 2)
        self.webhooks = self.made(self.store, 100)
        others = [self.accepted(self.post("/note", headers=each)) for each in (keyed, {**BEARER, b"Idempotency-Key": b"2"})]
        self.assertEqual(len({*first, *others[0], *others[1]}), 4)

    def test_without_key(self) -> None:
        """Without a key, each webhook has a message of its own."""
        self.assertNotEqual(self.accepted(self.post("/note")), self.accepted(self.post("/note")))
        self.assertEqual(outbox_rows(self.store), 2)

    def test_github(self) -> None:
        """GitHub signs the body, and names each delivery."""
        headers = {b"X-Hub-Signature-256": SIGNATURE, b"X-GitHub-Event": b"ping", b"X-GitHub-Delivery": b"72d3162e"}
        first, again = (self.accepted(self.post("/hub", EMPTY, headers)) for _ in range(2))
        self.assertEqual(first, again)
        sent = messages.sent(self.store, first[0])
        assert sent is not None
        self.assertEqual(sent.text, "GitHub: ping")


class RefusedTests(WebhookCase):
    """What becomes none."""

    def test_place(self) -> None:
        """There is no such route, or it is not posted to."""
        for path in ("/", "/notes", "/note/", "note"):
            self.refused(self.post(path), HTTPStatus.NOT_FOUND)
        for method in (b"GET", b"HEAD", b"PUT", b"post"):
            answer = self.post("/note", method=method)
            self.refused(answer, HTTPStatus.METHOD_NOT_ALLOWED)
            self.assertEqual(answer.headers, {b"Allow": b"POST"})

    def test_token(self) -> None:
        """The token is wrong or missing, or comes in another way."""
        for value in (b"", TOKEN, b"Basic " + TOKEN, b"Bearer", b"Bearer " + TOKEN[:-1], b"Bearer " + TOKEN + b"0"):
            answer = self.post("/note", headers={b"Authorization": value})
            self.refused(answer, HTTPStatus.UNAUTHORIZED)
            self.assertEqual(answer.headers, {b"WWW-Authenticate": b"Bearer"})
        self.refused(self.post("/note", headers={}), HTTPStatus.UNAUTHORIZED)

    def test_signature(self) -> None:
        """At a route of GitHub's only a signature of the body counts, and not the token itself."""
        for value in (b"", SIGNATURE[7:], SIGNATURE[:-1] + b"0", b"sha1=" + SIGNATURE[7:]):
            answer = self.post("/hub", EMPTY, {b"X-Hub-Signature-256": value})
            self.refused(answer, HTTPStatus.UNAUTHORIZED)
            self.assertIn("X-Hub-Signature-256", answer.text)
        self.refused(self.post("/hub", b"{ }", {b"X-Hub-Signature-256": SIGNATURE}), HTTPStatus.UNAUTHORIZED)
        self.refused(self.post("/hub", EMPTY), HTTPStatus.UNAUTHORIZED)

    def test_body(self) -> None:
        """The body is not of the format, or the template fails on it."""
        self.refused(self.post("/some", b"{"), HTTPStatus.BAD_REQUEST)
        answer = self.post("/some", b'{"ok": "secret"}')
        self.refused(answer, HTTPStatus.UNPROCESSABLE_ENTITY)
        self.assertEqual(answer.text, "the template of this route fails: TypeError in line 1")
        self.assertEqual(self.reports, [("template-failed", "some", "the template fails: TypeError in line 1")])

    def test_spool(self) -> None:
        """So many messages wait already; once they are gone it goes on."""
        ids = [message_id for _ in range(3) for message_id in self.accepted(self.post("/note"))]
        answer = self.post("/note")
        self.assertEqual((answer.status, answer.headers), (HTTPStatus.SERVICE_UNAVAILABLE, {b"Retry-After": b"60"}))
        self.assertEqual((outbox_rows(self.store), self.reports[0][:2]), (3, ("spool-full", "note")))
        messages.withdraw(self.store, ids[0])
        self.accepted(self.post("/note"))

    def test_one_spool_each(self) -> None:
        """Somebody to whom nothing goes out keeps it from nobody else."""
        for _ in range(3):
            self.accepted(self.post("/note"))
        [message_id] = self.accepted(self.post("/all"))
        sent = messages.sent(self.store, message_id)
        assert sent is not None
        self.assertEqual(sent.to, "carol")
        self.assertIn("3 messages to bob wait already", self.reports[-1][2])

    def test_failed_later(self) -> None:
        """What fails after it was accepted is reported, once."""
        first, second = self.accepted(self.post("/all"))
        with self.store.writing() as records:
            found = find_sent(records, first)
            assert found is not None
            give_up(records, found[0].outbox, "no-such-account", NOW)
        for _ in range(2):
            self.webhooks.check_sent()
        self.assertEqual(self.reports, [("no-such-account", "all", "a message to bob has failed: no such account: bob")])
        del second

    def test_full_disk(self) -> None:
        """The disk is full: it may be tried again."""
        self.webhooks = self.made(FullDisk(self.store))
        answer = self.post("/note")
        self.refused(answer, HTTPStatus.SERVICE_UNAVAILABLE)
        self.assertEqual(answer.headers, {b"Retry-After": b"60"})
        self.assertEqual(self.reports, [("profile-unreadable", "note", "the disk is full; make room")])

    def test_conflict(self) -> None:
        """A key that was used for something else is no key for this."""
        keyed = {**BEARER, b"Idempotency-Key": b"1"}
        self.accepted(self.post("/note", b"one", keyed))
        self.assertEqual(self.post("/note", b"two", keyed).status, HTTPStatus.CONFLICT)
        self.assertEqual(outbox_rows(self.store), 1)

    def test_recipient(self) -> None:
        """Whom the user has blocked gets nothing; the others do, and the user is told."""
        with self.store.writing() as records:
            preferences.block(records, "bob", is_blocked=True)
        answer = self.post("/note")
        self.assertEqual((answer.status, outbox_rows(self.store)), (HTTPStatus.INTERNAL_SERVER_ERROR, 0))
        [message_id] = self.accepted(self.post("/all"))
        sent = messages.sent(self.store, message_id)
        assert sent is not None
        self.assertEqual(sent.to, "carol")
        self.assertEqual([report[:2] for report in self.reports], [("contact-blocked", "note"), ("contact-blocked", "all")])


class ReportTests(WebhookCase):
    """What the user is told."""

    def test_bounded(self) -> None:
        """The same fault of a route is reported once a minute, with how often, and with nothing of the request."""
        for _ in range(5):
            self.post("/note", b"secret", {b"Authorization": b"Bearer secret"})
        self.post("/all", headers={})
        self.clock.advance(REPORT_EVERY)
        self.post("/note", headers={})
        text = "a webhook with a wrong token, or with none, was refused"
        self.assertEqual(
            self.reports,
            [("wrong-token", "note", text), ("wrong-token", "all", text), ("wrong-token", "note", f"{text} (5 times)")],
        )

    def test_secret(self) -> None:
        """A request shows neither body nor headers where it is printed."""
        shown = repr(Webhook(b"POST", b"/note", partial(dict.get, {b"Authorization": b"secret"}), b"secret"))
        self.assertNotIn("secret", shown)
