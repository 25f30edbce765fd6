"""Packages that there are one a version of CUDA, and which of them a driver takes."""

from __future__ import annotations

from voxgate.machine.nvml import Driver

_OLDEST, _NEWEST = 12, 13


def fitting(distribution: str, driver: Driver) -> str:
    """The distribution for a driver's CUDA; of a driver that is newer than all, the newest.

    A name that is of no CUDA stays what it is, and so does each where no driver tells its own.
    """
    name, cut, number = distribution.rpartition("-cu")
    if not cut or not number.isdecimal() or major(driver) is None:
        return distribution
    return f"{name}-cu{max(_OLDEST, min(_NEWEST, major(driver) or _NEWEST))}"


def too_old(driver: Driver) -> bool:
    """Whether a driver takes none of them."""
    number = major(driver)
    return number is not None and number < _OLDEST


def major(driver: Driver) -> int | None:
    """The first number of the CUDA that a driver is made for."""
    number = (driver.cuda or "").partition(".")[0]
    return int(number) if number.isdecimal() else None
