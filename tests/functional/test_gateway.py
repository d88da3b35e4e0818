"""C{securemsg gateway}, through a real daemon, and C{kill -9}."""

from __future__ import annotations

import http.client
import json
import signal

from securemsg.storage.files import write_private_file
from tests.functional.support import HOST, LIMIT, Person, PlaceCase, Running, free_port, until
from tests.gateway.payloads import ALERTMANAGER

TOKEN = "0123456789abcdef"
ROUTES = f'[routes.alerts]\nto = "bob"\nformat = "alertmanager"\ntoken = "{TOKEN}"\n'


class GatewayTests(PlaceCase):
    """An alert, and somebody who is to hear of it."""

    port = free_port()

    def start(self, ada: Person) -> Running:
        """Start the gateway."""
        running = ada.start("gateway", "routes.toml", "--listen", f"{HOST}:{self.port}")
        until(lambda: "/alerts (alertmanager) to bob\n" in running.err or not running.is_alive, "a gateway that listens")
        self.assertTrue(running.is_alive, running.err)
        return running

    def post(self, key: str, token: str = TOKEN) -> tuple[int, str]:
        """Post an alert."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=LIMIT)
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key}
        connection.request("POST", "/alerts", json.dumps(ALERTMANAGER), headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def test_kill(self) -> None:
        """
        An alert that was accepted while the server was away arrives, once, although the gateway was killed right then and
        whoever posted it does so again; one with a wrong token does not arrive at all.
        """
        ada, bob = self.person("ada"), self.person("bob")
        write_private_file(self.place.folder / "routes.toml", ROUTES.encode())
        self.daemon.stop()
        running = self.start(ada)
        second = ada.error("gateway", "routes.toml", "--listen", f"{HOST}:{self.port}", status=2)
        self.assertEqual(second["error"], f"cannot listen on {HOST}:{self.port}: Address already in use")
        self.assertEqual(self.post("2", TOKEN[::-1])[0], 401)
        status, text = self.post("1")
        running.kill()
        self.assertEqual(status, 202)
        self.assertNotIn("Traceback", running.err)
        self.assertIn("[wrong-token]", running.err)
        self.daemon.start()
        running = self.start(ada)
        [row] = bob.recv("--count", "1")
        self.assertEqual(({"ids": [row["id"]]}, row["from"]), (json.loads(text), "ada"))
        self.assertIn("FIRING DiskFull [critical] db1:9100: 3 % left on /var", row["text"])
        self.assertEqual(self.post("1"), (202, text))
        running.process.send_signal(signal.SIGTERM)
        self.assertEqual(running.wait().status, 130)
        ada.send("bob", "the end")
        self.assertEqual([row["text"] for row in bob.recv()], ["the end"])
