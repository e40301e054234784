"""What the benchmarks measured, as tables: one section a script that has left its results, none without."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.markdown_table import number, page, table

_NO_GPU = (
    "Every figure comes from the file that the named script wrote; what was not measured is not here. All were measured"
    " on processors: no GPU was at hand.\n"
)


def measurements(results: Path) -> str:
    """The page of measured figures.

    Args:
        results: folder of ``<script>.json``, as ``python -m benchmarks`` leaves them.
    """
    found = {name: _read(results / f"{name}.json") for name in _SECTIONS}
    sections = (_SECTIONS[name](content) for name, content in found.items() if content)
    return page("Measured", _NO_GPU, *sections)


def _read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


def _section(title: str, script: str, *parts: str) -> str:
    return "\n".join((f"## {title}\n", f"`python -m benchmarks.{script}`\n", *parts))


def _convert(results: Mapping[str, Any]) -> str:
    rows = [
        (
            study,
            number(row["cpu_s"]["convert"]),
            f"{row['faster_than_peer']:.1f} times faster",
            f"{row['of_floor']:.2f} times",
            f"{row['peak_mb']:.0f} MB",
            f"{row['size_of_nifti']:.2f}",
        )
        for study, row in results.items()
    ]
    columns = (
        "Study",
        "Processor s",
        "Than unzip + dcm2niix -z y",
        "Of inflating and Blosc alone",
        "Peak memory",
        "Size over .nii.gz",
    )
    return _section("Conversion", "convert", table(columns, rows))


def _segmentation(results: Mapping[str, Any]) -> str:
    rows = [(what, name, number(value, 3)) for what, values in _accuracies(results) for name, value in values]
    note = (
        "Cross-validation: Sunnybrook patients that the fold's network has not seen. The two `sunnybrook_dicom`"
        " patients are among the training patients of the default network. `autofd` and `guide_points` have automatic"
        " references.\n"
    )
    return _section("Segmentation", "segmentation", note, table(("What", "Figure", "Value"), rows))


def _accuracies(results: Mapping[str, Any]) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    summary = results.get("cross_validation", {}).get("summary", {})
    named = {
        "speed": results["speed"],
        "cross_validation": summary,
        "guide_points": results.get("guide_points", {}),
    }
    for part in ("autofd", "sunnybrook_dicom"):
        named |= {f"{part} {row['case']}": row for row in results.get(part, ())}
    for what, values in named.items():
        yield what, [(name, float(value)) for name, value in values.items() if not isinstance(value, str)]


def _segment_stage(results: Mapping[str, Any]) -> str:
    rows = [
        ("network alone, images/s", number(results["bare_images_s"])),
        ("stage, from published study to published prediction, images/s", number(results["stage_images_s"])),
        ("share of the network's speed kept", number(results["share"])),
        *(
            (f"mean absolute error of {name} in simulated studies", number(value))
            for name, value in results["mean_absolute_error"].items()
        ),
    ]
    return _section("The segment stage", "segment_stage", table(("Figure", "Value"), rows))


def _real_scans(results: list[Mapping[str, Any]]) -> str:
    rows = [(row["participant"], row["phenotype"], number(row["found"]), number(row["reference"])) for row in results]
    return _section(
        "Real scans, from raw files", "real_scans", table(("Study", "Phenotype", "Found", "Reference"), rows)
    )


def _simulated_cohort(results: Mapping[str, Any]) -> str:
    rows = [
        (name, str(row["n"]), number(row["mean"]), number(row["mean_absolute"]), number(row["largest"]))
        for name, row in results["errors"].items()
    ]
    note = (
        f"{results['measured']} of {results['people']} people of seed {results['seed']}, {results['frames']} frames a"
        " cycle, from archives to phenotypes, against the truth that was put in.\n"
    )
    columns = ("Phenotype", "n", "Mean error", "Mean absolute error", "Largest error")
    return _section("Simulated hearts, from archives", "simulated_cohort", note, table(columns, rows))


def _parity(results: Mapping[str, Any]) -> str:
    rows = [
        (case, number(max(row["share_of_tolerance"].values()), 2), number(row["seconds"], 2))
        for case, row in results.items()
    ]
    note = (
        "Outputs of our implementation against recorded outputs of the published one, with the same weights and inputs:"
        " largest difference as a share of the tolerance (1e-4 absolute plus 1e-4 relative); 1 or less is agreement.\n"
    )
    return _section("Network parity", "parity", note, table(("Case", "Share of tolerance", "Seconds"), rows))


_SECTIONS: Mapping[str, Callable[[Any], str]] = {
    "convert": _convert,
    "segmentation": _segmentation,
    "segment_stage": _segment_stage,
    "real_scans": _real_scans,
    "simulated_cohort": _simulated_cohort,
    "parity": _parity,
}
