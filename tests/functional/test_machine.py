"""
The service on a machine of its own: a Debian root folder, booted with systemd as its process 1, where F{docs/operations.md} is
followed. Behind C{--machine}: that needs root, C{systemd-nspawn} and such a folder, with the wheels of our libraries beside it;
C{make machine} makes them.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from threading import Event, Thread

import pytest
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.functional.support import ROOT, free_port, until

# A machine boots, or installs what it is told to.
LONG = 300.0
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
STATE = "/var/lib/securemsg"
CONFIG = "/etc/securemsg/securemsg.conf"
SOCKET_DROP_IN = "/etc/systemd/system/securemsg.socket.d/port.conf"
SERVICE_DROP_IN = "/etc/systemd/system/securemsg.service.d/watchdog.conf"


class Machine:
    """
    A booted container. What it writes goes to memory, and is gone afterwards.

    It shares the network of this machine, so its service listens on a port of its own.
    """

    def __init__(self, folder: Path) -> None:
        """
        @param folder: with C{root} and C{wheels}.
        """
        argv = [
            "systemd-nspawn", "--quiet", f"--directory={folder / 'root'}", "--volatile=overlay", "--register=no", "--keep-unit",
            f"--bind-ro={ROOT}:/src", f"--bind-ro={folder / 'wheels'}:/wheels", "--boot",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, start_new_session=True
        )
        self._leader = ""

    def boot(self) -> None:
        """Wait until it has booted."""
        until(self._is_up, "a machine that has booted", LONG)

    def _is_up(self) -> bool:
        assert self._process.poll() is None, "systemd-nspawn has ended"
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text("ascii").split()
        self._leader = children[0] if children else ""
        if not self._leader or Path(f"/proc/{self._leader}/comm").read_text("ascii") != "systemd\n":
            return False
        return self.run("systemctl is-system-running", status=None) in ("running\n", "degraded\n")

    def run(self, command: str, user: str = "root", text: str = "", status: int | None = 0) -> str:
        """
        Run a command of the shell there, and give what it prints.

        @param text: its standard input.
        @param status: what it has to end with; C{None}: anything.
        """
        done = subprocess.run(
            ["nsenter", "--target", self._leader, "--all", "runuser", "--login", user, "--command", command],
            input=text, capture_output=True, text=True, check=False, timeout=LONG, env={"PATH": PATH},
        )  # fmt: skip
        assert status in (None, done.returncode), (command, done)
        return done.stdout

    def stop(self) -> None:
        """Turn it off."""
        self._process.terminate()
        try:
            self._process.wait(LONG / 10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class MachineTests(SynchronousTestCase):
    """One machine, and one long day."""

    folder: Path | None

    @pytest.fixture(autouse=True)
    def _take_machine(self, pytestconfig: pytest.Config) -> None:
        """As the command line says."""
        given: str | None = pytestconfig.getoption("machine")
        self.folder = None if given is None else pytestconfig.invocation_params.dir / given

    def setUp(self) -> None:
        """Boot it."""
        if self.folder is None:
            raise SkipTest("needs --machine FOLDER; as root: make machine")
        self.machine = Machine(self.folder)
        self.addCleanup(self.machine.stop)
        self.machine.boot()
        self.port = free_port()

    def test_life(self) -> None:
        """Installed, watched; a new certificate; restarts, a backup put back, a hang, a mistake; uninstalled; the package."""
        self.install()
        self.first_hour()
        self.watch()
        self.certificate()
        self.restart()
        self.put_back()
        self.hang()
        self.mistake()
        self.uninstall()
        self.package()

    def install(self) -> None:
        """It is installed by make, offline from wheels."""
        self.machine.run("cd /src && PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels make install")
        # Beside those on the machine that it shares the network with.
        for path, lines in (
            (SOCKET_DROP_IN, ("[Socket]", "ListenStream=", f"ListenStream={self.port}")),
            (SERVICE_DROP_IN, ("[Service]", "WatchdogSec=2", "RestartSec=100ms")),
        ):
            text = "".join(f"{line}\n" for line in lines)
            self.machine.run(f"mkdir -p {Path(path).parent} && cat >{path}", text=text)
        self.machine.run(f"sed -i 's/^#advertise =.*/advertise = 127.0.0.1/' {CONFIG} && systemctl daemon-reload")

    def first_hour(self) -> None:
        """It is started, and ready at once; two people write to each other; the exposure is what the issue allows."""
        self.machine.run("systemctl enable --now securemsg.socket securemsg.service")
        self.assertEqual(self.show("ActiveState", "DynamicUser", "NRestarts"), ["active", "yes", "0"])
        for name in ("ann", "ben"):
            self.machine.run(f"useradd --create-home {name}")
        invite = self.machine.run(f"cat {STATE}/first-invite")
        self.machine.run("securemsg join - ann", "ann", invite)
        self.machine.run("securemsg join - ben", "ben", self.admin("invite"))
        self.assertIn("X25519MLKEM768", self.machine.run("securemsg status", "ann"))
        self.machine.run("securemsg send ben hello", "ann")
        self.assertIn("hello", self.machine.run("securemsg recv", "ben"))
        self.assertEqual(self.machine.run(f"ls {STATE}", "ann", status=None), "")
        self.machine.run(f"securemsg admin --state {STATE} accounts", "ann", status=5)
        said = self.machine.run("systemd-analyze security --no-pager securemsg")
        exposure = re.search(r"Overall exposure level for securemsg.service: (\S+)", said)
        assert exposure is not None, "systemd-analyze says how exposed it is"
        self.assertLessEqual(float(exposure[1]), 0.5)
        line = json.loads(self.machine.run("journalctl -u securemsg -o cat --grep 'ben was registered'").splitlines()[-1])
        self.assertEqual((line["level"], line["name"], line["event"]), ("info", "ben", "registered"))

    def watch(self) -> None:
        """Metrics are at a second socket of systemd's."""
        port = free_port()
        self.machine.run(f"echo ListenStream=127.0.0.1:{port} >>{SOCKET_DROP_IN} && echo 'metrics = fd:4' >>{CONFIG}")
        self.machine.run("systemctl daemon-reload && systemctl stop securemsg.service")
        self.machine.run("systemctl restart securemsg.socket securemsg.service")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=LONG) as answer:
            self.assertIn(b"securemsg_healthy 1.0", answer.read())

    def put_back(self) -> None:
        """A backup of the running service is restored into the folder that its dynamic user owns."""
        self.admin("backup /root/backup.tar")
        self.machine.run("securemsg send ben 'after the backup'", "ann")
        self.machine.run("systemctl stop securemsg.socket securemsg.service")
        self.admin("restore --yes /root/backup.tar")
        self.machine.run("systemctl start securemsg.socket securemsg.service")
        owner = "$(stat --format %u /proc/$(systemctl show --property=MainPID --value securemsg))"
        self.assertEqual(self.machine.run(f"find -L {STATE} ! -user {owner} -printf %P"), "")
        self.machine.run("securemsg send ben 'after the restore' --timeout 60", "ann")
        texts = [json.loads(line)["text"] for line in self.machine.run("securemsg recv --json", "ben").splitlines()]
        self.assertEqual(sorted(texts), ["after the backup", "after the restore"])

    def certificate(self) -> None:
        """The guide's own lines for a private CA work, and renewing it once more needs no restart."""
        guide = (ROOT / "docs" / "operations.md").read_text("utf-8").replace(":8443", f":{self.port}")
        hook, authority = (block for block in re.findall(r"```sh\n(.*?)```", guide, re.DOTALL) if "RENEWED_LINEAGE" in block)
        program = "/usr/local/sbin/securemsg-certificate"
        self.machine.run(f"cat >{program} && chmod 755 {program}", text=hook)
        self.machine.run("echo 127.0.0.1 chat.example.org >>/etc/hosts")
        lines = f"cert = {STATE}/fullchain.pem\nkey = {STATE}/privkey.pem\n"
        # A link where the service's user could lay one does not lead root astray.
        self.machine.run(f"ln -s /root/victim {STATE}/privkey.new && touch /root/fullchain.pem /root/privkey.pem")
        self.machine.run(f"RENEWED_LINEAGE=/root {program}", status=2)
        self.machine.run(f"test ! -e /root/victim && rm {STATE}/privkey.new {STATE}/fullchain.pem")
        request, _, check = authority.rpartition("openssl s_client")
        self.machine.run(f"set -e; {request}", text="")
        self.machine.run(f"cat >>{CONFIG} && systemctl restart securemsg", text=lines)
        ask = f"openssl s_client {check.strip()} 2>&1"
        self.assertIn("Verification: OK", self.machine.run(ask))
        serial = f"openssl s_client {check.strip()} 2>/dev/null | openssl x509 -noout -serial".replace(" -brief", "")
        before, started = self.machine.run(serial), self.show("MainPID")
        self.machine.run("set -e; openssl x509 " + request.rpartition("openssl x509 ")[2])
        until(lambda: self.machine.run(serial) != before, "the renewed certificate")
        self.assertIn("Verification: OK", self.machine.run(ask))
        self.assertEqual(self.show("MainPID"), started)
        self.machine.run("securemsg ping", "ann")

    def restart(self) -> None:
        """While it restarts, again and again, every connection is accepted, and messages arrive once and in order."""
        is_over, refused, made = Event(), list[str](), list[float]()

        def connect() -> None:
            while not is_over.is_set():
                try:
                    socket.create_connection(("127.0.0.1", self.port), 10).close()
                    made.append(time.monotonic())
                except OSError as error:
                    refused.append(str(error))
                time.sleep(0.005)

        knocking = Thread(target=connect)
        knocking.start()
        try:
            for number in range(5):
                self.machine.run("systemctl restart --no-block securemsg")
                self.machine.run(f"securemsg send ben 'number {number}' --timeout 60 --wait accepted", "ann")
        finally:
            is_over.set()
            knocking.join()
        self.assertEqual(refused, [])
        self.assertGreater(len(made), 100)
        texts = [json.loads(line)["text"] for line in self.machine.run("securemsg recv --json", "ben").splitlines()]
        self.assertEqual(texts, [f"number {number}" for number in range(5)])

    def hang(self) -> None:
        """A daemon that hangs is killed by its watchdog, and started again."""
        self.machine.run("kill -STOP $(systemctl show --property=MainPID --value securemsg)")
        until(lambda: self.show("NRestarts", "ActiveState") == ["1", "active"], "a daemon after the watchdog", 60)
        self.assertIn("Watchdog timeout", self.machine.run("journalctl -u securemsg -o cat"))
        self.machine.run("securemsg ping", "ann")

    def mistake(self) -> None:
        """A mistake in the configuration leaves a running daemon alone; at a start it is named with its line."""
        self.machine.run(f"cp {CONFIG} /root && echo 'max-clients = many' >>{CONFIG} && systemctl reload securemsg")
        lines = self.machine.run(f"wc -l <{CONFIG}").strip()
        until(lambda: f"{CONFIG}:{lines}: " in self.machine.run("journalctl -u securemsg -o cat"), "the line of the mistake")
        self.machine.run("securemsg ping", "ann")
        self.machine.run("systemctl restart securemsg", status=1)
        self.assertEqual(self.show("ActiveState", "ExecMainStatus"), ["failed", "2"])
        self.machine.run(f"cp /root/securemsg.conf {CONFIG} && systemctl restart securemsg.socket securemsg")
        self.machine.run("securemsg ping", "ann")

    def uninstall(self) -> None:
        """What is left are state and configuration."""
        self.machine.run("cd /src && make uninstall")
        self.machine.run(f"test -f /var/lib/private/securemsg/server.db -a -f {CONFIG}")
        self.machine.run("systemctl cat securemsg.service", status=1)
        self.assertEqual(self.machine.run("command -v securemsg", status=None), "")

    def package(self) -> None:
        """The Debian package goes on with state and configuration that are there; purged, it leaves accounts and mailboxes."""
        others = " ".join(f"--exclude=./{name}" for name in ("build", "dist", ".venv"))
        self.machine.run(f"mkdir /root/src && tar -C /src {others} -cf - . | tar -C /root/src -xf -")
        self.machine.run("cd /root/src && PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels make deb")
        self.machine.run("dpkg --install --force-confold /root/src/dist/securemsg_*.deb")
        self.assertEqual(self.show("ActiveState", "FragmentPath"), ["active", "/lib/systemd/system/securemsg.service"])
        self.machine.run("securemsg ping", "ann")
        self.machine.run("dpkg --purge securemsg")
        self.machine.run("test -f /var/lib/private/securemsg/server.db -a ! -e /etc/securemsg -a ! -e /opt/securemsg")

    def admin(self, command: str) -> str:
        """What the operator is told."""
        return self.machine.run(f"securemsg admin {command}")

    def show(self, *names: str) -> list[str]:
        """Properties of the service."""
        found = dict(
            line.partition("=")[::2] for line in self.machine.run(f"systemctl show securemsg -p {','.join(names)}").splitlines()
        )
        return [found[name] for name in names]
