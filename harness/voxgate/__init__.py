"""VoxGate: real INT8 post-training quantization of 3D medical segmentation networks, gated."""

from voxgate.machine import telemetry

__version__ = "0.1.0"

telemetry.switch_off()
