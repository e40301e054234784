"""What the benchmarks measured, as tables: one section a script that has left its results, none without."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.report.markdown import code, number, page, table

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
        " patients are among the training patients of the default network. `guide_points` has automatic references."
        " [accuracy.md](accuracy.md) has the figures on other data sets.\n"
    )
    return _section("Segmentation", "segmentation", note, table(("What", "Figure", "Value"), rows))


def _accuracies(results: Mapping[str, Any]) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    summary = results.get("cross_validation", {}).get("summary", {})
    named = {
        "speed": results["speed"],
        "cross_validation": summary,
        "guide_points": results.get("guide_points", {}),
        "stroke_volumes": results.get("stroke_volumes", {}),
    }
    named |= {f"sunnybrook_dicom {row['case']}": row for row in results.get("sunnybrook_dicom", ())}
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


def _forecast(results: Mapping[str, Any]) -> str:
    rows = [
        (name, number(row["seconds"]["foretold"]), number(row["seconds"]["taken"]), f"{row['seconds']['error']:+.0%}")
        for name, row in [*results["stages"].items(), ("all", results)]
    ]
    note = (
        f"A pilot of {results['pilot']} simulated studies of {results['frames']} frames foretells {results['studies']},"
        f" in one process; {results['load']} processes a core waited meanwhile.\n"
    )
    return _section("Forecast", "forecast", note, table(("Stage", "Foretold, s", "Taken, s", "Error"), rows))


def _inference(results: Mapping[str, Any]) -> str:
    error = " and ".join(number(results["bf16_logit_error"][part], 4) for part in ("mean", "max"))
    rows = [
        ("device", results["device"]),
        ("study", results["study"]),
        (
            "the published way (bf16 autocast, frame by frame), frames/s",
            number(results["published_autocast_frames_s"], 3),
        ),
        ("bare network on tensors in memory, frames/s", number(results["bare_network_frames_s"], 3)),
        ("stage, from published study to published prediction, frames/s", number(results["stage_frames_s"], 3)),
        ("stage over the published way", number(results["stage_over_published"], 3)),
        ("stage over the bare network", number(results["stage_over_bare"], 2)),
        ("voxels that both ways label alike", number(results["labels_that_agree"], 4)),
        (
            f"mean and largest error of bf16 logits, worst of {results['bf16_logit_error']['seeds']} seeds of weights",
            error,
        ),
    ]
    return _section("CineMA's base segmentation", "inference", table(("Figure", "Value"), rows))


def _real_scans(results: list[Mapping[str, Any]]) -> str:
    rows = [(row["participant"], row["phenotype"], number(row["found"]), number(row["reference"])) for row in results]
    return _section(
        "Real scans, from raw files", "real_scans", table(("Study", "Phenotype", "Found", "Reference"), rows)
    )


def _of_models(results: Mapping[str, list[Mapping[str, Any]]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Model and row, of the rows of every model."""
    return ((model, row) for model, rows in results.items() for row in rows)


def _curve_jumps(results: Mapping[str, list[Mapping[str, Any]]]) -> str:
    rows = [
        (
            code(model), row["case"], row["ventricle"].upper(), row["basal_slices"], number(row["jump"], 3),
            number(row["true_jump"], 3) if "true_jump" in row else "", number(row["ef_pct"]),
        )
        for model, row in _of_models(results)
    ]  # fmt: skip
    note = (
        "The largest second difference of the volume over the cycle, as a share of the stroke volume; the last slice at"
        " the base counted whole or by its part.\n\n"
    )
    columns = ("Network", "Study", "Ventricle", "Basal slices", "Jump", "True", "EF, %")
    return _section("Jumps of volume curves", "curve_jumps", note + table(columns, rows))


def _valve_planes(results: Mapping[str, list[Mapping[str, Any]]]) -> str:
    figures = ("frames_known", "mean_error_mm", "absolute_error_mm", "excursion_mm", "true_excursion_mm")
    rows = [
        (
            code(model), row["case"], row["labels"], row["valve"], ", ".join(row["views"]),
            *(number(row[name]) if name in row else "" for name in figures),
        )
        for model, row in _of_models(results)
    ]  # fmt: skip
    note = "Errors along the long axis in mm, positive towards the apex.\n\n"
    columns = (
        "Network", "Study", "Labels", "Valve", "Views", "Frames", "Mean error", "Mean absolute error", "Excursion",
        "True",
    )  # fmt: skip
    return _section("Valve planes from long-axis labels", "valve_planes", note + table(columns, rows))


def _turned_images(results: Mapping[str, list[Mapping[str, Any]]]) -> str:
    figures = ("dice_ed", "dice_es", "volume_ratio_ed", "volume_ratio_es")
    rows = [
        (
            code(model), row["turned_deg"], "yes" if row["mirrored"] else "", row["structure"], row["volumes"],
            *(number(row[name], 3) for name in figures),
        )
        for model, row in _of_models(results)
    ]  # fmt: skip
    note = (
        "Images of ACDC stored in other ways: Dice with the experts, and volumes over those of the images as they"
        " came.\n\n"
    )
    columns = (
        "Network", "Turned, degrees", "Mirrored", "Structure", "Volumes", "Dice ED", "Dice ES", "Volume ED",
        "Volume ES",
    )  # fmt: skip
    return _section("Turned and mirrored images", "turned_images", note + table(columns, rows))


