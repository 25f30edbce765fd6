"""Options from a file: what counts before what, what is refused, and what a record says of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxgate.cli import main
from voxgate.config import RunConfig
from voxgate.config import file as file_settings
from voxgate.config.file import read_settings
from voxgate.config.options import FILE_OPTIONS
from voxgate.errors import UsageError
from voxgate.records import file

pytest_plugins = ["pytester"]

FAKE = """
models = ["unet"]
task = "phantom-mini"
backend = "fake"
launches = 2
cache-dir = "cache"

[profile.nightly]
launches = 3
precisions = "fp32,int8"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    """The configurations that commands would have run."""
    found: list[RunConfig] = []

    def stop(config: RunConfig, *_: object) -> None:
        found.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr("voxgate.runs.bench.bench", stop)
    return found


def test_without_a_file_nothing_is_set(folder: Path) -> None:
    assert dict(read_settings(folder).values) == {}
    with pytest.raises(UsageError, match="no profile 'nightly'"):
        read_settings(folder, "nightly")


def test_what_is_typed_counts_before_a_profile_and_that_before_the_rest(
    folder: Path, asked: list[RunConfig]
) -> None:
    (folder / "voxgate.toml").write_text(FAKE)
    for words in ([], ["--profile", "nightly"], ["--profile", "nightly", "--launches", "4"]):
        assert main(["bench", *words]) == 130
    plain, nightly, typed = asked
    assert [config.launches for config in asked] == [2, 3, 4]
    assert plain.precisions == ()
    assert nightly.precisions == ("fp32", "int8")
    assert plain.cache_dir == folder / "cache"
    assert dict(typed.set_by) == {
        "models": "voxgate.toml", "task": "voxgate.toml", "backend": "voxgate.toml",
        "cache_dir": "voxgate.toml", "precisions": "voxgate.toml [profile.nightly]",
        "launches": "command line",
    }  # fmt: skip
    assert typed.origins()["set_by"] == {
        name.replace("_", "-"): place for name, place in typed.set_by
    }


def test_a_record_says_where_each_setting_came_from(folder: Path) -> None:
    (folder / "voxgate.toml").write_text(FAKE)
    assert main(["bench", "--precisions", "fp32", "--record", "r.json"]) == 0
    record = file.read(folder / "r.json")
    places = record.config["set_by"]
    assert isinstance(places, dict)
    assert places["models"] == "voxgate.toml"
    assert places["precisions"] == "command line"
    assert "warmups" not in places


def test_where_a_setting_stands_decides_nothing(folder: Path, asked: list[RunConfig]) -> None:
    """A study is found again when its options move into a file: the facts are in its keys."""
    words = ["--models", "unet", "--task", "phantom-mini", "--backend", "fake", "--launches", "2"]
    assert main(["bench", *words, "--cache-dir", "cache"]) == 130
    (folder / "voxgate.toml").write_text(FAKE)
    assert main(["bench"]) == 130
    assert asked[0].facts() == asked[1].facts()
    assert asked[0].set_by != asked[1].set_by


@pytest.mark.parametrize(
    ("file", "words", "launches"),
    [("", [], 5), ("launches = 3", [], 3), ("launches = 3", ["--launches", "2"], 2)],
)
def test_a_comparison_takes_launches_from_a_file_and_interpreters_from_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch, file: str, words: list[str], launches: int
) -> None:
    found: list[RunConfig] = []

    def stop(config: RunConfig, *_: object) -> None:
        found.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr("voxgate.verdicts.interpreters.compare_interpreters", stop)
    (folder / "voxgate.toml").write_text(f"{file}\npython = {{openvino = 'x'}}")
    assert main(["compare", "--python-a", "a", "--python-b", "b", *words]) == 130
    assert [config.launches for config in found] == [launches]
    assert found[0].pythons == ()
    assert dict(found[0].set_by).get("launches") == (
        "command line" if words else "voxgate.toml" if file else None
    )


def test_a_table_of_pyproject_that_is_none_is_refused(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool]\nvoxgate = 3\n")
    with pytest.raises(UsageError, match=r"pyproject.toml: tool\.voxgate must be a table"):
        read_settings(folder)
    assert main(["bench"]) == 2


def test_the_nearest_file_counts_and_pyproject_has_a_table_for_it(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool.voxgate]\nlaunches = 5\n")
    below = folder / "a" / "b"
    below.mkdir(parents=True)
    (below / "pyproject.toml").write_text("[tool.other]\nx = 1\n")
    assert dict(read_settings(below).values) == {"launches": 5}
    (folder / "a" / "voxgate.toml").write_text("launches = 6")
    assert dict(read_settings(below).values) == {"launches": 6}
    (folder / "a" / "voxgate.toml").unlink()
    (folder / "voxgate.toml").write_text("")  # beside pyproject.toml, it is the one
    assert dict(read_settings(below).values) == {}


