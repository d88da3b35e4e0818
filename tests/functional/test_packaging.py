"""
What is built can be installed, and shows its plugin wherever one stands.

Everything happens in a copy of the tree, so that neither old build folders nor the checkout itself can lend a file that a
package lacks. The fresh environments borrow the libraries of the running one, but not its securemsg: nothing is downloaded.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.functional.support import HOST, free_port, is_listening, until
from tests.test_layers import setup_cfg

ROOT = Path(__file__).resolve().parent.parent.parent
# Not part of the sources: made by tools, by earlier builds, or by running the program.
MADE = (".git", ".venv", ".run", ".*_cache", ".hypothesis", "__pycache__", "build", "dist", "*.egg-info", "dropin.cache")
# Seconds. A build takes a few; a slow machine may take its time.
LIMIT = 240

TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"
WHERE = "import securemsg; print(securemsg.__file__)"


def settings() -> dict[str, str]:
    """The environment of this process, without what leads its Python to our checkout."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}


def run(*argv: str | Path, cwd: Path, code: int = 0) -> str:
    """
    Run a program to its end, away from our own settings.

    @return: what it printed on standard output.
    @raise AssertionError: it ended with another status than C{code}.
    """
    done = subprocess.run(argv, cwd=cwd, env=settings(), timeout=LIMIT, capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{argv}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def environment(folder: Path) -> Path:
    """
    Make an empty virtual environment that sees the libraries of the running one.

    Of the running one only the folders count: C{.pth} files inside them, and so editable installs, do not.

    @return: its interpreter.
    """
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    own = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(folder), "platbase": str(folder)}))
    lent = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (own / "lent.pth").write_text("".join(f"{path}\n" for path in sorted(lent)), encoding="utf-8")
    return folder / "bin" / "python"


def lend_twistd(python: Path) -> None:
    """Put a C{twistd} beside an interpreter, as an installation of Twisted does."""
    program = python.with_name("twistd")
    program.write_text(f"#!{python}\n{TWISTD}\n", encoding="utf-8")
    program.chmod(0o755)


def install(python: Path, *what: str | Path) -> None:
    """Install into an environment with the pip of the running one, without asking the network."""
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", python)
    run(*pip, "install", "--no-index", "--no-deps", "--no-build-isolation", *what, cwd=python.parent)


