"""What was published of a cohort beside one publication: numbers, and of which studies they are.

Tables of estimates lie where they are published. The page, evaluations and comparisons keep what their numbers say, and
every publisher keeps the studies that it counted, under ``tables/counted/``: for internal use, as it names studies.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cmr_models.analysis.disclosure.claims import COLUMNS, claims_of, estimates_say, together
from cmr_models.analysis.disclosure.people_counted import Counted, nested_claims
from cmr_models.contracts.identifiers import study_key
from tasks.state.parquet_tables import publish_table, read_table
from tasks.state.store import Cohort

_BETWEEN = "|"
_STUDIES, _CLAIMS = ".studies.parquet", ".claims.parquet"
_EVALUATION, _COMPARISON = "evaluation_", "comparison_"
ESTIMATES, REPORT = "estimates", "report"
"""The publishers of the tables of estimates and of the page."""


def evaluation_name(predictions: str) -> str:
    """The publisher of an evaluation."""
    return f"{_EVALUATION}{predictions}"


def comparison_name(first: str, second: str) -> str:
    """The publisher of a comparison of two models."""
    return f"{_COMPARISON}{first}_vs_{second}"


@dataclass(frozen=True)
class Beside:
    """What else is published.

    Attributes:
        tables: of estimates about people and phenotypes alone, by name.
        claims: of the page, of evaluations and comparisons.
        counted: of whom all of these are.
    """

    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    claims: pd.DataFrame = field(default_factory=lambda: claims_of([]))
    counted: Counted = field(default_factory=dict)

    def relate(self, claims: pd.DataFrame, counted: Counted, threshold: int) -> pd.DataFrame:
        """Claims of the others but the tables, and of which population is part of which, those of a publication too.

        Args:
            claims: of the publication.
            counted: of whom it is.
            threshold: the smallest number that may be published.
        """
        if not self.counted:
            return self.claims
        of_tables = [estimates_say(name, table, threshold) for name, table in self.tables.items()]
        every = together(claims, self.claims, *of_tables)
        return together(self.claims, nested_claims(every, {**self.counted, **counted}))


def all_beside(cohort: Cohort, publisher: str, exposures: Collection[str]) -> Beside:
    """What all other publishers of a cohort have published: for an evaluation or comparison.

    The page of an earlier state of the cohort, which lacks studies of the tables, would contradict these: it is left
    out, as what it published is compared with the next page.

    Args:
        cohort: the cohort.
        publisher: whose own earlier numbers are left out.
        exposures: what the publisher's numbers are about: of others, the studies are not read.
    """
    tables = {path.stem: read_table(path) for path in sorted(cohort.estimates.glob("*.parquet"))}
    alone = {name: table[_is_about(table, exposures)] for name, table in tables.items() if "outcome" in table}
    stale = _lacks(*(_read_counted(cohort, name, exposures) for name in (REPORT, ESTIMATES)))
    names = [name for name in _publishers(cohort) if name != publisher and not (name == REPORT and stale)]
    return replace(_read(cohort, names, exposures), tables=alone)


def _is_about(table: pd.DataFrame, exposures: Collection[str]) -> pd.Series:
    """Rows about people, or phenotypes alone that are among ``exposures``."""
    return (table["outcome"] == "") & table["exposure"].isin(["", *exposures])


def evaluations_beside(cohort: Cohort) -> Beside:
    """The evaluations and comparisons that are published: for tables and the page, which know of each other."""
    return _read(cohort, [name for name in _publishers(cohort) if name.startswith((_EVALUATION, _COMPARISON))])


def _publishers(cohort: Cohort) -> list[str]:
    names = [path.name for path in sorted((cohort.tables / "counted").glob(f"*{_STUDIES}"))]
    return [name.removesuffix(_STUDIES) for name in names]


def _read(cohort: Cohort, names: Sequence[str], exposures: Collection[str] | None = None) -> Beside:
    """What publishers said, and of whom."""
    paths = [_claims_path(cohort, name) for name in names]
    claims = [_read_claims(path) for path in paths if path.exists()]
    counted = {key: people for name in names for key, people in _read_counted(cohort, name, exposures).items()}
    return Beside(claims=together(*claims), counted=counted)


def _lacks(page: Counted, tables: Counted) -> bool:
    """Whether the tables count studies of a phenotype that the page does not."""
    described = {exposure: studies for (_, exposure), studies in page.items()}
    return any(not studies <= described[exposure] for (_, exposure), studies in tables.items() if exposure in described)


def is_rounded(cohort: Cohort, publisher: str) -> bool:
    """Whether the numbers that a publisher kept are rounded: known between two numbers, and no small ones."""
    path = _claims_path(cohort, publisher)
    if not path.exists():
        return False
    claims = _read_claims(path)
    return bool(((claims["low"] > 0) & (claims["low"] < claims["high"]) & (claims["high"] < np.inf)).any())


def keep_beside(cohort: Cohort, publisher: str, counted: Counted, claims: pd.DataFrame) -> None:
    """Keep what a publication says, and of whom it is."""
    studies = sorted(frozenset().union(*counted.values()))
    table = pd.DataFrame({"study": studies}, dtype=object)
    names = {_BETWEEN.join(key): table["study"].isin(people).to_numpy(bool) for key, people in counted.items()}
    publish_table(table.assign(**names), _counted_path(cohort, publisher))
    publish_table(claims.assign(parts=claims["parts"].map(json.dumps)), _claims_path(cohort, publisher))


def keep_studies(cohort: Cohort, publisher: str, has: pd.DataFrame, population: str) -> None:
    """Keep of whom tables are, which others read where they lie.

    Args:
        cohort: the cohort.
        publisher: of the tables.
        has: index study, a boolean column for each exposure.
        population: the name of those with an exposure.
    """
    named = has.rename(columns=lambda name: _BETWEEN.join((population, name)))
    publish_table(named.rename_axis("study").reset_index(), _counted_path(cohort, publisher))


def studies_of(participants: pd.Series, visits: pd.Series) -> list[str]:
    """Ids of studies as all publishers write them."""
    return [study_key(f"{person}-{visit}") for person, visit in zip(participants, visits, strict=True)]


def _read_counted(
    cohort: Cohort, publisher: str, exposures: Collection[str] | None = None
) -> dict[tuple[str, str], frozenset[str]]:
    path = _counted_path(cohort, publisher)
    if not path.exists():
        return {}
    table = read_table(path)
    names = [str(name) for name in table if name != "study"]
    keys = {name: name.partition(_BETWEEN)[::2] for name in names}
    wanted = [name for name in names if exposures is None or keys[name][1] in exposures]
    return {keys[name]: frozenset(table["study"][table[name].to_numpy(bool)]) for name in wanted}


def _read_claims(path: Path) -> pd.DataFrame:
    table = read_table(path)
    parts = table["parts"].map(lambda text: tuple(x if isinstance(x, str) else tuple(x) for x in json.loads(text)))
    return table.assign(parts=parts)[list(COLUMNS)]


def _counted_path(cohort: Cohort, publisher: str) -> Path:
    return cohort.tables / "counted" / f"{publisher}{_STUDIES}"


def _claims_path(cohort: Cohort, publisher: str) -> Path:
    return cohort.tables / "counted" / f"{publisher}{_CLAIMS}"
