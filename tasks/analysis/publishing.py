"""From the rows of an analysis to its published tables: masked, tested together, through the gate, with their key.

The order is one for every analysis. Small cells are masked; then ``q`` is computed within each family, over the tests
that are left; then the gate hides what it must beside (few degrees of freedom, small differences from an earlier
release) and rounds. A test that the gate hides still counts in its family.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from cmr_models.analysis.disclosure.audit import Known, audit, hide_determined
from cmr_models.analysis.disclosure.claims import CONTAINED, Within, estimates_say, nested_sets, together
from cmr_models.analysis.disclosure.coarsening import coarsen_ratios
from cmr_models.analysis.disclosure.dominance import hide_dominated
from cmr_models.analysis.disclosure.gate import Gate, GateRules, differs_by_few, follows_closely
from cmr_models.analysis.disclosure.masking import round_counts
from cmr_models.analysis.disclosure.people_counted import counted_of, differ_by_few
from cmr_models.analysis.estimates_by_group import with_q_of_gaps
from cmr_models.analysis.model_spec import AnalysisSpec
from cmr_models.analysis.regressions import overall_family, with_q
from cmr_models.analysis.spec import StudySpec
from cmr_models.contracts.tables import ESTIMATE_TABLE, ESTIMATE_TABLES
from tasks.analysis.disclosure_report import write_disclosure
from tasks.analysis.features import with_leakage
from tasks.analysis.makers import MAKERS, Inputs
from tasks.state.disclosure_record import keep_record, keep_released, released_counts
from tasks.state.parquet_tables import publish_table, read_table, table_key
from tasks.state.published_beside import Beside
from tasks.state.store import digest, digest_bytes

# Tables of curves: the column along which they run, and those that name one.
_CURVES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "survival_curves": ("years", ("exposure", "outcome", "group")),
    "prediction_decisions": ("threshold", ("exposure", "outcome")),
}
# Nothing is tested in these.
_WITHOUT_TESTS = ("flow", "decomposition", "prediction_calibration")


@dataclass(frozen=True)
class Results:
    """The tables of one analysis.

    Attributes:
        folder: where they lie.
        names: of the tables.
        key: that each table carries when it is current.
        siblings: whether the folders beside hold the same tables of other specs, with which they are compared so that
            two releases do not give a few people away by subtraction.
    """

    folder: Path
    names: tuple[str, ...]
    key: str
    siblings: bool = False

    @property
    def outdated(self) -> list[str]:
        """Tables that are not there, or were made from other inputs."""
        return [name for name in self.names if table_key(self.path(name)) != self.key]

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Table -> row status -> rows."""
        tables = {name: read_table(self.path(name)) for name in self.names}
        return {
            name: {str(status): int(n) for status, n in table["status"].value_counts().sort_index().items()}
            for name, table in tables.items()
        }

    def path(self, name: str) -> Path:
        """The file of a table."""
        return self.folder / f"{name}.parquet"

    @property
    def disclosure(self) -> Path:
        """The file that tells an output checker what is hidden, and what all tables together say of it."""
        return (self.folder if self.siblings else self.folder.parent) / "disclosure.csv"

    def earlier(self, name: str) -> dict[str, pd.DataFrame]:
        """The same table of other specs."""
        others = sorted(self.folder.parent.glob(f"*/{name}.parquet")) if self.siblings else []
        return {path.parent.name: read_table(path) for path in others if path.parent != self.folder}


def results_key(version: int, files: Iterable[Path], **asked: Any) -> str:
    """Digest of all that the tables of an analysis depend on.

    Args:
        version: of what makes the tables; another one makes them again.
        files: the input files; only what they hold counts.
        asked: what is asked of them.
    """
    contents = [digest_bytes(path.read_bytes()) for path in files]
    return digest({"version": version, "inputs": contents, **asked})


def publish_tables(
    names: Sequence[str], results: Results, inputs: Inputs, spec_digest: str, others: Beside | None = None
) -> None:
    """Make tables and publish them one by one, each with its entry in the disclosure record.

    A table passes the gate by itself, and then beside all that are published already from the same inputs.

    Args:
        names: of the tables.
        results: where they go.
        inputs: what they are made from.
        spec_digest: that every row carries.
        others: evaluations and comparisons that are published of the cohort.
    """
    spec, known, others = inputs.spec, Known(), others or Beside()
    contained = (*CONTAINED, *nested_sets(spec.covariate_sets, spec.primary))
    has, compared = inputs.has_phenotype, {exposure for _, exposure in others.counted}
    counted = counted_of(has[[name for name in has if name in compared]], "mean")
    few = differ_by_few(counted, others.counted, inputs.groups, spec.disclosure.threshold)
    for name in names:
        made = with_leakage(MAKERS[name](inputs), inputs.tables.features, spec.features.seen)
        base = _count_base(name, made, results, inputs, few=few)
        gate = Gate(GateRules(spec.disclosure.threshold, base), spec_digest)
        passed = _release_curve(gate, name, made) if name in _CURVES else _release(gate, name, made, results, inputs)
        passed = passed.assign(**_about(name, inputs, spec_digest, base))
        said = partial(others.relate, counted=counted, threshold=spec.disclosure.threshold)
        released = _release_beside(gate, name, passed, results, known, contained, said)
        keep_record(gate, results.folder)
        keep_released(released, results.folder, name)
        contract = ESTIMATE_TABLE if name in ESTIMATE_TABLES else None
        publish_table(released, results.path(name), results.key, contract)


