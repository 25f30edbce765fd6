"""VoxGate: real INT8 post-training quantization of 3D medical segmentation networks, gated."""

__version__ = "0.1.0"
