"""What backends on CUDA share: the GPU that PyTorch uses, and its context."""

from __future__ import annotations

from typing import Any

from harness.requests import Probe


def probe_gpu(torch: Any, version: str) -> Probe:
    """The answer of a backend that is here, on the GPU that engines would run on."""
    uuid = getattr(torch.cuda.get_device_properties(0), "uuid", None)
    return Probe(
        available=True,
        version=version,
        device=torch.cuda.get_device_name(),
        accelerator=f"GPU-{uuid}" if uuid else "cuda",
    )


def create_context(torch: Any) -> bool:
    """CUDA's context and the allocator's smallest block; False where there is no CUDA."""
    if not torch.cuda.is_available():
        return False
    torch.zeros(1, device="cuda")
    torch.cuda.synchronize()
    return True
