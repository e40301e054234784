"""Some studies of a cohort alone: named, or those of named participants, or of lists of either."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from cmr_models.contracts.foreign import read_text
from cmr_models.contracts.identifiers import clean_identifier, identifier_key
from tasks.execution.stage import StageWork
from tasks.state.ledger import Ledger
from tasks.state.mistakes import UserMistake
from tasks.state.store import Cohort, damaged_path, published_in, receipt_path


@dataclass(frozen=True)
class Selection:
    """Which studies to work on, and whether again.

    Attributes:
        studies: study ids.
        participants: keys of participants (:func:`cmr_models.contracts.identifiers.identifier_key`).
        forced: whether what is done is made again.
        lines: where the names of lists stand, by name: a message tells the place, not the name.
    """

    studies: frozenset[str] = frozenset()
    participants: frozenset[str] = frozenset()
    forced: bool = False
    lines: Mapping[str, str] = field(default_factory=dict, compare=False)

    @classmethod
    def of(
        cls, studies: Iterable[str], participants: Iterable[str], lists: Iterable[Path] = (), *, forced: bool = False
    ) -> Selection:
        """A selection from names as the user writes them; a line of a list is a study or a participant."""
        listed = {name: place for path in lists for name, place in _lines(path).items()}
        named = {identifier_key(name) for name in participants}
        return cls(frozenset(studies) | frozenset(listed), frozenset(named), forced, listed)

    @property
    def is_whole(self) -> bool:
        """Whether nothing was named, which is every study."""
        return not (self.studies or self.participants)

    def holds(self, study: str) -> bool:
        """Whether a study is one of them. A name among the studies may be that of a participant (of a list)."""
        participant = study.rpartition("-")[0]
        named = self.studies | self.participants
        return self.is_whole or study in self.studies or participant in named or identifier_key(participant) in named

    def check(self, known: Collection[str]) -> None:
        """Every name stands for a study.

        Raises:
            UserMistake: if one does not.
        """
        people = {name.rpartition("-")[0] for name in known}
        there = {*known, *people, *map(identifier_key, people)}
        if absent := sorted((self.studies | self.participants) - there):
            more = f" and {len(absent) - 1} others" if len(absent) > 1 else ""
            place = self.lines.get(absent[0])
            what = f"no study is called {absent[0]!r}" if place is None else f"{place}: no study is called so"
            raise UserMistake(f"{what}{more}; tables/studies.parquet has the names of all")

    def applied(self, work: StageWork, ledger: Ledger) -> StageWork:
        """``work`` of these studies alone; nobody leaves the cohort for having no source, but who withdrew does.

        Raises:
            UserMistake: if, at the first stage, a name stands for nobody. Later ones may wait for those before.
        """
        planned = work.planned
        if work.stage.upstream is None:
            self.check({unit["study"] for unit in planned.units} | ledger.entries(work.stage.name).keys())
        if self.is_whole:
            return work
        removed = {study: why for study, why in planned.removed.items() if why == "withdrawn" or self.holds(study)}
        if work.stage.upstream is None:
            removed = {study: why for study, why in removed.items() if why == "withdrawn"}
        planned = planned._replace(
            units=[unit for unit in planned.units if self.holds(unit["study"])],
            settled=[outcome for outcome in planned.settled if self.holds(outcome.study)],
            removed=removed,
        )
        upstream = {study: entry for study, entry in work.upstream.items() if self.holds(study)}
        return replace(work, planned=planned, upstream=upstream)


def forget_made(work: StageWork, ledger: Ledger, cohort: Cohort, model: str) -> None:
    """Forget what a stage has made of the studies of ``work``, so that it is made again.

    The ledger forgets first: if the command is killed here, the next run makes the rest again.

    Args:
        work: of the stage.
        ledger: of the cohort.
        cohort: its folder.
        model: the folder of the predictions that the stage makes.
    """
    studies = [unit["study"] for unit in work.planned.units]
    ledger.forget(work.stage.name, studies)
    for folder in work.stage.folders(cohort, model).values():
        for study in studies:
            path = Path(published_in(folder, study))
            for old in (path, receipt_path(path), damaged_path(path)):
                old.unlink(missing_ok=True)


def _lines(path: Path) -> dict[str, str]:
    """The names in a list, one a line, and where each stands.

    Raises:
        UserMistake: if it is not UTF-8 text, or holds nothing.
    """
    try:
        lines = enumerate(read_text(path).splitlines(), 1)
        names = {name: f"{path}, line {k}" for k, line in lines if (name := clean_identifier(line))}
    except UnicodeDecodeError:
        raise UserMistake(f"{path}: the list of studies is not UTF-8; save it as UTF-8 text") from None
    if not names:
        raise UserMistake(f"{path}: the list of studies is empty; write a study or a participant on each line")
    return names
