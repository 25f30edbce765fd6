"""Nothing became worse than what was accepted; a test a metric, so that a report names it.

Skipped without --vg-baselines. What cannot be decided is red, too: it is no pass.
"""

from __future__ import annotations

import pytest
from voxgate.records.verdicts import CaseVerdicts, Metric


def _expect_pass(verdicts: CaseVerdicts, *metrics: Metric) -> None:
    if not verdicts.verdicts:
        pytest.fail(f"{verdicts.outcome}: {verdicts.case}: {verdicts.reason}", pytrace=False)
    found = [verdict for verdict in verdicts.verdicts if verdict.metric in metrics]
    if not found:
        pytest.skip(f"{verdicts.case} has no {metrics[0]} to judge")
    bad = [f"{v.outcome}: {v.words}" for v in found if v.outcome != "pass"]
    if bad:
        pytest.fail(f"{verdicts.case}: " + "; ".join(bad), pytrace=False)


def test_engine_is_as_fast_as_accepted(vg_verdicts: CaseVerdicts) -> None:
    _expect_pass(vg_verdicts, "latency", "latency-p90")


def test_engine_is_as_small_as_accepted(vg_verdicts: CaseVerdicts) -> None:
    _expect_pass(vg_verdicts, "size")


def test_memory_is_as_accepted(vg_verdicts: CaseVerdicts) -> None:
    _expect_pass(vg_verdicts, "memory")


def test_every_class_keeps_its_accepted_dice(vg_verdicts: CaseVerdicts) -> None:
    _expect_pass(vg_verdicts, "dice")


def test_int8_share_is_as_accepted(vg_verdicts: CaseVerdicts) -> None:
    _expect_pass(vg_verdicts, "int8-coverage")
