"""Numbers of a perfusion study for the tables: flow at rest and stress, by artery, and the reserve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from cmr_models.aha import TERRITORIES
from cmr_models.reasons import Missing

State = Literal["rest", "stress", "unstated"]
STATES: tuple[State, ...] = ("rest", "stress", "unstated")
FLOW = "mbf_ml_min_g"
QUANTITIES: Mapping[str, tuple[str, str]] = {
    FLOW: ("mL/min/g", "myocardial blood flow"),
    "ps_ml_min_g": ("mL/min/g", "permeability-surface product"),
    "vb_ml_g": ("mL/g", "blood volume"),
    "visf_ml_g": ("mL/g", "interstitial volume"),
    "delay_s": ("s", "delay from the arterial input to the tissue"),
}
"""Map -> unit and meaning."""

_ARTERIES = {"lad": "left anterior descending", "rca": "right coronary", "lcx": "circumflex"}
_RANGES = {"mL/min/g": (0.0, 8.0), "mL/g": (0.0, 1.0), "s": (0.0, 10.0), "": (0.0, 10.0), "mmol/L": (0.0, 20.0)}
_LEAST_ENDO_EPI_SEGMENTS = 8


class PerfusionPhenotype(NamedTuple):
    """One row of the dictionary of ``tables/perfusion.parquet``."""

    name: str
    unit: str
    definition: str
    reference: str = ""

    @property
    def valid(self) -> tuple[float, float]:
        """Lowest and highest value that a heart can have."""
        return _RANGES[self.unit]


Value = float | Missing


class StateResult(NamedTuple):
    """Measurements of one state of a study.

    Attributes:
        segments: map -> rows of :func:`cmr_models.aha.statistics`.
        aif: features of the arterial input (:func:`cmr_models.aif.features`).
    """

    segments: Mapping[str, pd.DataFrame]
    aif: Mapping[str, float]


def phenotypes(results: Mapping[State, StateResult | Missing]) -> dict[str, Value]:
    """Every number of :data:`PHENOTYPES`, or the reason why it is missing.

    Args:
        results: state -> its result, or the reason why it has none; states that were not acquired are left out.

    Reference: territories of Cerqueira et al. 2002; flow and reserve as in Knott et al., Circulation 2020;141:1282.
    """
    values: dict[str, Value] = {}
    for state in STATES:
        found = results.get(state, Missing("state_missing"))
        values |= _all_missing(state, found) if isinstance(found, Missing) else _of_state(state, found)
    values |= _reserves(results, values)
    return {row.name: values[row.name] for row in PHENOTYPES}


def _all_missing(state: State, why: Missing) -> dict[str, Value]:
    return {row.name: why for row in PHENOTYPES if f"_{state}_" in row.name}


def _of_state(state: State, found: StateResult) -> dict[str, Value]:
    flow = _whole_wall(found.segments[FLOW])
    values: dict[str, Value] = {
        _phenotype_name(quantity, state): _pool_segments(_whole_wall(rows)) for quantity, rows in found.segments.items()
    }
    for artery, members in TERRITORIES.items():
        values[f"mbf_{state}_{artery}_ml_min_g"] = _pool_segments(flow[flow.index.isin(members)])
    values[f"mbf_{state}_lowest_ml_min_g"] = _value_or_missing(float(flow["median"].min()), "segment_empty")
    values[f"mbf_{state}_endo_epi_ratio"] = _endo_over_epi(found.segments[FLOW])
    values[f"aif_{state}_peak_mmol_l"] = _value_or_missing(found.aif["peak_value"], "aif_no_bolus")
    return values


def _reserves(results: Mapping[State, StateResult | Missing], values: Mapping[str, Value]) -> dict[str, Value]:
    places = ("", *(f"_{artery}" for artery in TERRITORIES))
    out = {f"mpr{p}": _ratio(values[f"mbf_stress{p}_ml_min_g"], values[f"mbf_rest{p}_ml_min_g"]) for p in places}
    return {**out, "mpr_lowest": _lowest_reserve(results)}


def segment_reserve(rest: pd.DataFrame, stress: pd.DataFrame) -> pd.Series:
    """Reserve of each segment, whole wall, from the rows of :func:`cmr_models.aha.statistics` of both flow maps."""
    ratio = _whole_wall(stress)["median"] / _whole_wall(rest)["median"].where(lambda flow: flow > 0)
    return pd.Series(ratio, name="mpr")


def _lowest_reserve(results: Mapping[State, StateResult | Missing]) -> Value:
    rest, stress = (results.get(state, Missing("state_missing")) for state in ("rest", "stress"))
    if isinstance(rest, Missing):
        return rest
    if isinstance(stress, Missing):
        return stress
    return _value_or_missing(float(segment_reserve(rest.segments[FLOW], stress.segments[FLOW]).min()), "segment_empty")


def _phenotype_name(quantity: str, state: str) -> str:
    name, _, unit = quantity.partition("_")
    return f"{name}_{state}_{unit}"


def _whole_wall(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["layer"] == "all"].set_index("segment")


def _pool_segments(rows: pd.DataFrame) -> Value:
    """Mean over segments of their medians, by pixels: outlying fits of single pixels do not move it."""
    known = rows[np.isfinite(rows["median"])]
    if known.empty:
        return Missing("segment_empty")
    return float(np.average(known["median"], weights=known["pixels"]))


def _endo_over_epi(rows: pd.DataFrame) -> Value:
    layers = rows.pivot(index="segment", columns="layer", values="median")
    ratio = (layers["endo"] / layers["epi"].where(layers["epi"] > 0)).dropna()
    few = len(ratio) < min(_LEAST_ENDO_EPI_SEGMENTS, max(1, int(layers["all"].notna().sum())))
    return Missing("segment_empty") if few else float(ratio.median())


def _ratio(stress: Value, rest: Value) -> Value:
    if isinstance(stress, Missing):
        return stress
    if isinstance(rest, Missing):
        return rest
    return stress / rest if rest > 0 else Missing("undefined")


def _value_or_missing(value: float, reason: str) -> Value:
    return value if np.isfinite(value) else Missing(reason)


def _rows() -> Iterator[PerfusionPhenotype]:
    said = {"rest": "at rest", "stress": "at stress", "unstated": "in a series that says neither rest nor stress"}
    how = "mean over segments of the median of their pixels, by pixels"
    for state, when in said.items():
        for quantity, (unit, meaning) in QUANTITIES.items():
            yield PerfusionPhenotype(_phenotype_name(quantity, state), unit, f"{meaning.capitalize()} {when}: {how}")
        for artery, name in _ARTERIES.items():
            text = f"Myocardial blood flow {when} in the segments of the {name} artery"
            yield PerfusionPhenotype(f"mbf_{state}_{artery}_ml_min_g", "mL/min/g", text, "Cerqueira et al. 2002")
        text = f"Lowest myocardial blood flow of a segment {when}"
        yield PerfusionPhenotype(f"mbf_{state}_lowest_ml_min_g", "mL/min/g", text)
        text = f"Flow of the inner over that of the outer half of the wall {when}, median over segments"
        yield PerfusionPhenotype(f"mbf_{state}_endo_epi_ratio", "", text)
        yield PerfusionPhenotype(f"aif_{state}_peak_mmol_l", "mmol/L", f"Peak of the arterial input {when}")
    yield PerfusionPhenotype("mpr", "", "Myocardial perfusion reserve: flow at stress over flow at rest")
    for artery, name in _ARTERIES.items():
        text = f"Myocardial perfusion reserve in the segments of the {name} artery"
        yield PerfusionPhenotype(f"mpr_{artery}", "", text, "Cerqueira et al. 2002")
    yield PerfusionPhenotype("mpr_lowest", "", "Lowest myocardial perfusion reserve of a segment")


PHENOTYPES: tuple[PerfusionPhenotype, ...] = tuple(_rows())
"""The numbers of ``tables/perfusion.parquet`` in order."""
