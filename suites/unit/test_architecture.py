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
MOST_FILES_IN_A_CHAIN = 12
# Stages are jobs of a process each. These are none: records, names of files, and what launches share.
NO_STAGES = {
    "adapt_requests",
    "file_names",
    "requests",
    "scale_requests",
    "timed_launch",
    "variant_requests",
}
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


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES if path != PACKAGE / "__init__.py"}


def loaded_with(path: Path) -> set[str]:
    """The modules that importing a file imports: not what functions and type checkers do."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & set(MODULES) | {node.module or ""} & set(MODULES)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & set(MODULES)
    # `from voxgate.backends import base` runs the package, too, which is no circle for its own files.
    return {name for name in found if not module_of(path).startswith(f"{name}.")}


def chain_of(module: str, above: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The longest chain of files that import one another, from a module down."""
    assert module not in above, f"a circle: {' -> '.join([*above, module])}"
    if module not in CHAINS:
        below = [chain_of(name, (*above, module)) for name in sorted(loaded_with(MODULES[module]))]
        CHAINS[module] = (module, *max(below, key=len, default=()))
    return CHAINS[module]


CHAINS: dict[str, tuple[str, ...]] = {}


def test_imports_form_no_circle_and_no_long_chain() -> None:
    longest = max((chain_of(module) for module in MODULES), key=len)
    assert len(longest) <= MOST_FILES_IN_A_CHAIN, " -> ".join(longest)


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
