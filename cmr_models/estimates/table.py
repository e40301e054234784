"""The tidy table of estimates: its columns, its significance, and the reasons for a missing number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special, stats

from cmr_models.contracts.tables import ESTIMATE_COLUMNS

Floats = npt.NDArray[np.float64]

COLUMNS = tuple(column.name for column in ESTIMATE_COLUMNS)
VALUE_COLUMNS = ("estimate", "se", "ci_low", "ci_high", "z", "minus_log10_p", "q")
TEXT_COLUMNS = tuple(column.name for column in ESTIMATE_COLUMNS if column.kind == "text")

NOT_ESTIMABLE: Mapping[str, str] = {
    "too_few_cases": "Fewer cases or events than the minimum.",
    "too_few_controls": "Fewer people without the event than the minimum.",
    "too_few_per_term": "Fewer cases or events a covariate than the minimum.",
    "too_few_people": "Fewer people than the minimum.",
    "separation": "A combination of covariates tells cases and controls apart: the estimate is infinite.",
    "not_converged": "The likelihood could not be maximised.",
    "constant_exposure": "The exposure does not vary.",
    "collinear": "The exposure is a combination of the covariates.",
    "seen_in_training": "The network behind the exposure has seen people of this cohort.",
    "exact_fit": "The exposure and the covariates explain the outcome without error.",
    "undefined": "The metric gives no number for these people.",
    "no_pairs": "No two people can be compared.",
    "too_few_groups": "Fewer than two groups have an estimate.",
    "no_overlap": "No cell of the common covariates has enough people of every group.",
    "no_data": "No row has the exposure, the outcome and all covariates.",
}

Z95 = float(stats.norm.ppf(0.975))


class NotEstimableError(ValueError):
    """A number cannot be had from these data. ``reason`` is a key of :data:`NOT_ESTIMABLE`."""

    def __init__(self, reason: str, detail: str = "") -> None:
        if reason not in NOT_ESTIMABLE:
            raise KeyError(f"unknown reason {reason!r}; add it to cmr_models/estimates/table.py")
        super().__init__(f"{reason}: {NOT_ESTIMABLE[reason]} {detail}".strip())
        self.reason = reason
        self.detail = detail


def minus_log10_p(z: npt.ArrayLike) -> Floats:
    """Two-sided -log10 p of a standard normal ``z``, finite for any finite ``z``."""
    tail = special.log_ndtr(-np.abs(np.asarray(z, np.float64)))
    return np.asarray(np.abs(np.log(2) + tail) / np.log(10), np.float64)


def minus_log10_p_t(t: npt.ArrayLike, df: npt.ArrayLike) -> Floats:
    """Two-sided -log10 p of Student's ``t``; where its tail underflows, two terms of its expansion."""
    size, df = np.broadcast_arrays(np.abs(np.asarray(t, np.float64)), np.asarray(df, np.float64))
    log_tail = stats.t.logsf(size, df)
    safe = np.maximum(size, 1.0)
    density = special.gammaln((df + 1) / 2) - special.gammaln(df / 2) - np.log(np.pi * df) / 2
    density = density - (df + 1) * np.log(np.hypot(1, safe / np.sqrt(df)))
    following = (1 - df / safe / safe) / (df + 1)
    expansion = density + np.log((df / safe + safe) / (df + 1)) - np.log1p(-following)
    tail = np.where(log_tail > -650, log_tail, expansion)
    return np.asarray(-(np.log(2) + tail) / np.log(10), np.float64)


def minus_log10_p_chi2(chi2: npt.ArrayLike, df: float) -> Floats:
    """-log10 p of a chi-squared statistic; where its tail underflows, the leading term of its expansion."""
    chi2 = np.asarray(chi2, np.float64)
    log_tail = stats.chi2.logsf(chi2, df)
    half = np.maximum(chi2 / 2, np.finfo(float).tiny)
    leading = (df / 2 - 1) * np.log(half) - half - stats.gamma.logpdf(1, df / 2) - 1
    return np.asarray(-np.where(np.isfinite(log_tail), log_tail, leading) / np.log(10), np.float64)