def _about(name: str, inputs: Inputs, spec_digest: str, base: int | None) -> dict[str, Any]:
    """Columns that are the same in every row."""
    doubted = {} if name == "flow" else _doubted(inputs, base)
    return {"spec_digest": spec_digest, **doubted, "rounded_to": float(base or 1)}


def _release_beside(
    gate: Gate,
    name: str,
    passed: pd.DataFrame,
    results: Results,
    known: Known,
    contained: Sequence[Within],
    others_say: Callable[[pd.DataFrame], pd.DataFrame],
) -> pd.DataFrame:
    """A table in which no cell is determined by all tables of the folder and evaluations together; with the report for
    a checker.
    """
    threshold = gate.rules.threshold
    paths = {path.stem: path for path in sorted(results.folder.glob("*.parquet")) if path.stem != name}
    beside = {stem: read_table(path) for stem, path in paths.items() if table_key(path) == results.key}
    if threshold < 2:
        write_disclosure({**beside, name: passed}, audit({}, threshold), results.disclosure)
        return passed
    said = [estimates_say(stem, table, threshold) for stem, table in {**beside, name: passed}.items()]
    tables, found = hide_determined({name: passed}, beside, threshold, known, contained, others_say(together(*said)))
    if not tables[name]["status"].equals(passed["status"]):
        gate.amend(name, tables[name])
    write_disclosure({**beside, **tables}, found, results.disclosure)
    return tables[name]


def _count_base(name: str, made: pd.DataFrame, results: Results, inputs: Inputs, *, few: bool) -> int | None:
    """The base of the counts of a table; they are rounded too where they differ by few from an earlier release, or from
    another publication of the cohort (``few``).
    """
    threshold = inputs.spec.disclosure.threshold
    if inputs.count_base or threshold < 2:
        return inputs.count_base
    earlier = released_counts(results.folder, name)
    return threshold if few or any(differs_by_few(made, before, threshold).any() for before in earlier) else None


def _doubted(inputs: Inputs, base: int | None = None) -> dict[str, Any]:
    """What was done with doubted people, and how many they are: no small number, rounded as the gate rounds."""
    n = float(inputs.people["doubted"].sum()) if "doubted" in inputs.people else 0.0
    if 0 < n < inputs.spec.disclosure.threshold:
        n = float("nan")
    elif base or inputs.count_base:
        n = float(round_counts(n, base or inputs.count_base or 1))
    return {"doubted": "taken_in" if inputs.spec.include_doubted else "left_out", "n_doubted": float(n)}


def _release(gate: Gate, name: str, made: pd.DataFrame, results: Results, inputs: Inputs) -> pd.DataFrame:
    tested = made if name in _WITHOUT_TESTS else _tested(gate, name, made, results, inputs)
    if gate.rules.threshold > 1:
        tested = hide_dominated(tested, inputs.magnitudes)
    return gate.table(name, tested, earlier=results.earlier(name), sensitive=_is_sensitive(inputs.spec, made))


def _tested(gate: Gate, name: str, made: pd.DataFrame, results: Results, inputs: Inputs) -> pd.DataFrame:
    masked = gate.mask(made)
    is_coarse = gate.rules.threshold > 1 and {"measure", "scale", "z"} <= set(made)
    if is_coarse and _follows_release(masked, name, results, gate):
        masked = coarsen_ratios(masked)
    return _with_multiplicity(masked, name, inputs.models)


def _follows_release(table: pd.DataFrame, name: str, results: Results, gate: Gate) -> bool:
    """Whether a row was released before, by the same analysis or beside, with another estimate of nearly the same
    people.
    """
    own = gate.spec_digest
    same = [
        before
        for before in released_counts(results.folder, name)
        if "spec_digest" not in before or before["spec_digest"].fillna(own).eq(own).all()
    ]
    earlier = (*results.earlier(name).values(), *same)
    return any(follows_closely(table, before, gate.rules.threshold).any() for before in earlier)


def _release_curve(gate: Gate, name: str, made: pd.DataFrame) -> pd.DataFrame:
    along, one = _CURVES[name]
    return gate.curve(name, made.rename(columns={along: "years"}), one).rename(columns={"years": along})


def _with_multiplicity(table: pd.DataFrame, name: str, models: AnalysisSpec) -> pd.DataFrame:
    """``q`` within the declared families and within a set of covariates; of tables by group, the gaps alone."""
    if name.startswith("fairness"):
        return with_q_of_gaps(table, "fairness/" if name == "fairness" else "")
    family = overall_family(table, models)
    return with_q(table, table["covariate_set"] + "/" + family if "covariate_set" in table else family)


def _is_sensitive(spec: StudySpec, table: pd.DataFrame) -> bool:
    named = {row.name for row in spec.outcomes if row.sensitive}
    return bool(named & set(table["outcome"])) if "outcome" in table else False
