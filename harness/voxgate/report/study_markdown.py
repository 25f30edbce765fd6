"""A calibration study as Markdown that fits a comment on a pull request."""

from __future__ import annotations

from voxgate.records.study import StudyRecord
from voxgate.report.environment import subtitle
from voxgate.report.markdown_text import escape, table
from voxgate.report.study import HEADINGS, NUMERIC, point_row, study_banner

_MOST_ROWS = 60


def study_markdown(record: StudyRecord) -> str:
    """Banner, then one row a combination; under 64 KiB, as GitHub demands."""
    banner = study_banner(record)
    rows = [point_row(record, point) for point in record.points[:_MOST_ROWS]]
    more = len(record.points) - len(rows)
    parts = [
        f"### {escape(banner.word.upper())}: {escape(record.title)}",
        escape(banner.headline),
        "\n".join(f"- {escape(reason.text)}" for reason in banner.reasons),
        table(HEADINGS, rows, NUMERIC) if rows else "",
        f"{more} more in the record." if more else "",
        f"<sub>{escape(f'{subtitle(record)} · VoxGate {record.voxgate}')}</sub>",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"