class PackagingTests(SynchronousTestCase):
    """Wheel, sdist and editable install."""

    folder: Path
    elsewhere: Path
    tree: Path
    wheel: Path
    sdist: Path

    @classmethod
    def setUpClass(cls) -> None:
        """Build once. The wheel is built from the sdist, which shows that the sdist is whole."""
        cls.folder = Path(tempfile.mkdtemp(prefix="securemsg-packaging-"))
        cls.tree = cls.folder / "tree"
        cls.elsewhere = cls.folder / "elsewhere"
        cls.elsewhere.mkdir()
        shutil.copytree(ROOT, cls.tree, ignore=shutil.ignore_patterns(*MADE))
        out = cls.folder / "out"
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, cls.tree, cwd=cls.elsewhere)
        [cls.wheel] = out.glob("*.whl")
        [cls.sdist] = out.glob("*.tar.gz")

    @classmethod
    def tearDownClass(cls) -> None:
        """Leave nothing behind."""
        shutil.rmtree(cls.folder)

    def assert_shown(self, python: Path, home: Path) -> None:
        """From a folder of no meaning, the environment shows the plugin and both commands, and they come from C{home}."""
        self.assertTrue(Path(run(python, "-c", WHERE, cwd=self.elsewhere).strip()).is_relative_to(home))
        self.assertRegex(run(python, "-c", TWISTD, "--help", cwd=self.elsewhere), r"(?m)^ +securemsg +\S")
        self.assertIn("--registration", run(python, "-c", TWISTD, "securemsg", "--help", cwd=self.elsewhere))
        self.assertIn("join", run(python.parent / "securemsg", "--help", cwd=self.elsewhere))

    def test_wheel_shows_plugin(self) -> None:
        """The wheel, installed in a fresh environment, shows the plugin from any folder."""
        python = environment(self.folder / "fresh")
        install(python, self.wheel)
        self.assert_shown(python, self.folder / "fresh")
        self.assertTrue((self.folder / "fresh" / "share" / "man" / "man1" / "securemsg.1").exists())
        self.assertTrue((self.folder / "fresh" / "share" / "man" / "man5" / "securemsg.conf.5").exists())

    def test_editable_shows_plugin(self) -> None:
        """An editable install shows it just so, which a plain C{package_dir} would not."""
        python = environment(self.folder / "editable")
        install(python, "--editable", self.tree)
        self.assert_shown(python, self.tree)

    def test_sdist_shows_plugin(self) -> None:
        """The sdist, installed in a fresh environment, shows it too."""
        python = environment(self.folder / "source")
        install(python, self.sdist)
        self.assert_shown(python, self.folder / "source")

    def test_wheel_serves(self) -> None:
        """From the wheel, C{securemsg serve} is a daemon to talk through, also two in one folder."""
        python = environment(self.folder / "serving")
        install(python, self.wheel)
        lend_twistd(python)
        securemsg = python.parent / "securemsg"
        daemons = [self.serve(securemsg, self.elsewhere / name) for name in ("one", "two")]
        for number, (state, _) in enumerate(daemons):
            profile = ("--profile", str(self.elsewhere / f"profile{number}"))
            invite = (state / "first-invite").read_text("utf-8").strip()
            run(securemsg, *profile, "join", invite, "ada", cwd=self.elsewhere)
            run(securemsg, *profile, "send", "server", "hello", cwd=self.elsewhere)
            received = run(securemsg, *profile, "recv", "--count", "1", "--timeout", "60", cwd=self.elsewhere)
            self.assertIn("server: Message received", received)
        self.assertEqual(list(self.elsewhere.glob("*.pid")), [])
        for _, process in daemons:
            process.send_signal(signal.SIGTERM)
            # Once all is done, twistd ends itself by the signal that it got.
            self.assertEqual(process.wait(LIMIT), -signal.SIGTERM)

    def serve(self, securemsg: Path, state: Path) -> tuple[Path, subprocess.Popen[bytes]]:
        """
        Start a daemon, and wait until it listens.

        @return: its state folder, and its process.
        """
        port = free_port()
        argv: list[str | Path] = [securemsg, "serve", "--host", HOST, "--port", str(port), "--state", state]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(argv, cwd=self.elsewhere, env=settings(), stdin=quiet, stdout=quiet, stderr=quiet)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        until(lambda: process.poll() is not None or is_listening(port), "a daemon that listens", LIMIT)
        self.assertIsNone(process.poll(), "it runs")
        return state, process

    def test_serve_help(self) -> None:
        """C{securemsg serve --help} is the daemon's own help, and a mistake in its options is the daemon's to report."""
        python = environment(self.folder / "helping")
        install(python, self.wheel)
        lend_twistd(python)
        serve = (python.parent / "securemsg", "serve")
        told = run(python, "-c", TWISTD, "-n", "securemsg", "--help", cwd=self.elsewhere)
        self.assertEqual(run(*serve, "--help", cwd=self.elsewhere), told)
        self.assertIn("run twistd", told)
        self.assertEqual(run(*serve, "--port", "0", cwd=self.elsewhere, code=2), "")

    def test_wheel_content(self) -> None:
        """The wheel holds every module, type marker and status page, nothing that shadows Twisted or fills site-packages."""
        names = set(zipfile.ZipFile(self.wheel).namelist())
        modules = {str(path.relative_to(self.tree)) for path in (self.tree / "securemsg").rglob("*.py")}
        code = {name for name in names if ".dist-info/" not in name}
        manual = {name for name in code if ".data/data/share/man/man" in name}
        page = {f"securemsg/daemon/status/status.{kind}" for kind in ("html", "css", "js")}
        others = {"securemsg/py.typed", "twisted/plugins/securemsg_plugin.py"}
        self.assertEqual(code - manual, modules | page | others)
        self.assertLess({"securemsg.1", "securemsg-send.1", "securemsg-room-invite.1"}, {Path(name).name for name in manual})

    def test_build_needs(self) -> None:
        """A wheel is built with the libraries of the commands, for the manual pages; an editable install is not."""
        ask = "import sys; sys.path.insert(0, 'deploy'); import backend; print(backend.{}())"
        needed = run(sys.executable, "-c", ask.format("get_requires_for_build_wheel"), cwd=self.tree)
        for library in setup_cfg()["options"]["install_requires"].split():
            self.assertIn(repr(library), needed)
        self.assertNotIn("click", run(sys.executable, "-c", ask.format("get_requires_for_build_editable"), cwd=self.tree))

    def test_sdist_content(self) -> None:
        """Whoever has the sdist can test, lint, read and deploy."""
        with tarfile.open(self.sdist) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
        wanted = {str(path.relative_to(self.tree)) for path in (self.tree / "tests").rglob("*") if path.is_file()}
        wanted |= {str(path.relative_to(self.tree)) for path in (self.tree / "bench").rglob("*.py")}
        wanted |= {"Makefile", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "README.md", "ruff.toml", ".ci/run"}
        wanted |= {str(path.relative_to(self.tree)) for path in (self.tree / "deploy").iterdir() if path.is_file()}
        wanted |= {"twisted/plugins/securemsg_plugin.py"}
        self.assertEqual(wanted - names, set())

    def test_version(self) -> None:
        """The packages carry the version that the program says of itself."""
        version = run(sys.executable, "-c", "import securemsg; print(securemsg.__version__)", cwd=self.tree).strip()
        self.assertEqual(setup_cfg()["metadata"]["version"], "attr: securemsg.__version__")
        self.assertEqual(self.sdist.name, f"securemsg-{version}.tar.gz")
        self.assertEqual(self.wheel.name, f"securemsg-{version}-py3-none-any.whl")
