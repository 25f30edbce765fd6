"""What is asked of INT8 engines, by backend: the paper's own engines must be good enough for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from voxgate import backends, models
from voxgate.metrics import expectations
from voxgate.metrics.certificate import Rivals, certify, refuse_float
from voxgate.records.engine import Coverage, Share
from voxgate.records.run import CaseResult
from voxgate.report.paper import PaperRow, read_paper

from suites.engines import test_real_int8 as suite

VNNI = ("avx2", "avx512_vnni")
PAPER = read_paper()
assert PAPER is not None


@pytest.mark.parametrize("row", PAPER.results, ids=lambda row: f"{row.table}-{row.model}")
def test_the_papers_engines_pass_the_bounds_of_tensorrt(row: PaperRow) -> None:
    """They were built by TensorRT 10.3 on an RTX 4090: kernels and float parts are in their sizes."""
    least = expectations.least_smaller("tensorrt", whole=True)
    assert row.smaller is None or row.smaller >= least
    assert row.smaller_in_arxiv >= least
    assert row.faster >= expectations.least_faster("tensorrt", row.model, VNNI, whole=True)


def test_the_papers_engines_are_not_what_a_cpu_runtime_makes() -> None:
    """Why the bounds are by backend: those of a CPU runtime refuse U-Net, nnU-Net and SegResNet."""
    assert PAPER is not None
    least = expectations.least_smaller("openvino", whole=True)
    refused = {row.model for row in PAPER.results if row.smaller and row.smaller < least}
    assert refused == {"unet", "nnunet", "segresnet"}


@pytest.mark.parametrize("backend", [b for b in backends.BACKENDS if not b.startswith("tensorrt")])
def test_a_runtime_without_plans_promises_certificates(backend: str) -> None:
    assert expectations.of(backend).certified
    assert expectations.required_int8_macs(backend, "unet") == 0.95
    assert expectations.least_int8_macs(backend, "unet") == 0.95
    assert expectations.least_smaller(backend, whole=True) == 3.5


@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt-rtx"])
def test_a_runtime_with_plans_is_asked_for_what_was_seen(backend: str) -> None:
    assert not expectations.of(backend).certified
    assert expectations.required_int8_macs(backend, "unet") == 0.90
    assert expectations.least_int8_macs(backend, "unet") > expectations.NOT_INT8
    assert expectations.least_int8_macs(backend, "vista3d") == expectations.NOT_INT8


@pytest.mark.parametrize(
    ("backend", "model", "isa", "whole", "wanted"),
    [
        ("openvino", "unet", VNNI, True, 3.0),
        ("openvino", "unet", ("avx2",), True, 1.1),
        ("openvino", "unet", VNNI, False, 1.1),
        ("openvino", "stunet-h", VNNI, True, 1.1),
        ("tensorrt", "unet", (), True, 2.0),
        ("tensorrt", "unet", VNNI, True, 2.0),
        ("tensorrt", "unet", VNNI, False, 1.1),
    ],
)
def test_the_cpu_beside_a_gpu_sets_no_bound(
    backend: str,
    model: str,
    isa: tuple[str, ...],
    whole: bool,  # noqa: FBT001
    wanted: float,
) -> None:
    assert expectations.least_faster(backend, model, isa, whole=whole) == wanted


@pytest.mark.parametrize("name", models.MODELS)
def test_every_listed_model_is_one_and_no_bound_is_below_a_float_engine(name: str) -> None:
    for backend in backends.BACKENDS:
        listed = {*expectations.of(backend).int8_macs, *expectations.of(backend).faster_by_model}
        assert listed <= set(models.MODELS)
        required = expectations.required_int8_macs(backend, name)
        assert expectations.NOT_INT8 < required <= models.get(name).minimum_int8_macs
        assert expectations.NOT_INT8 <= expectations.least_int8_macs(backend, name) <= required


@pytest.mark.parametrize(
    ("backend", "int8", "whole"),
    [
        ("openvino", 0.95, True),
        ("openvino", 0.90, False),
        ("tensorrt", 0.90, True),
        ("tensorrt", 0.672, False),
        ("tensorrt", None, False),
    ],
)
def test_an_engine_is_whole_by_the_share_of_its_certificate(
    backend: str,
    int8: float | None,
    whole: bool,  # noqa: FBT001
) -> None:
    share = Share(int8=int8 or 0.0, float=1 - (int8 or 0.0), unmapped=0.0)
    row = CaseResult(
        model="unet",
        task="mni152",
        backend=backend,
        precision="int8",
        status="ok",
        int8_coverage=Coverage(by_count=share, by_macs=share) if int8 is not None else None,
    )
    assert expectations.is_whole(row) is whole


# --- what the suites make of it --------------------------------------------------------------------


def real(backend: str, share: float, **changes: object) -> CaseResult:
    """An INT8 row with its certificate, as a run leaves it."""
    shares = Share(int8=share, float=1 - share, unmapped=0.0)
    row = CaseResult(
        model="unet",
        task="mni152",
        backend=backend,
        precision="int8",
        status="ok",
        int8_coverage=Coverage(by_count=shares, by_macs=shares, float_nodes=("conv_1",)),
    )
    certificate = certify(
        row,
        required_int8_macs=expectations.required_int8_macs(backend, "unet"),
        quantize_nodes=40,
        rivals=Rivals(has_fake=False),
    )
    return replace(refuse_float(row, certificate), **changes)  # type: ignore[arg-type]


def test_a_partly_int8_engine_of_tensorrt_is_skipped_with_its_findings() -> None:
    with pytest.raises(pytest.skip.Exception, match=r"promises no certificate: .*67\.2%.* conv_1"):
        suite.test_certificate_is_granted(real("tensorrt", 0.672))
    # Of TransUNet nobody has seen what it reaches, so no share is asked of it.
    suite.test_int8_covers_the_network(real("tensorrt", 0.672, model="transunet"))


def test_it_is_red_below_the_share_that_its_network_was_seen_to_reach() -> None:
    with pytest.raises(AssertionError):
        suite.test_int8_covers_the_network(real("tensorrt", 0.5))


@pytest.mark.parametrize(
    ("backend", "share", "changes"),
    [
        ("openvino", 0.90, {}),  # it promises certificates
        ("tensorrt", 0.05, {}),  # no int8 engine: the case has failed
        ("tensorrt", 0.672, {"certificate": None}),
        ("tensorrt", 0.672, {"status": "inconclusive"}),
    ],
)
def test_what_has_no_certificate_is_red(
    backend: str, share: float, changes: dict[str, object]
) -> None:
    with pytest.raises(AssertionError):
        suite.test_certificate_is_granted(real(backend, share, **changes))
