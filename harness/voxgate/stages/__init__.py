"""One module a stage; stages never import each other. Order: train, export, quantize, build, run."""
