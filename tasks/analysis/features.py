"""Features of a network for an analysis: their columns, and whether the network has seen the people analysed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from cmr_models.analysis.matching import flow_row
from cmr_models.analysis.nested_models import DEEP
from cmr_models.estimates import VALUE_COLUMNS
from tasks.analysis.spec_file import SpecFile
from tasks.state.parquet_tables import read_table
from tasks.state.store import Cohort

_KEYS = ("participant", "visit")
_SEEN = "model_has_seen_cohort"


class FeatureTable(NamedTuple):
    """Features of a network.

    Attributes:
        table: ``participant, visit`` and the columns; empty without features.
        columns: of the features.
        seen: whether the network has seen people of this cohort; None if its card does not say.
    """

    table: pd.DataFrame
    columns: tuple[str, ...]
    seen: bool | None

    def beside(self, people: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
        """``people`` with those features among ``names`` that are not there yet."""
        here = [name for name in names if name in self.columns and name not in people]
        if not here:
            return people
        people = people.astype(dict.fromkeys(_KEYS, str))
        return people.merge(self.table[[*_KEYS, *here]], on=list(_KEYS), how="left", validate="many_to_one")

    def flow(self, people: pd.DataFrame) -> pd.DataFrame:
        """How many people have features, as steps of the flow; no row without features."""
        if not self.columns:
            return pd.DataFrame()
        has_some = people[list(_KEYS)].merge(self.table[list(_KEYS)], how="left", indicator="met")["met"].eq("both")
        counts = {"with features of the network": has_some.sum(), "without features of the network": (~has_some).sum()}
        return pd.DataFrame([flow_row("", "first visits, features", step, int(n)) for step, n in counts.items()])


NO_FEATURES = FeatureTable(pd.DataFrame(columns=list(_KEYS)), (), False)


def features_path(file: SpecFile, cohort_dir: Path | None) -> Path | None:
    """The table of predictions that the spec names; None if it names none.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: there is no cohort to look in.
    """
    if not file.spec.features.table:
        return None
    if cohort_dir is None:
        raise ValueError("the spec has `features`, a table of the cohort's predictions; give --cohort")
    path = Cohort(cohort_dir).tables / "predictions" / f"{file.spec.features.table}.parquet"
    if not path.exists():
        raise FileNotFoundError(f"tables/predictions/{path.name} does not exist; run predict first")
    return path


def read_features(file: SpecFile, cohort_dir: Path | None) -> FeatureTable:
    """Read the features that the spec names.

    Raises:
        ValueError: a column that the spec names is not there, or none is a number.
    """
    path = features_path(file, cohort_dir)
    if path is None:
        return NO_FEATURES
    table = read_table(path)
    table = table[table["status"] == "ok"].astype(dict.fromkeys(_KEYS, str))
    numbers = [name for name in table.select_dtypes(include="number") if name not in _KEYS]
    columns = file.spec.features.columns or tuple(map(str, numbers))
    missing = sorted(set(columns) - set(map(str, numbers)))
    if missing or not columns:
        raise ValueError(f"tables/predictions/{path.name} has no numeric columns {missing or 'at all'}")
    flags = set(table[_SEEN].dropna()) if _SEEN in table else set()
    seen = any(flags) if flags else None
    return FeatureTable(table[[*_KEYS, *columns]], columns, seen)


def with_leakage(table: pd.DataFrame, features: FeatureTable, choice: Literal["exclude", "flag"]) -> pd.DataFrame:
    """``table`` with ``seen_in_training``: ``yes``, ``no``, ``unknown`` for exposures that come from the network.

    With ``exclude``, those of a network that has seen people of the cohort have no number, and the reason says why.
    """
    if not features.columns or "exposure" not in table:
        return table
    own = table["exposure"].isin([*features.columns, DEEP])
    word = {True: "yes", False: "no", None: "unknown"}[features.seen]
    table = table.assign(seen_in_training=np.where(own, word, ""))
    if features.seen and choice == "exclude":
        columns = [name for name in VALUE_COLUMNS if name in table]
        table.loc[own, columns] = np.nan
        table.loc[own, ["status", "reason"]] = ["failed", "seen_in_training"]
    return table
