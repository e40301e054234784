"""The fairness table: every estimate by group, with small cells masked, then the gaps between the groups left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from cmr_models.analysis.disclosure.masking import mask_small_cells
from cmr_models.analysis.model_spec import AnalysisSpec
from cmr_models.analysis.people import complete_rows
from cmr_models.analysis.regressions import association_rows, discrimination_rows, hazard_rows, with_q
from cmr_models.estimates import NotEstimableError, tidy, unit_of, wald
from cmr_models.estimates.design_matrix import design_columns, independent_columns
from cmr_models.estimates.groups import INTERSECTION
from cmr_models.estimates.proportions import wilson_interval
from cmr_models.fairness import GAP_COLUMNS, MAX_GAP, Gap, disaggregated_rows, gap_row, permutation_gaps

_RATIOS = ("odds_ratio", "hazard_ratio")
_WITHOUT_GAPS = ("harrell_adjusted", "uno_adjusted")
"""Adjusted scores order by age, sex and size, of which groups have unlike spreads: docs/adr/023."""
_KEYS = ["exposure", "unit", "scale", "outcome", "model", "group_by"]
ADJUSTED_FOR = ("age_years", "sex", "height_cm", "weight_kg")


def fairness_rows(people: pd.DataFrame, outcomes: pd.DataFrame, spec: AnalysisSpec) -> pd.DataFrame:
    """Every estimate overall and by group, masked; then one row ``max_gap`` a grouping.

    Args:
        people: of :func:`cmr_models.analysis.people.analysis_people`.
        outcomes: the outcome table.
        spec: what to estimate, in which groups, with which margins of equivalence.

    Returns:
        Estimates with the columns of :data:`GAP_COLUMNS`. Gaps compare only groups that are published.
    """
    measured = _add_adjusted(people[people["measured"]], spec)
    parts = [
        association_rows(people, outcomes, spec, by=spec.group_by),
        hazard_rows(people, outcomes, spec, by=spec.group_by),
        discrimination_rows(people, outcomes, spec, by=spec.group_by),
        _mean_rows(measured, spec),
        _pass_rows(people, spec),
    ]
    # Where death is the one condition, nothing is prevalent: an empty table has no types to join by.
    by_group = pd.concat([part for part in parts if len(part)], ignore_index=True)
    masked = mask_small_cells(by_group[by_group["scale"] != "per_unit"], spec.minimum_cell)
    gaps = _gap_rows(masked, people, measured, spec)
    table = pd.concat([masked, gaps], ignore_index=True) if len(gaps) else masked
    table = table.reindex(columns=[*masked.columns, *GAP_COLUMNS])
    for name in ("gap_groups", "not_estimable"):
        table[name] = table[name].fillna("").astype(object)
    return with_q_of_gaps(table, "fairness/")


def with_q_of_gaps(table: pd.DataFrame, prefix: str = "") -> pd.DataFrame:
    """``table`` with ``q`` of its gaps, within model and grouping: estimates of single groups are not tested."""
    gap = table["group"] == MAX_GAP
    tested = with_q(table, (prefix + table["model"] + "/" + table["group_by"]).where(gap, ""))
    tested.loc[~gap, "q"] = np.nan
    return tested


def _add_adjusted(measured: pd.DataFrame, spec: AnalysisSpec) -> pd.DataFrame:
    """``measured`` with phenotypes at common age, sex and body size, and at common age and body size alone."""
    columns: dict[str, pd.Series] = {}
    for exposure in spec.phenotypes:
        for prefix, dropped in (("adjusted", ()), ("without sex", ("sex",))):
            names = [name for name in ADJUSTED_FOR if name in measured and name not in dropped]
            columns[f"{prefix} {exposure}"] = _residual(measured, exposure, names)
    return measured.assign(**columns)


def _residual(measured: pd.DataFrame, exposure: str, names: Sequence[str]) -> pd.Series:
    """The phenotype less what the covariates explain (to the second order), at its overall mean."""
    rows = complete_rows(measured, (exposure, *names))
    result = pd.Series(np.nan, index=measured.index)
    design = design_columns(rows, list(names)).to_numpy(float)
    design = np.column_stack([design, (design - design.mean(axis=0)) ** 2]) if len(rows) else design
    if len(rows) < 2 * design.shape[1] + 2:
        return result
    centred = design - design.mean(axis=0)
    centred = centred[:, independent_columns(design)]
    values = rows[exposure].to_numpy(float)
    coef = np.linalg.lstsq(centred, values - values.mean(), rcond=None)[0]
    result.loc[rows.index] = values - centred @ coef
    return result


def _mean_column(model: str, exposure: str, group_by: str) -> str:
    if model == "mean":
        return exposure
    return f"without sex {exposure}" if "sex" in group_by.split(INTERSECTION) else f"adjusted {exposure}"


def _mean_rows(measured: pd.DataFrame, spec: AnalysisSpec) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for exposure in spec.phenotypes:
        about = {"exposure": exposure, "unit": unit_of(exposure), "scale": "absolute", "measure": "mean"}
        for model in ("mean", "adjusted_mean"):
            for group_by in ("", *spec.group_by):
                column = _mean_column(model, exposure, group_by)
                by = [f"group {group_by}"] if group_by else []
                data = measured.loc[measured[column].notna(), [column, *by]]
                found = disaggregated_rows(partial(_mean, column=column), data, by, overall=not by)
                rows += [{**_shorten_grouping(row), **about, "model": model} for row in found]
    return tidy(rows)


def _shorten_grouping(row: dict[str, Any]) -> dict[str, Any]:
    """``row`` with the name of the grouping instead of its column."""
    return {**row, "group_by": row["group_by"].removeprefix("group ")}


def _mean(rows: pd.DataFrame, *, column: str) -> dict[str, float]:
    values = rows[column].to_numpy(float)
    if len(values) < 2:
        raise NotEstimableError("too_few_people")
    return _drop_test(wald(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))), ratio=False))


def _pass_rows(people: pd.DataFrame, spec: AnalysisSpec) -> pd.DataFrame:
    columns = [f"group {name}" for name in spec.group_by]
    found = disaggregated_rows(_pass_share, people[["measured", *columns]], columns, events="measured")
    about = {"scale": "absolute", "model": "qc_pass", "measure": "proportion"}
    return tidy([{**_shorten_grouping(row), **about} for row in found])


def _pass_share(rows: pd.DataFrame) -> dict[str, float]:
    """Share of studies that were measured; interval of Wilson 1927, 10.1080/01621459.1927.10502953."""
    n = len(rows)
    if n < 2:
        raise NotEstimableError("too_few_people")
    share = float(rows["measured"].mean())
    low, high = wilson_interval(share * n, n)
    se = float(np.sqrt(share * (1 - share) / n))
    return {"estimate": share, "se": se, "ci_low": low, "ci_high": high}


def _drop_test(values: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if name not in ("z", "minus_log10_p")}


def _gap_rows(masked: pd.DataFrame, people: pd.DataFrame, measured: pd.DataFrame, spec: AnalysisSpec) -> pd.DataFrame:
    rng = np.random.default_rng(spec.seed)
    groups = masked[(masked["group_by"] != "overall") & ~masked["model"].isin(_WITHOUT_GAPS)]
    by_means = _permute_labels(groups, people, measured, spec, rng)
    records = [
        _gap_row(dict(zip(_KEYS, key, strict=True)), rows, by_means, spec, rng)
        for key, rows in groups.groupby(_KEYS, sort=False)
    ]
    return tidy(records, extra=GAP_COLUMNS) if records else pd.DataFrame()


def _gap_row(
    about: dict[str, Any],
    rows: pd.DataFrame,
    by_means: dict[tuple[str, str, str], Gap],
    spec: AnalysisSpec,
    rng: np.random.Generator,
) -> dict[str, Any]:
    of_groups = [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]
    gap = by_means.get((about["model"], about["exposure"], about["group_by"]))
    margin = spec.margin_of(about["model"], about["exposure"])
    ratio = any(row["measure"] in _RATIOS for row in of_groups)
    found = gap_row(of_groups, rng, ratio=ratio, margin=margin, find=None if gap is None else lambda: gap)
    return {
        **about,
        **found,
        "measure": "gap",
        "margin": margin if found["status"] == "ok" else np.nan,
        "not_estimable": "; ".join(row["group"] for row in of_groups if row["status"] != "ok"),
    }


def _permute_labels(
    groups: pd.DataFrame,
    people: pd.DataFrame,
    measured: pd.DataFrame,
    spec: AnalysisSpec,
    rng: np.random.Generator,
) -> dict[tuple[str, str, str], Gap]:
    """Gaps of means and of shares with their permutation nulls, over published groups only."""
    gaps: dict[tuple[str, str, str], Gap] = {}
    for group_by in spec.group_by:
        for model in ("mean", "adjusted_mean"):
            columns = {exposure: _mean_column(model, exposure, group_by) for exposure in spec.phenotypes}
            found = _permute_columns(groups, measured, model, group_by, columns, spec, rng)
            gaps.update({(model, exposure, group_by): gap for exposure, gap in found.items()})
        shares = people.assign(passed=people["measured"].astype(float))
        found = _permute_columns(groups, shares, "qc_pass", group_by, {"": "passed"}, spec, rng)
        gaps["qc_pass", "", group_by] = found[""]
    return gaps


def _permute_columns(
    groups: pd.DataFrame,
    data: pd.DataFrame,
    model: str,
    group_by: str,
    columns: Mapping[str, str],
    spec: AnalysisSpec,
    rng: np.random.Generator,
) -> dict[str, Gap]:
    """Gaps of several columns; those with the same published groups share their permutations."""
    rows = groups[(groups["model"] == model) & (groups["group_by"] == group_by) & (groups["status"] == "ok")]
    alike: dict[frozenset[str], list[str]] = {}
    for exposure in columns:
        published = frozenset(rows.loc[rows["exposure"] == exposure, "group"])
        alike.setdefault(published, []).append(exposure)
    gaps: dict[str, Gap] = {}
    for published, exposures in alike.items():
        chosen = data[data[f"group {group_by}"].isin(published)]
        values = chosen[[columns[exposure] for exposure in exposures]].to_numpy(float)
        label = chosen[f"group {group_by}"].to_numpy(object)
        found = permutation_gaps(values, label, rng, n_permutations=spec.permutations)
        gaps.update(zip(exposures, found, strict=True))
    return gaps
