"""The computer: processor, GPU, load, packages."""
