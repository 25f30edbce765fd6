"""Random training patches that depend on (seed, step) alone, so that a resumed run is the same run."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from voxgate.datasets.base import FloatVolume, LabelVolume, Volume

Batch = tuple[FloatVolume, LabelVolume]

_WORKERS = 4

_LOG_GAMMA = 0.06
_LOG_SCALE = 0.05
_BIAS = 0.03
_NOISE = 0.02


def training_batches(
    volumes: Sequence[Volume], size: tuple[int, int, int], count: int, seed: int, steps: range
) -> Iterator[tuple[int, Batch]]:
    """(step, batch) for each of ``steps``, made a few steps ahead in threads."""
    with ThreadPoolExecutor(_WORKERS) as pool:
        pending: deque[tuple[int, Future[Batch]]] = deque()
        try:
            for step in steps:
                job = pool.submit(training_batch, volumes, size, count, seed, step)
                pending.append((step, job))
                if len(pending) > _WORKERS:
                    first, ready = pending.popleft()
                    yield first, ready.result()
            while pending:
                first, ready = pending.popleft()
                yield first, ready.result()
        finally:
            pool.shutdown(cancel_futures=True)


def training_batch(
    volumes: Sequence[Volume],
    size: tuple[int, int, int],
    count: int,
    seed: int,
    step: int,
    *,
    vary_intensity: bool = True,
) -> Batch:
    """``count`` random patches: images (N, 1, D, H, W) and labels (N, D, H, W)."""
    generator = np.random.default_rng((seed, step))
    pairs = [_patch(volumes, size, generator, vary_intensity) for _ in range(count)]
    images = np.stack([image for image, _ in pairs])[:, None]
    return images, np.stack([label for _, label in pairs])


def _patch(
    volumes: Sequence[Volume],
    size: tuple[int, int, int],
    generator: np.random.Generator,
    vary_intensity: bool,  # noqa: FBT001 - private
) -> Batch:
    volume = volumes[int(generator.integers(len(volumes)))]
    image, label = _crop(volume, size, generator)
    order = generator.permutation(3) if len(set(size)) == 1 else np.arange(3)
    image, label = image.transpose(order), label.transpose(order)
    flips = tuple(slice(None, None, -1 if flip else 1) for flip in generator.integers(2, size=3))
    image, label = np.ascontiguousarray(image[flips]), np.ascontiguousarray(label[flips])
    return (_intensity(image, generator) if vary_intensity else image), label


def _crop(volume: Volume, size: tuple[int, int, int], generator: np.random.Generator) -> Batch:
    """A random patch; half of it may lie beyond the volume, where both are zero."""
    image = np.zeros(size, np.float32)
    label = np.zeros(size, np.uint8)
    source: list[slice] = []
    target: list[slice] = []
    for extent, side in zip(volume.image.shape, size, strict=True):
        margin = side // 4
        start = int(generator.integers(-margin, max(extent - side + margin, -margin) + 1))
        source.append(slice(max(start, 0), min(start + side, extent)))
        target.append(slice(max(-start, 0), max(-start, 0) + source[-1].stop - source[-1].start))
    image[tuple(target)] = volume.image[tuple(source)]
    label[tuple(target)] = volume.label[tuple(source)]
    return image, label


def _intensity(image: FloatVolume, generator: np.random.Generator) -> FloatVolume:
    """Random gamma, contrast, noise and a linear bias field; background stays zero.

    Mild on purpose: tissue borders in normalized images are defined by intensity, and variation of
    more than a few per cent moves them.
    """
    peak = max(float(image.max()), 1e-6)
    positive = np.maximum(image, 0) / peak  # a power of a negative intensity is NaN
    gamma = np.exp(generator.uniform(-_LOG_GAMMA, _LOG_GAMMA))
    scale = peak * np.exp(generator.uniform(-_LOG_SCALE, _LOG_SCALE))
    changed = np.power(positive, gamma) * scale * _bias_field(image.shape, generator)
    noise = generator.standard_normal(image.shape, dtype=np.float32)
    changed += noise * generator.uniform(0, _NOISE) * (image > 0)
    return np.ascontiguousarray(changed, dtype=np.float32)


def _bias_field(shape: tuple[int, ...], generator: np.random.Generator) -> FloatVolume:
    """A plane through 1 at the centre, of random slope along each axis."""
    field = np.ones(shape, np.float32)
    for axis, slope in enumerate(generator.uniform(-_BIAS, _BIAS, len(shape))):
        ramp = np.linspace(-slope, slope, shape[axis], dtype=np.float32)
        field += ramp.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return field
