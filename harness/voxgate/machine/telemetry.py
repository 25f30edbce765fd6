"""Nothing leaves the machine: the SDKs' reports to their makers are off in every process of ours.

Importing `openvino` or `nncf` sends an event to Google Analytics and leaves an id in the home;
ONNX Runtime, from 1.29, does so at Microsoft with each session. Their switches have to be thrown
before the import, so the package itself does it, whichever process imports it, and hands it to those
that it starts.
"""

from __future__ import annotations

import os
import sys
from typing import Any, cast

# CI=true, which all of them respect, would change what PyTorch's compiler and pytest do.
VARIABLES = {"ORT_DISABLE_TELEMETRY": "1", "NNCF_CI": "1"}

# What OpenVINO and NNCF send with. Both do without it, and then send nothing.
_SENDER = "openvino_telemetry"


def switch_off() -> None:
    """For this process and those that it starts."""
    os.environ.update(VARIABLES)
    # An import of what is None raises ModuleNotFoundError.
    cast("dict[str, Any]", sys.modules)[_SENDER] = None
