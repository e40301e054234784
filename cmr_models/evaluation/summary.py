"""Summary of many studies as one table, overall and by group, with intervals, numbers of studies and missing values.

Every study that has a reference is counted, in ``n`` or in ``n_missing``; a missing value is never zero.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.estimates.contributions import Contributions
from cmr_models.estimates.groups import labels as group_labels
from cmr_models.evaluation import classes as by_class
from cmr_models.evaluation.agreement import (
    Estimate,
    Floats,
    bootstrapped,
    coefficient_of_variation_pct,
    limits_of_agreement,
    mean_absolute_error,
    mean_error,
    resampled,
    root_mean_square_error,
)

COLUMNS: Final = (
    "measure", "of", "view", "phase", "unit", "group_by", "group", "value", "ci_low", "ci_high", "sd", "n", "n_missing",
    "reasons", "dominated",
)  # fmt: skip
"""``dominated``: whether one value makes most of the sum of squares, so that the SD would tell it."""
_KEYS: Final = ["measure", "of", "view", "phase", "unit"]
_AGREEMENT: Final[dict[str, Callable[[Floats, Floats], float]]] = {
    "mae": mean_absolute_error, "rmse": root_mean_square_error, "bias": mean_error,
}  # fmt: skip
EF_EDGES_PCT: Final = (40.0, 55.0)
"""Reduced up to 40 %, borderline up to 55 %, normal above: Fu et al., Communications Medicine 2026."""
_EF_CLASSES: Final = len(EF_EDGES_PCT) + 1
FIXED: Final = 0.9
"""The specificity at which sensitivity is given, and the sensitivity at which specificity is given."""


class Summariser:
    """Summarises measures with the same groups and the same resampling for all.

    Attributes:
        people: index ``study``; columns by which people can be grouped.
        group_by: the columns that are used.
    """

    def __init__(
        self, people: pd.DataFrame, group_by: Sequence[str], *, seed: int = 0, n_resamples: int = 1000
    ) -> None:
        unknown = sorted(set(group_by) - set(people))
        if unknown:
            raise ValueError(f"no column {unknown} to group by; columns are {sorted(map(str, people.columns))}")
        self.people, self.group_by = people, tuple(group_by)
        self._seed, self._n_resamples = seed, n_resamples

    def cases(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Mean of measures with a value in each study; MAE, RMSE and bias of quantities with a reference.

        Args:
            rows: from :mod:`cmr_models.evaluation.cases`, with ``study``.
        """
        return self._measures(rows, self._agreement)

    def differences(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Mean of measures with a value in each study; of quantities told twice, bias and 95 % limits of agreement.

        Args:
            rows: as in :meth:`cases`; the differences are predicted minus reference.
        """
        return self._measures(rows, self._limits)

    def _measures(self, rows: pd.DataFrame, pairs: Callable[..., list[dict[str, Any]]]) -> pd.DataFrame:
        found = []
        for key, part in rows.groupby(_KEYS, sort=False):
            about = dict(zip(_KEYS, key, strict=True))
            for group in self._groups(part):
                found += pairs(about, *group) if about["measure"] == "agreement" else [self._mean(about, *group)]
        return _table(found)

    def classes(self, table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
        """Accuracy, F1, MCC, area under the curve, sensitivity at a fixed specificity, and the reverse.

        Args:
            table: ``study``, ``true`` (class by name; missing where unknown), ``p_<class>``, ``reason``.
            names: classes of the model.
        """
        found: list[dict[str, Any]] = []
        for group_by, group, part in self._groups(table):
            shares = part[[f"p_{name}" for name in names]].to_numpy(float)
            true = np.array([names.index(t) if t in names else -1 for t in part["true"]])
            known = np.isfinite(shares).all(axis=1) & (true >= 0)
            counts = _count_missing(part, known)
            for measure, of, of_people in _class_measures(shares[known], true[known], names):
                estimate = resampled(of_people, int(known.sum()), self._rng(), self._n_resamples)
                about = {"measure": measure, "of": of, "view": "", "phase": "all", "unit": ""}
                found.append(_row(about, group_by, group, estimate, counts))
        return _table(found)

    def repeats(self, table: pd.DataFrame) -> pd.DataFrame:
        """Coefficient of variation of repeated acquisitions.

        Args:
            table: ``study``, ``of``, ``source`` ("predicted" or "reference"), ``first``, ``second``, ``reason``;
                one row for each person and quantity.
        """
        found = []
        for (of, source), part in table.groupby(["of", "source"], sort=False):
            about = {"measure": f"repeat_cv_{source}", "of": of, "view": "", "phase": "all", "unit": "%"}
            for group_by, group, people in self._groups(part):
                pair = people[["first", "second"]].to_numpy(float)
                known = np.isfinite(pair).all(axis=1)
                estimate = self._bootstrapped(coefficient_of_variation_pct, pair[known, 0], pair[known, 1])
                found.append(_row(about, group_by, group, estimate, _count_missing(people, known)))
        return _table(found)

    def _groups(self, rows: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
        yield "", "all", rows
        for column in self.group_by:
            named = group_labels(self.people[column].reindex(rows["study"]))
            for group in sorted(set(named)):
                yield column, str(group), rows[named == group]

    def _mean(self, about: dict[str, Any], group_by: str, group: str, rows: pd.DataFrame) -> dict[str, Any]:
        values = rows["value"].to_numpy(float)
        known = np.isfinite(values)
        estimate = self._bootstrapped(mean_error, values[known], np.zeros(int(known.sum())))
        return _row(about, group_by, group, estimate, _count_missing(rows, known), values[known], sd=_sd(values[known]))

    def _agreement(self, about: dict[str, Any], group_by: str, group: str, rows: pd.DataFrame) -> list[dict[str, Any]]:
        ours, theirs = (rows[name].to_numpy(float) for name in ("predicted", "reference"))
        known = np.isfinite(ours) & np.isfinite(theirs)
        ours, theirs, counts = ours[known], theirs[known], _count_missing(rows, known)
        measures = dict(_AGREEMENT)
        if str(about["of"]).endswith("ef_pct"):
            measures |= {"class_accuracy": _ef_accuracy, "class_mcc": _ef_matthews}
        return [
            _row(
                about | {"measure": name, "unit": "" if name.startswith("class_") else about["unit"]},
                group_by, group, self._bootstrapped(measure, ours, theirs), counts,
                ours - theirs, sd=_sd(ours - theirs) if name == "bias" else float("nan"),
            )
            for name, measure in measures.items()
        ]  # fmt: skip

    @staticmethod
    def _limits(about: dict[str, Any], group_by: str, group: str, rows: pd.DataFrame) -> list[dict[str, Any]]:
        pair = rows[["predicted", "reference"]].to_numpy(float)
        counts = _count_missing(rows, np.isfinite(pair).all(axis=1))
        found = limits_of_agreement(pair[:, 0], pair[:, 1])
        named = {"bias": found.bias, "loa_low": found.low, "loa_high": found.high}
        return [
            _row(about | {"measure": name}, group_by, group, estimate, counts, sd=found.sd)
            for name, estimate in named.items()
        ]

    def _bootstrapped(self, measure: Callable[[Floats, Floats], float], a: Floats, b: Floats) -> Estimate:
        return bootstrapped(measure, a, b, self._rng(), self._n_resamples)

    def _rng(self) -> np.random.Generator:
        """The same generator for every row, so that an interval does not depend on the other rows."""
        return np.random.default_rng(self._seed)


def _class_measures(
    shares: Floats, true: npt.NDArray[np.int64], names: Sequence[str]
) -> Iterator[tuple[str, str, Callable[[npt.NDArray[np.int64]], float]]]:
    """Each measure as (measure, of, function of the indices of people)."""
    predicted = shares.argmax(axis=1) if len(shares) else np.zeros(0, np.int64)

    def table(people: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return by_class.confusion(predicted[people], true[people], len(names))

    yield "accuracy", "all", lambda people: by_class.accuracy(table(people))
    yield "f1_macro", "all", lambda people: by_class.macro_f1(table(people))
    yield "mcc", "all", lambda people: by_class.matthews(table(people))
    yield "auc_macro", "all", lambda people: by_class.macro_area(shares[people], true[people])
    for k, name in enumerate(names):
        for measure, function in _ONE_AGAINST_REST.items():
            yield measure, name, partial(_measure_people, function, shares[:, k], true == k)


_OneAgainstRest = Callable[[Floats, npt.NDArray[np.bool_]], float]
_ONE_AGAINST_REST: Final[dict[str, _OneAgainstRest]] = {
    "auc": by_class.area_under_curve,
    "sensitivity_at_90_specificity": partial(by_class.sensitivity_at_specificity, specificity=FIXED),
    "specificity_at_90_sensitivity": partial(by_class.specificity_at_sensitivity, sensitivity=FIXED),
}


def _measure_people(
    function: _OneAgainstRest, score: Floats, case: npt.NDArray[np.bool_], people: npt.NDArray[np.int64]
) -> float:
    return function(score[people], case[people])


def _ef_table(ours: Floats, theirs: Floats) -> npt.NDArray[np.int64]:
    """Confusion matrix of EF classes; the upper limit belongs to a class: 40 % is reduced."""
    predicted, true = (np.searchsorted(EF_EDGES_PCT, values, "left") for values in (ours, theirs))
    return by_class.confusion(predicted, true, _EF_CLASSES)


def _ef_accuracy(ours: Floats, theirs: Floats) -> float:
    return by_class.accuracy(_ef_table(ours, theirs))


def _ef_matthews(ours: Floats, theirs: Floats) -> float:
    return by_class.matthews(_ef_table(ours, theirs))


def _count_missing(rows: pd.DataFrame, known: npt.NDArray[np.bool_]) -> dict[str, int]:
    reasons = rows["reason"][~known].replace("", "unexplained")
    return {str(reason): int(n) for reason, n in sorted(reasons.value_counts().items())}


def _row(
    about: dict[str, Any],
    group_by: str,
    group: str,
    found: Estimate,
    missing: dict[str, int],
    values: npt.ArrayLike = (),
    sd: float = float("nan"),
) -> dict[str, Any]:
    return {
        **about, "group_by": group_by, "group": group, "value": found.value, "ci_low": found.ci_low,
        "ci_high": found.ci_high, "sd": sd, "n": found.n, "n_missing": sum(missing.values()),
        "reasons": json.dumps(missing, sort_keys=True), "dominated": Contributions.of(values).is_dominated,
    }  # fmt: skip


def _sd(values: Floats) -> float:
    return float(values.std(ddof=1)) if values.size > 1 else float("nan")


def _table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(COLUMNS))
