"""The names of the files inside an artifact, known to the stage that writes and to the pipeline."""

CALIBRATION_IMAGES = "calibration_images.npy"
EVALUATION_IMAGES = "evaluation_images.npy"
EVALUATION_LABELS = "evaluation_labels.npy"
WEIGHTS = "weights.safetensors"
ONNX = "model.onnx"
ENGINE = "engine.bin"
RANGES = "ranges.json"
