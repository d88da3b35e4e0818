"""The file of routes."""

from __future__ import annotations

import re
from pathlib import Path

from securemsg.account.errors import SecuremsgError
from securemsg.client.state import preferences
from securemsg.gateway import routes
from securemsg.gateway.routes import MAX_SIZE, Route, read_routes
from tests.cli.commands.rig import ProfileCase
from tests.net.fakes import give_away

TOKEN = "0123456789abcdef"
GOOD = f'[routes.alerts]\nto = "bob"\nformat = "json"\ntoken = "{TOKEN}"\n'


class RoutesCase(ProfileCase):
    """A file of routes."""

    def setUp(self) -> None:
        """Choose its place."""
        super().setUp()
        self.path = self.folder.parent / "routes.toml"

    def write(self, text: str | bytes, mode: int = 0o600, path: Path | None = None) -> None:
        """Write it, or another file."""
        path = path or self.path
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        path.chmod(mode)

    def read(self) -> tuple[list[Route], list[SecuremsgError]]:
        """Read it."""
        return read_routes(self.path, self.store, "ada")

    def faults(self, text: str | bytes, mode: int = 0o600) -> list[str]:
        """What is wrong with it."""
        self.write(text, mode)
        return [fault.text.removeprefix(f"{self.path}: ") for fault in self.read()[1]]


class ReadTests(RoutesCase):
    """What it may say."""

    def test_routes(self) -> None:
        """A route has a recipient or several, a format, a token and a template; the last two may be in files beside it."""
        self.write(f"{TOKEN}\n", path=self.path.with_name("a.token"))
        self.write("{{ a }}!\n", 0o644, self.path.with_name("a.txt"))
        text = 'to = ["bob", "carol", "bob"]\nformat = "github"\ntoken-file = "a.token"\ntemplate-file = "a.txt"\n'
        self.write(f'{GOOD}template = "{{{{ a }}}}?"\n[routes.b-2]\n{text}')
        (one, two), faults = self.read()
        self.assertEqual(faults, [])
        self.assertEqual((one.name, one.to, one.format, one.token), ("alerts", ("bob",), "json", TOKEN.encode()))
        self.assertEqual((two.name, two.to, two.format, two.token), ("b-2", ("bob", "carol"), "github", TOKEN.encode()))
        self.assertEqual([route.template.render({"a": 1}) for route in (one, two)], ["1?", "1!"])
        self.assertNotIn(TOKEN, repr(one))

    def test_alias(self) -> None:
        """An alias stands for its account."""
        with self.store.writing() as records:
            preferences.set_alias(records, self.profile, "robert", "bob")
        self.write(GOOD)
        self.assertEqual(self.read()[0][0].to, ("robert",))

    def test_recipes(self) -> None:
        """The file in the recipes is one that can be used."""
        recipes = (Path(__file__).resolve().parents[2] / "docs" / "scripts.md").read_text("utf-8")
        [text] = re.findall(r"```toml\n(\[routes.*?)```", recipes, re.DOTALL)
        self.write(TOKEN, path=self.path.with_name("alerts.token"))
        self.write(text, 0o644)
        found, faults = self.read()
        self.assertEqual((faults, [route.format for route in found]), ([], ["alertmanager", "text", "github", "json"]))
        self.assertEqual(found[-1].template.render({"host": "db1", "files": 7}), "db1: 7 files")

    def test_readable(self) -> None:
        """Others may read a file without tokens."""
        self.write(TOKEN, path=self.path.with_name("a.token"))
        self.assertEqual(self.faults(GOOD.replace(f'token = "{TOKEN}"', 'token-file = "a.token"'), 0o644), [])


class FileTests(RoutesCase):
    """A file that cannot be used."""

    def test_missing(self) -> None:
        """There is none."""
        [fault] = self.read()[1]
        self.assertEqual(fault.text, f"{self.path}: cannot read {self.path}: No such file or directory")

    def test_exposed(self) -> None:
        """Others can read the tokens in it, or write to it."""
        self.assertIn("open to other users (mode 640)", self.faults(GOOD, 0o640)[0])
        self.assertEqual(self.faults(GOOD, 0o620), ["others can write to it"])
        self.assertEqual(self.read()[1][0].hint, f"restrict it to yourself: chmod go-w {self.path}")

    def test_of_another_user(self) -> None:
        """Another user owns it."""
        self.write(GOOD)
        give_away(self, self.path)
        self.assertIn("belongs to another user", self.read()[1][0].text)

    def test_content(self) -> None:
        """It is too long, not UTF-8, not TOML, or has no routes."""
        for text, words in (
            ("#" * (MAX_SIZE + 1), "is longer than 65536 bytes"),
            (b"# \xff", "is not UTF-8"),
            ("[routes", "it is not TOML: "),
            ("", "it must have tables such as [routes.alerts]"),
            ("routes = 3", "it must have tables"),
            ("[routes]\nalerts = 3", "it must have tables"),
            (f"port = 3\n{GOOD}", "and nothing else"),
        ):
            [fault] = self.faults(text)
            self.assertIn(words, fault)


