"""The artifacts of a run, each made at most once: patches, weights, graphs, engines.

Every method names all inputs that change its artifact; the cache hashes them into the key. A stage
that failed fails the same way for every case that needs it, without running again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from voxgate import backends, datasets, models, quantizers
from voxgate.artifacts import jobs
from voxgate.artifacts.adapted_graphs import single_precision_of, source_of
from voxgate.artifacts.cache import Artifact, Cache
from voxgate.artifacts.clean_build import build_engine, is_clean
from voxgate.artifacts.fingerprint import file_of, source_fingerprint
from voxgate.artifacts.interpreter import Interpreter, find, own
from voxgate.artifacts.launcher import Limits, run_job
from voxgate.artifacts.refused_builds import explain
from voxgate.config import RunConfig
from voxgate.datasets.volumes import volume_files
from voxgate.errors import ArtifactError, BuildError, HarnessError, look_up
from voxgate.files import sha256_file
from voxgate.machine.environment import cpu_model, gpu_identity, isa_flags, versions
from voxgate.models.checkpoints import checkpoint_folder, checkpoint_sha256
from voxgate.quantization.lint import refuse
from voxgate.quantizers.base import Quantized
from voxgate.records.case import CaseId, Precision
from voxgate.records.engine import GraphNode
from voxgate.records.runtime import EngineOptions, Probe
from voxgate.stages import file_names, requests
from voxgate.stages.build import is_quantized_onnx

Made = TypeVar("Made")
Announce = Callable[[str], None]

_MODEL_PACKAGES = ("torch", "monai", "numpy")
_EXPORT_PACKAGES = (*_MODEL_PACKAGES, "onnx", "onnx-ir", "onnxscript")


@dataclass
class Artifacts:
    """Makes artifacts through workers and the cache; ``announce`` hears what is being made.

    Engines are built and run by the interpreter of their backend: of ``interpreters``, else of the
    configuration, else ours. All before them is made by ours.
    """

    config: RunConfig
    cache: Cache
    limits: Limits
    announce: Announce
    interpreters: Mapping[str, Interpreter] = field(default_factory=dict)
    _done: dict[tuple[str, ...], object] = field(default_factory=dict)

    def under(self, interpreter: Interpreter) -> Artifacts:
        """Artifacts whose engines are built and run by that one, of the same patches and graphs."""
        return replace(self, interpreters=dict.fromkeys(self.config.backends, interpreter))

    def interpreter_for(self, backend: str) -> Interpreter:
        """The interpreter that builds and runs a backend's engines.

        Raises:
            UsageError: what the configuration names is no Python, or one that is too old.
            UnavailableError: it lacks what workers import.
        """
        if backend in self.interpreters:
            return self.interpreters[backend]
        python = dict(self.config.pythons).get(backend)
        if python is None:
            return own()
        return self.once(("interpreter", backend), lambda: find(python, [backend]))

    def probe(self, backend: str) -> Probe:
        """What a backend says of itself under its interpreter.

        Raises:
            UnavailableError: the interpreter lacks what workers import.
            HarnessError: the backend is broken, which is not the same as missing.
        """
        python = self.interpreter_for(backend).path
        request = requests.ProbeRequest(backend=backend)
        return self.once(
            ("probe", backend, python),
            lambda: run_job(jobs.PROBE, request, self.limits, python),
        )

    def patches(self) -> Artifact[requests.Prepared]:
        """The patches of the task."""
        dataset = datasets.get(self.config.task)
        inputs: dict[str, object] = {
            "task": dataset.name,
            "code": source_fingerprint("stages/prepare.py"),
            "packages": versions(dataset.packages),
        }

        def make(folder: Path) -> requests.Prepared:
            self.announce(f"preparing the patches of {dataset.name}")
            request = requests.PrepareRequest(task=dataset.name, folder=str(folder))
            return run_job(jobs.PREPARE, request, self.limits)

        return self.once(
            ("patches",), lambda: self.cache.get_or_make("patches", inputs, requests.Prepared, make)
        )

    def calibration(self) -> Artifact[requests.Calibrated]:
        """The images to calibrate on: the task's fixed ones, drawn ones, or a user's."""
        config, dataset = self.config, datasets.get(self.config.task)

        def create() -> Artifact[requests.Calibrated]:
            patches = self.patches()
            inputs: dict[str, object] = {
                "task": dataset.name,
                "evaluation": patches.digest,
                "patches": config.calibration_patches,
                "seed": config.drawn_by,
                "volumes": self._volumes(),
                "code": source_fingerprint("stages/calibrate.py"),
                "packages": versions(dataset.packages),
            }

            def make(folder: Path) -> requests.Calibrated:
                self.announce(f"preparing the calibration patches of {config.calibration_source}")
                request = requests.CalibrateRequest(
                    task=dataset.name,
                    patches=config.calibration_patches,
                    seed=config.calibration_seed,
                    data=str(config.calibration_data or ""),
                    evaluation=patches.result.evaluation,
                    evaluation_images=str(patches.path(file_names.EVALUATION_IMAGES)),
                    folder=str(folder),
                )
                return run_job(jobs.CALIBRATE, request, self.limits)

            return self.cache.get_or_make("calibration", inputs, requests.Calibrated, make)

        return self.once(("calibration",), create)

    def _volumes(self) -> dict[str, str]:
        """The hash of every file of the user's folder, by name."""
        if self.config.calibration_data is None:
            return {}
        files = volume_files(self.config.calibration_data)
        self.announce(f"hashing {len(files)} volumes of {self.config.calibration_source}")
        try:
            return {file.name: sha256_file(file) for file in files}
        except OSError as error:
            msg = f"a calibration volume cannot be read: {error}"
            raise ArtifactError(msg) from error

    def weights(self, model: str) -> Artifact[requests.Expanded]:
        """The full weights of a model's checkpoint.

        With the paper's class counts, where no Dice is measured, a network without one is seeded:
        STU-Net-H's 1.5 G parameters have a size and a speed, trained or not.
        """
        checkpoint, classes = self.checkpoint(model), self.config.class_count(model)
        seeded = self.config.classes == "paper" and not checkpoint.is_file()

        def make(folder: Path) -> requests.Expanded:
            self.announce(f"expanding the checkpoint of {model}")
            request = requests.ExpandRequest(
                model=model,
                task=self.config.task,
                trained_classes=len(datasets.get(self.config.task).classes),
                classes=classes,
                checkpoint="" if seeded else str(checkpoint),
                folder=str(folder),
            )
            return run_job(jobs.EXPAND, request, self.limits)

        def create() -> Artifact[requests.Expanded]:
            inputs: dict[str, object] = {
                "model": model,
                "task": self.config.task,
                "classes": classes,
                "checkpoint": (
                    "seeded" if seeded else checkpoint_sha256(checkpoint, model, self.config.task)
                ),
                "code": source_fingerprint("stages/expand.py", file_of(models.get(model).module)),
                "packages": versions(_MODEL_PACKAGES),
            }
            return self.cache.get_or_make("weights", inputs, requests.Expanded, make)

        return self.once(("weights", model), create)

    def onnx(self, model: str) -> Artifact[requests.Exported]:
        """The float ONNX graph."""

        def create() -> Artifact[requests.Exported]:
            weights, patches = self.weights(model), self.patches()
            classes = self.config.class_count(model)
            inputs: dict[str, object] = {
                "classes": classes,  # VISTA3D's weights are the same for any
                "weights": weights.digest,
                "patches": patches.digest,
                "code": source_fingerprint("stages/export.py", file_of(models.get(model).module)),
                "packages": versions((*_EXPORT_PACKAGES, "onnxruntime")),
            }

            def make(folder: Path) -> requests.Exported:
                self.announce(f"exporting {model} to ONNX and checking it against PyTorch")
                request = requests.ExportRequest(
                    model=model,
                    task=self.config.task,
                    classes=classes,
                    weights=str(weights.path(file_names.WEIGHTS)),
                    images=str(patches.path(file_names.EXPORT_IMAGES)),
                    folder=str(folder),
                )
                return run_job(jobs.EXPORT, request, self.limits)

            return self.cache.get_or_make("onnx", inputs, requests.Exported, make)

        return self.once(("onnx", model), create)

    def quantized(
        self, model: str, backend: str, precision: Precision = "int8"
    ) -> Artifact[Quantized]:
        """The fake-quantized graph that a backend builds from."""
        quantizer = self.quantizer(backend, precision)
        method = self.method(quantizer)

        def create() -> Artifact[Quantized]:
            graph, calibration = self.onnx(model), self.calibration()
            kept = self._float_layers(model)
            inputs: dict[str, object] = {
                "onnx": graph.digest,
                "classes": self.config.class_count(model),
                "calibration": calibration.digest,
                "float_layers": sorted(self.config.float_layers),
                "quantizer": quantizer.name,
                "method": method,
                "scheme": quantizer.scheme,
                "cpu": [cpu_model(), *isa_flags()],  # it computes the calibrated ranges
                "code": source_fingerprint("stages/quantize.py", file_of(quantizer.module)),
                "packages": versions(quantizer.packages),
            }

            def make(folder: Path) -> Quantized:
                self.announce(f"calibrating and quantizing {model} with {quantizer.title}")
                request = requests.QuantizeRequest(
                    quantizer=quantizer.name,
                    method=method,
                    onnx=str(graph.path(file_names.ONNX)),
                    images=str(calibration.path(file_names.CALIBRATION_IMAGES)),
                    folder=str(folder),
                    float_layers=kept,
                    scheme=quantizer.scheme,
                )
                return run_job(jobs.QUANTIZE, request, self.limits)

            return self.cache.get_or_make("quantized", inputs, Quantized, make)

        return self.once(("quantized", model, quantizer.name, quantizer.scheme), create)

    def engine(self, case: CaseId) -> Artifact[requests.Built]:
        """The engine of a case, built on and for this machine."""

        def create() -> Artifact[requests.Built]:
            spec = backends.get(case.backend)
            interpreter = self.interpreter_for(case.backend)
            source, digest = source_of(self, case)
            inputs: dict[str, object] = {
                "case": str(case),
                "class_set": self.config.classes,
                "classes": self.config.class_count(case.model),
                "source": digest,
                "threads": self.config.thread_count,
                "workspace_bytes": self.config.workspace_bytes,
                "cpu": [cpu_model(), *isa_flags()],
                "code": source_fingerprint("stages/build.py", file_of(spec.module)),
                "packages": {
                    name: build
                    for name, build in interpreter.builds.items()
                    if name in spec.packages
                },
            }
            accelerator = ""
            if spec.gpu_bound:
                probe = self.probe(case.backend)
                # Libraries can be there without a distribution that tells their version.
                inputs |= {"gpu": gpu_identity(probe), "runtime": probe.version}
                accelerator = probe.accelerator

            def make(folder: Path) -> requests.Built:
                where = "" if interpreter.is_ours else f" under {interpreter.path}"
                self.announce(f"building {case}{where}")
                request = requests.BuildRequest(
                    backend=case.backend,
                    options=replace(
                        self.options(case), single_precision=single_precision_of(self, case)
                    ),
                    source=source,
                    folder=str(folder),
                    lint=interpreter.is_ours,
                )
                if not request.lint and is_quantized_onnx(request):
                    linted = run_job(jobs.LINT, requests.LintRequest(onnx=source), self.limits)
                    refuse(source, linted.findings)
                python = interpreter.path
                try:
                    return build_engine(request, self.limits, python, accelerator, self.announce)
                except BuildError as error:
                    raise explain(self, request, python, error) from error

            return self.cache.get_or_make("engine", inputs, requests.Built, make, reusable=is_clean)

        return self.once(("engine", str(case), self.interpreter_for(case.backend).path), create)

    def _float_layers(self, model: str) -> tuple[GraphNode, ...]:
        """The graph's nodes that stay in float.

        Raises:
            UsageError: the graph has no node of that name; the message lists them.
        """
        names = self.config.float_layers
        if not names:
            return ()
        nodes = {node.name: node for node in self.onnx(model).result.graph.nodes}
        return tuple(look_up(f"layer of {model}", name, nodes) for name in names)

    def options(self, case: CaseId) -> EngineOptions:
        """What both halves of a backend need."""
        return EngineOptions(
            precision=case.precision,
            threads=self.config.thread_count,
            model=case.model,
            task=case.task,
            classes=self.config.class_count(case.model),
            workspace_bytes=self.config.workspace_bytes,
            timing_cache_dir=str(self.config.cache_root / "timing"),
            cuda_graph=self.config.cuda_graph,
        )

    def quantizer(self, backend: str, precision: Precision = "int8") -> quantizers.QuantizerSpec:
        """The precision's own quantizer, else the one that was asked for, or the backend's default."""
        if precision in quantizers.SIMULATIONS:
            return quantizers.SIMULATIONS[precision]
        name = self.config.quantizer or backends.get(backend).default_quantizer
        if name is None:
            msg = f"{backend} has no quantizer"
            raise HarnessError(msg)
        return quantizers.get(name)

    def method(self, quantizer: quantizers.QuantizerSpec) -> str:
        """The calibration method: a simulation has its own, whatever the others are to use."""
        return quantizer.check_method("" if quantizer.scheme else self.config.calibration_method)

    def checkpoint(self, model: str) -> Path:
        """Where the trained weights of a model on this task lie."""
        folder = self.config.checkpoint_dir or checkpoint_folder()
        return folder / f"{model}-{self.config.task}.safetensors"

    def once(self, name: tuple[str, ...], create: Callable[[], Made]) -> Made:
        """What was made earlier in this run, or its error again."""
        if name not in self._done:
            try:
                self._done[name] = create()
            except HarnessError as error:
                self._done[name] = error
        done = self._done[name]
        if isinstance(done, HarnessError):
            raise done
        return done  # type: ignore[return-value]
