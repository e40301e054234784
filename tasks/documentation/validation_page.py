"""What the statistics found again of what was planted, as a page: made from the results of the validation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.report.markdown import number, page, table

_INTRO = (
    "Cohorts with known truth are simulated and analysed; what comes out is compared with what went in. Written by"
    " `python -m benchmarks.statistics_validation`, whose functions say in full what each experiment is."
    " *Chance* is the standard error of the figure from the number of replicates: a band narrower than twice of it can"
    " be missed by a method that is right.\n"
)
_SECTIONS: Mapping[str, tuple[str, str]] = {
    "ratios": (
        "Hazard and odds ratios",
        "3,000 people a cohort: six planted hazard ratios (Cox on the age scale, delayed entry, competing deaths) and"
        " five odds ratios; four phenotypes that do nothing to cancer.",
    ),
    "fine_gray": ("Fine-Gray", "1,000 people a cohort, two causes, independent censoring."),
    "false_discoveries": (
        "False discoveries",
        "200 tests a cohort of 2,000 people, a quarter with an effect; correlated within the exposures with and those"
        " without effect; Benjamini-Hochberg.",
    ),
    "fairness_gaps": (
        "Fairness gaps",
        "4,000 people a cohort. Planted: one point of ejection fraction in the smallest of six groups (3 % of people),"
        " or a phenotype that predicts nothing in women. Absent: the same with permuted labels. The stated power"
        " is that of the noncentral chi-squared at the mean standard errors of the planted runs; *found* counts only"
        " runs that also name the right group.",
    ),
    "imputation": (
        "Missing data",
        "800 people a cohort, two in five values of a covariate missing at random given event and another covariate."
        " Complete cases are biased by construction. The imputation model (event, Nelson-Aalen hazard) is only"
        " approximately right for a Cox model and shrinks the effect a little: the column *bias* says how much, of a"
        " log hazard ratio of 0.5.",
    ),
    "decomposition": ("Parts of a gap", "1,500 people a cohort; bootstrap intervals of each planted part."),
    "participation": (
        "Participation",
        "Mean of a trait in everybody, from those who took part: error of the estimate.",
    ),
}


def validation_page(results: Path) -> str:
    """The page; ``results`` is the folder of ``statistics_validation.json``."""
    path = results / "statistics_validation.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    parts = [_INTRO, _verdict(found)]
    if "large_cohort" in found:
        parts += _large(found["large_cohort"])
    for name, (title, about) in _SECTIONS.items():
        if name in found:
            parts += [f"## {title}\n", f"{about}\n", _shares(found[name]["rows"])]
    return page("Validation of the statistics", *parts)


def _verdict(found: Mapping[str, Any]) -> str:
    judged = [row for part in found.values() for row in part["rows"] if "met" in row]
    missed = [row["what"] for row in judged if not row["met"]]
    said = f"{len(judged) - len(missed)} of {len(judged)} figures lie within their bands."
    return f"{said} Outside: {'; '.join(missed)}.\n" if missed else f"{said}\n"


def _large(part: Mapping[str, Any]) -> list[str]:
    rows = [
        (
            row["model"],
            row["outcome"],
            row["exposure"],
            row["n_events"],
            number(row["planted"]),
            f"{row['estimate']:.3f} ({row['ci_low']:.3f} to {row['ci_high']:.3f})",
            "yes" if row["covered"] else "no",
        )
        for row in part["rows"]
    ]
    columns = ("Model", "Outcome", "Exposure", "Events", "Planted ratio per SD", "Found (95 %)", "Covered")
    covered = sum(row["covered"] for row in part["rows"])
    about = (
        f"{part['n']:,} people at the simulation's default incidence, seed {part['seed']}: {covered} of {len(rows)}"
        f" intervals cover what was planted. Processor time {part['cpu_s']:.1f} s.\n"
    )
    return ["## One cohort of full size\n", about, table(columns, rows)]


def _shares(rows: list[Mapping[str, Any]]) -> str:
    with_bias = any("bias" in row for row in rows)
    columns = (
        "Figure",
        "Found",
        "Chance",
        "Expected",
        "Band",
        "Within",
        "Replicates",
        *(["Bias"] if with_bias else []),
    )
    lines = []
    for row in rows:
        judged = "met" in row
        cells = (
            row["what"],
            f"{row['value']:.3f}",
            f"{row['se']:.3f}" if "se" in row else "",
            number(row["expected"], 3) if judged else "",
            f"{number(row['low'], 3)} to {number(row['high'], 3)}" if judged else "",
            ("yes" if row["met"] else "no") if judged else "",
            row["replicates"],
        )
        lines.append((*cells, f"{row['bias']:+.3f}") if with_bias else cells)
    return table(columns, lines)
