"""Load the VoxGate pytest plugin; nothing else."""

pytest_plugins = ["voxgate.plugin"]
