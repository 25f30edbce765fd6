"""``python -m voxgate`` is the command ``voxgate``."""

from voxgate.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