def _slice_answers(results: Mapping[str, Mapping[str, Any]]) -> str:
    figures = ("slices", "not_drawn", "area_under_curve", "right", "left_out_of_not_drawn", "left_out_of_drawn")
    rows = [
        (code(model), *name.upper().split("_"), *(number(row[figure], 3) for figure in figures))
        for model, found in results.items()
        for name, row in found.get("acdc", {}).items()
    ]
    note = (
        "Slices of ACDC in which the network finds a ventricle: how well the answers, learnt on simulated patients,"
        " tell those in which experts drew it.\n\n"
    )
    columns = (
        "Network", "Ventricle", "Phase", "Slices", "Not drawn", "Area under the curve", "Right",
        "Left out of those not drawn", "Left out of those drawn",
    )  # fmt: skip
    return _section("Which slices show a ventricle", "slice_answers", note + table(columns, rows))


def _frame_order(results: list[Mapping[str, Any]]) -> str:
    verdicts = ("n", "supported", "silent", "doubtful", "contradicted")
    rows = [
        (row["group"], row["order"], *(str(row[name]) for name in verdicts))
        for row in results
        if row["of"] == "studies"
    ]
    note = "What the images of all planes of a study say of their order: `time` is right, others are wrong.\n"
    return _section(
        "Order of frames",
        "frame_order",
        note,
        table(("Images", "Order", *(v.capitalize() for v in verdicts)), rows),
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


def _stack_order(results: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (row["set"], row["labels"], *(str(row[name]) for name in ("n", "right", "undecided", "wrong")))
        for row in results
    ]
    note = (
        "By labels alone. Right: noticed once reversed. Undecided: stands as geometry has it. Wrong: doubted as it is."
        " Rules were chosen while looking at ACDC, M&Ms-2 and simulated stacks; AutoFD and Sunnybrook were not"
        " looked at.\n"
    )
    columns = ("Set", "Labels", "Stacks", "Right", "Undecided", "Wrong")
    return _section("Base and apex", "stack_order", note, table(columns, rows))


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


def _incremental(results: Mapping[str, Any]) -> str:
    runs = {
        "tables and pages from nothing": "tables_and_pages_from_nothing",
        "nothing changed": "unchanged",
        "one study changed, to the last table and page": "one_changed",
        "report alone, one study of it changed": "report_alone",
    }
    rows = [
        (what, number(results[name]["processor_s"]), number(results[name]["wall_s"]), str(results[name]["peak_mb"]))
        for what, name in runs.items()
    ]
    note = (
        f"{results['studies']:,} stand-ins of {results['frames']} frames, of which none is converted but the one that"
        " changes; up to 2,000 study pages. Seconds of all processes, Prefect's server too. Other work was on the"
        " machine, which the wall times show.\n"
    )
    return _section(
        "Many studies, few changes", "incremental", note, table(("Run", "Processor s", "Wall s", "Peak MB"), rows)
    )


def _perfusion(results: Mapping[str, Any]) -> str:
    note = (
        "`published_rest`: the authors' own map of the same pixels, which guided the priors. Simulated tissue and fit"
        " share the model; `varied` is tissue in which volumes, permeability and delay differ between pixels.\n"
    )
    return _section("Myocardial blood flow", "perfusion", note, _figures(results))


def _perfusion_networks(results: Mapping[str, Any]) -> str:
    note = "Networks trained on simulation alone; the real series guided its design, never the weights.\n"
    return _section("Perfusion networks and motion correction", "perfusion_networks", note, _figures(results))


def _perfusion_stage(results: Mapping[str, Any]) -> str:
    note = "Simulated DICOM through convert and perfusion, against the truth that was put in.\n"
    return _section("The perfusion stage", "perfusion_stage", note, _figures(results))


def _figures(results: Mapping[str, Any]) -> str:
    rows = [(part, name, number(value, 3)) for part, name, value in _flat(results)]
    return table(("What", "Figure", "Value"), rows)


def _flat(content: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str, float]]:
    """(part, figure, value) of every number in nested results; text and lists of numbers are left out."""
    if isinstance(content, Mapping):
        for name, value in content.items():
            yield from _flat(value, (*path, str(name)))
    elif isinstance(content, list):
        for k, value in enumerate(item for item in content if isinstance(item, Mapping)):
            yield from _flat(value, (*path, str(value.get("series", k))))
    elif isinstance(content, int | float) and not isinstance(content, bool):
        yield " ".join(path[:-1]), path[-1], float(content)


_SECTIONS: Mapping[str, Callable[[Any], str]] = {
    "convert": _convert,
    "frame_order": _frame_order,
    "segmentation": _segmentation,
    "segment_stage": _segment_stage,
    "forecast": _forecast,
    "inference": _inference,
    "real_scans": _real_scans,
    "curve_jumps": _curve_jumps,
    "valve_planes": _valve_planes,
    "slice_answers": _slice_answers,
    "simulated_cohort": _simulated_cohort,
    "turned_images": _turned_images,
    "stack_order": _stack_order,
    "parity": _parity,
    "incremental": _incremental,
    "perfusion": _perfusion,
    "perfusion_networks": _perfusion_networks,
    "perfusion_stage": _perfusion_stage,
}
