"""The contracts of the tables of a comparison of two models."""

from __future__ import annotations

from typing import Final

from cmr_models.contracts import ColumnSpec, TableSpec

_COUNT = (0.0, float("inf"))
_PHASES = ("all", "ed", "es")
_WHAT = (
    ColumnSpec("of", "text", "", "phenotype or structure"),
    ColumnSpec("view", "text", "", "view of labels; empty for phenotypes"),
    ColumnSpec("phase", "text", "", "`ed`, `es`, or `all`: the mean of both; `all` for phenotypes", values=_PHASES),
)

COMPARISON: Final = TableSpec(
    "tables/comparisons/<A>_vs_<B>/summary.parquet",
    "a row a number, overall and by group; small groups are masked",
    (
        ColumnSpec(
            "measure",
            "text",
            "",
            "`bias`, `loa_low`, `loa_high`: mean difference B minus A and its 95 % limits of agreement; `dice`, `hd95`",
            values=("bias", "loa_low", "loa_high", "dice", "hd95"),
        ),
        *_WHAT,
        ColumnSpec("unit", "text", "", "unit of the value; empty for Dice"),
        ColumnSpec("group_by", "text", "", "column of the groups; empty overall"),
        ColumnSpec("group", "text", "", "label of the group; `all` overall"),
        ColumnSpec("value", "real", "of unit", "the number"),
        ColumnSpec("ci_low", "real", "of unit", "lower end of its 95 % interval"),
        ColumnSpec("ci_high", "real", "of unit", "upper end of its 95 % interval"),
        ColumnSpec("sd", "real", "of unit", "over studies; of the differences for the first three", _COUNT),
        ColumnSpec("n", "real", "1", "studies with a value of both models; NaN if masked", _COUNT),
        ColumnSpec("n_missing", "real", "1", "studies without; NaN if masked", _COUNT),
        ColumnSpec("reasons", "text", "", "why, as JSON: reason code -> number of studies, null where masked"),
        ColumnSpec("status", "text", "", "`ok` or `suppressed`", values=("ok", "suppressed")),
        ColumnSpec("reason", "text", "", "`small_cell` or `secondary` where masked; empty if ok"),
    ),
)  # fmt: skip
"""What two models agree on."""

COMPARED: Final = TableSpec(
    "tables/comparisons/<A>_vs_<B>/cases.parquet",
    "a row a study and number; individual-level data",
    (
        ColumnSpec("study", "text", "", "study id: participant-visit"),
        ColumnSpec("measure", "text", "", "`agreement` of a phenotype, `dice` or `hd95` of labels"),
        *_WHAT,
        ColumnSpec("unit", "text", "", "unit of the values; empty for Dice"),
        ColumnSpec("value", "real", "of unit", "Dice or distance between the models"),
        ColumnSpec("first", "real", "of unit", "phenotype by A"),
        ColumnSpec("second", "real", "of unit", "phenotype by B"),
        ColumnSpec("reason", "text", "", "reason code where a value is missing"),
    ),
)
"""What two models say of each study."""

VERDICTS: Final = TableSpec(
    "tables/comparisons/<A>_vs_<B>/limits.parquet",
    "a row a limit of `[compare]`, overall and in every group that is shown",
    (
        ColumnSpec("limit", "text", "", "name of the setting"),
        *_WHAT,
        ColumnSpec("group_by", "text", "", "column of the groups; empty overall"),
        ColumnSpec("group", "text", "", "label of the group; `all` overall"),
        ColumnSpec("found", "real", "of limit", "the number that was judged; NaN if there is none or it is masked"),
        ColumnSpec("allowed", "real", "of limit", "the limit"),
        ColumnSpec(
            "verdict",
            "text",
            "",
            "`holds`, `broken`, or `not_judged`: there is no number, which stops a promotion too",
            values=("holds", "broken", "not_judged"),
        ),
    ),
)
"""Whether B may take the place of A."""
