"""The contracts of the tables of estimates and of what networks other than segmenters say."""

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

ESTIMATE_PUBLISHED = (
    ColumnSpec(
        "doubted",
        "text",
        "",
        "what was done with people whose study is doubted (`qc_ok` false or empty): `left_out` or `taken_in`",
    ),
    ColumnSpec(
        "n_doubted",
        "real",
        "1",
        "how many such people there are at their first visit, the same in every row; NaN if suppressed",
        _COUNT,
    ),
    ColumnSpec(
        "rounded_to",
        "real",
        "1",
        "all counts of the release are multiples of it, because something in it counts few; 1: they are exact",
        _COUNT,
    ),
)
"""Columns that every published table of estimates has at its end; tables of earlier versions lack them."""

ESTIMATE_TABLES: Mapping[str, str] = {
    "associations": ("disease at the visit, on phenotypes. Model `logistic`; two rows a pair, `per_sd` and `per_unit`"),
    "hazards": (
        "disease and death after the visit, on phenotypes. Model `cox_age`; two rows a pair, `per_sd` and `per_unit`"
    ),
    "discrimination": (
        "concordance. Models `harrell_phenotype` (the phenotype alone, on the age scale), `harrell_adjusted`"
        " (linear predictor of the Cox model, on the age scale), `uno_adjusted` (years since imaging, age in the model)"
    ),
    "survival_curves": (
        "survival by quartile of a phenotype. Model `kaplan_meier`, groups `Q1` to `Q4`; `n` people in the quartile,"
        " `n_events` up to `years`. Draw steps through the rows with status `ok`; the others have no number to draw"
    ),
    "fairness": (
        "the same numbers by group, and `mean` (raw), `adjusted_mean` (at common age, sex and body size) and `qc_pass`"
        " (share of all studies with status ok). One row a grouping has the group `max_gap` and the measure `gap`: the"
        " largest difference between two groups with an estimate (of logs for ratios), tested against no gap"
    ),
}
"""Tables of estimates that an analysis by settings writes, and what is in them."""

ESTIMATE_MORE: Mapping[str, tuple[ColumnSpec, ...]] = {
    "survival_curves": (
        ColumnSpec("years", "real", "years", "since imaging", (0.0, 200.0)),
        ColumnSpec("n_at_risk", "real", "1", "people at risk at that time; NaN if suppressed", _COUNT),
    ),
    "fairness": (
        ColumnSpec("gap_groups", "text", "", "the two groups of the largest gap (`black - white`)"),
        ColumnSpec("null_q95", "real", "of measure", "95 % point of the largest gap if there were none"),
        ColumnSpec("margin", "real", "of measure", "difference that counts as none"),
        ColumnSpec("equivalence_p", "real", "1", "small: all groups lie within the margin of each other", (0.0, 1.0)),
        ColumnSpec("not_estimable", "text", "", "groups without a published estimate, `; ` between them"),
    ),
}
"""Columns that single tables of estimates have beside those of all."""

ESTIMATE_TABLE = TableSpec(
    "tables/estimates/*.parquet", "a row a number with its uncertainty", ESTIMATE_COLUMNS, more=True
)
"""The contract of every table of estimates."""

PEOPLE_FLOW = TableSpec(
    "tables/people_flow.parquet",
    "a row a step: how many studies, people or rows of users' tables each join of the analysis kept and left out;"
    " exact, not for publication",
    (
        ColumnSpec("outcome", "text", "", "condition; empty where a step is about none"),
        ColumnSpec(
            "group_by",
            "text",
            "",
            "what is counted: `studies`, `visits`, `rows of participants`, `rows of outcomes`, `first visits`, their"
            " covariates and their follow-up; the steps of one add up. `overall`: single counts",
        ),
        ColumnSpec("step", "text", "", "who was kept or left out, in words"),
        ColumnSpec("n", "real", "1", "how many", _COUNT),
    ),
)
"""The contract of the table of who takes part in an analysis by settings."""

PREDICTION_TABLE = TableSpec(
    "tables/predictions/<task>-<model>.parquet",
    "a row a study, every study; the columns of the values depend on the network",
    (
        ColumnSpec("study", "text", "", "study id: participant-visit"),
        ColumnSpec("participant", "text", "", "participant id"),
        ColumnSpec("visit", "text", "", "visit"),
        ColumnSpec("status", "text", "", "ok, absent or quarantined"),
        ColumnSpec("reason", "text", "", "reason code where the status is not ok"),
    ),
    more=True,
)
"""The columns with which the table of every predict stage begins."""
