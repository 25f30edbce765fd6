"""Records of one case: their names stand first in JSON, and say together what the record is about."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import msgspec
import pytest
from voxgate.records.case import CaseId, OfCase
from voxgate.records.run import CaseResult, Ratios
from voxgate.records.verdicts import CaseComparison, CaseVerdicts

NAMES: Any = {"model": "unet", "task": "mni152", "backend": "fake", "precision": "int8"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Note(OfCase):
    """A record that somebody adds."""

    text: str


@pytest.mark.parametrize("kind", [CaseResult, Ratios, CaseVerdicts, CaseComparison, Note])
def test_a_record_of_a_case_begins_with_its_names(kind: type[OfCase]) -> None:
    assert issubclass(kind, OfCase)
    assert [field.name for field in fields(kind)][:4] == list(NAMES)


def test_what_a_record_is_about_survives_json() -> None:
    note = Note(**NAMES, text="fast")
    encoded = msgspec.json.encode(note)
    assert (
        encoded
        == b'{"model":"unet","task":"mni152","backend":"fake","precision":"int8","text":"fast"}'
    )
    assert msgspec.json.decode(encoded, type=Note) == note
    assert note.case == CaseId(**NAMES)
    assert str(note.case) == "unet/mni152/fake/int8"
