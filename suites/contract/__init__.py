"""What the TensorRT backend rests on, checked against the SDK's real Python bindings."""
