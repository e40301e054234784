"""Logistic regression with covariates, by maximum likelihood."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.estimates import NotEstimableError
from cmr_models.estimates.design_matrix import complete_design, independent_columns, term_table

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LogisticFit:
    """A fitted model.

    Attributes:
        estimates: one row a term: ``term, coef, se, ci_low, ci_high`` (of the coefficient), ``z, minus_log10_p,
            status`` (``ok``; ``aliased``: constant or a combination of earlier terms; ``infinite``: no finite
            maximum).
        log_likelihood: of the fitted model.
        n: rows fitted.
        n_cases: rows with the outcome.
    """

    estimates: pd.DataFrame
    log_likelihood: float
    n: int
    n_cases: int


def fit_logistic(table: pd.DataFrame, *, outcome: str, covariates: Sequence[str]) -> LogisticFit:
    """Logistic regression of a 0/1 column on covariates, by maximum likelihood (statsmodels).

    Args:
        table: one row a person, without missing values in the columns used.
        outcome: column, true (1) for a case.
        covariates: columns; text becomes indicators. Constant and redundant columns are left out and
            named in the result.

    Raises:
        ValueError: missing columns or values, an outcome that is not 0 or 1.
        NotEstimableError: no cases, no controls, nothing that varies, no convergence, complete separation.
    """
    if outcome not in table:
        raise ValueError(f"outcome {outcome!r} is not a column of the table; it has {list(table)}")
    cases = table[outcome].to_numpy(float)
    if not np.isin(cases, (0, 1)).all():
        raise ValueError(f"{outcome} must be 0 or 1 without missing values")
    design = complete_design(table, covariates)
    if not cases.any():
        raise NotEstimableError("too_few_cases", "no case in the table")
    if cases.all():
        raise NotEstimableError("too_few_controls", "no control in the table")
    values = design.to_numpy(float)
    kept = independent_columns(values)
    if not kept.any():
        raise NotEstimableError("constant_exposure", "no covariate varies")
    spread = values[:, kept].std(axis=0)
    standard = (values[:, kept] - values[:, kept].mean(axis=0)) / spread
    coef, se, log_likelihood = _fit_statsmodels(cases, standard)
    terms = term_table([str(name) for name in design], kept, coef, se, spread)
    return LogisticFit(terms, log_likelihood, len(table), int(cases.sum()))


def _fit_statsmodels(cases: Floats, standard: Floats) -> tuple[Floats, Floats, float]:
    from statsmodels.discrete.discrete_model import Logit
    from statsmodels.tools.sm_exceptions import PerfectSeparationError, PerfectSeparationWarning

    design = np.column_stack([np.ones(len(cases)), standard])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # judged from the estimates themselves
        warnings.simplefilter("error", PerfectSeparationWarning)
        try:
            fit = Logit(cases, design).fit(disp=False, method="newton", maxiter=100, tol=1e-10)
        except (PerfectSeparationError, PerfectSeparationWarning) as error:
            raise NotEstimableError("separation") from error
        except np.linalg.LinAlgError as error:
            raise NotEstimableError("not_converged", str(error)) from error
    coef, se = np.asarray(fit.params, np.float64)[1:], np.asarray(fit.bse, np.float64)[1:]
    return coef, se, float(fit.llf)
