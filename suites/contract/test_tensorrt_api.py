"""Every part of TensorRT's API that the backend touches exists in every supported version."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import voxgate.backends
from hypothesis import given
from hypothesis import strategies as st
from voxgate.backends.tensorrt_versions import traits

from suites.contract.conftest import DESCRIBED, VERSIONS, bindings_of
from suites.contract.signatures import Signature, signatures
from suites.contract.used import Use, uses

FOLDER = Path(voxgate.backends.__file__).parent
SCRIPT = Path(__file__).with_name("describe.py")
SOURCES = (
    "tensorrt.py", "tensorrt_cache.py", "tensorrt_log.py", "tensorrt_network.py",
    "tensorrt_session.py",
)  # fmt: skip
# Only weakly typed networks have it: version 11 removed it with the flags.
WEAK = sorted(uses(FOLDER / "tensorrt_single.py"))
USED = sorted(set().union(*(uses(FOLDER / name) for name in SOURCES)))

Description = Mapping[str, Any]


def ask(bindings: Path, paths: list[str]) -> Description:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(bindings)],
        input=json.dumps(paths), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer: Description = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="session", params=[*VERSIONS, *DESCRIBED])
def described(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Description:  # fmt: skip
    """Of a wheel, or of one that is too large, from the file that was written of it."""
    if request.param in VERSIONS:
        return ask(bindings_of(request.param, tmp_path_factory), [use.path for use in USED])
    text = SCRIPT.with_name(f"tensorrt-{request.param}.json").read_text()
    answer: dict[str, Any] = json.loads(text)
    assert answer["version"] == request.param
    return answer | {"api": {use.path: answer["api"].get(use.path) for use in USED}}


@pytest.mark.parametrize("use", USED, ids=str)
def test_the_version_has_what_the_backend_uses(described: Description, use: Use) -> None:
    _fits(described["version"], described["api"][use.path], use)


@pytest.mark.parametrize("version", DESCRIBED)
@pytest.mark.parametrize("use", WEAK, ids=str)
def test_weakly_typed_versions_have_precisions_of_layers(version: str, use: Use) -> None:
    text = SCRIPT.with_name(f"tensorrt-{version}.json").read_text()
    _fits(version, json.loads(text)["api"].get(use.path), use)


def test_what_layers_need_is_followed() -> None:
    assert {use.path for use in WEAK} >= {
        "ILayer.precision", "ILayer.set_output_type", "ILayer.name", "ITensor.name", "float32",
        "BuilderFlag.OBEY_PRECISION_CONSTRAINTS", "INetworkDefinition.get_layer",
    }  # fmt: skip


def _fits(version: str, found: Any, use: Use) -> None:
    """A version has what a file touches, as the file touches it."""
    assert found is not None or use.optional, f"{version} has no {use.path}"
    if use.assigned:
        assert found["assignable"]
    if use.arguments is not None:
        overloads = signatures(found["doc"])
        assert any(s.accepts(use.arguments, use.keywords) for s in overloads), found["doc"]


def test_flags_are_the_versions_own(described: Description) -> None:
    flags, major = described["flags"], described["version"].split(".")[0]
    assert flags["strongly_typed"] == {"8": None, "10": 1, "11": 0}[major]
    assert flags["network"] == 1 << (flags["strongly_typed"] or 0)  # EXPLICIT_BATCH is 0


def test_the_table_of_versions_is_true(described: Description) -> None:
    found, api = traits(described["version"]), described["api"]
    assert found.strongly_typed == (described["flags"]["strongly_typed"] is not None)
    if not found.strongly_typed:
        assert api["BuilderFlag.INT8"]
        assert api["BuilderFlag.FP16"]
    if found.library_tactics:
        assert api["IBuilderConfig.set_tactic_sources"]
    sizes = [api[f"ICudaEngine.device_memory_size{end}"] for end in ("", "_v2")]
    assert any(sizes)


def test_the_profiler_derives_from_the_versions_own(described: Description) -> None:
    assert described["profiled"] == {"conv": 1_500_000}


def test_what_is_missing_is_seen(bindings: Path) -> None:
    api = ask(bindings, ["Builder.no_such_method", "BuilderFlag.NO_SUCH_FLAG", "Builder"])["api"]
    assert [found is None for found in api.values()] == [True, True, False]


def test_the_list_holds_what_the_backend_cannot_do_without() -> None:
    paths = {use.path for use in USED}
    assert paths >= {
        "Builder", "Builder.create_network", "Builder.build_serialized_network", "OnnxParser",
        "OnnxParser.parse_from_file", "ParserError.node_operator", "BuilderFlag.TF32",
        "IBuilderConfig.profiling_verbosity", "IBuilderConfig.set_timing_cache",
        "Runtime.deserialize_cuda_engine", "ICudaEngine.get_tensor_dtype", "ITimingCache.combine",
        "IExecutionContext.execute_async_v3", "IExecutionContext.profiler", "IProfiler", "EngineInspector.get_engine_information",
        "NetworkDefinitionCreationFlag.STRONGLY_TYPED", "IOptimizationProfile.set_shape",
    }  # fmt: skip


def test_a_use_is_read_with_its_arguments(tmp_path: Path) -> None:
    source = tmp_path / "source.py"
    source.write_text(
        "def f(sdk, config: trt.IBuilderConfig):\n"
        "    config.one(1, two=2)\n"
        "    config.three = sdk.Enum.FOUR\n"
        "    getattr(sdk.Enum, 'FIVE', None)\n"
        "    getattr(config, 'seven', None)\n"
        "class C:\n"
        "    def __init__(self, engine: trt.Engine):\n"
        "        self._engine = engine\n"
        "    def g(self):\n"
        "        return self._engine.six\n"
    )
    assert uses(source) >= {
        Use("IBuilderConfig.one", 1, ("two",)), Use("IBuilderConfig.three", assigned=True),
        Use("Enum.FOUR"), Use("Enum.FIVE", optional=True), Use("Engine.six"),
        Use("IBuilderConfig.seven", optional=True),
    }  # fmt: skip


def test_signatures_of_overloads_are_read() -> None:
    text = (
        "f(*args, **kwargs)\nOverloaded function.\n\n"
        "1. f(self: a.B, x: int, y: dict[str, int] = {}) -> c.D\n\n2. f(self: a.B) -> None\n"
    )
    assert signatures(text) == [Signature(("x", "y"), 1), Signature((), 0)]


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 7))
def test_a_call_fits_between_required_and_all(required: int, more: int, given_: int) -> None:
    signature = Signature(tuple(f"p{i}" for i in range(required + more)), required)
    assert signature.accepts(given_, ()) == (required <= given_ <= required + more)
