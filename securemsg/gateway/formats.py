"""What webhooks send, by format, and the templates that make a text of it."""

from __future__ import annotations

import traceback
from typing import Any

import jinja2
import msgspec
from attrs import field, frozen
from jinja2.sandbox import SandboxedEnvironment

from securemsg.client.autoresponder import fitting
from securemsg.protocol.messages import MAX_TEXT

ALERTMANAGER, GRAFANA, GITHUB, JSON, TEXT = "alertmanager", "grafana", "github", "json", "text"
# The last line of a text that was too long for a message.
CUT = f"\n(cut off: it was longer than {MAX_TEXT // 1024} KiB)"


class BadBody(Exception):
    """A body is not of its route's format. The text says how, and nothing of what is in it."""


class TemplateFailed(Exception):
    """A template fails on a body. The text says where, and nothing of the body."""


class Alert(msgspec.Struct):
    """What an alert must have."""

    status: str
    labels: dict[str, str]
    annotations: dict[str, str] = {}


class AlertGroup(msgspec.Struct):
    """What Alertmanager (its webhook's version 4) and Grafana must send."""

    alerts: list[Alert]


# One line for each alert.
_ALERTS = """\
{% for alert in alerts %}
{{ alert.status|upper }} {{ alert.labels.alertname or "alert" }}
{%- if alert.labels.severity %} [{{ alert.labels.severity }}]{% endif %}
{%- if alert.labels.instance %} {{ alert.labels.instance }}{% endif %}
{%- set summary = alert.annotations.summary or alert.annotations.description or alert.annotations.message or "" %}
{%- if summary %}: {{ summary.split()|join(" ") }}{% endif %}
{%- set url = alert.dashboardURL or alert.generatorURL or externalURL %}
{%- if url %} {{ url }}{% endif %}

{% endfor %}
{% if truncatedAlerts %}and {{ truncatedAlerts }} more{% endif %}
"""
# One line for an event: whoever knows none of an event's own items still learns what happened, where, and by whom.
_GITHUB = """\
{{ repository.full_name or organization.login or "GitHub" }}:
{%- if event == "push" %}
 {{ sender.login or pusher.name }} pushed {{ commits|length }} commit{{ "s" if commits|length != 1 }}
{#- #} to {{ ref|replace("refs/heads/", "") }}
{%- if head_commit %}: {{ (head_commit.message or "").splitlines()|first }}{% endif %} {{ compare }}
{%- elif workflow_run %}
 workflow {{ workflow_run.name }} on {{ workflow_run.head_branch }}
{#- #} {{ workflow_run.conclusion or workflow_run.status }} {{ workflow_run.html_url }}
{%- else %}
{% set item = pull_request or issue or release or discussion or alert or check_run %}
 {{ event|replace("_", " ") }}{% if action %} {{ action|replace("_", " ") }}{% endif %}
{%- if item.number %} #{{ item.number }}{% endif %}
{%- if sender.login %} by {{ sender.login }}{% endif %}
{%- if item.title or item.name %}: {{ item.title or item.name }}{% endif %}
{%- set url = comment.html_url or review.html_url or item.html_url or repository.html_url %}
{%- if url %} {{ url }}{% endif %}
{% endif %}
"""
_JSON = """\
{% if body is mapping %}
{% for key in body %}
{{ key }}: {{ body[key] }}
{% endfor %}
{% else %}
{{ body }}
{% endif %}
"""


@frozen
class Format:
    """
    @ivar shape: what the JSON of a body must have; C{None}: the body is a text.
    @ivar template: makes a text of it where the route has none of its own.
    """

    shape: Any
    template: str


FORMATS = {
    ALERTMANAGER: Format(AlertGroup, _ALERTS),
    GRAFANA: Format(AlertGroup, _ALERTS),
    GITHUB: Format(dict[str, Any], _GITHUB),
    JSON: Format(Any, _JSON),
    TEXT: Format(None, "{{ body }}"),
}

# Whoever posts chooses what a template gets, so what a template can reach is bounded. What is missing is empty.
_ENVIRONMENT = SandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.ChainableUndefined)


def read_body(name: str, content: bytes) -> Any:
    """
    Read a body in the format of this name.

    @raise BadBody: it is of another.
    """
    shape = FORMATS[name].shape
    if not content:
        raise BadBody("the body is empty")
    if name == GITHUB and content.startswith(b"payload="):
        raise BadBody("the body is a form; set the webhook's content type at GitHub to application/json")
    try:
        if shape is None:
            return content.decode("utf-8")
        body = msgspec.json.decode(content)
        msgspec.convert(body, shape)
    except UnicodeDecodeError:
        raise BadBody("the body is not UTF-8") from None
    except (msgspec.MsgspecError, RecursionError) as error:
        # Its text names places in the body, and no values.
        raise BadBody(f"the body is not in the format {name}: {error}") from None
    return body


@frozen
class TextTemplate:
    """A template of Jinja2, compiled."""

    _template: jinja2.Template = field(repr=False)

    @classmethod
    def of(cls, text: str) -> TextTemplate:
        """
        Compile a template.

        @raise ValueError: it is none; the text says in which line.
        """
        try:
            return cls(_ENVIRONMENT.from_string(text))
        except jinja2.TemplateSyntaxError as error:
            raise ValueError(f"line {error.lineno}: {error.message}") from None

    def render(self, body: Any, event: str = "") -> str:
        """
        Make the text of a message, cut off where it is too long for one. The template finds the items of C{body} by their keys,
        and the whole of it as C{body}.

        @param event: what GitHub calls it.
        @raise TemplateFailed: it cannot.
        """
        items = body if isinstance(body, dict) else {}
        try:
            text = self._template.render({**items, "body": body, "event": event}).strip("\n")
        except Exception as error:  # noqa: BLE001 - a template may fail in any way
            # The texts of exceptions may quote the body.
            line = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"][-1:]
            raise TemplateFailed(f"{type(error).__name__}" + (f" in line {line[0]}" if line else "")) from None
        if len(text.encode("utf-8", "replace")) > MAX_TEXT:
            return fitting(text, MAX_TEXT - len(CUT)) + CUT
        return fitting(text)
