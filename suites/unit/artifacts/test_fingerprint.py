"""What a key knows of the code behind an artifact: all of it, and of other networks nothing."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from voxgate import backends, models, quantizers
from voxgate.artifacts import fingerprint, jobs
from voxgate.artifacts.fingerprint import file_of, reached, source_fingerprint

PACKAGE = Path(fingerprint.__file__).parents[1]
STAGES = sorted(f"stages/{path.name}" for path in (PACKAGE / "stages").glob("*.py"))


@pytest.mark.parametrize("stage", [name for name in STAGES if "train" not in name])
def test_all_that_a_stage_imports_is_reached(
    stage: str,
) -> None:
    module = f"voxgate.{stage.removesuffix('.py').replace('/', '.')}".removesuffix(".__init__")
    names = imported_by(module)
    assert {file_of(name) for name in names} <= set(reached(stage)) | ALWAYS


def imported_by(module: str) -> set[str]:
    """What a fresh interpreter has of ours after an import."""
    script = (
        f"import sys, {module}\n"
        "print(*(name for name in sys.modules if name.startswith('voxgate.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


# Every process of ours imports these with the package itself; they decide nothing.
ALWAYS = {"machine/__init__.py", "machine/telemetry.py"}


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """The functions that make an artifact of a job, with their files."""
    for path in sorted([*PACKAGE.glob("artifacts/*.py"), *PACKAGE.glob("runs/*.py")]):
        if path == Path(fingerprint.__file__):
            continue
        tree = ast.parse(path.read_text())
        bodies = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))]
        for node in (node for body in bodies for node in body):
            text = ast.unparse(node)
            if isinstance(node, ast.FunctionDef) and "source_fingerprint(" in text:
                yield path.relative_to(PACKAGE).as_posix(), node


@pytest.mark.parametrize(
    ("file", "function"), list(functions()), ids=lambda value: getattr(value, "name", value)
)
def test_the_key_of_an_artifact_knows_the_file_of_its_job(
    file: str, function: ast.FunctionDef
) -> None:
    parts: set[str] = set()
    named: set[str] = set()
    constants = {
        target.id: node.value
        for node in ast.parse((PACKAGE / file).read_text()).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "source_fingerprint":
            for part in node.args:
                inner = part.value if isinstance(part, ast.Starred) else part
                source = constants.get(inner.id, inner) if isinstance(inner, ast.Name) else inner
                parts |= {
                    c.value
                    for c in ast.walk(source)
                    if isinstance(c, ast.Constant) and isinstance(c.value, str)
                }
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "jobs":
            named.add(node.attr)
    assert parts
    known = set(reached(*parts))
    for name in named - {"LINT"}:  # it is asked before the build, and its answer is kept nowhere
        target = getattr(jobs, name).target.partition(":")[0]
        assert file_of(target) in known, f"{file}: {function.name} does not know {target}"


def test_a_network_is_no_other_ones_code() -> None:
    for name, other in (("unet", "swinunetr"), ("segresnet", "unest")):
        own = reached("stages/export.py", file_of(models.get(name).module))
        assert f"models/architectures/{name}.py" in own
        assert f"models/architectures/{other}.py" not in own


def test_no_quantizer_is_another_ones_code_and_none_places_pairs() -> None:
    for name, other in (("nncf", "modelopt"), ("modelopt", "nncf")):
        own = reached("stages/quantize.py", file_of(quantizers.get(name).module))
        assert f"quantizers/{name}.py" in own
        assert f"quantizers/{other}.py" not in own
        assert not [
            file for file in own if file.startswith(("quantizers/placement", "quantizers/pairs"))
        ]


def test_every_module_of_a_table_is_there() -> None:
    modules = (
        *(spec.module for spec in backends.BACKENDS.values()),
        *(spec.module for spec in quantizers.QUANTIZERS.values()),
        *(spec.module for spec in quantizers.SIMULATIONS.values()),
    )
    for module in modules:
        assert (PACKAGE / file_of(module)).is_file()


def test_the_code_of_a_backend_is_all_that_its_module_imports() -> None:
    tensorrt = reached(file_of(backends.get("tensorrt").module))
    for part in ("cache", "inspector", "network", "session", "single", "versions"):
        assert f"backends/tensorrt_{part}.py" in tensorrt
    assert "backends/cuda_runtime.py" in tensorrt
    assert "backends/openvino.py" not in tensorrt
    assert "backends/openvino_pairs.py" in reached(file_of(backends.get("openvino").module))
    assert "backends/cuda.py" in reached(file_of(backends.get("pytorch-compile").module))


def test_a_change_of_anything_that_is_imported_is_another_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "voxgate"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(fingerprint, "_PACKAGE", copy)
    part = "stages/export.py"
    before = source_fingerprint.__wrapped__(part)
    for changed, other in (("quantization/norms.py", True), ("report/html.py", False)):
        file = copy / changed
        text = file.read_text() if file.is_file() else ""
        file.write_text(text + "\n# changed\n")
        assert (source_fingerprint.__wrapped__(part) != before) is other
        file.write_text(text)


def test_what_is_none_of_ours_is_named() -> None:
    with pytest.raises(ValueError, match="numpy is no module of voxgate"):
        file_of("numpy")
