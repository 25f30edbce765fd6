"""Which distributions an interpreter has. Its own source also runs as a script in other ones.

Only the standard library is imported here, as another interpreter may have nothing else.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import sys


def versions(distributions: list[str]) -> dict[str, str]:
    """Installed versions by distribution name; what is missing is left out."""
    found = {}
    for name in distributions:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def builds(distributions: list[str]) -> dict[str, str]:
    """Version and a hash of the installed files: two builds of one version are not the same."""
    return {name: f"{version} {_digest(name)}" for name, version in versions(distributions).items()}


def missing(modules: list[str]) -> list[str]:
    """Modules that cannot be found; of a package inside another, the outer one is imported."""
    return [name for name in modules if not _is_there(name)]


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _digest(name: str) -> str:
    """Of the files and their hashes as pip noted them, without what differs by environment."""
    record = importlib.metadata.distribution(name).read_text("RECORD") or ""
    own = sorted(
        line
        for line in record.splitlines()
        if not line.startswith("..") and "__pycache__" not in line and ".dist-info/" not in line
    )
    return hashlib.sha256("\n".join(own).encode()).hexdigest()[:12]


def _main() -> None:
    wanted = json.loads(sys.argv[1])
    found = {
        "missing": missing(wanted["modules"]),
        "packages": versions(wanted["packages"]),
        "builds": builds(wanted["packages"]),
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    _main()
