"""Every mistake of the table is told in one line, with an exit status of its own, as ``docs/mistakes.md`` says."""

from pathlib import Path

import pytest
from mistakes import MISTAKES, PAGE, Mistake, make, row


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.what)
def test_a_mistake_is_told_in_the_line_of_the_page(tmp_path: Path, mistake: Mistake) -> None:
    before = _files(tmp_path, mistake)
    lines, status = make(mistake, tmp_path)
    assert len(lines) == 1, lines
    assert lines[0].startswith("Error: ")
    assert status in (1, 2)
    assert row(mistake, lines, status) in PAGE.read_text().splitlines()
    if "no cohort" in mistake.what:
        assert {path for path in tmp_path.rglob("*") if path.is_file()} == before


def _files(folder: Path, mistake: Mistake) -> set[Path]:
    return {folder / name for name in mistake.files}


def test_the_page_has_a_row_for_each() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    assert len(MISTAKES) >= 20
    assert all(any(line.startswith(f"| {mistake.what} |") for line in rows) for mistake in MISTAKES)
