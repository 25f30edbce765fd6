"""TensorRT's timing cache: what earlier builds measured goes in, what this one knows comes out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from voxgate.backends import timing_cache
from voxgate.backends.timing_cache import FilledCache

if TYPE_CHECKING:
    import tensorrt as trt


class BuilderCache:
    """The cache of one build. What TensorRT does not take is left behind, never an error of the build."""

    def __init__(self, folder: Path | None, config: trt.IBuilderConfig) -> None:
        self._folder = folder
        self._config: trt.IBuilderConfig = config
        self._holds: list[str] = []
        self.refused: list[str] = []
        if folder is not None:
            self._fill(timing_cache.parts(folder))

    def write(self) -> FilledCache | None:
        """A new file of what this build knows, or nothing where there is no cache."""
        config: trt.IBuilderConfig = self._config
        cache: trt.ITimingCache = config.get_timing_cache()
        if self._folder is None or cache is None:
            return None
        plan = cache.serialize()
        if plan is None:
            return None
        return timing_cache.write_new(self._folder, bytes(plan), tuple(self._holds))

    def _fill(self, kept: dict[str, bytes]) -> None:
        """The first part, and the others into it; a damaged one goes when this build's is kept."""
        config: trt.IBuilderConfig = self._config
        self._holds = list(kept)
        first, *others = kept.values() or (b"",)
        whole: trt.ITimingCache = config.create_timing_cache(first)
        if whole is None:
            self.refused.append("TensorRT made no timing cache of what was kept")
            return
        for content in others:
            part: trt.ITimingCache = config.create_timing_cache(content)
            if part is None or not whole.combine(part, ignore_mismatch=False):
                self.refused.append("TensorRT did not take a part of the timing cache")
        if not config.set_timing_cache(whole, ignore_mismatch=False):
            self.refused.append("TensorRT did not take the timing cache: it is of something else")
