"""What a worker on an accelerator tells of its phases, and who makes a context."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from voxgate import backends
from voxgate.artifacts import jobs
from voxgate.artifacts.launcher import Limits, run_job
from voxgate.backends.fake import Fake
from voxgate.metrics import latency
from voxgate.records.runtime import EngineOptions
from voxgate.stages import launch as measure
from voxgate.stages import timed_launch
from voxgate.stages.requests import BuildRequest, PrepareRequest, RunRequest

TASK = "phantom-mini"
OPTIONS = EngineOptions(precision="fp32", threads=1, model="unet", task=TASK, classes=4)
LIMITS = Limits(seconds=60)
UUID = "12345678-1234-5678-1234-567812345678"


@pytest.fixture(scope="module")
def request_of_a_run(tmp_path_factory: pytest.TempPathFactory) -> RunRequest:
    folder = tmp_path_factory.mktemp("patches")
    run_job(jobs.PREPARE, PrepareRequest(task=TASK, folder=str(folder)), LIMITS)
    build = BuildRequest(backend="fake", options=OPTIONS, source="", folder=str(folder))
    run_job(jobs.BUILD, build, LIMITS)
    return RunRequest(
        backend="fake",
        options=OPTIONS,
        engine=str(folder / "engine.bin"),
        images=str(folder / "evaluation_images.npy"),
        labels=str(folder / "evaluation_labels.npy"),
        cases=(),
        label_names=(),
        warmups=3,
        min_samples=2,
        max_samples=2,
        seconds=0.0,
        evaluate=False,
        inspect=False,
    )


def test_on_a_cpu_there_are_no_phases_and_no_pause(
    request_of_a_run: RunRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("it paused"))
    result = measure.run(request_of_a_run)
    assert result.phases is None
    assert (result.gpu, result.gpu_memory) == (None, None)


def test_on_an_accelerator_the_phases_follow_each_other(
    request_of_a_run: RunRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fake, "create_context", lambda *_: True)
    phases = measure.run(request_of_a_run).phases
    assert phases is not None
    assert phases.loading_ns - phases.context_ns >= 100_000_000
    assert phases.context_ns < phases.loading_ns <= phases.loaded_ns
    assert phases.loaded_ns <= phases.sampling_ns < phases.sampled_ns


def test_warmups_are_before_the_timed_inferences(
    request_of_a_run: RunRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(10**6))
    clock = SimpleNamespace(
        monotonic_ns=lambda: next(now), monotonic=lambda: 0.0, perf_counter=lambda: 0.0,
        process_time=lambda: 0.0, sleep=lambda _: None,
    )  # fmt: skip
    for module in (measure, timed_launch, latency):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(Fake, "create_context", lambda *_: True)
    result = measure.run(request_of_a_run)
    phases = result.phases
    assert phases is not None
    assert (phases.context_ns, phases.loading_ns, phases.loaded_ns) == (0, 1, 2)
    assert (phases.sampling_ns, phases.sampled_ns) == (3, 4)
    launch = result.launch
    assert (len(launch.warmups_ns), len(launch.samples_ns)) == (3, 2)
    # Whole inferences come behind, and the clock is read before and after each.
    assert launch.host_samples_ns == (1, 1)


@pytest.mark.parametrize("name", ["fake", "openvino", "onnxruntime"])
def test_cpu_backends_make_no_context(name: str) -> None:
    assert backends.load(name).create_context(OPTIONS) is False


def test_pytorch_makes_a_context_where_cuda_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from voxgate.backends import pytorch

    asked: list[object] = []
    cuda = SimpleNamespace(
        is_available=lambda: bool(asked),
        synchronize=lambda: asked.append("synchronize"),
        get_device_name=lambda: "a GPU",
        get_device_capability=lambda _: (9, 0),
        get_device_properties=lambda _: SimpleNamespace(uuid=UUID),
    )
    fake = SimpleNamespace(
        __version__="2", cuda=cuda, zeros=lambda *_, device: asked.append(device)
    )
    monkeypatch.setattr(pytorch, "sdk", lambda: fake)
    backend = backends.load("pytorch")
    assert backend.create_context(OPTIONS) is False
    assert (backend.probe().device, backend.probe().accelerator) == ("CPU", "")
    asked.append("CUDA is there")
    assert backend.create_context(OPTIONS) is True
    assert asked[1:] == ["cuda", "synchronize"]
    assert (backend.probe().device, backend.probe().accelerator) == ("a GPU", f"GPU-{UUID}")
