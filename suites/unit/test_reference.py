"""docs/reference.md says what the tables of the package say."""

from __future__ import annotations

from voxgate import errors
from voxgate.config.options import FILE_OPTIONS, flag_of

from suites.support import reference


def test_the_reference_is_up_to_date() -> None:
    written = reference.PLACE.read_text(encoding="utf-8").splitlines()
    assert written == reference.reference().splitlines(), "python -m suites.support.reference"


def test_every_exit_code_is_in_it() -> None:
    assert set(reference.EXITS) == {name for name in vars(errors) if name.startswith("EXIT_")}


def test_every_option_and_record_is_in_it() -> None:
    text = reference.reference()
    assert all(
        f"| `{flag_of(name)}` | `--vg{flag_of(name)[1:]}` |" in text for name in FILE_OPTIONS
    )
    for kind in ("RunRecord", "GateRecord", "ComparisonRecord", "SensitivityRecord", "StudyRecord"):
        assert f"### {kind}\n" in text


def test_a_bar_in_a_cell_is_no_border() -> None:
    assert reference.table(("a",), [("b | c",)]) == "| a |\n| --- |\n| b \\| c |\n"
