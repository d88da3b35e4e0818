"""
From a webhook to messages in the outbox. It is accepted once these are committed: from then on nothing is lost, and whatever
process of this profile connects next sends them.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus

from attrs import define, field, frozen

from securemsg.account.compose import commit_all
from securemsg.account.errors import SecuremsgError, error_for
from securemsg.client import messages, unsent
from securemsg.client.messages import Draft
from securemsg.client.state.records import Status
from securemsg.crypto.keys import ID_SIZE, digest, hmac_sha256, same
from securemsg.gateway.formats import GITHUB, BadBody, TemplateFailed, read_body
from securemsg.gateway.routes import Route
from securemsg.interfaces import IProfileStore
from securemsg.storage.errors import StorageError

MESSAGE_LABEL = b"securemsg/1 gateway message"
# When whoever posts may try again, seconds.
RETRY_AFTER = 60
# Messages that are watched until they have been accepted: the newest.
MAX_WATCHED = 10_000
# A fault of a route is reported once in so many seconds.
REPORT_EVERY = 60


@frozen
class Webhook:
    """
    A request.

    @ivar header: gives the value of a header, by its name.
    """

    method: bytes
    path: bytes
    header: Callable[[bytes], bytes | None] = field(repr=False)
    body: bytes = field(repr=False)


@frozen
class Answer:
    """The answer to a request."""

    status: HTTPStatus
    text: str
    headers: dict[bytes, bytes] = field(factory=dict)


@define(eq=False)
class Webhooks:
    """
    Answers webhooks.

    @ivar spool: how many messages to one account or room may wait in the outbox.
    @ivar now: Unix time; C{seconds}: monotonic time.
    @ivar nudge: sends what is in the outbox.
    @ivar report: called with a code, the name of a route, and what happened there.
    """

    _store: IProfileStore
    _routes: dict[bytes, Route]
    _spool: int
    _now: Callable[[], float]
    _seconds: Callable[[], float]
    _nudge: Callable[[], None]
    _report: Callable[[str, str, str], None]
    _counts: Counter[tuple[str, str]] = field(factory=Counter, init=False)
    _reported_at: dict[tuple[str, str], float] = field(factory=dict, init=False)
    _watched: dict[bytes, Route] = field(factory=dict, init=False)

    def answer(self, webhook: Webhook) -> Answer:
        """Commit the messages of a webhook, or say why not."""
        route = self._routes.get(webhook.path)
        if route is None:
            return Answer(HTTPStatus.NOT_FOUND, "there is no such route")
        if webhook.method != b"POST":
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, "use POST", {b"Allow": b"POST"})
        if not is_authentic(route, webhook):
            self._count("wrong-token", route, "a webhook with a wrong token, or with none, was refused")
            wanted = "X-Hub-Signature-256: the route's token is the secret of the webhook at GitHub"
            text = wanted if route.format == GITHUB else "Authorization: Bearer TOKEN"
            return Answer(HTTPStatus.UNAUTHORIZED, f"wrong or missing token; send {text}", {b"WWW-Authenticate": b"Bearer"})
        try:
            event = (webhook.header(b"X-GitHub-Event") or b"").decode("ascii", "replace")
            text = route.template.render(read_body(route.format, webhook.body), event)
        except BadBody as error:
            return Answer(HTTPStatus.BAD_REQUEST, str(error))
        except TemplateFailed as error:
            self._count("template-failed", route, f"the template fails: {error}")
            return Answer(HTTPStatus.UNPROCESSABLE_ENTITY, f"the template of this route fails: {error}")
        if not text.strip():
            return _accepted([])
        try:
            counts = unsent.counts(self._store, self._now())
            full = [to for to in route.to if counts[to] >= self._spool]
            for to in full:
                words = f"{self._spool} messages to {to} wait already: {to} gets no others until some have been sent"
                self._count("spool-full", route, words)
            if len(full) == len(route.to):
                return _unavailable("too many messages wait to be sent")
            return self._commit(route, webhook, text, [to for to in route.to if to not in full])
        except StorageError as error:
            self._count("profile-unreadable", route, str(error))
            return _unavailable("the messages cannot be written to disk")

    def check_sent(self) -> None:
        """Report messages that have failed since they were accepted; to be called every few seconds."""
        for number, route in list(self._watched.items()):
            try:
                sent = messages.sent(self._store, number)
            except StorageError:
                # The profile is busy; the next look says the same.
                return
            if sent is not None and sent.status == Status.QUEUED:
                continue
            del self._watched[number]
            if sent is not None and sent.status == Status.FAILED:
                problem = error_for(sent.code, sent.to)
                self._count(problem.code, route, f"a message to {sent.to} has failed: {problem.text}")

    def _commit(self, route: Route, webhook: Webhook, text: str, names: list[str]) -> Answer:
        """
        Commit a text to recipients of a route.

        @raise StorageError: nothing was committed.
        """
        key = webhook.header(b"X-GitHub-Delivery" if route.format == GITHUB else b"Idempotency-Key")
        # A room may have got a member since; without the last item its messages would wait until somebody decides.
        drafts = [Draft(to, text, message_id(route, to, key), to_newcomers=True) for to in names]
        results = commit_all(self._store, drafts, now=self._now())
        # They are on disk, and go out now or later.
        with contextlib.suppress(StorageError):
            self._nudge()
        for result in results:
            if isinstance(result, bytes):
                self._watched[result] = route
        for oldest in list(self._watched)[:-MAX_WATCHED]:
            del self._watched[oldest]
        refused = [result for result in results if isinstance(result, SecuremsgError)]
        for problem in refused:
            self._count(problem.code, route, problem.text)
        if len(refused) < len(results):
            return _accepted([result for result in results if isinstance(result, bytes)])
        if refused[0].code == "conflict":
            return Answer(HTTPStatus.CONFLICT, "this key was already used for another text; give a new one")
        return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, f"nothing can be sent: {refused[0].text}")

    def _count(self, code: str, route: Route, text: str) -> None:
        """Report a fault, unless the same was reported just now."""
        kind = (code, route.name)
        self._counts[kind] += 1
        now = self._seconds()
        if kind not in self._reported_at or now - self._reported_at[kind] >= REPORT_EVERY:
            self._reported_at[kind] = now
            count = self._counts.pop(kind)
            self._report(code, route.name, text if count == 1 else f"{text} ({count} times)")


def is_authentic(route: Route, webhook: Webhook) -> bool:
    """Whether whoever sent this has the token of the route: it stands in a header, or is the key of GitHub's signature."""
    if route.format == GITHUB:
        wanted = b"sha256=" + hmac_sha256(route.token, webhook.body).hex().encode("ascii")
        return same(wanted, webhook.header(b"X-Hub-Signature-256") or b"")
    scheme, _, token = (webhook.header(b"Authorization") or b"").partition(b" ")
    return scheme.lower() == b"bearer" and same(route.token, token.strip())


def message_id(route: Route, to: str, key: bytes | None) -> bytes | None:
    """The id of a message, always the same for the same key, so that a webhook that is repeated is sent once."""
    if not key:
        return None
    return digest(MESSAGE_LABEL, route.name.encode("ascii"), to.encode("utf-8"), key)[:ID_SIZE]


def _accepted(ids: list[bytes]) -> Answer:
    text = json.dumps({"ids": [each.hex() for each in ids]})
    return Answer(HTTPStatus.ACCEPTED, text, {b"Content-Type": b"application/json"})


def _unavailable(text: str) -> Answer:
    return Answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{text}; try again later", {b"Retry-After": b"%d" % RETRY_AFTER})
