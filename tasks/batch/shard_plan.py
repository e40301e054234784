"""The plan of a cohort in shards: which studies each shard brings through, by which settings. It never changes.

    COHORT/shards/<digest>/
      plan.json                      settings, versions, the digest of every part
      parts/00012.json, 00012.csv    the studies of one shard: their files, what is known of them; their body sizes
      ledgers/00012.sqlite           of a shard that has begun
      ended/00012.json               of a shard that has ended
      finished.json                  once the cohort has it all; parts and ledgers are gone then

A plan is named by the digest of its content, and every part by its own in the plan. So an index always means the same
studies: it cannot point into a plan that somebody has made anew meanwhile (as in BABS issue 408).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cmr_models.contracts.foreign import faults_as
from tasks.execution.shards import Unit
from tasks.state.ledger import Outcome
from tasks.state.mistakes import UserMistake
from tasks.state.store import Cohort, digest, digest_bytes, publish_bytes

SCHEMA = 1
_PLAN = "plan.json"
_SHORTEST = 8  # letters of a digest that name a plan


@dataclass(frozen=True)
class Part:
    """The studies of one shard.

    Attributes:
        units: of the first stage, to work on.
        rows: outcomes that the cohort's ledger has of the shard's studies.
        sizes: table of their body sizes (CSV); empty if there is none.
    """

    units: Sequence[Unit]
    rows: Sequence[Outcome]
    sizes: str

    @property
    def studies(self) -> int:
        """How many studies there are."""
        return len({unit["study"] for unit in self.units} | {row.study for row in self.rows})

    @property
    def files(self) -> list[str]:
        """Files of the archive that the shard reads, each once, in the order of its studies."""
        return list(dict.fromkeys(path for unit in self.units for path, _, _ in unit["files"]))

    def content(self) -> bytes:
        """As it is published."""
        return _json({"units": list(self.units), "rows": [asdict(row) for row in self.rows]})


@dataclass(frozen=True)
class ShardPlan:
    """A published plan."""

    folder: Path
    content: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """Its name."""
        return self.folder.name

    @property
    def n_shards(self) -> int:
        """How many shards there are."""
        return len(self.content["parts"])

    def part(self, index: int) -> Part:
        """The studies of one shard.

        Raises:
            UserMistake: if there is no such shard, or its part is not the one that was planned.
        """
        if not 0 <= index < self.n_shards:
            raise UserMistake(f"there is no shard {index}; plan {self.digest} has shards 0 to {self.n_shards - 1}")
        content, sizes = self._part(index, "json").read_bytes(), self._part(index, "csv").read_bytes()
        if digest_bytes(content + sizes) != self.content["parts"][index]["digest"]:
            raise _changed(self._part(index, "json"))
        told = json.loads(content)
        return Part(told["units"], [Outcome(**row) for row in told["rows"]], sizes.decode())

    def sizes(self, index: int) -> Path:
        """The table of body sizes of one shard."""
        return self._part(index, "csv")

    def ledger(self, index: int) -> Path:
        """The ledger of one shard."""
        return self.folder / "ledgers" / f"{index:05d}.sqlite"

    def ended(self, index: int) -> Path:
        """The receipt of a shard that has ended."""
        return self.folder / "ended" / f"{index:05d}.json"

    @property
    def has_begun(self) -> bool:
        """Whether any shard has."""
        return (self.folder / "ledgers").is_dir()

    @property
    def is_finished(self) -> bool:
        """Whether the cohort has all of it."""
        return (self.folder / "finished.json").is_file()

    @cached_property
    def missing(self) -> list[int]:
        """Shards that have not ended."""
        return [index for index in range(self.n_shards) if not self.ended(index).is_file()]

    def finish(self) -> None:
        """Say that the cohort has all of it, and remove what names people and files."""
        publish_bytes(_json({"plan": self.digest}), self.folder / "finished.json")
        for name in ("parts", "ledgers"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def _part(self, index: int, ending: str) -> Path:
        return self.folder / "parts" / f"{index:05d}.{ending}"


def publish_plan(cohort: Cohort, content: Mapping[str, Any], parts: Sequence[Part]) -> ShardPlan:
    """Publish a plan; the same content has the same name. Earlier plans of which no shard has begun are removed.

    Args:
        cohort: whose plan it is.
        content: plain values: settings, versions and what else every shard must agree with.
        parts: of each shard.
    """
    encoded = [(part.content(), part.sizes.encode()) for part in parts]
    told = [
        {"digest": digest_bytes(rows + sizes), "studies": part.studies}
        for part, (rows, sizes) in zip(parts, encoded, strict=True)
    ]
    whole = json.loads(_json({**content, "schema": SCHEMA, "parts": told}))
    plan = ShardPlan(_folder(cohort) / digest(whole), whole)
    for other in unfinished_plans(cohort):
        if other.folder != plan.folder and not other.has_begun:
            shutil.rmtree(other.folder)
    for index, (rows, sizes) in enumerate(encoded):
        publish_bytes(rows, plan.folder / "parts" / f"{index:05d}.json")
        publish_bytes(sizes, plan.folder / "parts" / f"{index:05d}.csv")
    publish_bytes(_json(whole), plan.folder / _PLAN)  # last: without it there is no plan
    return plan


def open_plan(cohort: Cohort, name: str = "") -> ShardPlan:
    """The plan whose digest begins with ``name``; without a name, the only one that is not finished.

    Raises:
        UserMistake: if there is none, several, or one whose content is not what its name says.
    """
    if name:
        found = [folder for folder in _plans(cohort) if folder.name.startswith(name) and len(name) >= _SHORTEST]
        if len(found) != 1:
            known = ", ".join(folder.name for folder in _plans(cohort)) or "none"
            raise UserMistake(f"there is no plan {name} in {_folder(cohort)}; there: {known}")
        return _read(found[0])
    plans = unfinished_plans(cohort)
    if not plans:
        raise UserMistake(f"{cohort.root} has no plan that is not finished; make one: `cmr-cohort shard plan`")
    if len(plans) > 1:
        known = ", ".join(plan.digest for plan in plans)
        raise UserMistake(f"{cohort.root} has several plans; name one with --plan: {known}")
    return plans[0]


def unfinished_plans(cohort: Cohort) -> list[ShardPlan]:
    """Plans of which the cohort has not got everything yet."""
    return [plan for folder in _plans(cohort) if not (plan := _read(folder)).is_finished]


def ranges(indices: Sequence[int]) -> str:
    """Sorted numbers as ``0-3,7``, as SLURM takes them."""
    groups: list[list[int]] = []
    for index in indices:
        if groups and index == groups[-1][-1] + 1:
            groups[-1].append(index)
        else:
            groups.append([index])
    return ",".join(str(group[0]) if len(group) == 1 else f"{group[0]}-{group[-1]}" for group in groups)


def _folder(cohort: Cohort) -> Path:
    return cohort.root / "shards"


def _plans(cohort: Cohort) -> list[Path]:
    return sorted(path.parent for path in _folder(cohort).glob(f"*/{_PLAN}"))


def _read(folder: Path) -> ShardPlan:
    path = folder / _PLAN
    with faults_as(lambda _kind: _changed(path), OSError):
        content = json.loads(path.read_bytes())
    if digest(content) != folder.name:
        raise _changed(path)
    return ShardPlan(folder, content)


def _changed(path: Path) -> UserMistake:
    return UserMistake(f"{path} is not what was planned: its digest is another one; make a new plan")


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), default=str).encode()
