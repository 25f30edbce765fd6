"""PyTorch in four precisions, eager and compiled: how each is set up, and what is refused and why."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save
from voxgate import backends, models
from voxgate.artifacts import jobs
from voxgate.artifacts.fingerprint import file_of, reached
from voxgate.artifacts.launcher import Limits, run_job
from voxgate.backends import cuda, pytorch, pytorch_compile
from voxgate.backends.pytorch import PyTorchSession
from voxgate.errors import BuildError, DeviceMemoryError, UnavailableError
from voxgate.models.initialization import initial_state
from voxgate.models.spec import ModelSpec
from voxgate.records.case import Precision
from voxgate.records.runtime import EngineOptions, Probe
from voxgate.stages.requests import ExpandRequest, PrepareRequest, RunRequest

from suites.formulas.profile import NIGHTLY
from suites.support.extended_package import copied

GPU = torch.cuda.is_available()
IMAGE = np.random.default_rng(0).standard_normal((1, 1, 32, 32, 32)).astype(np.float32)
CLASSES = 4


class Tiny(torch.nn.Module):
    """Two convolutions, and a parameter of four dimensions as transformers have them."""

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__()
        self.body = torch.nn.Conv3d(in_channels, 8, 3, padding=1)
        self.shift = torch.nn.Parameter(torch.zeros(8, 1, 1, 1))
        self.head = torch.nn.Conv3d(8, classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(torch.relu(self.body(image) + self.shift))
        return logits


TINY = ModelSpec(name="tiny", title="Tiny", source="", build=Tiny, parameters=0, roi_multiple=1)


def options(precision: Precision = "fp32", model: str = "tiny") -> EngineOptions:
    return EngineOptions(
        precision=precision, threads=1, model=model, task="phantom-mini", classes=CLASSES
    )


def far(output: Any, exact: Any) -> float:
    return float(np.abs(output - exact).max() / np.abs(exact).max())


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> bytes:
    monkeypatch.setitem(models.MODELS, "tiny", TINY)
    return save(initial_state(Tiny(1, CLASSES), seed=0))


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    """A worker is a process of its own; these tests share theirs with others."""
    found = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
    benchmark, threads = torch.backends.cudnn.benchmark, torch.get_num_threads()
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = found
    torch.backends.cudnn.benchmark = benchmark
    torch.set_num_threads(threads)


# --- what is here --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pytorch", "pytorch-compile"])
def test_the_table_has_four_precisions_and_takes_weights(name: str) -> None:
    spec = backends.get(name)
    assert spec.precisions == ("fp32", "tf32", "fp16", "bf16") == tuple(pytorch.MODES)
    assert set(spec.sources.values()) == {"weights"}
    assert spec.default_precisions == ("fp32",)
    assert "backends/pytorch.py" in reached(file_of(spec.module))


@pytest.mark.skipif(GPU, reason="a GPU is here")
@pytest.mark.parametrize(
    ("isa", "refused"), [((), "no bf16 instructions"), (("avx2", "amx_bf16"), "")]
)
def test_a_cpu_refuses_what_is_for_gpus(
    isa: tuple[str, ...], refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pytorch, "isa_flags", lambda: isa)
    probe = pytorch.BACKEND.probe()
    backends.require("pytorch", "fp32", probe)
    for precision in ("tf32", "fp16"):
        with pytest.raises(UnavailableError, match="sees no CUDA GPU"):
            backends.require("pytorch", precision, probe)
    assert refused in probe.refused.get("bf16", "")
    assert bool(refused) == ("bf16" in probe.refused)


@pytest.mark.parametrize(("capability", "refused"), [((7, 5), {"tf32", "bf16"}), ((9, 0), set())])
def test_an_older_gpu_refuses_what_came_later(
    capability: tuple[int, int], refused: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = SimpleNamespace(
        is_available=lambda: True,
        get_device_name=lambda: "a GPU",
        get_device_capability=lambda _: capability,
        get_device_properties=lambda _: SimpleNamespace(
            uuid="12345678-1234-5678-1234-567812345678"
        ),
    )
    monkeypatch.setattr(pytorch, "sdk", lambda: SimpleNamespace(__version__="2", cuda=driver))
    probe = pytorch.BACKEND.probe()
    assert set(probe.refused) == refused
    assert all("this GPU has 7.5" in why for why in probe.refused.values())


# --- how it computes -----------------------------------------------------------------------------


@pytest.mark.parametrize("precision", pytorch.MODES)
def test_only_fp32_is_the_reference(precision: Precision, engine: bytes) -> None:
    pytorch.BACKEND.load(engine, options(precision)).close()
    tuned = precision != "fp32"
    assert torch.backends.cuda.matmul.allow_tf32 is tuned
    assert torch.backends.cudnn.allow_tf32 is tuned
    assert torch.backends.cudnn.benchmark is tuned


def test_weights_of_3d_convolutions_become_channels_last_and_nothing_else() -> None:
    network = Tiny(2, CLASSES)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    pytorch._to_channels_last(network)
    assert network.body.weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert not network.body.weight.is_contiguous()
    assert network.shift.is_contiguous()
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_bf16_is_autocast_and_comes_out_as_float32(engine: bytes) -> None:
    exact = pytorch.BACKEND.load(engine, options()).infer(IMAGE)[0]
    session = pytorch.BACKEND.load(engine, options("bf16"))
    output, elapsed_ns = session.infer(IMAGE)
    difference = far(output, exact)
    assert output.dtype == np.float32
    assert elapsed_ns > 0
    assert 1e-4 < difference < 0.05
    burst = session.sample(IMAGE, 3)
    assert len(burst.samples_ns) == 3
    np.testing.assert_array_equal(session.output(), output)
    assert not torch.is_autocast_enabled("cpu")


def test_a_burst_casts_each_weight_once(engine: bytes) -> None:
    """As in a volume of windows under one autocast; `infer` alone casts it for one patch."""
    session = pytorch.BACKEND.load(engine, options("bf16"))
    casts: list[int] = []

    class Counted(torch.nn.Module):
        def __init__(self, module: torch.nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.module(image)
            casts.append(torch.is_autocast_cache_enabled() and torch.autocast_increment_nesting())
            torch.autocast_decrement_nesting()
            return logits

    session._module = Counted(session._module)
    session.infer(IMAGE)
    session.sample(IMAGE, 2)
    assert casts == [2, 3, 3]  # nested: what the outer one cast is kept


@pytest.mark.skipif(not GPU, reason="no CUDA GPU here")
@pytest.mark.parametrize("precision", pytorch.MODES)
def test_every_precision_computes_the_network_on_a_gpu(precision: Precision, engine: bytes) -> None:
    exact = pytorch.BACKEND.load(engine, options()).infer(IMAGE)[0]
    session: Any = pytorch.BACKEND.load(engine, options(precision))
    output, elapsed_ns = session.infer(IMAGE)
    assert elapsed_ns > 0
    assert far(output, exact) < 0.05
    assert len(session.sample(IMAGE, 5).samples_ns) == 5
    np.testing.assert_allclose(session.output(), output, atol=1e-5)
    wanted = torch.contiguous_format if precision == "fp32" else torch.channels_last_3d
    assert session._module.body.weight.is_contiguous(memory_format=wanted)


# --- compiled ------------------------------------------------------------------------------------


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """Every module that was handed to `torch.compile`, which gives it back as it is."""
    seen: list[Any] = []

    def hand_back(module: torch.nn.Module) -> torch.nn.Module:
        seen.append(module)
        module.register_forward_hook(lambda _, inputs, __: seen.append(tuple(inputs[0].shape)))
        return module

    monkeypatch.setattr(torch, "compile", hand_back)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        monkeypatch.setenv(name, "/the/users/own")  # and set back at the end
    return seen


def test_it_compiles_while_it_loads_for_the_tasks_patch(
    engine: bytes, compiled: list[Any], tmp_path: Path
) -> None:
    session = pytorch_compile.BACKEND.load(engine, options())
    assert isinstance(session, PyTorchSession)
    assert isinstance(compiled[0], Tiny)
    assert compiled[1:] == [(1, 1, 32, 32, 32)]
    assert Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]).parent == tmp_path
    assert Path(os.environ["TRITON_CACHE_DIR"]).parent == tmp_path
    eager = pytorch.BACKEND.load(engine, options())
    np.testing.assert_array_equal(session.infer(IMAGE)[0], eager.infer(IMAGE)[0])


@pytest.mark.parametrize(
    ("words", "kind", "shown"),
    [
        ("No working C++ compiler found in\ntorch._inductor", UnavailableError, "lacks something"),
        ("fatal error: Python.h: No such file", UnavailableError, "Python.h"),
        ("Cannot find a working triton installation", UnavailableError, "triton"),
        ("CUDA out of memory. Tried to allocate 2 GiB", DeviceMemoryError, "Tried to allocate"),
        ("unsupported: a graph break", BuildError, "does not compile tiny: RuntimeError: unsupp"),
    ],
)
def test_what_fails_is_told_by_its_cause(
    words: str,
    kind: type[Exception],
    shown: str,
    engine: bytes,
    compiled: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not compiled

    class Broken(torch.nn.Module):
        def forward(self, _: torch.Tensor) -> torch.Tensor:
            raise RuntimeError(words)

    class OnGpu(PyTorchSession):
        def infer(self, image: Any) -> Any:
            with cuda.memory_errors():
                return super().infer(image)

    monkeypatch.setattr(torch, "compile", lambda _: Broken())
    monkeypatch.setattr(pytorch, "PyTorchSession", OnGpu)
    monkeypatch.setattr(cuda, "free_memory", lambda: "nothing free")
    with pytest.raises(kind, match=shown):
        pytorch_compile.BACKEND.load(engine, options())


@pytest.mark.parametrize(
    ("there", "chosen", "words"),
    [
        ("gpu gcc", "", "pip install triton"),
        ("gpu triton gcc", "", ""),
        ("gpu triton", "", "needs a C compiler, and no gcc or clang or cc is on the PATH"),
        ("g++", "", ""),
        ("", "", "needs a C++ compiler, and no g++ is on the PATH"),
        ("g++", "/no/such/g++", "CXX names /no/such/g++, which is none"),
    ],
)
def test_it_is_unavailable_without_what_compiles(
    there: str, chosen: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: "triton" in there or None)
    accelerator = "GPU-1" if "gpu" in there else ""
    found = Probe(available=True, version="2", accelerator=accelerator)
    monkeypatch.setattr(pytorch.PyTorch, "probe", lambda _: found)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("CXX", chosen)
    for name in {"gcc", "g++"} & set(there.split()):
        (tmp_path / name).touch(0o755)
    probe = pytorch_compile.BACKEND.probe()
    assert probe.available == (not words)
    assert words in probe.reason
    assert bool(words) == bool(probe.reason)


@pytest.mark.skipif(GPU or not shutil.which("g++"), reason="no C++ compiler here, or a GPU")
def test_a_compiled_engine_runs_and_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home, temporary, files = (tmp_path / name for name in ("home", "tmp", "files"))
    for folder in (home, temporary, files):
        folder.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    # A compiler takes two minutes for U-Net on a slow processor, and seconds for two convolutions.
    model = "unet" if NIGHTLY else "toynet"
    monkeypatch.setenv("PYTHONPATH", str(copied(tmp_path / "package")))
    limits, task = Limits(seconds=900), "phantom-mini"
    run_job(jobs.PREPARE, PrepareRequest(task=task, folder=str(files)), limits)
    request = ExpandRequest(
        model=model, task=task, trained_classes=CLASSES, classes=CLASSES, checkpoint="", folder=str(files)
    )  # fmt: skip
    run_job(jobs.EXPAND, request, limits)
    launch = RunRequest(
        backend="pytorch", options=options(model=model), engine=str(files / "weights.safetensors"),
        images=str(files / "evaluation_images.npy"), labels=str(files / "evaluation_labels.npy"),
        cases=("a",), label_names=(), warmups=1, min_samples=2, max_samples=2, seconds=0.0,
        evaluate=False, inspect=False, predictions=str(files / "eager.npy"),
    )  # fmt: skip
    run_job(jobs.RUN, launch, limits)
    ours = replace(launch, backend="pytorch-compile", predictions=str(files / "compiled.npy"))
    result = run_job(jobs.RUN, ours, limits)
    eager, compiled = (np.load(files / f"{name}.npy") for name in ("eager", "compiled"))
    assert (eager == compiled).mean() > 0.999
    assert len(result.launch.samples_ns) == 2
    assert not list(temporary.iterdir())
    assert not list(home.iterdir())
