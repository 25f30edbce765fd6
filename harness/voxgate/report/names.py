"""The cases of a record by what is compared within: one model on one task by one backend."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from voxgate.records.case import INT8_PRECISIONS, PROJECTED_PRECISIONS, OfCase, Precision
from voxgate.records.run import CaseResult
from voxgate.report.charts import svg


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """The cases of one model, task and backend; ``label`` has no more names than tell it apart."""

    label: str
    cases: dict[Precision, CaseResult]

    @property
    def measured(self) -> dict[Precision, CaseResult]:
        """Those whose times and Dice may be compared."""
        return {name: case for name, case in self.cases.items() if case.status == "ok"}

    @property
    def quantized(self) -> CaseResult | None:
        """The measured case of real INT8, if there is one."""
        found = (case for name, case in self.measured.items() if name in INT8_PRECISIONS)
        return next(found, None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """How a precision is drawn."""

    shape: svg.Shape
    class_: str


_LOOKS: dict[Precision, Look] = {
    "fp32": Look(shape="circle", class_="t-fp32"),
    "fake-int8": Look(shape="delta", class_="t-fake-int8"),
    "int8": Look(shape="square", class_="t-int8"),
    "fp16": Look(shape="diamond", class_="t-fp16"),
    "bf16": Look(shape="cross", class_="t-bf16"),
    "tf32": Look(shape="ring", class_="t-tf32"),
    "int8-fp16": Look(shape="diamond", class_="t-int8-fp16"),
    "fake-int4": Look(shape="triangle", class_="t-fake-int4"),
    "fake-int4-int8": Look(shape="cross", class_="t-fake-int4-int8"),
    "fake-int4-int4": Look(shape="ring", class_="t-fake-int4-int4"),
    "fake-fp8": Look(shape="diamond", class_="t-fake-fp8"),
}


def look(precision: Precision) -> Look:
    """Colour and shape of a precision, the same in every chart."""
    return _LOOKS[precision]


def built(groups: Iterable[Group]) -> tuple[Group, ...]:
    """The groups without projections, which have no size and no time of their own."""
    return tuple(
        replace(
            group,
            cases={n: case for n, case in group.cases.items() if n not in PROJECTED_PRECISIONS},
        )
        for group in groups
    )


def groups_of(cases: Iterable[CaseResult]) -> tuple[Group, ...]:
    """The groups in the order of the record."""
    found = list(cases)
    names = short_names(found)
    groups: dict[str, dict[Precision, CaseResult]] = {}
    for case in found:
        groups.setdefault(names[group_key(case)], {})[case.precision] = case
    return tuple(Group(label=label, cases=members) for label, members in groups.items())


def group_key(case: OfCase) -> tuple[str, str, str]:
    """What a group is known by."""
    return case.model, case.task, case.backend


def short_names(cases: Iterable[OfCase]) -> dict[tuple[str, str, str], str]:
    """A label for each group: the model, and of task and backend what differs in the record."""
    keys = list(dict.fromkeys(group_key(case) for case in cases))
    telling = [i for i in range(3) if i == 0 or len({key[i] for key in keys}) > 1]
    return {key: "/".join(key[i] for i in telling) for key in keys}


def precisions_of(groups: Iterable[Group]) -> tuple[Precision, ...]:
    """Every precision that occurs, in the order of the palette."""
    found = {name for group in groups for name in group.measured}
    return tuple(name for name in _LOOKS if name in found)
