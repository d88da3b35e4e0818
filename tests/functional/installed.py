"""An installation below a folder, run by the words of its own service unit as systemd would, but for the sandbox."""

from __future__ import annotations

import contextlib
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import field, frozen

from tests.functional.sandbox import read_unit
from tests.functional.support import HOST, LIMIT, free_port, until

# What a service unit starts finds the socket as its third descriptor.
PASS = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.argv[2], sys.argv[2:])"


@frozen
class Installed:
    """
    An installation.

    @ivar root: the folder that stands for the root folder of a machine.
    @ivar unit: the service unit below it.
    @ivar folder: for the profile of a user.
    @ivar settings: the environment.
    """

    root: Path
    unit: str
    folder: Path
    settings: Mapping[str, str]
    port: int = field(factory=free_port)

    @property
    def state(self) -> Path:
        """The state folder, where systemd has it."""
        return self.root / "var" / "lib" / "private" / "securemsg"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """
        Start the service, and stop it in order.

        @raise AssertionError: it does not start, or does not end well.
        """
        service = read_unit(self.root / self.unit)["Service"]
        name, _, value = service["Environment"].partition("=")
        assert Path(f"{self.root}{value}").is_file(), value
        program, *words = [f"{self.root}{word}" if word.startswith("/") else word for word in shlex.split(service["ExecStart"])]
        python, control = str(Path(program).with_name("python")), self.state / "control"
        self.state.mkdir(parents=True, exist_ok=True)
        env = {**self.settings, name: f"{self.root}{value}", "STATE_DIRECTORY": str(self.state)}
        with socket.create_server((HOST, self.port)) as listening, (self.folder / "log").open("wb") as log:
            process = subprocess.Popen(
                # The first line of a script names where its interpreter will be, not where it is.
                [python, "-c", PASS, str(listening.fileno()), python, program, *words],
                pass_fds=(listening.fileno(),),
                env=env,
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        try:
            until(lambda: process.poll() is not None or (control.exists() and self._has_invite()), "a daemon that listens")
            assert process.poll() is None, (self.folder / "log").read_text("utf-8")
            yield
            process.terminate()
            assert process.wait(LIMIT) in (0, -signal.SIGTERM), process.returncode
        finally:
            process.kill()
            process.wait()

    def _has_invite(self) -> bool:
        return (self.state / "first-invite").exists()

    def run(self, *arguments: str) -> str:
        """
        Run a command of the installed client, and give what it prints.

        @raise AssertionError: it fails.
        """
        unit = read_unit(self.root / self.unit)["Service"]
        programs = Path(f"{self.root}{shlex.split(unit['ExecStart'])[0]}").parent
        argv = [f"{programs}/python", f"{programs}/securemsg", "--profile", str(self.folder / "profile"), *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=dict(self.settings), timeout=LIMIT)
        assert done.returncode == 0, done
        return done.stdout