def wald(coef: float, se: float, *, ratio: bool, scale: float = 1.0, null: float = 0.0) -> dict[str, float]:
    """The value columns of one Wald estimate.

    Args:
        coef: the coefficient (log of a ratio when ``ratio``).
        se: its standard error.
        ratio: whether the estimate and its interval are exponentiated.
        scale: factor on coefficient and standard error, e.g. the SD of the exposure.
        null: the coefficient under no effect.
    """
    coef, se = coef * scale, se * scale
    low, high = coef - Z95 * se, coef + Z95 * se
    z = (coef - null) / se if se > 0 else np.nan
    estimate, ci_low, ci_high = np.exp(np.clip([coef, low, high], -700, 700)) if ratio else (coef, low, high)
    return {
        "estimate": float(estimate),
        "se": float(se),
        "ci_low": float(ci_low),
        "ci_high": float(ci_high),
        "z": float(z),
        "minus_log10_p": float(minus_log10_p(z)),
    }


def wald_concordance(value: float, se: float) -> dict[str, float]:
    """The value columns of a concordance: tested against 0.5, its interval on the logit scale, so within 0 and 1.

    Reference: Pepe, The Statistical Evaluation of Medical Tests, 2003, section 5.2 (logit intervals of areas).
    """
    row = wald(value, se, ratio=False, null=0.5)
    if not 0 < value < 1:
        return row | {"ci_low": max(0.0, row["ci_low"]), "ci_high": min(1.0, row["ci_high"])}
    reach = Z95 * se / (value * (1 - value))
    low, high = special.expit(special.logit(value) + np.array([-reach, reach]))
    return row | {"ci_low": float(low), "ci_high": float(high)}


def bootstrap_interval(drawn: npt.ArrayLike) -> Floats:
    """``(2, ...)`` 95 % percentile interval of resampled values ``(b, ...)``.

    The k-th of b ordered draws is taken to lie at k / (b + 1) of their distribution: the usual (k - 1) / (b - 1) makes
    intervals of 200 draws hold 94 %.

    Reference:
        Davison & Hinkley 1997, Bootstrap Methods and their Application, section 5.3.
    """
    return np.asarray(np.quantile(np.asarray(drawn, np.float64), (0.025, 0.975), axis=0, method="weibull"), np.float64)


def failed(reason: str) -> dict[str, Any]:
    """The status columns of a row without a number."""
    return {"status": "failed", "reason": reason}


def tidy(rows: Iterable[Mapping[str, Any]], extra: tuple[str, ...] = ()) -> pd.DataFrame:
    """Rows as a table with the columns :data:`COLUMNS`, then ``extra``; missing numbers NaN, texts empty."""
    table = pd.DataFrame(list(rows), columns=[*COLUMNS, *extra])
    for name in TEXT_COLUMNS:
        table[name] = table[name].fillna("").astype(object)
    for name in ("n", "n_events", *VALUE_COLUMNS):
        table[name] = pd.to_numeric(table[name]).astype(float)
    table.loc[table["status"] == "", "status"] = "ok"
    return table


def unit_of(phenotype: str) -> str:
    """Unit of a phenotype from the suffix of its name; ``""`` if the name states none."""
    per_area = phenotype.endswith("_m2")
    name = phenotype.removesuffix("_m2")
    for suffix, unit in _UNITS.items():
        if name.endswith(suffix):
            return f"{unit}/m²" if per_area else unit
    return ""


_UNITS: Mapping[str, str] = {
    "_ml_min_g": "mL/min/g",
    "_ml_g": "mL/g",
    "_mmol_l": "mmol/L",
    "_l_min": "L/min",
    "_ml": "mL",
    "_pct": "%",
    "_bpm": "1/min",
    "_mm": "mm",
    "_g": "g",
    "_ms": "ms",
    "_years": "years",
}