def test_values_are_what_the_command_line_would_read(folder: Path) -> None:
    (folder / "voxgate.toml").write_text(
        'models = ["unet", "stunet-s"]\npython = {tensorrt = "/p"}\nseconds = 1\n'
        'calibration-data = "scans"\ncuda-graph = true\ntolerance = 0.05\n'
    )
    assert dict(read_settings(folder).values) == {
        "models": "unet,stunet-s", "python": ["tensorrt=/p"], "seconds": 1.0,
        "calibration_data": folder / "scans", "cuda_graph": True, "tolerance": 0.05,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("modls = 1", "unknown key in .*voxgate.toml 'modls'. Did you mean 'models'"),
        ("min_samples = 1", "unknown key in .* Did you mean 'min-samples'"),
        ("[profile.nightly]\nlaunchs = 2", "unknown key in .* 'profile.nightly.launchs'. Did you"),
        ("launches = '3'", "launches is '3'; it must be a whole number"),
        ("launches = 2.5", "launches is 2.5; it must be a whole number"),
        ("launches = true", "launches is True; it must be a whole number"),
        ("seconds = 'x'", "seconds is 'x'; it must be a number"),
        ("cuda-graph = 1", "cuda-graph is 1; it must be true or false"),
        ("models = [1]", r"models is \[1\]; it must be a text with commas, or a list"),
        ("task = 1", "task is 1; it must be a text in quotes"),
        ("cache-dir = 1", "cache-dir is 1; it must be a path in quotes"),
        ("python = 'x'", "python is 'x'; it must be a table of paths by backend"),
        ("[profile.a]\nseconds = [1]", r"profile.a.seconds is \[1\]; it must be a number"),
        ("profile = 3", "profile must hold tables"),
        ("[profile.a]\n[profile.a]", r"is no TOML: Cannot declare .*line 2"),
        ("launches = ?", r"is no TOML: .*line 1"),
    ],
)
def test_what_is_not_as_it_should_be_is_refused_with_its_place(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    (folder / "voxgate.toml").write_text(text)
    with pytest.raises(UsageError, match=words):
        read_settings(folder)
    assert main(["bench"]) == 2
    assert "voxgate.toml" in capsys.readouterr().err


def test_a_file_that_is_not_utf8_names_the_byte(folder: Path) -> None:
    (folder / "voxgate.toml").write_bytes(b"task = '\xff'")
    with pytest.raises(UsageError, match=r"voxgate\.toml is not UTF-8: byte 8 is 0xff"):
        read_settings(folder)
    assert main(["bench"]) == 2


def test_a_profile_that_is_not_there_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "voxgate.toml").write_text(FAKE)
    assert main(["bench", "--profile", "nightli"]) == 2
    assert "Did you mean 'nightly'" in capsys.readouterr().err
    (folder / "voxgate.toml").write_text('models = "unet"')
    assert main(["bench", "--profile", "nightly"]) == 2
    told = capsys.readouterr().err
    assert "has no profiles" in told
    assert "[profile.nightly] would begin this one" in told


def test_a_command_takes_from_a_file_what_it_can_use(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "voxgate.toml").write_text(FAKE)
    assert main(["inspect", "unet/phantom-mini/fake/int8"]) == 0  # it has no --launches
    assert (folder / "cache" / "engine").is_dir()
    assert capsys.readouterr().out


def test_a_gate_takes_its_limits_from_a_file(folder: Path) -> None:
    text = FAKE.replace("launches = 2", "launches = 2\nbaselines = 'kept'")
    (folder / "voxgate.toml").write_text(text)
    assert main(["gate", "--precisions", "fp32", "--update-baselines"]) == 0
    assert list((folder / "kept").rglob("*.json"))


def test_pytest_reads_the_file(pytester: pytest.Pytester) -> None:
    pytester.makefile(".toml", voxgate=FAKE)
    pytester.makepyfile(
        """
        def test_settings(vg_config):
            assert vg_config.launches == 3
            assert vg_config.backends == ("fake",)
            assert vg_config.warmups == 1
            assert dict(vg_config.set_by)["warmups"] == "command line"
        """
    )
    options = ("-p", "voxgate.plugin", "--vg-profile", "nightly", "--vg-warmups", "1")
    pytester.runpytest_subprocess(*options).assert_outcomes(passed=1)
    pytester.makefile(".toml", voxgate="modls = 1")
    result = pytester.runpytest_subprocess("-p", "voxgate.plugin")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*unknown key in *voxgate.toml 'modls'*"])


@given(
    st.dictionaries(
        st.sampled_from(sorted(FILE_OPTIONS)), st.integers() | st.booleans() | st.text()
    )
)
def test_any_value_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, table: dict[str, object]
) -> None:
    """A wrong type ends in words of ours, never in an exception of Python."""
    place = tmp_path_factory.getbasetemp() / "voxgate.toml"
    for name, value in table.items():
        words = file_settings._words(FILE_OPTIONS[name], value, place.parent)
        if words is None:
            with pytest.raises(UsageError, match="it must be"):
                file_settings._values(place, {name.replace("_", "-"): value}, "")
