"""The options that commands share, and the configuration that they make."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from voxgate.artifacts.progress import Bar, Lines, Reporter
from voxgate.config import RunConfig
from voxgate.config.file import Settings, read_settings
from voxgate.config.options import RUN_OPTIONS, config_of, flag_of, given
from voxgate.errors import UsageError


def add_run_options(
    parser: argparse.ArgumentParser, names: Collection[str] = tuple(RUN_OPTIONS)
) -> None:
    """The run options of these names: a command takes those that it can use, and no others."""
    parser.add_argument(
        "--profile",
        default="",
        metavar="NAME",
        help="of voxgate.toml: its [profile.NAME] counts, too",
    )
    groups = {option.group: None for name, option in RUN_OPTIONS.items() if name in names}
    made = {title: parser.add_argument_group(title) for title in groups}
    for name, option in RUN_OPTIONS.items():
        if name in names:
            made[option.group].add_argument(flag_of(name), **option.keywords())


def make_config(
    options: argparse.Namespace, names: Collection[str] = tuple(RUN_OPTIONS)
) -> RunConfig:
    """The checked configuration of the run options; of what ``voxgate.toml`` sets, those of these names.

    Raises:
        UsageError: an unknown name or a number out of range, or a file that is not as it should be.
    """
    return unchecked_config(options, names).check()


def unchecked_config(
    options: argparse.Namespace, names: Collection[str] = tuple(RUN_OPTIONS)
) -> RunConfig:
    """The same before its check.

    Raises:
        UsageError: an option has another form, or a file is not as it should be.
    """
    found = settings_of(options)
    values = {name: value for name, value in found.values.items() if name in names}
    return config_of(options, values, found.places)


def settings_of(options: argparse.Namespace) -> Settings:
    """What the file of the current folder sets, with the profile that was chosen.

    Raises:
        UsageError: the file is not as it should be, or has no such profile.
    """
    return read_settings(Path.cwd(), getattr(options, "profile", ""))


def refuse(options: argparse.Namespace, where: str, usable: Collection[str] = ()) -> None:
    """Refuse the run options that were typed and cannot be used: ``where`` says beside what.

    Raises:
        UsageError: names them.
    """
    others = [flag_of(name) for name in given(options) if name not in usable]
    if others:
        msg = f"{', '.join(others)} cannot be used {where}; leave out what is named"
        raise UsageError(msg)


@contextmanager
def reporting() -> Iterator[Reporter]:
    """A bar on a terminal, lines in a pipe."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    with Bar() as bar:
        yield bar
