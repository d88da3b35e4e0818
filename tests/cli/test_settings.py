"""Shared options, wherever they stand."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import click
from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from securemsg.account.errors import Exit, SecuremsgError
from securemsg.cli import settings
from securemsg.cli.settings import NAME, Settings, settings_of, shared


@click.group()
@shared
def group() -> None:
    """A group like the real one."""


@group.command()
@shared
@click.pass_context
def show(ctx: click.Context) -> None:
    """Show the settings."""
    settings = settings_of(ctx)
    click.echo(
        f"{settings.profile} {settings.host} {settings.port} {settings.timeout} {settings.debug}"
        f" {settings.retry} {settings.time_limit}"
    )


class SharedTests(SynchronousTestCase):
    """Options before and after the command."""

    def show(self, *arguments: str) -> str:
        """Return what the command sees."""
        result = CliRunner().invoke(group, list(arguments))
        self.assertEqual(result.exit_code, 0, result.output)
        return result.output.strip()

    def test_before_and_after(self) -> None:
        """An option can be given before or after the command."""
        for arguments in (
            ("--profile", "p", "--host", "h", "--port", "1", "--timeout", "2m", "--debug", "--retry", "show"),
            ("show", "--profile", "p", "--host", "h", "--port", "1", "--timeout", "2m", "--debug", "--retry"),
            ("--profile", "p", "--debug", "--retry", "show", "--host", "h", "--port", "1", "--timeout", "120"),
        ):
            self.assertEqual(self.show(*arguments), "p h 1 120 True True 120")

    def test_retry(self) -> None:
        """C{--retry} waits until C{--timeout}, or forever; without both the time counts while nothing moves."""
        still = "IdleTimeout(seconds=30)"
        for arguments, timeout in (((), still), (("--retry",), "None"), (("--timeout", "30"), "30")):
            self.assertEqual(self.show("show", *arguments).split()[-1], timeout)

    def test_after_wins(self) -> None:
        """An option after the command wins."""
        expected = "None b None None False False IdleTimeout(seconds=30)"
        self.assertEqual(self.show("--host", "a", "show", "--host", "b"), expected)

    def test_not_kept(self) -> None:
        """Options of one call do not affect the next."""
        self.show("--host", "a", "show")
        self.assertEqual(self.show("show"), "None None None None False False IdleTimeout(seconds=30)")


class FolderTests(SynchronousTestCase):
    """Folders."""

    def test_profile(self) -> None:
        """The option comes before the environment, the environment before the system's default."""
        self.patch_environment("SECUREMSG_PROFILE", "/from/environment")
        self.assertEqual(Settings(profile=Path("/given")).folder, Path("/given"))
        self.assertEqual(Settings().folder, Path("/from/environment"))
        self.patch_environment("SECUREMSG_PROFILE", "")
        self.assertEqual(Settings().folder.parts[-2:], ("securemsg", "profile"))

    def test_state(self) -> None:
        """The option comes first, then the first folder that systemd names."""
        self.patch_environment("STATE_DIRECTORY", "/var/lib/securemsg:/var/lib/other")
        self.assertEqual(Settings(state=Path("/given")).state_folder, Path("/given"))
        self.assertEqual(Settings().state_folder, Path("/var/lib/securemsg"))

    def test_service(self) -> None:
        """Root manages the service, if there is one; everybody else a daemon of their own."""
        folder = Path(self.mktemp())
        self.patch(settings, "SERVICE_STATE", folder)
        self.patch_environment("STATE_DIRECTORY", "")
        for user, is_there, expected in ((0, False, False), (1000, True, False), (0, True, True)):
            if is_there:
                folder.mkdir(parents=True, exist_ok=True)
            self.patch(os, "geteuid", lambda user=user: user)
            self.assertEqual(Settings().state_folder == folder, expected)

    def test_no_home(self) -> None:
        """A user id without an account, and no home: it is said which option to give."""

        def nobody(number: int) -> None:
            raise KeyError(number)

        self.patch(os, "environ", {})
        self.patch(pwd, "getpwuid", nobody)
        for option, name in (("--profile", "folder"), ("--state", "state_folder")):
            error = self.assertRaises(SecuremsgError, getattr, Settings(), name)
            self.assertEqual((error.code, error.status), ("no-home", Exit.PROFILE))
            self.assertIn(option, error.hint)

    def patch_environment(self, name: str, value: str) -> None:
        """Set a variable for the time of the test."""
        self.patch(os, "environ", {**os.environ, name: value})


class NameTests(SynchronousTestCase):
    """Names of accounts."""

    def test_illegal(self) -> None:
        """An invalid name ends the command before anything is opened."""
        self.assertEqual(NAME.convert("bob", None, None), "bob")
        for name in ("", "Bob", "-x", "a b", "x" * 33, "../x"):
            self.assertRaises(SecuremsgError, NAME.convert, name, None, None)
