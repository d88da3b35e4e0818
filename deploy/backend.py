"""
The build backend: setuptools, which needs the libraries of securemsg to build a wheel, because the manual pages in it are made
from the commands.
"""

from __future__ import annotations

import configparser

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 - the hooks of a backend


def get_requires_for_build_wheel(config_settings: dict[str, str] | None = None) -> list[str]:
    """What setuptools needs, and what the commands import."""
    settings = configparser.ConfigParser()
    settings.read("setup.cfg", encoding="utf-8")
    needed = settings["options"]["install_requires"].split("\n")
    return [*build_meta.get_requires_for_build_wheel(config_settings), *filter(None, needed)]
