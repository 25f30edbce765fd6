"""The rules of the layout: imports point one way, an SDK is imported in its own file alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import harness

PACKAGE = Path(harness.__file__).resolve().parent
FILES = sorted(PACKAGE.rglob("*.py"))

# An SDK and the files that may import it.
SDK_FILES = {
    "openvino": {"backends/openvino.py", "backends/openvino_pairs.py"},
    "onnxruntime": {"backends/onnxruntime.py"},
    "nncf": {"quantizers/nncf.py"},
    "modelopt": {"quantizers/half.py", "quantizers/modelopt.py"},
    "nilearn": {"datasets/mni152.py"},
    "pynvml": {"nvml.py"},
    "tensorrt": {
        "backends/tensorrt.py",
        "backends/tensorrt_cache.py",
        "backends/tensorrt_network.py",
        "backends/tensorrt_session.py",
        "backends/tensorrt_single.py",
    },
    "cuda": {"backends/cuda_runtime.py"},
}

# From the bottom to the top; a module may import its own layer's package and lower ones.
LAYERS = (
    (
        "errors",
        "bounded",
        "gpu_records",
        "findings",
        "streams",
        "telemetry",
        "provenance",
        "scores",
        "types",
        "study_record",
        "verdicts",
        "timing_cache",
        "requests",
        "variants",
        "layer_losses",
        "files",
        "layout",
        "messages",
        "replay",
        "fingerprint",
        "installed",
        "graph",
        "qdq",
        "qdq_view",
        "grids",
        "formulas",
        "bootstrap",
        "calibration",
        "presence",
        "float8",
        "rewiring",
        "norms",
        "lowering",
        "adapting",
        "refused_pairs",
        "operands",
    ),
    (
        "datasets",
        "models",
        "environment",
        "gpu_handles",
        "nvml",
        "gpu_facts",
        "host_bound",
        "coverage",
        "cache",
        "checkpoints",
        "cuda_packages",
        "ratios",
        "gate",
        "subjects",
        "noninferiority",
        "ledger",
        "ranking",
    ),
    (
        "quantizers",
        "backends",
        "editors",
        "graph_needs",
        "certificate",
        "dice_lost",
        "expectations",
        "alternating",
        "scales",
    ),
    ("stages", "config", "run_options", "record", "baseline", "accepted"),
    ("measure", "measure_variant", "timed_launch", "row_times", "jobs", "trends"),
    ("interpreter",),
    ("worker", "launcher", "gpu_monitor", "clean_build"),
    ("adapted_graphs", "refused_builds", "artifacts", "report"),
    ("case_run", "surfaces"),
    ("certified",),
    ("layer_changes",),
    ("compare",),
    ("pairing", "partly_quantized", "checked_scales"),
    ("pipeline", "stored"),
    ("judge", "versions", "layer_budget", "study"),
    ("sensitivity",),
    ("commands", "plugin"),
    ("cli",),
)


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


def layer_of(module: str) -> int:
    return next(i for i, names in enumerate(LAYERS) if module in names)


def test_the_package_is_found() -> None:
    assert len(FILES) > 50


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_an_sdk_is_imported_in_its_own_file_alone(path: Path) -> None:
    roots = {name.partition(".")[0] for name in imports_of(path)}
    foreign = {sdk for sdk in roots & set(SDK_FILES) if name_of(path) not in SDK_FILES[sdk]}
    assert not foreign


@pytest.mark.parametrize("path", [f for f in FILES if f.name != "__init__.py"], ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    own = name_of(path).removesuffix(".py").partition("/")[0]
    above = {
        name
        for name in imports_of(path)
        if name.startswith("harness.")
        and name.split(".")[1] not in {"__version__", own}
        and layer_of(name.split(".")[1]) > layer_of(own)
    }
    assert not above


@pytest.mark.parametrize("path", sorted((PACKAGE / "stages").glob("*.py")), ids=name_of)
def test_stages_never_import_each_other(path: Path) -> None:
    assert not {name for name in imports_of(path) if name.startswith("harness.stages")}


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