class FaultTests(RoutesCase):
    """Routes that cannot be used: all that is wrong is told at once."""

    def test_all(self) -> None:
        """Each key of each route has its own line."""
        one = '[routes.one]\nto = "ada"\nformat = "xml"\ntoken = "short"\ntemplate = "{{"\n'
        found = self.faults(f"{one}[routes.two]\ntoo = 3\n")
        places = [fault.partition(": ")[0] for fault in found]
        self.assertEqual(
            places,
            [f"routes.one.{key}" for key in ("to", "format", "token", "template")]
            + [f"routes.two.{key}" for key in ("to", "format", "token", "too")],
        )

    def test_unusable(self) -> None:
        """Where one route is wrong, it is not among the others."""
        self.write(GOOD + GOOD.replace("alerts", "more").replace("bob", "ada"))
        found, faults = self.read()
        self.assertEqual(([route.name for route in found], len(faults)), (["alerts"], 1))

    def test_values(self) -> None:
        """What is wrong with a value is said in words."""
        for old, new, words in (
            ('"bob"', "3", "to: give a name such as"),
            ('"bob"', "[]", "to: give a name such as"),
            ('"bob"', '["bob", 3]', "to: give a name such as"),
            ('"bob"', '["bob", "ada"]', "to: ada is your own name"),
            ('"bob"', '"Bob!"', "to: invalid account name: 'Bob!'"),
            ('"bob"', '"#team"', "to: no such room: #team"),
            ('"bob"', '"#lobby"', "to: the server's operator can read what is said in the lobby"),
            ('"json"', "[1]", "format: give one of alertmanager, grafana, github, json, text"),
            (TOKEN, TOKEN[1:], "token: give a token of 16 or more characters"),
            (TOKEN, f"{TOKEN} {TOKEN}", "token: give a token"),
            (TOKEN, f"ü{TOKEN}", "token: give a token"),
            (f'token = "{TOKEN}"', "", "token: give a token"),
            (f'token = "{TOKEN}"', "token = 3", "token: give a text as token, or the name of a file as token-file"),
            ("to =", 'token-file = "a"\nto =', "token: give a text as token"),
            ("to =", "template = 3\nto =", "template: give a text as template"),
            ("routes.alerts", 'routes."a b"', "a b: a name has 1 to 64 of A-Z"),
            ("routes.alerts", 'routes."a/b"', "a/b: a name has 1 to 64 of A-Z"),
        ):
            [fault] = self.faults(GOOD.replace(old, new))
            self.assertIn(words, fault)
            self.assertNotIn(TOKEN[1:], fault)

    def test_unknown_key(self) -> None:
        """A key that nothing has is refused, and the others are listed."""
        known = "there are to, format, token, template, token-file, template-file"
        self.assertEqual(self.faults(GOOD + "formt = 1\n"), [f"routes.alerts.formt: unknown key; {known}"])

    def test_files(self) -> None:
        """A file with a token or a template is missing, too long, or open to others."""
        text = GOOD.replace(f'token = "{TOKEN}"', 'token-file = "a.token"')
        path = self.path.with_name("a.token")
        self.assertEqual(self.faults(text), [f"routes.alerts.token: cannot read {path}: No such file or directory"])
        self.write(TOKEN, 0o644, path)
        self.assertEqual(self.faults(text), [f"routes.alerts.token: {path} is open to other users (mode 644)"])
        self.write("x" * (routes.MAX_SIZE + 1), 0o600, path)
        self.assertEqual(self.faults(text), [f"routes.alerts.token: {path} is longer than 65536 bytes"])
        self.write(b"\xff" * 20, 0o600, path)
        self.assertEqual(self.faults(text), [f"routes.alerts.token: {path} is not UTF-8"])
