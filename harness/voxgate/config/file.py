"""Options in ``voxgate.toml``, or in ``[tool.voxgate]`` of ``pyproject.toml``: found, read, checked.

The keys are the options' names without hyphens in front; what stands in ``[profile.NAME]`` comes before what stands
outside. What is typed comes before both.

Example:
    ::

        models = ["unet", "stunet-s"]
        launches = 3
        python = {tensorrt = "/opt/py310/bin/python"}

        [profile.nightly]
        models = "paper"
        seconds = 5
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxgate.config.options import FILE_OPTIONS, Option
from voxgate.errors import UsageError, unknown_name

_OWN = "voxgate.toml"
_SHARED = "pyproject.toml"
_PROFILES = "profile"


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What a file sets: words as the command line would have them, by the options' names.

    ``places`` says for each where it stands, such as "voxgate.toml [profile.nightly]".
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)


def read_settings(folder: Path, profile: str = "") -> Settings:
    """The settings of the file in this folder, or in the nearest one above it; none without a file.

    Raises:
        UsageError: the file cannot be read, a key is unknown or has another type, with the key's path; or
            there is no such profile.
    """
    found = _find(folder)
    if found is None:
        if profile:
            msg = f"there is no {_OWN} in {folder} or above it, so there is no profile {profile!r}"
            raise UsageError(msg)
        return Settings()
    path, table = found
    profiles = table.pop(_PROFILES, {})
    if not isinstance(profiles, dict) or not all(isinstance(t, dict) for t in profiles.values()):
        msg = f"{path}: {_PROFILES} must hold tables, as [profile.nightly] begins one"
        raise UsageError(msg)
    checked = {
        name: _values(path, chosen, f"{_PROFILES}.{name}.") for name, chosen in profiles.items()
    }
    if profile and not profiles:
        msg = f"{path} has no profiles; [{_PROFILES}.{profile}] would begin this one"
        raise UsageError(msg)
    if profile and profile not in profiles:
        kind = f"profile in {path}"
        raise unknown_name(kind, profile, profiles)
    outside, inside = _values(path, table, ""), checked[profile] if profile else {}
    places = dict.fromkeys(outside, path.name)
    return Settings(
        values=outside | inside,
        places=places | dict.fromkeys(inside, f"{path.name} [{_PROFILES}.{profile}]"),
    )


def _find(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The nearest file that sets something, and what."""
    for place in (folder.absolute(), *folder.absolute().parents):
        own = place / _OWN
        if own.is_file():
            return own, _load(own)
        shared = place / _SHARED
        if shared.is_file():
            tools = _load(shared).get("tool", {})
            if isinstance(tools, dict) and "voxgate" in tools:
                return shared, _table(shared, tools["voxgate"])
    return None


def _table(path: Path, found: object) -> dict[str, Any]:
    if not isinstance(found, dict):
        msg = f"{path}: tool.voxgate must be a table, as [tool.voxgate] begins one"
        raise UsageError(msg)
    return dict(found)


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except tomllib.TOMLDecodeError as error:
        msg = f"{path} is no TOML: {error}"
        raise UsageError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"{path} is not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}"
        raise UsageError(msg) from error
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror or error}"
        raise UsageError(msg) from error


def _values(path: Path, table: Mapping[str, Any], above: str) -> dict[str, Any]:
    """The words of each key of a table."""
    found = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in FILE_OPTIONS or "_" in key:
            choices = [above + option.replace("_", "-") for option in FILE_OPTIONS]
            kind = f"key in {path}"
            raise unknown_name(kind, above + key, choices)
        words = _words(FILE_OPTIONS[name], value, path.parent)
        if words is None:
            wanted = _wanted(FILE_OPTIONS[name])
            msg = f"{path}: {above}{key} is {value!r}; it must be {wanted}"
            raise UsageError(msg)
        found[name] = words
    return found


def _words(option: Option, value: object, folder: Path) -> Any:
    """What argparse would have found; None where the type is another."""
    if option.flag:
        return value if isinstance(value, bool) else None
    if option.repeated:
        return _pairs(value)
    if option.names and isinstance(value, list):
        return ",".join(value) if all(isinstance(v, str) for v in value) else None
    if option.parse in {int, float}:
        return _number(option, value)
    if not isinstance(value, str):
        return None
    return folder / Path(value).expanduser() if option.parse is Path else value


def _number(option: Option, value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if option.parse is int:
        return value if isinstance(value, int) else None
    return float(value)


def _pairs(value: object) -> list[str] | None:
    """BACKEND=PATH for each entry of a table, or as they stand in a list."""
    if isinstance(value, dict) and all(isinstance(v, str) for v in value.values()):
        return [f"{name}={path}" for name, path in value.items()]
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return value
    return None


def _wanted(option: Option) -> str:
    if option.flag:
        return "true or false"
    if option.repeated:
        return 'a table of paths by backend, as {tensorrt = "/path/python"}'
    if option.names:
        return "a text with commas, or a list of texts"
    kinds = ((int, "a whole number"), (float, "a number"), (Path, "a path in quotes"))
    return next((words for kind, words in kinds if option.parse is kind), "a text in quotes")
