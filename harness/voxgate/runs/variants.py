"""Makes and measures the variants of one network through workers and the cache.

Calibrated and quantized is once, for the ordinary quantized graph; each variant is an edit of it, and
each one's measurements are an artifact, so that an interrupted analysis goes on where it was.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from voxgate import backends, datasets
from voxgate.artifacts import jobs
from voxgate.artifacts.cache import Artifact
from voxgate.artifacts.fingerprint import file_of, source_fingerprint
from voxgate.artifacts.launcher import run_job
from voxgate.artifacts.run_artifacts import Artifacts
from voxgate.errors import HarnessError, QuantizationError
from voxgate.machine.environment import cpu_model, isa_flags, versions
from voxgate.quantization.editor import Dissected, Edit, Graphs
from voxgate.records.case import CaseId, Precision
from voxgate.records.sensitivity import Costs
from voxgate.stages import file_names
from voxgate.stages.variant_requests import (
    DissectRequest,
    Labelled,
    LabelledRequest,
    Variant,
    VariantRequest,
)

# The editors are imported by names in a table.
_CODE = ("stages/variant.py", "quantization/edit_onnx.py", "quantization/edit_openvino.py")


@dataclass
class Meter:
    """Adds up where the seconds of workers went."""

    made: int = 0
    reused: int = 0
    edit_s: float = 0.0
    build_s: float = 0.0
    inference_s: float = 0.0
    wall_s: float = 0.0

    def count(self, found: Artifact[Variant], wall_s: float) -> None:
        """One variant; what the cache had costs nothing now."""
        if found.reused:
            self.reused += 1
            return
        self.made += 1
        self.edit_s += found.result.edit_s
        self.build_s += found.result.build_s
        self.inference_s += found.result.inference_s
        self.wall_s += wall_s

    def costs(self) -> Costs:
        """The sums for the record."""
        inside = self.edit_s + self.build_s + self.inference_s
        return Costs(
            variants=self.made,
            reused=self.reused,
            edit_s=self.edit_s,
            build_s=self.build_s,
            inference_s=self.inference_s,
            overhead_s=max(self.wall_s - inside, 0.0),
        )


@dataclass
class PartlyQuantized:
    """One network on one backend, quantized in part. ``most`` patches are used, 0 means all."""

    artifacts: Artifacts
    model: str
    backend: str
    most: int = 0
    meter: Meter = field(default_factory=Meter)

    def __post_init__(self) -> None:
        """Make what all variants rest on: patches with labels, both graphs, FP32's logits."""
        self.labelled = self._labelled()
        self.patches = self.labelled.result.patches[: self.most or None]
        self._onnx = self.artifacts.onnx(self.model)
        self._quantized = self.artifacts.quantized(self.model, self.backend)
        self.graphs = Graphs(
            format=self._quantized.result.format,
            onnx=str(self._onnx.path(file_names.ONNX)),
            quantized=str(self._quantized.path(self._quantized.result.file)),
            nodes=self._onnx.result.graph.nodes,
        )
        self._reference = self._fp32()

    @property
    def fp32(self) -> Variant:
        """FP32 on all patches."""
        return self._reference.result

    def dissect(self) -> Dissected:
        """Which quantizer belongs to which layer.

        Raises:
            QuantizationError: no layer has one, or some are of no part that can be measured.
        """
        limits = self.artifacts.limits
        found = run_job(jobs.DISSECT, DissectRequest(graphs=self.graphs), limits)
        if not any(found.layers.values()):
            msg = f"no layer of {self.model} is quantized, so none can be ranked"
            raise QuantizationError(msg)
        if found.rescaled:
            msg = (
                f"the quantizer scaled the weights of {found.rescaled[0]} together with its "
                "neighbours'; its layers cannot be quantized one by one. Choose another --quantizer"
            )
            raise QuantizationError(msg)
        return found

    def measure(self, precision: Precision, edit: Edit, patches: int = 0) -> Variant:
        """The measurements of one variant, from the cache or made now; 0 ``patches`` are all.

        Raises:
            HarnessError: it cannot be built or run; the layers are named.
        """
        edit = replace(edit, layers=tuple(sorted(edit.layers)))
        request = replace(
            self._request(precision, edit),
            patches=patches or len(self.patches),
            reference=str(self._reference.path(file_names.LOGITS)),
        )
        try:
            return self._made(request, self._reference.digest).result
        except HarnessError as error:
            what = ", ".join(edit.layers) or "no layer"
            msg = f"the {edit.onto} {self.model} with {what} of the other graph, in {precision}: {error}"
            raise type(error)(msg) from error

    def _labelled(self) -> Artifact[Labelled]:
        task = datasets.get(self.artifacts.config.task)
        inputs: dict[str, object] = {
            "task": task.name,
            "code": source_fingerprint("stages/labelled.py"),
            "packages": versions(task.packages),
        }

        def make(folder: Path) -> Labelled:
            self.artifacts.announce(f"writing the labelled calibration patches of {task.name}")
            request = LabelledRequest(task=task.name, folder=str(folder))
            return run_job(jobs.LABEL, request, self.artifacts.limits)

        return self.artifacts.cache.get_or_make("labelled", inputs, Labelled, make)

    def _fp32(self) -> Artifact[Variant]:
        self.artifacts.announce(f"running {self.model} in fp32 for the logits to compare with")
        return self._made(self._request("fp32", Edit(onto="float")), "")

    def _request(self, precision: Precision, edit: Edit) -> VariantRequest:
        """One variant on all patches."""
        config = self.artifacts.config
        case = CaseId(model=self.model, task=config.task, backend=self.backend, precision=precision)
        return VariantRequest(
            backend=self.backend,
            options=self.artifacts.options(case),
            graphs=self.graphs,
            edit=edit,
            images=str(self.labelled.path(file_names.CALIBRATION_IMAGES)),
            labels=str(self.labelled.path(file_names.CALIBRATION_LABELS)),
            cases=tuple(patch.name for patch in self.patches),
            label_names=datasets.get(config.task).classes,
            patches=len(self.patches),
        )

    def _made(self, request: VariantRequest, reference: str) -> Artifact[Variant]:
        """A variant's artifact; that of FP32, without a reference, has the logits as a file."""
        spec = backends.get(self.backend)
        inputs: dict[str, object] = {
            "onnx": self._onnx.digest,
            "quantized": self._quantized.digest if reference else "",
            "labelled": self.labelled.digest,
            "reference": reference,
            "precision": request.options.precision,
            "classes": request.options.classes,
            "threads": request.options.threads,
            "onto": request.edit.onto,
            "layers": list(request.edit.layers),
            "between": request.edit.between,
            "patches": request.patches,
            "cpu": [cpu_model(), *isa_flags()],
            "code": source_fingerprint(*_CODE, file_of(spec.module)),
            "packages": versions(spec.packages),
        }

        def make(folder: Path) -> Variant:
            logits = "" if reference else str(folder / file_names.LOGITS)
            asked = replace(request, logits=logits)
            return run_job(jobs.VARIANT, asked, self.artifacts.limits)

        start = time.monotonic()
        found = self.artifacts.cache.get_or_make("sensitivity", inputs, Variant, make)
        self.meter.count(found, time.monotonic() - start)
        return found
