"""Phenotypes of a simulated cohort with measurement error, as the imaging pipeline would give them, without images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.phenotypes.body_size import body_surface_m2
from cmr_models.simulate.cohort import consistent_phenotypes, in_gap, simulate_cohort
from cmr_models.simulate.planted import INDEXED, CohortSettings, GroupGap

Floats = npt.NDArray[np.float64]


def measure_phenotypes(
    truth: pd.DataFrame, rng: np.random.Generator, settings: CohortSettings | None = None
) -> pd.DataFrame:
    """Add measurement error to the truth; returns a phenotype table like that of the imaging pipeline.

    Args:
        truth: from :func:`simulate_cohort`.
        rng: source of the noise and of the failures.
        settings: noise, failures and the planted gap.

    Returns:
        One row for each study with ``study, participant, visit, status, reason``, the phenotypes, and the phenotypes
        per m² of body surface.
    """
    settings = settings or CohortSettings()
    table = truth[["participant", "visit"]].copy()
    table.insert(0, "study", table["participant"] + "-" + table["visit"].astype(str))
    gapped = in_gap(truth, settings.gap)
    gap = settings.gap or GroupGap("sex", "")
    noise_sd = settings.noise_sd * np.where(gapped, gap.noise_factor, 1.0)
    measured = _add_noise(truth, rng, noise_sd, np.where(gapped, gap.ef_bias_pct, 0.0))
    bsa_m2 = body_surface_m2(truth["height_cm"].to_numpy(float), truth["weight_kg"].to_numpy(float))
    for name in INDEXED:
        measured[f"{name}_m2"] = measured[name] / bsa_m2
    share = settings.failure_share * np.where(gapped, gap.failure_factor, 1.0)
    failed = rng.random(len(truth)) < share
    measured.loc[failed] = np.nan
    table["status"] = np.where(failed, "quarantined", "ok")
    table["reason"] = np.where(failed, "lv_empty", "")
    table["qc_ok"] = pd.Series(~failed, index=table.index).astype("boolean").mask(failed)
    return pd.concat([table, measured], axis=1)


def example_tables(
    n: int, rng: np.random.Generator, settings: CohortSettings | None = None
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Phenotypes, participants and outcomes of a simulated cohort: the inputs of the statistics."""
    cohort = simulate_cohort(n, rng, settings)
    return measure_phenotypes(cohort.truth, rng, settings), cohort.participants, cohort.outcomes


def _add_noise(truth: pd.DataFrame, rng: np.random.Generator, noise_sd: Floats, ef_bias_pct: Floats) -> pd.DataFrame:
    """Add independent errors to EDV, EF, mass and heart rate, and compute the other phenotypes from these."""
    noisy: dict[str, Floats] = {}
    for name in ("lvedv_ml", "lvef_pct", "lvm_g", "rvef_pct", "heart_rate_bpm"):
        values = truth[name].to_numpy(float)
        noisy[name] = values + noise_sd * values.std(ddof=1) * rng.standard_normal(len(values))
    noisy["lvef_pct"] = noisy["lvef_pct"] + ef_bias_pct
    ratio = truth["rvsv_ml"].to_numpy(float) / truth["lvsv_ml"].to_numpy(float)
    table = consistent_phenotypes(
        noisy["lvedv_ml"],
        noisy["lvef_pct"],
        noisy["lvm_g"],
        noisy["rvef_pct"],
        noisy["heart_rate_bpm"],
        ratio,
    )
    return table.set_index(truth.index)
