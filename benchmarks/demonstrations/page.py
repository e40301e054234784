"""Where a demonstration's results go: a JSON file, a figure, and its table between two marks of the page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

PAGE = Path("docs") / "demonstrations.md"
COLOURS = ("#0072b2", "#56b4e9", "#d55e00", "#009e73", "#cc79a7")  # Okabe and Ito's


def results_file(root: Path, name: str) -> Path:
    """Where the figures of a demonstration are."""
    return root / "benchmarks" / "results" / f"demonstration_{name}.json"


def save_results(results: Mapping[str, Any], root: Path, name: str) -> None:
    """Write the figures as JSON."""
    file = results_file(root, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results, indent=1) + "\n")


def save_figure(figure: Figure, root: Path, name: str) -> None:
    """Write a figure to docs/images, without the time and the version that a PNG would carry."""
    file = root / "docs" / "images" / f"{name}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110, metadata={"Software": None})


def marks(name: str) -> tuple[str, str]:
    """What stands before and after the table of a demonstration."""
    return f"<!-- {name}: made by `python -m benchmarks.demonstration {name}` -->", f"<!-- {name}: end -->"


def write_section(root: Path, name: str, text: str) -> None:
    """Put ``text`` between the marks of ``name``; at the end of the page where it has none."""
    file = root / PAGE
    file.parent.mkdir(parents=True, exist_ok=True)
    page = file.read_text() if file.exists() else ""
    begin, end = marks(name)
    if begin not in page:
        page = f"{page}\n{begin}\n{end}\n"
    before, rest = page.split(begin, 1)
    file.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{rest.split(end, 1)[1]}")
