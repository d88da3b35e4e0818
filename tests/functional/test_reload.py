"""A daemon that is told to read its configuration and its certificate again."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

from securemsg.crypto.keys import tls_key_pair
from tests.functional.support import HOST, LIMIT, PlaceCase, until


class ReloadTests(PlaceCase):
    """Its options are in a file."""

    def write(self, name: str) -> None:
        """Issue a certificate for this name."""
        key, certificate = tls_key_pair([name], days=90)
        for path, data in ((self.key, key), (self.certificate, certificate)):
            draft = path.with_suffix(".new")
            draft.write_bytes(data)
            draft.rename(path)

    def shown(self) -> bytes:
        """The certificate that a new connection is shown."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["securemsg/1"])
        with socket.create_connection((HOST, self.daemon.port), 10) as raw, context.wrap_socket(raw) as wrapped:
            return wrapped.getpeercert(binary_form=True) or b""

    @property
    def certificate(self) -> Path:
        """The file."""
        return self.place.folder / "cert.pem"

    @property
    def key(self) -> Path:
        """The other file."""
        return self.place.folder / "key.pem"

    def test_reload(self) -> None:
        """
        A new certificate is shown to new connections, and open ones stay. With a mistake in the file nothing changes.
        """
        config = self.place.folder / "securemsg.conf"
        self.daemon.stop()
        self.write("one.example")
        good = f"[securemsg]\ncert = {self.certificate}\nkey = {self.key}\nmax-clients = 100\n"
        config.write_text(good, "utf-8")
        self.daemon.options = (*self.daemon.options, "--config", str(config))
        self.daemon.start()
        ann, bob = self.person("ann"), self.person("bob")
        follower = ann.start("recv", "--follow", "--json")
        bob.send("ann", "one")
        until(lambda: follower.line_count == 1, "a message")
        first = self.shown()

        config.write_text(good.replace("100", "many"), "utf-8")
        self.write("two.example")
        self.signal()
        until(lambda: f"{config}:4: --max-clients" in self.daemon.log, "a line about the mistake")
        self.assertEqual(self.shown(), first)

        config.write_text(good.replace("100", "200"), "utf-8")
        self.signal()
        until(lambda: "need a restart: max-clients" in self.daemon.log, "a line about the option")
        second = self.shown()
        self.assertNotEqual(second, first)

        self.key.write_bytes(b"no key")
        self.signal()
        until(lambda: "the certificate stays as it is" in self.daemon.log, "a line about the key")
        self.assertEqual(self.shown(), second)
        bob.send("ann", "two")
        until(lambda: follower.line_count == 2, "a message over the connection of before")
        self.assertEqual(follower.err.count("connect"), 0)

    def signal(self) -> None:
        """Ask."""
        self.daemon.running.process.send_signal(signal.SIGHUP)


class RotateTests(PlaceCase):
    """The daemon's own key."""

    def test_rotated(self) -> None:
        """
        It is made anew while messages flow: open connections stay, new ones are made with the pin of before, and status and
        stats say when its certificate ends. An issued one is not the daemon's to make.
        """
        ann, bob = self.person("ann"), self.person("bob")
        follower = ann.start("recv", "--follow", "--json")
        bob.send("ann", "one")
        until(lambda: follower.line_count == 1, "a message")
        before = (self.daemon.state / "tls.pem").read_bytes()
        self.assertIn("new TLS key", self.daemon.admin("rotate-key").err)
        self.assertNotEqual((self.daemon.state / "tls.pem").read_bytes(), before)
        bob.send("ann", "two")
        until(lambda: follower.line_count == 2, "a message over the connection of before")
        self.assertEqual(follower.err.count("connect"), 0)
        [facts] = bob.run("status", "--json").rows
        [stats] = self.daemon.admin("stats", "--json").rows
        self.assert_time(facts["certificate_expires_at"])
        self.assertEqual(facts["certificate_expires_at"], stats["certificate_expires_at"])
        self.assertIn("729 days left", bob.run("status").out)
        self.assertIn("729 days left", self.daemon.admin("stats").out)

        self.daemon.stop()
        files = self.daemon.state / "tls.pem", self.daemon.state / "tls.key"
        self.daemon.options = ("--cert", str(files[0]), "--key", str(files[1]))
        self.daemon.start()
        self.assertIn("--cert", self.daemon.admin("rotate-key", status=5).err)
        self.daemon.admin("stats")


class SocketTests(PlaceCase):
    """The socket is the service manager's: it was there before the daemon, and stays when that restarts."""

    def test_adopted(self) -> None:
        """The daemon listens on it, says when it is ready, and is fed by the database; a restart refuses no connection."""
        self.daemon.stop()
        with socket.create_server((HOST, 0)) as listening, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            path = self.place.folder / "notify"
            manager.bind(str(path))
            manager.settimeout(LIMIT)
            port = listening.getsockname()[1]
            running = self.begin(listening, path)
            self.assertTrue(manager.recv(1000).startswith(b"READY=1\n"))
            self.assertEqual(manager.recv(1000), b"WATCHDOG=1")
            running.send_signal(signal.SIGHUP)
            said = [manager.recv(1000).partition(b"\n")[0] for _ in range(6)]
            self.assertLess(said.index(b"RELOADING=1"), said.index(b"READY=1"))
            running.terminate()
            running.wait(LIMIT)
            # It waits in the socket's queue.
            with socket.create_connection((HOST, port), LIMIT):
                self.begin(listening, path).terminate()

    def test_reread(self) -> None:
        """Twisted's own TLS closes what it is given: the socket is there all the same when the configuration is read again."""
        self.daemon.stop()
        with socket.create_server((HOST, 0)) as listening:
            running = self.begin(listening, self.place.folder / "nobody", "--tls", "stock")
            log = self.place.folder / "log"
            until(lambda: "securemsg listens" in log.read_text("utf-8"), "a daemon that listens")
            running.send_signal(signal.SIGHUP)
            until(lambda: "read again" in log.read_text("utf-8"), "a line about the configuration")
            self.assertIn("the options were read again", log.read_text("utf-8"))
            running.terminate()

    def begin(self, listening: socket.socket, path: Path, *options: str) -> subprocess.Popen[bytes]:
        """Start a daemon as systemd does."""
        code = (
            "import os, sys; os.dup2(int(sys.argv.pop(1)), 3); from twisted.scripts.twistd import run;"
            "sys.argv[0] = 'twistd'; run()"
        )
        line = ["-n", "securemsg", "--port", "fd:3", "--state", str(self.daemon.state), *options]
        variables = {**os.environ, "NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "400000"}
        with (self.place.folder / "log").open("wb") as log:
            running = subprocess.Popen(
                [sys.executable, "-c", code, str(listening.fileno()), *line],
                pass_fds=(listening.fileno(),),
                env=variables,
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parents[2],
            )
        self.addCleanup(running.wait)
        self.addCleanup(running.kill)
        return running
