"""Webhooks as Alertmanager, Grafana and GitHub document them."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

# https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
ALERTMANAGER: Json = {
    "version": "4",
    "groupKey": '{}:{alertname="DiskFull"}',
    "truncatedAlerts": 0,
    "status": "firing",
    "receiver": "securemsg",
    "groupLabels": {"alertname": "DiskFull"},
    "commonLabels": {"alertname": "DiskFull", "severity": "critical"},
    "commonAnnotations": {},
    "externalURL": "http://alertmanager.example:9093",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "DiskFull", "severity": "critical", "instance": "db1:9100"},
            "annotations": {"summary": "3 % left\n on /var", "description": "soon full"},
            "startsAt": "2026-11-30T03:00:00.000Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus.example:9090/graph?g0.expr=x",
            "fingerprint": "5ef77f1f8a3ecfd2",
        },
        {
            "status": "resolved",
            "labels": {"alertname": "DiskFull", "severity": "critical", "instance": "db2:9100"},
            "annotations": {},
            "startsAt": "2026-11-30T02:00:00.000Z",
            "endsAt": "2026-11-30T03:00:00.000Z",
            "generatorURL": "",
            "fingerprint": "5ef77f1f8a3ecfd3",
        },
    ],
}

# https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/
GRAFANA: Json = {
    "receiver": "securemsg",
    "status": "firing",
    "orgId": 1,
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "High memory", "team": "blue", "zone": "eu-1"},
            "annotations": {"description": "The memory is nearly used up"},
            "startsAt": "2026-11-30T09:51:03.157076+02:00",
            "endsAt": "0001-01-01T00:00:00Z",
            "values": {"B": 44.23, "C": 1},
            "valueString": "[ metric='foo' labels={instance=bar} value=10 ]",
            "generatorURL": "https://grafana.example/alerting/1afz29v7z/edit",
            "fingerprint": "c6eadffa33fcdf37",
            "silenceURL": "https://grafana.example/alerting/silence/new",
            "dashboardURL": "https://grafana.example/d/abc",
            "panelURL": "https://grafana.example/d/abc?viewPanel=1",
            "imageURL": "",
        }
    ],
    "groupLabels": {},
    "commonLabels": {"team": "blue"},
    "commonAnnotations": {},
    "externalURL": "https://grafana.example/",
    "version": "1",
    "groupKey": '{}:{}',
    "truncatedAlerts": 2,
    "title": "[FIRING:1]  (blue)",
    "state": "alerting",
    "message": "**Firing**\n\nLabels:\n - alertname = High memory\n",
}

# https://docs.github.com/en/webhooks/webhook-events-and-payloads
_REPOSITORY: Json = {"id": 1, "full_name": "octo/hello", "html_url": "https://github.com/octo/hello", "private": False}
_SENDER: Json = {"login": "ada", "id": 7, "type": "User"}
PUSH: Json = {
    "ref": "refs/heads/main",
    "before": "a" * 40,
    "after": "b" * 40,
    "deleted": False,
    "compare": "https://github.com/octo/hello/compare/aaa...bbb",
    "commits": [{"id": "a" * 40, "message": "one"}, {"id": "b" * 40, "message": "Mend it\n\nAt last."}],
    "head_commit": {"id": "b" * 40, "message": "Mend it\n\nAt last."},
    "pusher": {"name": "ada", "email": "ada@example.org"},
    "repository": _REPOSITORY,
    "sender": _SENDER,
}
ISSUE: Json = {
    "action": "opened",
    "issue": {"number": 5, "title": "It breaks", "html_url": "https://github.com/octo/hello/issues/5", "state": "open"},
    "repository": _REPOSITORY,
    "sender": _SENDER,
}
WORKFLOW_RUN: Json = {
    "action": "completed",
    "workflow_run": {
        "name": "CI",
        "head_branch": "main",
        "status": "completed",
        "conclusion": "failure",
        "html_url": "https://github.com/octo/hello/actions/runs/1",
    },
    "repository": _REPOSITORY,
    "sender": _SENDER,
}
PING: Json = {"zen": "Keep it logically awesome.", "hook_id": 1, "hook": {}, "repository": _REPOSITORY, "sender": _SENDER}
