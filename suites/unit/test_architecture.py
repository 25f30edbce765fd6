"""The rules of the layout: imports point one way, an SDK is imported in its own file alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import voxgate

PACKAGE = Path(voxgate.__file__).resolve().parent
FILES = sorted(PACKAGE.rglob("*.py"))

# An SDK and the files that may import it.
SDK_FILES = {
    "openvino": {"backends/openvino.py", "backends/openvino_pairs.py"},
    "onnxruntime": {"backends/onnxruntime.py"},
    "nncf": {"quantizers/nncf.py"},
    "modelopt": {"quantizers/half.py", "quantizers/modelopt.py"},
    "nilearn": {"datasets/mni152.py"},
    "pynvml": {"machine/nvml.py"},
    "tensorrt": {
        "backends/tensorrt.py",
        "backends/tensorrt_cache.py",
        "backends/tensorrt_network.py",
        "backends/tensorrt_session.py",
        "backends/tensorrt_single.py",
    },
    "cuda": {"backends/cuda_runtime.py"},
}

# From the bottom to the top: a package, or a module of the root, imports itself and what stands above it here.
ORDER = (
    "errors",
    "files",
    "records",
    "machine",
    "models",
    "datasets",
    "backends",
    "metrics",
    "quantization",
    "quantizers",
    "config",
    "stages",
    "artifacts",
    "runs",
    "verdicts",
    "report",
    "commands",
    "plugin",
    "cli",
    "__main__",
)
MOST_IN_THE_ROOT = 6
# Stages are jobs of a process each. These are none: records, names of files, and what launches share.
NO_STAGES = {"adapting", "file_names", "requests", "timed_launch", "variant_requests"}
# A variant is adapted, built and run in one process: what other networks take three for.
OF_OTHER_STAGES = {"stages/variant.py"}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_sdk"):
            named = isinstance(node.args[0], ast.Constant)
            found.add(ast.literal_eval(node.args[0]) if named else "tensorrt")
    return found


def test_the_package_is_found() -> None:
    assert len(FILES) > 50


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_an_sdk_is_imported_in_its_own_file_alone(path: Path) -> None:
    roots = {name.partition(".")[0] for name in imports_of(path)}
    foreign = {sdk for sdk in roots & set(SDK_FILES) if name_of(path) not in SDK_FILES[sdk]}
    assert not foreign


@pytest.mark.parametrize("path", [f for f in FILES if f != PACKAGE / "__init__.py"], ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    own = name_of(path).removesuffix(".py").partition("/")[0]
    imported = {name.split(".")[1] for name in imports_of(path) if name.startswith("voxgate.")}
    known = imported - {"__version__", own}
    later = {name for name in known if ORDER.index(name) > ORDER.index(own)}
    assert not later, f"{name_of(path)} imports {later}, which stand after {own} in the order"


def test_the_root_holds_few_modules() -> None:
    root = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert len(root) <= MOST_IN_THE_ROOT
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert root | packages | {"__main__"} == set(ORDER)


STAGES = [f for f in sorted((PACKAGE / "stages").glob("*.py")) if name_of(f) not in OF_OTHER_STAGES]


@pytest.mark.parametrize("path", STAGES, ids=name_of)
def test_stages_never_import_each_other(path: Path) -> None:
    imported = {n for n in imports_of(path) if n.startswith("voxgate.stages.")}
    assert not {name for name in imported if name.split(".")[2] not in NO_STAGES}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_is_unpickled(path: Path) -> None:
    assert not {"pickle", "dill", "cloudpickle", "joblib"} & imports_of(path)
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    for call in calls:
        name = ast.unparse(call.func)
        assert name != "torch.load"
        if name == "np.load":
            assert "allow_pickle=False" in ast.unparse(call)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400
