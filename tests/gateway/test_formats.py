"""What becomes of the body of a webhook."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from securemsg.gateway.formats import CUT, FORMATS, BadBody, TemplateFailed, TextTemplate, read_body
from securemsg.protocol.messages import MAX_TEXT
from tests.gateway.payloads import ALERTMANAGER, GRAFANA, ISSUE, PING, PUSH, WORKFLOW_RUN


def text_of(name: str, body: object, event: str = "") -> str:
    """What the template of a format makes of a body."""
    return TextTemplate.of(FORMATS[name].template).render(read_body(name, json.dumps(body).encode()), event)


class DefaultTests(SynchronousTestCase):
    """The template of each format says in few words what has happened."""

    def test_alertmanager(self) -> None:
        """An alert has one line: status, name, severity, instance, summary, address."""
        self.assertEqual(
            text_of("alertmanager", ALERTMANAGER).splitlines(),
            [
                "FIRING DiskFull [critical] db1:9100: 3 % left on /var http://prometheus.example:9090/graph?g0.expr=x",
                "RESOLVED DiskFull [critical] db2:9100 http://alertmanager.example:9093",
            ],
        )

    def test_grafana(self) -> None:
        """Likewise; the address is that of the dashboard, and what Grafana has left out is counted."""
        self.assertEqual(
            text_of("grafana", GRAFANA).splitlines(),
            ["FIRING High memory: The memory is nearly used up https://grafana.example/d/abc", "and 2 more"],
        )

    def test_github(self) -> None:
        """An event has one line: repository, what happened, who did it, address."""
        for event, body, text in (
            ("push", PUSH, "ada pushed 2 commits to main: Mend it https://github.com/octo/hello/compare/aaa...bbb"),
            ("push", {**PUSH, "commits": [{}]}, "ada pushed 1 commit to main: Mend it https://github.com/octo/hello/compare/aaa...bbb"),
            ("issues", ISSUE, "issues opened #5 by ada: It breaks https://github.com/octo/hello/issues/5"),
            ("workflow_run", WORKFLOW_RUN, "workflow CI on main failure https://github.com/octo/hello/actions/runs/1"),
            ("ping", PING, "ping by ada https://github.com/octo/hello"),
        ):
            self.assertEqual(text_of("github", body, event), f"octo/hello: {text}")
        # A branch was deleted.
        gone = {**PUSH, "head_commit": None, "commits": []}
        self.assertIn("ada pushed 0 commits to main https://", text_of("github", gone, "push"))

    def test_json(self) -> None:
        """An object has a line for each item; anything else is shown as it is."""
        self.assertEqual(text_of("json", {"host": "db1", "used": [97, None]}), "host: db1\nused: [97, None]")
        self.assertEqual(text_of("json", "x < y & z"), "x < y & z")

    def test_text(self) -> None:
        """A text stays as it is, without line ends around it."""
        template = TextTemplate.of(FORMATS["text"].template)
        self.assertEqual(template.render(read_body("text", "  größer\n {{ x }}\n".encode())), "  größer\n {{ x }}")


class BodyTests(SynchronousTestCase):
    """A body that is not of its format is refused, in words that say what is missing, and nothing of what is there."""

    def assert_bad(self, name: str, content: bytes, words: str) -> None:
        """It is refused."""
        error = self.assertRaises(BadBody, read_body, name, content)
        self.assertIn(words, str(error))
        self.assertNotIn("secret", str(error))

    def test_empty(self) -> None:
        """An empty body is of no format."""
        for name in FORMATS:
            self.assert_bad(name, b"", "empty")

    def test_no_text(self) -> None:
        """A text is UTF-8."""
        self.assert_bad("text", b"secret \xff", "not UTF-8")

    def test_no_json(self) -> None:
        """JSON that is none, is cut off, is not UTF-8, or is nested without end."""
        for name in ("alertmanager", "grafana", "github", "json"):
            for content in (b'{"secret": nil}', b'{"secret": ', b'{"secret": "\xff"}', b"[" * 100_000):
                self.assert_bad(name, content, f"not in the format {name}")

    def test_shape(self) -> None:
        """An item is missing, or is something else."""
        for body, words in (
            ({"secret": 1}, "missing required field `alerts`"),
            (["secret"], "Expected `object`, got `array`"),
            ({"alerts": "secret"}, "Expected `array`"),
            ({"alerts": [{"labels": {"secret": "x"}}]}, "missing required field `status` - at `$.alerts[0]`"),
            ({"alerts": [{"status": "x", "labels": {"a": 3}}]}, "Expected `str`"),
        ):
            for name in ("alertmanager", "grafana"):
                self.assert_bad(name, json.dumps(body).encode(), words)
        self.assert_bad("github", b'["secret"]', "Expected `object`")


class TemplateTests(SynchronousTestCase):
    """Templates of one's own."""

    def test_names(self) -> None:
        """A template finds items by their keys, the whole body, and the event; what is missing is empty, however deep."""
        template = TextTemplate.of("{{ a }} {{ body.a }} {{ event }} {{ no.such.thing }}<{{ body['b'] }}>")
        self.assertEqual(template.render({"a": "<1>", "b": "&", "event": "mine"}, "push"), "<1> <1> push <&>")
        self.assertEqual(TextTemplate.of("{{ body }}{{ event }}").render("x"), "x")

    def test_wrong(self) -> None:
        """A template that is none is refused, with its line."""
        for text, words in (("a\n{{ x", "line 2: "), ("{{ x|nothing }}", "line 1: No filter named 'nothing'")):
            self.assertIn(words, str(self.assertRaises(ValueError, TextTemplate.of, text)))

    def test_fails(self) -> None:
        """One that fails says where and how, and nothing of the body."""
        for text in ("\n{{ a + 1 }}", "\n{{ a() }}", "\n{{ [][a] + 1 }}{% include a %}"):
            error = self.assertRaises(TemplateFailed, TextTemplate.of(text).render, {"a": "secret"})
            self.assertRegex(str(error), r"^\w+ in line 2$")

    def test_sandbox(self) -> None:
        """A template reaches nothing of Python behind its values."""
        self.assertEqual(TextTemplate.of("{{ ''.__class__.__mro__ }}").render("x"), "")
        error = self.assertRaises(TemplateFailed, TextTemplate.of("{{ body.__class__() }}").render, "x")
        self.assertEqual(str(error), "SecurityError in line 1")

    def test_cut(self) -> None:
        """A text that is too long for a message is cut off between characters, and says so in its last line."""
        template = TextTemplate.of("{{ body }}")
        self.assertEqual(template.render("x" * MAX_TEXT), "x" * MAX_TEXT)
        text = template.render("ü" * MAX_TEXT)
        self.assertEqual(text, "ü" * ((MAX_TEXT - len(CUT)) // 2) + CUT)
        self.assertLessEqual(len(text.encode()), MAX_TEXT)

    def test_no_characters(self) -> None:
        """What cannot be encoded becomes a question mark."""
        self.assertEqual(TextTemplate.of("{{ '\\ud800x' }}").render(""), "?x")
