"""The paper's figures: both of its tables of sizes, and which of them stands beside ours."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from voxgate import models
from voxgate.errors import ArtifactError
from voxgate.records.run import CaseResult, RunRecord
from voxgate.report.pages import html_of
from voxgate.report.paper import Paper, PaperRow, paper_file, read_paper

from suites.support import report_records as records


@pytest.fixture(scope="module")
def paper() -> Paper:
    found = read_paper()
    assert found is not None
    return found


def row_of(paper: Paper, model: str) -> PaperRow:
    (row,) = [row for row in paper.results if row.model == model]
    return row


def int8_of(run: RunRecord, model: str) -> CaseResult:
    (case,) = [c for c in run.cases if (c.model, c.precision) == (model, "int8")]
    return case


# --- the file ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "unit", "arxiv", "repository"),
    [
        ("unet", "MiB", (23.11, 6.61), (23.11, 6.61)),
        ("transunet", "MiB", (351.85, 91.9), (351.85, 91.9)),
        ("unest", "millions of parameters", (87.3, 25.66), (349.41, 96.72)),
        ("nnunet", "millions of parameters", (26.94, 8.94), (107.84, 33.97)),
        ("swinunetr", "millions of parameters", (61.98, 16.09), (247.96, 70.18)),
        ("segresnet", "millions of parameters", (42.4, 17.48), (170.44, 50.29)),
        ("vista3d", "millions of parameters", (65.14, 18.57), (264.57, 71.18)),
        ("stunet-s", "millions of parameters", (14.6, 5.38), None),
        ("stunet-h", "millions of parameters", (1457.33, 398.41), None),
    ],
)
def test_both_tables_of_sizes_are_there_and_each_says_what_it_counts(
    paper: Paper, model: str, unit: str, arxiv: Any, repository: Any
) -> None:
    row = row_of(paper, model)
    assert row.arxiv_size_unit == unit
    assert (row.arxiv_size["fp32"], row.arxiv_size["int8"]) == arxiv
    found = row.repository_size_mib
    assert (found and (found["fp32"], found["int8"])) == repository


def test_the_units_are_those_that_the_parameters_tell(paper: Paper) -> None:
    for row in paper.results:
        weights_mib = row.parameters_millions * 1e6 * 4 / 2**20
        if row.arxiv_size_unit == "MiB":
            assert row.arxiv_size["fp32"] == pytest.approx(weights_mib, rel=0.08)
        else:
            assert row.arxiv_size["fp32"] == row.parameters_millions
        if row.repository_size_mib:
            assert row.repository_size_mib["fp32"] == pytest.approx(weights_mib, rel=0.08)


def test_each_network_is_ours_of_that_name_and_size(paper: Paper) -> None:
    for row in paper.results:
        spec = models.get(row.model)
        assert spec.paper_parameters == pytest.approx(row.parameters_millions * 1e6)
        assert spec.title == row.title


@pytest.mark.parametrize(
    ("model", "engines", "arxiv"),
    [
        ("unet", 3.50, 3.50), ("transunet", 3.83, 3.83), ("unest", 3.61, 3.40),
        ("nnunet", 3.17, 3.01), ("swinunetr", 3.53, 3.85), ("segresnet", 3.39, 2.43),
        ("vista3d", 3.72, 3.51), ("stunet-s", None, 2.71), ("stunet-h", None, 3.66),
    ],
)  # fmt: skip
def test_the_ratio_is_of_engines_and_the_arxiv_tables_beside_it(
    paper: Paper, model: str, engines: float | None, arxiv: float
) -> None:
    row = row_of(paper, model)
    assert row.smaller == (engines and pytest.approx(engines, abs=0.005))
    assert row.smaller_in_arxiv == pytest.approx(arxiv, abs=0.005)


def test_other_figures_are_those_of_the_tables(paper: Paper) -> None:
    unet = row_of(paper, "unet")
    assert (unet.latency_ms["int8"], unet.mdsc["fp32"], unet.classes) == (1.05, 0.822, 13)
    assert "2501.17343" in paper.arxiv
    assert [m.model for m in paper.gpu_memory] == ["unet", "transunet"]


def test_an_absent_file_is_no_comparison(tmp_path: Path) -> None:
    assert read_paper(tmp_path / "paper.json") is None


def broken(change: Any) -> bytes:
    tree = json.loads(paper_file().read_bytes())
    change(tree)
    return json.dumps(tree).encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", "does not hold the paper's figures"),
        (b"[]", "has schema_version none; this version reads 2"),
        (broken(lambda tree: tree.pop("schema_version")), "has schema_version none"),
        (broken(lambda tree: tree.update(schema_version=1)), "has schema_version 1"),
        (broken(lambda tree: tree.pop("repository")), "missing required field `repository`"),
        (broken(lambda tree: tree["results"][2].update(arxiv_size_unit="MB")), "results[2].arxiv"),
        (
            broken(lambda tree: tree["results"][2]["repository_size_mib"].pop("int8")),
            "repository_size_mib of unest needs fp32 and int8",
        ),
        (broken(lambda tree: tree["results"][0]["mdsc"].update(int8=0)), "mdsc of unet needs"),
        (
            broken(lambda tree: tree["results"][0].update(parameters_millions=-1)),
            "parameters_millions of unet is -1",
        ),
        (broken(lambda tree: tree["results"].append(tree["results"][0])), "have unet twice"),
    ],
)
def test_a_damaged_file_is_an_error_that_names_the_place(
    tmp_path: Path, data: bytes, words: str
) -> None:
    path = tmp_path / "paper.json"
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=re.escape(words)) as caught:
        read_paper(path)
    assert str(path) in str(caught.value)


def test_the_file_ships_with_the_package() -> None:
    root = paper_file().parents[1]
    assert '"baselines/paper.json" = "voxgate/_paper.json"' in (root / "pyproject.toml").read_text()


# --- beside ours ---------------------------------------------------------------------------------


def test_only_networks_of_the_papers_size_are_compared(paper: Paper) -> None:
    run = records.eight_networks()
    compared = {c.model for c in run.cases if paper.of(c)}
    assert compared == {"unet", "transunet", "stunet-s"}


def test_a_smaller_network_under_the_papers_name_is_not_compared(paper: Paper) -> None:
    """As in records from before `unest` had the paper's size."""
    case = int8_of(records.papers_networks(), "unest")
    assert paper.of(case) == row_of(paper, "unest")
    assert paper.of(replace(case, parameters=22_991_043)) is None
    assert paper.of(replace(case, parameters=None)) is None


