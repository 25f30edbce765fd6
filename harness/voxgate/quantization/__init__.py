"""The arithmetic of quantization, and quantized graphs: read, checked, edited."""
