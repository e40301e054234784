"""What became of each fault, one JSON line each; equivalent ones are named in a file beside, with the reason."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.mutants.faults import Fault
from benchmarks.mutants.modules import ROOT
from benchmarks.mutants.trial import Outcome

EQUIVALENT = Path(__file__).with_name("equivalent.jsonl")


class Results:
    """Outcomes by fault, kept in a file; those of modules that have changed since do not count."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = _read(path)
        self._rows = {row["fault"]: row for row in rows if row["digest"] == _digest(row["module"])}
        self._equivalent = _read(EQUIVALENT)

    def knows(self, fault: Fault) -> bool:
        """Whether it was tried in the module as it is now, and noticed; survivors are tried again."""
        return self._rows.get(_key(fault), {}).get("verdict") == "noticed"

    def add(self, fault: Fault, outcome: Outcome) -> None:
        """Written at once, so that a run that is killed goes on here."""
        row = {
            "fault": _key(fault),
            "module": fault.module,
            "name": fault.name,
            "digest": _digest(fault.module),
            "verdict": outcome.verdict,
            "tests": outcome.tests,
            "seconds": outcome.seconds,
        }
        self._rows[row["fault"]] = row
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def is_equivalent(self, fault: Fault) -> bool:
        """Whether no input tells the module with the fault from that without, as a reader has found.

        A row names ``module``, ``old`` and ``new``, and ``line``, a part of the line, where these are not enough.
        """
        named = (fault.module, fault.old, fault.new)
        rows = [row for row in self._equivalent if (row["module"], row["old"], row["new"]) == named]
        return any(row.get("line", "") in _line(fault) for row in rows)

    def survivors(self, faults: Sequence[Fault]) -> list[Fault]:
        """Of ``faults`` those that no test noticed, without the equivalent ones."""
        tried = [fault for fault in faults if not self.is_equivalent(fault) and _key(fault) in self._rows]
        return [fault for fault in tried if self._rows[_key(fault)]["verdict"] != "noticed"]

    def share_survived(self, faults: Sequence[Fault]) -> float:
        """Of the faults that are not equivalent."""
        counted = [fault for fault in faults if not self.is_equivalent(fault)]
        return len(self.survivors(faults)) / max(1, len(counted))


def _key(fault: Fault) -> str:
    return f"{fault.module}@{fault.start}-{fault.end}:{fault.new}"


def _line(fault: Fault) -> str:
    return (ROOT / fault.module).read_text(encoding="utf-8").splitlines()[fault.line - 1]


def _digest(module: str) -> str:
    path = ROOT / module
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else ""


def _read(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines if line.strip()]
