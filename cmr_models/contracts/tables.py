"""The contract of the tables of estimates: one row is one number with its uncertainty."""

from __future__ import annotations

from collections.abc import Mapping

from cmr_models.contracts.rows import ColumnSpec, TableSpec

_COUNT = (0.0, float("inf"))

ESTIMATE_COLUMNS = (
    ColumnSpec("exposure", "text", "", "phenotype column (`lvef_pct`); empty where a row is about no phenotype"),
    ColumnSpec("unit", "text", "", "unit of the exposure"),
    ColumnSpec("scale", "text", "", "`per_sd` or `per_unit` for ratios, `absolute` for everything else"),
    ColumnSpec("outcome", "text", "", "condition (`heart_failure`, ..., `death`); empty where a row is about none"),
    ColumnSpec("model", "text", "", "which model or metric"),
    ColumnSpec(
        "measure",
        "text",
        "",
        "`odds_ratio`, `hazard_ratio`, `concordance`, `mean`, `survival`, `gap`, ...",
    ),
    ColumnSpec("group_by", "text", "", "`overall`, `sex`, `age_band`, `bmi_class`, `ethnicity`, `centre`, ..."),
    ColumnSpec("group", "text", "", "`all`, or the label of the group (`female`, `55-64`, `obese`, `Q1`, ...)"),
    ColumnSpec("n", "real", "1", "people in the model (complete cases); NaN if suppressed", _COUNT),
    ColumnSpec("n_events", "real", "1", "cases or events among them; NaN if suppressed or meaningless", _COUNT),
    ColumnSpec("estimate", "real", "of measure", "the estimate; odds and hazard ratios as ratios, not as logs"),
    ColumnSpec("se", "real", "of measure", "standard error: of the log for ratios, else of the estimate", _COUNT),
    ColumnSpec("ci_low", "real", "of measure", "lower end of the 95 % interval, on the scale of the estimate"),
    ColumnSpec("ci_high", "real", "of measure", "upper end of the 95 % interval"),
    ColumnSpec("z", "real", "1", "Wald statistic against no effect (1 for ratios, 0.5 for concordance)"),
    ColumnSpec("minus_log10_p", "real", "1", "two-sided -log10 p; finite for any z", (-1e-9, float("inf"))),
    ColumnSpec("q", "real", "1", "Benjamini-Hochberg q within the family; NaN on rows that are not tested", (0.0, 1.0)),
    ColumnSpec("family", "text", "", "the declared family of tests; empty for rows that are not tested"),
    ColumnSpec("status", "text", "", "`ok`, `failed` or `suppressed`", values=("ok", "failed", "suppressed")),
    ColumnSpec("reason", "text", "", "why there is no number ([reason codes](reason_codes.md#estimates)); empty if ok"),
    ColumnSpec("spec_digest", "text", "", "digest of the settings of the analysis"),
)
"""The columns that every table of estimates has, in this order."""

ESTIMATE_TABLES: Mapping[str, str] = {
    "associations": "disease at the visit, on phenotypes",
    "hazards": "disease and death after the visit, on phenotypes",
    "discrimination": "how well models tell who falls ill: concordances",
    "survival_curves": "survival by quartile of a phenotype",
    "fairness": "the same numbers by group, and the largest gap between groups",
}
"""Tables of estimates that an analysis by settings writes, and what is in them."""

ESTIMATE_TABLE = TableSpec(
    "tables/estimates/*.parquet", "a row a number with its uncertainty", ESTIMATE_COLUMNS, more=True
)
"""The contract of every table of estimates."""