def test_a_head_with_the_papers_classes_is_the_same_network(paper: Paper) -> None:
    case = replace(int8_of(records.papers_networks(), "unest"), parameters=87_601_221, classes=133)
    assert paper.of(case) is not None


def test_the_page_has_the_ratio_of_engines_and_says_what_arxiv_prints(paper: Paper) -> None:
    html = html_of(records.papers_networks(), paper)
    assert 'class="number quiet" title="23.11 to 6.61 MiB">3.50×' in html
    assert 'class="number quiet" title="349.41 to 96.72 MiB">3.61×' in html
    assert 'title="not of engines: see below">2.71× †' in html
    assert "Its own ratios: UNesT 87.3 to 25.66, 3.40×." in html
    assert "† No engine size is published." in html
    assert "STU-Net-S 14.6 to 5.38, 2.71×." in html
    for words in (paper.arxiv, paper.repository, paper.notes[0]):
        assert words.replace("'", "&#39;") in html
    assert "arXiv" not in html_of(records.papers_networks(), None)


def test_the_page_says_no_more_than_its_rows_need(paper: Paper) -> None:
    run = records.papers_networks()
    html = html_of(replace(run, cases=run.cases[:3]), paper)  # U-Net alone
    assert paper.repository in html
    assert "millions of parameters" not in html
    assert "†" not in html


def test_a_page_of_smaller_networks_has_no_word_of_the_paper(paper: Paper) -> None:
    run = records.papers_networks()
    html = html_of(replace(run, cases=run.cases[9:]), paper)
    assert "vista3d-16" in html
    assert "arXiv" not in html
    assert ">paper<" not in html
