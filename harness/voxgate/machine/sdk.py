"""An SDK, imported when it is first needed."""

from __future__ import annotations

import importlib
from typing import Any

from voxgate.errors import UnavailableError


def import_sdk(name: str, title: str, distribution: str = "") -> Any:
    """The SDK's module, imported when it is first needed.

    Raises:
        UnavailableError: it is not installed, or its libraries are not.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        msg = f"{title} cannot be imported ({error}); install it with 'pip install {distribution or name}'"
        raise UnavailableError(msg) from error
