"""Each seeded fault in the formulas is caught by a property; the formulas themselves by none."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from voxgate.quantization import formulas

from suites.formulas import test_affine, test_channels, test_codes, test_symmetric
from suites.formulas.profile import examples

SOURCE = Path(formulas.__file__).read_text()
PUBLIC = (
    "affine_grid", "symmetric_grid", "value_range", "quantize", "dequantize", "fake_quantize",
)  # fmt: skip
# Enough to catch every fault, without the time to shrink what is found; always the same ones.
FEW = settings(
    examples,
    max_examples=20,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    print_blob=False,
)

# Each: what is wrong, the text of voxgate/quantization/formulas.py that occurs once, and what it becomes.
FAULTS = {
    "floor instead of round": ("np.rint(ratio)", "np.floor(ratio)"),
    "ties away from zero": ("np.rint(ratio)", "np.trunc(ratio + np.copysign(np.float32(0.5), ratio))"),
    "ties away by adding half": ("away = np.abs(ratio - whole) >= np.float32(0.5)", "away = np.floor(np.abs(ratio) + np.float32(0.5)) > np.abs(whole)"),
    "half-away as half-even": ('if rounding == "half-even":', "if True:"),
    "a code too many": ("2 ** check_bits(bits, name) - 1\n", "2 ** check_bits(bits, name)\n"),
    "a code too few": ("2 ** check_bits(bits, name) - 1\n", "2 ** check_bits(bits, name) - 2\n"),
    "one bit less in the symmetric form": ("(check_bits(bits, name) - 1) - 1", "(check_bits(bits, name) - 2)"),
    "the step over 2^(k-1)": ("/ highest, 1.0)", "/ (highest + 1), 1.0)"),
    "the step over 2^k": ("width / top", "width / (top + 1)"),
    "the sign of z": ("zero_point = -_whole_steps", "zero_point = _whole_steps"),
    "z from x_max": ("-_whole_steps(low, scale", "-_whole_steps(high, scale"),
    "z floored": ("zero_point = -_whole_steps(low, scale, rounding)", "zero_point = -np.floor(low / scale).astype(np.float64)"),
    "z subtracted": ("steps + along(grid.zero_point", "steps - along(grid.zero_point"),
    "z left in": (".astype(np.int64) - along(grid.zero_point, codes.shape, grid)", ".astype(np.int64)"),
    "z times the step": ("codes = steps + along", "codes = steps + 0 * along"),
    "the clip is missing": ("np.clip(codes, grid.lowest, grid.highest)", "codes"),
    "no lower clip": ("np.clip(codes, grid.lowest, grid.highest)", "np.minimum(codes, grid.highest)"),
    "the clip one short": ("np.clip(codes, grid.lowest, grid.highest)", "np.clip(codes, grid.lowest, grid.highest - 1)"),
    "the narrow range always": ("-highest if narrow else -highest - 1", "-highest"),
    "the full range always": ("-highest if narrow else -highest - 1", "-highest - 1"),
    "a product with 1 / s": ("np.asarray(x / scale)", "np.asarray(x * (np.float32(1) / scale))"),
    "the range of the wrong axis": ("if i != kept)", "if i != (kept if kept is None else (kept + 1) % x.ndim))"),
    "the range over the axis": ("others = tuple(i for i in range(x.ndim) if i != kept)", "others = tuple(i for i in range(x.ndim) if kept is None or i == kept)"),
    "zero is not included": ("if include_zero:", "if False:"),
    "no step for a constant": ("step = np.where(width > 0, width / top, _constant_step(low))", "step = width / top"),
    "a subnormal step": ("np.maximum(step, SMALLEST_STEP)", "step"),
    "the axis is dropped": ("axis=axis,\n        rounding=rounding,\n        name=name,\n    )\n\n\ndef quantize", "axis=None,\n        rounding=rounding,\n        name=name,\n    )\n\n\ndef quantize"),
    "the type is too small": (".astype(grid.code_type)", ".astype(np.int8)"),
}  # fmt: skip


def properties() -> Iterator[Callable[[], None]]:
    """Every property of the formulas alone; the cheapest to run against a fault."""
    for module in (test_affine, test_codes, test_symmetric, test_channels):
        for name, function in vars(module).items():
            if name.startswith("test_") and hasattr(function, "hypothesis"):
                yield function


def install(source: str, patch: pytest.MonkeyPatch) -> None:
    """Let the properties find the functions of this source in voxgate.quantization.formulas."""
    module = types.ModuleType("mutant")
    exec(compile(source, "mutant.py", "exec"), module.__dict__)  # noqa: S102 - our own source
    for name in PUBLIC:
        patch.setattr(formulas, name, getattr(module, name))


def catches(check: Any, patch: pytest.MonkeyPatch) -> bool:
    """Whether a property fails, on few examples."""
    patch.setattr(check, "_hypothesis_internal_use_settings", FEW)
    try:
        check()
    except Exception:  # noqa: BLE001 - a fault shows as any error at all
        return True
    return False


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = FAULTS[fault]
    assert SOURCE.count(old) == 1, "the formulas have changed: seed this fault anew"
    install(SOURCE.replace(old, new), monkeypatch)
    assert any(catches(check, monkeypatch) for check in properties())


def test_without_a_fault_nothing_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    install(SOURCE, monkeypatch)
    assert not [check.__name__ for check in properties() if catches(check, monkeypatch)]
