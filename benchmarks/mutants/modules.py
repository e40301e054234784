"""The modules in which a wrong number would be published or data lost."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

AREAS: dict[str, tuple[str, ...]] = {
    "reading": ("tasks/sources/**/*.py",),
    "images to views": ("tasks/convert/*.py", "cmr_models/views/*.py"),
    "labels to phenotypes": (
        "cmr_models/phenotypes/**/*.py",
        "cmr_models/segmentation/cleaning.py",
        "cmr_models/segmentation/crops.py",
        "cmr_models/segmentation/end_slices.py",
        "cmr_models/segmentation/localisation.py",
        "tasks/derive/*.py",
    ),
    "perfusion": ("cmr_models/perfusion/**/*.py", "cmr_models/aif/*.py", "cmr_models/aha.py"),
    "store and ledger": ("tasks/state/*.py", "tasks/execution/*.py", "tasks/maintenance/*.py"),
    "contracts": ("cmr_models/contracts/*.py",),
    "people and disclosure": (
        "cmr_models/analysis/biobank/*.py",
        "cmr_models/analysis/disclosure/*.py",
        "cmr_models/analysis/exclusions.py",
        "cmr_models/analysis/matching.py",
        "cmr_models/analysis/people.py",
        "cmr_models/analysis/visits.py",
    ),
    "estimates": (
        "cmr_models/analysis/*.py",
        "cmr_models/association/*.py",
        "cmr_models/estimates/*.py",
        "tasks/analysis/*.py",
    ),
    "survival": ("cmr_models/survival/*.py",),
    "prediction and fairness": ("cmr_models/prediction/*.py", "cmr_models/fairness/*.py"),
    "evaluation": ("cmr_models/evaluation/*.py", "tasks/evaluation/*.py"),
    "report": (
        "tasks/report/counts.py",
        "tasks/report/distributions.py",
        "tasks/report/estimate_figures.py",
        "tasks/report/flow.py",
        "tasks/report/hidden_cells.py",
        "tasks/report/perfusion_summary.py",
        "tasks/report/selection.py",
        "tasks/report/study_list.py",
        "tasks/report/tables.py",
    ),
}
"""Name of an area -> its modules, as patterns of paths; a module counts in the first area that names it."""


def modules() -> dict[str, str]:
    """Path of each module -> its area."""
    found: dict[str, str] = {}
    for area, patterns in AREAS.items():
        paths = sorted(path for pattern in patterns for path in ROOT.glob(pattern))
        for path in paths:
            found.setdefault(path.relative_to(ROOT).as_posix(), area)
    return found
