"""Engines that were accepted, kept in the cache by their hash, and what the host can tell of them."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

import msgspec

from voxgate.errors import ArtifactError
from voxgate.files import replacing, sha256_bytes, sha256_file, write_atomic
from voxgate.records.verdicts import SelfTest
from voxgate.verdicts.baseline import Identity


class AcceptedEngines:
    """Files of ``<cache>/accepted``: an engine by its SHA-256, and self-tests of this host."""

    def __init__(self, cache_root: Path) -> None:
        self._folder = cache_root / "accepted"

    def keep(self, sha256: str, engine: Path) -> None:
        """Keep an engine when it is accepted; a link where the file system allows it.

        Raises:
            ArtifactError: the cache cannot be written, or the file is not of that hash.
        """
        if self.path(sha256) is not None:
            return
        try:
            if sha256_file(engine) != sha256:
                msg = f"{engine} is not the engine {sha256[:12]} that was measured; run again"
                raise ArtifactError(msg)
            self._folder.mkdir(parents=True, exist_ok=True)
            with replacing(self._file(sha256)) as temporary:
                temporary.unlink()
                try:
                    os.link(engine, temporary)
                except OSError:
                    shutil.copyfile(engine, temporary)
        except OSError as error:
            msg = f"the accepted engine cannot be kept in {self._folder}: {error}"
            raise ArtifactError(msg) from error

    def path(self, sha256: str) -> Path | None:
        """The engine's file; None where it is not kept here, or is damaged."""
        return None if self.fault(sha256) else self._file(sha256)

    def fault(self, sha256: str) -> str:
        """Why there is no such engine, with its file's name; empty where there is one."""
        file = self._file(sha256)
        try:
            found = sha256_file(file)
        except OSError:
            return f"the accepted engine is not kept in {file}"
        damaged = f"the accepted engine in {file} is damaged (its SHA-256 is {found[:12]})"
        return "" if found == sha256 else damaged

    def self_test(self, identity: Identity, sha256: str) -> SelfTest | None:
        """What was found of that engine on this very host, or nothing."""
        try:
            data = self._self_test_file(identity, sha256).read_bytes()
            found = msgspec.json.decode(data, type=SelfTest)
        except (OSError, ValueError):  # absent or damaged: it is made again
            return None
        return found if found.launch_ratios and found.supported >= 0 else None

    def keep_self_test(self, identity: Identity, made: SelfTest) -> None:
        """Keep it for later gates on this host.

        Raises:
            ArtifactError: the cache cannot be written.
        """
        path = self._self_test_file(identity, made.engine_sha256)
        try:
            write_atomic(path, msgspec.json.encode(made))
        except OSError as error:
            msg = f"the self-test cannot be kept in {path.parent}: {error}"
            raise ArtifactError(msg) from error

    def _file(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.bin"

    def _self_test_file(self, identity: Identity, sha256: str) -> Path:
        """One a host, identity and engine; machines that share a cache differ in noise."""
        key = msgspec.json.encode([platform.node(), identity, sha256], order="deterministic")
        return self._folder / f"self-test-{sha256_bytes(key)[:40]}.json"
