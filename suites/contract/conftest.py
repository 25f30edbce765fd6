"""The real bindings of TensorRT, without its libraries: symbols that are never called are stubs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

VERSIONS = ("10.3.0", "10.16.1.11", "11.0.0.114", "11.4.0.106")
# Their wheels hold the libraries, 0.5 and 0.8 GB; describe.py wrote what their bindings say.
DESCRIBED = ("8.5.3.1", "8.6.0")
WHEELS = Path(sys.prefix) / "wheels"

_LIBRARIES = ("nvinfer", "nvonnxparser", "nvinfer_plugin")
_SYMBOLS = (
    "createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL", "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry", "getNvOnnxParserVersion", "getPluginRegistry",
    "initLibNvInferPlugins",
)  # fmt: skip


@pytest.fixture(scope="session", params=VERSIONS)
def bindings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``tensorrt_bindings`` of one version that imports."""
    return bindings_of(request.param, tmp_path_factory)


def bindings_of(version: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of a version; skips where its wheel is not here."""
    folder = unpack(version, tmp_path_factory.mktemp(f"tensorrt-{version}"))
    source = folder / "stub.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in _SYMBOLS))
    major = version.split(".", maxsplit=1)[0]
    for library in _LIBRARIES:
        compile_library(source, folder / "tensorrt_bindings" / f"lib{library}.so.{major}")
    return folder


def unpack(version: str, folder: Path) -> Path:
    """The wheel of a version, unpacked; skips where it is not here."""
    found = sorted(WHEELS.glob(f"tensorrt_cu1?_bindings-{version}-cp*.whl"))
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    fitting = [wheel for wheel in found if f"-{tag}-" in wheel.name]
    if not fitting:
        pytest.skip(f"TensorRT's bindings {version} for {tag} are not in {WHEELS}")
    return unpack_wheel(fitting[0], folder)


def unpack_wheel(wheel: Path, folder: Path) -> Path:
    """The files of a wheel, whose hash was checked when it was fetched."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def compile_library(source: Path, target: Path, *options: str) -> None:
    """A shared library with its own name inside, as the loader looks for it."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler for the stub libraries")
    command = [compiler, "-shared", "-fPIC", "-o", str(target), str(source), *options]
    subprocess.run([*command, f"-Wl,-soname,{target.name}"], check=True)
